package dane

import (
	"bytes"
	"fmt"
	"testing"
)

// A Pool that has met certificates before says of any file what Parse says of it.
func TestPoolChangesNoContent(t *testing.T) {
	ca := issue(t, "CA", p256Key(t), nil, isCA)
	leaf, other := issue(t, "mail", p256Key(t), ca), issue(t, "mail", p256Key(t), ca)
	chain, trailing := join(leaf.pem(), ca.pem()), join(leaf.pem(), []byte("-----BEGIN CERTIFICATE"))
	damaged := bytes.Clone(leaf.pem())
	damaged[len(damaged)/2] = '!'
	files := [][]byte{
		leaf.pem(), damaged, chain, bytes.ReplaceAll(chain, []byte("\n"), []byte("\r\n")), trailing, encode("PRIVATE KEY", leaf.der),
		encode("X509 CERTIFICATE", leaf.der), encode("TRUSTED CERTIFICATE", leaf.der), leaf.der, join(other.pem(), other.pem()),
		bytes.TrimSpace(leaf.pem()), leaf.pem()[:len(leaf.pem())/2], nil, ca.pem(), leaf.pem(),
	}
	for range 2 * len(new(Pool).last) {
		files = append(files, issue(t, "mail", p256Key(t), ca).pem(), chain)
	}
	var pool Pool
	for i, file := range append(files, files...) {
		want, wrong := Parse(file)
		got, err := pool.Parse(file)
		if fmt.Sprint(err) != fmt.Sprint(wrong) {
			t.Errorf("file %d: %v, alone %v", i, err, wrong)
		}
		diff(t, want, got)
	}
}

// What callers wipe or read into is no part of what a Pool keeps.
func TestPoolKeepsCertificatesApartFromTheBuffer(t *testing.T) {
	ca := issue(t, "CA", p256Key(t), nil, isCA)
	var pool Pool
	buf := bytes.Clone(ca.pem())
	first, err := pool.Parse(buf)
	must(t, first, err)
	clear(buf)
	again, err := pool.Parse(ca.pem())
	if must(t, again, err).Certificates[0] != first.Certificates[0] {
		t.Error("a certificate that was met before is parsed again")
	}
	if !bytes.Equal(pool.last[0].text, ca.pem()) {
		t.Errorf("the pool holds %q", pool.last[0].text)
	}
}

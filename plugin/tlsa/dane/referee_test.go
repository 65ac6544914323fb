//go:build referee

package dane

import (
	"bytes"
	"encoding/asn1"
	"encoding/hex"
	"encoding/pem"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
)

// run runs a tool in dir and gives what it prints; its failure is the test's.
func run(t *testing.T, dir, name string, args ...string) []byte {
	t.Helper()
	out, err := try(dir, name, args...)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

func try(dir, name string, args ...string) ([]byte, error) {
	cmd := exec.Command(name, args...)
	cmd.Dir = dir
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		return nil, fmt.Errorf("%s %s: %w\n%s", name, strings.Join(args, " "), err, stderr.Bytes())
	}
	return out, nil
}

// refereeKeys are the key types of certificates met in the wild, as openssl's genpkey makes them.
func refereeKeys() map[string][]string {
	return map[string][]string{
		"rsa-2048":    {"-algorithm", "RSA", "-pkeyopt", "rsa_keygen_bits:2048"},
		"rsa-4096":    {"-algorithm", "RSA", "-pkeyopt", "rsa_keygen_bits:4096"},
		"rsa-pss":     {"-algorithm", "RSA-PSS", "-pkeyopt", "rsa_keygen_bits:2048"},
		"p-256":       {"-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-256"},
		"p-384":       {"-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-384"},
		"p-521":       {"-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-521"},
		"brainpool":   {"-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:brainpoolP256r1"},
		"secp256k1":   {"-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:secp256k1"},
		"ed25519":     {"-algorithm", "ED25519"},
		"ed448":       {"-algorithm", "ED448"},
		"unknown-oid": {"-algorithm", "ED25519"}, // its key's OID is overwritten below
	}
}

// refereeChain makes a chain, leaf first, whose leaf and CA have keys of the given kind.
func refereeChain(t *testing.T, kind string) string {
	t.Helper()
	dir := t.TempDir()
	openssl := func(args ...string) []byte { return run(t, dir, "openssl", args...) }
	ca := refereeKeys()[kind]
	if kind == "unknown-oid" { // nothing can sign with that
		ca = refereeKeys()["p-256"]
	}
	openssl(append([]string{"genpkey", "-out", "ca.key"}, ca...)...)
	openssl("req", "-x509", "-new", "-key", "ca.key", "-out", "ca.pem", "-subj", "/CN=referee CA", "-days", "30")
	openssl(append([]string{"genpkey", "-out", "leaf.key"}, refereeKeys()[kind]...)...)
	openssl("req", "-new", "-key", "leaf.key", "-out", "leaf.csr", "-subj", "/CN=mail.example.org")
	write(t, dir, "ext", []byte("subjectAltName=DNS:mail.example.org\n"))
	openssl("x509", "-req", "-in", "leaf.csr", "-CA", "ca.pem", "-CAkey", "ca.key", "-out", "leaf.pem", "-days", "20", "-extfile", "ext")
	if kind == "unknown-oid" {
		forgeKeyType(t, dir)
	}
	write(t, dir, "chain.pem", append(read(t, dir, "leaf.pem"), read(t, dir, "ca.pem")...))
	return dir
}

// forgeKeyType gives the leaf a key of a type that nobody knows, and has the CA sign it again.
func forgeKeyType(t *testing.T, dir string) {
	t.Helper()
	block, _ := pem.Decode(read(t, dir, "leaf.pem"))
	var c struct{ TBS, Algorithm, Signature asn1.RawValue }
	if _, err := asn1.Unmarshal(block.Bytes, &c); err != nil {
		t.Fatal(err)
	}
	known, unknown := []byte{0x06, 0x03, 0x2b, 0x65, 0x70}, []byte{0x06, 0x03, 0x2b, 0x65, 0x7f}
	if n := bytes.Count(c.TBS.FullBytes, known); n != 1 {
		t.Fatalf("the OID stands %d times", n)
	}
	tbs := bytes.Replace(c.TBS.FullBytes, known, unknown, 1)
	write(t, dir, "tbs", tbs)
	signature := run(t, dir, "openssl", "dgst", "-sha256", "-sign", "ca.key", "tbs")
	bits, err := asn1.Marshal(asn1.BitString{Bytes: signature, BitLength: 8 * len(signature)})
	if err != nil {
		t.Fatal(err)
	}
	der, err := asn1.Marshal([]asn1.RawValue{{FullBytes: tbs}, c.Algorithm, {FullBytes: bits}})
	if err != nil {
		t.Fatal(err)
	}
	write(t, dir, "leaf.pem", pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}))
}

func write(t *testing.T, dir, name string, b []byte) {
	t.Helper()
	if err := os.WriteFile(filepath.Join(dir, name), b, 0o644); err != nil {
		t.Fatal(err)
	}
}

func read(t *testing.T, dir, name string) []byte {
	t.Helper()
	b, err := os.ReadFile(filepath.Join(dir, name))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// subject is the file of the certificate that a combination is about.
func subject(c Combination) string {
	if c.Usage == PKIXTA || c.Usage == DANETA {
		return "ca.pem"
	}
	return "leaf.pem"
}

// opensslData is the data as the recipes of openssl that people use give it; ok is false where openssl cannot.
func opensslData(t *testing.T, dir string, c Combination) (string, bool) {
	t.Helper()
	_, err := try(dir, "openssl", "x509", "-in", subject(c), "-outform", "DER", "-out", "selected")
	if c.Selector == SPKI {
		_, err = try(dir, "sh", "-c", "openssl x509 -in "+subject(c)+" -noout -pubkey > key.pem && openssl pkey -pubin -in key.pem -outform DER -out selected")
	}
	if err != nil {
		return "", false
	}
	switch c.MatchingType {
	case SHA256:
		return hex.EncodeToString(run(t, dir, "openssl", "dgst", "-sha256", "-binary", "selected")), true
	case SHA512:
		return hex.EncodeToString(run(t, dir, "openssl", "dgst", "-sha512", "-binary", "selected")), true
	}
	return hex.EncodeToString(read(t, dir, "selected")), true
}

var record = regexp.MustCompile(`(?i)TLSA\s+\(?\s*(\d+) (\d+) (\d+) ([0-9a-f]+)`)

// rdata reads "u s m hex" out of a record that a tool prints.
func rdata(t *testing.T, out []byte) string {
	t.Helper()
	m := record.FindSubmatch(out)
	if m == nil {
		t.Fatalf("no record in %q", out)
	}
	text := ""
	for _, n := range m[1:4] {
		d, _ := strconv.Atoi(string(n))
		text += strconv.Itoa(d) + " "
	}
	return text + strings.ToLower(string(m[4]))
}

// danetool says what GnuTLS makes of it; it has no matching type Full.
func danetool(t *testing.T, dir string, c Combination) (string, bool) {
	t.Helper()
	hash := map[MatchingType]string{SHA256: "sha256", SHA512: "sha512"}[c.MatchingType]
	if hash == "" {
		return "", false
	}
	args := []string{"--tlsa-rr", "--host", "mail.example.org", "--port", "25", "--proto", "tcp", "--load-certificate", subject(c), "--hash", hash}
	if c.Usage == PKIXTA || c.Usage == DANETA {
		args = append(args, "--ca")
	}
	if c.Usage == PKIXTA || c.Usage == PKIXEE {
		args = append(args, "--no-domain")
	}
	if c.Selector == Cert {
		args = append(args, "--x509")
	}
	out, err := try(dir, "danetool", args...)
	if err != nil {
		return "", false
	}
	return rdata(t, out), true
}

// ldnsDANE says what ldns makes of the whole chain.
func ldnsDANE(t *testing.T, dir string, c Combination) (string, bool) {
	t.Helper()
	out, err := try(dir, "ldns-dane", "-c", "chain.pem", "-f", "ca.pem", "create", "mail.example.org", "25",
		strconv.Itoa(int(c.Usage)), strconv.Itoa(int(c.Selector)), strconv.Itoa(int(c.MatchingType)))
	if err != nil || len(out) == 0 {
		return "", false
	}
	return rdata(t, out), true
}

func TestEveryCombinationOfEveryKeyEqualsTheReferees(t *testing.T) {
	agreed := map[string]int{}
	for kind := range refereeKeys() {
		dir := refereeChain(t, kind)
		content, err := Parse(read(t, dir, "chain.pem"))
		if err != nil {
			t.Fatalf("%s: %v", kind, err)
		}
		for _, c := range content.Certificates {
			c.KeepDER()
		}
		leaves := Leaves(content.Certificates, nil)
		if len(leaves) != 1 {
			t.Fatalf("%s: %d leaves", kind, len(leaves))
		}
		m := leaves[0].Material()
		for i := range 24 {
			c := Combination{Usage: Usage(i / 6), Selector: Selector(i / 3 % 2), MatchingType: MatchingType(i % 3)}
			a, err := m.Association(c)
			if err != nil {
				t.Errorf("%s %s: %v", kind, c, err)
				continue
			}
			ours := c.String() + " " + hex.EncodeToString([]byte(a.Data))
			if data, ok := opensslData(t, dir, c); ok {
				judge(t, agreed, "openssl", kind, ours, c.String()+" "+data)
			}
			if rr, ok := danetool(t, dir, c); ok {
				judge(t, agreed, "danetool", kind, ours, rr)
			}
			if rr, ok := ldnsDANE(t, dir, c); ok {
				judge(t, agreed, "ldns-dane", kind, ours, rr)
			}
		}
	}
	// What each tool cannot do is known: a referee that silently refused more would prove less.
	for tool, least := range map[string]int{"openssl": 258, "danetool": 156, "ldns-dane": 240} {
		t.Logf("%s agrees on %d of %d", tool, agreed[tool], 24*len(refereeKeys()))
		if agreed[tool] < least {
			t.Errorf("%s judged only %d combinations, want at least %d", tool, agreed[tool], least)
		}
	}
}

func judge(t *testing.T, agreed map[string]int, tool, kind, ours, theirs string) {
	t.Helper()
	if ours != theirs {
		t.Errorf("%s: %s says %.60s, we say %.60s", kind, tool, theirs, ours)
		return
	}
	agreed[tool]++
}

package dane

import (
	"bytes"
	"crypto/sha256"
	"crypto/x509"
	"os"
	"path/filepath"
	"testing"
)

// seeds gives every fixture to add, with its blocks decoded too if asked.
func seeds(f *testing.F, add func([]byte)) {
	files, err := filepath.Glob("testdata/*.pem")
	for _, name := range must(f, files, err) {
		data, err := os.ReadFile(name)
		add(must(f, data, err))
	}
}

func FuzzParseCertificate(f *testing.F) {
	seeds(f, func(file []byte) {
		for b, rest, err := nextBlock(file); err == nil && b.label != ""; b, rest, err = nextBlock(rest) {
			der, err := b.decode()
			f.Add(must(f, der, err))
		}
	})
	f.Add(wellFormed(f).der())
	f.Fuzz(func(t *testing.T, der []byte) {
		before := bytes.Clone(der)
		got, err := ParseCertificate(der)
		if !bytes.Equal(der, before) {
			t.Fatal("the input was changed")
		}
		if err != nil {
			if got != nil {
				t.Fatal("an error and a certificate")
			}
			return
		}
		sound(t, der, got)
		// What Go reads too must be read alike.
		parsed, err := x509.ParseCertificate(der)
		if err != nil {
			return
		}
		if got.SPKI != string(parsed.RawSubjectPublicKeyInfo) || got.Subject != string(parsed.RawSubject) ||
			got.Issuer != string(parsed.RawIssuer) || !got.NotAfter.Equal(parsed.NotAfter) || !got.NotBefore.Equal(parsed.NotBefore) {
			t.Fatal("crypto/x509 reads something else")
		}
		// Extensions below version 3 are against RFC 5280 4.1.2.9. Go does not look at them, OpenSSL and we do.
		if parsed.Version == 3 && (got.SubjectKeyID != string(parsed.SubjectKeyId) || got.CA != parsed.IsCA) {
			t.Fatal("crypto/x509 reads other extensions")
		}
	})
}

// sound checks what holds for every certificate that was read.
func sound(t *testing.T, der []byte, c *Certificate) {
	t.Helper()
	for part, s := range map[string]string{"SPKI": c.SPKI, "subject": c.Subject, "issuer": c.Issuer} {
		if s == "" || !bytes.Contains(der, []byte(s)) {
			t.Fatalf("%s is not a part of the certificate", part)
		}
	}
	if d := sha256.Sum256(der); c.SHA256 != string(d[:]) || len(c.SHA512) != 64 || c.DER != "" {
		t.Fatal("the digests are not of the certificate")
	}
	for _, name := range c.DNSNames {
		if !isHost(name) {
			t.Fatalf("%q is no host", name)
		}
	}
	key, err := parseKey([]byte(c.SPKI))
	if err != nil || key.SPKI != c.SPKI {
		t.Fatalf("the key is none by itself: %v", err)
	}
	for _, combination := range allCombinations() {
		a, err := Leaf{Certificate: c}.Material().Association(combination)
		if err == nil && combination.checkData(a.Data) != nil {
			t.Fatalf("%s: bad data %x", combination, a.Data)
		}
	}
}

func FuzzParse(f *testing.F) {
	seeds(f, func(file []byte) { f.Add(file) })
	leaf := issue(f, "mail", ed25519Key(f), nil, names("mail.example.org"))
	private := encode("PRIVATE KEY", []byte("secret"))
	f.Add(join(private, leaf.pem(), leaf.pem()[:100]))
	f.Add(leaf.der)
	f.Add([]byte(leaf.cert.SPKI))
	f.Add(sequence([]byte{2, 1, 0}, sequence(), element(4, []byte{1})))
	f.Fuzz(func(t *testing.T, data []byte) {
		got, err := Parse(data)
		if (got == nil) != (err != nil) {
			t.Fatalf("got %v and %v", got, err)
		}
		if err != nil {
			return
		}
		n := len(got.Certificates) + len(got.PublicKeys) + got.PrivateKeys
		if n == 0 || n > maxBlocks {
			t.Fatalf("%d things in it", n)
		}
		for _, c := range got.Certificates {
			sound(t, c.raw, c)
		}
		for _, k := range got.PublicKeys {
			if key, err := parseKey([]byte(k.SPKI)); err != nil || key.SPKI != k.SPKI {
				t.Fatalf("the key is none by itself: %v", err)
			}
		}
		for _, l := range Leaves(got.Certificates, got.Certificates) {
			if l.Challenge || l.IssuedBy == l.Certificate {
				t.Fatal("a leaf that is none")
			}
		}
		// One more good block changes nothing else; a damaged one makes an error of it all.
		if !bytes.HasPrefix(data, []byte("0")) && n < maxBlocks {
			more, err := Parse(join(data, []byte("\n"), leaf.pem()))
			if err != nil || len(more.Certificates) != len(got.Certificates)+1 {
				t.Fatalf("with a block more: %v, %v", more, err)
			}
		}
		if partial, err := Parse(join(data, []byte("\n"), leaf.pem()[:90])); err == nil {
			t.Fatalf("with a cut block: %v", partial)
		}
	})
}

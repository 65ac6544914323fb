package tlsa

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/sha512"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/hex"
	"encoding/pem"
	"math/big"
	"os"
	"testing"
	"time"
)

// issuer is a small CA that nobody trusts.
type issuer struct {
	key  *ecdsa.PrivateKey
	cert *x509.Certificate
}

func newKey(t testing.TB) *ecdsa.PrivateKey {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

func newIssuer(t testing.TB) *issuer {
	t.Helper()
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "issuer"}, IsCA: true, BasicConstraintsValid: true,
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour), KeyUsage: x509.KeyUsageCertSign,
	}
	i := &issuer{key: newKey(t), cert: template}
	der := i.sign(t, template, i.key)
	var err error
	if i.cert, err = x509.ParseCertificate(der); err != nil {
		t.Fatal(err)
	}
	return i
}

func (i *issuer) sign(t testing.TB, template *x509.Certificate, key *ecdsa.PrivateKey) []byte {
	t.Helper()
	der, err := x509.CreateCertificate(rand.Reader, template, i.cert, key.Public(), i.key)
	if err != nil {
		t.Fatal(err)
	}
	return der
}

// leaf issues a certificate of its own each time, also for the same key.
func (i *issuer) leaf(t testing.TB, key *ecdsa.PrivateKey, hosts ...string) []byte {
	t.Helper()
	serial, err := rand.Int(rand.Reader, big.NewInt(1<<62))
	if err != nil {
		t.Fatal(err)
	}
	return i.sign(t, &x509.Certificate{
		SerialNumber: serial, Subject: pkix.Name{CommonName: hosts[0]}, DNSNames: hosts,
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour), BasicConstraintsValid: true,
	}, key)
}

func encoded(kind string, der []byte) string {
	return string(pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}))
}

// chain gives a certificate for the key, and the issuer's behind it.
func (i *issuer) chain(t testing.TB, key *ecdsa.PrivateKey, hosts ...string) string {
	t.Helper()
	return encoded("CERTIFICATE", i.leaf(t, key, hosts...)) + encoded("CERTIFICATE", i.cert.Raw)
}

// record is the key's record under 3 1 1, wide that under 3 1 2.
func record(t testing.TB, key *ecdsa.PrivateKey) string {
	t.Helper()
	sum := sha256.Sum256(publicDER(t, key))
	return "3 1 1 " + hex.EncodeToString(sum[:])
}

func wide(t testing.TB, key *ecdsa.PrivateKey) string {
	t.Helper()
	sum := sha512.Sum512(publicDER(t, key))
	return "3 1 2 " + hex.EncodeToString(sum[:])
}

func publicDER(t testing.TB, key *ecdsa.PrivateKey) []byte {
	t.Helper()
	der, err := x509.MarshalPKIXPublicKey(key.Public())
	if err != nil {
		t.Fatal(err)
	}
	return der
}

func signingRequest(t testing.TB, key *ecdsa.PrivateKey, host string) string {
	t.Helper()
	der, err := x509.CreateCertificateRequest(rand.Reader, &x509.CertificateRequest{DNSNames: []string{host}}, key)
	if err != nil {
		t.Fatal(err)
	}
	return encoded("CERTIFICATE REQUEST", der)
}

// A way is how a client puts a certificate in place and how it replaces it.
type way struct {
	first, next func(s *site, chain string)
}

func ways() map[string]way {
	return map[string]way{
		"renamed over": {
			first: func(s *site, chain string) { s.write(place, chain) },
			next:  func(s *site, chain string) { s.install(place, chain) },
		},
		"written in place": {
			first: func(s *site, chain string) { s.write(place, chain) },
			next:  func(s *site, chain string) { s.write(place, chain) },
		},
		"certbot links to its archive": {
			first: func(s *site, chain string) {
				s.write("archive/mail/fullchain1.pem", chain)
				s.mkdir("certs/mail")
				s.must(os.Symlink("../../archive/mail/fullchain1.pem", s.path(place)))
			},
			next: func(s *site, chain string) {
				s.write("archive/mail/fullchain2.pem", chain)
				s.must(os.Remove(s.path(place))) // certbot removes the link and makes it anew
				s.must(os.Symlink("../../archive/mail/fullchain2.pem", s.path(place)))
			},
		},
		"a link renamed over": {
			first: func(s *site, chain string) {
				s.write("archive/mail/fullchain1.pem", chain)
				s.mkdir("certs/mail")
				s.must(os.Symlink("../../archive/mail/fullchain1.pem", s.path(place)))
			},
			next: func(s *site, chain string) {
				s.write("archive/mail/fullchain2.pem", chain)
				s.must(os.Symlink("../../archive/mail/fullchain2.pem", s.path("certs/mail/.link")))
				s.must(os.Rename(s.path("certs/mail/.link"), s.path(place)))
			},
		},
		"Kubernetes swaps ..data": {
			first: func(s *site, chain string) {
				s.write("certs/mail/..2026_01/tls.crt", chain)
				s.must(os.Symlink("..2026_01", s.path("certs/mail/..data")))
				s.must(os.Symlink("..data/tls.crt", s.path("certs/mail/tls.crt")))
			},
			next: func(s *site, chain string) {
				s.write("certs/mail/..2026_02/tls.crt", chain)
				s.must(os.Symlink("..2026_02", s.path("certs/mail/..data_tmp")))
				s.must(os.Rename(s.path("certs/mail/..data_tmp"), s.path("certs/mail/..data")))
				s.must(os.RemoveAll(s.path("certs/mail/..2026_01")))
			},
		},
	}
}

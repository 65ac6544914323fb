package hostiletest

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"slices"
	"sync"
	"time"
)

// A World is one certification authority.
type World struct {
	CA    *x509.Certificate
	CAPEM string
	key   *ecdsa.PrivateKey

	mu     sync.Mutex // guards the rest
	serial int64
	// secrets are the private scalars of all subjects, and the lines of their PEM.
	secrets [][]byte
}

// A Subject is one key and what stands for it.
type Subject struct {
	Key             *ecdsa.PrivateKey
	Cert, SPKI, CSR []byte // in DER
	CertPEM, KeyPEM string
}

// NewWorld makes a World. It panics where the system has no randomness.
func NewWorld() *World {
	w := &World{key: newKey(), serial: 1}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "Hostile Test CA"}, IsCA: true, BasicConstraintsValid: true,
		NotBefore: time.Unix(1e9, 0), NotAfter: time.Unix(4e9, 0), KeyUsage: x509.KeyUsageCertSign,
	}
	der := must(x509.CreateCertificate(rand.Reader, template, template, w.key.Public(), w.key))
	w.CA = must(x509.ParseCertificate(der))
	w.CAPEM = toPEM("CERTIFICATE", der)
	return w
}

func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}

func newKey() *ecdsa.PrivateKey { return must(ecdsa.GenerateKey(elliptic.P256(), rand.Reader)) }

func toPEM(label string, der []byte) string {
	return string(pem.EncodeToMemory(&pem.Block{Type: label, Bytes: der}))
}

// Issue makes a new key for a host, with a certificate, a request and all in PEM.
func (w *World) Issue(host string) *Subject {
	return w.issue(newKey(), func(t *x509.Certificate) { t.DNSNames = []string{host} })
}

func (w *World) issue(key *ecdsa.PrivateKey, change func(*x509.Certificate)) *Subject {
	t := w.template()
	change(t)
	der := must(x509.CreateCertificate(rand.Reader, t, w.CA, key.Public(), w.key))
	private := must(x509.MarshalPKCS8PrivateKey(key))
	s := &Subject{
		Key: key, Cert: der, CertPEM: toPEM("CERTIFICATE", der), KeyPEM: toPEM("PRIVATE KEY", private),
		SPKI: must(x509.MarshalPKIXPublicKey(key.Public())),
		CSR:  must(x509.CreateCertificateRequest(rand.Reader, &x509.CertificateRequest{DNSNames: t.DNSNames}, key)),
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.secrets = append(w.secrets, must(key.Bytes()))
	for _, line := range slices.Collect(lines(s.KeyPEM)) {
		if len(line) == 64 { // not the BEGIN and END lines
			w.secrets = append(w.secrets, []byte(line))
		}
	}
	return s
}

// Secrets are what must be found nowhere: the private scalars and the lines of the PEM of every key that was issued.
func (w *World) Secrets() [][]byte {
	w.mu.Lock()
	defer w.mu.Unlock()
	return slices.Clone(w.secrets)
}

func (w *World) template() *x509.Certificate {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.serial++
	return &x509.Certificate{SerialNumber: big.NewInt(w.serial), NotBefore: time.Unix(1e9, 0), NotAfter: time.Unix(3e9, 0)}
}

// signed wraps a TBSCertificate that may be as bad as it likes: its signature is right.
func (w *World) signed(tbs []byte) []byte {
	digest := sha256.Sum256(tbs)
	signature := must(ecdsa.SignASN1(rand.Reader, w.key, digest[:]))
	return tlv(0x30, tbs, ecdsaSHA256, tlv(3, []byte{0}, signature))
}

// requested wraps the body of a certificate request for the subject's key.
func (s *Subject) requested(body []byte) []byte {
	digest := sha256.Sum256(body)
	signature := must(ecdsa.SignASN1(rand.Reader, s.Key, digest[:]))
	return tlv(0x30, body, ecdsaSHA256, tlv(3, []byte{0}, signature))
}

var ecdsaSHA256 = []byte("\x30\x0a\x06\x08\x2a\x86\x48\xce\x3d\x04\x03\x02")

package probe

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/hex"
	"encoding/pem"
	"fmt"
	"math/big"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/coredns-tlsa/coredns-tlsa/plugin/tlsa/dane"
)

// The moment of the tests. Certificates are valid for a century, so that other people's tools, which have no clock but the
// system's, judge as we do.
var now = time.Date(2026, 6, 1, 12, 0, 0, 0, time.UTC)

const (
	host   = "mail.example.org"
	domain = "example.org"
)

// identity is one certificate with its key.
type identity struct {
	der    []byte
	parsed *x509.Certificate
	key    crypto.Signer
}

// pki is every certificate of the tests, by name.
var pki = sync.OnceValue(func() map[string]identity {
	m := make(map[string]identity)
	for _, s := range certSpecs() {
		m[s.name] = s.issue(m)
	}
	// A negative serial number, which Go refuses and other libraries take.
	leaf := m["leaf"]
	der := append([]byte(nil), leaf.der...)
	at := strings.Index(string(der), "\x02\x01\x07")
	der[at+2] = 0x87
	m["negative"] = identity{der: der, key: leaf.key}
	// A key on a curve that Go does not know.
	data, err := os.ReadFile("../../../../plugin/tlsa/dane/testdata/brainpool.pem")
	if err != nil {
		panic(err)
	}
	block, _ := pem.Decode(data)
	m["brainpool"] = identity{der: block.Bytes}
	return m
})

// certSpec describes one certificate; by empty is self-signed.
type certSpec struct {
	name, by, cn string
	names        []string
	ca           bool
	key          string // "rsa", "ed25519", "=NAME" for the key of another, else P-256
	from, to     int    // years
	change       func(*x509.Certificate)
}

func certSpecs() []certSpec {
	mail := []string{host}
	clientOnly := func(c *x509.Certificate) { c.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth} }
	return []certSpec{
		{name: "root", ca: true},
		{name: "int", by: "root", ca: true},
		{name: "int-renewed", by: "root", cn: "int", ca: true, key: "=int"},
		{name: "leaf", by: "int", names: mail},
		{name: "leaf-renewed", by: "int", names: mail, key: "=leaf"},
		{name: "next", by: "int", names: mail},
		{name: "stranger", by: "int", names: mail},
		{name: "rsa", by: "int", names: mail, key: "rsa"},
		{name: "ed", by: "int", names: mail, key: "ed25519"},
		{name: "expired", by: "int", names: mail, to: 2021},
		{name: "future", by: "int", names: mail, from: 2110},
		{name: "wrong", by: "int", names: []string{"other.example.org"}},
		{name: "wild", by: "int", names: []string{"*.example.org"}},
		{name: "deep", by: "int", names: []string{"*.mail.example.org", "example.org.evil.example"}},
		{name: "hop", by: "int", names: []string{domain}},
		{name: "upper", by: "int", names: []string{"MAIL.Example.ORG"}},
		{name: "cn", by: "int", cn: host},
		{name: "client", by: "int", names: mail, change: clientOnly},
		{name: "self", names: mail},
		{name: "self-ca", names: mail, ca: true},
		{name: "other-root", ca: true},
		{name: "twin", cn: "int", ca: true},
		{name: "int-expired", by: "root", ca: true, to: 2021},
		{name: "leaf-late", by: "int-expired", names: mail},
		{name: "no-ca", by: "int", names: []string{"ca.example.org"}},
		{name: "leaf-no-ca", by: "no-ca", names: mail},
		{name: "short", by: "root", ca: true, change: func(c *x509.Certificate) { c.MaxPathLenZero = true }},
		{name: "sub", by: "short", ca: true},
		{name: "leaf-sub", by: "sub", names: mail},
		{name: "bound", by: "root", ca: true, change: func(c *x509.Certificate) {
			c.PermittedDNSDomainsCritical, c.PermittedDNSDomains = true, []string{"example.net"}
		}},
		{name: "leaf-bound", by: "bound", names: mail},
		{name: "direct", by: "root", names: mail},
	}
}

func (s certSpec) issue(m map[string]identity) identity {
	key := newKey(s.key, m)
	cn, from, to := s.cn, 2020, 2120
	if cn == "" {
		cn = s.name
	}
	if s.from != 0 {
		from = s.from
	}
	if s.to != 0 {
		to = s.to
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(7), Subject: pkix.Name{CommonName: cn}, DNSNames: s.names,
		NotBefore: time.Date(from, 1, 1, 0, 0, 0, 0, time.UTC), NotAfter: time.Date(to, 1, 1, 0, 0, 0, 0, time.UTC),
		BasicConstraintsValid: true, IsCA: s.ca,
	}
	if s.ca {
		template.KeyUsage = x509.KeyUsageCertSign
	}
	if s.change != nil {
		s.change(template)
	}
	parent, signer := template, key
	if s.by != "" {
		parent, signer = m[s.by].parsed, m[s.by].key
	}
	der, err := x509.CreateCertificate(rand.Reader, template, parent, key.Public(), signer)
	if err != nil {
		panic(fmt.Sprint(s.name, ": ", err))
	}
	parsed, err := x509.ParseCertificate(der)
	if err != nil {
		panic(err)
	}
	return identity{der, parsed, key}
}

func newKey(kind string, m map[string]identity) crypto.Signer {
	var key crypto.Signer
	var err error
	of, same := strings.CutPrefix(kind, "=")
	switch {
	case same:
		return m[of].key
	case kind == "rsa":
		key, err = rsa.GenerateKey(rand.Reader, 2048)
	case kind == "ed25519":
		_, key, err = ed25519.GenerateKey(rand.Reader)
	default:
		key, err = ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	}
	if err != nil {
		panic(err)
	}
	return key
}

// chain gives the certificates named, with the key of the first.
func chain(names string) tls.Certificate {
	var c tls.Certificate
	for name := range strings.FieldsSeq(names) {
		id, ok := pki()[name]
		if !ok {
			panic("no certificate " + name)
		}
		c.Certificate = append(c.Certificate, id.der)
	}
	c.PrivateKey = pki()[strings.Fields(names)[0]].key
	return c
}

// rdata writes "3 1 1 leaf" as the record of that certificate. Data that is no name of a certificate stays.
func rdata(t testing.TB, record string) string {
	t.Helper()
	f := strings.Fields(record)
	id, ok := pki()[f[3]]
	if !ok {
		return record
	}
	c, err := dane.ParseCombination("3", f[1], f[2])
	if err != nil {
		t.Fatal(err)
	}
	parsed, err := dane.ParseCertificate(id.der)
	if err != nil {
		t.Fatal(err)
	}
	parsed.KeepDER()
	a, err := dane.Material{Leaf: parsed.Fingerprint}.Association(c)
	if err != nil {
		t.Fatal(err)
	}
	return strings.Join(f[:3], " ") + " " + hex.EncodeToString([]byte(a.Data))
}

func rootPool() *x509.CertPool {
	pool := x509.NewCertPool()
	pool.AddCert(pki()["root"].parsed)
	return pool
}

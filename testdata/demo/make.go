//go:build ignore

// Command make makes the demonstration data of this directory anew: go run testdata/demo/make.go, from the top of the
// repository. Every run gives other keys, so the key tag in Corefile.example and the digests in README.md change too.
// The private keys of the certificates are thrown away; nothing here needs them.
package main

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"log"
	"math/big"
	"os"
	"path/filepath"
	"time"

	"github.com/miekg/dns"
)

var (
	notBefore = time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	notAfter  = time.Date(2126, 1, 1, 0, 0, 0, 0, time.UTC)
)

func main() {
	log.SetFlags(0)
	dir := filepath.Join("testdata", "demo")
	if err := makeZoneKey(dir); err != nil {
		log.Fatal(err)
	}
	if err := makeCertificates(dir); err != nil {
		log.Fatal(err)
	}
}

// makeZoneKey writes the DNSSEC key pair of example.org: one key that signs both keys and data.
func makeZoneKey(dir string) error {
	key := &dns.DNSKEY{
		Hdr:       dns.RR_Header{Name: "example.org.", Rrtype: dns.TypeDNSKEY, Class: dns.ClassINET, Ttl: 3600},
		Flags:     dns.ZONE | dns.SEP,
		Protocol:  3,
		Algorithm: dns.ECDSAP256SHA256,
	}
	private, err := key.Generate(256)
	if err != nil {
		return err
	}
	base := filepath.Join(dir, fmt.Sprintf("Kexample.org.+013+%05d", key.KeyTag()))
	const warning = "; PUBLIC DEMONSTRATION KEY: everybody has its private half. Never use it for a real zone.\n"
	if err := os.WriteFile(base+".key", []byte(warning+key.String()+"\n"), 0o644); err != nil {
		return err
	}
	fmt.Println("key", base)
	return os.WriteFile(base+".private", []byte(key.PrivateKeyString(private)), 0o644)
}

// makeCertificates writes a certificate for mail.example.org and its renewal with another key, both from one CA.
func makeCertificates(dir string) error {
	caKey, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return err
	}
	ca := &x509.Certificate{
		SerialNumber:          big.NewInt(1),
		Subject:               pkix.Name{CommonName: "coredns-tlsa demonstration CA"},
		NotBefore:             notBefore,
		NotAfter:              notAfter,
		IsCA:                  true,
		BasicConstraintsValid: true,
		KeyUsage:              x509.KeyUsageCertSign,
	}
	caDER, err := x509.CreateCertificate(rand.Reader, ca, ca, caKey.Public(), caKey)
	if err != nil {
		return err
	}
	if ca, err = x509.ParseCertificate(caDER); err != nil {
		return err
	}
	files := []string{filepath.Join(dir, "certs", "mail.example.org", "fullchain.pem"), filepath.Join(dir, "renewed.pem")}
	for i, file := range files {
		leaf, err := makeLeaf(ca, caKey, int64(2+i))
		if err != nil {
			return err
		}
		if err := writeChain(file, leaf, caDER); err != nil {
			return err
		}
	}
	return nil
}

func makeLeaf(ca *x509.Certificate, caKey crypto.Signer, serial int64) ([]byte, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	leaf := &x509.Certificate{
		SerialNumber: big.NewInt(serial),
		Subject:      pkix.Name{CommonName: "mail.example.org"},
		DNSNames:     []string{"mail.example.org"},
		NotBefore:    notBefore,
		NotAfter:     notAfter,
		KeyUsage:     x509.KeyUsageDigitalSignature,
		ExtKeyUsage:  []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	}
	return x509.CreateCertificate(rand.Reader, leaf, ca, key.Public(), caKey)
}

// writeChain writes the leaf and its issuer as PEM, and prints the leaf's record data.
func writeChain(file string, leaf, issuer []byte) error {
	var out []byte
	for _, der := range [][]byte{leaf, issuer} {
		out = append(out, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})...)
	}
	cert, err := x509.ParseCertificate(leaf)
	if err != nil {
		return err
	}
	fmt.Printf("%s\n  3 1 1 %x\n", file, sha256.Sum256(cert.RawSubjectPublicKeyInfo))
	return os.WriteFile(file, out, 0o644)
}

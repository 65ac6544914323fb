package main

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"encoding/hex"
	"encoding/pem"
	"fmt"
	"math/big"
	"os"
	"path/filepath"
	"strings"
	"time"
)

// certbot is a tree as certbot makes it: live/NAME/ROLE.pem leads to archive/NAME/ROLE1.pem.
type certbot struct {
	lineages int
	live     string
	digests  []string // of each owner's newest key, in hex
	versions []int
	renewed  int // keys beside the first ones
	ca       *x509.Certificate
	caKey    *ecdsa.PrivateKey
	chain    []byte
	coming   map[int]string // digests of certificates that are not yet in use
}

var roles = []string{"cert", "chain", "fullchain", "privkey"}

func (c *certbot) make(dir string) error {
	c.live = filepath.Join(dir, "live")
	c.digests, c.versions, c.coming = make([]string, c.lineages), make([]int, c.lineages), map[int]string{}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return err
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), NotBefore: time.Now(), NotAfter: time.Now().AddDate(1, 0, 0), IsCA: true, BasicConstraintsValid: true,
		KeyUsage: x509.KeyUsageCertSign,
	}
	template.Subject.CommonName = "bench CA"
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		return err
	}
	if c.ca, err = x509.ParseCertificate(der); err != nil {
		return err
	}
	c.caKey, c.chain = key, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
	for n := range c.lineages {
		if err := os.MkdirAll(c.of("live", n), 0o755); err != nil {
			return err
		}
		if err := os.MkdirAll(c.of("archive", n), 0o755); err != nil {
			return err
		}
		if err := c.write(n); err != nil {
			return err
		}
		if err := c.activate(n); err != nil {
			return err
		}
	}
	c.renewed = 0
	return nil
}

func (c *certbot) of(part string, n int) string {
	return filepath.Join(filepath.Dir(c.live), part, strings.TrimSuffix(host(n), "."))
}

// write puts the next certificate of a lineage into the archive.
func (c *certbot) write(n int) error {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return err
	}
	spki, err := x509.MarshalPKIXPublicKey(key.Public())
	if err != nil {
		return err
	}
	sum := sha256.Sum256(spki)
	template := &x509.Certificate{
		SerialNumber: big.NewInt(int64(n + 2)), NotBefore: time.Now(), NotAfter: time.Now().AddDate(0, 3, 0),
		DNSNames: []string{strings.TrimSuffix(host(n), ".")},
	}
	der, err := x509.CreateCertificate(rand.Reader, template, c.ca, key.Public(), c.caKey)
	if err != nil {
		return err
	}
	private, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return err
	}
	cert := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
	files := map[string][]byte{
		"cert": cert, "chain": c.chain, "fullchain": append(cert, c.chain...),
		"privkey": pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: private}),
	}
	for role, data := range files {
		if err := os.WriteFile(filepath.Join(c.of("archive", n), fmt.Sprintf("%s%d.pem", role, c.versions[n]+1)), data, 0o600); err != nil {
			return err
		}
	}
	c.coming[n] = hex.EncodeToString(sum[:])
	return nil
}

// activate leads the links of a lineage to its next certificate, as certbot does.
func (c *certbot) activate(n int) error {
	c.versions[n]++
	c.renewed++
	for _, role := range roles {
		link := filepath.Join(c.of("live", n), role+".pem")
		target := fmt.Sprintf("../../archive/%s/%s%d.pem", strings.TrimSuffix(host(n), "."), role, c.versions[n])
		if err := os.Remove(link); err != nil && !os.IsNotExist(err) {
			return err
		}
		if err := os.Symlink(target, link); err != nil {
			return err
		}
	}
	c.digests[n] = c.coming[n]
	delete(c.coming, n)
	return nil
}

// replaceOne renews one lineage and tells when that was done.
func (c *certbot) replaceOne(n int) (time.Time, error) {
	if err := c.write(n); err != nil {
		return time.Time{}, err
	}
	err := c.activate(n)
	return time.Now(), err
}

func (c *certbot) prepareRenewals(count int) error {
	for n := range count {
		if err := c.write(n); err != nil {
			return err
		}
	}
	return nil
}

//go:build referee

package main

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/hex"
	"encoding/pem"
	"errors"
	"fmt"
	"maps"
	"math/big"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/coredns-tlsa/coredns-tlsa/plugin/tlsa/certdir"
)

// A material is what one order brings: each part in PEM, and the digest of the leaf's key.
type material struct{ key, csr, leaf, issuer, digest string }

func (m material) chain() string { return m.leaf + m.issuer }

// An issuer signs leaves, as a CA's intermediate does.
type issuer struct {
	t    *testing.T
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
	pem  string
}

var serialNumber = new(big.Int).Lsh(big.NewInt(1), 62)

func newIssuer(t *testing.T) *issuer {
	t.Helper()
	key, _ := newECKey(t)
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "An intermediate"}, IsCA: true, BasicConstraintsValid: true,
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(24 * time.Hour),
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	return &issuer{t: t, cert: template, key: key, pem: encode("CERTIFICATE", der)}
}

func newECKey(t *testing.T) (*ecdsa.PrivateKey, string) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	return key, encode("PRIVATE KEY", der)
}

func encode(label string, der []byte) string {
	return string(pem.EncodeToMemory(&pem.Block{Type: label, Bytes: der}))
}

// issue makes a new key and everything that belongs to it.
func (i *issuer) issue(host string, extra ...pkix.Extension) material {
	i.t.Helper()
	key, keyPEM := newECKey(i.t)
	m := i.issueFor(key, host, extra...)
	m.key = keyPEM
	return m
}

func (i *issuer) issueFor(key *ecdsa.PrivateKey, host string, extra ...pkix.Extension) material {
	i.t.Helper()
	serial, err := rand.Int(rand.Reader, serialNumber)
	if err != nil {
		i.t.Fatal(err)
	}
	der, err := x509.CreateCertificate(rand.Reader, &x509.Certificate{
		SerialNumber: serial, DNSNames: []string{host}, ExtraExtensions: extra,
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(24 * time.Hour),
	}, i.cert, key.Public(), i.key)
	if err != nil {
		i.t.Fatal(err)
	}
	request, err := x509.CreateCertificateRequest(rand.Reader, &x509.CertificateRequest{DNSNames: []string{host}}, key)
	if err != nil {
		i.t.Fatal(err)
	}
	spki, err := x509.MarshalPKIXPublicKey(key.Public())
	if err != nil {
		i.t.Fatal(err)
	}
	sum := sha256.Sum256(spki)
	return material{
		csr: encode("CERTIFICATE REQUEST", request), leaf: encode("CERTIFICATE", der), issuer: i.pem, digest: hex.EncodeToString(sum[:]),
	}
}

// challenge is a certificate for TLS-ALPN-01 (RFC 8737 3).
func (i *issuer) challenge(host string) material {
	i.t.Helper()
	value := append([]byte{4, 32}, make([]byte, 32)...)
	return i.issue(host, pkix.Extension{Id: []int{1, 3, 6, 1, 5, 5, 7, 1, 31}, Critical: true, Value: value})
}

// A step is one operation on a file.
type step struct {
	what string
	leaf bool // it writes the new leaf
	gap  bool // it takes a lineage's only certificate away
	do   func() error
}

// A play is a producer at work, as a list of steps.
type play struct {
	dir   string
	leaf  string // of the order that is on
	fails bool   // the order
	steps []step
}

func (p *play) add(what string, do func() error) {
	p.steps = append(p.steps, step{what: what, do: do})
}

func (p *play) path(name string) string { return filepath.Join(p.dir, name) }

// open is the shell's `> name` before anything is written.
func (p *play) open(name string) {
	p.add("truncate "+name, func() error {
		if err := os.MkdirAll(filepath.Dir(p.path(name)), 0o755); err != nil {
			return err
		}
		return os.WriteFile(p.path(name), nil, 0o600)
	})
}

// append writes text behind what a file holds, in two steps: a reader may come between.
func (p *play) append(name, text string) {
	for i, part := range []string{text[:len(text)/2], text[len(text)/2:]} {
		p.add(fmt.Sprintf("write part %d of %s", i+1, name), func() (err error) {
			f, err := os.OpenFile(p.path(name), os.O_WRONLY|os.O_APPEND, 0)
			if err != nil {
				return err
			}
			defer func() { err = errors.Join(err, f.Close()) }()
			_, err = f.WriteString(part)
			return err
		})
		p.steps[len(p.steps)-1].leaf = strings.Contains(text, p.leaf)
	}
}

// cat is `cat > name`: in place.
func (p *play) cat(name, text string) {
	p.open(name)
	p.append(name, text)
}

// copy is `cp -p`: in place, with the source's times.
func (p *play) copy(name, text string, at time.Time) {
	p.cat(name, text)
	p.add("utimes "+name, func() error { return os.Chtimes(p.path(name), at, at) })
}

// move is `mv -f` from another file system: unlink, create, copy.
func (p *play) move(name, text string) {
	p.unlink(name)
	p.cat(name, text)
}

// replace writes a temporary file beside name and renames it.
func (p *play) replace(temporary, name, text string) {
	p.cat(temporary, text)
	p.rename(temporary, name)
}

func (p *play) rename(from, to string) {
	p.add("rename "+from+" to "+to, func() error { return os.Rename(p.path(from), p.path(to)) })
}

func (p *play) remove(name string) {
	p.add("remove "+name, func() error {
		if err := os.Remove(p.path(name)); !errors.Is(err, os.ErrNotExist) {
			return err
		}
		return nil
	})
}

// unlink is remove of the only file that holds a certificate.
func (p *play) unlink(name string) {
	p.remove(name)
	p.steps[len(p.steps)-1].gap = true
}

func (p *play) symlink(target, name string) {
	p.add("link "+name+" to "+target, func() error {
		if err := os.MkdirAll(filepath.Dir(p.path(name)), 0o755); err != nil {
			return err
		}
		return os.Symlink(target, p.path(name))
	})
}

// lnsf is GNU's `ln -sf`.
func (p *play) lnsf(target, name string) {
	temporary := filepath.Join(filepath.Dir(name), "CuAb12Xy")
	p.symlink(target, temporary)
	p.rename(temporary, name)
}

func (p *play) hardlink(from, to string) {
	p.add("link "+to+" to the file "+from, func() error { return os.Link(p.path(from), p.path(to)) })
}

// An audience watches a play: after each step it looks at what the directories hold.
type audience struct {
	t        *testing.T
	watcher  *certdir.Watcher
	lineages map[string]*certdir.Lineage
	had      map[string]bool // lineages that had a leaf
	most     int             // lineages with a leaf at rest
	old      string          // the digest of the last successful order
}

func newAudience(t *testing.T, root string) *audience {
	return &audience{t: t, lineages: make(map[string]*certdir.Lineage), had: make(map[string]bool), watcher: certdir.New(certdir.Config{
		Certs: []string{root}, Rescan: time.Minute, Quiet: quiet, MaxQuiet: 10 * time.Second, NoEvents: true,
	})}
}

func (a *audience) look() {
	for _, l := range a.watcher.Sweep(context.Background()).Lineages {
		if a.lineages[l.ID] = l; len(l.Files) == 0 {
			delete(a.lineages, l.ID)
		}
	}
}

// leaves are the digests of a lineage's keys.
func leaves(l *certdir.Lineage) []string {
	if l == nil {
		return nil
	}
	digests := make(map[string]bool)
	for _, leaf := range l.Leaves {
		sum := sha256.Sum256([]byte(leaf.Material.Leaf.SPKI))
		digests[hex.EncodeToString(sum[:])] = true
	}
	return slices.Sorted(maps.Keys(digests))
}

// watch plays an order step by step. At each, every lineage has the old leaf, the new one once it is written, or both, and
// nothing else.
func (a *audience) watch(p *play, m material) {
	written := false
	for i, st := range p.steps {
		if err := st.do(); err != nil {
			a.t.Fatalf("%s: %v", st.what, err)
		}
		written = written || st.leaf
		a.look()
		for id, l := range a.lineages {
			for _, d := range leaves(l) {
				a.had[id] = true
				if d != a.old && (d != m.digest || !written) {
					a.t.Fatalf("step %d, %s: %s has the leaf %.8s, which is neither the old one nor the new one", i, st.what, id, d)
				}
			}
		}
		for id := range a.had {
			if len(leaves(a.lineages[id])) > 0 {
				continue
			}
			if !st.gap {
				a.t.Fatalf("step %d, %s: %s has no leaf any more", i, st.what, id)
			}
			delete(a.had, id)
		}
	}
	if written {
		a.old = m.digest
	}
	a.atRest()
}

// atRest is what has to be true between two orders: one leaf, and no doubt.
func (a *audience) atRest() {
	found := 0
	for id, l := range a.lineages {
		if got := leaves(l); len(got) > 0 {
			if found++; !slices.Equal(got, []string{a.old}) {
				a.t.Fatalf("at rest: %s has %s, want %.8s", id, brief(got), a.old)
			}
		}
		for _, f := range l.Files {
			if f.Doubt != nil && strings.Contains(read(a.t, f.Path), "CERTIFICATE-----") {
				a.t.Fatalf("at rest: %s is in doubt: %v", f.Path, f.Doubt)
			}
		}
	}
	if found < a.most || found == 0 && a.old != "" {
		a.t.Fatalf("at rest: %d lineages have a leaf, %d had one before", found, a.most)
	}
	a.most = found
}

// TestEveryStepOfEveryReplayedProducerLeavesOldOrNewLeaf: at each fifth renewal the order fails.
func TestEveryStepOfEveryReplayedProducerLeavesOldOrNewLeaf(t *testing.T) {
	t.Parallel()
	var mu sync.Mutex // guards total
	total := 0
	for name, produce := range producers() {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			dir, ca := t.TempDir(), newIssuer(t)
			root := filepath.Join(dir, produce.root)
			if err := os.MkdirAll(root, 0o755); err != nil {
				t.Fatal(err)
			}
			a := newAudience(t, root)
			for n := range 101 {
				m := ca.issue("mail.example.org")
				p := &play{dir: dir, leaf: m.leaf, fails: n%5 == 3}
				if n == 0 {
					produce.foreign(p, ca.challenge("mail.example.org"))
				}
				produce.order(p, m, n)
				a.watch(p, m)
				mu.Lock()
				total += len(p.steps)
				mu.Unlock()
			}
		})
	}
	t.Cleanup(func() { t.Logf("%d steps in all", total) })
}

// Package hostiletest makes bad files for tests: more than three hundred kinds of them, each with what must come of it, and
// random mutations of good files with an independent reading of each. Only tests import it.
package hostiletest

import (
	"bytes"
	"os"
	"path/filepath"
)

// What a Want may say of the owner that a kind is about.
const (
	Nothing  = ""         // the kind's file gives no key
	ItsKey   = "its key"  // the kind's file gives Case.Key
	Anything = "anything" // as a reason: any problem, or none
)

// A Kind is one way in which a file can be bad, or look so.
type Kind struct {
	// Name is a sentence; it is unique.
	Name string
	// Carrier is how the content gets on disk; nil for a kind that makes files of its own.
	Carrier *Carrier
	// Content is the bad file: a change of the text or octets that Carrier would have. It may set c.Key.
	Content func(c *Case, good []byte) []byte
	// Make makes the files of a kind without Carrier.
	Make func(c *Case) error
	// Gives is Nothing or ItsKey.
	Gives string
	// Fresh is the reason of the problem that must be told when the file is the first in its place; empty: none.
	Fresh string
	// Over is that reason where a good file stood in the place before.
	Over string
	// Hosts are the hosts in the zone that the file's names may bring into being; nil: c.Host where Gives is ItsKey.
	Hosts func(c *Case) []string
	// Skipped: nobody opens the file at all.
	Skipped bool
	// Checked: so many signatures are to be checked that they have an end; each leaves some garbage.
	Checked bool
	// Heavy: so many files that the test of all kinds at once leaves it out.
	Heavy bool
}

// A Case is one kind in one place.
type Case struct {
	*World
	// Host is the host that the files name; Zone is that of all hosts.
	Host, Zone string
	// Certs and Next are directories below the watched roots that belong to this case alone.
	Certs, Next string
	// Good is what stands there before and after, Evil what the bad file is made from.
	Good, Evil *Subject
	// Key is the SubjectPublicKeyInfo that the bad file holds: Evil's, unless its content is of another key.
	Key []byte
}

// NewCase prepares a case.
func NewCase(w *World, host, zone, certs, next string) *Case {
	c := &Case{World: w, Host: host, Zone: zone, Certs: certs, Next: next}
	c.Good, c.Evil = w.Issue(host), w.Issue(host)
	c.Key = c.Evil.SPKI
	return c
}

// Drop puts the bad files of a kind in place.
func (k *Kind) Drop(c *Case) error {
	if k.Carrier == nil {
		return k.Make(c)
	}
	return k.Carrier.put(c, k.Content(c, k.Carrier.good(c, c.Evil)))
}

// Put puts a good file of a subject in the kind's place. A kind without Carrier has none: its directory is made anew.
func (k *Kind) Put(c *Case, s *Subject) error {
	if k.Carrier != nil {
		return k.Carrier.PutGood(c, s)
	}
	return first(os.RemoveAll(c.Certs), os.MkdirAll(c.Certs, 0o755), chainPEM.PutGood(c, s))
}

// Named tells whether the kind's good file says which host it is for.
func (k *Kind) Named() bool { return k.Carrier != keyPEM && k.Carrier != keyDER }

// A Carrier is one form and one layout of files.
type Carrier struct {
	Name string
	// Staged: it lies under `next`.
	Staged bool
	// Text: it is PEM.
	Text bool
	good func(c *Case, s *Subject) []byte
	put  func(c *Case, data []byte) error
}

func write(path string, data []byte) error {
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return err
	}
	return os.WriteFile(path, data, 0o644)
}

// relink replaces a link as certbot does.
func relink(to, path string) error {
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return err
	}
	_ = os.Remove(path)
	return os.Symlink(to, path)
}

// flat is one file below Certs, or below Next.
func flat(name string, staged, text bool, suffix string, good func(c *Case, s *Subject) []byte) *Carrier {
	return &Carrier{Name: name, Staged: staged, Text: text, good: good, put: func(c *Case, data []byte) error {
		dir := c.Certs
		if staged {
			dir = c.Next
		}
		return write(filepath.Join(dir, c.Host+suffix), data)
	}}
}

func chain(c *Case, s *Subject) []byte { return []byte(s.CertPEM + c.CAPEM) }

func join(parts ...[]byte) []byte { return bytes.Join(parts, nil) }

// The forms of a file.
var (
	chainPEM = flat("chain", false, true, ".pem", chain)
	combined = flat("key and chain", false, true, ".bundle.pem", func(c *Case, s *Subject) []byte {
		return join([]byte(s.KeyPEM), chain(c, s))
	})
	certDER = flat("certificate in DER", false, false, ".der", func(_ *Case, s *Subject) []byte { return s.Cert })
	csrPEM  = flat("request", true, true, ".csr", func(_ *Case, s *Subject) []byte { return []byte(toPEM("CERTIFICATE REQUEST", s.CSR)) })
	csrDER  = flat("request in DER", true, false, ".csr", func(_ *Case, s *Subject) []byte { return s.CSR })
	keyPEM  = flat("public key", true, true, ".pub", func(_ *Case, s *Subject) []byte { return []byte(toPEM("PUBLIC KEY", s.SPKI)) })
	keyDER  = flat("public key in DER", true, false, ".pub.der", func(_ *Case, s *Subject) []byte { return s.SPKI })
)

// layouts are the ways of the clients that W lists, all of them with a chain in PEM.
func layouts() []*Carrier {
	under := func(name string, put func(c *Case, data []byte) error) *Carrier {
		return &Carrier{Name: name, Text: true, good: chain, put: put}
	}
	return []*Carrier{
		under("certbot", func(c *Case, data []byte) error {
			if err := write(filepath.Join(c.Certs, "archive", c.Host, "fullchain1.pem"), data); err != nil {
				return err
			}
			return relink("../../archive/"+c.Host+"/fullchain1.pem", filepath.Join(c.Certs, "live", c.Host, "fullchain.pem"))
		}),
		under("lego", func(c *Case, data []byte) error { return write(filepath.Join(c.Certs, c.Host+".crt"), data) }),
		under("dehydrated", func(c *Case, data []byte) error {
			if err := write(filepath.Join(c.Certs, c.Host, "fullchain-1700000000.pem"), data); err != nil {
				return err
			}
			return relink("fullchain-1700000000.pem", filepath.Join(c.Certs, c.Host, "fullchain.pem"))
		}),
		under("acme.sh", func(c *Case, data []byte) error {
			return write(filepath.Join(c.Certs, c.Host+"_ecc", "fullchain.cer"), data)
		}),
		under("Kubernetes", func(c *Case, data []byte) error {
			dir, version := filepath.Join(c.Certs, c.Host), "..2026_a"
			if to, err := os.Readlink(filepath.Join(dir, "..data")); err == nil && to == version {
				version = "..2026_b"
			}
			if err := write(filepath.Join(dir, version, "tls.crt"), data); err != nil {
				return err
			}
			if err := relink(version, filepath.Join(dir, "..data_tmp")); err != nil {
				return err
			}
			if err := os.Rename(filepath.Join(dir, "..data_tmp"), filepath.Join(dir, "..data")); err != nil {
				return err
			}
			return relink("..data/tls.crt", filepath.Join(dir, "tls.crt"))
		}),
		under("Caddy", func(c *Case, data []byte) error {
			dir := filepath.Join(c.Certs, "acme.example", c.Host)
			if err := write(filepath.Join(dir, "1234567890"), data); err != nil {
				return err
			}
			return os.Rename(filepath.Join(dir, "1234567890"), filepath.Join(dir, c.Host+".crt"))
		}),
	}
}

package main

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/pem"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/coredns-tlsa/coredns-tlsa/plugin/tlsa/certdir"
)

// sha256Of is how a watcher tells a certificate.
func sha256Of(t *testing.T, file []byte) string {
	t.Helper()
	block, _ := pem.Decode(file)
	sum := sha256.Sum256(block.Bytes)
	return string(sum[:])
}

// watched starts a watcher that relies on events alone, and hands out what it sees of the leaves of its lineages: each change
// of one, by the lineage's directory.
func watched(t *testing.T, root string) <-chan map[string][]string {
	t.Helper()
	w := certdir.New(certdir.Config{Certs: []string{root}, Rescan: time.Hour, Quiet: 20 * time.Millisecond, MaxQuiet: 200 * time.Millisecond})
	now := make(map[string][]string)
	out := make(chan map[string][]string, 1000)
	see := func(c certdir.Changes) {
		for _, l := range c.Lineages {
			now[l.Dir] = nil
			for _, leaf := range l.Leaves {
				now[l.Dir] = append(now[l.Dir], leaf.Material.Leaf.SHA256)
			}
		}
		seen := make(map[string][]string)
		for dir, leaves := range now {
			seen[dir] = slices.Clone(leaves)
		}
		out <- seen
	}
	see(w.Sweep(t.Context()))
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan struct{})
	go func() { w.Run(ctx, see); close(ended) }()
	t.Cleanup(func() { cancel(); <-ended })
	<-out
	<-out // of the sweep that arms the events
	return out
}

// The plugin's own watcher must see each exchange, and a whole set at every moment: the old one or the new one.
func TestTheWatcherSeesEachInstallationWhole(t *testing.T) {
	for claim, row := range map[string]struct {
		shape shape
		root  string
	}{
		"the directory lies in the root":       {asDirectory, "."},
		"the directory is the root":            {asDirectory, "installed"},
		"a link lies in the root":              {asLink, "."},
		"the link is the root":                 {asLink, "installed"},
		"files of the directory are the roots": {asDirectory, "installed/*.pem"},
	} {
		t.Run(claim, func(t *testing.T) {
			s := newSite(t, row.shape)
			elsewhere := newSite(t, asDirectory) // what is staged is none of the root's
			must(t, 0, errors.Join(os.RemoveAll(s.path("staged")), os.RemoveAll(elsewhere.path("staged"))))
			out := watched(t, filepath.Join(s.dir, row.root))
			old := sha256Of(t, s.old["cert.pem"])
			for range 3 {
				next := newLineage(t, "mail.example.org", newKey(t))
				elsewhere.write("staged", next)
				elsewhere.dns.set(mailOwner, append(recordsOf(t, mailOwner, next["cert.pem"]), recordsOf(t, mailOwner, s.read("installed", "cert.pem"))...)...)
				code, _, talk := tlsactl(t, network{}, "install", "--server", elsewhere.dns.addr, "--hold", "0", elsewhere.path("staged"), s.path("installed"))
				if code != 0 || !bytes.Equal(s.read("installed", "cert.pem"), next["cert.pem"]) {
					t.Fatalf("exit %d: %s", code, talk)
				}
				sum := sha256Of(t, next["cert.pem"])
				waitFor(t, out, s.path("installed"), row.shape, old, sum)
				old = sum
			}
		})
	}
}

// waitFor reads what the watcher sees until a lineage's leaf is the new one; until then it must be the old one.
func waitFor(t *testing.T, out <-chan map[string][]string, dir string, shape shape, old, want string) {
	t.Helper()
	timeout := time.NewTimer(30 * time.Second)
	defer timeout.Stop()
	for {
		select {
		case seen := <-out:
			for other, leaves := range seen {
				if other != dir && len(leaves) > 0 && (shape == asDirectory || filepath.Base(other) != "one") {
					t.Fatalf("the watcher sees %d leaves in %s", len(leaves), other)
				}
			}
			switch leaves := seen[dir]; {
			case slices.Equal(leaves, []string{want}):
				return
			case !slices.Equal(leaves, []string{old}):
				t.Fatalf("the watcher sees %d leaves in %s, which are neither the old set nor the new one", len(leaves), dir)
			}
		case <-timeout.C:
			t.Fatal("the watcher has not seen the new certificate")
		}
	}
}

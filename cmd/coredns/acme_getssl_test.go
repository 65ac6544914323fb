//go:build referee

package main

import (
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"
)

// TestGetsslTemporaryCopiesDoNotKeepTheOldKey: getssl puts combined files together in DOMAIN/tmp, leaves them there until
// its checks of the remote server are done, and then deletes the directory. The lineages that vanish so are most of those
// that the root has; the old key must leave after grace all the same, because its certificate was replaced in the other files.
func TestGetsslTemporaryCopiesDoNotKeepTheOldKey(t *testing.T) {
	t.Parallel()
	dir, ca := t.TempDir(), newIssuer(t)
	const owner = "_25._tcp.mail.example.org."
	var installs []install
	var all *samples
	for n := range 4 {
		m := ca.issue("mail.example.org")
		p := &play{dir: dir, leaf: m.leaf}
		if n == 0 {
			foreignGetssl(p, ca.challenge("mail.example.org"))
		}
		orderGetssl(p, m, n)
		const tmp = "mail.example.org/tmp/mail.example.org"
		p.cat(tmp+"_chain.pem", m.chain())
		p.cat(tmp+"_K_C.pem", m.key+m.leaf)
		p.cat(tmp+".pem", m.key+m.chain())
		begun := time.Now()
		p.perform(t)
		installs = append(installs, install{m.digest, begun, time.Now()})
		if n == 0 {
			all = serve(t, dir, grace, "mail")
		}
		if n == 3 { // nothing to check this time: it is gone before anybody sees it
			removeAll(t, filepath.Join(dir, "mail.example.org", "tmp"))
		}
		all.settles(t, "the new key", owner, func(got []string) bool { return slices.Contains(got, m.digest) })
		<-time.After(2 * time.Second) // CHECK_REMOTE_WAIT, and the checks
		removeAll(t, filepath.Join(dir, "mail.example.org", "tmp"))
		<-time.After(3 * time.Second)
	}
	last := installs[len(installs)-1].digest
	all.settles(t, "the set of the last key alone", owner, func(got []string) bool { return slices.Equal(got, []string{last}) })
	all.end()
	all.faultless(t, owner, installs, grace, true)
}

func removeAll(t *testing.T, path string) {
	t.Helper()
	if err := os.RemoveAll(path); err != nil {
		t.Fatal(err)
	}
}

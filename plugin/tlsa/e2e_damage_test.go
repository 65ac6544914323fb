package tlsa

import (
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/coredns-tlsa/coredns-tlsa/plugin/tlsa/certdir"
	"github.com/coredns-tlsa/coredns-tlsa/plugin/tlsa/rollover"
)

// A harm is something that happens to the files, and the problems of which one must tell of it.
type harm struct {
	do      func(s *site)
	reasons []rollover.Reason
}

func harms() map[string]harm {
	return map[string]harm{
		"deleted": {
			do:      func(s *site) { s.must(os.Remove(s.path(place))) },
			reasons: []rollover.Reason{rollover.SourceMissing, rollover.LastAssociation, rollover.RemovalsFrozen, rollover.NoSuccessor},
		},
		"deleted with its directory": {
			do:      func(s *site) { s.must(os.RemoveAll(s.path("certs/mail"))) },
			reasons: []rollover.Reason{rollover.SourceMissing, rollover.LastAssociation, rollover.RemovalsFrozen, rollover.NoSuccessor},
		},
		"emptied": {
			do:      func(s *site) { s.write(place, "") },
			reasons: []rollover.Reason{certdir.Empty},
		},
		"overwritten with garbage": {
			do:      func(s *site) { s.write(place, strings.Repeat("\x00\xff garbage\n", 100)) },
			reasons: []rollover.Reason{certdir.Malformed, certdir.Truncated},
		},
		"replaced by a private key": {
			do: func(s *site) {
				s.install(place, "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n")
			},
			reasons: []rollover.Reason{certdir.Replaced},
		},
		"a link that leads nowhere": {
			do: func(s *site) {
				s.must(os.Remove(s.path(place)))
				s.must(os.Symlink("nowhere.pem", s.path(place)))
			},
			reasons: []rollover.Reason{certdir.Unreadable},
		},
		"a directory in its place": {
			do: func(s *site) {
				s.must(os.Remove(s.path(place)))
				s.mkdir(place)
			},
			reasons: []rollover.Reason{certdir.NotRegular, rollover.SourceMissing, rollover.RemovalsFrozen},
		},
		"its root is renamed away, as when unmounted": {
			do:      func(s *site) { s.must(os.Rename(s.path("certs"), s.path("away"))) },
			reasons: []rollover.Reason{certdir.MissingRoot},
		},
		"its root is emptied, as when mounted over": {
			do: func(s *site) {
				s.must(os.Rename(s.path("certs"), s.path("away")))
				s.mkdir("certs")
			},
			reasons: []rollover.Reason{rollover.SourceMissing, rollover.RemovalsFrozen, rollover.LastAssociation},
		},
		"anybody may write to its directory": {
			do:      func(s *site) { s.must(os.Chmod(s.path("certs/mail"), 0o777)) },
			reasons: []rollover.Reason{certdir.WritableDirectory},
		},
	}
}

func TestHarmToFilesNeverChangesTheAnswer(t *testing.T) {
	t.Parallel()
	n := 0
	for claim, h := range harms() {
		n++
		zone := fmt.Sprintf("harm%d.test.", n)
		t.Run(claim, func(t *testing.T) {
			t.Parallel()
			s := newSite(t, zone)
			key := newKey(t)
			s.write(place, s.chain(key))
			s.start()
			s.expect(record(t, key))
			h.do(s)
			during(t, 5*rescan, func() { s.expect(record(t, key)) })
			until(t, rescan, fmt.Sprintf("a problem of %v", h.reasons), func() bool {
				s.expect(record(t, key))
				return s.problem(h.reasons...) > 0
			})
		})
	}
}

func TestUnreadableFileKeepsTheAnswer(t *testing.T) {
	t.Parallel()
	s := newSite(t, "mode.test.")
	key := newKey(t)
	s.write(place, s.chain(key))
	s.start()
	s.expect(record(t, key))
	s.must(os.Chmod(s.path(place), 0))
	during(t, 3*rescan, func() { s.expect(record(t, key)) })
	if os.Geteuid() != 0 { // root reads it all the same
		until(t, rescan, "unreadable", func() bool { return s.problem(certdir.Unreadable) == 1 })
		s.must(os.Chmod(s.path(place), 0o644))
		until(t, rescan, "no problem", func() bool { return s.problem(certdir.Unreadable) == 0 })
	}
	s.expect(record(t, key))
}

func TestRootThatComesBackIsAsBefore(t *testing.T) {
	t.Parallel()
	s := newSite(t, "back.test.")
	key, young := newKey(t), newKey(t)
	s.write(place, s.chain(key))
	s.start()
	s.must(os.Rename(s.path("certs"), s.path("away")))
	until(t, notice, "a missing root", func() bool { return s.problem(certdir.MissingRoot) > 0 })
	s.must(os.Rename(s.path("away"), s.path("certs")))
	until(t, notice, "no problem", func() bool {
		s.expect(record(t, key))
		return len(s.openProblems()) == 0
	})
	before := time.Now()
	s.install(place, s.chain(young))
	s.overlaps(before, record(t, key), record(t, young))
}

// openProblems are the reasons of what is open.
func (s *site) openProblems() []string {
	var open []string
	for reason, n := range gauges(s, "coredns_tlsa_problems", s.zone, "reason") {
		if n > 0 {
			open = append(open, reason)
		}
	}
	return slices.Sorted(slices.Values(open))
}

// TestFileTruncatedAtEachByteKeepsTheAnswer gives each length a host, a lineage and an owner of its own.
func TestFileTruncatedAtEachByteKeepsTheAnswer(t *testing.T) {
	t.Parallel()
	s := newSite(t, "truncated.test.")
	key := newKey(t)
	files, names, certs := map[string]string{}, "", ""
	for length := 0; length == 0 || length < len(certs); length++ {
		host := fmt.Sprintf("h%d", length)
		chain := encoded("CERTIFICATE", s.issuer.leaf(t, key, host+".truncated.test"))
		certs = chain
		files[host] = chain[:min(length, len(chain)-1)]
		s.write("certs/"+host+"/fullchain.pem", chain)
		names += "name _25._tcp." + host + "\n"
	}
	s.options = strings.Replace(s.options, "name _25._tcp.mail\n", names, 1)
	s.start()
	unchanged := func() {
		for host := range files {
			if owner := "_25._tcp." + host + "." + s.zone; !s.serves(owner, record(t, key)) {
				t.Fatalf("%s: %q", owner, s.published(owner))
			}
		}
	}
	unchanged()
	for host, contents := range files {
		s.write("certs/"+host+"/fullchain.pem", contents)
	}
	reasons := []rollover.Reason{certdir.Truncated, certdir.Malformed, certdir.Empty}
	until(t, 2*notice, "a problem for all but the last length, which lacks the last newline only", func() bool {
		unchanged()
		return s.problem(reasons...) >= len(files)-2
	})
	during(t, 2*rescan, unchanged)
	if n := s.problem(rollover.NoCertificate); n != 0 {
		t.Errorf("%d no-certificate", n)
	}
}

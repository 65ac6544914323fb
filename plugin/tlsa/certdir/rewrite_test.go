package certdir

import (
	"fmt"
	"math/rand/v2"
	"os"
	"slices"
	"testing"
	"time"

	"github.com/fsnotify/fsnotify"
)

// rewrites is the number of in-place rewrites that issue 3 asks for; an order of acme.sh makes four of them.
const rewrites = 1200

// An order is one renewal as acme.sh writes it: each file truncated, then written in two parts, .cer first the whole chain,
// which is cut anew later.
type order struct {
	t     *testing.T
	dir   string
	event func(name string)        // tells of a change
	pause func(most time.Duration) // lets up to that much time pass
}

func (o order) write(name, data string) {
	o.t.Helper()
	f, err := os.OpenFile(o.dir+"/"+name, os.O_WRONLY|os.O_TRUNC|os.O_CREATE, 0o644)
	ok(o.t, err)
	o.event(name)
	cut := rand.N(len(data))
	for _, part := range []string{data[:cut], data[cut:]} {
		o.pause(2 * quiet)
		_, err := f.WriteString(part)
		ok(o.t, err)
		o.event(name)
	}
	ok(o.t, f.Close())
}

func (o order) renew(c issued, chain string) {
	o.t.Helper()
	o.write("a.cer", c.fullchain)
	o.write("fullchain.cer", c.fullchain)
	o.write("a.cer", c.cert)
	o.write("ca.cer", chain)
}

// Whatever the watcher hands out between two orders, the leaf is the one before or the one that comes, and is never absent.
func TestRewritesInPlaceNeverShowAWrongLeaf(t *testing.T) {
	t.Parallel()
	both(t, func(s *stage) {
		s.w.cfg.Rescan = 5 * quiet
		acmesh(t, s.dir+"/a", "a", s.pki.issue("0"), s.pki.chain)
	}, func(s *stage) {
		var seen, wrong []string
		now := 0
		s.onChange(func(c Changes) {
			for _, l := range c.Lineages {
				var labels []string
				for _, leaf := range l.Leaves {
					labels = append(labels, s.pki.label(leaf))
				}
				seen = append(seen, labels...)
				allowed := []string{fmt.Sprint(now - 1), fmt.Sprint(now)}
				if len(labels) == 0 || slices.ContainsFunc(labels, func(s string) bool { return !slices.Contains(allowed, s) }) {
					wrong = append(wrong, fmt.Sprint(labels, " in order ", now))
				}
			}
		})
		o := order{t: s.t, dir: s.dir + "/a", pause: func(most time.Duration) { s.pass(rand.N(most)) }, event: func(name string) {
			if !s.w.cfg.NoEvents {
				s.event("a/"+name, fsnotify.Write)
			}
		}}
		for now = 1; now <= rewrites/4; now++ {
			o.renew(s.pki.issue(fmt.Sprint(now)), s.pki.chain)
			s.pass(3*s.w.cfg.Rescan + maxQuiet)
			if got, want := s.String(), fmt.Sprintf("certs/a/a; %d a.cer fullchain.cer", now); got != want {
				s.t.Fatalf("got:\n%s\nwant:\n%s", got, want)
			}
		}
		if len(wrong) > 0 || len(seen) < rewrites/4 {
			s.t.Errorf("of %d: %q", len(seen), wrong)
		}
	})
}

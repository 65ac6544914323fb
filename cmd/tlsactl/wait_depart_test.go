package main

import (
	"bytes"
	"io"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/miekg/dns"
)

// Who answers until the delegation changes has been asked until then, so caches may have what it said.
func TestServerThatLeavesWithoutTheKeyCountsFromItsEnd(t *testing.T) {
	for claim, once := range map[string]bool{"in one run": false, "between runs that share a state": true} {
		t.Run(claim, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r := newRollover(t)
				r.ns[0].set(mailOwner, r.both()...) // the second one never has it
				r.world.put("203.0.113.53:53", resolver(map[string][]string{"example.org.": {"192.0.2.1", "192.0.2.2"}}, nil))
				r.at(3*time.Hour, func() {
					r.world.put("203.0.113.53:53", resolver(map[string][]string{"example.org.": {"192.0.2.1"}}, nil))
				})
				args := []string{"--resolver", "203.0.113.53", r.file}
				if !once {
					r.run(args...).want(t, exitDone, 5*time.Hour, "192.0.2.2:53: it lacks")
					return
				}
				args = append(args, "--state", filepath.Join(t.TempDir(), "state"), "--at-most", "0")
				r.run(args...).want(t, exitNotYet, 0, "192.0.2.2:53: it lacks")
				time.Sleep(3 * time.Hour)
				r.run(args...).want(t, exitNotYet, 3*time.Hour, "caches may lack it until 2000-01-01T05:00:00Z")
				time.Sleep(time.Hour)
				r.run(args...).want(t, exitNotYet, 4*time.Hour, "caches may lack it until 2000-01-01T05:00:00Z")
				time.Sleep(time.Hour)
				r.run(args...).want(t, exitDone, 5*time.Hour, "")
			})
		})
	}
}

// One of two servers has an old CNAME, whose target lacks the key. Caches keep that CNAME for its own TTL.
func TestAliasThatMovesCountsFromThere(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRollover(t)
		alias := func(target string) dns.RR {
			return &dns.CNAME{Hdr: dns.RR_Header{Rrtype: dns.TypeCNAME}, Target: target}
		}
		const before, after = "old._dane.example.net.", "new._dane.example.net."
		r.ns[0].set(mailOwner, alias(after))
		r.ns[1].set(mailOwner, alias(before))
		other := &authority{apex: "example.net.", ttl: time.Minute, signed: true}
		other.set(before, r.old...)
		other.set(after, r.both()...)
		r.world.put("198.51.100.1:53", other)
		r.world.put("203.0.113.53:53", resolver(map[string][]string{
			"example.org.": {"192.0.2.1", "192.0.2.2"}, "example.net.": {"198.51.100.1"},
		}, map[string]string{mailOwner: after}))
		r.at(3*time.Hour, func() { r.ns[1].set(mailOwner, alias(after)) })
		r.run("--resolver", "203.0.113.53", r.file).want(t, exitDone, 5*time.Hour, "198.51.100.1:53 (for "+before+"): it lacks")
	})
}

// A loop of CNAMEs leads to no record, within one answer or through two zones.
func TestLoopOfAliasesIsNeverSafe(t *testing.T) {
	const two, three = "b._dane.example.org.", "c._dane.example.org."
	for claim, names := range map[string][]string{
		"of two names":   {mailOwner, two},
		"of three names": {mailOwner, two, three},
		"of two zones":   {mailOwner, "b._dane.example.net."},
	} {
		t.Run(claim, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r := newRollover(t)
				other := &authority{apex: "example.net.", ttl: time.Hour, signed: true}
				for i, name := range names {
					rr := &dns.CNAME{Hdr: dns.RR_Header{Rrtype: dns.TypeCNAME}, Target: names[(i+1)%len(names)]}
					for _, z := range []*authority{r.ns[0], r.ns[1], other} {
						if dns.IsSubDomain(z.apex, name) {
							z.set(name, rr)
						}
					}
				}
				r.world.put("198.51.100.1:53", other)
				r.world.put("203.0.113.53:53", resolver(map[string][]string{
					"example.org.": {"192.0.2.1", "192.0.2.2"}, "example.net.": {"198.51.100.1"},
				}, nil))
				o := r.run("--resolver", "203.0.113.53", "--at-most", "3h", r.file)
				if o.code == exitDone || !strings.Contains(o.stderr, "CNAME") {
					t.Errorf("exit %d: %s%s", o.code, o.stdout, o.stderr)
				}
			})
		})
	}
}

// Between a look that found it missing and the next one it may have been missing all the time, whatever the advice.
func TestServerThatLackedItLongAgoCountsFromWhenItShowsIt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRollover(t)
		r.ns[0].set(mailOwner, r.both()...)
		state := filepath.Join(t.TempDir(), "state")
		run := func() int {
			var talk bytes.Buffer
			a := newTestApp(nil, io.Discard, &talk, r.world)
			a.dialAdvice = func(string) (advice, error) { return adviser{owner: counsel{known: true, from: r.start}}, nil }
			code := a.run(t.Context(), []string{"wait", "--control", "x", "--server", "192.0.2.1", "--server", "192.0.2.2",
				"--at-most", "0", "--state", state, r.file})
			t.Log(talk.String())
			return code
		}
		if code := run(); code != exitNotYet {
			t.Errorf("a server lacks it: exit %d", code)
		}
		time.Sleep(24*time.Hour - time.Minute)
		r.ns[1].set(mailOwner, r.both()...) // a secondary that asks its primary once a day
		time.Sleep(time.Minute)
		if code := run(); code != exitNotYet {
			t.Errorf("a minute after a server got it: exit %d, but a cache may lack it for an hour", code)
		}
		time.Sleep(2 * time.Hour)
		if code := run(); code != exitDone {
			t.Errorf("two hours after: exit %d", code)
		}
	})
}

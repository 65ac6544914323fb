package main

import (
	"context"
	"net"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/miekg/dns"
)

const parentDoubt = "servers that only the parent of example.org. names may be missing"

// A family is a zone with its parent: the zone names two servers, the parent perhaps a third one.
type family struct {
	*rollover
	resolver, org, third *authority
}

func newFamily(t *testing.T) *family {
	r := newRollover(t)
	f := &family{
		rollover: r,
		resolver: resolver(map[string][]string{
			"example.org.": {"192.0.2.1", "192.0.2.2"}, "org.": {"198.51.100.6", "198.51.100.7"}, "example.net.": {"192.0.2.3"},
		}, nil),
		org:   &authority{apex: "org.", ttl: time.Hour},
		third: &authority{apex: "example.org.", ttl: time.Hour, signed: true},
	}
	r.world.put("203.0.113.53:53", f.resolver)
	r.world.put("198.51.100.7:53", f.org) // the other one is silent
	r.world.put("192.0.2.3:53", f.third)
	for _, ns := range r.ns {
		ns.set(mailOwner, r.both()...)
	}
	f.third.set(mailOwner, r.old...)
	f.refer(nsOf("ns.example.org."))
	return f
}

func nsOf(host string) dns.RR { return &dns.NS{Hdr: dns.RR_Header{Rrtype: dns.TypeNS}, Ns: host} }

func glueOf(host, ip string) dns.RR {
	return &dns.A{Hdr: dns.RR_Header{Name: host, Rrtype: dns.TypeA, Class: dns.ClassINET}, A: net.ParseIP(ip)}
}

func (f *family) refer(rrs ...dns.RR) {
	f.org.change(func() { f.org.delegations = map[string][]dns.RR{"example.org.": rrs} })
}

// Resolvers go where the parent sends them, so a server that only the parent names holds the wait back like any other.
func TestServersThatOnlyTheParentNamesCount(t *testing.T) {
	later := func(f *family) { f.at(time.Hour, func() { f.third.set(mailOwner, f.both()...) }) }
	for claim, row := range map[string]struct {
		happen func(f *family)
		after  time.Duration
		stderr string
		doubts int
	}{
		"parent and zone agree": {func(*family) {}, 2 * time.Hour, "", 0},
		"a referral": {func(f *family) {
			f.refer(nsOf("ns.example.net."))
			later(f)
		}, 3 * time.Hour, "192.0.2.3:53: it lacks", 0},
		"a referral with glue that nothing else knows": {func(f *family) {
			f.refer(nsOf("gone.example.org."), glueOf("gone.example.org.", "192.0.2.3"))
			later(f)
		}, 3 * time.Hour, "192.0.2.3:53: it lacks", 0},
		"an answer": {func(f *family) {
			f.refer()
			f.org.change(func() { f.org.delegations = nil })
			f.org.set("example.org.", nsOf("ns.example.net."))
			later(f)
		}, 3 * time.Hour, "192.0.2.3:53: it lacks", 0},
		"it leaves the delegation without the key": {func(f *family) {
			f.refer(nsOf("ns.example.net."))
			f.at(time.Hour, func() { f.refer(nsOf("ns.example.org.")) })
		}, 3 * time.Hour, "192.0.2.3:53: it lacks", 0},
		"the parent tells once, then no more": {func(f *family) {
			f.refer(nsOf("ns.example.net."))
			f.at(10*time.Minute, func() { f.world.put("198.51.100.7:53", nil) })
			later(f)
		}, 3 * time.Hour, "192.0.2.3:53: it lacks", 1},
		"its address is known once, then no more": {func(f *family) {
			f.refer(nsOf("ns.example.net."))
			f.at(10*time.Minute, func() { f.resolver.set("ns.example.net.") })
			later(f)
		}, 3 * time.Hour, "no address of ns.example.net.", 1},
		"the parent has no delegation":    {func(f *family) { f.org.change(func() { f.org.delegations = nil }) }, 2 * time.Hour, "", 0},
		"the parent cannot be asked":      {func(f *family) { f.world.put("198.51.100.7:53", nil) }, 2 * time.Hour, "198.51.100.7:53: connection refused", 1},
		"the parent answers no questions": {func(f *family) { f.org.change(func() { f.org.apex = "com." }) }, 2 * time.Hour, "it does not tell", 1},
		"the parent has no address":       {func(f *family) { f.resolver.set("ns.org.") }, 2 * time.Hour, "ns.org. has no address", 1},
	} {
		t.Run(claim, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				f := newFamily(t)
				row.happen(f)
				synctest.Wait()
				o := f.run("--resolver", "203.0.113.53", f.file)
				o.want(t, exitDone, row.after, row.stderr)
				if got := strings.Count(o.stderr, parentDoubt); got != row.doubts {
					t.Errorf("the doubt was said %d times, want %d:\n%s", got, row.doubts, o.stderr)
				}
			})
		})
	}
}

// What hangs costs a few seconds of each list, no more.
func TestParentThatHangsCostsSeconds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFamily(t)
		find := &finder{now: time.Now, resolvers: []string{"203.0.113.53:53"}, x: exchangerFunc(
			func(ctx context.Context, q *dns.Msg, transport, addr string) (*dns.Msg, error) {
				if strings.HasPrefix(addr, "198.51.100.") {
					<-ctx.Done()
					return nil, ctx.Err()
				}
				return f.world.exchange(ctx, q, transport, addr)
			})}
		servers, err := find.servers(t.Context(), mailOwner)
		if took := time.Since(f.start); err != nil || len(servers) != 2 || took == 0 || took > parentLimit {
			t.Errorf("%v, %v after %s", servers, err, took)
		}
	})
}

// A server that joins between the last list and the end of the wait is seen.
func TestServerThatJoinsAtTheEndIsSeen(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFamily(t)
		f.at(61*time.Minute+30*time.Second, func() { f.refer(nsOf("ns.example.net.")) })
		f.run("--resolver", "203.0.113.53", "--hold", "62m", "--at-most", "2h", f.file).want(t, exitNotYet, 2*time.Hour, "192.0.2.3:53: it lacks")
	})
}

// Of two servers the slower one shows the key and leaves: caches have what it said before it did.
func TestServerThatLeavesWithTheKeyCountsFromWhenItShowedIt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFamily(t)
		f.refer(nsOf("ns.example.net."))
		f.at(time.Hour, func() { f.third.set(mailOwner, f.both()...) })
		f.at(90*time.Minute, func() { f.refer(nsOf("ns.example.org.")) })
		f.run("--resolver", "203.0.113.53", f.file).want(t, exitDone, 3*time.Hour, "192.0.2.3:53: it lacks")
	})
}

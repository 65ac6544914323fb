package main

import (
	"fmt"
	"math/rand/v2"
	"testing"
	"testing/synctest"
	"time"

	"github.com/miekg/dns"
)

// never is later than all that a schedule holds.
const never = 1000 * time.Hour

// An actor is one server of a random schedule. Times are counted from the start; what happens at one happens a second earlier,
// as with rollover.at.
type actor struct {
	addr       string
	ttl        time.Duration
	from, till time.Duration // in the NS set
	shows      time.Duration // the new record; its old CNAME becomes the new one where the owner is one
}

// has tells whether something that happens at a time has happened at another.
func has(happens, now time.Duration) bool { return now > happens-time.Second }

func (a actor) isServer(now time.Duration) bool {
	return (a.from == 0 || has(a.from, now)) && !has(a.till, now)
}

// A schedule is who serves the owner, and the servers of the two targets if it is a CNAME: the old one, and the new one.
type schedule struct {
	servers []actor
	targets []actor
}

func newSchedule(rnd *rand.Rand) (s schedule) {
	minutes := func(least, most int) time.Duration { return time.Duration(least+rnd.IntN(most-least+1)) * time.Minute }
	for i := range 3 {
		a := actor{addr: fmt.Sprintf("192.0.2.%d", i+1), ttl: minutes(1, 30), till: never, shows: minutes(0, 40)}
		switch rnd.IntN(3) {
		case 0:
			if i > 0 {
				a.from = minutes(1, 40)
			}
		case 1:
			if i > 0 {
				a.till = minutes(10, 50)
			}
		}
		s.servers = append(s.servers, a)
	}
	if rnd.IntN(2) == 0 {
		for i := range 2 {
			s.targets = append(s.targets, actor{addr: fmt.Sprintf("198.51.100.%d", i+1), ttl: minutes(1, 30), shows: minutes(0, 40)})
		}
		if rnd.IntN(2) == 0 {
			s.targets[0].shows = never
		}
	}
	return s
}

// lackedUntil asks every server at every moment, as any cache may, and gives until when one holds an RRset without the record.
// A cache that holds a CNAME asks its target until that has expired.
func (s schedule) lackedUntil(end time.Duration) (last time.Duration) {
	for now := time.Duration(0); now <= end; now += time.Minute {
		for _, at := range []time.Duration{now, now + time.Minute - time.Second} { // just before something happens
			for _, a := range s.servers {
				switch {
				case !a.isServer(at):
				case len(s.targets) == 0 && !has(a.shows, at):
					last = max(last, at+a.ttl)
				case len(s.targets) > 0:
					last = max(last, s.targetLackedUntil(a, at))
				}
			}
		}
	}
	return last
}

func (s schedule) targetLackedUntil(a actor, at time.Duration) (last time.Duration) {
	target := s.targets[0]
	if has(a.shows, at) {
		target = s.targets[1]
	}
	// Of the times at which it is asked, the last one at which it lacks the record counts.
	if asked := min(at+a.ttl, target.shows-time.Second); asked >= at {
		last = asked + target.ttl
	}
	return last
}

func aliasOf(target string) []dns.RR {
	return []dns.RR{&dns.CNAME{Hdr: dns.RR_Header{Rrtype: dns.TypeCNAME}, Target: target}}
}

// play puts the schedule into the world.
func (s schedule) play(r *rollover) {
	names := []string{"a._dane.example.net.", "b._dane.example.com."}
	show := func(z *authority, name string, at time.Duration, before, after []dns.RR) {
		z.set(name, before...)
		if at == 0 {
			z.set(name, after...)
		} else if at < never {
			r.at(at, func() { z.set(name, after...) })
		}
	}
	old, next := r.old, r.both()
	for i, t := range s.targets {
		z := &authority{apex: names[i][len("a._dane."):], ttl: t.ttl, signed: true}
		r.world.put(t.addr+":53", z)
		show(z, names[i], t.shows, r.old, r.both())
	}
	if len(s.targets) > 0 {
		old, next = aliasOf(names[0]), aliasOf(names[1])
	}
	list := func() {
		zones := map[string][]string{"example.net.": {"198.51.100.1"}, "example.com.": {"198.51.100.2"}}
		for _, a := range s.servers {
			if a.isServer(time.Since(r.start) + time.Nanosecond) {
				zones["example.org."] = append(zones["example.org."], a.addr)
			}
		}
		r.world.put("203.0.113.53:53", resolver(zones, nil))
	}
	list()
	for _, a := range s.servers {
		z := &authority{apex: "example.org.", ttl: a.ttl, signed: true}
		r.world.put(a.addr+":53", z)
		show(z, mailOwner, a.shows, old, next)
		for _, at := range []time.Duration{a.from, a.till} {
			if at > 0 && at < never {
				r.at(at, list)
			}
		}
	}
}

// TestNeverSafeEarlyWhateverServersAndAliasesDo runs random schedules in which servers join and leave the zone, and the owner is
// a CNAME that moves.
func TestNeverSafeEarlyWhateverServersAndAliasesDo(t *testing.T) {
	const schedules = 1000
	for seed := range uint64(schedules) {
		synctest.Test(t, func(t *testing.T) {
			s := newSchedule(rand.New(rand.NewPCG(seed, 7671)))
			r := newRollover(t)
			s.play(r)
			o := r.run("--resolver", "203.0.113.53", "--every", "1m", r.file)
			early := s.lackedUntil(o.after)
			if o.code != 0 || o.after < early {
				t.Errorf("seed %d: exit %d after %s, but a cache may lack the record until %s\n%+v\n%s", seed, o.code, o.after, early, s, o.stderr)
			}
			// Nothing happens after 50 minutes, and is seen within findEvery and a round; a hold is at most twice the largest TTL.
			if late := 50*time.Minute + findEvery + time.Minute + time.Hour; o.after > late {
				t.Errorf("seed %d: safe only after %s, want at most %s\n%+v\n%s", seed, o.after, late, s, o.stderr)
			}
		})
		if t.Failed() {
			return
		}
	}
}

package main

import (
	"math/rand/v2"
	"testing"
	"testing/synctest"
	"time"
)

// TestNeverSafeEarlyWhateverTheServersDo runs random schedules: each server gets the new record some minutes late, is
// down for a while, before or after that, and has a TTL of its own. A client may ask any of them at any time.
func TestNeverSafeEarlyWhateverTheServersDo(t *testing.T) {
	const schedules = 1000
	for seed := range uint64(schedules) {
		synctest.Test(t, func(t *testing.T) {
			rnd := rand.New(rand.NewPCG(seed, 7671))
			minutes := func(most int) time.Duration { return time.Duration(rnd.IntN(most+1)) * time.Minute }
			r := newRollover(t)
			var last, up time.Duration // when the last server began to show it; when the last one was up for good
			longest := time.Minute
			for i, ns := range r.ns {
				ttl := time.Minute + minutes(9)
				ns.change(func() { ns.ttl = ttl })
				longest = max(longest, ttl)
				shows := time.Minute + minutes(9) // so that each was seen without it
				r.at(shows, func() { ns.set(mailOwner, r.both()...) })
				last, up = max(last, shows), max(up, shows)
				if rnd.IntN(2) == 0 {
					addr := []string{"192.0.2.1:53", "192.0.2.2:53"}[i]
					down := time.Minute + minutes(20)
					back := down + time.Minute + minutes(15)
					r.at(down, func() { r.world.put(addr, nil) })
					r.at(back, func() { r.world.put(addr, ns) })
					up = max(up, back)
				}
			}
			hold := max(2*longest, longest+5*time.Minute)
			o := r.wait()
			// at acts a second before the round that sees it.
			if early := last - time.Second + hold; o.code != 0 || o.after < early {
				t.Errorf("seed %d: exit %d after %s, but a cache may lack the record until %s\n%s", seed, o.code, o.after, early, o.stderr)
			}
			if late := up + hold + time.Minute; o.after > late {
				t.Errorf("seed %d: safe only after %s, want at most %s\n%s", seed, o.after, late, o.stderr)
			}
		})
		if t.Failed() {
			return
		}
	}
}

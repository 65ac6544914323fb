package rollover

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/coredns-tlsa/coredns-tlsa/plugin/tlsa/dane"

	"pgregory.net/rapid"
)

// A held RRset may still be in a cache that obeys TTLs, by true time.
type held struct {
	rrset []dane.Association
	until time.Duration
}

// A simulation is a mail server with an ECDSA and an RSA certificate, an operator who renews both, our server, and every
// cache there may be. It fails where a client could meet a key that its cached records do not list (promise I1).
type simulation struct {
	*world
	choose  func(n int, label string) int // 0 to n-1
	careful bool                          // keys are installed only when safe

	real, wall, service time.Duration
	failing             bool
	shown               []dane.Association
	shownTTL            uint32
	caches              []held
	installed, staged   [2]string                // the keys of each lineage on disk
	old                 map[string]time.Duration // keys that the server may present until then
	fresh               int                      // keys made so far
	installs            int
}

func newSimulation(t tester, careful bool, choose func(int, string) int) *simulation {
	s := &simulation{world: newWorld(t), choose: choose, careful: careful, old: map[string]time.Duration{}, service: 1000 * hour}
	s.p.Propagation = []time.Duration{0, 10 * time.Minute}[choose(2, "propagation")]
	s.policy(s.choose(3, "ttl"))
	s.install(0, "A")
	s.install(1, "R")
	return s
}

func (s *simulation) policy(i int) {
	ttl([]uint32{3600, 600, 10}[i])(s.world)
	s.p.Hold += s.p.Propagation
	s.p.Grace = 3*hour + s.p.Propagation
}

var lineages = [2]string{"mail", "rsa"}

func livePath(i int) string { return "certs/" + lineages[i] + "/fullchain.pem" }
func nextPath(i int) string { return "next/" + lineages[i] + "/next.pem" }

// install puts a key on disk. The server may present the one that it replaces as long as is promised.
func (s *simulation) install(i int, name string) {
	if before := s.installed[i]; before != "" && before != name {
		s.old[before] = s.real + s.p.Grace
	}
	s.installed[i] = name
	delete(s.old, name)
	s.put(livePath(i), name)
	s.installs++
}

// act is what the caller of Decide does; a commit that fails adds and never removes.
func (s *simulation) act() {
	s.now = clocks(s.wall, s.service)
	d := Decide(s.timeline, s.observe(), s.p, s.now)
	if d.Changed && s.failing {
		s.show(dane.Canonical(slices.Concat(s.shown, d.RRset)))
		return
	}
	s.timeline, s.last = d.Timeline, d
	s.show(d.RRset)
	if t, changed := Served(s.timeline, s.now); changed && !s.failing {
		s.timeline = t
		s.last = Decide(s.timeline, s.observe(), s.p, s.now)
		s.timeline = s.last.Timeline
	}
}

// show answers with rrset from now on; what was answered before may have been cached at the last moment, at the slowest server.
func (s *simulation) show(rrset []dane.Association) {
	if s.shownTTL != 0 && !(slices.Equal(rrset, s.shown) && s.p.TTL == s.shownTTL) {
		s.caches = append(s.caches, held{s.shown, s.real + s.p.Propagation + time.Duration(s.shownTTL)*time.Second})
	}
	s.shown, s.shownTTL = rrset, s.p.TTL
}

// check looks at every RRset that a cache can hold and every key that the server can present.
func (s *simulation) check() error {
	s.caches = slices.DeleteFunc(s.caches, func(h held) bool { return h.until <= s.real })
	maps.DeleteFunc(s.old, func(_ string, until time.Duration) bool { return until <= s.real })
	presented := slices.AppendSeq(s.installed[:2:2], maps.Keys(s.old))
	for _, h := range append(s.caches, held{rrset: s.shown}) {
		for _, name := range presented {
			if len(h.rrset) > 0 && !matches(h.rrset, leaf(name)) {
				return fmt.Errorf("after %v a cache holds %v, and the server presents %s", s.real, h.rrset, name)
			}
		}
	}
	return nil
}

// matches is what a client does: of each usage and selector only the strongest digest counts (RFC 7671 9).
func matches(rrset []dane.Association, m dane.Material) bool {
	strongest := map[dane.Combination]dane.MatchingType{}
	for _, a := range rrset {
		pair := a.Combination
		pair.MatchingType = 0
		strongest[pair] = max(strongest[pair], a.MatchingType)
	}
	for _, a := range rrset {
		pair := a.Combination
		pair.MatchingType = 0
		if want, err := m.Association(a.Combination); err == nil && want == a && (a.MatchingType == 0 || a.MatchingType == strongest[pair]) {
			return true
		}
	}
	return false
}

// safe is what the status tells the operator: the certificate is recorded, and all of its associations are Ready.
func (s *simulation) safe(name string) bool {
	if !slices.ContainsFunc(s.timeline.Keys, func(k Key) bool { return bareOf(k.Material) == bareOf(leaf(name)) }) {
		return false
	}
	gated := map[dane.Association]bool{}
	for _, st := range s.timeline.Statuses(s.p, s.now) {
		gated[st.Association] = st.Gated
	}
	return !slices.ContainsFunc(s.timeline.Combinations, func(c dane.Combination) bool {
		a, err := leaf(name).Association(c)
		return err != nil || !gated[a]
	})
}

// make gives a key that has not been seen before.
func (s *simulation) make(i int) string {
	s.fresh++
	if i == 1 {
		return "R" + strings.Repeat("'", s.fresh) // another certificate over the same key
	}
	return string("ABCEFGHIJKLM"[s.fresh%12]) + strings.Repeat("'", s.fresh/12)
}

// happen is what the operator, the machines and the clocks do.
func (s *simulation) happen() {
	i := s.choose(2, "lineage")
	switch s.choose(16, "event") {
	case 0, 1, 2:
		s.pass(s.last.Next)
	case 3:
		s.pass([]time.Duration{1, time.Minute, 20 * time.Minute, hour, 3 * hour, day}[s.choose(6, "time")])
	case 4, 5:
		s.staged[i] = s.make(i)
		s.put(nextPath(i), s.staged[i])
	case 6, 7, 8, 9:
		if f := s.files[nextPath(i)]; f != nil && !f.Doubt && (!s.careful || s.safe(s.staged[i])) {
			s.install(i, s.staged[i])
			delete(s.files, nextPath(i))
		}
	case 10: // back to a key that was replaced
		for _, name := range slices.Sorted(maps.Keys(s.old)) {
			if (name[0] == 'R') == (i == 1) && (!s.careful || s.safe(name)) {
				s.install(i, name)
				break
			}
		}
	case 11:
		s.wall += []time.Duration{-30 * day, -hour, hour, 30 * day}[s.choose(4, "jump")]
	case 12:
		s.service = max(0, s.service-[]time.Duration{1, 5 * time.Minute}[s.choose(2, "loses")])
	case 13:
		s.failing = !s.failing
	case 14:
		f := s.files[[]string{livePath(i), nextPath(i)}[s.choose(2, "which")]]
		if f != nil {
			// Whoever reads the files remembers what they held, unless it has just begun to; then nothing is unrecorded.
			f.Doubt, f.kept = !f.Doubt, s.failing
		}
	case 15:
		s.reload()
	}
}

func (s *simulation) reload() {
	if s.failing {
		return
	}
	if s.choose(2, "what") == 0 {
		s.policy(s.choose(3, "ttl"))
		return
	}
	as([]string{"3 1 1", "3 1 1, 3 1 2", "3 1 2", "3 0 1, 3 1 1", "3 0 1", "3 0 2, 3 1 1"}[s.choose(6, "as")])(s.world)
}

func (s *simulation) pass(after time.Duration) {
	s.real, s.wall, s.service = s.real+after, s.wall+after, s.service+after
}

func (s *simulation) run(events int) error {
	for range events {
		s.act()
		if err := s.check(); err != nil {
			return err
		}
		s.happen()
		if err := s.check(); err != nil {
			return err
		}
	}
	return nil
}

// TestEveryCachedRRsetMatchesEveryPresentedKey is promise I1.
func TestEveryCachedRRsetMatchesEveryPresentedKey(t *testing.T) {
	installs := 0
	rapid.Check(t, func(rt *rapid.T) {
		s := newSimulation(rt, true, func(n int, label string) int { return rapid.IntRange(0, n-1).Draw(rt, label) })
		if err := s.run(rapid.IntRange(1, 80).Draw(rt, "events")); err != nil {
			rt.Fatalf("%v", err)
		}
		installs += s.installs - 2
	})
	if installs == 0 {
		t.Error("no key was ever installed: the simulation proves nothing")
	}
}

// TestKeysInstalledUngatedBreakThePromise shows that the simulation can fail.
func TestKeysInstalledUngatedBreakThePromise(t *testing.T) {
	broken := 0
	for seed := range uint64(50) {
		random := rand.New(rand.NewPCG(seed, 1))
		s := newSimulation(t, false, func(n int, _ string) int { return random.IntN(n) })
		if s.run(100) != nil {
			broken++
		}
	}
	if broken < 25 {
		t.Errorf("got %d broken lives of 50 where nobody waits, want most", broken)
	}
}

// TestGatedLivesOfTheSameSeedsKeepThePromise is the same with waiting, so that nothing but the wait makes the difference.
func TestGatedLivesOfTheSameSeedsKeepThePromise(t *testing.T) {
	installs := 0
	for seed := range uint64(50) {
		random := rand.New(rand.NewPCG(seed, 1))
		s := newSimulation(t, true, func(n int, _ string) int { return random.IntN(n) })
		if err := s.run(300); err != nil {
			t.Fatalf("seed %d: %v", seed, err)
		}
		installs += s.installs - 2
	}
	if installs < 100 {
		t.Errorf("got %d keys installed, want at least 100: the simulation proves little", installs)
	}
}

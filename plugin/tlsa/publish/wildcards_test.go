package publish

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/coredns-tlsa/coredns-tlsa/plugin/tlsa/rollover"

	"github.com/miekg/dns"
)

// covered compares what a wildcard SAN gives to an owner with keys by name.
func (s *stage) covered(owner string, keys ...string) {
	s.t.Helper()
	m, ok := s.p.Wildcards().Lookup(owner)
	if !ok || !m.Owner {
		s.t.Errorf("%s is %+v, %v", owner, m, ok)
		return
	}
	var got, want []string
	for _, rr := range m.Set.RRs(owner) {
		got = append(got, rr.(*dns.TLSA).Certificate)
	}
	for _, k := range keys {
		sum := sha256.Sum256([]byte(spki(k)))
		want = append(want, hex.EncodeToString(sum[:]))
	}
	slices.Sort(want)
	slices.Sort(got)
	if !slices.Equal(got, want) {
		s.t.Errorf("%s has %.8v, want those of %v %.8v", owner, got, keys, want)
	}
}

func TestWildcardSANHasOneStateForAllItsHosts(t *testing.T) {
	onStage(t, func(s *stage) {
		cfg := stars(star443)
		cfg.Owners = []Owner{owner25()}
		s.put("/certs", "any", leaf("w1", "1", "*.example.org", "*.example.net", "*.org", "*"))
		s.start(cfg)
		s.after(3 * time.Hour)
		s.put("/certs", "any", leaf("w2", "1", "*.example.org"))
		before := s.disk.count()
		for i := range 100 {
			s.covered(fmt.Sprintf("_443._tcp.r%d.example.org.", i), "w1", "w2")
		}
		if got := s.owners(); !slices.Equal(got, []string{mail, star443}) {
			t.Errorf("the owners are %q", got)
		}
		if n := len(s.disk.timelines["example.org.|"]); n != 2 || s.disk.count() != before {
			t.Errorf("the ledger has %d timelines, after %d commits", n, s.disk.count()-before)
		}
		if got := s.states(star443); got != "active ungated, retired" {
			t.Errorf("after the renewal: %s", got)
		}
		s.want(mail, "w1", "w2")
		s.after(49 * time.Hour)
		s.covered("_443._tcp.x.example.org.", "w2")
		if f := s.log.owner(star443); f.Hosts != 0 || f.Records != 1 {
			t.Errorf("the pattern's figures are %+v", f)
		}
	})
}

func TestWildcardSANCoversOneLabelOfAHost(t *testing.T) {
	onStage(t, func(s *stage) {
		cfg := stars(star443, "_25._tcp.*.b.example.org.")
		cfg.Owners = []Owner{owner25()}
		s.put("/certs", "any", leaf("k", "1", "*.example.org", "*.b.example.org"))
		s.start(cfg)
		type found struct{ owner, ours, written bool }
		for name, want := range map[string]found{
			"_443._tcp.foo.example.org.":     {true, true, false},
			"_443._tcp.mail.example.org.":    {true, true, true},
			"_443._tcp.foo.b.example.org.":   {true, true, false},
			"_25._tcp.foo.b.example.org.":    {true, true, false},
			"_tcp.foo.example.org.":          {false, true, false},
			"_tcp.mail.example.org.":         {false, true, true},
			"_25._tcp.foo.example.org.":      {},
			"_443._udp.foo.example.org.":     {},
			"_udp.foo.example.org.":          {},
			"foo.example.org.":               {},
			"_443._tcp.*.example.org.":       {},
			"_tcp.*.example.org.":            {},
			"_443._tcp.example.org.":         {},
			"_443._tcp.a.foo.example.org.":   {},
			"_443._tcp._foo.example.org.":    {},
			"_443._tcp.f\\.o.example.org.":   {},
			"_443._tcp.foo.example.net.":     {},
			"x._443._tcp.foo.example.org.":   {},
			"_1._443._tcp.foo.example.org.":  {},
			"_443._tcp.foo.bar.example.org.": {},
			"_443._tcp.":                     {},
			"_443._tcp":                      {},
			".":                              {},
		} {
			m, ok := s.p.Wildcards().Lookup(name)
			if got := (found{m.Owner, m.Ours, m.Written}); got != want || ok != want.ours {
				t.Errorf("%s: %+v, %v, want %+v", name, got, ok, want)
			}
		}
	})
}

func TestExactHostGoesOnFromItsWildcard(t *testing.T) {
	for claim, staged := range map[string]bool{"installed at once": false, "staged first": true} {
		t.Run(claim, func(t *testing.T) {
			onStage(t, func(s *stage) {
				s.hosts("a", "b", "c")
				s.put("/certs", "any", leaf("w1", "1", "*.example.org"))
				s.start(stars(star443))
				s.after(3 * time.Hour)
				s.put("/certs", "any", leaf("w2", "1", "*.example.org"))
				s.after(time.Hour)
				if staged {
					s.put("/next", "www", leaf("k", "1", "www.example.org"))
					s.want(www, "w1", "w2", "k")
					if got := s.states(www); got != "active ungated, published, retired" {
						t.Errorf("staged: %s", got)
					}
					s.after(3 * time.Hour)
				}
				s.put("/certs", "www", leaf("k", "1", "www.example.org"))
				s.want(www, "w1", "w2", "k")
				want := "active ungated, active ungated, retired"
				if staged {
					want = "active, active, retired"
				}
				if got := s.states(www); got != want {
					t.Errorf("installed: %s", got)
				}
				if timeline, ok := s.disk.stored(www); !ok || len(timeline.Keys) != 3 {
					t.Errorf("the ledger has %d keys of it", len(timeline.Keys))
				}
				s.after(49 * time.Hour)
				s.want(www, "w2", "k")
				if staged {
					s.remove("/next/www")
				}
				s.remove("/certs/www")
				s.sweeps(3)
				s.after(49 * time.Hour)
				s.gone(www)
				s.covered(www, "w2")
				s.tidy()
			})
		})
	}
}

func TestWildcardThatIsGoneLeavesAfterGrace(t *testing.T) {
	onStage(t, func(s *stage) {
		s.hosts("a", "b")
		s.put("/certs", "any", leaf("w", "1", "*.example.org"))
		s.start(stars(star443))
		s.after(3 * time.Hour)
		s.remove("/certs/any")
		s.sweeps(3)
		s.after(47 * time.Hour)
		s.covered("_443._tcp.x.example.org.", "w")
		s.after(2 * time.Hour)
		if m, ok := s.p.Wildcards().Lookup("_443._tcp.x.example.org."); ok {
			t.Errorf("it is still %+v", m)
		}
		s.gone(star443)
		s.tidy()
	})
}

func TestFirstSweepOfWildcardAndHostIsAFirstObservation(t *testing.T) {
	onStage(t, func(s *stage) {
		s.put("/certs", "any", leaf("w", "1", "*.example.org"))
		s.put("/certs", "www", leaf("k", "1", "www.example.org"))
		s.start(stars(star443))
		s.want(www, "w", "k")
		if got := s.states(www); got != "active, active" {
			t.Errorf("after the start: %s", got)
		}
	})
}

func TestWildcardOfAnUnsignedOrMissingZoneOnly(t *testing.T) {
	for claim, tc := range map[string]struct {
		change func(*zoneData)
		served bool
	}{
		"a zone with signatures of its own is left alone": {func(z *zoneData) { z.signed = true }, false},
		"a zone that is not there yet is not":             {func(z *zoneData) { z.view.Known = false }, true},
	} {
		t.Run(claim, func(t *testing.T) {
			onStage(t, func(s *stage) {
				tc.change(s.zone)
				s.put("/certs", "any", leaf("w", "1", "*.example.org"))
				s.start(stars(star443))
				if _, ok := s.p.Wildcards().Lookup("_443._tcp.x.example.org."); ok != tc.served {
					t.Errorf("served is %v", ok)
				}
			})
		})
	}
}

// oracle is what a block must serve, written without the code: for each pattern the hosts and the wildcard SANs of names.
func oracle(zones, patterns, names []string) []string {
	served := map[string]int{} // owners, with the length of the pattern that they are of
	for _, pattern := range patterns {
		labels := strings.Split(pattern, ".")
		lead, parent := strings.Join(labels[:2], ".")+".", strings.Join(labels[3:], ".")
		for _, name := range names {
			host := name + "."
			underscore := false
			for i, label := range strings.Split(name, ".") {
				underscore = underscore || strings.HasPrefix(label, "_") || strings.Contains(label, "*") && (i > 0 || label != "*")
			}
			below := strings.HasSuffix(host, "."+parent)
			one := below && strings.Count(host, ".") == strings.Count(parent, ".")+1
			whole := slices.Contains(zones, parent) && (below || host == parent)
			if !underscore && (one || whole) {
				served[lead+host] = max(served[lead+host], len(parent))
			}
		}
	}
	var all []string
	for owner := range served {
		all = append(all, owner)
	}
	slices.Sort(all)
	return all
}

func TestOwnersOfRandomPatternsAreThoseOfAnOracle(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	pick := func(words ...string) string { return words[random.IntN(len(words))] }
	parents := []string{"example.org", "a.example.org", "b.a.example.org", "example.net", "xample.org", "org", "c.example.org"}
	label := func() string { return pick("a", "b", "c", "www", "*", "_x", "w*", "xn--bcher-kva") }
	for range 60 {
		synctest.Test(t, func(t *testing.T) {
			s := &stage{t: t, disk: newDisk(), zone: &zoneData{view: ZoneView{Known: true}, serial: 1}, log: &journal{}}
			var listed []string
			for range 1 + random.IntN(4) {
				listed = append(listed, pick("_443._tcp.", "_25._tcp.", "_443._udp.")+"*."+pick(parents[:3]...)+".")
			}
			slices.Sort(listed)
			listed = slices.Compact(listed)
			cfg := stars(listed...)
			if random.IntN(2) == 0 {
				cfg.Zones = []string{"a.example.org.", "example.org."}
			}
			var names []string
			for i := range 1 + random.IntN(6) {
				var sans []string
				for range 1 + random.IntN(4) {
					name := pick(parents...)
					for range random.IntN(3) {
						name = label() + "." + name
					}
					sans = append(sans, name)
				}
				names = append(names, sans...)
				if i == 3 {
					s.start(cfg)
				}
				s.put(pick("/certs", "/next"), fmt.Sprint("l", i), leaf(fmt.Sprint("k", i), "1", sans...))
			}
			if s.p == nil {
				s.start(cfg)
			}
			want := oracle(cfg.Zones, listed, names)
			if got := s.owners(); !slices.Equal(got, want) {
				t.Fatalf("%q of %q in %q give\n%q, want\n%q", names, listed, cfg.Zones, got, want)
			}
			for _, owner := range want {
				_, host := split(owner)
				e, ok := s.p.Table().Lookup(owner)
				if wild := strings.HasPrefix(host, "*"); ok == wild || !wild && e.Set.Len() == 0 {
					t.Fatalf("%s is %+v, %v", owner, e, ok)
				}
			}
			ignored := map[string]bool{}
			for _, name := range names {
				if name != "example.org" && !strings.HasSuffix(name, ".example.org") {
					ignored[name] = true
				}
			}
			if s.look(); s.log.figures().Ignored != len(ignored) {
				t.Fatalf("%d of %q are ignored, want %d", s.log.figures().Ignored, names, len(ignored))
			}
			s.tidy()
			s.p.Stop()
		})
	}
}

// TestChangeOfAHostCostsNothingForTheOthers counts what is decided, not time.
func TestChangeOfAHostCostsNothingForTheOthers(t *testing.T) {
	onStage(t, func(s *stage) {
		s.start(stars(star443))
		for i := range 200 {
			s.put("/certs", fmt.Sprint("h", i), leaf(fmt.Sprint("k", i), "1", fmt.Sprintf("h%d.example.org", i)))
		}
		commits := s.disk.written
		s.put("/certs", "new", leaf("new", "1", "new.example.org"))
		if n := s.disk.written - commits; n > 2 {
			t.Errorf("a new host made %d timelines be written", n)
		}
		c := s.tree.sweep("/certs/new")
		s.p.locked(func() {
			if touched := s.p.learn(c); len(touched) != 1 {
				t.Errorf("a changed lineage touches %d owners", len(touched))
			}
		})
		if timeline, _ := s.disk.stored("_443._tcp.h7.example.org."); timeline.Keys[0].Ungated || s.log.figures().States[rollover.Active] != 201 {
			t.Errorf("%v", s.log.figures().States)
		}
	})
}

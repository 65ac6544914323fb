package publish

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/coredns-tlsa/coredns-tlsa/plugin/tlsa/rollover"
)

const (
	star443 = "_443._tcp.*.example.org."
	www     = "_443._tcp.www.example.org."
)

// stars is the configuration of a block with patterns alone.
func stars(names ...string) Config {
	cfg := config()
	cfg.Owners = nil
	for _, name := range names {
		_, host := split(name)
		cfg.Patterns = append(cfg.Patterns, Owner{Name: name, Host: host, Policy: policy()})
	}
	return cfg
}

// hosts puts certificates for other hosts into the tree, so that one that goes is not half of its root.
func (s *stage) hosts(names ...string) {
	for _, name := range names {
		s.put("/certs", name, leaf("of "+name, "1", name+".example.org"))
	}
}

// gone fails if an owner is still in the answers or in the ledger.
func (s *stage) gone(owner string) {
	s.t.Helper()
	if e, ok := s.p.Table().Lookup(owner); ok {
		s.t.Errorf("at %s %s is still answered: %+v", time.Now().UTC().Format(time.DateTime), owner, e)
	}
	if _, there := s.disk.stored(owner); there {
		s.t.Errorf("the ledger still has %s", owner)
	}
}

// sweeps lets n sweeps pass, a minute apart.
func (s *stage) sweeps(n int) {
	for range n {
		s.after(time.Minute)
		s.look()
	}
}

// owners are the names of what the publisher works on.
func (s *stage) owners() []string {
	s.p.mu.Lock()
	defer s.p.mu.Unlock()
	var names []string
	for _, o := range s.p.owners {
		names = append(names, o.name())
	}
	slices.Sort(names)
	return names
}

func TestCertificateBringsItsHostsToAPattern(t *testing.T) {
	for claim, late := range map[string]bool{"before the start": false, "while serving": true} {
		t.Run(claim, func(t *testing.T) {
			onStage(t, func(s *stage) {
				if late {
					s.start(stars(star443, "_25._tcp.*.mx.example.org."))
				}
				s.put("/certs", "www", leaf("k", "1", "www.example.org", "example.org", "a.b.example.org", "mx.example.org", "in.mx.example.org",
					"a.in.mx.example.org", "example.net", "*.example.net", "_x.example.org", "a._tcp.example.org", "a*.example.org", "*"))
				s.put("/next", "soon", leaf("n", "1", "soon.example.org", "example.net"))
				if !late {
					s.start(stars(star443, "_25._tcp.*.mx.example.org."))
				}
				want := []string{
					"_25._tcp.in.mx.example.org.", "_443._tcp.a.b.example.org.", "_443._tcp.a.in.mx.example.org.", "_443._tcp.example.org.",
					"_443._tcp.in.mx.example.org.", "_443._tcp.mx.example.org.", "_443._tcp.soon.example.org.", www,
				}
				if got := s.owners(); !slices.Equal(got, want) {
					t.Errorf("the owners are %q, want %q", got, want)
				}
				for _, name := range want {
					if name != "_443._tcp.soon.example.org." {
						s.want(name, "k")
					}
				}
				s.want("_443._tcp.soon.example.org.", "n")
				s.look()
				if f := s.log.figures(); f.Ignored != 3 || len(f.Problems) != 0 {
					t.Errorf("%d names are ignored, and %v are open", f.Ignored, f.Problems)
				}
				if f := s.log.owner(star443); f.Hosts != 7 || f.Records != 7 || !f.NotAfter.Equal(certificate("k", "1").NotAfter) {
					t.Errorf("the pattern's figures are %+v", f)
				}
				s.tidy()
			})
		})
	}
}

func TestDynamicOwnerRollsOverLikeAnyOther(t *testing.T) {
	for claim, tc := range map[string]struct {
		staged bool
		want   string
	}{
		"a key that was installed at once is ungated": {false, "active ungated, retired"},
		"a key that was staged for hold is not":       {true, "active, retired"},
	} {
		t.Run(claim, func(t *testing.T) {
			onStage(t, func(s *stage) {
				s.start(stars(star443))
				s.put("/certs", "www", leaf("old", "1", "www.example.org"))
				s.after(3 * time.Hour)
				if tc.staged {
					s.put("/next", "www", bareLeaf("new"))
					s.want(www, "old", "new")
					s.after(3 * time.Hour)
				}
				s.put("/certs", "www", leaf("new", "1", "www.example.org"))
				s.want(www, "old", "new")
				if got := s.states(www); got != tc.want {
					t.Errorf("after the renewal: %s", got)
				}
				s.after(47 * time.Hour)
				s.want(www, "old", "new")
				s.after(2 * time.Hour)
				s.want(www, "new")
			})
		})
	}
}

func TestRestartServesTheHostsOfAPatternAtOnce(t *testing.T) {
	onStage(t, func(s *stage) {
		s.hosts("a", "b")
		s.put("/certs", "www", leaf("old", "1", "www.example.org"))
		s.put("/certs", "any", leaf("w", "1", "*.example.org"))
		s.start(stars(star443))
		s.after(3 * time.Hour)
		s.put("/certs", "www", leaf("new", "1", "www.example.org"))
		s.kill()
		s.tree = newTree()
		s.tree.roots["/certs"].Problems = []rollover.Problem{{Reason: "missing-root", Text: "not there"}}
		s.start(stars(star443))
		s.want(www, "old", "new", "w")
		if m, ok := s.p.Wildcards().Lookup("_443._tcp.x.example.org."); !ok || m.Set.Len() != 1 {
			t.Errorf("the wildcard is %+v, %v", m, ok)
		}
		if unsure(s.p.Wildcards(), "_443._tcp.x.example.org.") {
			t.Error("an intact ledger knows everything that is owed")
		}
		s.sweeps(10)
		s.after(100 * time.Hour)
		s.want(www, "new", "w")
	})
}

func TestReloadKeepsTheHostsOfAPattern(t *testing.T) {
	other := func() Config {
		cfg := stars("_25._tcp.*.example.org.", star443)
		cfg.Patterns[1].Policy.Grace = 72 * time.Hour
		return cfg
	}
	moved := stars(star443)
	moved.Zones = []string{"example.net.", "example.org."}
	written := config(Owner{Name: www, Host: "www.example.org.", Policy: policy()})
	for claim, cfg := range map[string]Config{
		"with other lines":                 other(),
		"with other zones":                 moved,
		"when the name is written instead": written,
	} {
		t.Run(claim, func(t *testing.T) {
			onStage(t, func(s *stage) {
				s.put("/certs", "www", leaf("old", "1", "www.example.org"))
				s.start(stars(star443))
				s.after(3 * time.Hour)
				s.put("/certs", "www", leaf("new", "1", "www.example.org"))
				s.log.take()
				s.reload(cfg)
				s.want(www, "old", "new")
				if got := s.states(www); got != "active ungated, retired" {
					t.Errorf("after the reload: %s", got)
				}
				if log := strings.Join(s.log.take(), "\n"); strings.Contains(log, "withdrawn") {
					t.Errorf("something was withdrawn:\n%s", log)
				}
				s.reload(stars(star443))
				s.want(www, "old", "new")
				s.tidy()
			})
		})
	}
}

func TestPatternDeletedFromTheCorefileWithdrawsItsHosts(t *testing.T) {
	onStage(t, func(s *stage) {
		s.put("/certs", "www", leaf("k", "1", "www.example.org", "mail.example.org"))
		cfg := stars(star443)
		cfg.Owners = []Owner{owner25()}
		s.start(cfg)
		s.want(www, "k")
		s.log.take()
		s.reload(config())
		s.gone(www)
		s.want(mail, "k")
		if log := strings.Join(s.log.take(), "\n"); strings.Count(log, "withdrawn") != 2 || !strings.Contains(log, www) {
			t.Errorf("the log:\n%s", log)
		}
	})
}

func TestFailedReloadLeavesTheHostsToTheOldWriter(t *testing.T) {
	onStage(t, func(s *stage) {
		s.put("/certs", "www", leaf("k", "1", "www.example.org"))
		s.start(stars(star443))
		s.after(3 * time.Hour)
		old, oldTree := s.p, s.tree
		s.twin(stars(star443, "_25._tcp.*.example.org."))
		if _, there := s.disk.stored("_25._tcp.www.example.org."); !there {
			t.Error("the start that fails should have recorded what it found")
		}
		AbortStarts()
		s.p, s.tree = old, oldTree
		s.gone("_25._tcp.www.example.org.")
		s.put("/certs", "two", leaf("k2", "1", "two.example.org"))
		s.want("_443._tcp.two.example.org.", "k2")
		s.want(www, "k")
	})
}

func TestRootOfSeveralUsersBringsNoHosts(t *testing.T) {
	onStage(t, func(s *stage) {
		s.hosts("a")
		s.mix(true)
		cfg := stars("_25._tcp.*.example.org.", star443)
		cfg.Patterns[1].From = []string{"chosen", "nowhere"}
		s.start(cfg)
		s.put("/certs", "evil", leaf("evil", "1", "www.example.org", "evil.example.org"))
		s.put("/certs", "chosen", leaf("k", "1", "www.example.org"))
		if got := s.owners(); !slices.Equal(got, []string{www}) {
			t.Errorf("the owners are %q", got)
		}
		s.want(www, "k")
		if f := s.log.figures(); f.Problems[MixedOwners] != 1 || f.Problems[NoLineage] != 1 || f.Ignored != 0 {
			t.Errorf("%+v", f)
		}
		s.mix(false)
		s.want("_25._tcp.evil.example.org.", "evil")
		s.want(www, "k")
	})
}

func TestOwnerOfTheCorefileWinsOverAPattern(t *testing.T) {
	onStage(t, func(s *stage) {
		cfg := stars(star443)
		cfg.Owners = []Owner{{Name: www, Host: "www.example.org.", From: []string{"mine"}, Policy: policy()}}
		s.put("/certs", "any", leaf("k", "1", "www.example.org", "a.example.org"))
		s.put("/certs", "mine", leaf("mine", "1", "b.example.org"))
		s.start(cfg)
		s.want(www, "mine")
		s.want("_443._tcp.a.example.org.", "k")
		s.want("_443._tcp.b.example.org.", "mine")
		s.tidy()
	})
}

func TestCloserPatternDecidesAboutItsHosts(t *testing.T) {
	onStage(t, func(s *stage) {
		cfg := stars("_443._tcp.*.a.example.org.", star443)
		cfg.Patterns[0].From = []string{"mine"}
		s.start(cfg)
		s.put("/certs", "other", leaf("k", "1", "x.a.example.org", "y.example.org"))
		s.put("/certs", "mine", leaf("m", "1", "z.a.example.org", "z.example.org"))
		want := []string{"_443._tcp.y.example.org.", "_443._tcp.z.a.example.org.", "_443._tcp.z.example.org."}
		if got := s.owners(); !slices.Equal(got, want) {
			t.Errorf("the owners are %q, want %q", got, want)
		}
	})
}

// unsure tells whether name may be an owner.
func unsure(w *Wildcards, name string) bool {
	owner, _ := w.Unsure(name)
	return owner
}

// A name that may have had records is not denied before every root was read, unless the ledger vouches for that.
func TestUnreadRootAndALedgerInDoubtMakeAPatternUnsure(t *testing.T) {
	unread := func(s *stage) {
		s.tree = newTree()
		s.tree.roots["/certs"].Problems = []rollover.Problem{{Reason: "missing-root", Text: "not there"}}
	}
	start := func(s *stage) { s.start(stars(star443)) }
	for claim, tc := range map[string]struct {
		before func(s *stage)
		unsure bool
	}{
		"a new one": {func(s *stage) { s.disk.fresh(); unread(s) }, true},
		"one that was new, and found nothing": {func(s *stage) {
			s.disk.fresh()
			unread(s)
			start(s)
			s.kill()
		}, true},
		"one that was new, and could not be written": {func(s *stage) {
			s.disk.fresh()
			s.disk.fill(true)
			s.hosts("www")
			start(s)
			s.kill()
			s.disk.fill(false)
			unread(s)
		}, true},
		"one that was new, and has recorded all": {func(s *stage) {
			s.disk.fresh()
			s.hosts("other")
			start(s)
			s.kill()
			unread(s)
		}, false},
		"a copy": {func(s *stage) {
			s.hosts("other")
			start(s)
			s.kill()
			s.disk.restore()
			unread(s)
		}, true},
		"a good one": {unread, false},
	} {
		t.Run(claim, func(t *testing.T) {
			onStage(t, func(s *stage) {
				tc.before(s)
				start(s)
				w := s.p.Wildcards()
				if s.p.Known() == tc.unsure || unsure(w, www) != tc.unsure || unsure(w, "_25._tcp.www.example.org.") || unsure(w, "_443._tcp.www.example.net.") {
					t.Errorf("known %v, unsure %v", s.p.Known(), unsure(w, www))
				}
				s.tree.roots["/certs"].Problems = nil
				s.look()
				if !s.p.Known() || unsure(w, www) {
					t.Errorf("every root has been read: known %v, unsure %v", s.p.Known(), unsure(w, www))
				}
			})
		})
	}
}

func TestFiguresOfAPatternAreThoseOfItsWorstOwner(t *testing.T) {
	onStage(t, func(s *stage) {
		s.hosts("a", "b")
		s.start(stars(star443))
		s.after(3 * time.Hour)
		s.put("/certs", "a", leaf("a2", "1", "a.example.org"))
		first := time.Now()
		s.after(time.Hour)
		s.put("/certs", "b", leaf("b2", "1", "b.example.org"))
		check := func(ready, removal time.Time) {
			t.Helper()
			f := s.log.owner(star443)
			if !f.Ready.Equal(ready) || !f.Removal.Equal(removal) || f.Hosts != 2 {
				t.Errorf("at %s: %+v", time.Now().UTC(), f)
			}
		}
		check(time.Now().Add(2*time.Hour), first.Add(48*time.Hour))
		s.after(47*time.Hour + time.Second)
		s.look()
		check(time.Time{}, first.Add(49*time.Hour))
		s.after(time.Hour)
		s.look()
		check(time.Time{}, time.Time{})
	})
}

func TestPatternLeavesACloserZoneItsTimelines(t *testing.T) {
	const below = "_443._tcp.x.sub.example.org."
	for claim, tc := range map[string]struct {
		zone   string
		beside bool
		taken  bool
	}{
		"a block of a zone below":                                 {"sub.example.org.", true, false},
		"a block of a zone below that the Corefile no longer has": {"sub.example.org.", false, true},
		"a block of a zone above":                                 {"org.", true, true},
	} {
		t.Run(claim, func(t *testing.T) {
			onStage(t, func(s *stage) {
				other := config(Owner{Name: below, Host: "x.sub.example.org.", Policy: policy()})
				other.Zones = []string{tc.zone}
				s.put("/certs", "x", leaf("k", "1", "x.sub.example.org"))
				s.start(other)
				s.after(3 * time.Hour)
				s.p.Stop()
				s.tree.unrun()
				delete(s.tree.lineages, "/certs/x") // only the timeline knows it
				cfg := stars(star443)
				if tc.beside {
					cfg.Beside = [][]string{{tc.zone}}
				}
				s.start(cfg)
				if got := slices.Contains(s.owners(), below); got != tc.taken {
					t.Errorf("the pattern took it: %v", got)
				}
			})
		})
	}
}

func TestHostThatCannotBeServedIsNoProblem(t *testing.T) {
	onStage(t, func(s *stage) {
		s.zone.change(ZoneView{Known: true, Cut: "sub.example.org."}, 1)
		long := strings.Repeat(strings.Repeat("a", 59)+".", 4) + "example.org" // 251 octets
		s.put("/certs", "sub", leaf("k", "1", "x.sub.example.org", long, long[8:]))
		s.start(stars(star443))
		s.look()
		for _, name := range s.owners() {
			if e, ok := s.p.Table().Lookup(name); ok {
				t.Errorf("%s lies below a cut and is %+v", name, e)
			}
		}
		if f := s.log.figures(); len(f.Problems) != 0 {
			t.Errorf("problems %v", f.Problems)
		}
		if got := s.owners(); len(got) != 2 || !slices.Contains(got, "_443._tcp."+long[8:]+".") {
			t.Errorf("the owners are %q", got)
		}
		if log := strings.Join(s.log.take(), "\n"); strings.Count(log, "too long") != 1 {
			t.Errorf("the log:\n%s", log)
		}
	})
}

// A host may come into being after the key that waits for it: by an exact name, where its lineage has a wildcard SAN.
func TestStagedKeyOfAWildcardLineageGoesToTheHostsThatComeLater(t *testing.T) {
	const site, next, other = "/certs/site", "/next/site", "/certs/other"
	for _, order := range [][]string{{site, next, other}, {next, site, other}, {other, next, site}, {other, site, next}} {
		t.Run(strings.Join(order, " "), func(t *testing.T) {
			onStage(t, func(s *stage) {
				s.tree = newTree()
				s.start(stars(star443))
				apply := s.tree.running()
				s.tree.unrun()
				s.put("/certs", "site", leaf("live", "1", "*.example.org"))
				s.put("/next", "site", bareLeaf("next"))
				s.put("/next", "elsewhere", bareLeaf("stray"))
				s.put("/certs", "other", leaf("k", "1", "www.example.org"))
				s.tree.apply = apply
				s.look(append(order, "/next/elsewhere")...) // one sweep finds them all
				s.want(www, "k", "live", "next")
			})
		})
	}
}

// The problem of a key that nothing takes is over as soon as something takes it, and is there again when nothing does.
func TestUnmappedKeyIsAProblemWhileNothingTakesIt(t *testing.T) {
	for claim, tc := range map[string]struct {
		key       string
		installed string
	}{
		"its host comes":              {"www.example.org", "other"},
		"its installed lineage comes": {"site", "site"},
	} {
		t.Run(claim, func(t *testing.T) {
			onStage(t, func(s *stage) {
				s.hosts("a", "b", "c", "d") // so that one that goes is not half of its root
				s.put("/next", tc.key, bareLeaf("next"))
				s.start(stars(star443))
				want := func(when string, n int) {
					t.Helper()
					s.look()
					if got := s.log.figures().Problems[UnmappedKey]; got != n {
						t.Errorf("%s: %d keys that nothing takes, want %d", when, got, n)
					}
				}
				want("before", 1)
				s.put("/certs", tc.installed, leaf("k", "1", "www.example.org"))
				s.want(www, "k", "next")
				want("while it is there", 0)
				s.remove("/certs/" + tc.installed)
				s.sweeps(5)
				s.after(49 * time.Hour)
				s.sweeps(2)
				s.gone(www)
				want("when the host has left", 1)
			})
		})
	}
}

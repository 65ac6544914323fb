package publish

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/coredns-tlsa/coredns-tlsa/plugin/tlsa/dane"
	"github.com/coredns-tlsa/coredns-tlsa/plugin/tlsa/rollover"
)

func TestOwnerBelowACutIsNotServedAndNeverReady(t *testing.T) {
	onStage(t, func(s *stage) {
		s.zone.view = ZoneView{Known: true, Cut: "mail.example.org."}
		s.put("/certs", "mail", mailLeaf("k"))
		s.start(config())
		if e, ok := s.p.Table().Lookup(mail); ok {
			t.Errorf("it is served: %+v", e)
		}
		s.after(24 * time.Hour)
		if s.log.figures().Problems[BelowCut] != 1 {
			t.Errorf("problems %v", s.log.figures().Problems)
		}
		s.zone.change(ZoneView{Known: true}, 2)
		s.after(2 * time.Minute)
		s.want(mail, "k")
		for _, a := range s.p.owners[0].timeline().Associations {
			if !a.ReadyAt.IsZero() {
				t.Error("an association that nobody could ask for is Ready")
			}
		}
	})
}

func TestZoneThatLoadsLateIsNoticed(t *testing.T) {
	onStage(t, func(s *stage) {
		s.zone.view = ZoneView{}
		s.put("/certs", "mail", mailLeaf("k"))
		s.start(config())
		s.want(mail, "k")
		if s.log.figures().Problems[ZoneMissing] != 1 {
			t.Errorf("problems %v", s.log.figures().Problems)
		}
		static := dane.Association{Combination: dane.Combination{Usage: 3, Selector: 1, MatchingType: 2}, Data: strings.Repeat("x", 64)}
		s.zone.change(ZoneView{Known: true, TLSA: []dane.Association{static}}, 1)
		s.after(2 * time.Minute)
		if s.log.figures().Problems[ZoneMissing] != 0 || s.log.figures().Problems[rollover.ZoneRecord] != 1 {
			t.Errorf("problems %v", s.log.figures().Problems)
		}
		if e, _ := s.p.Table().Lookup(mail); e.Set.Len() != 3 {
			t.Errorf("%d records, want ours and the zone's, each key in both combinations", e.Set.Len())
		}
	})
}

// An owner is served as long as nothing is known against it, so the zone is asked again about one that it did not answer for,
// though its SOA stays: be the owner of the Corefile, of the ledger, or new.
func TestZoneThatDoesNotAnswerForAnOwnerIsAskedAgain(t *testing.T) {
	onStage(t, func(s *stage) {
		cfg := stars(star443)
		cfg.Owners = config().Owners
		s.hosts("a", "b")
		s.put("/certs", "mail", mailLeaf("k"))
		s.put("/certs", "www", leaf("w", "1", "www.example.org"))
		s.start(cfg)
		s.kill()
		s.zone.silence(true)
		s.start(cfg)
		s.want(mail, "k")
		s.want(www, "w")
		const fresh = "_443._tcp.new.example.org."
		cut := func(names ...string) {
			s.zone.change(ZoneView{Known: true, Cut: "example.org."}, 1) // its SOA is as it was
			s.zone.silence(false)
			s.after(2 * time.Minute)
			for _, name := range names {
				if _, ok := s.p.Table().Lookup(name); ok {
					t.Errorf("nobody has asked again about %s", name)
				}
			}
		}
		cut(mail, www)
		s.zone.silence(true)
		s.put("/certs", "new", leaf("n", "1", "new.example.org"))
		s.look()
		s.want(fresh, "n")
		cut(fresh)
	})
}

// One that is left out is asked about later with all others, and what is decided before then knows nothing of its zone.
func TestRestartAsksTheZoneOnceAboutEachOwner(t *testing.T) {
	onStage(t, func(s *stage) {
		cfg := stars(star443)
		cfg.Owners = config().Owners
		s.hosts("a", "b", "c")
		s.put("/certs", "mail", mailLeaf("k"))
		s.start(cfg)
		s.kill()
		more := cfg
		more.Zones = append([]string{"example.net."}, cfg.Zones...) // another block: the owners of the ledger are adopted
		for _, cfg := range []Config{cfg, more} {
			s.zone.asked = map[string]int{}
			s.start(cfg)
			if len(s.zone.asked) != 5 {
				t.Errorf("asked about %v, want five owners", s.zone.asked)
			}
			for owner, times := range s.zone.asked {
				if times != 1 {
					t.Errorf("%s: asked %d times", owner, times)
				}
			}
			s.kill()
		}
	})
}

func TestFirstStartAsksTheZoneOnceAboutEachOwner(t *testing.T) {
	onStage(t, func(s *stage) {
		s.put("/certs", "all", leaf("w", "1", "*.example.org"))
		for i := range 20 {
			s.hosts(fmt.Sprint("h", i))
		}
		s.zone.asked = map[string]int{}
		cfg := stars(star443)
		cfg.Owners = []Owner{owner25(), {Name: "_25._tcp.other.example.org.", Host: "other.example.org.", Policy: policy()}}
		s.start(cfg)
		for _, o := range s.p.owners {
			want := 1
			if o.wild() {
				want = 0
			}
			if times := s.zone.asked[o.name()]; times != want || o.flags&inZone == 0 {
				t.Errorf("%s: asked %d times, want %d; flags %b", o.name(), times, want, o.flags)
			}
			if n := count(s.zone.remarked, o.name()); n != want {
				t.Errorf("%s: the rest was asked %d times, want %d", o.name(), n, want)
			}
		}
	})
}

func count(all []string, wanted string) (n int) {
	for _, s := range all {
		if s == wanted {
			n++
		}
	}
	return n
}

func TestRemarksOnTheZoneComeAfterTheFirstAnswers(t *testing.T) {
	onStage(t, func(s *stage) {
		s.zone.rest = Remarks{Alias: "x.example.org.", Hidden: "TXT at " + mail}
		s.put("/certs", "mail", mailLeaf("k"))
		p, err := s.prepare(config())
		if err != nil {
			t.Fatal(err)
		}
		if p.Abort(); len(s.zone.remarked) > 0 {
			t.Errorf("before the first answers it was asked about %v", s.zone.remarked)
		}
		problems := func(alias, hidden int) {
			t.Helper()
			if f := s.log.figures(); f.Problems[HostAlias] != alias || f.Problems[ZoneHidden] != hidden {
				t.Errorf("problems %v, want %d and %d", f.Problems, alias, hidden)
			}
		}
		s.start(config())
		problems(1, 1)
		s.after(10 * time.Minute)
		if len(s.zone.remarked) != 1 {
			t.Errorf("while nothing changed it was asked about %v", s.zone.remarked)
		}
		s.zone.mu.Lock()
		s.zone.rest, s.zone.serial = Remarks{}, 2
		s.zone.mu.Unlock()
		s.after(2 * lookout)
		problems(0, 0)
		s.zone.change(ZoneView{Known: true, Cut: "mail.example.org."}, 3)
		s.after(2 * lookout)
		if len(s.zone.remarked) != 2 {
			t.Errorf("below a cut it was asked about too: %v", s.zone.remarked)
		}
	})
}

// The zone may change faster than all owners can be asked about.
func TestRemarksAreAskedForInTurnHoweverOftenTheZoneChanges(t *testing.T) {
	onStage(t, func(s *stage) {
		s.hosts("a", "b", "c")
		s.start(stars(star443))
		s.p.locked(func() {
			s.zone.remarked = nil
			for range s.p.owners {
				s.p.lookAtAll(s.p.owners)
				if left, all := len(s.p.unremarked), len(s.p.owners); left != all {
					t.Errorf("%d are left to ask about, want %d", left, all)
				}
				s.p.remark()
			}
			for _, o := range s.p.owners {
				if n := count(s.zone.remarked, o.name()); n != 1 {
					t.Errorf("%s: asked %d times, want once", o.name(), n)
				}
			}
			s.p.lookAtAll(s.p.owners)
			gone := s.p.owners[0]
			s.p.remove(gone)
			s.zone.remarked = nil
			for len(s.p.unremarked) > 0 {
				s.p.remark()
			}
			if slices.Contains(s.zone.remarked, gone.name()) || len(s.zone.remarked) != len(s.p.owners) {
				t.Errorf("asked about %v, want those of %d that are left", s.zone.remarked, len(s.p.owners))
			}
		})
	})
}

func TestSignedZoneIsLeftAlone(t *testing.T) {
	onStage(t, func(s *stage) {
		s.zone.signed = true
		s.put("/certs", "mail", mailLeaf("k"))
		s.start(config())
		if e, ok := s.p.Table().Lookup(mail); ok {
			t.Errorf("it is served: %+v", e)
		}
		if s.log.figures().Problems[ZoneSigned] != 1 {
			t.Errorf("problems %v", s.log.figures().Problems)
		}
	})
}

func TestTransferredZoneWaitsForItsSlowestSecondary(t *testing.T) {
	for claim, tc := range map[string]struct {
		follow, written bool
		hold            time.Duration
	}{
		"without transfer":                     {false, false, 2 * time.Hour},
		"with it, and hold left open":          {true, false, 5 * time.Hour},
		"with it, and a hold that was written": {true, true, 5 * time.Hour},
	} {
		t.Run(claim, func(t *testing.T) {
			onStage(t, func(s *stage) {
				s.zone.lag = 3 * time.Hour
				cfg := config()
				cfg.FollowSOA, cfg.HoldWritten = tc.follow, tc.written
				s.put("/certs", "mail", mailLeaf("old"))
				s.put("/next", "mail", bareLeaf("new"))
				s.start(cfg)
				s.after(tc.hold - time.Second)
				if got := s.states(mail); got != "active, published" {
					t.Errorf("a second early: %s", got)
				}
				s.after(2 * time.Second)
				if got := s.states(mail); got != "active, ready" {
					t.Errorf("in time: %s", got)
				}
			})
		})
	}
}

func TestPrivateKeysThatCanBeReadAreSaidOnce(t *testing.T) {
	onStage(t, func(s *stage) {
		s.put("/certs", "mail", mailLeaf("k"))
		l := *s.tree.lineages["/certs/mail"]
		l.PrivateKey = "/certs/mail/privkey.pem"
		s.tree.lineages["/certs/mail"] = &l
		s.start(config())
		s.look("/certs/mail")
		if n := strings.Count(strings.Join(s.log.take(), "\n"), "can read private keys"); n != 1 {
			t.Errorf("said %d times", n)
		}
	})
}

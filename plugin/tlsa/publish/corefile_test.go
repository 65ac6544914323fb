package publish

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/coredns-tlsa/coredns-tlsa/plugin/tlsa/certdir"
	"github.com/coredns-tlsa/coredns-tlsa/plugin/tlsa/rollover"
)

// reload stops the publisher and starts one with another Corefile.
func (s *stage) reload(cfg Config) {
	s.t.Helper()
	next, err := s.prepare(cfg)
	if err != nil {
		s.t.Fatal(err)
	}
	s.p.Stop()
	s.p = next
	next.Start()
	next.Inherit()
	synctestWait()
}

func TestRootThatLeftTheCorefileLetsItsKeysGo(t *testing.T) {
	for claim, tc := range map[string]struct {
		broken bool // the new root cannot be read
		kept   bool
	}{
		"to a root that can be read":    {false, false},
		"to a root that cannot be read": {true, true},
	} {
		t.Run(claim, func(t *testing.T) {
			onStage(t, func(s *stage) {
				s.put("/certs", "mail", mailLeaf("old"))
				s.start(config())
				s.after(3 * time.Hour)
				s.tree = newTree()
				delete(s.tree.roots, "/certs")
				s.tree.roots["/moved"] = &certdir.Root{Path: "/moved"}
				if tc.broken {
					s.tree.roots["/moved"].Problems = []rollover.Problem{{Reason: "missing-root", Text: "not there"}}
				}
				s.put("/moved", "mail", mailLeaf("new"))
				cfg := config()
				cfg.Certs = []string{"/moved"}
				s.reload(cfg)
				s.want(mail, "old", "new")
				s.after(49 * time.Hour)
				if tc.kept {
					s.want(mail, "old", "new")
				} else {
					s.want(mail, "new")
				}
			})
		})
	}
}

func TestZonesOfADirectiveChangeAndTheTimelineStays(t *testing.T) {
	onStage(t, func(s *stage) {
		gone := Owner{Name: "_465._tcp.mail.example.org.", Host: "mail.example.org.", Policy: policy()}
		s.put("/certs", "mail", mailLeaf("old"))
		s.start(config(owner25(), gone))
		s.after(3 * time.Hour)
		s.put("/certs", "mail", mailLeaf("new"))
		s.want(mail, "old", "new")
		cfg := config()
		cfg.Zones = []string{"example.net.", "example.org."}
		s.log.take()
		s.reload(cfg)
		s.want(mail, "old", "new")
		if got := s.states(mail); got != "active ungated, retired" {
			t.Errorf("after the reload: %s", got)
		}
		if log := strings.Join(s.log.take(), "\n"); strings.Count(log, "withdrawn") != 1 || !strings.Contains(log, gone.Name) {
			t.Errorf("the log should tell of the one name that is gone:\n%s", log)
		}
		if blocks, err := s.disk.Blocks(); err != nil || fmt.Sprint(blocks) != "[example.net. example.org.|]" {
			t.Errorf("the ledger has the blocks %q, %v", blocks, err)
		}
		s.after(49 * time.Hour)
		s.want(mail, "new")
	})
}

func TestFailedReloadWithOtherZonesLeavesTheOldWriterItsTimeline(t *testing.T) {
	onStage(t, func(s *stage) {
		s.put("/certs", "mail", mailLeaf("old"))
		s.start(config())
		s.after(3 * time.Hour)
		cfg := config()
		cfg.Zones = []string{"example.net.", "example.org."}
		if _, err := s.prepare(cfg); err != nil {
			t.Fatal(err)
		}
		s.put("/certs", "mail", mailLeaf("new"))
		s.want(mail, "old")
		s.after(2 * giveUp) // nobody aborts it: caddy tells only instances that had tlsa
		s.want(mail, "old", "new")
		if s.disk.refs != 1 {
			t.Errorf("the ledger is open %d times", s.disk.refs)
		}
	})
}

func TestStartThatWasGivenUpComesAllTheSame(t *testing.T) {
	onStage(t, func(s *stage) {
		s.put("/certs", "mail", mailLeaf("k"))
		p, err := s.prepare(config())
		if err != nil {
			t.Fatal(err)
		}
		s.p = p
		s.after(2 * giveUp)
		if s.disk.refs != 0 {
			t.Errorf("the ledger is open %d times though the start was given up", s.disk.refs)
		}
		p.Start()
		synctestWait()
		s.put("/certs", "mail", mailLeaf("new"))
		s.want(mail, "k", "new")
	})
}

func TestAbsentSOADoesNotBringReadyForward(t *testing.T) {
	for claim, away := range map[string]func(*stage){
		"the zone goes away":                   func(s *stage) { s.zone.change(ZoneView{}, 0) },
		"the zone is away after a restart too": func(s *stage) { s.zone.change(ZoneView{}, 0); s.reload(s.p.Config()) },
	} {
		t.Run(claim, func(t *testing.T) {
			onStage(t, func(s *stage) {
				s.zone.lag = 10 * time.Hour
				cfg := config()
				cfg.FollowSOA = true
				s.put("/certs", "mail", mailLeaf("old"))
				s.put("/next", "mail", bareLeaf("new"))
				s.start(cfg)
				s.after(3 * time.Hour)
				away(s)
				s.after(2 * time.Minute)
				s.zone.change(ZoneView{Known: true}, 2)
				s.after(2 * time.Minute)
				if got := s.states(mail); got != "active, published" {
					t.Errorf("three hours of twelve have passed: %s", got)
				}
				s.after(9 * time.Hour)
				if got := s.states(mail); got != "active, ready" {
					t.Errorf("after hold: %s", got)
				}
			})
		})
	}
}

func TestUnreadNextAloneAnswersSERVFAIL(t *testing.T) {
	onStage(t, func(s *stage) {
		s.tree = newTree()
		delete(s.tree.roots, "/certs")
		s.tree.roots["/next"].Problems = []rollover.Problem{{Reason: "missing-root", Text: "not there"}}
		s.start(config())
		if e, _ := s.p.Table().Lookup(mail); e.Set == nil || !e.Set.Unknown {
			t.Errorf("entry %+v", e)
		}
	})
}

func TestFromThatNamesNothingIsSaid(t *testing.T) {
	o := owner25()
	o.From = []string{"mial", "/certs/mail/fullchain.pem"}
	onStage(t, func(s *stage) {
		s.put("/certs", "mail", leaf("k", "1"))
		s.start(config(o))
		s.want(mail, "k")
		if log := strings.Join(s.log.take(), "\n"); strings.Count(log, "names no lineage") != 1 || !strings.Contains(log, "mial") {
			t.Errorf("the log:\n%s", log)
		}
	})
}

func TestLedgerThatWorksAgainEndsItsProblemWithNothingToRecord(t *testing.T) {
	onStage(t, func(s *stage) {
		s.put("/certs", "mail", mailLeaf("k"))
		s.start(config())
		s.after(3 * time.Hour)
		s.disk.fill(true)
		s.after(10 * time.Minute) // the heartbeat fails
		if s.log.figures().Problems[LedgerFailing] != 1 {
			t.Fatalf("problems %v", s.log.figures().Problems)
		}
		s.disk.fill(false)
		tries := s.disk.count()
		s.after(2 * time.Minute)
		if s.log.figures().Problems[LedgerFailing] != 0 {
			t.Errorf("problems %v", s.log.figures().Problems)
		}
		if n := s.disk.count() - tries; n > 3 {
			t.Errorf("%d commits in two minutes", n)
		}
	})
}

func TestLinesOfTheLogStayLines(t *testing.T) {
	onStage(t, func(s *stage) {
		s.put("/certs", "x\n[ERROR] plugin/tlsa: forged\x1b[31m", mailLeaf("k"))
		s.start(config())
		for _, line := range s.log.take() {
			if strings.ContainsAny(line, "\n\x1b") {
				t.Errorf("a line is broken: %q", line)
			}
		}
	})
}

func TestAbortedStartTellsNothing(t *testing.T) {
	onStage(t, func(s *stage) {
		s.put("/certs", "mail", mailLeaf("k"))
		if _, err := s.prepare(config()); err != nil {
			t.Fatal(err)
		}
		AbortStarts()
		if lines := s.log.take(); len(lines) > 0 {
			t.Errorf("the log of a start that was aborted: %q", lines)
		}
	})
}

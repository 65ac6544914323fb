package publish

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/coredns-tlsa/coredns-tlsa/plugin/tlsa/certdir"
	"github.com/coredns-tlsa/coredns-tlsa/plugin/tlsa/control"
	"github.com/coredns-tlsa/coredns-tlsa/plugin/tlsa/dane"
	"github.com/coredns-tlsa/coredns-tlsa/plugin/tlsa/ledger"
	"github.com/coredns-tlsa/coredns-tlsa/plugin/tlsa/rollover"
)

// slow is a tree whose first sweep ends when it is let.
type slow struct {
	*tree
	let chan struct{}
}

func (s slow) Sweep(ctx context.Context) certdir.Changes {
	select {
	case <-s.let:
		return s.tree.Sweep(ctx)
	case <-ctx.Done(): // one root was read, the other one was not
		return certdir.Changes{Roots: []*certdir.Root{{Path: "/next", Staged: true, Sweeps: 1, Complete: true}}}
	}
}

// prepareSlowly is prepare with a first sweep that ends when let is closed.
func (s *stage) prepareSlowly(cfg Config, let chan struct{}) *Publisher {
	s.t.Helper()
	p := New(cfg, s.zone, s.log, s.log)
	p.open = func(string) (store, error) { return s.disk.open() }
	p.watch = func(certdir.Config) watcher { return slow{s.tree, let} }
	if err := p.Prepare(); err != nil {
		s.t.Fatal(err)
	}
	return p
}

func (s *stage) startSlowly(cfg Config) (let chan struct{}) {
	s.t.Helper()
	let = make(chan struct{})
	s.p = s.prepareSlowly(cfg, let)
	s.p.Start()
	s.p.Inherit()
	synctestWait()
	return let
}

// An owner whose old key is due to leave, and one that the ledger does not know.
func TestStartAnswersFromTheLedgerWhileDirectoriesAreRead(t *testing.T) {
	const web = "_443._tcp.www.example.org."
	onStage(t, func(s *stage) {
		s.put("/certs", "mail", mailLeaf("k1"))
		s.start(config())
		s.after(time.Hour)
		s.put("/certs", "mail", mailLeaf("k2"))
		s.after(48*time.Hour - 5*time.Minute)
		s.want(mail, "k1", "k2")
		s.p.Stop()
		s.tree.unrun()
		// While it is down, the old certificate is put back in use.
		s.enter("/certs", "mail", mailLeaf("k1"))
		cfg := config(owner25(), Owner{Name: web, Host: "www.example.org.", Policy: policy()})
		cfg.TTL, cfg.Owners[0].Policy.TTL, cfg.Owners[1].Policy.TTL = 60, 60, 60
		before := time.Now()
		let := s.startSlowly(cfg)
		if waited := time.Since(before); waited != patience {
			t.Errorf("the start waited %s for the directories, want %s", waited, patience)
		}
		s.zone.change(s.zone.view, 2)
		s.after(time.Hour) // k1 was due to leave, and the owner is touched
		s.want(mail, "k1", "k2")
		if e, _ := s.p.Table().Lookup(mail); e.Set != nil && e.Set.RRs(mail)[0].Header().Ttl != 3600 {
			t.Errorf("it is answered under %d s, which the ledger does not have", e.Set.RRs(mail)[0].Header().Ttl)
		}
		if e, ok := s.p.Table().Lookup(web); !ok || e.Set == nil || !e.Set.Unknown {
			t.Errorf("what the ledger does not have is answered: %+v", e)
		}
		if s.p.Known() {
			t.Error("everything is said to be known")
		}
		var refused *control.Error
		if _, err := s.p.Act(control.Action{Verb: control.Withdraw, Owner: mail}, false); !errors.As(err, &refused) || refused.Code != control.CodeStarting {
			t.Errorf("the operator acts on what is not known: %v", err)
		}
		s.enter("/certs", "www", leaf("w", "1", "www.example.org"))
		close(let)
		synctestWait()
		s.want(mail, "k1", "k2")
		s.want(web, "w")
		if got := s.states(mail); got != "active, retired" && got != "retired, active" {
			t.Errorf("after the directories were read: %s", got)
		}
		if !s.p.Known() {
			t.Error("something is said to be unknown")
		}
		s.after(49 * time.Hour)
		s.want(mail, "k1")
	})
}

// What no ledger vouches for is not answered early: a first start, one after a loss, a reload.
func TestStartWaitsForTheDirectoriesWhereTheLedgerCannotVouch(t *testing.T) {
	cases := map[string]func(s *stage){
		"a first start": func(s *stage) { s.tree = newTree() },
		"an older copy of the ledger": func(s *stage) {
			s.put("/certs", "mail", mailLeaf("k1"))
			s.start(config())
			s.p.Stop()
			s.p = nil
			s.disk.restore()
		},
		"a reload": func(s *stage) {
			s.put("/certs", "mail", mailLeaf("k1"))
			s.start(config())
		},
	}
	for name, before := range cases {
		t.Run(name, func(t *testing.T) {
			onStage(t, func(s *stage) {
				before(s)
				let := make(chan struct{})
				time.AfterFunc(20*time.Second, func() { close(let) })
				begun := time.Now()
				p := s.prepareSlowly(config(), let)
				if waited := time.Since(begun); waited != 20*time.Second {
					t.Errorf("it was ready after %s", waited)
				}
				p.Abort()
			})
		})
	}
}

// A copy of the ledger is one until it has all that the directories hold, however often it is opened.
func TestRestoredLedgerAnswersAgainOnceItHasRecordedAll(t *testing.T) {
	for name, tc := range map[string]struct {
		before func(s *stage)
		waits  time.Duration
	}{
		"all is recorded": {func(s *stage) { s.start(config()) }, patience},
		"nothing can be":  {func(s *stage) { s.disk.fill(true); s.start(config()) }, 20 * time.Second},
		"not all can be":  {func(s *stage) { s.disk.lie(true); s.start(config()) }, 20 * time.Second},
		"a root cannot be read": {func(s *stage) {
			s.tree.roots["/certs"] = &certdir.Root{Path: "/certs", Problems: []rollover.Problem{{Reason: "missing-root"}}}
			s.start(config())
		}, 20 * time.Second},
		"later it can be": {func(s *stage) {
			s.disk.fill(true)
			s.start(config())
			s.disk.fill(false)
			s.after(3 * time.Minute)
		}, patience},
	} {
		t.Run(name, func(t *testing.T) {
			onStage(t, func(s *stage) {
				s.put("/certs", "mail", mailLeaf("k1"))
				s.start(config())
				s.p.Stop()
				s.tree.unrun()
				s.disk.restore()
				s.put("/certs", "mail", mailLeaf("k2"))
				tc.before(s)
				s.kill()
				s.disk.fill(false)
				s.disk.origin = ledger.Intact
				let := make(chan struct{})
				time.AfterFunc(20*time.Second, func() { close(let) })
				begun := time.Now()
				s.prepareSlowly(config(), let).Abort()
				if waited := time.Since(begun); waited != tc.waits {
					t.Errorf("it was ready after %s, want %s", waited, tc.waits)
				}
			})
		})
	}
}

// Where the zones of a directive have changed, the ledger answers early if it vouches for whom it is taken from.
func TestStartWithOtherZonesTrustsTheLedgerAsItDidBefore(t *testing.T) {
	other := config()
	other.Zones = []string{"example.net.", "example.org."}
	for name, tc := range map[string]struct {
		before func(s *stage)
		waits  time.Duration
	}{
		"whole": {func(*stage) {}, patience},
		"new":   {func(s *stage) { s.disk.vouched = map[string]bool{"example.org.|": true} }, patience},
		"copy":  {func(s *stage) { s.disk.restore() }, 20 * time.Second},
		// What the new block has adopted is gone again, with what it had found.
		"copy, and a start that was given up": {func(s *stage) {
			s.disk.restore()
			s.put("/certs", "mail", mailLeaf("k2"))
			s.prepareSlowly(other, closed()).Abort()
		}, 20 * time.Second},
		"copy, but for the other block": {func(s *stage) {
			s.disk.restore()
			s.disk.vouched["example.net. example.org.|"] = true
		}, 20 * time.Second},
	} {
		t.Run(name, func(t *testing.T) {
			onStage(t, func(s *stage) {
				s.put("/certs", "mail", mailLeaf("k1"))
				s.start(config())
				s.p.Stop()
				s.p = nil
				s.tree.unrun()
				tc.before(s)
				let := make(chan struct{})
				time.AfterFunc(20*time.Second, func() { close(let) })
				begun := time.Now()
				s.prepareSlowly(other, let).Abort()
				if waited := time.Since(begun); waited != tc.waits {
					t.Errorf("it was ready after %s, want %s", waited, tc.waits)
				}
			})
		})
	}
}

func closed() chan struct{} {
	c := make(chan struct{})
	close(c)
	return c
}

// With many owners the answers come before the first look at the directories, which would take the processors from them.
func TestLargeStartDoesNotWaitForTheDirectories(t *testing.T) {
	onStage(t, func(s *stage) {
		s.tree = newTree()
		for i := range large {
			host := fmt.Sprintf("h%d", i)
			s.enter("/certs", host, leaf(host, "1", host+".example.org"))
		}
		s.start(stars(star443))
		s.p.Stop()
		s.tree.unrun()
		begun := time.Now()
		let := make(chan struct{})
		s.p = s.prepareSlowly(stars(star443), let)
		if s.p.first != nil {
			t.Error("the directories are read before the start is over")
		}
		s.p.Start()
		s.p.Inherit()
		synctestWait()
		if waited := time.Since(begun); waited != 0 {
			t.Errorf("it waited %s", waited)
		}
		s.want("_443._tcp.h0.example.org.", "h0")
		s.enter("/certs", "new", leaf("new", "1", "new.example.org"))
		close(let)
		synctestWait()
		s.want("_443._tcp.h0.example.org.", "h0")
		s.want("_443._tcp.new.example.org.", "new")
	})
}

func TestStopDoesNotWaitForTheFirstSweep(t *testing.T) {
	onStage(t, func(s *stage) {
		s.put("/certs", "mail", mailLeaf("k1"))
		s.start(config())
		s.after(time.Hour)
		s.p.Stop()
		s.startSlowly(config())
		s.after(time.Minute)
		s.p.Stop()
		s.p = nil
		timeline, _ := s.disk.stored(mail)
		if len(timeline.Keys) != 1 || !timeline.Keys[0].RetiredAt.IsZero() {
			t.Errorf("the end of the sweep was taken for the end of the files: %+v", timeline.Keys)
		}
	})
}

// Signatures are checked, and whole certificates kept, where something needs that.
func TestWatcherIsToldWhatIsWanted(t *testing.T) {
	needsBoth := dane.Combination{Usage: dane.DANETA, Selector: dane.Cert, MatchingType: dane.Full}
	cases := map[string]func(s *stage, cfg *Config){
		"an owner": func(_ *stage, cfg *Config) {
			cfg.Owners[0].Policy.Combinations = []dane.Combination{spki311, needsBoth}
		},
		"a pattern": func(_ *stage, cfg *Config) {
			*cfg = stars(star443)
			cfg.Patterns[0].Policy.Combinations = []dane.Combination{needsBoth}
		},
		"the zone":      func(s *stage, _ *Config) { s.zone.view.TLSA = []dane.Association{{Combination: needsBoth, Data: "x"}} },
		"nobody at all": func(*stage, *Config) {},
	}
	for who, wants := range cases {
		t.Run(who, func(t *testing.T) {
			onStage(t, func(s *stage) {
				cfg := config()
				wants(s, &cfg)
				p := New(cfg, s.zone, s.log, s.log)
				p.open = func(string) (store, error) { return s.disk.open() }
				var got certdir.Config
				p.watch = func(c certdir.Config) watcher { got = c; return newTree() }
				if err := p.Prepare(); err != nil {
					t.Fatal(err)
				}
				p.Abort()
				if want := who != "nobody at all"; got.Issuers != want || got.KeepDER != want {
					t.Errorf("issuers %t, whole certificates %t", got.Issuers, got.KeepDER)
				}
			})
		})
	}
}

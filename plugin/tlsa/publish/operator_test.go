package publish

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/coredns-tlsa/coredns-tlsa/plugin/tlsa/control"
	"github.com/coredns-tlsa/coredns-tlsa/plugin/tlsa/rollover"
)

const web = "_443._tcp.www.example.org."

func keyDigest(key string) string {
	sum := sha256.Sum256([]byte(spki(key)))
	return hex.EncodeToString(sum[:])
}

// act does what the operator wants; code is that of the error that is expected, empty for none.
func (s *stage) act(a control.Action, code string) []control.Done {
	s.t.Helper()
	tried, err := s.p.Act(a, true)
	if len(tried) > 0 || (code == "") != (err == nil) {
		s.t.Errorf("trying %+v: %v, %v", a, tried, err)
	}
	done, err := s.p.Act(a, false)
	var e *control.Error
	switch {
	case code == "" && err != nil:
		s.t.Errorf("%+v: %v", a, err)
	case code != "" && (!errors.As(err, &e) || e.Code != code):
		s.t.Errorf("%+v: got %v, want %s", a, err, code)
	}
	synctestWait()
	return done
}

func revoke(key string) control.Action {
	return control.Action{Verb: control.Revoke, Owner: mail, Data: keyDigest(key)}
}

func undo(a control.Action) control.Action {
	a.Verb = control.Restore
	return a
}

var withdrawMail = control.Action{Verb: control.Withdraw, Owner: mail}

// denied wants NODATA at an owner.
func (s *stage) denied(owner string) {
	s.t.Helper()
	if e, ok := s.p.Table().Lookup(owner); !ok || e.Set == nil || e.Set.Unknown || e.Set.Len() != 0 {
		s.t.Errorf("%s is not denied: %+v", owner, e)
	}
}

// replaced is a stage on which the key old has been replaced by new, ten hours ago.
func (s *stage) replaced(cfg Config) {
	s.put("/certs", "mail", mailLeaf("old"))
	s.start(cfg)
	s.after(3 * time.Hour)
	s.put("/certs", "mail", mailLeaf("new"))
	s.after(10 * time.Hour)
	s.want(mail, "old", "new")
	s.log.take()
}

// crash ends the server as a kill does, and starts another one.
func (s *stage) crash(cfg Config) {
	s.kill()
	s.start(cfg)
}

func TestRevokedKeyIsGoneAtOnceAndAfterACrash(t *testing.T) {
	onStage(t, func(s *stage) {
		s.replaced(config())
		done := s.act(revoke("old"), "")
		s.want(mail, "new")
		now := time.Now().UTC()
		if len(done) != 1 || done[0].Owner != mail || !done[0].CachedUntil.Equal(now.Add(time.Hour)) || !done[0].UndoUntil.Equal(now.Add(48*time.Hour)) {
			t.Errorf("done: %+v", done)
		}
		if log := s.log.take(); len(log) != 1 || !strings.Contains(log[0], "caches may hold it until "+now.Add(time.Hour).Format(time.RFC3339)) {
			t.Errorf("the log: %q", log)
		}
		s.crash(config())
		s.want(mail, "new")
		s.after(47 * time.Hour)
		s.act(undo(revoke("old")), "")
		s.want(mail, "old", "new")
		s.crash(config())
		s.want(mail, "old", "new")
		if got := s.states(mail); got != "active, retired" {
			t.Errorf("after the undo: %s", got)
		}
		s.after(47 * time.Hour)
		s.want(mail, "old", "new")
		s.after(2 * time.Hour)
		s.want(mail, "new")
		s.act(undo(revoke("old")), control.CodeNothing)
	})
}

func TestUndoComesTooLateAfterGrace(t *testing.T) {
	onStage(t, func(s *stage) {
		s.replaced(config())
		s.act(revoke("old"), "")
		s.after(48 * time.Hour)
		s.act(undo(revoke("old")), control.CodeNothing)
		s.want(mail, "new")
	})
}

func TestRevokeIsRefusedWhereItWouldDoHarm(t *testing.T) {
	onStage(t, func(s *stage) {
		s.replaced(config())
		s.put("/next", "mail", bareLeaf("staged"))
		commits := s.disk.count()
		for key, code := range map[string]string{"new": control.CodeRefused, "staged": control.CodeRefused, "unknown": control.CodeNothing} {
			s.act(revoke(key), code)
		}
		s.act(control.Action{Verb: control.Revoke, Owner: web, Data: keyDigest("old")}, control.CodeNothing)
		s.act(revoke("old"), "")
		for _, id := range []string{"/next/mail", "/certs/mail"} {
			s.remove(id)
			for range 5 {
				s.after(time.Minute)
				s.look()
			}
			s.after(100 * time.Hour) // the staged key goes, the installed one stays without its file
			s.want(mail, "new")
		}
		s.act(revoke("new"), control.CodeRefused)
		s.want(mail, "new")
		if s.disk.count() == commits {
			t.Error("nothing was recorded")
		}
	})
}

func TestRefusedActionChangesNothing(t *testing.T) {
	for claim, refuse := range map[string]struct {
		before, after func(*stage)
		code          string
	}{
		"while the ledger cannot be written": {
			func(s *stage) { s.disk.fill(true) }, func(s *stage) { s.disk.fill(false) }, control.CodeLedger},
		"while another instance takes over": {func(s *stage) { s.p.pause() }, func(s *stage) { s.p.resume() }, control.CodeStarting},
	} {
		t.Run(claim, func(t *testing.T) {
			onStage(t, func(s *stage) {
				s.replaced(config())
				refuse.before(s)
				for _, a := range []control.Action{revoke("old"), withdrawMail} {
					if done, err := s.p.Act(a, false); err == nil || len(done) > 0 {
						t.Errorf("%+v was done", a)
					} else if e := (*control.Error)(nil); !errors.As(err, &e) || e.Code != refuse.code {
						t.Errorf("%+v: %v", a, err)
					}
				}
				s.want(mail, "old", "new")
				refuse.after(s)
				s.after(2 * time.Minute)
				s.want(mail, "old", "new")
				s.crash(config())
				s.want(mail, "old", "new")
				s.act(revoke("old"), "")
				s.want(mail, "new")
			})
		})
	}
}

func TestActionBeforeTheStartIsRefused(t *testing.T) {
	onStage(t, func(s *stage) {
		s.put("/certs", "mail", mailLeaf("k"))
		p, err := s.prepare(config())
		if err != nil {
			t.Fatal(err)
		}
		s.p = p
		s.act(withdrawMail, control.CodeStarting)
		if st := p.Status(""); st.Serving || len(st.Owners) != 1 || st.Owners[0].Answer != control.AnswerRecords {
			t.Errorf("status before the start: %+v", st)
		}
		p.Stop()
		s.act(withdrawMail, control.CodeStarting)
		if st := p.Status(""); st.Serving || len(st.Owners) != 0 {
			t.Errorf("status after the stop: %+v", st)
		}
	})
}

func TestKeyIsRevokedAtAllOwnersOrNone(t *testing.T) {
	cfg := config(Owner{Name: web, Host: "www.example.org.", Policy: policy()}, owner25())
	onStage(t, func(s *stage) {
		s.put("/certs", "www", leaf("old", "2", "www.example.org"))
		s.replaced(cfg)
		all := control.Action{Verb: control.Revoke, SPKI: keyDigest("old")}
		s.act(all, control.CodeRefused) // www still uses it
		s.want(mail, "old", "new")
		s.put("/certs", "www", leaf("other", "1", "www.example.org"))
		s.want(web, "old", "other")
		if done := s.act(all, ""); len(done) != 2 || done[0].Owner != mail && done[1].Owner != mail {
			t.Errorf("done: %+v", done)
		}
		s.want(mail, "new")
		s.want(web, "other")
		s.crash(cfg)
		s.want(web, "other")
		s.act(undo(all), "")
		s.want(mail, "old", "new")
		s.want(web, "old", "other")
	})
}

func TestWithdrawnNameIsDeniedUntilItIsRestored(t *testing.T) {
	onStage(t, func(s *stage) {
		s.replaced(config())
		s.act(withdrawMail, "")
		s.denied(mail)
		if log := strings.Join(s.log.take(), "\n"); strings.Count(log, "withdrawn the name") != 1 || strings.Contains(log, "is removed") {
			t.Errorf("the log:\n%s", log)
		}
		if got := s.log.figures().Problems; got[rollover.Withdrawn] != 1 || len(got) != 1 {
			t.Errorf("problems %v", got)
		}
		s.act(withdrawMail, control.CodeNothing)
		s.crash(config())
		s.denied(mail)
		s.put("/certs", "mail", mailLeaf("newer"))
		s.denied(mail)
		s.after(10 * time.Hour)
		s.act(undo(withdrawMail), "")
		s.want(mail, "old", "new", "newer")
		s.crash(config())
		s.want(mail, "old", "new", "newer")
		if got := s.states(mail); got != "active, retired, retired" {
			t.Errorf("after ten hours without records nothing is at risk, but it is %s", got)
		}
		s.act(undo(withdrawMail), control.CodeNothing)
	})
}

func TestCorefileThatDropsAWithdrawnNameEndsThat(t *testing.T) {
	other := config(Owner{Name: web, Host: "www.example.org.", Policy: policy()})
	onStage(t, func(s *stage) {
		s.put("/certs", "mail", mailLeaf("k"))
		s.start(config())
		s.after(3 * time.Hour)
		s.act(withdrawMail, "")
		s.reload(config())
		s.denied(mail)
		s.reload(other)
		s.reload(config())
		s.want(mail, "k")
	})
}

func TestGivenUpLineageLeavesAfterItsGrace(t *testing.T) {
	onStage(t, func(s *stage) {
		s.put("/certs", "rsa", mailLeaf("other"))
		s.put("/certs", "mail", mailLeaf("k"))
		s.start(config())
		s.after(3 * time.Hour)
		s.act(control.Action{Verb: control.Withdraw, Lineage: "rsa"}, control.CodeRefused)
		if _, err := s.p.Act(control.Action{Verb: control.Withdraw, Lineage: "rsa"}, true); !strings.Contains(err.Error(), "has not vanished") {
			t.Errorf("a lineage that is there: %v", err)
		}
		s.remove("/certs/rsa") // one of two: frozen
		for range 5 {
			s.after(time.Minute)
			s.look()
		}
		s.after(100 * time.Hour)
		s.want(mail, "k", "other")
		if got := s.log.figures(); got.Frozen != 1 || got.Problems[rollover.RemovalsFrozen] != 1 {
			t.Errorf("nothing is frozen: %+v", got)
		}
		give := control.Action{Verb: control.Withdraw, Lineage: "rsa"}
		s.act(control.Action{Verb: control.Withdraw, Lineage: "unknown"}, control.CodeNothing)
		done := s.act(give, "")
		if until := time.Now().Add(48 * time.Hour); len(done) != 1 || !done[0].UndoUntil.Equal(until) || !done[0].CachedUntil.Equal(until.Add(time.Hour)) {
			t.Errorf("done: %+v", done)
		}
		if got := s.log.figures(); got.Frozen != 0 || len(got.Problems) != 0 {
			t.Errorf("still frozen: %+v", got)
		}
		s.want(mail, "k", "other")
		s.after(20 * time.Hour)
		s.act(undo(give), "")
		s.after(100 * time.Hour)
		s.want(mail, "k", "other")
		s.act(control.Action{Verb: control.Withdraw, Lineage: "/certs/rsa"}, "")
		s.crash(config())
		s.after(47 * time.Hour)
		s.want(mail, "k", "other")
		s.after(2 * time.Hour)
		s.want(mail, "k")
	})
}

// TestRestoredKeyIsReadyInTime: the loop slept until something else was due.
func TestRestoredKeyIsReadyInTime(t *testing.T) {
	cfg := config()
	cfg.Owners[0].Policy.Hold, cfg.Owners[0].Policy.TTL, cfg.TTL = 20*time.Second, 10, 10
	onStage(t, func(s *stage) {
		s.replaced(cfg)
		s.act(revoke("old"), "")
		s.after(time.Hour + 10*time.Second)
		s.act(undo(revoke("old")), "")
		s.after(21 * time.Second)
		for _, a := range s.p.Status(mail).Owners[0].Associations {
			if !a.Gated {
				t.Errorf("after hold: %+v", a)
			}
		}
	})
}

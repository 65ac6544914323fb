package publish

import (
	"errors"
	"strings"
	"testing"
	"time"
)

func TestReloadPausesTheOldWriterAndLosesNothing(t *testing.T) {
	onStage(t, func(s *stage) {
		s.put("/certs", "mail", mailLeaf("old"))
		s.start(config())
		s.after(3 * time.Hour)
		old, oldTree := s.p, s.tree
		s.tree = newTree()
		s.tree.lineages = oldTree.lineages
		next, err := s.prepare(config())
		if err != nil {
			t.Fatal(err)
		}
		commits := s.disk.count()
		s.tree, s.p = oldTree, old
		s.put("/certs", "mail", mailLeaf("new"))
		if s.disk.count() != commits {
			t.Error("the old publisher wrote while the new one was starting")
		}
		s.want(mail, "old")
		old.Stop()
		s.p = next
		next.watcher.(*tree).lineages = oldTree.lineages
		next.Start()
		s.tree = next.watcher.(*tree)
		synctestWait()
		s.look("/certs/mail")
		s.want(mail, "old", "new")
	})
}

func TestFailedReloadLetsTheOldWriterCatchUp(t *testing.T) {
	onStage(t, func(s *stage) {
		s.put("/certs", "mail", mailLeaf("old"))
		s.start(config())
		s.after(3 * time.Hour)
		old, oldTree := s.p, s.tree
		s.tree = newTree()
		s.tree.lineages = oldTree.lineages
		if _, err := s.prepare(config()); err != nil {
			t.Fatal(err)
		}
		s.tree, s.p = oldTree, old
		s.put("/certs", "mail", mailLeaf("new"))
		s.want(mail, "old")
		AbortStarts()
		s.want(mail, "old", "new")
		if s.disk.refs != 1 {
			t.Errorf("the ledger is open %d times", s.disk.refs)
		}
	})
}

func TestFailedPrepareLeavesNothingOpen(t *testing.T) {
	onStage(t, func(s *stage) {
		s.tree = newTree()
		p := New(config(), s.zone, s.log, s.log)
		p.open = func(string) (store, error) { return nil, errors.New("locked by another process") }
		if err := p.Prepare(); err == nil || !strings.Contains(err.Error(), "locked") {
			t.Errorf("Prepare says %v", err)
		}
		p.Abort()
		if len(handover.starting) > 0 {
			t.Error("it is still starting")
		}
	})
}

func TestNameDeletedFromTheCorefileIsWithdrawnAndSaid(t *testing.T) {
	onStage(t, func(s *stage) {
		s.put("/certs", "mail", mailLeaf("k"))
		s.start(config(owner25(), Owner{Name: "_465._tcp.mail.example.org.", Host: "mail.example.org.", Policy: policy()}))
		s.want("_465._tcp.mail.example.org.", "k")
		s.p.Stop()
		s.tree.unrun()
		s.start(config())
		if _, kept := s.disk.stored("_465._tcp.mail.example.org."); kept {
			t.Error("the ledger keeps it")
		}
		if log := strings.Join(s.log.take(), "\n"); !strings.Contains(log, "_465._tcp.mail.example.org.: withdrawn") {
			t.Errorf("the log does not say so:\n%s", log)
		}
	})
}

package publish

import (
	"testing"
	"time"

	"github.com/coredns-tlsa/coredns-tlsa/plugin/tlsa/control"
)

// The faults that the simulator of package rollover has found.

func TestWithdrawnNameStaysDeniedWhenTheDiskIsFull(t *testing.T) {
	onStage(t, func(s *stage) {
		s.put("/certs", "mail", mailLeaf("a"))
		s.start(config())
		s.act(control.Action{Verb: control.Withdraw, Owner: mail}, "")
		s.disk.fill(true)
		s.put("/certs", "mail", mailLeaf("b"))
		s.after(time.Minute)
		s.denied(mail)
		s.disk.fill(false)
		s.after(2 * time.Minute)
		s.denied(mail)
	})
}

func TestWhatFollowsOnUnrecordedRecordsIsNotTheFirst(t *testing.T) {
	onStage(t, func(s *stage) {
		s.start(config())
		s.after(3 * time.Hour)
		s.disk.fill(true)
		s.put("/next", "mail", mailLeaf("a"))
		s.after(time.Minute)
		s.put("/next", "other", mailLeaf("b"))
		s.disk.fill(false)
		s.after(2 * time.Minute)
		if got := s.states(mail); got != "published, published" {
			t.Errorf("caches may hold one without the other, and they are %s", got)
		}
	})
}

func TestRestoredLedgerIsDoubted(t *testing.T) {
	onStage(t, func(s *stage) {
		s.put("/certs", "mail", mailLeaf("a"))
		s.put("/next", "mail", mailLeaf("b"))
		s.start(config())
		s.after(3 * time.Hour)
		if got := s.states(mail); got != "active, ready" {
			t.Fatalf("before: %s", got)
		}
		s.p.Stop()
		s.p = nil
		s.tree.unrun()
		s.disk.origin = restored
		s.start(config())
		if got := s.states(mail); got != "active, published" {
			t.Errorf("after: %s", got)
		}
		s.after(time.Hour)
		s.reload(config())
		s.after(61 * time.Minute)
		if got := s.states(mail); got != "active, ready" {
			t.Errorf("a reload makes the wait longer: %s", got)
		}
	})
}

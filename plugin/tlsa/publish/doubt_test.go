package publish

import (
	"encoding/hex"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/coredns-tlsa/coredns-tlsa/plugin/tlsa/control"
	"github.com/coredns-tlsa/coredns-tlsa/plugin/tlsa/dane"
	"github.com/coredns-tlsa/coredns-tlsa/plugin/tlsa/rollover"
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
		s.disk.restore()
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

func TestReloadKeepsWhatCouldNotBeRecorded(t *testing.T) {
	onStage(t, func(s *stage) {
		s.start(config())
		s.after(3 * time.Hour)
		s.disk.fill(true)
		s.put("/next", "mail", mailLeaf("a"))
		s.after(time.Minute)
		s.want(mail, "a")
		s.put("/next", "mail") // the file is empty now
		s.reload(config())
		s.want(mail, "a")
		s.disk.fill(false)
		s.after(2 * time.Minute)
		s.want(mail, "a")
	})
}

func TestWhatFollowsOnAnUnrecordedPinIsNotTheFirst(t *testing.T) {
	onStage(t, func(s *stage) {
		s.start(config())
		s.after(3 * time.Hour)
		s.disk.fill(true)
		pinned := config(owner25())
		pinned.Owners[0].Policy.Pins = []dane.Association{{Combination: spki311, Data: strings.Repeat("p", 32)}}
		s.reload(pinned)
		s.after(time.Minute)
		s.disk.fill(false)
		s.put("/next", "mail", mailLeaf("a"))
		s.after(2 * time.Minute)
		if got := s.states(mail); got != "active, published" {
			t.Errorf("caches may hold the pin alone, and they are %s", got)
		}
	})
}

func TestWhatAFailedCommitHasWrittenIsWrittenAnew(t *testing.T) {
	onStage(t, func(s *stage) {
		s.put("/certs", "mail", mailLeaf("a"))
		s.put("/next", "mail", mailLeaf("b"))
		s.start(config())
		s.after(3 * time.Hour)
		s.disk.lie(true)
		s.remove("/next/mail")
		for range 5 {
			s.after(time.Minute)
			s.look()
		}
		if !storedRetired(s, "b") {
			t.Fatal("nothing was written")
		}
		s.put("/next", "mail", mailLeaf("b"))
		s.disk.lie(false)
		s.after(2 * time.Minute)
		if storedRetired(s, "b") {
			t.Errorf("the ledger has what was never told, and here they are %s", s.states(mail))
		}
	})
}

// storedRetired tells whether the ledger calls a key retired.
func storedRetired(s *stage, key string) bool {
	t, _ := s.disk.stored(mail)
	return slices.ContainsFunc(t.Keys, func(k rollover.Key) bool {
		return k.Material.Leaf.SPKI == spki(key) && !k.RetiredAt.IsZero()
	})
}

func TestCombinationThatCouldNotBeRecordedIsWaitedFor(t *testing.T) {
	onStage(t, func(s *stage) {
		s.put("/certs", "mail", mailLeaf("a"))
		s.start(config())
		s.after(3 * time.Hour)
		sum, _ := hex.DecodeString(keyDigest("a"))
		renewed := control.Certificate{SPKI: string(sum), SHA256: strings.Repeat("2", 32)}
		if got := s.p.Safe(renewed); !got.Safe {
			t.Fatalf("before: %+v", got)
		}
		s.disk.fill(true)
		whole := config(owner25())
		whole.Owners[0].Policy.Combinations = []dane.Combination{{Usage: dane.DANEEE, Selector: dane.Cert, MatchingType: dane.SHA256}}
		s.reload(whole)
		if got := s.p.Safe(renewed); got.Safe {
			t.Errorf("the combination that will be in force does not have it: %+v", got)
		}
	})
}

func TestKeyThatReturnedWhileTheDiskWasFullIsOwedItsGrace(t *testing.T) {
	onStage(t, func(s *stage) {
		s.put("/certs", "mail", mailLeaf("a"))
		s.start(config())
		s.after(3 * time.Hour)
		s.put("/certs", "mail", mailLeaf("b"))
		s.after(time.Hour)
		s.disk.fill(true)
		s.put("/certs", "mail", mailLeaf("a"))
		s.after(100 * time.Hour)
		s.put("/certs", "mail", mailLeaf("b"))
		s.after(time.Minute)
		s.disk.fill(false)
		s.after(2 * time.Minute)
		s.want(mail, "a", "b")
		s.after(47 * time.Hour)
		s.want(mail, "a", "b")
		s.after(2 * time.Hour)
		s.want(mail, "b")
	})
}

func TestOldCombinationWithoutRecordsIsNotShownWhileTheDiskIsFull(t *testing.T) {
	onStage(t, func(s *stage) {
		o := owner25()
		o.From = []string{"mail"} // a bare key has no names
		s.start(config(o))
		s.after(3 * time.Hour)
		s.disk.fill(true)
		o.Policy.Combinations = []dane.Combination{{Usage: dane.DANEEE, Selector: dane.Cert, MatchingType: dane.SHA256}}
		s.reload(config(o))
		s.put("/next", "mail", bareLeaf("a"))
		s.after(time.Minute)
		s.denied(mail)
		s.disk.fill(false)
		s.after(2 * time.Minute)
		s.denied(mail)
	})
}

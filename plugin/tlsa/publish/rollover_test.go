package publish

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/coredns-tlsa/coredns-tlsa/plugin/tlsa/rollover"

	"github.com/google/go-cmp/cmp"
)

func TestGatedRolloverTellsEachStep(t *testing.T) {
	onStage(t, func(s *stage) {
		s.put("/certs", "mail", mailLeaf("old"))
		s.start(config())
		s.want(mail, "old")
		s.after(3 * time.Hour)
		s.put("/next", "mail", bareLeaf("new"))
		s.want(mail, "old", "new")
		s.after(2*time.Hour - time.Second)
		if got := s.states(mail); got != "active, published" {
			t.Errorf("a second before hold has passed: %s", got)
		}
		s.after(2 * time.Second)
		if got := s.states(mail); got != "active, ready" {
			t.Errorf("after hold: %s", got)
		}
		s.put("/certs", "mail", mailLeaf("new"))
		if got := s.states(mail); got != "active, retired" || s.log.figures().Ungated != 0 {
			t.Errorf("after the installation: %s, %d ungated", got, s.log.figures().Ungated)
		}
		s.after(48*time.Hour - time.Second)
		s.want(mail, "old", "new")
		s.after(2 * time.Second)
		s.want(mail, "new")
		want := []string{
			"INFO _25._tcp.mail.example.org.: 3 1 1 3d45a of lineage mail is active (installed in /certs/mail/fullchain.pem)",
			"INFO example.org.: 1 names with 1 associations; the timeline is kept in /ledger",
			"INFO _25._tcp.mail.example.org.: 3 1 1 3d45a of lineage mail is known to every cache now (installed in /certs/mail/fullchain.pem)",
			"INFO _25._tcp.mail.example.org.: 3 1 1 b92a8 of lineage mail is published (staged in /next/mail/fullchain.pem); it is ready at 2000-01-01T05:00:00Z",
			"INFO _25._tcp.mail.example.org.: 3 1 1 b92a8 of lineage mail is ready (staged in /next/mail/fullchain.pem): every cache has it",
			`INFO _25._tcp.mail.example.org.: 3 1 1 3d45a of lineage mail is retired ("/certs/mail/fullchain.pem" holds another leaf); it stays published until 2000-01-03T05:00:01Z`,
			"INFO _25._tcp.mail.example.org.: 3 1 1 b92a8 of lineage mail is active (installed in /certs/mail/fullchain.pem)",
			"INFO _25._tcp.mail.example.org.: 3 1 1 3d45a of lineage mail is removed (no longer needed, and its time is over); caches may hold it until 2000-01-03T06:00:01Z",
		}
		if diff := cmp.Diff(want, shorten(s.log.take())); diff != "" {
			t.Errorf("the log (-want +got):\n%s", diff)
		}
	})
}

// shorten leaves five digits of each digest.
func shorten(lines []string) []string {
	for i, line := range lines {
		words := strings.Fields(line)
		for j, w := range words {
			if len(w) == 16 && strings.Trim(w, "0123456789abcdef") == "" {
				words[j] = w[:5]
			}
		}
		lines[i] = strings.Join(words, " ")
	}
	return lines
}

func TestKeyInstalledUnannouncedIsUngatedUntilHold(t *testing.T) {
	onStage(t, func(s *stage) {
		s.put("/certs", "mail", mailLeaf("old"))
		s.start(config())
		s.after(3 * time.Hour)
		s.log.take()
		s.put("/certs", "mail", mailLeaf("new"))
		s.want(mail, "old", "new")
		if s.log.figures().Ungated != 1 || s.states(mail) != "active ungated, retired" {
			t.Errorf("%d ungated, %s", s.log.figures().Ungated, s.states(mail))
		}
		lines := strings.Join(s.log.take(), "\n")
		if !strings.Contains(lines, "WARN") || !strings.Contains(lines, "UNGATED") || !strings.Contains(lines, "clients may fail until 2000-01-01T05:00:00Z") {
			t.Errorf("the log does not say so:\n%s", lines)
		}
		s.after(2*time.Hour + time.Second)
		if s.log.figures().Ungated != 0 || s.states(mail) != "active, retired" {
			t.Errorf("after hold: %d ungated, %s", s.log.figures().Ungated, s.states(mail))
		}
	})
}

func TestFirstStartOfAnExistingSiteHasNothingUngated(t *testing.T) {
	onStage(t, func(s *stage) {
		s.put("/certs", "mail", mailLeaf("rsa"), mailLeaf("ecdsa"))
		s.disk.fresh()
		s.start(config())
		s.want(mail, "rsa", "ecdsa")
		if s.log.figures().Ungated != 0 {
			t.Errorf("%d ungated", s.log.figures().Ungated)
		}
		if s.log.figures().States[rollover.Active] != 2 {
			t.Errorf("figures %+v", s.log.figures())
		}
	})
}

func TestSameKeyRenewedChangesNothing(t *testing.T) {
	onStage(t, func(s *stage) {
		s.put("/certs", "mail", leaf("key", "1", "mail.example.org"))
		s.start(config())
		s.after(3 * time.Hour)
		s.log.take()
		s.put("/certs", "mail", leaf("key", "2", "mail.example.org"))
		s.after(72 * time.Hour)
		s.want(mail, "key")
		if lines := s.log.take(); len(lines) > 0 {
			t.Errorf("the log speaks of it: %q", lines)
		}
		if n := len(s.p.owners[0].timeline().Keys); n != 1 {
			t.Errorf("the timeline still has %d certificates", n)
		}
	})
}

func TestKilledServerOwesTheOldKeyAtOnce(t *testing.T) {
	onStage(t, func(s *stage) {
		s.put("/certs", "mail", mailLeaf("old"))
		s.start(config())
		s.after(3 * time.Hour)
		s.put("/certs", "mail", mailLeaf("new"))
		s.kill()
		s.after(24 * time.Hour)
		p, err := s.prepare(config())
		if err != nil {
			t.Fatal(err)
		}
		s.p = p
		s.want(mail, "old", "new") // before Start: the first answer
		p.Start()
		s.after(47 * time.Hour) // the day that the server was down does not count as service
		s.want(mail, "old", "new")
		s.after(2 * time.Hour)
		s.want(mail, "new")
	})
}

func TestNothingBecomesReadyBeforeItIsServed(t *testing.T) {
	onStage(t, func(s *stage) {
		s.put("/certs", "mail", mailLeaf("old"))
		s.put("/next", "mail", bareLeaf("new"))
		p, err := s.prepare(config())
		if err != nil {
			t.Fatal(err)
		}
		s.p = p
		s.after(3 * time.Hour)
		if stored, _ := s.disk.stored(mail); len(stored.Associations) != 2 || !stored.Associations[0].PublishedAt.IsZero() {
			t.Errorf("Prepare recorded %+v, want two associations without Tpub", stored.Associations)
		}
		p.Start()
		synctestWait()
		if got := s.states(mail); got != "active, published" {
			t.Errorf("states %s", got)
		}
	})
}

func TestFullDiskAddsButNeverRemovesOrPromises(t *testing.T) {
	onStage(t, func(s *stage) {
		s.put("/certs", "mail", mailLeaf("old"))
		s.put("/next", "mail", mailLeaf("mid"))
		s.start(config())
		s.after(time.Hour)
		s.disk.fill(true)
		s.put("/certs", "mail", mailLeaf("new"))
		s.want(mail, "old", "mid", "new")
		if s.log.errors() == 0 || s.log.figures().Problems[LedgerFailing] != 1 {
			t.Errorf("%d ledger errors, problems %v", s.log.errors(), s.log.figures().Problems)
		}
		s.after(100 * time.Hour)
		s.want(mail, "old", "mid", "new")
		if got := s.states(mail); got != "active, published" {
			t.Errorf("while the disk is full: %s", got)
		}
		s.disk.fill(false)
		s.after(2 * time.Minute)
		if got := s.states(mail); !strings.Contains(got, "active ungated") || s.log.figures().Problems[LedgerFailing] != 0 {
			t.Errorf("a minute after there is room: %s, %v", got, s.log.figures().Problems)
		}
		s.after(47 * time.Hour)
		s.want(mail, "old", "mid", "new")
		s.after(2 * time.Hour)
		s.want(mail, "mid", "new")
	})
}

func TestFullDiskKeepsWhatIsDueToLeave(t *testing.T) {
	onStage(t, func(s *stage) {
		s.put("/certs", "mail", mailLeaf("old"))
		s.start(config())
		s.put("/certs", "mail", mailLeaf("new"))
		s.after(time.Minute)
		s.disk.fill(true)
		s.after(100 * time.Hour)
		s.want(mail, "old", "new")
		s.disk.fill(false)
		s.after(2 * time.Minute)
		s.want(mail, "new")
	})
}

func TestKeyThatCameAndWentWhileTheDiskWasFullIsOwedItsGrace(t *testing.T) {
	onStage(t, func(s *stage) {
		s.put("/certs", "mail", mailLeaf("a"))
		s.start(config())
		s.after(3 * time.Hour)
		s.disk.fill(true)
		s.put("/certs", "mail", mailLeaf("b"))
		s.want(mail, "a", "b")
		s.after(time.Hour)
		s.put("/certs", "mail", mailLeaf("c"))
		s.want(mail, "a", "b", "c")
		s.after(100 * time.Hour)
		s.want(mail, "a", "b", "c")
		s.disk.fill(false)
		s.after(2 * time.Minute)
		if got := s.states(mail); got != "active ungated, retired, retired" {
			t.Errorf("after there is room: %s", got)
		}
		s.after(47 * time.Hour)
		s.want(mail, "a", "b", "c")
		s.after(2 * time.Hour)
		s.want(mail, "c")
	})
}

func TestWhatCouldNotBeRecordedIsRecordedThoughAHeartbeatSucceedsFirst(t *testing.T) {
	onStage(t, func(s *stage) {
		s.put("/certs", "mail", mailLeaf("a"))
		s.start(config())
		s.after(3 * time.Hour)
		s.disk.fill(true)
		s.put("/certs", "mail", mailLeaf("b"))
		s.disk.fill(false)
		s.p.locked(func() { s.p.recorded(s.p.store.Heartbeat()) })
		s.after(2 * time.Minute)
		if got := s.states(mail); got != "active ungated, retired" || s.log.figures().Problems[LedgerFailing] != 0 {
			t.Errorf("states %s, problems %v", got, s.log.figures().Problems)
		}
	})
}

func TestRestoredLedgerProvesNoAbsence(t *testing.T) {
	for origin, want := range map[string]string{"intact": "ready", "restored": "published"} {
		t.Run(origin, func(t *testing.T) {
			onStage(t, func(s *stage) {
				s.start(config())
				s.want(mail)
				s.after(3 * time.Hour)
				s.p.Stop()
				s.p = nil
				s.tree.unrun()
				if origin == "restored" {
					s.disk.restore()
				}
				s.put("/next", "mail", mailLeaf("first"))
				s.start(config())
				if got := s.states(mail); got != want {
					t.Errorf("the first association of an owner that had none for hold is %s, want %s", got, want)
				}
			})
		})
	}
}

// TestRestoredLedgerBringsNothingForward: since the copy was made, a key may have left and come back, or been in use again.
func TestRestoredLedgerBringsNothingForward(t *testing.T) {
	for origin, want := range map[string]string{"intact": "active, ready, retired", "restored": "active, published, retired"} {
		t.Run(origin, func(t *testing.T) {
			onStage(t, func(s *stage) {
				s.put("/certs", "mail", mailLeaf("first"))
				s.start(config())
				s.after(time.Hour)
				s.put("/certs", "mail", mailLeaf("second"))
				s.put("/next", "mail", mailLeaf("third"))
				s.after(40 * time.Hour)
				s.p.Stop()
				s.p = nil
				s.tree.unrun()
				if origin == "restored" {
					s.disk.restore()
				}
				s.start(config())
				if got := s.sorted(mail); got != want {
					t.Errorf("states %s, want %s", got, want)
				}
				// 48 hours of grace, counted from the restart where the ledger is older than what has been served.
				s.after(12 * time.Hour)
				if got, kept := s.sorted(mail), origin == "restored"; strings.Contains(got, "retired") != kept {
					t.Errorf("states %s after the grace of before, want the retired key kept: %t", got, kept)
				}
			})
		})
	}
}

// sorted gives the states without regard to the order of the digests.
func (s *stage) sorted(name string) string {
	states := strings.Split(s.states(name), ", ")
	slices.Sort(states)
	return strings.Join(states, ", ")
}

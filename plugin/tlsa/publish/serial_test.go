package publish

import (
	"errors"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

// part is the part of a zone's serial.
func (s *stage) part() uint32 {
	s.t.Helper()
	parts := s.p.Parts("example.org.")
	if len(parts) != 1 {
		s.t.Fatalf("%d parts", len(parts))
	}
	return parts[0].Value()
}

// forgetParts makes the process forget what it has given out, as a restart does.
func forgetParts(t *testing.T) {
	t.Helper()
	lastPart.mu.Lock()
	defer lastPart.mu.Unlock()
	lastPart.n = 0
}

func TestPartIsThePreviousAndOneOrTheClock(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		forgetParts(t)
		if a, b := nextPart(), nextPart(); a != 1 || b != 2 { // the fake clock is before 2026
			t.Errorf("%d, %d", a, b)
		}
		<-time.After(time.Until(epoch.Add(1000 * time.Second)))
		if a, b := nextPart(), nextPart(); a != 1000 || b != 1001 {
			t.Errorf("at 1000 seconds: %d, %d", a, b)
		}
		notBelow(5000)
		notBelow(3)
		if a := nextPart(); a != 5001 {
			t.Errorf("after a ledger with 5000: %d", a)
		}
	})
}

func TestPartRisesWithEveryChangeThatShowsAndIsRecordedBefore(t *testing.T) {
	onStage(t, func(s *stage) {
		s.put("/certs", "mail", mailLeaf("old"))
		var changes atomic.Int32 // counted by the publisher's goroutines
		s.p = New(config(), s.zone, s.log, s.log)
		s.p.open = func(string) (store, error) { return s.disk.open() }
		s.p.watch = watcherOf(s.tree)
		s.p.OnChange(func() {
			changes.Add(1)
			if stored := s.disk.serial(); stored < s.part() {
				t.Errorf("%d is shown, %d is recorded", s.part(), stored)
			}
		})
		if err := s.p.Prepare(); err != nil {
			t.Fatal(err)
		}
		s.p.Start()
		synctest.Wait()
		rises := func(what string, want bool) {
			t.Helper()
			before, told := s.part(), changes.Load()
			switch what {
			case "a new key":
				s.put("/certs", "mail", mailLeaf("new"))
			case "a sweep":
				s.look("/certs/mail")
			case "hold":
				s.after(3 * time.Hour)
			case "grace":
				s.after(49 * time.Hour)
			case "a cut":
				s.zone.change(ZoneView{Known: true, Cut: "mail.example.org."}, 2)
				s.after(2 * time.Minute)
			case "the file's serial":
				s.zone.change(ZoneView{Known: true, Cut: "mail.example.org."}, 3)
				s.after(2 * time.Minute)
			}
			if rose := s.part() > before; rose != want || (changes.Load() > told) != want {
				t.Errorf("%s: from %d to %d, told %d times", what, before, s.part(), changes.Load()-told)
			}
		}
		rises("a sweep", false)
		rises("hold", false)
		rises("a new key", true)
		rises("hold", false)
		rises("grace", true)
		rises("a cut", true)
		rises("the file's serial", false)
	})
}

func TestPartOutlivesTheProcessAndTheLedger(t *testing.T) {
	onStage(t, func(s *stage) {
		s.put("/certs", "mail", mailLeaf("old"))
		s.start(config())
		before := s.part()
		rises := func(how string) {
			t.Helper()
			if s.part() <= before {
				t.Errorf("%s: from %d to %d", how, before, s.part())
			}
			before = s.part()
		}
		s.reload(config())
		rises("a reload")
		s.kill()
		forgetParts(t)
		s.start(config())
		rises("a crash")
		s.p.Stop()
		forgetParts(t)
		s.start(config())
		rises("a restart")
		next, err := s.prepare(config())
		if err != nil {
			t.Fatal(err)
		}
		if next.Parts("example.org.")[0].Value() <= before {
			t.Errorf("what is prepared has %d, what is served %d: two contents", next.Parts("example.org.")[0].Value(), before)
		}
		next.Abort()
		rises("a reload that failed")
	})
}

func TestPartRisesInMemoryWhileTheDiskIsFull(t *testing.T) {
	onStage(t, func(s *stage) {
		s.put("/certs", "mail", mailLeaf("old"))
		s.start(config())
		before, stored := s.part(), s.disk.serial()
		s.disk.fill(true)
		s.put("/certs", "mail", mailLeaf("new"))
		s.want(mail, "old", "new")
		risen := s.part()
		if risen <= before || s.disk.serial() != stored {
			t.Errorf("from %d to %d, recorded %d", before, risen, s.disk.serial())
		}
		s.after(10 * time.Minute) // retries change nothing that shows
		if s.part() != risen {
			t.Errorf("nothing changed, but the part went from %d to %d", risen, s.part())
		}
		s.disk.fill(false)
		s.after(2 * time.Minute)
		if s.disk.serial() < s.part() {
			t.Errorf("%d is shown, %d is recorded", s.part(), s.disk.serial())
		}
	})
}

func TestServedAreTheOwnersThatAnswer(t *testing.T) {
	onStage(t, func(s *stage) {
		other := Owner{Name: "_443._tcp.www.example.net.", Host: "www.example.net.", Policy: policy()}
		cfg := config(other, owner25())
		cfg.Zones = []string{"example.net.", "example.org."}
		s.put("/certs", "mail", mailLeaf("k"))
		s.start(cfg)
		names := func(zone string) string {
			var all []string
			served, err := s.p.Served(zone)
			if err != nil {
				t.Fatal(err)
			}
			for _, o := range served {
				all = append(all, o.Name)
			}
			return strings.Join(all, " ")
		}
		for zone, want := range map[string]string{
			"example.org.": mail, "mail.example.org.": mail, "example.net.": other.Name, "org.": mail, "le.org.": "", "sub.example.org.": "",
		} {
			if got := names(zone); got != want || s.p.Config().Concerns(zone) != (want != "") {
				t.Errorf("in %s: %q, want %q", zone, got, want)
			}
		}
		before := s.p.Parts("example.net.")[0].Value()
		s.put("/certs", "mail", mailLeaf("l"))
		if after := s.p.Parts("example.net.")[0].Value(); after != before {
			t.Errorf("a change in the one zone changed the other's part from %d to %d", before, after)
		}
		s.zone.change(ZoneView{Known: true, Cut: "mail.example.org."}, 2)
		s.after(2 * time.Minute)
		if got := names("example.org."); got != "" {
			t.Errorf("below a cut is %q", got)
		}
	})
}

func TestZoneThatLosesItsOwnersAtAReloadHasANewPart(t *testing.T) {
	onStage(t, func(s *stage) {
		other := Owner{Name: "_443._tcp.www.example.net.", Host: "www.example.net.", Policy: policy()}
		cfg := config(other, owner25())
		cfg.Zones = []string{"example.net.", "example.org."}
		s.put("/certs", "mail", mailLeaf("k"))
		s.start(cfg)
		before := s.p.Parts("example.net.")[0].Value()
		cfg.Owners = []Owner{owner25()}
		s.reload(cfg)
		if after := s.p.Parts("example.net.")[0].Value(); after <= before {
			t.Errorf("from %d to %d", before, after)
		}
	})
}

func TestReplacedPublisherGivesNothingToTransfer(t *testing.T) {
	onStage(t, func(s *stage) {
		s.put("/certs", "mail", mailLeaf("k"))
		s.start(config())
		if served, err := s.p.Served("example.org."); err != nil || len(served) == 0 {
			t.Fatalf("%d owners, %v", len(served), err)
		}
		s.p.pause()
		if _, err := s.p.Served("example.org."); !errors.Is(err, ErrReplaced) {
			t.Errorf("while another takes over: %v; its serial may be larger already", err)
		}
		s.p.resume()
		if _, err := s.p.Served("example.org."); err != nil {
			t.Errorf("after the other has failed: %v", err)
		}
	})
}

package publish

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/coredns-tlsa/coredns-tlsa/plugin/tlsa/rollover"

	"github.com/google/go-cmp/cmp"
)

func TestOwnerFiguresTellWhatIsDue(t *testing.T) {
	onStage(t, func(s *stage) {
		s.put("/certs", "mail", mailLeaf("old"))
		s.start(config())
		s.after(3 * time.Hour)
		start := time.Now().UTC()
		expiry := time.Date(2100, 1, 1, 0, 0, 0, 0, time.UTC)
		if diff := cmp.Diff(OwnerFigures{Records: 1, NotAfter: expiry}, s.log.owner(mail)); diff != "" {
			t.Errorf("at rest (-want +got):\n%s", diff)
		}
		s.put("/next", "mail", mailLeaf("new"))
		if diff := cmp.Diff(OwnerFigures{Records: 2, Ready: start.Add(2 * time.Hour), NotAfter: expiry}, s.log.owner(mail)); diff != "" {
			t.Errorf("staged (-want +got):\n%s", diff)
		}
		s.after(3 * time.Hour)
		s.put("/certs", "mail", mailLeaf("new"))
		if diff := cmp.Diff(OwnerFigures{Records: 2, Removal: start.Add(51 * time.Hour), NotAfter: expiry}, s.log.owner(mail)); diff != "" {
			t.Errorf("installed (-want +got):\n%s", diff)
		}
	})
}

func TestFiguresOfTheLastSweepAreHandedOn(t *testing.T) {
	onStage(t, func(s *stage) {
		s.put("/certs", "mail", mailLeaf("k"))
		s.start(config())
		s.put("/certs", "other", mailLeaf("l"))
		if f := s.log.figures().Sweep; f.Files != 2 || !f.At.Equal(time.Now()) {
			t.Errorf("figures %+v", f)
		}
	})
}

func TestFlappingProblemIsSaidOnceInAWhile(t *testing.T) {
	onStage(t, func(s *stage) {
		s.start(config())
		s.log.take()
		p := newProblems(s.log, s.log)
		bad := []rollover.Problem{{Reason: "malformed", Text: "a file is bad"}}
		for range 100 {
			p.set("/certs/mail", bad)
			p.set("/certs/mail", nil)
			s.after(time.Second)
		}
		if n := len(s.log.take()); n > 2 {
			t.Errorf("%d lines in 100 seconds", n)
		}
		p.set("/certs/other", bad)
		if lines := s.log.take(); len(lines) != 1 {
			t.Errorf("another file is not heard: %q", lines)
		}
		s.after(10 * time.Minute)
		p.set("/certs/mail", bad)
		if lines := strings.Join(s.log.take(), "\n"); !strings.Contains(lines, "99 times more") {
			t.Errorf("after a while: %q", lines)
		}
		if got := fmt.Sprint(p.counts); got != "map[malformed:2]" {
			t.Errorf("open problems %s", got)
		}
	})
}

func TestClockJumpIsCountedAndBringsNothingForward(t *testing.T) {
	for claim, step := range map[string]time.Duration{"a year ahead": 365 * 24 * time.Hour, "a year back": -365 * 24 * time.Hour} {
		t.Run(claim, func(t *testing.T) {
			onStage(t, func(s *stage) {
				s.put("/certs", "mail", mailLeaf("old"))
				s.start(config())
				s.after(3 * time.Hour)
				s.put("/certs", "mail", mailLeaf("new"))
				s.after(time.Hour)
				s.disk.step(step)
				s.after(46 * time.Hour)
				s.want(mail, "old", "new")
				if s.log.clockJumps() != 1 {
					t.Errorf("%d jumps", s.log.clockJumps())
				}
				s.after(3 * time.Hour)
				if step > 0 {
					s.want(mail, "new")
				}
			})
		})
	}
}

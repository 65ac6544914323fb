package publish

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/coredns-tlsa/coredns-tlsa/plugin/tlsa/certdir"
	"github.com/coredns-tlsa/coredns-tlsa/plugin/tlsa/rollover"
)

func TestHostThatNothingNamesLeavesAfterGrace(t *testing.T) {
	for claim, leaves := range map[string]func(*stage){
		"the lineage is gone":                   func(s *stage) { s.remove("/certs/www") },
		"the certificate has other names":       func(s *stage) { s.put("/certs", "www", leaf("k", "2", "a.example.org")) },
		"the certificate and the key are other": func(s *stage) { s.put("/certs", "www", leaf("k2", "2", "a.example.org")) },
	} {
		t.Run(claim, func(t *testing.T) {
			onStage(t, func(s *stage) {
				s.hosts("a", "b")
				s.put("/certs", "www", leaf("k", "1", "www.example.org"))
				s.start(stars(star443))
				s.after(3 * time.Hour)
				s.log.take()
				leaves(s) // the first sweep without it
				s.sweeps(1)
				s.after(60 * time.Hour) // two sweeps are not enough
				s.want(www, "k")
				s.look()
				s.after(48*time.Hour - time.Minute)
				s.want(www, "k")
				if f := s.log.figures(); f.Problems[rollover.LastAssociation]+f.Problems[rollover.NoSuccessor] != 0 {
					t.Errorf("what leaves as it should is a problem: %v", f.Problems)
				}
				s.after(2 * time.Minute)
				s.gone(www)
				s.tidy()
				if f := s.log.owner(star443); f.Hosts != 2 {
					t.Errorf("the pattern's figures are %+v", f)
				}
				lines := strings.Join(s.log.take(), "\n")
				until := time.Now().UTC().Add(time.Hour).Format("2006-01-02T15")
				if strings.Count(lines, www+": no certificate names its host") != 1 || !strings.Contains(lines, "caches may hold its records until "+until) {
					t.Errorf("the log:\n%s", lines)
				}
				s.put("/certs", "www", leaf("new", "1", "www.example.org"))
				s.want(www, "new")
			})
		})
	}
}

func TestHostThatIsNamedAgainInTimeStays(t *testing.T) {
	for claim, before := range map[string]time.Duration{"before the third sweep": 0, "within grace": 40 * time.Hour} {
		t.Run(claim, func(t *testing.T) {
			onStage(t, func(s *stage) {
				s.hosts("a", "b")
				s.put("/certs", "www", leaf("k", "1", "www.example.org"))
				s.start(stars(star443))
				s.after(3 * time.Hour)
				s.remove("/certs/www")
				if before > 0 {
					s.sweeps(5)
					s.after(before)
				}
				s.put("/certs", "www", leaf("k", "1", "www.example.org"))
				s.sweeps(5)
				s.after(72 * time.Hour)
				s.want(www, "k")
				if got := s.states(www); got != "active" {
					t.Errorf("it is %s", got)
				}
				s.remove("/certs/www") // and the count begins anew
				s.sweeps(3)
				s.after(47 * time.Hour)
				s.want(www, "k")
				s.after(2 * time.Hour)
				s.gone(www)
			})
		})
	}
}

func TestHostStaysWhileWhatNamedItIsInDoubt(t *testing.T) {
	unreadable := []rollover.Problem{{Reason: "missing-root", Text: "not there"}}
	for claim, tc := range map[string]struct {
		doubt, end func(*stage)
		counted    bool // grace had begun before
	}{
		"its root cannot be read": {
			func(s *stage) {
				s.tree.roots["/certs"].Problems = unreadable
				s.remove("/certs/www")
			},
			func(s *stage) { s.tree.roots["/certs"].Problems = nil },
			false,
		},
		"half of its root is gone": {
			func(s *stage) { s.remove("/certs/www", "/certs/a") },
			func(s *stage) { s.put("/certs", "www", leaf("k2", "1", "other.example.org")) },
			false,
		},
		"its root has files of several users": {
			func(s *stage) { s.mix(true); s.put("/certs", "www", leaf("k2", "1", "other.example.org")) },
			func(s *stage) { s.mix(false) },
			false,
		},
		"its root cannot be read when grace is over": {
			func(s *stage) {
				s.remove("/certs/www")
				s.sweeps(3)
				s.tree.roots["/certs"].Problems = unreadable
			},
			func(s *stage) { s.tree.roots["/certs"].Problems = nil },
			true,
		},
	} {
		t.Run(claim, func(t *testing.T) {
			onStage(t, func(s *stage) {
				s.hosts("a", "b")
				s.put("/certs", "www", leaf("k", "1", "www.example.org"))
				s.start(stars(star443))
				s.after(3 * time.Hour)
				tc.doubt(s)
				s.sweeps(5)
				s.after(100 * time.Hour)
				s.sweeps(5)
				s.want(www, "k")
				tc.end(s)
				if !tc.counted {
					s.sweeps(5)
					s.after(47 * time.Hour)
					s.want(www, "k")
				}
				s.sweeps(2)
				s.after(2 * time.Hour)
				s.gone(www)
			})
		})
	}
}

// mix makes the root of installed certificates one of several users, or not.
func (s *stage) mix(mixed bool) {
	root := *s.tree.roots["/certs"]
	root.MixedOwners = mixed
	s.tree.roots["/certs"] = &root
	s.look()
}

func TestClockThatJumpsLetsNoHostLeave(t *testing.T) {
	onStage(t, func(s *stage) {
		s.hosts("a", "b")
		s.put("/certs", "www", leaf("k", "1", "www.example.org"))
		s.start(stars(star443))
		s.after(3 * time.Hour)
		s.remove("/certs/www")
		s.sweeps(3)
		s.disk.step(1000 * time.Hour)
		s.after(47 * time.Hour)
		s.sweeps(3)
		s.want(www, "k")
		s.disk.step(-1000 * time.Hour)
		s.after(2 * time.Hour)
		s.gone(www)
	})
}

func TestHostDoesNotLeaveBeforeTheLedgerHasForgottenIt(t *testing.T) {
	onStage(t, func(s *stage) {
		s.hosts("a", "b")
		s.put("/certs", "www", leaf("k", "1", "www.example.org"))
		s.start(stars(star443))
		s.after(3 * time.Hour)
		s.remove("/certs/www")
		s.sweeps(3)
		s.disk.fill(true)
		s.after(50 * time.Hour)
		s.sweeps(2)
		s.want(www, "k")
		s.disk.fill(false)
		s.sweeps(2)
		s.gone(www)
		s.tidy()
	})
}

func TestHostThatWentWhileTheServerWasDownLeaves(t *testing.T) {
	onStage(t, func(s *stage) {
		s.hosts("a", "b")
		s.put("/certs", "www", leaf("k", "1", "www.example.org"))
		s.start(stars(star443))
		s.after(3 * time.Hour)
		s.kill()
		delete(s.tree.lineages, "/certs/www")
		s.start(stars(star443))
		s.want(www, "k")
		s.sweeps(3)
		s.after(47 * time.Hour)
		s.want(www, "k")
		s.after(time.Hour)
		s.gone(www)
	})
}

func TestHostsLeaveAndComeInAnyOrder(t *testing.T) {
	onStage(t, func(s *stage) {
		var names []string
		for i := range 12 {
			names = append(names, fmt.Sprintf("h%d", i))
		}
		s.hosts(names...)
		s.start(stars("_25._tcp.*.example.org.", star443))
		for _, i := range []int{3, 0, 11, 7} {
			s.remove("/certs/" + names[i])
			s.sweeps(3)
			s.after(49 * time.Hour)
			s.gone("_443._tcp." + names[i] + ".example.org.")
			s.tidy()
			s.hosts(fmt.Sprintf("again%d", i))
			s.tidy()
		}
		if f := s.log.owner(star443); f.Hosts != 12 || f.Records != 12 {
			t.Errorf("the pattern's figures are %+v", f)
		}
		if f := s.log.figures(); f.States[rollover.Active]+f.States[rollover.Published]+f.States[rollover.Ready] != 24 {
			t.Errorf("associations by state: %v", f.States)
		}
	})
}

func TestHostOfARootThatLeftTheCorefile(t *testing.T) {
	onStage(t, func(s *stage) {
		s.put("/certs", "www", leaf("k", "1", "www.example.org"))
		s.start(stars(star443))
		s.after(3 * time.Hour)
		s.tree = newTree()
		delete(s.tree.roots, "/certs")
		s.tree.roots["/moved"] = &certdir.Root{Path: "/moved"}
		cfg := stars(star443)
		cfg.Certs = []string{"/moved"}
		s.reload(cfg)
		s.sweeps(3)
		s.after(47 * time.Hour)
		s.want(www, "k")
		s.after(2 * time.Hour)
		s.gone(www)
	})
}

package publish

import (
	"testing"
	"time"

	"github.com/coredns-tlsa/coredns-tlsa/plugin/tlsa/dane"
	"github.com/coredns-tlsa/coredns-tlsa/plugin/tlsa/rollover"
)

var unreadableRoot = []rollover.Problem{{Reason: "unreadable", Text: "it cannot be read"}}

// combined is a configuration with other combinations.
func combined(all ...dane.Combination) Config {
	cfg := config(owner25())
	cfg.Owners[0].Policy.Combinations = all
	return cfg
}

// lasts checks the states of the owner after five sweeps, an hour after each.
func (s *stage) lasts(want string) {
	s.t.Helper()
	for range 5 {
		s.look()
		s.after(time.Hour)
	}
	if got := s.states(mail); got != want {
		s.t.Errorf("%s, want %s; problems: %v", got, want, s.log.figures().Problems)
	}
}

func TestOwnersThatWaitForADirectoryAreDecidedOnceItCanBeRead(t *testing.T) {
	whole := dane.Combination{Usage: dane.DANEEE, Selector: dane.Cert, MatchingType: dane.SHA256}
	for claim, change := range map[string]func(s *stage) (Config, string){
		"its own": func(*stage) (Config, string) {
			return combined(whole), "/certs"
		},
		"another, while its own has left the Corefile": func(s *stage) (Config, string) {
			delete(s.tree.roots, "/certs")
			delete(s.tree.lineages, "/certs/mail")
			other := *s.tree.roots["/next"]
			other.Path, other.Staged = "/other", false
			s.tree.roots["/other"] = &other
			s.enter("/other", "mail", mailLeaf("a"))
			cfg := combined(whole)
			cfg.Certs = []string{"/other"}
			return cfg, "/next"
		},
	} {
		t.Run(claim, func(t *testing.T) {
			onStage(t, func(s *stage) {
				s.put("/certs", "mail", mailLeaf("a"))
				s.start(config())
				s.after(3 * time.Hour)
				cfg, root := change(s)
				s.tree.roots[root].Problems = unreadableRoot
				s.reload(cfg)
				s.look()
				s.lasts("active, active")
				s.tree.roots[root].Problems = nil
				s.lasts("active")
			})
		})
	}
}

// One edit of the Corefile adds a directory with a copy, and drops the records of keys.
func TestAPlaceThatIsNewIsNotOutOfSight(t *testing.T) {
	whole := dane.Combination{Usage: dane.DANEEE, Selector: dane.Cert, MatchingType: dane.SHA256}
	onStage(t, func(s *stage) {
		s.put("/certs", "mail", mailLeaf("a"))
		s.start(combined(spki311, whole))
		s.after(3 * time.Hour)
		s.enter("/certs", "copy", mailLeaf("a"))
		s.reload(combined(whole))
		s.lasts("active")
	})
}

func TestOwnerOfAWildcardKeepsItsProblemsBesideThoseOfItsPattern(t *testing.T) {
	whole := dane.Combination{Usage: dane.DANEEE, Selector: dane.Cert, MatchingType: dane.SHA256}
	onStage(t, func(s *stage) {
		s.put("/certs", "w", leaf("w", "1", "*.example.org"))
		s.put("/certs", "m", leaf("m", "1", "m.example.org"))
		s.start(stars(star443))
		s.after(3 * time.Hour)
		cfg := stars(star443)
		cfg.Patterns[0].Policy.Combinations = []dane.Combination{whole}
		s.tree.roots["/certs"].Problems = unreadableRoot
		s.reload(cfg)
		s.after(3 * time.Hour)
		s.look()
		if n := s.log.figures().Problems[rollover.CombinationWaits]; n != 2 {
			t.Errorf("%d owners wait, want the host and the wildcard", n)
		}
		s.tree.roots["/certs"].Problems = nil
		s.look()
		s.after(time.Minute)
		for name, want := range map[string]string{star443: "active", "_443._tcp.m.example.org.": "active, active"} { // both certificates name the host
			if got := s.states(name); got != want {
				t.Errorf("%s: %s, want %s", name, got, want)
			}
		}
	})
}

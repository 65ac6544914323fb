//go:build referee && linux && amd64

package publish

import (
	"fmt"
	"path/filepath"
	"testing"
	"testing/synctest"
	"time"

	"github.com/coredns-tlsa/coredns-tlsa/plugin/tlsa/ledger"
	"github.com/coredns-tlsa/coredns-tlsa/plugin/tlsa/rollover"
)

// revive starts where a life ended, whatever became of the files, and lets one key follow another; damaged: which is told.
func revive(t *testing.T, marks *marker, dir string, seed uint64, damaged bool) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		time.Sleep(24 * time.Hour) // the life before is over
		s := &stage{t: t, zone: &zoneData{view: ZoneView{Known: true}, serial: 1}, log: &journal{}, tree: newTree()}
		l := newLife(s, marks, dir, seed, true)
		l.cfg.Zones, l.cfg.Patterns = []string{"example.net.", "example.org."}, nil
		l.say(note{Kind: "life"})
		l.holds("/certs/mail", mail, "k3")
		l.holds("/certs/www", web, "w1")
		l.begin()
		l.check("after the damage")
		if told := l.log.figures().Problems[LedgerLost] == 1; told != damaged {
			t.Errorf("the ledger is damaged: %v, but the problems are %v", damaged, l.log.figures().Problems)
		}
		l.after(20 * time.Minute)
		l.holds("/certs/mail", mail, "k4")
		l.after(20 * time.Minute)
		l.check("before the grace is over")
		l.after(20 * time.Minute)
		l.want(mail, "k4")
		l.end()
		l.compare()
	})
}

// endBadly ends with a sync that fails, as told by the note "ending", and starts again before the power is cut.
func endBadly(t *testing.T, marks *marker, dir string, seed uint64) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		s := &stage{t: t, zone: &zoneData{view: ZoneView{Known: true}, serial: 1}, log: &journal{}, tree: newTree()}
		l := newLife(s, marks, dir, seed, false)
		l.say(note{Kind: "life"})
		l.holds("/certs/mail", mail, "k1")
		l.holds("/certs/www", web, "w1")
		l.begin()
		l.after(20 * time.Minute)
		l.say(note{Kind: "ending"})
		l.end()
		l.begin()
		l.hosts(10)
		l.holds("/certs/mail", mail, "k2")
		l.after(20 * time.Minute)
		l.check("after the end that failed")
		l.end()
		l.compare()
		l.say(note{Kind: "over"})
	})
}

// commitMany records and changes more owners than go in one transaction.
func commitMany(t *testing.T, marks *marker, dir string) {
	t.Helper()
	l := &life{stage: &stage{t: t}, marks: marks}
	l.say(note{Kind: "life"})
	s, err := ledger.Open(filepath.Join(dir, "tlsa.ledger"))
	if err != nil {
		t.Fatal(err)
	}
	d := &told{Store: s, life: l}
	for round := range 2 {
		changes := map[string]*rollover.Timeline{}
		for i := range inTransaction + 100 {
			if i%7 == round {
				changes[fmt.Sprintf("h%d.", i)] = nil
			} else {
				changes[fmt.Sprintf("h%d.", i)] = &rollover.Timeline{TTL: uint32(1 + round)}
			}
		}
		if err := d.Commit("example.org.|", changes); err != nil {
			t.Fatal(err)
		}
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
}

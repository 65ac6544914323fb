package publish

import (
	"fmt"
	"testing"
	"time"
)

// Enough hosts that they are decided side by side, some of which the race detector sees go missing.
func TestManyHostsAreDecidedAsFewAre(t *testing.T) {
	onStage(t, func(s *stage) {
		s.tree = newTree()
		const hosts, gone = 600, 250
		var ids []string
		for i := range hosts {
			name := fmt.Sprintf("h%d", i)
			ids = append(ids, s.enter("/certs", name, leaf(name, "1", name+".example.org")))
		}
		s.start(stars(star443))
		s.remove(ids[:gone]...)
		for range enoughMissed {
			s.look()
		}
		for i := range hosts {
			s.want(fmt.Sprintf("_443._tcp.h%d.example.org.", i), fmt.Sprintf("h%d", i))
		}
		for i := range gone {
			if !s.owner(fmt.Sprintf("_443._tcp.h%d.example.org.", i)).leaving() {
				t.Fatalf("host %d is not on its way out", i)
			}
		}
	})
}

func TestPackedTimelineStaysUntilItsLineageIsReadAgain(t *testing.T) {
	onStage(t, func(s *stage) {
		s.tree = newTree()
		id := s.enter("/certs", "www", leaf("www", "1", "www.example.org"))
		s.start(stars(star443))
		s.after(3 * time.Hour)
		o := s.owner(www)
		settled := o.record
		decide := func() { s.p.locked(func() { s.p.step(s.p.all()) }) }
		if decide(); settled.open != nil || o.record != settled {
			t.Errorf("a decision that changes nothing has made %+v of %+v", o.record, settled)
		}
		s.put("/certs", "www", leaf("www", "1", "www.example.org"))
		if o.record.open != nil || o.record.leaves[0] == settled.leaves[0] {
			t.Error("the timeline keeps a lineage alive that was read again")
		}
		if now := (held{s.tree.lineages[id], 0}); o.record.leaves[0] != now {
			t.Errorf("the leaves are %v, want %v", o.record.leaves, []held{now})
		}
	})
}

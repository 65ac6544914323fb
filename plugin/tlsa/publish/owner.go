package publish

import (
	"container/heap"
	"slices"
	"time"

	"github.com/coredns-tlsa/coredns-tlsa/plugin/tlsa/dane"
	"github.com/coredns-tlsa/coredns-tlsa/plugin/tlsa/rollover"
)

// owner is an Owner at work.
type owner struct {
	Owner
	zone string // the longest of the block's zones that it lies in

	dynamic *dynamic // nil for an owner that the Corefile names

	policy   rollover.Policy   // Owner's, with what the zone's SOA adds
	timeline rollover.Timeline // as the ledger has it
	adopted  bool              // timeline is not yet in the ledger under this block
	// unrecorded are keys that are shown though the ledger could not take them. Their retirement counts from when it can.
	unrecorded []rollover.Key
	shown      []dane.Association
	answer     rollover.Answer
	view       ZoneView
	signed     bool // the zone comes with signatures of its own

	untold []rollover.Transition // not logged before the start is sure

	lineages map[string]struct{} // the lineages that map to it, by ID
	placed   []string            // the lineages that its timeline's keys were seen in

	states  map[rollover.State]int
	ungated int

	due   time.Time // when the next change is due; zero: none
	index int       // in the queue; -1: not there
}

// served tells whether queries for it are ours to answer.
func (o *owner) served() bool { return o.view.Cut == "" && !o.signed }

// base is the timeline that the next decision starts from. An owner that is shown has records, recorded or not, so that what
// comes next is not its first.
func (o *owner) base() rollover.Timeline {
	t := o.timeline
	if len(o.unrecorded) > 0 {
		t.Keys = slices.Concat(t.Keys, o.unrecorded)
	}
	if len(o.unrecorded) > 0 || len(o.shown) > 0 && len(t.Associations) == 0 { // a pin may be all that is shown
		t.NoneSince = rollover.Stamp{}
	}
	return t
}

// takes tells whether the Corefile gives the lineage to the owner by `from`.
func (o *owner) takes(l *lineage) bool { return slices.ContainsFunc(o.From, l.is) }

// is tells whether from names the lineage: by its name, its directory, or one of its files.
func (l *lineage) is(from string) bool {
	_, file := l.File(from)
	return from == l.Name || from == l.Dir || from == l.ID || file
}

// queue is a heap of the owners that wait for a moment, soonest first.
type queue []*owner

func (q queue) Len() int           { return len(q) }
func (q queue) Less(i, j int) bool { return q[i].due.Before(q[j].due) }
func (q queue) Swap(i, j int) {
	q[i], q[j] = q[j], q[i]
	q[i].index, q[j].index = i, j
}

// Push is for container/heap only.
func (q *queue) Push(x any) {
	o := x.(*owner)
	o.index = len(*q)
	*q = append(*q, o)
}

// Pop is for container/heap only.
func (q *queue) Pop() any {
	old := *q
	o := old[len(old)-1]
	old[len(old)-1] = nil
	*q = old[:len(old)-1]
	o.index = -1
	return o
}

// schedule makes o due after d, or never for 0.
func (q *queue) schedule(o *owner, after time.Duration) {
	if after <= 0 {
		o.due = time.Time{}
		if o.index >= 0 {
			heap.Remove(q, o.index)
		}
		return
	}
	o.due = time.Now().Add(after)
	if o.index >= 0 {
		heap.Fix(q, o.index)
	} else {
		heap.Push(q, o)
	}
}

// ripe takes out the owners that are due.
func (q *queue) ripe(now time.Time) []*owner {
	var ripe []*owner
	for len(*q) > 0 && !(*q)[0].due.After(now) {
		ripe = append(ripe, heap.Pop(q).(*owner))
	}
	return ripe
}

// places are the files that the timelines know.
func (p *Publisher) places() map[string]bool {
	places := map[string]bool{}
	for _, o := range p.owners {
		for _, k := range o.timeline.Keys {
			for _, place := range k.Places {
				places[place.File] = true
			}
		}
	}
	return places
}

func (p *Publisher) wholeCertificates() bool {
	for _, o := range slices.Concat(p.cfg.Owners, p.cfg.Patterns) {
		for _, c := range o.Policy.Combinations {
			if c.Selector == dane.Cert && c.MatchingType == dane.Full {
				return true
			}
		}
	}
	return false
}

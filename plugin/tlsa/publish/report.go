package publish

import (
	"fmt"
	"time"

	"github.com/coredns-tlsa/coredns-tlsa/plugin/tlsa/rollover"
)

// tell logs one line a transition: what, where from, why, and what happens next.
func (p *Publisher) tell(o *owner, ts []rollover.Transition) {
	for _, t := range ts {
		line := fmt.Sprintf("%s: %s", o.name(), t.Association)
		if t.Lineage != "" {
			line += " of lineage " + t.Lineage
		}
		line += " " + sentence(o, t)
		if t.Ungated && t.From != t.State {
			p.log.Warningf("%s", line)
		} else {
			p.log.Infof("%s", line)
		}
	}
}

// sentence says what a transition is, its reason, and what is due next and when.
func sentence(o *owner, t rollover.Transition) string {
	cached := moment(o.timeline().LargestTTL() + o.policy.Propagation)
	switch {
	case t.State == rollover.Removed:
		return fmt.Sprintf("is removed (%s); caches may hold it until %s", t.Reason, cached)
	case t.State == rollover.Retired:
		return fmt.Sprintf("is retired (%s); it stays published until %s", t.Reason, moment(t.Left))
	case t.Ungated:
		return fmt.Sprintf("is active but UNGATED (%s): it was installed before every cache had its record; clients may fail until %s",
			t.Reason, moment(t.Left))
	case t.State == t.From && t.Gated:
		return fmt.Sprintf("is known to every cache now (%s)", t.Reason)
	case t.State == rollover.Active:
		return fmt.Sprintf("is active (%s)", t.Reason)
	case t.State == rollover.Ready:
		return fmt.Sprintf("is ready (%s): every cache has it", t.Reason)
	}
	return fmt.Sprintf("is published (%s); it is ready at %s", t.Reason, moment(t.Left))
}

// moment is the time after d from now, as logs write it.
func moment(d time.Duration) string { return time.Now().UTC().Add(d).Format(time.RFC3339) }

// A standing is what the associations of a timeline come to.
type standing struct {
	tally
	ready, removal time.Time // those of OwnerFigures
}

func standingOf(statuses []rollover.Status, now rollover.Stamp) standing {
	var is standing
	for _, s := range statuses {
		is.states[s.State]++
		if s.Ungated {
			is.ungated++
		}
		at := now.Wall.Add(s.Left)
		if s.Left > 0 && !s.Gated && s.State != rollover.Retired && at.After(is.ready) {
			is.ready = at
		}
		if s.Left > 0 && s.State == rollover.Retired && (is.removal.IsZero() || at.Before(is.removal)) {
			is.removal = at
		}
	}
	return is
}

// count keeps the figures of o's associations up to date without a look at the other owners. was is what they were before its
// timeline changed.
func (p *Publisher) count(o *owner, is standing, was OwnerFigures) {
	p.uncount(o)
	o.tally = is.tally
	o.flags |= counted
	if o.extra != nil || !is.ready.IsZero() || !is.removal.IsZero() {
		e := o.more()
		e.ready, e.removal = is.ready, is.removal
		o.trim()
	}
	for s, n := range o.tally.states {
		if n > 0 {
			p.figures.States[rollover.State(s)] += int(n)
		}
	}
	p.figures.Ungated += int(o.tally.ungated)
	if f := o.figures(); o.pattern != nil {
		o.pattern.count(was, f)
	} else {
		p.meter.Owner(o.name(), f)
	}
}

// figures are those that count has last made.
func (o *owner) figures() OwnerFigures {
	if o.flags&counted == 0 {
		return OwnerFigures{}
	}
	f := OwnerFigures{Records: o.tally.records()}
	if at := o.record.notAfter; at != 0 {
		f.NotAfter = time.Unix(at, 0).UTC()
	}
	if e := o.extra; e != nil {
		f.Ready, f.Removal = e.ready, e.removal
	}
	return f
}

// uncount takes o's associations out of the figures.
func (p *Publisher) uncount(o *owner) {
	for i, n := range o.tally.states {
		s := rollover.State(i)
		if p.figures.States[s] -= int(n); p.figures.States[s] == 0 {
			delete(p.figures.States, s)
		}
	}
	p.figures.Ungated -= int(o.tally.ungated)
	o.tally = tally{}
	o.flags &^= counted
}

// report hands the figures out.
func (p *Publisher) report() {
	p.figures.Next = time.Time{}
	if len(p.queue) > 0 {
		p.figures.Next = p.queue[0].extra.due
	}
	p.figures.Problems = p.problems.counts
	p.figures.Frozen = len(p.atlas.lost)
	p.figures.Ignored = len(p.atlas.ignored)
	for _, pts := range p.atlas.patterns {
		for _, pt := range pts {
			if p.serving && !pt.told {
				pt.told = true
				p.meter.Owner(pt.Name, pt.figures)
			}
		}
	}
	p.meter.Update(p.figures)
}

func (p *Publisher) total() int {
	total := 0
	for _, o := range p.owners {
		total += len(o.shown())
	}
	return total
}

func (p *Publisher) keeping() string {
	if p.cfg.Ledger == "" {
		return "the timeline is kept in memory only"
	}
	return "the timeline is kept in " + p.cfg.Ledger
}

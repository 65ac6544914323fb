package publish

import (
	"fmt"
	"maps"
	"runtime"
	"slices"
	"sync"
	"time"

	"github.com/coredns-tlsa/coredns-tlsa/plugin/tlsa/dane"
	"github.com/coredns-tlsa/coredns-tlsa/plugin/tlsa/rollover"
	"github.com/coredns-tlsa/coredns-tlsa/plugin/tlsa/zone"
)

// decided is an owner with what follows for it.
type decided struct {
	owner *owner
	rollover.Decision
	failed bool          // what was decided before could not be recorded
	idle   bool          // nothing was to be decided
	same   bool          // its timeline says that already
	next   time.Duration // when it is due; 0: never
	record *record       // nil where it keeps the one it has
	set    *zone.Set     // of the RRset
}

// together does something for each of all, for many with all processors.
func together[T any](all []T, do func(*T)) {
	const worthIt = 500
	var parts sync.WaitGroup
	for part := range slices.Chunk(all, max(worthIt, len(all)/runtime.GOMAXPROCS(0)+1)) {
		parts.Go(func() {
			for i := range part {
				do(&part[i])
			}
		})
	}
	parts.Wait()
}

// step decides the touched owners again, records, publishes, and then counts from the moment of service. mu is held.
func (p *Publisher) step(touched map[*owner]struct{}) {
	if p.paused {
		p.stale = true
		return
	}
	switch {
	case len(touched) == 0:
	case p.blind:
		p.recall(slices.Collect(maps.Keys(touched)))
	default:
		p.change(touched)
	}
	p.vouch()
}

func (p *Publisher) change(touched map[*owner]struct{}) {
	p.leave(touched)
	now := p.store.Now()
	owners := slices.SortedFunc(maps.Keys(touched), (*owner).compare)
	p.settleEach(owners, now, func(d *decided) {
		t, odd := d.owner.base(), d.owner.odd()
		d.Decision = rollover.Decide(t, p.atlas.observe(d.owner, t), d.owner.policy, now)
		d.same = !d.Changed && !d.failed && odd.unrecorded == nil && odd.shown == nil
		d.Changed = d.Changed || odd.adopted || d.failed
	})
	if p.serving {
		p.serve(owners)
	}
	p.report()
}

// inPortions finds something out about each of owners side by side and settles that, one portion while the next is found out. So
// find must leave alone what settle changes of other owners.
func inPortions[T any](owners []*owner, portion int, begin func(*owner) T, find func(*T), settle func([]T)) {
	var before []T
	for part := range slices.Chunk(owners, portion) {
		found := make([]T, len(part))
		for i, o := range part {
			found[i] = begin(o)
		}
		var next sync.WaitGroup
		next.Go(func() { together(found, find) })
		settle(before)
		next.Wait()
		before = found
	}
	settle(before)
}

// settleEach decides owners at now and settles what is decided.
func (p *Publisher) settleEach(owners []*owner, now rollover.Stamp, decide func(*decided)) {
	begin := func(o *owner) decided {
		_, failed := p.failed[o] // a commit that failed may have been written all the same
		return decided{owner: o, failed: failed}
	}
	inPortions(owners, p.portion, begin, decide, func(all []decided) { p.settle(all, now) })
}

// serve stamps Tpub on what queries are answered with now (rule 2): only then the wait for Ready can be told.
func (p *Publisher) serve(owners []*owner) {
	now := p.store.Now()
	p.settleEach(owners, now, func(d *decided) {
		if d.failed || !d.owner.served() {
			d.idle = true
			return
		}
		t, changed := rollover.Served(*d.owner.timeline(), now)
		if d.idle = !changed; changed {
			d.Decision = rollover.Decide(t, p.atlas.observe(d.owner, t), d.owner.policy, now)
			d.Changed = true
		}
	})
}

// settle records the decisions, which were made at now, then shows them (rule 5).
func (p *Publisher) settle(decisions []decided, now rollover.Stamp) {
	decisions = slices.DeleteFunc(decisions, func(d decided) bool { return d.idle })
	if len(decisions) == 0 {
		return
	}
	changes := map[string]*rollover.Timeline{}
	for i := range decisions {
		if d := &decisions[i]; d.Changed {
			changes[d.owner.name()] = &d.Timeline
		}
	}
	part := uint32(0)
	if len(changes) > 0 {
		part = nextPart()
	}
	recorded := p.record(changes, part)
	together(decisions, p.write)
	moment := time.Now()
	for i := range decisions {
		d := &decisions[i]
		if d.Changed && !recorded {
			p.provide(d)
		} else {
			p.accept(d, moment, now)
		}
	}
	p.flush(part)
	var touched []*owner
	for _, d := range decisions {
		if len(d.Transitions) > 0 && (!d.Changed || recorded) {
			d.owner.alter(func(e *odd) { e.untold = slices.Concat(e.untold, d.Transitions) })
			touched = append(touched, d.owner)
		}
	}
	if p.serving {
		p.tellAll(touched)
	}
}

// tellAll logs what was not told yet of some owners.
func (p *Publisher) tellAll(owners []*owner) {
	waiting := slices.DeleteFunc(slices.Clone(owners), func(o *owner) bool { return len(o.odd().untold) == 0 })
	slices.SortFunc(waiting, (*owner).compare)
	for _, o := range waiting {
		p.tell(o, o.odd().untold)
		o.ease(func(d *odd) { d.untold = nil })
	}
}

// retryFirst and retryMost bound the wait before a commit that failed is tried again.
const (
	retryFirst = time.Second
	retryMost  = time.Minute
)

// record writes the changes down, with the part of the serial that they will have, and tells whether they are on disk.
func (p *Publisher) record(changes map[string]*rollover.Timeline, part uint32) bool {
	if len(changes) == 0 && part == 0 {
		return true
	}
	return p.recorded(p.store.CommitSerial(p.block, changes, part))
}

// recorded keeps count of whether the ledger can be written: err is what the last attempt gave.
func (p *Publisher) recorded(err error) bool {
	switch {
	case err == nil && p.backoff > 0 && len(p.failed) > 0:
		p.retry = time.Now() // what could not be recorded can be now
		return true
	case err == nil && p.backoff > 0:
		p.backoff = 0
		p.problems.set("", nil)
		p.report()
		return true
	case err == nil:
		return true
	}
	p.meter.LedgerError()
	if p.backoff == 0 {
		p.problems.set("", []rollover.Problem{{Reason: LedgerFailing, Text: fmt.Sprintf("%v; new records are published all the same, "+
			"but nothing becomes Ready and nothing is removed until the ledger can be written: free space or mend the file's directory", err)}})
		p.report()
	}
	p.backoff = min(max(2*p.backoff, retryFirst), retryMost)
	p.retry = time.Now().Add(p.backoff)
	return false
}

// accept makes a decision that the ledger has the owner's state.
func (p *Publisher) accept(d *decided, moment time.Time, now rollover.Stamp) {
	o := d.owner
	delete(p.failed, o)
	was := o.figures()
	if d.record != nil {
		p.atlas.adopt(o, d.record)
	}
	o.ease(func(e *odd) { e.adopted, e.unrecorded, e.shown = e.adopted && !d.Changed, nil, nil })
	p.queue.schedule(o, moment, d.next)
	p.show(o, o.record.answer(d.set), d.Answer)
	p.note(o, d.Problems)
	p.count(o, standingOf(d.Statuses, now), was)
}

// provide shows what a decision adds though the ledger does not have it, and takes nothing away (the exception of rule 5).
func (p *Publisher) provide(d *decided) {
	o := d.owner
	p.failed[o] = struct{}{}
	was := o.timeline()
	shown := union(o.shown(), d.RRset)
	for _, k := range d.Timeline.Keys {
		// A combination that would leave stays for all keys, the new ones included (R11).
		for _, c := range was.Combinations {
			if a, err := k.Material.Association(c); err == nil && d.Timeline.WithdrawnAt.IsZero() && len(was.Associations) > 0 {
				shown = union(shown, []dane.Association{a})
			}
		}
	}
	unrecorded := was.Unrecorded(d.Timeline.Keys)
	o.alter(func(e *odd) { e.unrecorded, e.shown = unrecorded, shown })
	answer := d.Answer
	if len(shown) > 0 {
		answer = rollover.Records
	}
	p.show(o, zone.NewSet(shown, p.cfg.TTL), answer)
	p.note(o, d.Problems)
}

// show puts the owner's answer into the table; set is what it has where that is known.
func (p *Publisher) show(o *owner, set *zone.Set, answer rollover.Answer) {
	if was, is := o.answer == rollover.Unknown, answer == rollover.Unknown; was && !is {
		p.unknown--
	} else if is && !was {
		p.unknown++
	}
	o.answer = answer
	switch {
	case !o.served():
		p.put(o, nil)
	case answer == rollover.Unknown:
		p.put(o, &zone.Set{Unknown: true})
	default:
		p.put(o, set)
	}
}

func (p *Publisher) put(o *owner, set *zone.Set) {
	if o.wild() {
		p.wild.put(o.name(), set)
		return
	}
	p.writer.Set(o.name(), o.host, o.zone, set)
}

// judge tells queries whether something that may be owed is unknown: of an owner, or of the hosts of a pattern. Of these a
// ledger that vouches for them knows all that was ever told.
func (p *Publisher) judge() {
	unsure := p.wild != nil && !p.atlas.known() && !p.vouched
	if p.wild != nil {
		p.wild.unsure.Store(unsure)
	}
	p.known.Store(p.unknown == 0 && !unsure)
}

// note keeps the owner's problems, those of its zone included.
func (p *Publisher) note(o *owner, ps []rollover.Problem) {
	p.problems.set(o.name(), slices.Concat(p.zoneProblems(o), p.atlas.strays(o), o.expected(ps)))
}

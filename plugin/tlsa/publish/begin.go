package publish

import (
	"context"
	"maps"
	"slices"
	"time"

	"github.com/coredns-tlsa/coredns-tlsa/plugin/tlsa/certdir"
	"github.com/coredns-tlsa/coredns-tlsa/plugin/tlsa/rollover"
	"github.com/coredns-tlsa/coredns-tlsa/plugin/tlsa/zone"
)

// patience is how long after its beginning a start still waits for the first sweep where the ledger could answer already.
const patience = time.Second

// large is how many owners that the ledger vouches for make a start answer before it looks at the directories at all.
const large = 10_000

// firstAnswers sweeps and decides, or answers with what the ledger has, and sweeps in the background, where the sweep takes long.
// Only a ledger that vouches for what it has may answer; and in a reload nobody waits, because the instance before answers. mu is
// held.
func (p *Publisher) firstAnswers(begun time.Time) {
	remembered := 0
	if p.vouched && len(p.before) == 0 {
		for _, o := range p.owners {
			if o.remembered() {
				remembered++
			}
		}
	}
	if remembered >= large {
		p.recall(p.owners) // Start sweeps: until the first answers it would take the processors from them
		return
	}
	p.sweep()
	if remembered == 0 {
		p.begin(<-p.first)
		return
	}
	limit := time.NewTimer(patience - time.Since(begun))
	defer limit.Stop()
	select {
	case c := <-p.first:
		p.begin(c)
	case <-limit.C:
		p.log.Infof("reading the directories takes longer; until that is done the ledger %s answers, and nothing changes", p.cfg.Ledger)
		p.recall(p.owners)
	}
}

// sweep begins the first look at the directories.
func (p *Publisher) sweep() {
	ctx, give := context.WithCancel(context.Background())
	first := make(chan certdir.Changes, 1)
	p.first, p.give = first, give
	w := p.watcher
	go func() { first <- w.Sweep(ctx) }()
}

// remembered tells whether the ledger says what o is to be answered with.
func (o *owner) remembered() bool {
	t := o.timeline()
	return len(t.Associations) > 0 || !t.WithdrawnAt.IsZero()
}

// catchUp goes on with the first sweep after the start.
func (p *Publisher) catchUp(ctx context.Context) {
	if p.first == nil {
		return
	}
	select {
	case c := <-p.first:
		p.locked(func() { p.begin(c); p.renumber() })
	case <-ctx.Done():
		return
	}
	select {
	case p.poke <- struct{}{}:
	default:
	}
}

// begin decides every owner by what the first sweep found. mu is held.
func (p *Publisher) begin(c certdir.Changes) {
	p.first, p.blind = nil, false
	touched := p.learn(c)
	for _, o := range p.owners {
		touched[o] = struct{}{}
	}
	p.step(touched)
	p.shrink()
	p.judge()
}

// vouch lets the ledger stand for the block once it has all that was found.
func (p *Publisher) vouch() {
	if p.backoff == 0 && p.atlas.known() && !p.store.Vouches(p.block) {
		p.vouched = p.recorded(p.store.Vouch(p.block)) || p.vouched
	}
}

// recall answers with what the ledger has, under the TTL that it has. What it does not have stays unknown: nothing is denied,
// removed or Ready before the directories were read (rule 4). mu is held.
func (p *Publisher) recall(owners []*owner) {
	p.blind = true
	now := p.store.Now()
	begin := func(o *owner) recalled { return recalled{owner: o} }
	inPortions(owners, p.portion, begin, func(r *recalled) { r.read(now, p.cfg.TTL) }, func(all []recalled) {
		for _, r := range all {
			was := r.owner.figures()
			p.show(r.owner, r.owner.record.answer(r.set), r.answer)
			if r.answer == rollover.Records {
				p.count(r.owner, r.standing, was)
			}
		}
	})
	p.flush(0)
	p.judge()
	p.report()
}

// recalled is an owner with what the ledger has of it.
type recalled struct {
	owner    *owner
	answer   rollover.Answer
	set      *zone.Set
	standing standing
}

// read finds out what the ledger has; ttl is that of the Corefile, for an owner that it answers without records.
func (r *recalled) read(now rollover.Stamp, ttl uint32) {
	t := r.owner.timeline()
	if len(t.Associations) > 0 {
		r.answer, ttl, r.standing = rollover.Records, t.TTL, standingOf(t.Statuses(r.owner.policy, now), now)
	} else if !t.WithdrawnAt.IsZero() {
		r.answer = rollover.None
	}
	r.set = zone.NewSet(t.RRset(), ttl)
}

// shrink gives back the room of what every owner was in for a moment: a map does not do that itself.
func (p *Publisher) shrink() {
	p.unnamed = maps.Collect(maps.All(p.unnamed))
	p.atlas.placed = maps.Collect(maps.All(p.atlas.placed))
	p.owners = slices.Clip(slices.Clone(p.owners))
}

package publish

import (
	"fmt"
	"maps"
	"slices"
	"sync"

	"github.com/coredns-tlsa/coredns-tlsa/plugin/tlsa/rollover"
)

// load reads the timelines, and asks the zone about their owners.
func (p *Publisher) load() error {
	timelines, err := p.store.Load(p.block)
	if err == nil {
		err = p.resumeSerial()
	}
	if err != nil {
		return fmt.Errorf("reading the ledger %s: %w", p.cfg.Ledger, err)
	}
	p.lookAtZones()
	named := len(p.owners) // those that the Corefile names
	asked := p.revive(timelines)
	if err := p.adopt(); err != nil {
		return fmt.Errorf("reading the ledger %s: %w", p.cfg.Ledger, err)
	}
	failing := p.inherit()
	for _, o := range p.owners {
		if failing && !o.timeline().NoneSince.IsZero() {
			t := *o.timeline()
			t.NoneSince = rollover.Stamp{}
			p.atlas.remember(o, &t)
		}
	}
	p.withdrawn = timelines
	p.ask(p.owners[:named])
	p.ask(p.owners[asked:])
	p.asked(p.owners)
	return nil
}

// revive gives the owners their timelines, makes those that only patterns have, and asks the zone about these, one portion while
// the next is made. It takes out of timelines what it has used, and tells how many owners there are then.
func (p *Publisher) revive(timelines map[string]*rollover.Timeline) int {
	var asking sync.WaitGroup
	from := len(p.owners)
	for part := range slices.Chunk(slices.Sorted(maps.Keys(timelines)), p.portion) {
		for _, name := range part {
			o := p.atlas.find(name)
			if o == nil {
				o = p.regrow(name)
			}
			if o != nil {
				p.atlas.remember(o, timelines[name])
				delete(timelines, name)
			}
		}
		made := p.owners[from:]
		from = len(p.owners)
		asking.Wait()
		asking.Go(func() { p.ask(made) })
	}
	asking.Wait()
	return from
}

// inherit takes over what the publishers before show and could not record, and tells whether there is any: of that the ledger
// knows less than they, or more that was never shown.
func (p *Publisher) inherit() bool {
	failing := false
	for _, before := range p.before {
		before.locked(func() {
			for from := range before.failed {
				failing = true
				o := p.heir(before.block, from.name())
				if o == nil {
					continue
				}
				unrecorded := from.odd().unrecorded
				p.atlas.remember(o, from.timeline())
				o.alter(func(d *odd) { d.adopted, d.unrecorded = true, unrecorded })
				if before.block != p.block {
					p.adopted = append(p.adopted, o.name())
				}
			}
		})
	}
	return failing
}

// adopt takes the timelines of owners from the other blocks of the ledger, because the zones of the directive have changed:
// those that the block does not have, and those that a publisher writes which p succeeds.
func (p *Publisher) adopt() error {
	blocks, err := p.others()
	if err != nil {
		return err
	}
	p.vouched = p.store.Vouches(p.block)
	whole := true // of all blocks that something is taken from
	for _, block := range blocks {
		timelines, err := p.store.Load(block)
		if err != nil {
			return err
		}
		current := slices.ContainsFunc(p.before, func(o *Publisher) bool { return o.block == block })
		for _, name := range slices.Sorted(maps.Keys(timelines)) {
			o := p.heir(block, name)
			if o != nil && (current || o.timeline().Equal(o.unseen.open)) {
				p.atlas.remember(o, timelines[name])
				o.alter(func(d *odd) { d.adopted = true })
				p.adopted = append(p.adopted, o.name())
				whole = whole && p.store.Vouches(block)
			}
		}
	}
	p.vouched = whole && (p.vouched || len(p.adopted) > 0)
	return nil
}

// heir gives the owner that takes a name over from another block. A pattern leaves it to a block with a closer zone that is
// at work beside this one.
func (p *Publisher) heir(block, name string) *owner {
	o := p.atlas.find(name)
	if o != nil && o.pattern == nil {
		return o
	}
	for _, zones := range p.cfg.Beside {
		if blockName(zones, p.cfg.View) == block && len(longest(zones, name)) > len(longest(p.cfg.Zones, name)) {
			return nil
		}
	}
	if o == nil {
		o = p.regrow(name)
	}
	return o
}

// disown takes back what a start that is given up has adopted: the publisher before goes on with it elsewhere.
func (p *Publisher) disown() {
	p.mu.Lock()
	defer p.mu.Unlock()
	gone := map[string]*rollover.Timeline{}
	for _, name := range p.adopted {
		gone[name] = nil
	}
	p.adopted = nil
	if p.store != nil && len(gone) > 0 {
		p.upkeep(p.store.Commit(p.block, gone))
	}
}

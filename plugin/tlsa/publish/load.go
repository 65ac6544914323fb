package publish

import (
	"fmt"
	"maps"
	"reflect"
	"slices"

	"github.com/coredns-tlsa/coredns-tlsa/plugin/tlsa/ledger"
	"github.com/coredns-tlsa/coredns-tlsa/plugin/tlsa/rollover"
)

// load reads the timelines. What an older copy of the ledger says is doubted once, by the first who reads it (rules 2 and 4).
func (p *Publisher) load() error {
	timelines, err := p.store.Load(p.block)
	if err == nil {
		err = p.resumeSerial()
	}
	if err != nil {
		return fmt.Errorf("reading the ledger %s: %w", p.cfg.Ledger, err)
	}
	for _, name := range slices.Sorted(maps.Keys(timelines)) {
		o := p.atlas.find(name)
		if o == nil {
			o = p.regrow(name)
		}
		if o != nil {
			o.timeline = *timelines[name]
			delete(timelines, name)
		}
	}
	if err := p.adopt(); err != nil {
		return fmt.Errorf("reading the ledger %s: %w", p.cfg.Ledger, err)
	}
	failing := p.inherit()
	for _, o := range p.owners {
		if failing {
			o.timeline.NoneSince = rollover.Stamp{}
		}
		if p.store.Origin() == ledger.Restored && len(p.before) == 0 && !reflect.DeepEqual(o.timeline, rollover.Timeline{}) {
			o.timeline, o.adopted = o.timeline.Doubted(p.store.Now()), true
		}
		o.shown = o.timeline.RRset()
		p.atlas.keep(o)
	}
	p.withdrawn = timelines
	return nil
}

// inherit takes over what the publishers before show and could not record, and tells whether there is any: of that the ledger
// knows less than they, or more that was never shown.
func (p *Publisher) inherit() bool {
	failing := false
	for _, before := range p.before {
		before.locked(func() {
			for from := range before.failed {
				failing = true
				o := p.heir(before.block, from.Name)
				if o == nil {
					continue
				}
				o.timeline, o.adopted, o.unrecorded = from.timeline.Clone(), true, slices.Clone(from.unrecorded)
				if before.block != p.block {
					p.adopted = append(p.adopted, o.Name)
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
	for _, block := range blocks {
		timelines, err := p.store.Load(block)
		if err != nil {
			return err
		}
		current := slices.ContainsFunc(p.before, func(o *Publisher) bool { return o.block == block })
		for _, name := range slices.Sorted(maps.Keys(timelines)) {
			o := p.heir(block, name)
			if o != nil && (current || reflect.DeepEqual(o.timeline, rollover.Timeline{})) {
				o.timeline, o.adopted = *timelines[name], true
				p.adopted = append(p.adopted, o.Name)
			}
		}
	}
	return nil
}

// heir gives the owner that takes a name over from another block. A pattern leaves it to a block with a closer zone that is
// at work beside this one.
func (p *Publisher) heir(block, name string) *owner {
	o := p.atlas.find(name)
	if o != nil && o.dynamic == nil {
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

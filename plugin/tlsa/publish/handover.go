package publish

import (
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/coredns-tlsa/coredns-tlsa/plugin/tlsa/rollover"
)

// handover knows the publishers of this process, because on a reload the new instance is prepared while the old one serves:
// only one of them may write the timeline of an owner.
var handover struct {
	mu       sync.Mutex // guards the slices, never held while a step runs
	running  []*Publisher
	starting []*Publisher
}

// giveUp is how long a prepared publisher may wait for Start. A start that fails is given up at once by AbortStarts; but
// caddy tells nobody when the instance before had no tlsa.
const giveUp = time.Minute

// succeeds tells whether p writes timelines that o writes now: of the same ledger and view, for an owner that both may have.
func (p *Publisher) succeeds(o *Publisher) bool {
	if o == p || o.cfg.Ledger != p.cfg.Ledger || o.cfg.View != p.cfg.View {
		return false
	}
	return o.block == p.block || overlap(o.cfg, p.cfg)
}

// takeOver pauses the running publishers that p will succeed. A start that failed before without a word is given up.
func takeOver(p *Publisher) {
	handover.mu.Lock()
	var abandoned []*Publisher
	handover.starting = slices.DeleteFunc(handover.starting, func(o *Publisher) bool {
		if o.block == p.block && p.succeeds(o) {
			abandoned = append(abandoned, o)
			return true
		}
		return false
	})
	p.before = nil
	for _, o := range handover.running {
		if p.succeeds(o) {
			p.before = append(p.before, o)
		}
	}
	handover.starting = append(handover.starting, p)
	handover.mu.Unlock()
	for _, o := range abandoned {
		o.close()
	}
	for _, o := range p.before {
		o.pause()
	}
}

// takenOver makes p a running publisher.
func takenOver(p *Publisher) {
	handover.mu.Lock()
	defer handover.mu.Unlock()
	handover.starting = without(handover.starting, p)
	handover.running = append(handover.running, p)
	p.before = nil
}

// giveBack lets the publishers that p paused go on, if p is still starting.
func giveBack(p *Publisher) {
	handover.mu.Lock()
	starting := slices.Contains(handover.starting, p)
	handover.starting = without(handover.starting, p)
	before := p.before
	handover.mu.Unlock()
	for _, o := range before {
		if starting {
			o.resume()
		}
	}
}

func stopped(p *Publisher) {
	handover.mu.Lock()
	defer handover.mu.Unlock()
	handover.running = without(handover.running, p)
}

func without[T comparable](all []T, one T) []T {
	return slices.DeleteFunc(all, func(other T) bool { return other == one })
}

// claimed tells whether a publisher of this process has the block of p's ledger.
func (p *Publisher) claimed(block string) bool {
	handover.mu.Lock()
	defer handover.mu.Unlock()
	return slices.ContainsFunc(slices.Concat(handover.running, handover.starting), func(o *Publisher) bool {
		return o.cfg.Ledger == p.cfg.Ledger && o.block == block
	})
}

// AbortStarts gives up every publisher that was prepared and never started: a reload has failed.
func AbortStarts() {
	handover.mu.Lock()
	starting := slices.Clone(handover.starting)
	handover.mu.Unlock()
	for _, p := range starting {
		p.Abort()
	}
}

func (p *Publisher) pause() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.paused = true
}

// resume makes the ledger again what is served, and catches up with what was missed.
func (p *Publisher) resume() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.paused = false
	if p.store == nil {
		return
	}
	p.restore()
	p.renumber()
	if p.stale {
		p.stale = false
		p.step(p.all())
	}
}

// restore records the timelines that the ledger has otherwise: those of the Corefile that could not be started.
func (p *Publisher) restore() {
	timelines, err := p.store.Load(p.block)
	if err != nil {
		p.upkeep(err)
		return
	}
	changes := map[string]*rollover.Timeline{}
	for name := range timelines {
		changes[name] = nil // unless it is ours
	}
	for _, o := range p.owners {
		if t := timelines[o.name()]; t != nil && t.Equal(o.timeline()) {
			delete(changes, o.name())
			continue
		}
		changes[o.name()] = o.timeline()
	}
	if !p.record(changes, 0) {
		for _, o := range p.owners {
			p.failed[o] = struct{}{} // they are recorded when the ledger can be written again
		}
	}
}

// others names the other blocks of the ledger under the same view.
func (p *Publisher) others() ([]string, error) {
	blocks, err := p.store.Blocks()
	return slices.DeleteFunc(blocks, func(b string) bool {
		return b == p.block || !strings.HasSuffix(b, "|"+p.cfg.View)
	}), err
}

// Inherit takes the blocks that nobody has any more out of the ledger. It is called when all publishers of an instance have
// started, because only then it is known which those are.
func (p *Publisher) Inherit() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.store == nil || slices.ContainsFunc(p.owners, func(o *owner) bool { return o.odd().adopted }) {
		return // what could not be copied is still needed there
	}
	p.adopted = nil
	gone := map[string]map[string]*rollover.Timeline{}
	blocks, err := p.others()
	p.upkeep(err)
	for _, block := range blocks {
		if !p.claimed(block) {
			gone[block], err = p.store.Load(block)
			p.upkeep(err)
		}
	}
	p.withdraw(gone)
}

// withdraw takes the owners that the Corefile no longer has out of the ledger (rule 8). It waits for the start: one that
// fails leaves them to the instance before.
func (p *Publisher) withdraw(gone map[string]map[string]*rollover.Timeline) {
	for block, timelines := range gone {
		if len(timelines) > 0 {
			p.recorded(p.store.Commit(block, p.gone(timelines))) // what stays is withdrawn at the next start
		}
	}
}

// gone tells of the owners that leave and gives what to record.
func (p *Publisher) gone(timelines map[string]*rollover.Timeline) map[string]*rollover.Timeline {
	changes := map[string]*rollover.Timeline{}
	for name, t := range timelines {
		changes[name] = nil
		if p.atlas.find(name) == nil && len(t.Associations) > 0 {
			p.log.Infof("%s: withdrawn, because the Corefile no longer has it; caches may hold its records until %s",
				name, moment(t.LargestTTL()))
		}
	}
	return changes
}

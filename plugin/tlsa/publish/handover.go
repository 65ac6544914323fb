package publish

import (
	"reflect"
	"sync"

	"github.com/coredns-tlsa/coredns-tlsa/plugin/tlsa/rollover"
)

// running and starting know the publishers of this process by ledger and block, because on a reload the new instance is
// prepared while the old one serves: only one of them may write.
var handover struct {
	mu       sync.Mutex // guards the maps, never held while a step runs
	running  map[string]*Publisher
	starting map[string]*Publisher
}

func (p *Publisher) key() string { return p.cfg.Ledger + "|" + p.block }

// takeOver pauses the running publisher of the same block and returns it. A start that failed before without a word is
// given up.
func takeOver(p *Publisher) *Publisher {
	handover.mu.Lock()
	if handover.starting == nil {
		handover.running, handover.starting = map[string]*Publisher{}, map[string]*Publisher{}
	}
	abandoned := handover.starting[p.key()]
	before := handover.running[p.key()]
	handover.starting[p.key()] = p
	handover.mu.Unlock()
	if abandoned != nil {
		abandoned.close()
	}
	if before != nil {
		before.pause()
	}
	return before
}

// takenOver makes p the running publisher of its block.
func takenOver(p *Publisher) {
	handover.mu.Lock()
	defer handover.mu.Unlock()
	if handover.starting[p.key()] == p {
		delete(handover.starting, p.key())
	}
	handover.running[p.key()] = p
}

// giveBack lets the publisher that p paused go on, if p is still the one that is starting.
func giveBack(p *Publisher) {
	handover.mu.Lock()
	starting := handover.starting[p.key()] == p
	if starting {
		delete(handover.starting, p.key())
	}
	handover.mu.Unlock()
	if starting && p.before != nil {
		p.before.resume()
	}
}

func stopped(p *Publisher) {
	handover.mu.Lock()
	defer handover.mu.Unlock()
	if handover.running[p.key()] == p {
		delete(handover.running, p.key())
	}
}

// AbortStarts gives up every publisher that was prepared and never started: a reload has failed.
func AbortStarts() {
	handover.mu.Lock()
	var starting []*Publisher
	for _, p := range handover.starting {
		starting = append(starting, p)
	}
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
		if t := timelines[o.Name]; t != nil && reflect.DeepEqual(*t, o.timeline) {
			delete(changes, o.Name)
			continue
		}
		t := o.timeline.Clone()
		changes[o.Name] = &t
	}
	p.record(changes)
}

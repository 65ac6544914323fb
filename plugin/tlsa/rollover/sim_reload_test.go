package rollover

import (
	"slices"
	"time"

	"github.com/coredns-tlsa/coredns-tlsa/plugin/tlsa/dane"
)

// policy chooses ttl, hold, grace and propagation anew, as a Corefile may have them: setup refuses others.
func (s *simulation) policy(p Policy) Policy {
	p.TTL = []uint32{3600, 600, 10}[s.choose(3, "ttl")]
	p.Propagation = []time.Duration{0, 10 * time.Minute, 2 * hour}[s.choose(3, "propagation")]
	ttl := time.Duration(p.TTL) * time.Second
	least := p.Propagation + 2*ttl
	p.Hold = max(least, p.Propagation+ttl+5*time.Minute)
	if s.choose(3, "hold") == 2 {
		p.Hold = least
	}
	p.Grace = max(least, []time.Duration{48 * hour, 3 * hour, 0}[s.choose(3, "grace")])
	p.UntilExpiry = s.choose(6, "notafter") == 5
	return p
}

// reload gives a node another Corefile. The new instance is prepared while the old one serves; it may be given up.
func (n *node) reload() {
	s := n.sim
	if !n.up {
		return
	}
	p, before := n.p, n.memory
	switch s.choose(4, "option") {
	case 0:
		if n.failed {
			return // a ttl that was never recorded is beyond what a timeline can know
		}
		p = s.policy(p)
	case 1:
		if !n.knowsAll() || n.failed && len(n.timeline.Associations) == 0 {
			return
		}
		p.Combinations = simAs()[s.choose(len(simAs()), "as")]
	case 2:
		if len(p.Pins) > 0 {
			p.Pins = nil
		} else {
			p.Pins = []dane.Association{stranger()}
		}
	case 3: // nothing has changed
	}
	if p.Grace > n.p.Grace && n.fails == lies {
		return // the old one may be in force on the disk
	}
	if n.forget(); p.Propagation < n.p.Propagation && len(n.caches) > 0 {
		return // it is not true yet
	}
	if p.Grace < n.p.Grace && n.awaitsReturn() {
		return // what was called safe counts on the longer one
	}
	s.tell("node %d: reload %+v", n.name, p)
	n.p = p
	n.load()
	if before.failed { // publish.inherit
		n.timeline, n.adopted, n.unrecorded = before.timeline.Clone(), true, slices.Clone(before.unrecorded)
		n.timeline.NoneSince = Stamp{}
		n.shown = n.timeline.RRset()
	}
	n.act()
	if !n.up { // the next start has the new Corefile
		n.amend()
		n.failed = before.failed
		n.unmodelled()
		return
	}
	if s.choose(4, "fails") == 3 {
		s.reach("reload given up")
		n.giveUp(before)
		return
	}
	s.reach("reload")
	if n.ttl > time.Duration(p.TTL)*time.Second {
		s.reach("TTL lowered")
	}
	n.adopt()
}

// adopt makes the prepared instance the one that serves. The files are read anew.
func (n *node) adopt() {
	n.amend()
	for _, f := range n.files {
		if f.condition != fine {
			f.kept = nil
		}
	}
	n.serving = true
	n.show()
	n.act()
}

// amend is what another Corefile says of the world.
func (n *node) amend() {
	s := n.sim
	for i := range n.caches { // secondaries that are late may be later now
		h := &n.caches[i]
		if s.real < h.until-h.ttl {
			h.until = max(h.until, h.since+n.p.Propagation+h.ttl)
		}
	}
	for i := range s.leaving { // who lowers grace says that the servers are faster
		d := &s.leaving[i]
		d.until = min(d.until, d.replaced+n.p.Grace)
	}
}

// giveUp is publish.resume after a start that failed: the ledger is made again what is served.
func (n *node) giveUp(before memory) {
	n.memory, n.serving = before, true
	n.failed = !n.commit(n.timeline)
	n.act()
}

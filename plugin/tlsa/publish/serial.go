package publish

import (
	"errors"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/coredns-tlsa/coredns-tlsa/plugin/tlsa/zone"
)

// A zone that is transferred has the serial of its file plus a part that rises with every change of ours, so that secondaries
// notice. Parts are handed out once in a process, whatever the zone, view and ledger: two contents never share one, not even
// those of two instances that overlap in a reload. Each ledger keeps the last that its blocks were given, and after a loss the
// clock is ahead of them all.
var lastPart struct {
	mu sync.Mutex // guards n
	n  uint32
}

// epoch is where the clock's parts begin. They outgrow 32 bits in 2162.
var epoch = time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)

// nextPart gives the part max(previous part + 1, seconds since 2026).
func nextPart() uint32 {
	lastPart.mu.Lock()
	defer lastPart.mu.Unlock()
	lastPart.n = max(lastPart.n+1, uint32(max(0, time.Since(epoch)/time.Second)))
	return lastPart.n
}

// notBelow makes the next part larger than one that was given out by a process before.
func notBelow(part uint32) {
	lastPart.mu.Lock()
	defer lastPart.mu.Unlock()
	lastPart.n = max(lastPart.n, part)
}

// A Part is what a zone's serial owes to a publisher. It may be read at any time.
type Part struct{ n atomic.Uint32 }

// Value is 0 before Prepare.
func (p *Part) Value() uint32 { return p.n.Load() }

// resumeSerial goes on where the ledger ends.
func (p *Publisher) resumeSerial() error {
	part, err := p.store.Serial()
	notBelow(part)
	return err
}

// Parts gives what a zone of the DNS data owes to the publisher: the parts of the block's zones at, above and below it.
func (p *Publisher) Parts(zone string) []*Part {
	var found []*Part
	for _, z := range p.cfg.Zones {
		if within(z, zone) || within(zone, z) {
			found = append(found, p.parts[z])
		}
	}
	return found
}

// within tells whether name is zone or lies below it.
func within(name, zone string) bool { return name == zone || strings.HasSuffix(name, "."+zone) }

// Concerns tells whether the block may ever have an owner in a zone of the DNS data. It does not change while the block
// lives: a zone's serial must not fall when the last owner leaves.
func (c Config) Concerns(zone string) bool {
	for _, o := range c.Owners {
		if within(o.Name, zone) {
			return true
		}
	}
	for _, o := range c.Patterns {
		if above := strings.TrimPrefix(o.Host, "*."); within(above, zone) || within(zone, above) {
			return true
		}
	}
	return false
}

// OnChange sets what is called after each change that queries can see. It is called with the publisher's lock held and must
// return at once. It must be set before Prepare.
func (p *Publisher) OnChange(f func()) { p.changed = f }

// flush shows what was set. The zones that it changes have the part, which is recorded already; 0: there is none yet.
func (p *Publisher) flush(part uint32) {
	changed := p.changedZones()
	if len(changed) > 0 && part == 0 {
		part = nextPart()
		p.record(nil, part) // if it fails, the part rises all the same
	}
	p.writer.Flush()
	if p.wild != nil {
		p.wild.writer.Flush()
	}
	p.judge()
	for _, z := range changed {
		if of := p.parts[z]; of != nil { // nil: no zone of the block; what is served does not depend on it
			of.n.Store(part)
		}
	}
	if len(changed) > 0 {
		p.changed()
	}
}

// changedZones gives the zones in which something else shows after the next Flush.
func (p *Publisher) changedZones() []string {
	zones := p.writer.Changed()
	if p.wild == nil {
		return zones
	}
	for _, san := range p.wild.writer.Changed() {
		if z := longest(p.cfg.Zones, san); !slices.Contains(zones, z) {
			zones = append(zones, z)
		}
	}
	return zones
}

// renumber gives every zone a new part: after a start anything may have changed. mu is held.
func (p *Publisher) renumber() {
	part := nextPart()
	p.record(nil, part)
	for _, z := range p.parts {
		z.n.Store(part)
	}
	p.changed()
}

// A Served is an owner as queries see it. Where Host begins with an asterisk, it stands for the hosts that a wildcard SAN
// covers: those that exist, and those of Written.
type Served struct {
	Name, Host string
	Set        *zone.Set
	Written    []string // the hosts, of those that it covers, that the Corefile has
}

// ErrReplaced: another instance is taking over, or has done so. What is served may be out of date, and the other one's
// parts are larger already.
var ErrReplaced = errors.New("tlsa: the server reloads; ask again")

// Served gives the owners in a zone of the DNS data that are ours to answer, all of one moment. The parts of the zone change
// while it holds the lock or not at all: where they are the same before and after, so is what it gives. Errors: ErrReplaced.
func (p *Publisher) Served(zone string) ([]Served, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.paused {
		return nil, ErrReplaced
	}
	var all []Served
	for _, o := range p.owners {
		table := &p.table
		if o.wild() {
			table = &p.wild.table
		}
		name := o.name()
		e, ok := table.Lookup(name)
		if !ok || !e.Owner || !within(name, zone) {
			continue
		}
		s := Served{Name: name, Host: o.host, Set: e.Set}
		if o.wild() {
			s.Written = p.wild.written(o.host)
		}
		all = append(all, s)
	}
	return all, nil
}

// longest gives the longest of the zones that name lies in.
func longest(zones []string, name string) string {
	longest := ""
	for _, z := range zones {
		if within(name, z) && len(z) > len(longest) {
			longest = z
		}
	}
	return longest
}

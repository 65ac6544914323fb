package publish

import (
	"fmt"
	"time"

	"github.com/coredns-tlsa/coredns-tlsa/plugin/tlsa/rollover"
)

// lookAtZones remembers the SOAs that the answers to come belong to.
func (p *Publisher) lookAtZones() {
	for _, z := range p.cfg.Zones {
		p.soas[z] = p.soa(z)
	}
}

// lookAgain asks about the owners of the zones whose SOA has changed: *auto* and *secondary* load late. It gives the owners
// to decide again.
func (p *Publisher) lookAgain() map[*owner]struct{} {
	touched := map[*owner]struct{}{}
	var asked []*owner
	for _, z := range p.cfg.Zones {
		soa := p.soa(z)
		if before, known := p.soas[z]; known && soa == before {
			continue
		}
		p.soas[z] = soa
		for _, o := range p.owners {
			if o.zone == z {
				asked = append(asked, o)
				touched[o] = struct{}{}
			}
		}
	}
	p.lookAtAll(asked)
	return touched
}

// askAgain forgets the SOAs of zones that did not answer for one of their owners, so that they are soon asked once more.
func (p *Publisher) askAgain(owners []*owner) {
	for _, o := range owners {
		if o.flags&inZone == 0 {
			delete(p.soas, o.zone)
		}
	}
}

// zoneSOA is a zone's SOA, and whether it has one.
type zoneSOA struct {
	SOA
	there bool
}

func (p *Publisher) soa(zone string) zoneSOA {
	soa, there := p.zones.SOA(zone)
	if lag, known := p.lags[zone]; there && (!known || lag != soa.Lag) {
		p.lags[zone] = soa.Lag
		p.governAll(zone)
	}
	return zoneSOA{soa, there}
}

// lookAtAll asks about owners: each question is one to the plugins behind.
func (p *Publisher) lookAtAll(owners []*owner) {
	p.ask(owners)
	p.asked(owners)
}

// asked is done once ask has come back.
func (p *Publisher) asked(owners []*owner) {
	p.askAgain(owners)
	for _, o := range owners {
		if o.flags&unremarked == 0 { // else its turn comes, however often the zone changes until then
			o.flags |= unremarked
			p.unremarked = append(p.unremarked, o)
		}
	}
}

// remark asks the rest about some owners: it may take as long as to find out what to answer them with, so that comes first. It
// gives those to decide again.
func (p *Publisher) remark() map[*owner]struct{} {
	some := max(1, p.portion/10) // who waits for mu waits for these
	type remarked struct {
		*owner
		Remarks
	}
	var found []remarked
	n := min(some, len(p.unremarked))
	for _, o := range p.unremarked[:n] {
		o.flags &^= unremarked
		if o.flags&inZone != 0 && !o.wild() && o.view().Cut == "" && !p.isGone(o) {
			found = append(found, remarked{owner: o})
		}
	}
	if p.unremarked = p.unremarked[n:]; len(p.unremarked) == 0 {
		p.unremarked = nil
	}
	together(found, func(r *remarked) { r.Remarks = p.zones.Remark(r.name()) })
	touched := map[*owner]struct{}{}
	for _, r := range found {
		if r.odd().remarks != r.Remarks {
			r.alter(func(d *odd) { d.remarks = r.Remarks })
			touched[r.owner] = struct{}{}
		}
	}
	return touched
}

// remarking tells whether there is something left for remark.
func (p *Publisher) remarking() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return len(p.unremarked) > 0
}

// isGone tells whether a dynamic owner has left.
func (p *Publisher) isGone(o *owner) bool {
	return o.pattern != nil && (int(o.at) >= len(p.owners) || p.owners[o.at] != o)
}

func (p *Publisher) ask(owners []*owner) {
	together(owners, func(o **owner) { p.lookAt(*o) })
}

func (p *Publisher) lookAt(o *owner) {
	soa := p.soas[o.zone]
	view := ZoneView{}
	switch {
	case soa.there && o.wild():
		view.Known = true // what the zone has at the name with the asterisk is nobody's
	case soa.there:
		view = p.zones.Look(o.name())
	}
	if !view.Known {
		o.flags &^= inZone // what was known of cuts and signatures stays until the zone says otherwise
		return
	}
	o.flags |= inZone
	view.Known = false
	note := o.alter
	if view.none() && !soa.Signed {
		note = o.ease
	}
	note(func(d *odd) { d.view, d.signed = view, soa.Signed })
}

// govern gives the policy of a class what its zone's SOA adds.
func (p *Publisher) govern(c *class) {
	c.policy = c.written.Policy
	if p.cfg.FollowSOA {
		lag, known := p.lags[c.zone]
		if !known {
			lag = never
		}
		c.policy.Propagation = lag
		if !p.cfg.HoldWritten {
			c.policy.Hold += lag
		}
	}
}

// governAll does it for the classes of a zone, whose owners are all decided again after that.
func (p *Publisher) governAll(zone string) {
	for _, o := range p.owners[:len(p.cfg.Owners)] {
		if o.zone == zone {
			p.govern(o.class)
		}
	}
	for _, pts := range p.atlas.patterns {
		for _, pt := range pts {
			for _, c := range pt.classes {
				if c.zone == zone {
					p.govern(c)
				}
			}
		}
	}
}

// never is the lag of secondaries while the SOA that tells it has not been seen: nothing becomes Ready, nothing is removed.
const never = 10 * 365 * 24 * time.Hour

// zoneProblems says what the zone's data means for the owner.
func (p *Publisher) zoneProblems(o *owner) []rollover.Problem {
	v, r, zone := o.view(), o.odd().remarks, o.zone
	service := o.prefix
	var ps []rollover.Problem
	add := func(r rollover.Reason, format string, args ...any) {
		ps = append(ps, rollover.Problem{Reason: r, Text: fmt.Sprintf(format, args...)})
	}
	switch {
	case v.Cut != "" && o.pattern != nil: // a certificate may well name hosts of another zone
	case v.Cut != "":
		add(BelowCut, "%s is a zone cut or DNAME of %s, so the name belongs to another zone and is not served here; "+
			"move the owner there, or delete its `name` line", v.Cut, zone)
	case o.odd().signed:
		add(ZoneSigned, "%s is already signed by its file or by *sign*, so records added here would be bogus and are not served; "+
			"serve the unsigned zone through *dnssec*", zone)
	case !v.Known:
		add(ZoneMissing, "the plugins after tlsa have no SOA for %s, so denials fail; add *file*, *auto* or *secondary* for the zone, "+
			"or wait until it has loaded", zone)
	}
	if r.Alias != "" && v.Cut == "" && service != "" && p.atlas.find(service+r.Alias) == nil {
		add(HostAlias, "%s is an alias of %s, where clients look for TLSA records first (RFC 7671 7): add a name line for %s%s, "+
			"or let that zone's server publish them", o.host, r.Alias, service, r.Alias)
	}
	if r.Hidden != "" && v.Cut == "" && !o.odd().signed {
		add(ZoneHidden, "the zone's %s is hidden by the TLSA owner; delete it from the zone, or delete the owner's `name` line", r.Hidden)
	}
	return ps
}

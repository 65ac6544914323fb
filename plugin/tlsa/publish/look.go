package publish

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/coredns-tlsa/coredns-tlsa/plugin/tlsa/rollover"
)

// look asks the zone about the owners, and remembers the SOAs that the answers belong to. mu is held.
func (p *Publisher) look(owners []*owner) {
	for _, z := range p.cfg.Zones {
		p.soas[z] = p.soa(z)
	}
	for _, o := range owners {
		p.lookAt(o)
	}
	p.askAgain(owners)
}

// lookAgain asks about the owners of the zones whose SOA has changed: *auto* and *secondary* load late. It gives the owners
// to decide again.
func (p *Publisher) lookAgain() map[*owner]struct{} {
	touched := map[*owner]struct{}{}
	for _, z := range p.cfg.Zones {
		soa := p.soa(z)
		if before, asked := p.soas[z]; asked && soa == before {
			continue
		}
		p.soas[z] = soa
		for _, o := range p.owners {
			if o.zone == z {
				p.lookAt(o)
				touched[o] = struct{}{}
			}
		}
	}
	p.askAgain(slices.Collect(maps.Keys(touched)))
	return touched
}

// askAgain forgets the SOAs of zones that did not answer for one of their owners, so that they are soon asked once more.
func (p *Publisher) askAgain(owners []*owner) {
	for _, o := range owners {
		if !o.view.Known {
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
	if there {
		p.lags[zone] = soa.Lag
	}
	return zoneSOA{soa, there}
}

func (p *Publisher) lookAt(o *owner) {
	soa := p.soas[o.zone]
	view := ZoneView{}
	if soa.there {
		view = p.zones.Look(o.Name)
	}
	if view.Known {
		o.view, o.signed = view, soa.Signed
	} else {
		o.view.Known = false // what was known of cuts and signatures stays until the zone says otherwise
	}
	o.policy = o.Policy
	if p.cfg.FollowSOA {
		lag, known := p.lags[o.zone]
		if !known {
			lag = never
		}
		o.policy.Propagation = lag
		if !p.cfg.HoldWritten {
			o.policy.Hold += lag
		}
	}
}

// never is the lag of secondaries while the SOA that tells it has not been seen: nothing becomes Ready, nothing is removed.
const never = 10 * 365 * 24 * time.Hour

// zoneProblems says what the zone's data means for the owner.
func (p *Publisher) zoneProblems(o *owner) []rollover.Problem {
	v, zone := o.view, o.zone
	service := strings.TrimSuffix(o.Name, o.Host)
	var ps []rollover.Problem
	add := func(r rollover.Reason, format string, args ...any) {
		ps = append(ps, rollover.Problem{Reason: r, Text: fmt.Sprintf(format, args...)})
	}
	switch {
	case v.Cut != "":
		add(BelowCut, "%s is a zone cut or DNAME of %s, so the name belongs to another zone and is not served here; "+
			"move the owner there, or delete its `name` line", v.Cut, zone)
	case o.signed:
		add(ZoneSigned, "%s is already signed by its file or by *sign*, so records added here would be bogus and are not served; "+
			"serve the unsigned zone through *dnssec*", zone)
	case !v.Known:
		add(ZoneMissing, "the plugins after tlsa have no SOA for %s, so denials fail; add *file*, *auto* or *secondary* for the zone, "+
			"or wait until it has loaded", zone)
	}
	if v.Alias != "" && v.Cut == "" && service != "" && !p.has(service+v.Alias) {
		add(HostAlias, "%s is an alias of %s, where clients look for TLSA records first (RFC 7671 7): add a name line for %s%s, "+
			"or let that zone's server publish them", o.Host, v.Alias, service, v.Alias)
	}
	if v.Hidden != "" && v.Cut == "" && !o.signed {
		add(ZoneHidden, "the zone's %s is hidden by the TLSA owner; delete it from the zone, or delete the owner's `name` line", v.Hidden)
	}
	return ps
}

// has tells whether the Corefile's block has the owner.
func (p *Publisher) has(name string) bool {
	_, found := slices.BinarySearchFunc(p.cfg.Owners, name, func(o Owner, name string) int { return strings.Compare(o.Name, name) })
	return found
}

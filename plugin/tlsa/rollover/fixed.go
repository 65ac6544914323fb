package rollover

import (
	"cmp"
	"fmt"
	"slices"

	"github.com/coredns-tlsa/coredns-tlsa/plugin/tlsa/dane"
)

// fix brings pins and the zone's own records up to date (rules 1 and 8).
func (d *decider) fix() {
	d.t.Fixed = slices.DeleteFunc(d.t.Fixed, func(f Fixed) bool {
		unpinned := !f.Zone && !slices.Contains(d.p.Pins, f.Association)
		d.withdrew = d.withdrew || unpinned
		return unpinned
	})
	for _, pin := range d.p.Pins {
		d.hold(pin, false)
	}
	if d.o.ZoneKnown {
		d.fixZone()
	}
	d.t.Fixed = slices.DeleteFunc(d.t.Fixed, func(f Fixed) bool {
		if f.RetiredAt.IsZero() {
			return false
		}
		return f.RetiredAt.Left(d.p.graceFor(f.RetiredTTL), d.now) <= 0
	})
	slices.SortFunc(d.t.Fixed, func(a, b Fixed) int {
		return cmp.Or(a.Compare(b.Association), compareBool(a.Zone, b.Zone))
	})
	if len(d.t.Fixed) == 0 {
		d.t.Fixed = nil
	}
}

// fixZone takes in the records that the next plugin has, and retires those that it has lost while others remain.
func (d *decider) fixZone() {
	for _, a := range d.o.Zone {
		d.hold(a, true)
		d.problem(ZoneRecord, fmt.Sprintf("the zone has a TLSA record of its own (%s), which is published with the others; "+
			"delete it from the zone once the watched certificates cover the owner", a))
	}
	for i := range d.t.Fixed {
		f := &d.t.Fixed[i]
		if !f.Zone || !f.RetiredAt.IsZero() || slices.Contains(d.o.Zone, f.Association) {
			continue
		}
		// Deleting it from the zone is the operator's word, but it must not be what empties the owner.
		f.RetiredAt, f.RetiredTTL = d.now, d.t.largestTTL()
		if !d.unnamed() && !d.remains(func(k *key) bool { return k.RetiredAt.IsZero() }) {
			f.RetiredAt, f.RetiredTTL = Stamp{}, 0
			d.problem(LastAssociation, fmt.Sprintf("%s was deleted from the zone, but the owner has no other record, so it stays; "+
				"install a certificate for the owner, or withdraw its name from the Corefile", f.Association))
		}
	}
}

// unnamed tells whether the Corefile no longer has the owner at all.
func (d *decider) unnamed() bool { return len(d.p.Combinations) == 0 && len(d.p.Pins) == 0 }

// hold makes sure that a is among the fixed associations and needed.
func (d *decider) hold(a dane.Association, zone bool) {
	for i := range d.t.Fixed {
		if f := &d.t.Fixed[i]; f.Association == a && f.Zone == zone {
			f.RetiredAt, f.RetiredTTL = Stamp{}, 0
			return
		}
	}
	d.t.Fixed = append(d.t.Fixed, Fixed{Association: a, Zone: zone})
}

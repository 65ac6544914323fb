package rollover

import (
	"slices"
	"time"

	"github.com/coredns-tlsa/coredns-tlsa/plugin/tlsa/dane"
)

// associate makes the RRset what the keys, the pins and the zone need (rule 1).
func (d *decider) associate() {
	if !d.t.WithdrawnAt.IsZero() {
		if d.t.Associations = nil; d.t.NoneSince.IsZero() {
			d.t.NoneSince = d.now
		}
		return
	}
	var needed []dane.Association
	for _, k := range d.keys {
		needed = append(needed, d.computed(k)...)
	}
	for _, f := range d.t.Fixed {
		needed = append(needed, f.Association)
	}
	slices.SortFunc(needed, dane.Association.Compare)
	needed = slices.Compact(needed)
	if len(needed) == 0 && len(d.t.Associations) > 0 && !d.withdrew {
		return // only the operator takes an owner's last association, whatever led here (I2)
	}
	none := d.t.NoneSince
	first := len(d.t.Associations) == 0 && !none.IsZero() && none.Left(d.p.holdFor(d.t.largestTTL()), d.now) <= 0
	d.t.Associations = slices.DeleteFunc(d.t.Associations, func(t Times) bool {
		_, is := slices.BinarySearchFunc(needed, t.Association, dane.Association.Compare)
		return !is
	})
	for _, a := range needed {
		if slices.ContainsFunc(d.t.Associations, func(t Times) bool { return t.Association == a }) {
			continue
		}
		d.t.Associations = append(d.t.Associations, Times{Association: a, First: first})
	}
	slices.SortFunc(d.t.Associations, func(a, b Times) int { return a.Compare(b.Association) })
	switch {
	case len(d.t.Associations) > 0:
		d.t.NoneSince = Stamp{}
	case none.IsZero() && (d.o.Known || d.withdrew):
		d.t.NoneSince = d.now
	}
	if len(d.t.Associations) == 0 {
		d.t.Associations = nil
	}
}

// ready marks what every cache has by now (rule 2), and ends the ungated time of the keys that have waited for it. What a
// combination that enters later has to wait for puts nobody at risk.
func (d *decider) ready() {
	for i := range d.t.Associations {
		a := &d.t.Associations[i]
		if a.ReadyAt.IsZero() && !a.PublishedAt.IsZero() && d.holdLeft(a) <= 0 {
			a.ReadyAt = d.now
		}
	}
	for _, k := range d.keys {
		k.Ungated = k.Ungated && !d.safe(k, d.t.Combinations)
	}
}

// holdLeft is how long the served association a must still wait to be Ready.
func (d *decider) holdLeft(a *Times) time.Duration {
	if a.First {
		return 0
	}
	return a.PublishedAt.Left(d.p.holdFor(a.PublishedTTL), d.now)
}

// gate finds the keys that became Active before all of their associations were Ready: the one unsafe event (design 1). What a
// combination that enters with them has to wait for puts nobody at risk; before are those that were in force.
func (d *decider) gate(before []dane.Combination) {
	stayed := slices.DeleteFunc(before, func(c dane.Combination) bool { return !slices.Contains(d.t.Combinations, c) })
	if len(stayed) == 0 {
		stayed = d.t.Combinations
	}
	for _, k := range d.keys {
		if k.fresh && !k.Initial {
			k.Ungated = !d.safe(k, stayed)
		}
	}
}

// safe tells whether k may be in use as far as cs go: all of its associations are known, and gated.
func (d *decider) safe(k *key, cs []dane.Combination) bool {
	return !slices.ContainsFunc(cs, func(c dane.Combination) bool {
		a, err := k.association(c)
		return err != nil || !d.gated(a)
	})
}

// gated tells whether it is safe that a is needed now: it is Ready, or it already was Active and nothing was wrong with that.
func (d *decider) gated(a dane.Association) bool {
	i := slices.IndexFunc(d.t.Associations, func(t Times) bool { return t.Association == a })
	if i >= 0 && (d.t.Associations[i].First || !d.t.Associations[i].ReadyAt.IsZero()) {
		return true
	}
	return slices.ContainsFunc(d.keys, func(k *key) bool {
		return k.was && !k.Ungated && k.has(a, d.t.Combinations)
	})
}

// A made association was computed before.
type made struct {
	dane.Association
	err error
}

// association computes one of k once: digests are what a decision costs most.
func (k *key) association(c dane.Combination) (dane.Association, error) {
	for i := range k.made {
		if k.made[i].Combination == c {
			return k.made[i].Association, k.made[i].err
		}
	}
	a, err := k.Material.Association(c)
	a.Combination = c
	k.made = append(k.made, made{a, err})
	return a, err
}

// has tells whether a is among those of k in cs.
func (k *key) has(a dane.Association, cs []dane.Combination) bool {
	if !slices.Contains(cs, a.Combination) {
		return false
	}
	own, err := k.association(a.Combination)
	return err == nil && own == a
}

// associations gives those of k that can be computed.
func associations(k *Key, cs []dane.Combination) []dane.Association {
	var as []dane.Association
	for _, c := range cs {
		if a, err := k.Material.Association(c); err == nil {
			as = append(as, a)
		}
	}
	return as
}

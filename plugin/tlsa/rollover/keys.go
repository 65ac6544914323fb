package rollover

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"github.com/coredns-tlsa/coredns-tlsa/plugin/tlsa/dane"
)

// maxKeys is how many keys an owner may have before newcomers are refused (rule 7).
const maxKeys = 12

// observe brings the keys up to date with what the directories hold (rule 1).
func (d *decider) observe() {
	if len(d.p.Combinations) == 0 {
		// Every `name` line of the owner is gone: what stood behind it is withdrawn (rule 8), pins and zone records stay.
		d.withdrew = d.withdrew || len(d.keys) > 0 || len(d.p.Pins) == 0
		d.keys = nil
		return
	}
	d.sets = nil
	var newcomers []Seen
	for _, s := range d.o.Seen {
		if k := d.find(s.Material); k != nil {
			d.meet(k, s)
		} else {
			newcomers = append(newcomers, s)
		}
	}
	// What is installed comes before what is staged, and what must be admitted before what may be refused.
	slices.SortStableFunc(newcomers, func(a, b Seen) int { return cmp.Compare(d.rank(a), d.rank(b)) })
	for _, s := range newcomers {
		k := &key{Key: Key{Material: s.Material, SeenAt: d.now}}
		if !d.admitted(k, s) {
			d.keep(s.Material)
			d.problem(TooManyKeys, fmt.Sprintf("%q of lineage %s is not published: the owner has %d keys already; "+
				"remove certificates that are not in use, or give the owner its lineages by `from`",
				s.Places[0].File, s.Lineage, maxKeys))
			continue
		}
		if d.keys = append(d.keys, k); d.sets != nil {
			d.sets[d.fingerprint(k)] = true
		}
		d.meet(k, s)
	}
}

// keep lets what the refused m has in common with known keys neither retire nor leave: a watched directory holds that.
func (d *decider) keep(m dane.Material) {
	for _, k := range d.keys {
		if k.Material.Leaf.SPKI == m.Leaf.SPKI {
			k.kept, k.RetiredAt, k.RetiredTTL = true, Stamp{}, 0
		}
	}
}

// find gives the timeline's key for m, nil if it has none. The one with the very same issuer is preferred, then one that is
// not retired.
func (d *decider) find(m dane.Material) *key {
	var near *key
	for _, k := range d.keys {
		switch {
		case !same(k.Material, m):
		case sameFingerprint(k.Material.Issuer, m.Issuer):
			return k
		case near == nil || !near.RetiredAt.IsZero() && k.RetiredAt.IsZero():
			near = k
		}
	}
	return near
}

// meet records that the key k stands where s says.
func (d *decider) meet(k *key, s Seen) {
	returned := !k.RetiredAt.IsZero()
	k.seen = true
	k.Places, k.Frozen = d.places(k, s.Places)
	if m := merge(k.Material, s.Material); m != k.Material {
		k.Material, k.made = m, nil
	}
	k.Lineage = s.Lineage
	k.RetiredAt, k.RetiredTTL = Stamp{}, 0
	switch {
	case !k.installed():
		k.ActiveAt = Stamp{}
	case returned || k.ActiveAt.IsZero():
		k.ActiveAt, k.fresh = d.now, true
		k.Initial = k.Initial || d.t.ObservedAt.IsZero()
	}
}

// places gives the places of k, which stands in those of now, and whether it stays frozen. An older place still counts unless
// there is evidence that it needs the key no more (rule 3): another leaf, or, where the key is installed elsewhere, its absence.
func (d *decider) places(k *key, now []Place) (places []Place, frozen bool) {
	if slices.Equal(k.Places, now) {
		return k.Places, false
	}
	installed := !allStaged(now)
	places = slices.Clone(now)
	for _, p := range k.Places {
		if p.Withdrawn || slices.ContainsFunc(now, func(q Place) bool { return q.File == p.File }) {
			continue
		}
		f := d.o.state(p)
		lost := !p.Staged && (f.Lost || k.Frozen)
		switch f.of(k.Material) {
		case replaced:
			continue
		case vanished:
			if p.Staged || installed && !lost {
				continue
			}
		}
		places, frozen = append(places, p), frozen || lost
	}
	return fewPlaces(canonicalPlaces(places)), frozen
}

// mostPlaces bounds what one key can add to the ledger: a certificate for many hosts may stand in thousands of directories.
const mostPlaces = 64

// fewPlaces leaves the first installed places and then staged ones. A place that is left out still counts while it holds the
// key, because then the key is seen.
func fewPlaces(places []Place) []Place {
	if len(places) <= mostPlaces {
		return places
	}
	slices.SortStableFunc(places, func(a, b Place) int {
		switch {
		case a.Staged == b.Staged:
			return 0
		case b.Staged:
			return -1
		}
		return 1
	})
	return canonicalPlaces(slices.Clip(places[:mostPlaces]))
}

// merge gives what is seen now, with what it does not tell and was known before.
func merge(known, seen dane.Material) dane.Material {
	if seen.Issuer.SPKI == "" {
		seen.Issuer = known.Issuer
	}
	seen.Leaf.DER = cmp.Or(seen.Leaf.DER, known.Leaf.DER)
	seen.Issuer.DER = cmp.Or(seen.Issuer.DER, known.Issuer.DER)
	return seen
}

// installed tells whether a certificate in a `certs` directory is, or may still be, this key's.
func (k *Key) installed() bool { return !allStaged(k.Places) }

func (k *Key) active() bool {
	return !k.ActiveAt.IsZero() && k.RetiredAt.IsZero() && k.installed()
}

func (o *Observation) state(p Place) FileState {
	if f, ok := o.Files[p.File]; ok {
		return f
	}
	return FileState{Doubt: true}
}

// rank orders newcomers: those that are never refused, other installed ones, staged ones.
func (d *decider) rank(s Seen) int {
	if allStaged(s.Places) {
		return 2
	}
	served := slices.ContainsFunc(d.keys, func(k *key) bool {
		return slices.ContainsFunc(k.Places, func(p Place) bool {
			return !p.Staged && slices.ContainsFunc(s.Places, func(q Place) bool { return !q.Staged && p.Lineage == q.Lineage })
		})
	})
	if s.Named || served || d.t.ObservedAt.IsZero() && len(d.t.Keys) == 0 {
		return 0
	}
	return 1
}

func allStaged(places []Place) bool {
	return !slices.ContainsFunc(places, func(p Place) bool { return !p.Staged })
}

// admitted applies the limit of rule 7. Keys with the same associations count once. An installed certificate that lacks none
// of the associations in force may have been called safe to install, as one over a Ready key is, and is never refused.
func (d *decider) admitted(k *key, s Seen) bool {
	if len(d.keys) < maxKeys || d.rank(s) == 0 || !allStaged(s.Places) && d.offered(s.Material) {
		return true
	}
	if d.sets == nil {
		d.sets = map[string]bool{}
		for _, known := range d.keys {
			d.sets[d.fingerprint(known)] = true
		}
	}
	return len(d.sets) < maxKeys || d.sets[d.fingerprint(k)]
}

// offered tells whether the owner has each of the associations of m in the combinations in force already.
func (d *decider) offered(m dane.Material) bool {
	has := map[dane.Association]bool{}
	for _, k := range d.keys {
		for _, c := range d.t.Combinations {
			if a, err := k.association(c); err == nil {
				has[a] = true
			}
		}
	}
	for _, f := range d.t.Fixed {
		has[f.Association] = true
	}
	return len(d.t.Combinations) > 0 && !slices.ContainsFunc(d.t.Combinations, func(c dane.Combination) bool {
		a, err := m.Association(c)
		return err != nil || !has[a]
	})
}

// all are the combinations in force and those to come.
func (d *decider) all() []dane.Combination {
	all := d.t.Combinations
	for _, c := range d.p.Combinations {
		if !slices.Contains(d.t.Combinations, c) {
			all = append(slices.Clip(all), c)
		}
	}
	return all
}

// fingerprint stands for all associations of k.
func (d *decider) fingerprint(k *key) string {
	var b strings.Builder
	for _, c := range d.all() {
		if a, err := k.association(c); err == nil {
			b.WriteString(a.Data)
		}
		b.WriteByte('|')
	}
	return b.String()
}

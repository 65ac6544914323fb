package rollover

import (
	"cmp"
	"fmt"
	"slices"
	"time"

	"github.com/coredns-tlsa/coredns-tlsa/plugin/tlsa/dane"
)

// retire applies rule 3 to the keys that no place is known to hold.
func (d *decider) retire() {
	leaving := map[*key]string{}
	for _, k := range d.keys {
		if k.seen || k.kept || !k.RetiredAt.IsZero() {
			continue
		}
		if why, ok := d.evidence(k); ok {
			leaving[k] = why
		}
	}
	last := !d.remains(func(k *key) bool { return k.RetiredAt.IsZero() && leaving[k] == "" })
	for _, k := range d.keys {
		switch why := leaving[k]; {
		case why == "":
		case last:
			d.problem(LastAssociation, fmt.Sprintf("%s, but no other key of the owner is known, so its record stays; "+
				"install a certificate for the owner, or withdraw its name from the Corefile", why))
		default:
			k.RetiredAt, k.RetiredTTL, d.why[k.Material.Leaf] = d.now, d.t.largestTTL(), why
		}
	}
}

// evidence says whether nothing needs the key any more, and why. Without evidence it raises a problem.
func (d *decider) evidence(k *key) (string, bool) {
	var another, gone, doubtful string
	moved := map[string]bool{} // lineages that hold another leaf
	for _, p := range k.Places {
		f := d.o.state(p)
		if p.Withdrawn {
			gone = fmt.Sprintf("%q is gone for good, says the operator", p.File)
			continue
		}
		k.Frozen = k.Frozen || f.Lost && !p.Staged
		switch f.of(k.Material) {
		case replaced:
			moved[p.Lineage] = true
			another = fmt.Sprintf("%q holds another leaf", p.File)
			if f.Unmapped {
				another = fmt.Sprintf("the Corefile no longer gives the lineage of %q to the owner", p.File)
			}
		case vanished:
			gone = fmt.Sprintf("%q is gone", p.File)
		default:
			doubtful = p.File
			if !p.Staged || f.Doubt {
				d.problem(SourceMissing, fmt.Sprintf("%q, where the key of %s was seen, is missing, or cannot be read or trusted; its record stays",
					p.File, k.name()))
			}
		}
	}
	absent := func(p Place) bool {
		return !p.Staged && !p.Withdrawn && !moved[p.Lineage] && d.o.state(p).of(k.Material) == vanished
	}
	switch {
	case doubtful != "" || len(k.Places) == 0:
		return "", false
	case !k.installed() && d.mayBeInstalled(k):
		return "", false
	case !slices.ContainsFunc(k.Places, absent):
		return cmp.Or(another, gone), true
	case k.Frozen:
		d.problem(RemovalsFrozen, fmt.Sprintf("%s together with half of its root or more, so its record stays; "+
			"bring the directory back, or withdraw the lineage %s", gone, k.name()))
		return "", false
	case !d.otherActive(k):
		d.problem(NoSuccessor, fmt.Sprintf("%s and no installed certificate of the owner has a key of the same algorithm, so its record stays; "+
			"install its successor, or withdraw the lineage %s", gone, k.name()))
		return "", false
	}
	return gone, true
}

// mayBeInstalled tells whether a key that is staged no more may stand in an installed file which nobody can read now, or
// which vanished together with its root: whoever installs a key takes it out of `next` (rule 4).
func (d *decider) mayBeInstalled(k *key) bool {
	if !slices.ContainsFunc(k.Places, func(p Place) bool { return !p.Withdrawn }) {
		return false
	}
	where := d.outOfSight()
	if where == "" {
		return false
	}
	d.problem(SourceMissing, fmt.Sprintf("the key of %s is staged no more, and %s, where it may be installed, is missing, "+
		"or cannot be read or trusted; its record stays", k.name(), where))
	return true
}

// outOfSight says where a certificate may be installed that nobody can read now, in a file or in one that vanished together with
// its root; empty if everything can be read.
func (d *decider) outOfSight() string {
	for _, k := range d.keys {
		for _, p := range k.Places {
			if _, told := d.o.Files[p.File]; !told { // it has just been found there
				continue
			}
			f := d.o.state(p)
			if !p.Staged && !p.Withdrawn && k.RetiredAt.IsZero() && (f.unread() || f.Gone > 0 && (f.Lost || k.Frozen)) {
				return fmt.Sprintf("%q", p.File)
			}
		}
	}
	if d.o.Hidden {
		return "a directory of installed certificates"
	}
	return ""
}

// otherActive tells whether another Active key of the owner has the algorithm of k.
func (d *decider) otherActive(k *key) bool {
	algorithm := dane.KeyAlgorithm(k.Material.Leaf.SPKI)
	return slices.ContainsFunc(d.keys, func(other *key) bool {
		return other.seen && other.active() && dane.KeyAlgorithm(other.Material.Leaf.SPKI) == algorithm
	})
}

// remains tells whether the owner keeps an association when only the keys that keep approves of are left.
func (d *decider) remains(keep func(*key) bool) bool {
	if slices.ContainsFunc(d.t.Fixed, func(f Fixed) bool { return f.RetiredAt.IsZero() }) {
		return true
	}
	return slices.ContainsFunc(d.keys, func(k *key) bool {
		return keep(k) && slices.ContainsFunc(d.t.Combinations, func(c dane.Combination) bool {
			_, err := k.association(c)
			return err == nil
		})
	})
}

// remove drops the keys whose grace has passed on both clocks.
func (d *decider) remove() {
	due := func(k *key) bool { return !k.RetiredAt.IsZero() && d.graceLeft(&k.Key) <= 0 }
	if d.remains(func(k *key) bool { return !due(k) }) {
		d.keys = slices.DeleteFunc(d.keys, due)
		return
	}
	for _, k := range d.keys {
		if due(k) {
			d.problem(LastAssociation, fmt.Sprintf("the key of %s is retired and its time is over, but the owner has no other record, so it stays; "+
				"install a certificate for the owner, or withdraw its name from the Corefile", k.name()))
		}
	}
}

// graceLeft is how long the retired key k must still be published. The rest of its certificate's life counts on both clocks
// too, so that a clock that jumps does not end it.
func (d *decider) graceLeft(k *Key) time.Duration {
	grace := d.p.graceFor(k.RetiredTTL)
	if d.p.UntilExpiry && !k.Material.NotAfter.IsZero() {
		grace = max(grace, k.Material.NotAfter.Sub(k.RetiredAt.Wall))
	}
	return k.RetiredAt.Left(grace, d.now)
}

func (k *Key) name() string {
	if k.Lineage == "" {
		return "an unnamed lineage"
	}
	return k.Lineage
}

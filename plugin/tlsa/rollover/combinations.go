package rollover

import (
	"errors"
	"fmt"
	"slices"

	"github.com/coredns-tlsa/coredns-tlsa/plugin/tlsa/dane"
)

// combine lets parameter combinations enter or leave for all keys at once (rule 6, RFC 7671 8.3 and 8.4).
func (d *decider) combine() {
	wanted := d.wanted()
	if len(d.t.Associations) == 0 {
		d.t.Combinations = wanted
		return
	}
	for _, c := range wanted {
		if slices.Contains(d.t.Combinations, c) {
			continue
		}
		if k := d.without(c); k != nil {
			d.problem(CombinationWaits, fmt.Sprintf("%s cannot be computed yet for the key of %s, so it is published for no key; "+
				"it enters once every key of the owner offers it", c, k.name()))
			continue
		}
		d.t.Combinations = append(d.t.Combinations, c)
	}
	slices.SortFunc(d.t.Combinations, dane.Combination.Compare)
	if d.mayLeave(wanted) {
		d.t.Combinations = slices.DeleteFunc(d.t.Combinations, func(c dane.Combination) bool { return !slices.Contains(wanted, c) })
	}
	if len(d.t.Combinations) == 0 {
		d.t.Combinations = nil
	}
}

// wanted is the policy's combinations and those of the zone's own records, which clients judge together (R11).
func (d *decider) wanted() []dane.Combination {
	wanted := slices.Clone(d.p.Combinations)
	if len(wanted) == 0 {
		return nil
	}
	for _, f := range d.t.Fixed {
		if f.Zone && !slices.Contains(wanted, f.Combination) {
			wanted = append(wanted, f.Combination)
		}
	}
	slices.SortFunc(wanted, dane.Combination.Compare)
	return wanted
}

// without gives a key for which c cannot be computed.
func (d *decider) without(c dane.Combination) *key {
	for _, k := range d.keys {
		if _, err := k.association(c); err != nil && !d.certified(k) {
			return k
		}
	}
	return nil
}

// certified tells whether k is a bare key whose certificate is there too: all that k lacks, that one has.
func (d *decider) certified(k *key) bool {
	return k.Material.Leaf.SHA256 == "" && slices.ContainsFunc(d.keys, func(other *key) bool {
		return other.Material.Leaf.SHA256 != "" && other.Material.Leaf.SPKI == k.Material.Leaf.SPKI && other.RetiredAt.IsZero()
	})
}

// mayLeave tells whether every key would keep an association, and only Ready ones, in the wanted combinations alone.
func (d *decider) mayLeave(wanted []dane.Combination) bool {
	if d.unseenNeeds(wanted) {
		return false
	}
	for _, k := range d.keys {
		some := false
		for _, c := range wanted {
			if !slices.Contains(d.t.Combinations, c) {
				continue
			}
			a, err := k.association(c)
			if err != nil {
				continue
			}
			if !slices.ContainsFunc(d.t.Associations, func(t Times) bool { return t.Association == a && !t.ReadyAt.IsZero() }) {
				return false
			}
			some = true
		}
		if !some && !d.certified(k) {
			return false
		}
	}
	return true
}

// unseenNeeds tells whether an installed certificate that nobody can read now may be matched by nothing in the wanted
// combinations alone: it may have been renewed with its key, or by its issuer, and have only the record of those.
func (d *decider) unseenNeeds(wanted []dane.Combination) bool {
	if len(d.keys) == 0 {
		return false
	}
	for _, c := range d.t.Combinations {
		covers := func(w dane.Combination) bool { // what c matches, w matches too
			return slices.Contains(d.t.Combinations, w) && w.Usage.OfIssuer() == c.Usage.OfIssuer() && (w.Selector == c.Selector || w.Selector == dane.SPKI)
		}
		if !shared(c) || slices.ContainsFunc(wanted, covers) {
			continue
		}
		if where := d.outOfSight(); where != "" {
			d.problem(CombinationWaits, fmt.Sprintf("%s stays, because %s is missing, or cannot be read or trusted, and a certificate renewed "+
				"there may have no other record; mend that, or delete it from the Corefile", c, where))
			return true
		}
	}
	return false
}

// shared tells whether a renewed certificate may have the association of the one before it in c.
func shared(c dane.Combination) bool { return c.Usage.OfIssuer() || c.Selector == dane.SPKI }

// computed gives the associations of k in the combinations in force, and raises a problem for what is missing.
func (d *decider) computed(k *key) []dane.Association {
	var as []dane.Association
	for _, c := range d.t.Combinations {
		a, err := k.association(c)
		switch {
		case err == nil:
			as = append(as, a)
		case !k.RetiredAt.IsZero(), d.certified(k):
		case errors.Is(err, dane.ErrNoIssuer) && k.Material.Leaf.SHA256 != "":
			d.problem(IssuerMissing, fmt.Sprintf("%s needs the certificate that issued the leaf of %s, and the chain file does not hold it; "+
				"install the full chain", c, k.name()))
		default:
			d.problem(CertificateMissing, fmt.Sprintf("%s of the key of %s can be computed only from its certificate, "+
				"so the key is not safe to install before it has one", c, k.name()))
		}
	}
	return as
}

package rollover

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/coredns-tlsa/coredns-tlsa/plugin/tlsa/dane"
)

// Why the operator's word is refused (rule 8).
var (
	// ErrNothing: the owner has nothing of the kind.
	ErrNothing = errors.New("nothing to do")
	// ErrHeld: a watched file, the Corefile or the zone holds it, so it would come back.
	ErrHeld = errors.New("is still held")
	// ErrLast: nothing would be left of the owner.
	ErrLast = errors.New("is all that the owner has")
)

// A Target is what an operator names to revoke it.
type Target struct {
	// Data is the certificate association data of an association, or, with Key, the SHA2-256 digest of the
	// SubjectPublicKeyInfo of a key, whatever the combinations.
	Data string
	Key  bool
}

// A Revocation is what the operator took out of an RRset at once (rule 8), kept while it can be undone.
type Revocation struct {
	Target
	At Stamp
	// TTL is the largest TTL, in seconds, that a cache could hold at At.
	TTL uint32
	// Keys and Fixed are what left, as they were.
	Keys  []Key
	Fixed []Fixed
}

// Until is how long after now r can be undone: grace, as for what retires.
func (r *Revocation) Until(p Policy, now Stamp) time.Duration {
	return max(r.At.Left(p.graceFor(r.TTL), now), 0)
}

func (x Target) keyIs(k *Key, cs []dane.Combination) bool {
	if x.Key {
		digest := sha256.Sum256([]byte(k.Material.Leaf.SPKI))
		return k.Material.Leaf.SPKI != "" && string(digest[:]) == x.Data
	}
	return slices.ContainsFunc(associations(k, cs), func(a dane.Association) bool { return a.Data == x.Data })
}

func (x Target) fixedIs(f Fixed) bool {
	if !x.Key {
		return f.Data == x.Data
	}
	c := dane.Combination{Usage: f.Usage, Selector: dane.SPKI, MatchingType: dane.SHA256}
	if f.Selector == dane.SPKI && f.MatchingType == dane.Full {
		a, err := dane.Material{Leaf: dane.Fingerprint{SPKI: f.Data}, Issuer: dane.Fingerprint{SPKI: f.Data}}.Association(c)
		return err == nil && a.Data == x.Data
	}
	return f.Combination == c && f.Data == x.Data
}

// Revoke takes the target out of t: every key behind it, with all of its associations, because a key is good or bad as a
// whole. It gives the timeline to decide from.
//
// Errors: ErrNothing, ErrHeld, ErrLast.
func (t Timeline) Revoke(o Observation, x Target, now Stamp) (Timeline, error) {
	t = t.Clone()
	r := Revocation{Target: x, At: now, TTL: t.largestTTL()}
	t.Keys = slices.DeleteFunc(t.Keys, func(k Key) bool {
		is := x.keyIs(&k, t.Combinations)
		if is {
			r.Keys = append(r.Keys, k)
		}
		return is
	})
	t.Fixed = slices.DeleteFunc(t.Fixed, func(f Fixed) bool {
		is := x.fixedIs(f)
		if is {
			r.Fixed = append(r.Fixed, f)
		}
		return is
	})
	if len(r.Keys)+len(r.Fixed) == 0 {
		return t, ErrNothing
	}
	if holder := r.holder(o); holder != "" {
		return t, fmt.Errorf("%w by %s", ErrHeld, holder)
	}
	if t.WithdrawnAt.IsZero() && !t.needsAny() {
		return t, ErrLast
	}
	t.Revoked = append(t.Revoked, r)
	return t, nil
}

// holder says what holds one of the revoked, empty if nothing does.
func (r *Revocation) holder(o Observation) string {
	for _, f := range r.Fixed {
		switch {
		case !f.RetiredAt.IsZero():
		case f.Zone:
			return "the zone's own records: delete it there first"
		default:
			return "a pin of the Corefile: delete the pin"
		}
	}
	for _, k := range r.Keys {
		for _, s := range o.Seen {
			if sameFingerprint(s.Material.Leaf, k.Material.Leaf) && len(s.Places) > 0 {
				return fmt.Sprintf("%q: replace or remove that file first", s.Places[0].File)
			}
		}
	}
	return ""
}

// needsAny tells whether anything stands behind an association.
func (t *Timeline) needsAny() bool {
	return len(t.Fixed) > 0 || slices.ContainsFunc(t.Keys, func(k Key) bool { return len(associations(&k, t.Combinations)) > 0 })
}

// Unrevoke brings back what was revoked under the same name. What was retired then is retired anew, so that it stays for
// its grace; what was in use is in use again, and ungated until every cache has it.
//
// Errors: ErrNothing.
func (t Timeline) Unrevoke(x Target, p Policy, now Stamp) (Timeline, error) {
	t = t.Clone()
	before := len(t.Revoked)
	t.Revoked = slices.DeleteFunc(t.Revoked, func(r Revocation) bool {
		if r.Target != x || r.Until(p, now) == 0 {
			return false
		}
		for _, k := range r.Keys {
			if t.Has(k.Material) {
				continue
			}
			if k.Ungated = k.active(); !k.RetiredAt.IsZero() {
				k.RetiredAt, k.RetiredTTL = now, max(k.RetiredTTL, t.largestTTL())
			}
			t.Keys = append(t.Keys, k)
		}
		for _, f := range r.Fixed {
			f.RetiredAt, f.RetiredTTL = now, max(f.RetiredTTL, t.largestTTL())
			t.Fixed = append(t.Fixed, f)
		}
		return true
	})
	if len(t.Revoked) == before {
		return t, fmt.Errorf("%w: it was not revoked, or the time to undo that is over", ErrNothing)
	}
	return t, nil
}

// Withdraw takes the owner's whole RRset away, although the Corefile has the owner. Keys are still followed, so that
// Unwithdraw brings back what is owed then.
//
// Errors: ErrNothing.
func (t Timeline) Withdraw(now Stamp) (Timeline, error) {
	if t = t.Clone(); !t.WithdrawnAt.IsZero() {
		return t, fmt.Errorf("%w: it was withdrawn already", ErrNothing)
	}
	t.WithdrawnAt = now
	return t, nil
}

// Unwithdraw undoes Withdraw at any time.
//
// Errors: ErrNothing.
func (t Timeline) Unwithdraw() (Timeline, error) {
	if t = t.Clone(); t.WithdrawnAt.IsZero() {
		return t, fmt.Errorf("%w: it is not withdrawn", ErrNothing)
	}
	t.WithdrawnAt = Stamp{}
	return t, nil
}

// WithdrawLineage takes the operator's word that what was seen in the lineage id is gone for good, so that no return is
// waited for (rule 4). What nothing else holds then retires, and leaves after its grace.
//
// Errors: ErrNothing, ErrHeld, ErrLast.
func (t Timeline) WithdrawLineage(o Observation, id string) (Timeline, error) {
	t, found := t.markLineage(id, true)
	if !found {
		return t, fmt.Errorf("%w: no key of the owner waits for it", ErrNothing)
	}
	left := slices.ContainsFunc(t.Fixed, func(f Fixed) bool { return f.RetiredAt.IsZero() })
	for _, k := range t.Keys {
		stays := false
		for _, p := range k.Places {
			if stays = stays || !p.Withdrawn; p.Withdrawn && o.state(p).of(k.Material) == holds {
				return t, fmt.Errorf("%w by %q: replace or remove that file", ErrHeld, p.File)
			}
		}
		left = left || stays && k.RetiredAt.IsZero() && len(associations(&k, t.Combinations)) > 0
	}
	if !left {
		return t, ErrLast
	}
	return t, nil
}

// UnwithdrawLineage undoes WithdrawLineage while its keys are still there.
//
// Errors: ErrNothing.
func (t Timeline) UnwithdrawLineage(id string) (Timeline, error) {
	t, found := t.markLineage(id, false)
	if !found {
		return t, fmt.Errorf("%w: it is not withdrawn, or its keys are gone", ErrNothing)
	}
	return t, nil
}

// markLineage sets or takes the operator's mark on the places of the lineage, and tells whether that changed any.
func (t Timeline) markLineage(id string, withdrawn bool) (Timeline, bool) {
	t = t.Clone()
	found := false
	for i := range t.Keys {
		k := &t.Keys[i]
		if withdrawn && !k.RetiredAt.IsZero() {
			continue
		}
		for j := range k.Places {
			if p := &k.Places[j]; p.Lineage == id && p.Withdrawn != withdrawn {
				p.Withdrawn, found = withdrawn, true
				k.RetiredAt, k.RetiredTTL = Stamp{}, 0
			}
		}
	}
	return t, found
}

// forget drops the revocations that can no longer be undone: their time is over, or a watched file, a pin or the zone has
// the key again, which then is published again (rule 1).
func (d *decider) forget() {
	d.t.Revoked = slices.DeleteFunc(d.t.Revoked, func(r Revocation) bool {
		return r.Until(d.p, d.now) == 0 ||
			slices.ContainsFunc(d.keys, func(k *key) bool { return r.keyIs(&k.Key, d.t.Combinations) }) ||
			slices.ContainsFunc(d.t.Fixed, r.fixedIs)
	})
	if len(d.t.Revoked) == 0 {
		d.t.Revoked = nil
	}
}

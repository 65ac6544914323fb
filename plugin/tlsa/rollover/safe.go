package rollover

import (
	"fmt"
	"slices"
	"time"

	"github.com/coredns-tlsa/coredns-tlsa/plugin/tlsa/dane"
)

// A Safety says whether one owner lets a certificate be installed (rule 2).
type Safety struct {
	Safe bool
	// Left is how long until it is, if nothing changes; 0 when time alone will not bring it.
	Left time.Duration
	// Why says what is missing; empty when nothing is.
	Why string
}

// Safe judges a certificate or bare key at the owner: all of its associations must be Ready, or in use already without
// anything wrong with that; and stay for as long as hold if nobody notices the installation. associate computes them, as dane.Material.Association does.
func (t *Timeline) Safe(associate func(dane.Combination) (dane.Association, error), p Policy, now Stamp) Safety {
	d := decider{t: *t, p: p, now: now}
	for _, k := range t.Keys {
		d.keys = append(d.keys, &key{Key: k, was: k.active()})
	}
	if !t.WithdrawnAt.IsZero() {
		// No record is published, so none is missing once the caches have forgotten those of before.
		left := p.holdFor(t.largestTTL())
		if !t.NoneSince.IsZero() {
			left = max(t.NoneSince.Left(left, now), 0)
		}
		if left == 0 {
			return Safety{Safe: true}
		}
		return Safety{Left: left, Why: "the operator has withdrawn the name, and caches may still hold its records"}
	}
	combinations := t.Combinations
	if len(combinations) == 0 { // pins and zone records alone
		for _, a := range t.Associations {
			combinations = append(combinations, a.Combination)
		}
	}
	if len(combinations) == 0 {
		return Safety{Why: "nothing is published yet"}
	}
	verdict := Safety{Safe: true}
	for _, c := range combinations {
		a, err := associate(c)
		if err != nil {
			return Safety{Why: fmt.Sprintf("%s cannot be computed: %v", c, err)}
		}
		if s := d.safety(a); !s.Safe && (verdict.Safe || verdict.Left > 0 && (s.Left == 0 || s.Left > verdict.Left)) {
			verdict = s
		}
	}
	return verdict
}

// safety judges one association.
func (d *decider) safety(a dane.Association) Safety {
	i := slices.IndexFunc(d.t.Associations, func(t Times) bool { return t.Association == a })
	switch {
	case i < 0:
		return Safety{Why: fmt.Sprintf("%s is not published", a)}
	case d.t.Associations[i].PublishedAt.IsZero():
		return Safety{Why: fmt.Sprintf("%s is not served yet", a)}
	case d.gated(a):
		if left, leaves := d.leaving(a); leaves && left < d.p.holdFor(d.t.largestTTL()) {
			return Safety{Why: fmt.Sprintf("%s is Retired and leaves DNS in %s, before it could be noticed that it is in use again: "+
				"put the certificate or its public key into a `next` directory first", a, max(left, 0).Round(time.Second))}
		}
		return Safety{Safe: true}
	}
	left := max(d.holdLeft(&d.t.Associations[i]), 0)
	return Safety{Left: left, Why: fmt.Sprintf("%s is published, but a cache may still hold an answer without it", a)}
}

// leaving is how long the published association a still stays if nothing wants it again; false while something does.
func (d *decider) leaving(a dane.Association) (left time.Duration, leaves bool) {
	for _, f := range d.t.Fixed {
		if f.Association == a {
			if f.RetiredAt.IsZero() {
				return 0, false
			}
			left, leaves = max(left, f.RetiredAt.Left(d.p.graceFor(f.RetiredTTL), d.now)), true
		}
	}
	for _, k := range d.keys {
		if k.has(a, d.t.Combinations) {
			if k.RetiredAt.IsZero() {
				return 0, false
			}
			left, leaves = max(left, d.graceLeft(&k.Key)), true
		}
	}
	return left, leaves
}

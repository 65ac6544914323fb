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
// anything wrong with that; and stay for as long as hold if nobody notices the installation. In use is enough only for the very
// certificate that is in use, or beside one that is Ready: after a lost ledger caches may hold records of another combination,
// which match that certificate alone. associate computes them, as dane.Material.Association does.
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
	var all []dane.Association
	for _, c := range combinations {
		a, err := associate(c)
		if err != nil {
			return Safety{Why: fmt.Sprintf("%s cannot be computed: %v", c, err)}
		}
		if s := d.safety(a); !s.Safe && (verdict.Safe || verdict.Left > 0 && (s.Left == 0 || s.Left > verdict.Left)) {
			verdict = s
		}
		all = append(all, a)
	}
	if verdict.Safe && !d.installed(associate) {
		return d.known(all)
	}
	return verdict
}

// installed tells whether the very certificate is in use, nothing is wrong with that, and it was in use before its records were
// first served: one that came later had to wait for them to be Ready.
func (d *decider) installed(associate func(dane.Combination) (dane.Association, error)) bool {
	whole := []dane.Combination{{Usage: dane.DANEEE, Selector: dane.Cert, MatchingType: dane.SHA256}}
	a, err := associate(whole[0])
	return err == nil && slices.ContainsFunc(d.keys, func(k *key) bool {
		cameLater := func(t Times) bool {
			return k.has(t.Association, d.t.Combinations) && !t.PublishedAt.IsZero() && t.PublishedAt.Service < k.ActiveAt.Service
		}
		return k.was && !k.Ungated && k.has(a, whole) && !slices.ContainsFunc(d.t.Associations, cameLater)
	})
}

// known judges published associations by the first of them to be Ready: then every cache has one of them.
func (d *decider) known(all []dane.Association) Safety {
	var first *Times
	for i := range d.t.Associations {
		a := &d.t.Associations[i]
		switch {
		case !slices.Contains(all, a.Association):
		case a.First || !a.ReadyAt.IsZero():
			return Safety{Safe: true}
		case first == nil || d.holdLeft(a) < d.holdLeft(first):
			first = a
		}
	}
	return d.waits(first)
}

// waits is the verdict on an association that is served and not Ready.
func (d *decider) waits(a *Times) Safety {
	return Safety{Left: max(d.holdLeft(a), 0), Why: fmt.Sprintf("%s is published, but a cache may still hold an answer without it", a.Association)}
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
	return d.waits(&d.t.Associations[i])
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

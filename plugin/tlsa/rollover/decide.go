package rollover

import (
	"cmp"
	"slices"
	"time"

	"github.com/coredns-tlsa/coredns-tlsa/plugin/tlsa/dane"
)

// An Answer is the kind of answer that the owner's TLSA query gets.
type Answer uint8

// The answers of design 5.
const (
	Unknown Answer = iota // nothing can be known: SERVFAIL, never a false denial
	None                  // read in full, and there is no certificate: NODATA
	Records               // the RRset
)

// A Decision is what follows for one owner.
type Decision struct {
	// Timeline is the owner's next one; it shares nothing that may change with the one given.
	Timeline Timeline
	// Changed: Timeline differs and must be recorded before anything of the decision is shown.
	Changed bool
	Answer  Answer
	// RRset is in canonical order without duplicates; empty unless Answer is Records.
	RRset    []dane.Association
	Problems []Problem
	// Statuses are those of the timeline (see Timeline.Statuses).
	Statuses    []Status
	Transitions []Transition
	// Next is how long after now the next change is due by itself; 0: none is.
	Next time.Duration
}

type decider struct {
	t   Timeline
	o   Observation
	p   Policy
	now Stamp

	keys     []*key                      // t.Keys while they are worked on
	sets     map[string]bool             // the fingerprints of keys, once the limit is reached
	withdrew bool                        // the operator took something out of the Corefile
	why      map[dane.Fingerprint]string // the evidence on which keys were retired
	problems []Problem
	changed  bool
}

// A key is a timeline's key with what this decision has found out about it.
type key struct {
	Key
	was   bool // it was Active before
	seen  bool // some place holds it now
	kept  bool // a place holds a certificate over it that the limit refuses
	fresh bool // it has just become Active
	made  []made
}

// mostPasses bounds how often the rules are applied at one instant; two or three times are usual after a change.
const mostPasses = 8

// Decide applies the rules of design 4 to one owner. It is total: any timeline and observation give a decision.
func Decide(t Timeline, o Observation, p Policy, now Stamp) Decision {
	d := decider{t: t.Clone(), o: o.canonical(), p: p, now: now, why: map[dane.Fingerprint]string{}}
	d.clamp()
	d.countTTL()
	// What one rule has changed may let another act. All that is due now happens now, so that deciding once more changes nothing.
	for before, pass := t, 0; pass < mostPasses; pass++ {
		d.apply()
		if before.Equal(&d.t) {
			break
		}
		before, d.changed = d.t.Clone(), true
	}
	if d.t.ObservedAt.IsZero() && (d.o.Known || len(d.t.Associations) > 0) {
		d.t.ObservedAt, d.changed = d.now, true
	}
	return d.decision(t)
}

// take makes the keys ready to be worked on: those of the timeline, or those of the pass before, which are the same.
func (d *decider) take() {
	d.problems = nil
	if len(d.keys) != len(d.t.Keys) {
		d.work()
	}
	for _, k := range d.keys {
		k.was, k.seen, k.kept, k.fresh = k.active(), false, false, false
	}
}

func (d *decider) work() {
	keys := make([]key, len(d.t.Keys))
	d.keys = make([]*key, len(keys))
	for i, k := range d.t.Keys {
		keys[i].Key, d.keys[i] = k, &keys[i]
	}
}

// apply lets each rule act once.
func (d *decider) apply() {
	d.take()
	d.observe()
	d.fix()
	d.forget()
	d.retire()
	d.remove()
	d.ready()
	before := slices.Clone(d.t.Combinations)
	d.combine()
	d.associate()
	d.gate(before)
	d.settle()
}

// settle writes the keys back, with whole certificates only where `x 0 0` needs them (rule 6).
func (d *decider) settle() {
	full := func(c dane.Combination) bool { return c.Selector == dane.Cert && c.MatchingType == dane.Full }
	whole := slices.ContainsFunc(d.t.Combinations, full) || slices.ContainsFunc(d.p.Combinations, full)
	if d.t.Keys = d.t.Keys[:0]; len(d.keys) == 0 {
		d.t.Keys = nil
	}
	for _, k := range d.keys {
		if !whole && k.Material.Leaf.DER+k.Material.Issuer.DER != "" {
			k.made = nil
			k.Material.Leaf.DER, k.Material.Issuer.DER = "", ""
		}
		d.t.Keys = append(d.t.Keys, k.Key)
	}
}

func (d *decider) decision(before Timeline) Decision {
	answer := Unknown
	if len(d.t.Associations) > 0 {
		answer = Records
	} else if d.o.Known || !d.t.NoneSince.IsZero() {
		answer = None
	}
	if !d.t.WithdrawnAt.IsZero() {
		d.problem(Withdrawn, "the operator has withdrawn it, so its TLSA query is answered with NODATA; "+
			"restore it, or delete it from the Corefile")
	} else if answer == None && len(d.p.Combinations) > 0 {
		d.problem(NoCertificate, "no certificate for it in the watched directories; its TLSA query is answered with NODATA")
	}
	slices.SortFunc(d.problems, func(a, b Problem) int { return cmp.Or(cmp.Compare(a.Reason, b.Reason), cmp.Compare(a.Text, b.Text)) })
	decision := Decision{
		Timeline: d.t,
		Changed:  d.changed,
		Answer:   answer,
		RRset:    d.t.RRset(),
		Problems: slices.Compact(d.problems),
		Statuses: d.statuses(),
		Next:     d.next(),
	}
	if d.changed {
		decision.Transitions = d.transitions(before, decision.Statuses)
	}
	return decision
}

// RRset gives the published associations in canonical order.
func (t *Timeline) RRset() []dane.Association {
	rrset := make([]dane.Association, len(t.Associations))
	for i, a := range t.Associations {
		rrset[i] = a.Association
	}
	return rrset
}

// Served records that the RRset of t is being served from now on: Tpub of what had none (rule 2). It tells whether anything
// changed; then the caller decides again, because only now the wait for Ready can be told.
func Served(t Timeline, now Stamp) (Timeline, bool) {
	changed := false
	t.Associations = slices.Clone(t.Associations)
	for i := range t.Associations {
		a := &t.Associations[i]
		if !a.PublishedAt.IsZero() {
			continue
		}
		a.PublishedAt, a.PublishedTTL, changed = now, t.largestTTL(), true
	}
	return t, changed
}

// Clone gives a timeline that shares no slice with t.
func (t Timeline) Clone() Timeline {
	t.OldTTLs = slices.Clone(t.OldTTLs)
	t.Combinations = slices.Clone(t.Combinations)
	t.Keys = slices.Clone(t.Keys)
	for i := range t.Keys {
		t.Keys[i].Places = slices.Clone(t.Keys[i].Places)
	}
	t.Fixed = slices.Clone(t.Fixed)
	t.Associations = slices.Clone(t.Associations)
	t.Revoked = slices.Clone(t.Revoked)
	for i := range t.Revoked {
		r := &t.Revoked[i]
		r.Keys, r.Fixed = slices.Clone(r.Keys), slices.Clone(r.Fixed)
		for j := range r.Keys {
			r.Keys[j].Places = slices.Clone(r.Keys[j].Places)
		}
	}
	return t
}

// clamp brings every event back that lies in the future (rule 4).
func (d *decider) clamp() {
	back := func(s *Stamp) { *s = s.clamp(d.now) }
	back(&d.t.ObservedAt)
	back(&d.t.NoneSince)
	back(&d.t.WithdrawnAt)
	for i := range d.t.Revoked {
		back(&d.t.Revoked[i].At)
	}
	for i := range d.t.OldTTLs {
		back(&d.t.OldTTLs[i].Until)
	}
	for i := range d.t.Keys {
		k := &d.t.Keys[i]
		back(&k.SeenAt)
		back(&k.ActiveAt)
		back(&k.RetiredAt)
	}
	for i := range d.t.Fixed {
		back(&d.t.Fixed[i].RetiredAt)
	}
	for i := range d.t.Associations {
		back(&d.t.Associations[i].PublishedAt)
		back(&d.t.Associations[i].ReadyAt)
	}
}

// countTTL keeps the larger TTLs of the past for as long as a cache may count by them (rule 2).
func (d *decider) countTTL() {
	if old := d.t.TTL; old > d.p.TTL {
		d.t.OldTTLs = append(d.t.OldTTLs, TTLUse{TTL: old, Until: d.now})
	}
	d.t.TTL = d.p.TTL
	d.t.OldTTLs = slices.DeleteFunc(d.t.OldTTLs, func(u TTLUse) bool {
		return u.TTL <= d.t.TTL || u.left(d.p, d.now) <= 0
	})
	if len(d.t.OldTTLs) == 0 {
		d.t.OldTTLs = nil
	}
}

// left is how long a cache may still count by u: it may have asked a server that lags behind.
func (u TTLUse) left(p Policy, now Stamp) time.Duration {
	return u.Until.Left(p.Propagation+time.Duration(u.TTL)*time.Second, now)
}

// largestTTL is the largest TTL, in seconds, by which a cache may count today.
func (t *Timeline) largestTTL() uint32 {
	largest := t.TTL
	for _, u := range t.OldTTLs {
		largest = max(largest, u.TTL)
	}
	return largest
}

// next is how long after now the next change is due by itself (see Decision).
func (d *decider) next() time.Duration {
	var next time.Duration
	due := func(after time.Duration) {
		if after > 0 && (next == 0 || after < next) {
			next = after
		}
	}
	for i := range d.t.Associations {
		if a := &d.t.Associations[i]; a.ReadyAt.IsZero() && !a.PublishedAt.IsZero() {
			due(d.holdLeft(a))
		}
	}
	for i := range d.t.Keys {
		if k := &d.t.Keys[i]; !k.RetiredAt.IsZero() {
			due(d.graceLeft(k))
		}
	}
	for _, f := range d.t.Fixed {
		if !f.RetiredAt.IsZero() {
			due(f.RetiredAt.Left(d.p.graceFor(f.RetiredTTL), d.now))
		}
	}
	for _, u := range d.t.OldTTLs {
		due(u.left(d.p, d.now))
	}
	for _, r := range d.t.Revoked {
		due(r.Until(d.p, d.now))
	}
	return next
}

func (d *decider) problem(r Reason, text string) {
	d.problems = append(d.problems, Problem{Reason: r, Text: text})
}

package rollover

import (
	"slices"
	"time"

	"github.com/coredns-tlsa/coredns-tlsa/plugin/tlsa/dane"
)

// A State is where an association is in its life (design 1, RFC 7583 3).
type State int

// The states, in the order of a life.
const (
	Published State = iota // in the RRset; a cache may still hold an RRset without it
	Ready                  // every cache has it, or holds nothing: safe to install
	Active                 // an installed certificate, a pin or the zone needs it
	Retired                // nothing needs it any more
	Removed                // no longer in the RRset
)

// String gives the state's word.
func (s State) String() string {
	return [...]string{"published", "ready", "active", "retired", "removed"}[s]
}

// A Status is an association with its state and what a person asks about it.
type Status struct {
	dane.Association
	State State
	// Since is when the state began.
	Since Stamp
	// Lineage is the name of the lineage that needs it, or needed it last; empty for a pin or a zone record.
	Lineage string
	// Gated tells whether it is Ready, whatever its state.
	Gated bool
	// Ungated: it is Active, its key was installed before it was Ready, and it is not Ready yet.
	Ungated bool
	// Left is how long until it is Ready (Published, Ungated) or Removed (Retired); 0: nothing is due.
	Left time.Duration
	// Reason says what stands behind it: a place, or what ended it.
	Reason string
}

// Statuses gives the status of every published association, in the RRset's order.
func (t *Timeline) Statuses(p Policy, now Stamp) []Status {
	d := decider{t: *t, p: p, now: now}
	d.work()
	return d.statuses()
}

// NotAfter is when the first of the installed certificates expires; zero if none is installed.
func (t *Timeline) NotAfter() time.Time {
	var first time.Time
	for _, k := range t.Keys {
		if at := k.Material.NotAfter; k.active() && !at.IsZero() && (first.IsZero() || at.Before(first)) {
			first = at
		}
	}
	return first
}

func (d *decider) statuses() []Status {
	if len(d.t.Associations) == 0 {
		return nil
	}
	statuses := make([]Status, len(d.t.Associations))
	for i, times := range d.t.Associations {
		statuses[i] = d.status(times)
	}
	return statuses
}

func (d *decider) status(times Times) Status {
	s := Status{Association: times.Association, State: Retired, Gated: !times.ReadyAt.IsZero(), Reason: "no longer needed"}
	for _, k := range d.keys {
		if k.has(s.Association, d.t.Combinations) {
			d.weigh(&s, k, times)
		}
	}
	for _, f := range d.t.Fixed {
		if f.Association == s.Association {
			d.weighFixed(&s, f, times)
		}
	}
	if s.State == Published || s.Ungated {
		s.Left = d.p.holdFor(d.t.largestTTL())
		if !times.PublishedAt.IsZero() {
			s.Left = max(times.PublishedAt.Left(d.p.holdFor(times.PublishedTTL), d.now), 0)
		}
	}
	return s
}

// weigh lets the key k raise the status of one of its associations.
func (d *decider) weigh(s *Status, k *key, times Times) {
	switch {
	case k.active():
		s.Ungated = (s.Ungated || s.State != Active) && k.Ungated && !s.Gated && !times.First
		s.State, s.Since, s.Lineage, s.Reason, s.Left = Active, k.ActiveAt, k.Lineage, "installed in "+firstFile(&k.Key), 0
	case s.State == Active:
	case k.RetiredAt.IsZero():
		s.State, s.Since, s.Lineage, s.Reason, s.Left = Published, times.PublishedAt, k.Lineage, "staged in "+firstFile(&k.Key), 0
		if s.Gated {
			s.State, s.Since = Ready, times.ReadyAt
		}
	case s.State == Retired:
		s.Lineage = k.Lineage
		s.Left = max(s.Left, d.graceLeft(&k.Key), 0)
		if s.Since.IsZero() || k.RetiredAt.Wall.After(s.Since.Wall) {
			s.Since = k.RetiredAt
		}
		if why := d.why[k.Material.Leaf]; why != "" {
			s.Reason = why
		}
	}
}

// weighFixed lets f raise the status of its association.
func (d *decider) weighFixed(s *Status, f Fixed, times Times) {
	switch {
	case s.State == Active:
	case f.RetiredAt.IsZero():
		s.State, s.Since, s.Lineage, s.Reason, s.Left = Active, times.PublishedAt, "", "pinned in the Corefile", 0
		if f.Zone {
			s.Reason = "record of the zone"
		}
	case s.State == Retired:
		s.Left = max(s.Left, f.RetiredAt.Left(d.p.graceFor(f.RetiredTTL), d.now), 0)
		if s.Since.IsZero() || f.RetiredAt.Wall.After(s.Since.Wall) {
			s.Since, s.Lineage, s.Reason = f.RetiredAt, "", "deleted from the zone"
		}
	}
}

func firstFile(k *Key) string {
	i := slices.IndexFunc(k.Places, func(p Place) bool { return !p.Staged })
	if len(k.Places) == 0 {
		return "an unknown place"
	}
	return k.Places[max(i, 0)].File
}

// removal says why a published association has left the RRset.
func (d *decider) removal(was Status) string {
	switch {
	case !d.t.WithdrawnAt.IsZero():
		return "withdrawn by the operator"
	case was.State == Retired:
		return was.Reason + ", and its time is over"
	case d.withdrew:
		return "withdrawn from the Corefile"
	case !slices.Contains(d.t.Combinations, was.Combination):
		return "the Corefile no longer asks for " + was.Combination.String()
	}
	return was.Reason
}

// A Transition is one change of state, for the log.
type Transition struct {
	// Status is the new status; with Removed only the association, the lineage and the reason are set.
	Status
	// From is the old state; Removed if the association was not in the RRset.
	From State
}

// statusOf gives the status of a among those of an RRset.
func statusOf(a dane.Association, all []Status) (Status, bool) {
	i := slices.IndexFunc(all, func(s Status) bool { return s.Association == a })
	if i < 0 {
		return Status{}, false
	}
	return all[i], true
}

// transitions compares the RRset before and after.
func (d *decider) transitions(before Timeline, after []Status) []Transition {
	old := before.Statuses(d.p, d.now)
	var ts []Transition
	for _, s := range after {
		was, known := statusOf(s.Association, old)
		switch {
		case !known:
			ts = append(ts, Transition{Status: s, From: Removed})
		case was.State != s.State || was.Ungated != s.Ungated || !was.Gated && s.Gated && s.State != Retired:
			ts = append(ts, Transition{Status: s, From: was.State})
		}
	}
	for _, s := range old {
		if _, stays := statusOf(s.Association, after); !stays {
			removed := Status{Association: s.Association, State: Removed, Lineage: s.Lineage, Reason: d.removal(s)}
			ts = append(ts, Transition{Status: removed, From: s.State})
		}
	}
	return ts
}

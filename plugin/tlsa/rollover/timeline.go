package rollover

import (
	"slices"
	"time"

	"github.com/coredns-tlsa/coredns-tlsa/plugin/tlsa/dane"
)

// A Stamp is one instant on the two clocks that a rollover needs (design rule 4.4): the wall clock, and the time of service,
// which counts only while the server runs. A clock that jumps moves one of them; a change waits for both.
type Stamp struct {
	Wall    time.Time     // UTC, without a monotonic reading
	Service time.Duration // summed over restarts
}

// IsZero tells whether the event has not happened.
func (s Stamp) IsZero() bool { return s.Wall.IsZero() }

// Left is how long after now both clocks will have counted d since s; zero or less once they have.
func (s Stamp) Left(d time.Duration, now Stamp) time.Duration {
	return max(s.Wall.Add(d).Sub(now.Wall), d-(now.Service-s.Service))
}

// clamp brings an event that lies in the future back to now: a clock was set back, or the last heartbeat was lost.
func (s Stamp) clamp(now Stamp) Stamp {
	if s.IsZero() {
		return s
	}
	if s.Wall.After(now.Wall) {
		s.Wall = now.Wall
	}
	s.Service = min(s.Service, now.Service)
	return s
}

// A Place is where a key was seen. Root is the configured path, Lineage its lineage's identity, File the file's path as the
// operator sees it (links unresolved). Staged tells a `next` root from a `certs` root.
type Place struct {
	Root    string
	Lineage string
	File    string
	Staged  bool
	// Withdrawn: the operator says that it is gone for good (rule 4).
	Withdrawn bool
}

// A Key is one certificate or bare key of an owner with the events of its life. Two certificates over one public key are
// two Keys that share their selector-1 associations.
type Key struct {
	Material dane.Material
	// Lineage is the name of the lineage, for people.
	Lineage string
	Places  []Place
	// SeenAt is when a watched directory first held it, ActiveAt when a `certs` directory first did, RetiredAt when
	// nothing needed it any more (Tret). Zero: it has not happened, or no longer holds.
	SeenAt, ActiveAt, RetiredAt Stamp
	// RetiredTTL is the largest TTL, in seconds, that a cache could hold at RetiredAt.
	RetiredTTL uint32
	// Initial: it was installed at the owner's first observation, so nothing can be said about its gate.
	Initial bool
	// Ungated: it became Active while one of its associations was not Ready, and they are not all Ready yet.
	Ungated bool
	// Frozen: its lineage vanished together with half of its root or more; only its return thaws it.
	Frozen bool
}

// A Fixed association is one that no watched file stands behind: a pin, or a TLSA record of the zone itself.
type Fixed struct {
	dane.Association
	// Zone: it stands in the next plugin's data, not in the Corefile.
	Zone bool
	// RetiredAt is when the zone stopped having it.
	RetiredAt  Stamp
	RetiredTTL uint32
}

// Times are the events of one association in the RRset.
type Times struct {
	dane.Association
	// PublishedAt is Tpub, the first time it was really served; ReadyAt is Trdy. Zero: not yet.
	PublishedAt, ReadyAt Stamp
	// PublishedTTL is the largest TTL, in seconds, of an RRset without it that a cache could hold at PublishedAt.
	PublishedTTL uint32
	// First: the owner was known to have had none for `hold`, so no cache holds an RRset without it.
	First bool
}

// A TTLUse is a TTL, in seconds, that the owner was served with until a moment.
type TTLUse struct {
	TTL   uint32
	Until Stamp
}

// A Timeline is all that is remembered of one owner: events, never states. The zero Timeline is that of an owner never
// seen. Associations is the RRset: what stands there is published.
type Timeline struct {
	// ObservedAt is when something was first found for the owner, or all its directories were first read in full.
	ObservedAt Stamp
	// NoneSince is since when the owner has been known to have no association; zero when it has one or nothing is known.
	NoneSince Stamp
	// TTL is the one served now, in seconds, OldTTLs the larger ones that caches may still count by.
	TTL          uint32
	OldTTLs      []TTLUse
	Combinations []dane.Combination
	Keys         []Key
	Fixed        []Fixed
	Associations []Times
	// WithdrawnAt is since when the operator has the owner answered without records; zero: he has not.
	WithdrawnAt Stamp
	Revoked     []Revocation
}

// Has tells whether one of the keys is that of m: the same certificate or bare key, under the same issuer as far as known.
func (t *Timeline) Has(m dane.Material) bool {
	return slices.ContainsFunc(t.Keys, func(k Key) bool { return same(k.Material, m) })
}

// LargestTTL is how long a cache may keep what is served today.
func (t *Timeline) LargestTTL() time.Duration { return time.Duration(t.largestTTL()) * time.Second }

// Doubted gives t as an older copy of the ledger has it. What came after that copy is unknown: a record may have left and an
// old key may have been in use again. So nothing is Ready before hold has passed anew, what is retired stays for all of its
// grace, and larger TTLs count as if served until now (rules 2 and 4).
func (t Timeline) Doubted(now Stamp) Timeline {
	t = t.Clone()
	t.NoneSince = Stamp{}
	for i := range t.OldTTLs {
		t.OldTTLs[i].Until = now
	}
	for i := range t.Keys {
		if k := &t.Keys[i]; !k.RetiredAt.IsZero() {
			k.RetiredAt, k.RetiredTTL = now, max(k.RetiredTTL, t.largestTTL())
		}
	}
	for i := range t.Fixed {
		if f := &t.Fixed[i]; !f.RetiredAt.IsZero() {
			f.RetiredAt, f.RetiredTTL = now, max(f.RetiredTTL, t.largestTTL())
		}
	}
	for i := range t.Associations {
		t.Associations[i] = Times{Association: t.Associations[i].Association}
	}
	return t
}

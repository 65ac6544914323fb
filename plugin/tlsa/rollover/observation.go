package rollover

import (
	"cmp"
	"slices"

	"github.com/coredns-tlsa/coredns-tlsa/plugin/tlsa/dane"
)

// An Observation is what the directories and the zone hold for one owner now.
type Observation struct {
	// Known: every root has been read in full since the start, so that a missing certificate is known to be missing.
	Known bool
	// Hidden: a root of installed certificates could not be read in full just now, so that one may stand there unseen.
	Hidden bool
	// Seen are the keys that map to the owner, without duplicates.
	Seen []Seen
	// Files says what became of the files that the timeline's keys were seen in. A file that is not here is in doubt.
	Files map[string]FileState
	// ZoneKnown: the next plugin could be asked for TLSA records of its own; Zone are those it has.
	ZoneKnown bool
	Zone      []dane.Association
}

// A Seen key stands in at least one place.
type Seen struct {
	Material dane.Material
	// Lineage is its name, for people.
	Lineage string
	Places  []Place
	// Named: the Corefile gives the lineage to the owner by `from`.
	Named bool
}

// canonical gives the observation without regard to the order in which it was made, and with one Seen for a leaf that some
// files hold with its issuer and others without.
func (o Observation) canonical() Observation {
	sorted := make([]Seen, 0, len(o.Seen))
	for _, s := range o.Seen {
		if s.Places = canonicalPlaces(s.Places); len(s.Places) > 0 {
			sorted = append(sorted, s)
		}
	}
	slices.SortFunc(sorted, Seen.compare)
	seen := sorted[:0]
	for _, s := range sorted {
		i := slices.IndexFunc(seen, func(t Seen) bool { return same(t.Material, s.Material) })
		if i < 0 {
			seen = append(seen, s)
			continue
		}
		t := &seen[i]
		t.Material, t.Named = merge(s.Material, t.Material), t.Named || s.Named
		t.Places = canonicalPlaces(slices.Concat(t.Places, s.Places))
	}
	o.Seen, o.Zone = seen, dane.Canonical(o.Zone)
	return o
}

// canonicalPlaces gives each file once, in order; the given slice, if it is so. A file below both kinds of root is an
// installed one.
func canonicalPlaces(places []Place) []Place {
	if ordered(places) {
		return places
	}
	places = slices.Clone(places)
	slices.SortFunc(places, func(a, b Place) int {
		return cmp.Or(cmp.Compare(a.File, b.File), compareBool(a.Staged, b.Staged), cmp.Compare(a.Root, b.Root),
			cmp.Compare(a.Lineage, b.Lineage))
	})
	return slices.CompactFunc(places, func(a, b Place) bool { return a.File == b.File })
}

func ordered(places []Place) bool {
	for i := 1; i < len(places); i++ {
		if places[i-1].File >= places[i].File {
			return false
		}
	}
	return true
}

// compare orders by file, and puts leaves whose issuer is known before the others.
func (s Seen) compare(t Seen) int {
	a, b := &s.Material, &t.Material
	return cmp.Or(
		compareBool(a.Issuer.SPKI == "", b.Issuer.SPKI == ""),
		cmp.Compare(s.Places[0].File, t.Places[0].File),
		cmp.Compare(a.Leaf.SPKI, b.Leaf.SPKI),
		cmp.Compare(a.Leaf.SHA256, b.Leaf.SHA256),
		cmp.Compare(a.Issuer.SPKI, b.Issuer.SPKI),
		cmp.Compare(a.Issuer.SHA256, b.Issuer.SHA256),
		cmp.Compare(s.Lineage, t.Lineage),
	)
}

func compareBool(a, b bool) int {
	switch {
	case a == b:
		return 0
	case b:
		return -1
	}
	return 1
}

// A FileState is what a file holds now. The zero value is a file that stands there without any leaf.
type FileState struct {
	// Doubt: it cannot be read or trusted, or its root is missing.
	Doubt bool
	// Gone counts the complete sweeps of its root that did not find it; 0: it is there.
	Gone uint64
	// Lost: it vanished together with half of its root's lineages or more.
	Lost bool
	// Unmapped: the Corefile no longer gives its lineage to the owner.
	Unmapped bool
	// Leaves is what it holds.
	Leaves []dane.Material
}

// sweepsGone is how many complete sweeps must miss a file before its absence is evidence (rule 3b).
const sweepsGone = 3

type verdict int

const (
	doubt    verdict = iota // nothing can be said
	holds                   // it holds the key
	replaced                // it holds another leaf in the key's stead (rule 3a)
	vanished                // it is gone for good (rule 3b)
)

// of says what a file's state proves about a key that was seen there.
func (f FileState) of(m dane.Material) verdict {
	switch {
	case f.Doubt:
		return doubt
	case f.Unmapped:
		return replaced
	case f.Gone >= sweepsGone:
		return vanished
	case f.Gone > 0:
		return doubt
	}
	algorithm := dane.KeyAlgorithm(m.Leaf.SPKI)
	another := len(f.Leaves) == 1
	for _, l := range f.Leaves {
		if same(l, m) {
			return holds
		}
		another = another || dane.KeyAlgorithm(l.Leaf.SPKI) == algorithm
	}
	if another {
		return replaced
	}
	return doubt
}

// unread tells whether the file is there, and what it holds now is not known.
func (f FileState) unread() bool {
	return !f.Unmapped && f.Gone == 0 && (f.Doubt || len(f.Leaves) == 0)
}

// same tells whether both are the same certificate, or the same bare key, under the same issuer. A chain that lacks the
// issuer says nothing about it, so it agrees with any.
func same(a, b dane.Material) bool {
	return sameFingerprint(a.Leaf, b.Leaf) &&
		(a.Issuer.SPKI == "" || b.Issuer.SPKI == "" || sameFingerprint(a.Issuer, b.Issuer))
}

func sameFingerprint(a, b dane.Fingerprint) bool { return a.SPKI == b.SPKI && a.SHA256 == b.SHA256 }

package publish

import (
	"cmp"
	"maps"
	"slices"

	"github.com/coredns-tlsa/coredns-tlsa/plugin/tlsa/dane"
	"github.com/coredns-tlsa/coredns-tlsa/plugin/tlsa/rollover"
)

// observe gathers what the directories and the zone hold for o, and what became of the files that t knows.
func (a *atlas) observe(o *owner, t rollover.Timeline) rollover.Observation {
	view := o.view()
	obs := rollover.Observation{
		Known:     a.known(),
		Hidden:    a.hidden(),
		Seen:      a.seen(o),
		ZoneKnown: view.Known,
		Zone:      view.TLSA,
	}
	if len(t.Keys) > 0 {
		obs.Files = map[string]rollover.FileState{}
	}
	for _, k := range t.Keys {
		for _, p := range k.Places {
			obs.Files[p.File] = a.file(o, p)
		}
	}
	return obs
}

// known tells whether every root of installed certificates has been read in full since the start.
// Where there are none, the roots of staged ones are all there is to know.
func (a *atlas) known() bool {
	installed := false
	for _, r := range a.roots {
		installed = installed || !r.Staged
	}
	for _, r := range a.roots {
		if r.Sweeps == 0 && (!r.Staged || !installed) {
			return false
		}
	}
	return len(a.roots) > 0
}

// complete tells whether the last sweep could read every root.
func (a *atlas) complete() bool {
	for _, r := range a.roots {
		if !r.Complete {
			return false
		}
	}
	return len(a.roots) > 0
}

// hidden tells whether the last sweep could not read some root of installed certificates in full.
func (a *atlas) hidden() bool {
	for _, r := range a.roots {
		if !r.Staged && !r.Complete {
			return true
		}
	}
	return false
}

// seen joins the leaves of all lineages that map to o.
func (a *atlas) seen(o *owner) []rollover.Seen {
	type identity struct{ spki, sha256, issuer string }
	var byKey map[identity]int // where there are several
	if len(o.seats) > 1 || len(o.seats) == 1 && len(o.seats[0].leaves) > 1 {
		byKey = map[identity]int{}
	}
	var seen []rollover.Seen
	for _, t := range o.seats {
		l := t.lineage
		for _, i := range t.leaves {
			leaf := l.Leaves[i]
			m := leaf.Material
			key := identity{m.Leaf.SPKI, m.Leaf.SHA256, m.Issuer.SHA256}
			j, ok := byKey[key]
			if !ok {
				if j = len(seen); byKey != nil {
					byKey[key] = j
				}
				seen = append(seen, rollover.Seen{Material: m, Lineage: l.Name})
			}
			s := &seen[j]
			s.Named = s.Named || o.takes(l)
			if !l.Staged {
				s.Lineage = l.Name
			}
			for _, f := range leaf.Files {
				s.Places = append(s.Places, rollover.Place{Root: l.Root, Lineage: l.ID, File: f, Staged: l.Staged})
			}
		}
	}
	for i := range seen {
		slices.SortFunc(seen[i].Places, func(p, q rollover.Place) int { return cmp.Compare(p.File, q.File) })
	}
	return seen
}

// file tells what became of a place that the timeline of o knows.
func (a *atlas) file(o *owner, p rollover.Place) rollover.FileState {
	l := a.lineages[p.Lineage]
	if l == nil {
		return a.absent(o, p)
	}
	f, ok := l.File(p.File)
	if !ok {
		return a.absent(o, p)
	}
	a.mu.Lock()
	delete(a.missing, p.File)
	a.mu.Unlock()
	root := a.roots[l.Root]
	state := rollover.FileState{
		Doubt:    f.Doubt != nil || root != nil && root.MixedOwners && len(o.written.From) == 0,
		Unmapped: len(o.written.From) > 0 && !o.takes(l),
	}
	for _, leaf := range l.Leaves {
		if slices.Contains(leaf.Files, p.File) {
			state.Leaves = append(state.Leaves, leaf.Material)
		}
	}
	return state
}

// absence is a file that is not there: since which complete sweep of its root, and who asked for it in which round.
type absence struct {
	since  uint64
	owners map[*owner]int
}

// absent counts the complete sweeps that missed a file since it was first missed.
func (a *atlas) absent(o *owner, p rollover.Place) rollover.FileState {
	root := a.roots[p.Root]
	if root == nil {
		// The Corefile no longer has the root: the operator's word, unless a root that may stand in for it cannot be read.
		return rollover.FileState{Unmapped: a.complete(), Doubt: !a.complete()}
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	m := a.missing[p.File]
	if m == nil {
		m = &absence{since: root.Sweeps, owners: map[*owner]int{}}
		a.missing[p.File] = m
	}
	m.owners[o] = a.round
	gone := root.Sweeps - m.since
	return rollover.FileState{Doubt: gone == 0 || !root.Complete, Gone: gone, Lost: a.lost[p.Lineage]}
}

// nextRound touches the owners that know a file which is missed, since each sweep may prove it gone, and drops what nobody
// asked for in the last round.
func (a *atlas) nextRound(touched map[*owner]struct{}) {
	for file, m := range a.missing {
		maps.DeleteFunc(m.owners, func(_ *owner, round int) bool { return round < a.round })
		if len(m.owners) == 0 {
			delete(a.missing, file)
		}
		for o := range m.owners {
			touched[o] = struct{}{}
		}
	}
	a.round++
}

// union gives both sets in canonical order.
func union(a, b []dane.Association) []dane.Association {
	return dane.Canonical(slices.Concat(a, b))
}

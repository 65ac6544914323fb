package publish

import (
	"fmt"
	"slices"
	"strings"

	"github.com/coredns-tlsa/coredns-tlsa/plugin/tlsa/certdir"
	"github.com/coredns-tlsa/coredns-tlsa/plugin/tlsa/dane"
	"github.com/coredns-tlsa/coredns-tlsa/plugin/tlsa/rollover"
)

// lineage is a certdir.Lineage with the owners that its leaves map to.
type lineage struct {
	*certdir.Lineage
	owners map[*owner][]int // indices of Leaves

	wild    []string // the names above its wildcard SANs, where a pattern may take it
	foreign []string // its names that lie in no zone of the block, where a pattern may take it
}

// atlas finds the owners of a lineage and the lineages of an owner (design 2).
type atlas struct {
	byHost   map[string][]*owner // owners by host
	byParent map[string][]*owner // those that SANs decide about, by the name above the host: for wildcard SANs
	byFrom   map[string][]*owner // owners with `from` that the Corefile names, by what `from` names
	bySAN    bool                // SANs from roots of one uid decide about some of them

	patterns   patterns
	choosy     []*pattern                     // those with `from`
	trusting   bool                           // there are others
	foreign    func(name string) bool         // tells a SAN that lies in no zone of the block
	create     func(pt *pattern, host string) // makes the owner of a pattern for a host, unless there is one
	byWildcard map[string]map[string]*lineage // lineages with a wildcard SAN, by the name above it and ID
	ignored    map[string]int                 // the names in no zone, with the number of lineages that have them

	roots    map[string]*certdir.Root
	lineages map[string]*lineage
	byName   map[string]map[string]*lineage // lineages by name and ID
	placed   map[string]map[*owner]struct{} // owners whose timeline knows a lineage, by the lineage's ID
	missing  map[string]*absence            // files that timelines know and that are not there
	round    int                            // counts sweeps, for missing
	swept    map[string]map[string]struct{} // the lineages of a root at its last complete sweep
	judged   map[string]uint64              // the sweep that swept belongs to
	lost     map[string]bool                // lineages that vanished together with half of their root
	remapped map[string]struct{}            // lineages with a bare key whose owners have changed, until its problems are told anew
}

func newAtlas(owners []*owner, ps patterns) *atlas {
	a := &atlas{
		byHost: map[string][]*owner{}, byParent: map[string][]*owner{}, byFrom: map[string][]*owner{},
		patterns: ps, byWildcard: map[string]map[string]*lineage{}, ignored: map[string]int{},
		roots: map[string]*certdir.Root{}, lineages: map[string]*lineage{}, byName: map[string]map[string]*lineage{},
		placed: map[string]map[*owner]struct{}{}, missing: map[string]*absence{}, lost: map[string]bool{}, swept: map[string]map[string]struct{}{}, judged: map[string]uint64{},
		remapped: map[string]struct{}{},
	}
	for _, o := range owners {
		a.add(o)
	}
	for _, pts := range ps {
		for _, pt := range pts {
			if len(pt.From) > 0 {
				a.choosy = append(a.choosy, pt)
			} else {
				a.trusting, a.bySAN = true, true
			}
		}
	}
	return a
}

// learn takes in the new state of a lineage and adds to touched the owners that must be decided again.
func (a *atlas) learn(l *certdir.Lineage, touched map[*owner]struct{}) {
	a.forget(l.ID, touched)
	for o := range a.placed[l.ID] {
		touched[o] = struct{}{}
	}
	if len(l.Files) > 0 {
		delete(a.lost, l.ID)
		a.enter(l, touched)
	}
	if l.Staged {
		return
	}
	for _, other := range a.byName[l.Name] {
		if other.Staged && hasBare(other.Lineage) {
			a.forget(other.ID, touched)
			a.enter(other.Lineage, touched)
		}
	}
}

func (a *atlas) forget(id string, touched map[*owner]struct{}) {
	old := a.lineages[id]
	if old == nil {
		return
	}
	for o := range old.owners {
		delete(o.lineages, id)
		touched[o] = struct{}{}
	}
	a.wither(old)
	delete(a.lineages, id)
	delete(a.byName[old.Name], id)
	if len(a.byName[old.Name]) == 0 {
		delete(a.byName, old.Name)
	}
}

func (a *atlas) enter(l *certdir.Lineage, touched map[*owner]struct{}) {
	entry := &lineage{Lineage: l, owners: map[*owner][]int{}}
	a.sprout(entry)
	a.lineages[l.ID] = entry
	if a.byName[l.Name] == nil {
		a.byName[l.Name] = map[string]*lineage{}
	}
	a.byName[l.Name][l.ID] = entry
	for _, above := range entry.wild {
		if a.byWildcard[above] == nil {
			a.byWildcard[above] = map[string]*lineage{}
		}
		a.byWildcard[above][l.ID] = entry
	}
	a.remap(entry)
	for i, leaf := range l.Leaves {
		for o := range a.ownersOf(entry, leaf) {
			entry.owners[o] = append(entry.owners[o], i)
			o.lineages[l.ID] = struct{}{}
			touched[o] = struct{}{}
		}
	}
}

// ownersOf applies design 2: `from` names lineages whatever their names say; without it the SANs decide, from roots that
// belong to one uid. A bare key has no SANs: it goes where the installed lineage of its name goes, or to the host it names.
func (a *atlas) ownersOf(l *lineage, leaf certdir.Leaf) map[*owner]struct{} {
	owners := map[*owner]struct{}{}
	add := func(os []*owner) {
		for _, o := range os {
			owners[o] = struct{}{}
		}
	}
	add(a.byFrom[l.Name])
	add(a.byFrom[l.Dir])
	add(a.byFrom[l.ID])
	for _, f := range l.Files {
		add(a.byFrom[f.Path])
	}
	consider := func(o *owner) {
		if a.open(o, l) {
			owners[o] = struct{}{}
		}
	}
	for _, name := range leaf.DNSNames {
		for _, o := range a.byHost[name] {
			consider(o)
		}
		if above, wild := strings.CutPrefix(name, "*."); wild {
			for _, o := range a.byParent[above] {
				if dane.Covers(name, o.Host) {
					consider(o)
				}
			}
		}
	}
	if nameless(leaf) {
		for _, o := range a.byHost[l.Name] {
			consider(o)
		}
		for _, installed := range a.byName[l.Name] {
			for o := range installed.owners {
				if !installed.Staged {
					consider(o)
				}
			}
		}
	}
	return owners
}

func bare(leaf certdir.Leaf) bool { return leaf.Material.Leaf.SHA256 == "" }

// nameless tells a bare key that names no host of its own.
func nameless(leaf certdir.Leaf) bool { return bare(leaf) && len(leaf.DNSNames) == 0 }

// remap notes that the owners of a lineage have changed, where that decides about one of its problems.
func (a *atlas) remap(l *lineage) {
	if hasBare(l.Lineage) {
		a.remapped[l.ID] = struct{}{}
	}
}

func hasBare(l *certdir.Lineage) bool { return slices.ContainsFunc(l.Leaves, bare) }

// strays are what the `from` of an owner in the Corefile names and no directory has, once all have been read.
func (a *atlas) strays(o *owner) []rollover.Problem {
	if o.dynamic != nil {
		return nil // its pattern has them
	}
	return a.missed(o.From, func(from string) bool {
		for id := range o.lineages {
			if a.lineages[id].is(from) {
				return true
			}
		}
		return false
	})
}

func (a *atlas) missed(lineages []string, found func(string) bool) []rollover.Problem {
	if !a.known() {
		return nil
	}
	var ps []rollover.Problem
	for _, from := range lineages {
		if !found(from) {
			ps = append(ps, rollover.Problem{Reason: NoLineage, Text: fmt.Sprintf("`from %s` names no lineage of the watched directories; "+
				"write the name of a lineage, or the path of its directory or of one of its files", from)})
		}
	}
	return ps
}

// problems are those of a lineage's files, and that of a staged key that nothing takes.
func (a *atlas) problems(l *lineage) []rollover.Problem {
	var ps []rollover.Problem
	for _, f := range l.Files {
		if f.Doubt != nil {
			ps = append(ps, *f.Doubt)
		}
	}
	taken := map[int]bool{}
	for _, leaves := range l.owners {
		for _, i := range leaves {
			taken[i] = true
		}
	}
	for i, leaf := range l.Leaves {
		if bare(leaf) && !taken[i] {
			ps = append(ps, rollover.Problem{Reason: UnmappedKey, Text: fmt.Sprintf("no owner takes the staged key of lineage %s (%q): "+
				"a bare key has no names, so call its file after an installed lineage or after the host, or give the lineage to an owner by `from`",
				l.Name, leaf.Files[0])})
		}
	}
	return ps
}

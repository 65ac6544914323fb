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
}

// atlas finds the owners of a lineage and the lineages of an owner (design 2).
type atlas struct {
	byHost   map[string][]*owner // owners without `from`, by host
	byParent map[string][]*owner // the same, by the name above the host: for wildcard SANs
	byFrom   map[string][]*owner // owners with `from`, by what it names
	roots    map[string]*certdir.Root
	lineages map[string]*lineage
	byName   map[string]map[string]*lineage // lineages by name and ID
	placed   map[string]map[*owner]struct{} // owners whose timeline knows a lineage, by the lineage's ID
	missing  map[string]*absence            // files that timelines know and that are not there
	round    int                            // counts sweeps, for missing
	swept    map[string]map[string]struct{} // the lineages of a root at its last complete sweep
	judged   map[string]uint64              // the sweep that swept belongs to
	lost     map[string]bool                // lineages that vanished together with half of their root
}

func newAtlas(owners []*owner) *atlas {
	a := &atlas{
		byHost: map[string][]*owner{}, byParent: map[string][]*owner{}, byFrom: map[string][]*owner{},
		roots: map[string]*certdir.Root{}, lineages: map[string]*lineage{}, byName: map[string]map[string]*lineage{},
		placed: map[string]map[*owner]struct{}{}, missing: map[string]*absence{}, lost: map[string]bool{}, swept: map[string]map[string]struct{}{}, judged: map[string]uint64{},
	}
	for _, o := range owners {
		for _, from := range o.From {
			a.byFrom[from] = append(a.byFrom[from], o)
		}
		if len(o.From) == 0 {
			host := strings.TrimSuffix(o.Host, ".")
			a.byHost[host] = append(a.byHost[host], o)
			_, above, _ := strings.Cut(host, ".")
			a.byParent[above] = append(a.byParent[above], o)
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
	delete(a.lineages, id)
	delete(a.byName[old.Name], id)
	if len(a.byName[old.Name]) == 0 {
		delete(a.byName, old.Name)
	}
}

func (a *atlas) enter(l *certdir.Lineage, touched map[*owner]struct{}) {
	entry := &lineage{Lineage: l, owners: map[*owner][]int{}}
	a.lineages[l.ID] = entry
	if a.byName[l.Name] == nil {
		a.byName[l.Name] = map[string]*lineage{}
	}
	a.byName[l.Name][l.ID] = entry
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
	for file := range l.Files {
		add(a.byFrom[file])
	}
	if root := a.roots[l.Root]; root != nil && root.MixedOwners {
		return owners
	}
	for _, name := range leaf.DNSNames {
		candidates := a.byHost[name]
		if above, wild := strings.CutPrefix(name, "*."); wild {
			candidates = a.byParent[above]
		}
		for _, o := range candidates {
			if dane.Covers(name, o.Host) {
				owners[o] = struct{}{}
			}
		}
	}
	if bare(leaf) && len(leaf.DNSNames) == 0 {
		add(a.byHost[l.Name])
		for _, installed := range a.byName[l.Name] {
			for o := range installed.owners {
				if !installed.Staged && len(o.From) == 0 {
					owners[o] = struct{}{}
				}
			}
		}
	}
	return owners
}

func bare(leaf certdir.Leaf) bool { return leaf.Material.Leaf.SHA256 == "" }

func hasBare(l *certdir.Lineage) bool { return slices.ContainsFunc(l.Leaves, bare) }

// strays are what an owner's `from` names and no directory has, once all have been read.
func (a *atlas) strays(o *owner) []rollover.Problem {
	if !a.known() {
		return nil
	}
	var ps []rollover.Problem
	for _, from := range o.From {
		found := false
		for id := range o.lineages {
			found = found || a.lineages[id].is(from)
		}
		if !found {
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
		ps = append(ps, f.Problems...)
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

// keep remembers which lineages the timeline of o knows, so that their changes reach it.
func (a *atlas) keep(o *owner) {
	for _, id := range o.placed {
		delete(a.placed[id], o)
		if len(a.placed[id]) == 0 {
			delete(a.placed, id)
		}
	}
	o.placed = o.placed[:0]
	for _, k := range o.timeline.Keys {
		for _, p := range k.Places {
			if a.placed[p.Lineage] == nil {
				a.placed[p.Lineage] = map[*owner]struct{}{}
			}
			if _, ok := a.placed[p.Lineage][o]; !ok {
				a.placed[p.Lineage][o] = struct{}{}
				o.placed = append(o.placed, p.Lineage)
			}
		}
	}
}

package publish

import (
	"fmt"
	"slices"
	"strings"
	"sync"

	"github.com/coredns-tlsa/coredns-tlsa/plugin/tlsa/certdir"
	"github.com/coredns-tlsa/coredns-tlsa/plugin/tlsa/dane"
	"github.com/coredns-tlsa/coredns-tlsa/plugin/tlsa/rollover"
)

// lineage is a certdir.Lineage with the sites that its leaves map to.
type lineage struct {
	*certdir.Lineage
	sites  []*site
	record *record // of one of its owners; most of them share it
	names  *names  // nil for most
	swept  bool    // it was there at the last complete sweep of its root
}

// names are those of a lineage that need a look where a pattern may take it.
type names struct {
	wild    []string // the names above its wildcard SANs
	foreign []string // those that lie in no zone of the block
}

// atlas finds the owners of a lineage and the lineages of an owner (design 2).
type atlas struct {
	byHost   map[string]*site   // by host, the others beside it
	byParent map[string][]*site // those that SANs decide about, by the name above the host: for wildcard SANs
	byFrom   map[string][]*site // those with `from` that the Corefile names, by what `from` names
	first    []int              // 0, 1, 2...
	bySAN    bool               // SANs from roots of one uid decide about some of them

	patterns   patterns
	choosy     []*pattern                     // those with `from`
	trusting   bool                           // there are others
	foreign    func(name string) bool         // tells a SAN that lies in no zone of the block
	create     func(pt *pattern, host string) // makes the owner of a pattern for a host, unless there is one
	byWildcard map[string]map[string]*lineage // lineages with a wildcard SAN, by the name above it and ID
	ignored    map[string]int                 // the names in no zone, with the number of lineages that have them

	roots    map[string]*certdir.Root
	lineages map[string]*lineage
	byName   map[string]few[*lineage]
	placed   map[string]few[*owner] // owners whose timeline knows a lineage that does not map to them, by its ID
	mu       sync.Mutex             // guards missing: owners are decided side by side
	missing  map[string]*absence    // files that timelines know and that are not there
	round    int                    // counts sweeps, for missing
	counts   map[string]*census     // by root
	lost     map[string]bool        // lineages that vanished together with half of their root
	remapped map[string]struct{}    // lineages with a bare key whose owners have changed, until its problems are told anew
}

func newAtlas(owners []*owner, ps patterns) *atlas {
	a := &atlas{
		byHost: map[string]*site{}, byParent: map[string][]*site{}, byFrom: map[string][]*site{}, first: []int{0, 1, 2, 3, 4, 5, 6, 7},
		patterns: ps, byWildcard: map[string]map[string]*lineage{}, ignored: map[string]int{},
		roots: map[string]*certdir.Root{}, lineages: map[string]*lineage{}, byName: map[string]few[*lineage]{},
		placed: map[string]few[*owner]{}, missing: map[string]*absence{}, lost: map[string]bool{}, counts: map[string]*census{},
		remapped: map[string]struct{}{},
	}
	for _, o := range owners {
		a.add(o, o.written.Host)
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
	for o := range a.placed[l.ID].all {
		touched[o] = struct{}{}
	}
	if len(l.Files) > 0 {
		delete(a.lost, l.ID)
		a.enter(l, touched)
	}
	if l.Staged {
		return
	}
	for _, other := range slices.Collect(a.byName[l.Name].all) {
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
	for _, s := range old.sites {
		a.unlink(s, id)
		s.touch(touched)
	}
	a.wither(old)
	if old.swept {
		a.census(old.Root).gone[id] = struct{}{}
	}
	delete(a.lineages, id)
	if left := a.byName[old.Name].without(old); left.empty() {
		delete(a.byName, old.Name)
	} else {
		a.byName[old.Name] = left
	}
}

func (a *atlas) enter(l *certdir.Lineage, touched map[*owner]struct{}) {
	gone := a.census(l.Root).gone
	_, back := gone[l.ID]
	delete(gone, l.ID)
	entry := &lineage{Lineage: l, swept: back}
	a.sprout(entry)
	a.lineages[l.ID] = entry
	a.byName[l.Name] = a.byName[l.Name].with(entry)
	if entry.names != nil {
		for _, above := range entry.names.wild {
			if a.byWildcard[above] == nil {
				a.byWildcard[above] = map[string]*lineage{}
			}
			a.byWildcard[above][l.ID] = entry
		}
	}
	a.remap(entry)
	for i, leaf := range l.Leaves {
		for s := range a.sitesOf(entry, leaf) {
			a.link(s, entry, i)
			s.touch(touched)
		}
	}
	entry.sites = slices.Clip(entry.sites)
}

// sitesOf applies design 2: `from` names lineages whatever their names say; without it the SANs decide, from roots that
// belong to one uid. A bare key has no SANs: it goes where the installed lineage of its name goes, or to the host it names.
func (a *atlas) sitesOf(l *lineage, leaf certdir.Leaf) map[*site]struct{} {
	sites := map[*site]struct{}{}
	add := func(all []*site) {
		for _, s := range all {
			sites[s] = struct{}{}
		}
	}
	add(a.byFrom[l.Name])
	add(a.byFrom[l.Dir])
	add(a.byFrom[l.ID])
	for _, f := range l.Files {
		add(a.byFrom[f.Path])
	}
	consider := func(s *site) {
		if a.open(s, l) {
			sites[s] = struct{}{}
		}
	}
	for _, name := range leaf.DNSNames {
		for s := a.byHost[name]; s != nil; s = s.beside {
			consider(s)
		}
		if above, wild := strings.CutPrefix(name, "*."); wild {
			for _, s := range a.byParent[above] {
				if dane.Covers(name, s.host) {
					consider(s)
				}
			}
		}
	}
	if nameless(leaf) {
		for s := a.byHost[l.Name]; s != nil; s = s.beside {
			consider(s)
		}
		for installed := range a.byName[l.Name].all {
			for _, s := range installed.sites {
				if !installed.Staged {
					consider(s)
				}
			}
		}
	}
	return sites
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
	if o.pattern != nil {
		return nil // its pattern has them
	}
	return a.missed(o.written.From, func(from string) bool {
		return slices.ContainsFunc(o.seats, func(t seat) bool { return t.is(from) })
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
	for _, s := range l.sites {
		at, _ := s.seat(l.ID)
		for _, i := range s.seats[at].leaves {
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

package publish

import (
	"slices"
	"strings"

	"github.com/coredns-tlsa/coredns-tlsa/plugin/tlsa/certdir"
	"github.com/coredns-tlsa/coredns-tlsa/plugin/tlsa/dane"
)

// A site is what the owners of one host have in common whose line has the same `from`: the lineages that map to them. There
// may be a million owners, and most hosts have several.
type site struct {
	host   string   // mail.example.org.
	owners []*owner // at least one; all from patterns, or all from the Corefile itself
	seats  []seat   // by the lineages' IDs
	beside *site    // another of the host
	among  int      // in atlas.byParent
}

// A seat is a lineage that maps to a site.
type seat struct {
	*lineage
	leaves []int // indices of Leaves
}

// bare is the host without its last dot.
func (s *site) bare() string { return strings.TrimSuffix(s.host, ".") }

// above is the name above the host, without its last dot.
func (s *site) above() string {
	_, above, _ := strings.Cut(s.bare(), ".")
	return above
}

// wild tells whether s stands for the hosts that a wildcard SAN covers.
func (s *site) wild() bool { return strings.HasPrefix(s.host, "*.") }

// from is what the lines of its owners say, as the Corefile has it.
func (s *site) from() []string { return s.owners[0].written.From }

// dynamic tells whether its owners come from patterns.
func (s *site) dynamic() bool { return s.owners[0].pattern != nil }

// takes tells whether the Corefile gives the lineage to the owners by `from`.
func (s *site) takes(l *lineage) bool { return slices.ContainsFunc(s.from(), l.is) }

func (s *site) seat(id string) (int, bool) {
	return slices.BinarySearchFunc(s.seats, id, func(t seat, id string) int { return strings.Compare(t.ID, id) })
}

// seated tells whether the lineage maps to s.
func (s *site) seated(id string) bool {
	_, ok := s.seat(id)
	return ok
}

// touch adds the owners of s to touched.
func (s *site) touch(touched map[*owner]struct{}) {
	for _, o := range s.owners {
		touched[o] = struct{}{}
	}
}

// link maps the leaf i of a lineage to s.
func (a *atlas) link(s *site, l *lineage, i int) {
	at, ok := s.seat(l.ID)
	if !ok {
		s.seats = slices.Insert(s.seats, at, seat{lineage: l})
		l.sites = append(l.sites, s)
		for _, o := range s.owners {
			a.unplace(o, l.ID)
		}
	}
	t := &s.seats[at]
	switch {
	case slices.Contains(t.leaves, i):
	case len(t.leaves) == 0 && i < len(a.first):
		t.leaves = a.first[i : i+1 : i+1] // shared, because most have one leaf
	default:
		t.leaves = append(t.leaves, i)
	}
}

// unlink takes the lineage from s, whose owners are still told of it where their timelines know it.
func (a *atlas) unlink(s *site, id string) {
	at, ok := s.seat(id)
	if !ok {
		return
	}
	s.seats = slices.Delete(s.seats, at, at+1)
	for _, o := range s.owners {
		for _, k := range o.timeline().Keys {
			a.keep(o, k)
		}
	}
}

// at gives the site of a host and a `from`, if need be a new one.
func (a *atlas) at(host string, from []string, dynamic bool) (s *site, found bool) {
	first := a.byHost[strings.TrimSuffix(host, ".")]
	for s := first; s != nil; s = s.beside {
		if s.dynamic() == dynamic && slices.Equal(s.from(), from) {
			return s, true
		}
	}
	s = &site{host: host, beside: first}
	a.byHost[s.bare()] = s
	if !dynamic {
		for _, from := range from {
			a.byFrom[from] = append(a.byFrom[from], s)
		}
		if len(from) > 0 {
			return s, false
		}
	}
	if !s.wild() {
		s.among = len(a.byParent[s.above()])
		a.byParent[s.above()] = append(a.byParent[s.above()], s)
	}
	return s, false
}

// drop takes an owner of a pattern out, and its site with the last of them.
func (a *atlas) drop(o *owner) {
	for _, k := range o.timeline().Keys {
		for _, p := range k.Places {
			if m := a.missing[p.File]; m != nil {
				delete(m.owners, o)
			}
			a.unplace(o, p.Lineage)
		}
	}
	s := o.site
	if s.owners = slices.Clip(without(s.owners, o)); len(s.owners) > 0 {
		return
	}
	for _, t := range s.seats {
		t.sites = without(t.sites, s)
		a.remap(t.lineage)
	}
	host := s.bare()
	if first := a.byHost[host]; first != s {
		for first.beside != s {
			first = first.beside
		}
		first.beside = s.beside
	} else if delete(a.byHost, host); s.beside != nil {
		a.byHost[s.beside.bare()] = s.beside
	}
	if s.wild() {
		return
	}
	// The last takes its place, because all of a customer's can leave in little time.
	among := a.byParent[s.above()]
	last := len(among) - 1
	among[s.among], among[last].among = among[last], s.among
	among[last] = nil
	if a.byParent[s.above()] = among[:last]; last == 0 {
		delete(a.byParent, s.above())
	}
}

// named tells whether a lineage names the host of s, or a wildcard SAN itself, in full.
func (s *site) named() bool {
	host := s.bare()
	return slices.ContainsFunc(s.seats, func(t seat) bool {
		return slices.ContainsFunc(t.leaves, func(i int) bool { return slices.Contains(t.Leaves[i].DNSNames, host) })
	})
}

// open tells whether the SANs of a lineage may give s anything: with `from` only those of the lineages that it names, which
// for an owner written out count whatever their SANs say; without it those from roots that belong to one uid.
func (a *atlas) open(s *site, l *lineage) bool {
	if len(s.from()) > 0 {
		return s.dynamic() && s.takes(l)
	}
	return !a.mixed(l)
}

// meet gives a new site the lineages that were there before it: those with a wildcard SAN for its host, and bare keys that
// are called after one of these or after the host.
func (a *atlas) meet(s *site) {
	covers := func(leaf certdir.Leaf) bool {
		return slices.ContainsFunc(leaf.DNSNames, func(name string) bool { return dane.Covers(name, s.host) })
	}
	if !s.wild() {
		for _, l := range a.byWildcard[s.above()] {
			a.join(s, l, covers)
			if !s.seated(l.ID) || l.Staged {
				continue
			}
			for staged := range a.byName[l.Name].all {
				a.join(s, staged, nameless)
			}
		}
	}
	for l := range a.byName[s.bare()].all {
		a.join(s, l, nameless)
	}
}

// join gives a site those leaves of a lineage that it may take.
func (a *atlas) join(s *site, l *lineage, takes func(certdir.Leaf) bool) {
	if !a.open(s, l) {
		return
	}
	for i, leaf := range l.Leaves {
		if takes(leaf) {
			a.link(s, l, i)
			a.remap(l)
		}
	}
}

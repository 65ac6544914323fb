package publish

import (
	"slices"
	"strings"

	"github.com/coredns-tlsa/coredns-tlsa/plugin/tlsa/certdir"
	"github.com/coredns-tlsa/coredns-tlsa/plugin/tlsa/dane"
)

// A pattern is a `*` owner at work.
type pattern struct {
	Owner
	prefix string // _443._tcp.
	parent string // what stands after the *, without the last dot
	deep   bool   // parent is a zone of the block: hosts of any depth, and the zone's own name

	found   map[string]int // lineages that `from` names, by what it says
	figures OwnerFigures   // of its owners together
	stale   bool           // figures may say more than is due
	told    bool           // the meter has them
}

// patterns are a block's, by parent. They find their hosts; what they have found is not kept here.
type patterns map[string][]*pattern

func newPatterns(cfg Config) patterns {
	ps := patterns{}
	for _, c := range cfg.Patterns {
		lead, host := split(c.Name)
		pt := &pattern{Owner: c, found: map[string]int{}, prefix: lead, parent: strings.TrimSuffix(strings.TrimPrefix(host, "*."), ".")}
		pt.deep = slices.Contains(cfg.Zones, pt.parent+".")
		ps[pt.parent] = append(ps[pt.parent], pt)
	}
	return ps
}

// of gives the patterns that take a host, or the hosts of a wildcard SAN: for each port the one that stands closest above it.
// host has no dot at its end.
func (ps patterns) of(host string) []*pattern {
	if len(ps) == 0 || !nameable(host) {
		return nil
	}
	var found []*pattern
	_, above, _ := strings.Cut(host, ".")
	for parent := host; parent != ""; _, parent, _ = strings.Cut(parent, ".") {
		for _, pt := range ps[parent] {
			closer := slices.ContainsFunc(found, func(f *pattern) bool { return f.prefix == pt.prefix })
			if (pt.deep || parent == above) && !closer {
				found = append(found, pt)
			}
		}
	}
	return found
}

// match gives the pattern that takes an owner, and its host without the last dot; nil if none does.
func (ps patterns) match(name string) (*pattern, string) {
	lead, host := split(name)
	host = strings.TrimSuffix(host, ".")
	for _, pt := range ps.of(host) {
		if pt.prefix == lead {
			return pt, host
		}
	}
	return nil, ""
}

// nameable tells whether a SAN can be a TLSA base domain, or a wildcard for some: a label with an underscore in front is none
// of a host's, and an asterisk is the whole first label or nothing (RFC 9525 6.3).
func nameable(host string) bool {
	host = strings.TrimPrefix(host, "*.")
	return host != "" && !strings.HasPrefix(host, "_") && !strings.Contains(host, "._") && !strings.Contains(host, "*")
}

// split takes the leading underscore labels off a name.
func split(name string) (lead, host string) {
	at := 0
	for strings.HasPrefix(name[at:], "_") {
		i := strings.IndexByte(name[at:], '.')
		if i < 0 {
			break
		}
		at += i + 1
	}
	return name[:at], name[at:]
}

// overlap tells whether both blocks may write the timeline of one owner.
func overlap(a, b Config) bool {
	for _, o := range a.Owners {
		if slices.ContainsFunc(b.Owners, func(p Owner) bool { return p.Name == o.Name }) {
			return true
		}
	}
	_, _, clash := Clash(a, b)
	return clash
}

// Clash gives an owner of a and one of b, at least one of them with a `*`, that can mean the same name.
func Clash(a, b Config) (inA, inB string, clash bool) {
	take := func(a, b Config) (string, string, bool) {
		ps := newPatterns(a)
		if len(ps) == 0 {
			return "", "", false
		}
		for _, o := range slices.Concat(b.Owners, b.Patterns) {
			if pt, _ := ps.match(o.Name); pt != nil {
				return pt.Name, o.Name, true
			}
		}
		return "", "", false
	}
	if inA, inB, clash = take(a, b); !clash {
		inB, inA, clash = take(b, a)
	}
	return inA, inB, clash
}

// wild tells whether o stands for the hosts that a wildcard SAN covers.
func (o *owner) wild() bool { return strings.HasPrefix(o.Host, "*.") }

// named tells whether a lineage names the host of o, or a wildcard SAN itself, in full.
func (a *atlas) named(o *owner) bool {
	host := strings.TrimSuffix(o.Host, ".")
	for id := range o.lineages {
		l := a.lineages[id]
		for _, i := range l.owners[o] {
			if slices.Contains(l.Leaves[i].DNSNames, host) {
				return true
			}
		}
	}
	return false
}

// open tells whether the SANs of a lineage may give o anything: with `from` only those of the lineages that it names, which
// for an owner written out count whatever their SANs say; without it those from roots that belong to one uid.
func (a *atlas) open(o *owner, l *lineage) bool {
	if len(o.From) > 0 {
		return o.dynamic != nil && o.takes(l)
	}
	return !a.mixed(l)
}

func (a *atlas) mixed(l *lineage) bool {
	root := a.roots[l.Root]
	return root != nil && root.MixedOwners
}

// admits tells whether the pattern creates owners for what a lineage names.
func (a *atlas) admits(pt *pattern, l *lineage) bool {
	if len(pt.From) > 0 {
		return slices.ContainsFunc(pt.From, l.is)
	}
	return !a.mixed(l)
}

// sprout creates the owners that a new lineage names, and counts the names of no zone.
func (a *atlas) sprout(l *lineage) {
	admitted := a.trusting && !a.mixed(l)
	for _, pt := range a.choosy {
		for _, from := range pt.From {
			if l.is(from) {
				pt.found[from]++
				admitted = true
			}
		}
	}
	if !admitted {
		return
	}
	for _, leaf := range l.Leaves {
		for _, name := range leaf.DNSNames {
			for _, pt := range a.patterns.of(name) {
				if a.admits(pt, l) {
					a.create(pt, name)
				}
			}
			if a.foreign(name) && !slices.Contains(l.foreign, name) {
				l.foreign = append(l.foreign, name)
				a.ignored[name]++
			}
			if above, wild := strings.CutPrefix(name, "*."); wild {
				l.wild = append(l.wild, above)
			}
		}
	}
}

// wither takes back what sprout has counted. The owners stay: how they leave is for the publisher to say.
func (a *atlas) wither(l *lineage) {
	for _, pt := range a.choosy {
		for _, from := range pt.From {
			if l.is(from) {
				pt.found[from]--
			}
		}
	}
	for _, name := range l.foreign {
		if a.ignored[name]--; a.ignored[name] == 0 {
			delete(a.ignored, name)
		}
	}
	for _, above := range l.wild {
		delete(a.byWildcard[above], l.ID)
		if len(a.byWildcard[above]) == 0 {
			delete(a.byWildcard, above)
		}
	}
}

// meet gives a new owner the lineages that were there before it: those with a wildcard SAN for its host, and bare keys that
// are called after one of these or after the host.
func (a *atlas) meet(o *owner) {
	host := strings.TrimSuffix(o.Host, ".")
	_, above, _ := strings.Cut(host, ".")
	covers := func(leaf certdir.Leaf) bool {
		return slices.ContainsFunc(leaf.DNSNames, func(name string) bool { return dane.Covers(name, o.Host) })
	}
	if !o.wild() {
		for _, l := range a.byWildcard[above] {
			a.join(o, l, covers)
			if l.owners[o] == nil || l.Staged {
				continue
			}
			for _, staged := range a.byName[l.Name] {
				a.join(o, staged, nameless)
			}
		}
	}
	for _, l := range a.byName[host] {
		a.join(o, l, nameless)
	}
}

// join gives an owner those leaves of a lineage that it may take.
func (a *atlas) join(o *owner, l *lineage, takes func(certdir.Leaf) bool) {
	if !a.open(o, l) {
		return
	}
	for i, leaf := range l.Leaves {
		if takes(leaf) && !slices.Contains(l.owners[o], i) {
			l.owners[o] = append(l.owners[o], i)
			o.lineages[l.ID] = struct{}{}
			a.remap(l)
		}
	}
}

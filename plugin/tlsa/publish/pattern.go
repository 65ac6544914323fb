package publish

import (
	"slices"
	"strings"
)

// A pattern is a `*` owner at work.
type pattern struct {
	Owner
	prefix  string // _443._tcp.
	parent  string // what stands after the *, without the last dot
	deep    bool   // parent is a zone of the block: hosts of any depth, and the zone's own name
	classes []*class

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
			a.note(l, name)
		}
	}
}

// note remembers a name of a lineage that lies in no zone or has an asterisk.
func (a *atlas) note(l *lineage, name string) {
	above, wild := strings.CutPrefix(name, "*.")
	foreign := a.foreign(name)
	if l.names == nil && (wild || foreign) {
		l.names = &names{}
	}
	if foreign && !slices.Contains(l.names.foreign, name) {
		l.names.foreign = append(l.names.foreign, name)
		a.ignored[name]++
	}
	if wild {
		l.names.wild = append(l.names.wild, above)
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
	if l.names == nil {
		return
	}
	for _, name := range l.names.foreign {
		if a.ignored[name]--; a.ignored[name] == 0 {
			delete(a.ignored, name)
		}
	}
	for _, above := range l.names.wild {
		delete(a.byWildcard[above], l.ID)
		if len(a.byWildcard[above]) == 0 {
			delete(a.byWildcard, above)
		}
	}
}

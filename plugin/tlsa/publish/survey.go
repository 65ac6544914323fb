package publish

import (
	"github.com/coredns-tlsa/coredns-tlsa/plugin/tlsa/certdir"
)

// A Share is what one owner takes of what the directories hold.
type Share struct {
	Owner
	// Pattern is the owner with a `*` that it comes from; empty where the Corefile writes it out.
	Pattern string
	Taken   []Taken
	// Strays are what its `from` names and no directory has.
	Strays []string
}

// Taken is a leaf that an owner takes, with its lineage.
type Taken struct {
	Lineage *certdir.Lineage
	Leaf    certdir.Leaf
}

// Survey maps what a first sweep has found to the owners of a block, as its Publisher would have it at that moment. It reads
// nothing: not the zone, so that it does not know the hosts of a wildcard SAN, and not the ledger. Owners come in the order
// of the Corefile, then those with a `*`, then those that certificates bring.
func Survey(cfg Config, found certdir.Changes) []Share {
	var owners []*owner
	for _, c := range cfg.Owners {
		owners = append(owners, newOwner(cfg, c))
	}
	a := newAtlas(owners, newPatterns(cfg))
	a.foreign = func(name string) bool { return longest(cfg.Zones, name+".") == "" }
	a.create = func(pt *pattern, host string) {
		name := pt.prefix + host + "."
		if a.find(name) != nil || len(name) > mostOctets {
			return
		}
		c := newClass(pt.Owner, pt.prefix, "", pt)
		o := &owner{class: c, record: &c.unseen}
		owners = append(owners, o)
		if a.add(o, host+".") {
			a.meet(o.site)
		}
	}
	for _, r := range found.Roots {
		a.roots[r.Path] = r
	}
	touched := map[*owner]struct{}{}
	for _, l := range found.Lineages {
		a.learn(l, touched)
	}
	var shares []Share
	for _, o := range owners[:len(cfg.Owners)] {
		shares = append(shares, a.share(o))
	}
	for _, c := range cfg.Patterns {
		shares = append(shares, a.patternShare(c))
	}
	for _, o := range owners[len(cfg.Owners):] {
		shares = append(shares, a.share(o))
	}
	return shares
}

func (a *atlas) share(o *owner) Share {
	s := Share{Owner: o.lineOf()}
	if o.pattern != nil {
		s.Pattern = o.pattern.Name
	} else {
		s.Strays = a.absentees(o.written.From)
	}
	for _, t := range o.seats {
		for _, i := range t.leaves {
			s.Taken = append(s.Taken, Taken{Lineage: t.lineage.Lineage, Leaf: t.Leaves[i]})
		}
	}
	return s
}

func (a *atlas) patternShare(c Owner) Share {
	return Share{Owner: c, Pattern: c.Name, Strays: a.absentees(c.From)}
}

// absentees are the names of a `from` that no lineage answers to.
func (a *atlas) absentees(from []string) []string {
	var strays []string
	for _, name := range from {
		found := false
		for _, l := range a.lineages {
			found = found || l.is(name)
		}
		if !found {
			strays = append(strays, name)
		}
	}
	return strays
}

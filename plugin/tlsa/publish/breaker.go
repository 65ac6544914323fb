package publish

import (
	"maps"

	"github.com/coredns-tlsa/coredns-tlsa/plugin/tlsa/certdir"
)

// A census counts the lineages of a root from one complete sweep to the next.
type census struct {
	judged uint64              // the sweep
	there  int                 // what was there then
	gone   map[string]struct{} // those of them that are not there now, by ID
}

func (a *atlas) census(root string) *census {
	c := a.counts[root]
	if c == nil {
		c = &census{gone: map[string]struct{}{}}
		a.counts[root] = c
	}
	return c
}

// breaker marks what vanished together: a root that lost half of its lineages or more between two complete sweeps (rule 4).
// An unmounted volume looks like that.
func (a *atlas) breaker(roots []*certdir.Root) {
	for _, r := range roots {
		c := a.census(r.Path)
		if !r.Complete || r.Sweeps == c.judged {
			continue // it was not swept as a whole, or not anew
		}
		first := c.judged == 0
		before := c.there
		c.judged, c.there = r.Sweeps, 0
		for _, l := range a.lineages {
			if l.Root == r.Path {
				l.swept = true
				c.there++
			}
		}
		if first {
			a.recall(r.Path, c.gone)
			before = c.there + len(c.gone)
		}
		if 2*len(c.gone) >= before {
			for id := range c.gone {
				a.lost[id] = true
			}
		}
		c.gone = map[string]struct{}{}
	}
	maps.DeleteFunc(a.lost, func(id string, _ bool) bool { return a.placed[id].empty() })
}

// recall gives what the ledger says that a root held, and that is not there at its first complete sweep.
func (a *atlas) recall(root string, gone map[string]struct{}) {
	for _, s := range a.byHost {
		for ; s != nil; s = s.beside {
			for _, o := range s.owners {
				a.missedBy(o, root, gone)
			}
		}
	}
}

// missedBy adds the lineages of the root in which an unretired key of o was seen, and that are not there.
func (a *atlas) missedBy(o *owner, root string, ids map[string]struct{}) {
	for _, k := range o.timeline().Keys {
		for _, p := range k.Places {
			if p.Root != root || !k.RetiredAt.IsZero() {
				continue
			}
			if l := a.lineages[p.Lineage]; l == nil || l.Root != root {
				ids[p.Lineage] = struct{}{}
			}
		}
	}
}

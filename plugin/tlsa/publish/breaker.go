package publish

import (
	"maps"

	"github.com/coredns-tlsa/coredns-tlsa/plugin/tlsa/certdir"
)

// breaker marks what vanished together: a root that lost half of its lineages or more between two complete sweeps (rule 4).
// An unmounted volume looks like that.
func (a *atlas) breaker(roots []*certdir.Root) {
	for _, r := range roots {
		if !r.Complete || r.Sweeps == a.judged[r.Path] {
			continue // it was not swept as a whole, or not anew
		}
		a.judged[r.Path] = r.Sweeps
		now := map[string]struct{}{}
		for id, l := range a.lineages {
			if l.Root == r.Path {
				now[id] = struct{}{}
			}
		}
		before, ok := a.swept[r.Path]
		if !ok {
			before = a.remembered(r.Path, now)
		}
		var gone []string
		for id := range before {
			if _, there := now[id]; !there {
				gone = append(gone, id)
			}
		}
		if 2*len(gone) >= len(before) {
			for _, id := range gone {
				a.lost[id] = true
			}
		}
		a.swept[r.Path] = now
	}
	maps.DeleteFunc(a.lost, func(id string, _ bool) bool { return a.placed[id].empty() })
}

// remembered gives, at the first complete sweep of a root, what it holds and what the ledger says it held.
func (a *atlas) remembered(root string, now map[string]struct{}) map[string]struct{} {
	before := map[string]struct{}{}
	for id := range now {
		before[id] = struct{}{}
	}
	for _, s := range a.byHost {
		for ; s != nil; s = s.beside {
			for _, o := range s.owners {
				o.recall(root, before)
			}
		}
	}
	return before
}

// recall adds the lineages of the root in which an unretired key of o was seen.
func (o *owner) recall(root string, ids map[string]struct{}) {
	for _, k := range o.timeline().Keys {
		for _, p := range k.Places {
			if p.Root == root && k.RetiredAt.IsZero() {
				ids[p.Lineage] = struct{}{}
			}
		}
	}
}

package publish

import (
	"strings"

	"github.com/coredns-tlsa/coredns-tlsa/plugin/tlsa/rollover"
)

// add makes o known to the lineages that come from now on. It tells whether o is the first of its site.
func (a *atlas) add(o *owner, host string) (first bool) {
	s, found := a.at(host, o.written.From, o.pattern != nil)
	o.site = s
	s.owners = append(s.owners, o)
	a.bySAN = a.bySAN || len(o.written.From) == 0
	return !found
}

// find gives the owner of a name.
func (a *atlas) find(name string) *owner {
	lead, host := split(name)
	for s := a.byHost[strings.TrimSuffix(host, ".")]; s != nil; s = s.beside {
		for _, o := range s.owners {
			if o.prefix == lead {
				return o
			}
		}
	}
	return nil
}

// remember makes t the timeline of o.
func (a *atlas) remember(o *owner, t *rollover.Timeline) { a.adopt(o, newRecord(t)) }

// adopt makes r the record of o.
func (a *atlas) adopt(o *owner, r *record) {
	for _, k := range o.timeline().Keys {
		for _, p := range k.Places {
			a.unplace(o, p.Lineage)
		}
	}
	t := r.timeline()
	o.share(r)
	for _, k := range t.Keys {
		a.keep(o, k)
	}
}

// keep remembers in which lineages a key of o was seen though they do not map to it, so that their changes reach it.
func (a *atlas) keep(o *owner, k rollover.Key) {
	for _, p := range k.Places {
		if !o.seated(p.Lineage) {
			a.placed[p.Lineage] = a.placed[p.Lineage].with(o)
		}
	}
}

func (a *atlas) unplace(o *owner, id string) {
	before, ok := a.placed[id]
	if !ok {
		return
	}
	if left := before.without(o); left.empty() {
		delete(a.placed, id)
	} else {
		a.placed[id] = left
	}
}

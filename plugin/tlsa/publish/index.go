package publish

import (
	"strings"

	"github.com/coredns-tlsa/coredns-tlsa/plugin/tlsa/rollover"
)

// add makes o known to the lineages that come from now on.
func (a *atlas) add(o *owner) {
	host := strings.TrimSuffix(o.Host, ".")
	a.byHost[host] = append(a.byHost[host], o)
	a.bySAN = a.bySAN || len(o.From) == 0
	if o.dynamic == nil {
		for _, from := range o.From {
			a.byFrom[from] = append(a.byFrom[from], o)
		}
		if len(o.From) > 0 {
			return
		}
	}
	if !o.wild() {
		_, above, _ := strings.Cut(host, ".")
		if o.dynamic != nil {
			o.dynamic.among = len(a.byParent[above])
		}
		a.byParent[above] = append(a.byParent[above], o)
	}
}

// drop takes a dynamic owner out.
func (a *atlas) drop(o *owner) {
	for id := range o.lineages {
		delete(a.lineages[id].owners, o)
		a.remap(a.lineages[id])
	}
	for _, k := range o.timeline.Keys {
		for _, p := range k.Places {
			if m := a.missing[p.File]; m != nil {
				delete(m.owners, o)
			}
		}
	}
	o.timeline = rollover.Timeline{}
	a.keep(o)
	host := strings.TrimSuffix(o.Host, ".")
	if a.byHost[host] = without(a.byHost[host], o); len(a.byHost[host]) == 0 {
		delete(a.byHost, host)
	}
	if o.wild() {
		return
	}
	// Dynamic owners stand behind the others, so the last is one of them, and all of a customer's can leave in little time.
	_, above, _ := strings.Cut(host, ".")
	among := a.byParent[above]
	last := len(among) - 1
	among[o.dynamic.among], among[last].dynamic.among = among[last], o.dynamic.among
	among[last] = nil
	if a.byParent[above] = among[:last]; last == 0 {
		delete(a.byParent, above)
	}
}

// find gives the owner of a name.
func (a *atlas) find(name string) *owner {
	_, host := split(name)
	for _, o := range a.byHost[strings.TrimSuffix(host, ".")] {
		if o.Name == name {
			return o
		}
	}
	return nil
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

package zone

import (
	"slices"
	"strings"
)

// A node is what a table knows of one base and of the names that only underscore labels tell from it. It is never changed.
// A million owners have some hundred thousand hosts with the same few services each, so a node has next to nothing of its own:
// which names there are is shared with all hosts that have the same, and one Set serves all owners that answer alike.
type node struct {
	names *names // not nil
	set   *Set   // the owners' answer, where all have the same
}

// below counts the owners that bring a name into being from below another base.
type below struct {
	lead   string
	owners int
}

// A place is where an owner stands among the names of its base.
type place struct {
	lead string // the owner's
	stop string // that of its host or its apex, whichever comes first on the way up: what stands between is ours
	up   bool   // stop is not the apex, so it and what is above it exist because of the owner
}

func (p place) compare(q place) int { return strings.Compare(p.lead, q.lead) }

// names are those of a base with its owners.
type names struct {
	places  []place // the owners, by lead
	entries []name  // by lead
	key     string  // the places in one word
	hosts   int     // nodes that have them, for the writer

	// The rest is of one node, which then has a copy to itself.
	sets  []*Set  // the owners' answers in the order of places, where they differ
	below []below // the names that have owners below other bases
}

type name struct {
	lead        string
	ours, above bool
	owner       int // among places; -1: it is none
}

func (n *node) entry(lead string) Entry {
	var e Entry
	if m := n.names.find(lead); m != nil {
		e.Ours, e.Above = m.ours, m.above
		if m.owner >= 0 {
			e.Owner, e.Set = true, n.answer(m.owner)
		}
	}
	for i := range n.names.below {
		e.Above = e.Above || n.names.below[i].lead == lead
	}
	return e
}

// fewNames are looked through faster than searched: most differ in length already.
const fewNames = 12

// find gives the name of a lead, nil if there is none.
func (n *names) find(lead string) *name {
	low, high := 0, len(n.entries)
	for high-low > fewNames {
		middle := (low + high) / 2
		if n.entries[middle].lead <= lead {
			low = middle
		} else {
			high = middle
		}
	}
	for i := low; i < high; i++ {
		if n.entries[i].lead == lead {
			return &n.entries[i]
		}
	}
	return nil
}

// answer gives the Set of the owner with a number.
func (n *node) answer(owner int) *Set {
	if n.names.sets != nil {
		return n.names.sets[owner]
	}
	return n.set
}

// newNames makes what the places bring into being.
func newNames(places []place, key string) *names {
	byLead := map[string]*name{}
	at := func(lead string) *name {
		if byLead[lead] == nil {
			byLead[lead] = &name{lead: lead, owner: -1}
		}
		return byLead[lead]
	}
	for i, p := range places {
		at(p.lead).owner = i
		for lead := p.lead; lead != p.stop; {
			at(lead).ours = true
			_, lead, _ = strings.Cut(lead, ".")
		}
		if p.up {
			at(p.stop).above = true
		}
	}
	n := &names{places: places, key: key}
	for _, m := range byLead {
		n.entries = append(n.entries, *m)
	}
	slices.SortFunc(n.entries, func(a, b name) int { return strings.Compare(a.lead, b.lead) })
	return n
}

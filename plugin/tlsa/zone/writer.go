package zone

import (
	"hash/maphash"
	"maps"
	"slices"
	"strconv"
	"strings"
)

// A Writer changes a table. Only one goroutine may use it at a time.
type Writer struct {
	table *Table
	// drafts are the nodes that the next Flush shows, by base.
	drafts map[string]*draft
	// names are those in use, by key.
	names map[string]*names
	// changed are the apexes under which the next Flush shows something else.
	changed map[string]struct{}
}

// A draft is a node that is being changed.
type draft struct {
	owners []drafted // by lead
	below  []below
}

type drafted struct {
	place
	set *Set
}

// NewWriter gives the one writer of t, which must be empty.
func NewWriter(t *Table) *Writer {
	return &Writer{table: t, drafts: map[string]*draft{}, names: map[string]*names{}, changed: map[string]struct{}{}}
}

// Set gives owner, whose base domain is host and which lies in the zone apex, the answer set; nil takes the owner out. All
// names are lower case and fully qualified. Nothing shows before Flush.
func (w *Writer) Set(owner, host, apex string, set *Set) {
	lead, base := split(owner)
	if len(base) == len(host) {
		base = host // it is kept, and owner need not be
	}
	if w.drafts[base] == nil && set != nil {
		if e, _ := w.table.Lookup(owner); e.Owner && e.Set.Equal(set) {
			return // a start sets all owners twice
		}
	}
	d := w.draft(base)
	i, was := slices.BinarySearchFunc(d.owners, place{lead: lead}, func(o drafted, p place) int { return o.compare(p) })
	if !was && set == nil {
		return
	}
	if !was {
		stop := stop(owner, host, apex)
		p := place{lead: lead, up: stop != apex && stop != "."}
		p.stop, _ = split(stop)
		d.owners = slices.Insert(d.owners, i, drafted{place: p})
		w.lift(stop, base, apex, 1)
	}
	o := &d.owners[i]
	if !o.set.Equal(set) {
		w.changed[apex] = struct{}{}
		o.set = set
	}
	if set == nil {
		d.owners = slices.Delete(d.owners, i, i+1)
		w.lift(stop(owner, host, apex), base, apex, -1)
	}
}

// stop is where the names end that are ours because of owner.
func stop(owner, host, apex string) string {
	name := owner
	for name != host && name != apex {
		name = parent(name)
	}
	return name
}

// lift enters or leaves an owner in the names between its base and its apex.
func (w *Writer) lift(from, base, apex string, step int) {
	for name := from; name != apex && name != "."; name = parent(name) {
		lead, above := split(name)
		if above == base {
			continue // its own base has its place
		}
		d := w.draft(strings.Clone(above))
		i := slices.IndexFunc(d.below, func(b below) bool { return b.lead == lead })
		if i < 0 {
			i = len(d.below)
			d.below = append(d.below, below{lead: lead})
		}
		if d.below[i].owners += step; d.below[i].owners == 0 {
			d.below = slices.Delete(d.below, i, i+1)
		}
	}
}

// draft gives the node of a base to be changed.
func (w *Writer) draft(base string) *draft {
	d := w.drafts[base]
	if d != nil {
		return d
	}
	d = &draft{}
	w.drafts[base] = d
	n, ok := w.table.node(base)
	if !ok {
		return d
	}
	for i, p := range n.names.places {
		d.owners = append(d.owners, drafted{p, n.answer(i)})
	}
	d.below = slices.Clone(n.names.below)
	return d
}

// Changed gives, in order, the apexes of the owners whose answers the next Flush changes.
func (w *Writer) Changed() []string { return slices.Sorted(maps.Keys(w.changed)) }

// Flush shows what was set since the last Flush. Each base changes at once, with all of its owners; a shard is copied once.
func (w *Writer) Flush() {
	drafts := map[uint64][]string{}
	for base := range w.drafts {
		i := maphash.String(seed, base) % shardCount
		drafts[i] = append(drafts[i], base)
	}
	for i, bases := range drafts {
		old, more := w.table.shards[i].Load(), 0
		for _, base := range bases {
			if _, ok := old.get(maphash.String(seed, base), base); !ok {
				more++
			}
		}
		s := old.roomFor(more)
		for _, base := range bases {
			w.finish(s, base)
		}
		w.table.shards[i].Store(s)
	}
	w.drafts = map[string]*draft{} // a map that once was large is slow to range over for ever
	clear(w.changed)
}

// finish puts a draft in its place.
func (w *Writer) finish(s *shard, base string) {
	hash, d := maphash.String(seed, base), w.drafts[base]
	if old, ok := s.get(hash, base); ok {
		w.release(old.names.key)
	}
	if len(d.owners)+len(d.below) == 0 {
		s.remove(hash, base)
		return
	}
	n := node{names: w.share(d.owners)}
	sets, alike := make([]*Set, len(d.owners)), true
	for i, o := range d.owners {
		sets[i] = o.set
		if j := slices.IndexFunc(sets[:i], o.set.Equal); j >= 0 {
			sets[i] = sets[j]
		}
		alike = alike && sets[i] == sets[0]
	}
	if len(sets) > 0 && alike {
		n.set = sets[0]
	}
	if !alike || len(d.below) > 0 {
		own := *n.names
		if own.below = d.below; !alike {
			own.sets = sets
		}
		n.names = &own
	}
	s.put(hash, base, n)
}

// share gives the names of some owners, which are the same for all hosts that have the same.
func (w *Writer) share(owners []drafted) *names {
	var key []byte
	for _, o := range owners {
		key = append(append(key, o.lead...), ' ')
		key = append(append(key, o.stop...), ' ')
		key = strconv.AppendBool(key, o.up)
	}
	n := w.names[string(key)]
	if n == nil {
		places := make([]place, len(owners))
		for i, o := range owners {
			places[i] = place{lead: strings.Clone(o.lead), stop: strings.Clone(o.stop), up: o.up}
		}
		n = newNames(places, string(key))
		w.names[n.key] = n
	}
	n.hosts++
	return n
}

// release forgets names that no host has any more.
func (w *Writer) release(key string) {
	n := w.names[key]
	if n.hosts--; n.hosts == 0 {
		delete(w.names, key)
	}
}

// parent is the name without its first label. Escaped dots do not occur: owners are checked when the Corefile is read.
func parent(name string) string {
	_, rest, _ := strings.Cut(name, ".")
	if rest == "" {
		return "."
	}
	return rest
}

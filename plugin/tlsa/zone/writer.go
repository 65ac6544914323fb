package zone

import (
	"maps"
	"slices"
	"strings"
)

// A Writer changes a table. Only one goroutine may use it at a time.
type Writer struct {
	table *Table
	// below counts the names of ours at and under every name that the table holds.
	below   map[string]*count
	pending map[string]struct{}
	// changed are the apexes under which the next Flush shows something else.
	changed map[string]struct{}
}

type count struct {
	ours, above int
	owner       *Set
}

// NewWriter gives the one writer of t, which must be empty.
func NewWriter(t *Table) *Writer {
	return &Writer{table: t, below: map[string]*count{}, pending: map[string]struct{}{}, changed: map[string]struct{}{}}
}

// Set gives owner, whose base domain is host and which lies in the zone apex, the answer set; nil takes the owner out. All
// names are lower case and fully qualified. Nothing shows before Flush.
func (w *Writer) Set(owner, host, apex string, set *Set) {
	c := w.at(owner)
	was := c.owner != nil
	if !c.owner.equal(set) {
		w.changed[apex] = struct{}{}
	}
	c.owner = set
	if is := set != nil; was != is {
		w.count(owner, host, apex, is)
	}
	w.pending[owner] = struct{}{}
}

// Changed gives, in order, the apexes of the owners whose answers the next Flush changes.
func (w *Writer) Changed() []string { return slices.Sorted(maps.Keys(w.changed)) }

// count enters or leaves owner in the names that it brings into being.
func (w *Writer) count(owner, host, apex string, enter bool) {
	step := -1
	if enter {
		step = 1
	}
	name := owner
	for ; name != host && name != apex; name = parent(name) {
		w.at(name).ours += step
		w.pending[name] = struct{}{}
	}
	for ; name != apex && name != "."; name = parent(name) {
		w.at(name).above += step
		w.pending[name] = struct{}{}
	}
}

func (w *Writer) at(name string) *count {
	c := w.below[name]
	if c == nil {
		c = &count{}
		w.below[name] = c
	}
	return c
}

// Flush shows what was set since the last Flush. Each name changes at once; a shard is copied once.
func (w *Writer) Flush() {
	changed := map[uint64]map[string]Entry{}
	for name := range w.pending {
		s := shard(name)
		m := changed[s]
		if m == nil {
			m = map[string]Entry{}
			if old := w.table.shards[s].Load(); old != nil {
				m = maps.Clone(*old)
			}
			changed[s] = m
		}
		c := w.below[name]
		if c.owner == nil && c.ours == 0 && c.above == 0 {
			delete(m, name)
			delete(w.below, name)
			continue
		}
		m[name] = Entry{Owner: c.owner != nil, Ours: c.ours > 0, Above: c.above > 0, Set: c.owner}
	}
	for s, m := range changed {
		w.table.shards[s].Store(&m)
	}
	w.pending = map[string]struct{}{} // a map that once was large is slow to range over for ever
	clear(w.changed)
}

// parent is the name without its first label. Escaped dots do not occur: owners are checked when the Corefile is read.
func parent(name string) string {
	_, rest, _ := strings.Cut(name, ".")
	if rest == "" {
		return "."
	}
	return rest
}

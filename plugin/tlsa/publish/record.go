package publish

import (
	"cmp"
	"slices"

	"github.com/coredns-tlsa/coredns-tlsa/plugin/tlsa/certdir"
	"github.com/coredns-tlsa/coredns-tlsa/plugin/tlsa/dane"
	"github.com/coredns-tlsa/coredns-tlsa/plugin/tlsa/ledger"
	"github.com/coredns-tlsa/coredns-tlsa/plugin/tlsa/rollover"
	"github.com/coredns-tlsa/coredns-tlsa/plugin/tlsa/zone"
)

// A record is a timeline as an owner keeps it. The timeline is never changed, so that the owners of a host, and of the hosts that
// one certificate names, share a record as long as the same happens to them, which is always for most.
type record struct {
	notAfter int64              // see rollover.Timeline.NotAfter; in Unix seconds, 0 where that is zero
	open     *rollover.Timeline // nil where it is packed
	// packed is the timeline of an owner with nothing due, without what its leaves say. They are those that its lineages
	// have now: a lineage and a leaf are never changed.
	packed string
	leaves []held    // by key
	set    *zone.Set // the answer of the first owner that had one; most others have the same
}

// held is where a key is.
type held struct {
	*certdir.Lineage
	leaf int
}

// timeline is what the ledger has of o; it may be made anew each time, and must not be changed.
func (o *owner) timeline() *rollover.Timeline { return o.record.timeline() }

func (r *record) timeline() *rollover.Timeline {
	if r.open != nil {
		return r.open
	}
	t, err := r.unpack()
	if err != nil {
		panic(err) // it was read when it was made
	}
	return t
}

// file is the first that holds the leaf.
func (h held) file() string {
	if files := h.Leaves[h.leaf].Files; len(files) > 0 {
		return files[0]
	}
	return ""
}

// data is that of the association of m; empty if there is none.
func data(m dane.Material, c dane.Combination) string {
	a, err := m.Association(c)
	if err != nil {
		return ""
	}
	return a.Data
}

// strip takes out of t what unpack finds in the leaves of the keys.
func (r *record) strip(t *rollover.Timeline) {
	for i := range t.Keys {
		k, h := &t.Keys[i], r.leaves[i]
		k.Places = slices.Clone(k.Places)
		for j := range k.Places {
			if p := &k.Places[j]; p.Lineage == h.ID && p.Root == h.Root && p.File == h.file() {
				p.Root, p.Lineage, p.File = "", "", ""
			}
		}
		for j := range t.Associations {
			if a := &t.Associations[j]; i == 0 && a.Data == data(k.Material, a.Combination) {
				a.Data = ""
			}
		}
		if k.Lineage == h.Name {
			k.Lineage = ""
		}
		k.Material = dane.Material{}
	}
}

func (r *record) unpack() (*rollover.Timeline, error) {
	t, err := ledger.Unpack(r.packed)
	if err != nil {
		return nil, err
	}
	for i := range t.Keys {
		k, h := &t.Keys[i], r.leaves[i]
		k.Material = h.Leaves[h.leaf].Material
		k.Lineage = cmp.Or(k.Lineage, h.Name)
		for j := range k.Places {
			if p := &k.Places[j]; p.Root == "" {
				p.Root, p.Lineage, p.File = h.Root, h.ID, h.file()
			}
		}
	}
	for i := range t.Associations {
		if a := &t.Associations[i]; a.Data == "" && len(t.Keys) > 0 {
			a.Data = data(t.Keys[0].Material, a.Combination)
		}
	}
	return t, nil
}

func (r *record) equal(s *record) bool {
	if r.open != nil && s.open != nil {
		return r.open.Equal(s.open)
	}
	return r.open == s.open && r.packed == s.packed && slices.Equal(r.leaves, s.leaves)
}

func newRecord(t *rollover.Timeline) *record {
	r := &record{open: t}
	if at := t.NotAfter(); !at.IsZero() {
		r.notAfter = at.Unix()
	}
	return r
}

// write makes the answer and the record of what was decided for an owner. A settled one is packed: nothing is due, not even that
// it is served.
func (p *Publisher) write(d *decided) {
	o := d.owner
	d.set = zone.NewSet(d.RRset, p.cfg.TTL)
	if had := o.record.set; had.Equal(d.set) {
		d.set = had
	}
	d.next = p.next(o, d.Next)
	settled := d.next == 0 && len(d.Problems) == 0 && (p.serving || !slices.ContainsFunc(d.Timeline.Associations, unserved))
	if d.same && settled && o.current() {
		return
	}
	t := d.Timeline // a copy, which does not keep the rest of the decision
	if d.record = newRecord(&t); settled {
		d.record = o.pack(d.record)
	}
}

func unserved(t rollover.Times) bool { return t.PublishedAt.IsZero() }

// current tells whether the record of o is packed with the leaves that its lineages have now.
func (o *owner) current() bool {
	return o.record.open == nil && !slices.ContainsFunc(o.record.leaves, func(h held) bool {
		at, ok := o.seat(h.ID)
		return !ok || o.seats[at].Lineage != h.Lineage
	})
}

// share makes r the record of o, or one that says the same: that of a sibling, or of another host of its first lineage.
func (o *owner) share(r *record) {
	o.record = r
	for _, sibling := range o.owners {
		if sibling != o && sibling.record.equal(r) {
			o.record = sibling.record
			return
		}
	}
	if len(o.seats) == 0 {
		return
	}
	if l := o.seats[0].lineage; l.record != nil && l.record.equal(r) {
		o.record = l.record
	} else {
		l.record = r
	}
}

// answer is set, or what others with the record have where that is the same.
func (r *record) answer(set *zone.Set) *zone.Set {
	if r.set == nil {
		r.set = set
	}
	if r.set.Equal(set) {
		return r.set
	}
	return set
}

// pack gives r packed, or r itself where that would lose something: a key that no lineage of o holds, a name that is empty, a
// moment between two milliseconds.
func (o *owner) pack(r *record) *record {
	t, packed := *r.open, &record{notAfter: r.notAfter}
	for _, k := range t.Keys {
		h, ok := o.holder(k.Material)
		if !ok {
			return r
		}
		packed.leaves = append(packed.leaves, h)
	}
	t.Keys, t.Associations = slices.Clone(t.Keys), slices.Clone(t.Associations)
	packed.strip(&t)
	var err error
	if packed.packed, err = ledger.Pack(&t); err != nil {
		return r
	}
	if again, err := packed.unpack(); err != nil || !again.Equal(r.open) {
		return r
	}
	return packed
}

// holder finds m where a lineage of s has it.
func (s *site) holder(m dane.Material) (held, bool) {
	for _, t := range s.seats {
		for _, i := range t.leaves {
			if t.Leaves[i].Material == m {
				return held{t.Lineage, i}, true
			}
		}
	}
	return held{}, false
}

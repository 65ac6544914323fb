package publish

import (
	"slices"
	"strings"
	"time"

	"github.com/coredns-tlsa/coredns-tlsa/plugin/tlsa/dane"
	"github.com/coredns-tlsa/coredns-tlsa/plugin/tlsa/rollover"
)

// A class is what the owners of one line of the Corefile in one zone have in common.
type class struct {
	written Owner           // the line
	prefix  string          // of the owners' names: _443._tcp.
	zone    string          // the longest of the block's zones that they lie in
	pattern *pattern        // nil for an owner that the Corefile names
	policy  rollover.Policy // the line's, with what the zone's SOA adds
	unseen  record          // of an owner that has no timeline yet
}

func newClass(line Owner, prefix, zone string, pt *pattern) *class {
	return &class{written: line, prefix: prefix, zone: zone, pattern: pt, unseen: record{open: &rollover.Timeline{}}}
}

// owner is an Owner at work. There may be a million, so it is small: what it has in common with others stands in its class
// and its site, what it has only now and then in its extra.
type owner struct {
	*class
	*site

	record *record // of its timeline
	extra  *extra  // nil for most
	at     int32   // in Publisher.owners, for one of a pattern
	tally  tally
	answer rollover.Answer
	flags  flags
}

// newOwner makes one that the Corefile names.
func newOwner(cfg Config, c Owner) *owner {
	lead, _ := split(c.Name)
	line := newClass(c, lead, longest(cfg.Zones, c.Name), nil)
	return &owner{class: line, record: &line.unseen}
}

type flags uint8

const (
	inZone     flags = 1 << iota // the zone was there when it was last asked about the owner
	counted                      // the figures have it
	unremarked                   // Publisher.unremarked has it
)

// A tally counts the associations of an owner by state, and those that are ungated.
type tally struct {
	states  [rollover.Removed]uint16
	ungated uint16
}

func (t tally) records() int {
	n := 0
	for _, s := range t.states {
		n += int(s)
	}
	return n
}

// extra is what an owner has while something is due, or not as it is with most.
type extra struct {
	due   time.Time // when the next change is due; zero: none
	index int       // in the queue; -1: not there
	// ready and removal are those of OwnerFigures.
	ready, removal time.Time
	odd            *odd // nil for most
}

// odd is what few owners have.
type odd struct {
	adopted bool // the timeline is not yet in the ledger under this block
	// unrecorded are keys that are shown though the ledger could not take them, or their return.
	unrecorded []rollover.Key
	shown      []dane.Association // what is shown, where that is more than the timeline says

	untold []rollover.Transition // not logged before the start is sure

	view    ZoneView // what the zone has; Known is in flags
	remarks Remarks
	signed  bool // the zone comes with signatures of its own

	missed int            // complete sweeps since a lineage last named it, if it is of a pattern
	since  rollover.Stamp // when those were enough, and its grace began; zero: not yet
}

// none tells whether d says nothing.
func (d *odd) none() bool {
	return !d.adopted && d.unrecorded == nil && d.shown == nil && d.untold == nil && !d.signed && d.missed == 0 && d.since.IsZero() && d.view.none() && d.remarks == (Remarks{})
}

func (v *ZoneView) none() bool {
	return v.Cut == "" && v.TLSA == nil
}

// odd gives what is odd about o, to be read.
func (o *owner) odd() odd {
	if o.extra == nil || o.extra.odd == nil {
		return odd{}
	}
	return *o.extra.odd
}

// alter changes what is odd about o.
func (o *owner) alter(f func(*odd)) {
	d := o.odd()
	f(&d)
	if d.none() {
		if o.extra != nil {
			o.extra.odd = nil
			o.trim()
		}
		return
	}
	o.more().odd = &d
}

// ease takes back some of what is odd about o, which is nothing with most.
func (o *owner) ease(f func(*odd)) {
	if o.extra != nil && o.extra.odd != nil {
		o.alter(f)
	}
}

// more gives the extra of o, to be changed.
func (o *owner) more() *extra {
	if o.extra == nil {
		o.extra = &extra{index: -1}
	}
	return o.extra
}

// trim drops the extra of o where it says nothing.
func (o *owner) trim() {
	if e := o.extra; e != nil && e.odd == nil && e.index < 0 && e.ready.IsZero() && e.removal.IsZero() {
		o.extra = nil
	}
}

// name is _25._tcp.mail.example.org. It is made anew each time.
func (o *owner) name() string { return o.prefix + o.host }

// compare orders owners by name.
func (o *owner) compare(p *owner) int {
	switch {
	case o.prefix == p.prefix:
		return strings.Compare(o.host, p.host)
	case strings.HasPrefix(o.prefix, p.prefix), strings.HasPrefix(p.prefix, o.prefix):
		return strings.Compare(o.name(), p.name())
	}
	return strings.Compare(o.prefix, p.prefix)
}

// lineOf is the owner as the Corefile could have it.
func (o *owner) lineOf() Owner {
	return Owner{Name: o.name(), Host: o.host, From: o.written.From, Policy: o.written.Policy}
}

// view is what the zone has at and above o.
func (o *owner) view() ZoneView {
	v := o.odd().view
	v.Known = o.flags&inZone != 0
	return v
}

// served tells whether queries for it are ours to answer.
func (o *owner) served() bool {
	d := o.odd()
	return d.view.Cut == "" && !d.signed
}

// shown are the associations that queries are answered with.
func (o *owner) shown() []dane.Association {
	if shown := o.odd().shown; shown != nil {
		return shown
	}
	return o.timeline().RRset()
}

// base is the timeline that the next decision starts from. An owner that is shown has records, recorded or not, so that what
// comes next is not its first.
func (o *owner) base() rollover.Timeline {
	t, d := *o.timeline(), o.odd()
	t = t.With(d.unrecorded)
	if len(d.shown) > 0 && len(t.Associations) == 0 { // a pin may be all that is shown
		t.NoneSince = rollover.Stamp{}
	}
	return t
}

// is tells whether from names the lineage: by its name, its directory, or one of its files.
func (l *lineage) is(from string) bool {
	_, file := l.File(from)
	return from == l.Name || from == l.Dir || from == l.ID || file
}

// places are the files that the timelines know.
func (p *Publisher) places() map[string]bool {
	places := map[string]bool{}
	for _, o := range p.owners {
		for _, k := range o.timeline().Keys {
			for _, place := range k.Places {
				places[place.File] = true
			}
		}
	}
	return places
}

// wants tells whether some owner has a combination of a kind, or its zone.
func (p *Publisher) wants(kind func(dane.Combination) bool) bool {
	for _, o := range slices.Concat(p.cfg.Owners, p.cfg.Patterns) {
		if slices.ContainsFunc(o.Policy.Combinations, kind) {
			return true
		}
	}
	return slices.ContainsFunc(p.owners, func(o *owner) bool {
		return slices.ContainsFunc(o.odd().view.TLSA, func(a dane.Association) bool { return kind(a.Combination) })
	})
}

func wholeCertificate(c dane.Combination) bool {
	return c.Selector == dane.Cert && c.MatchingType == dane.Full
}

func issuer(c dane.Combination) bool { return c.Usage.OfIssuer() }

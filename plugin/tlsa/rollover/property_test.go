package rollover

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"testing"
	"time"

	"github.com/coredns-tlsa/coredns-tlsa/plugin/tlsa/dane"

	"pgregory.net/rapid"
)

// A mark is when something happened, by both clocks, which may be set wrong, and by true time, which nothing else sees.
type mark struct {
	at      Stamp
	real    time.Duration
	largest uint32 // the largest TTL that a cache could count by then
}

// A driver lives a random life with an owner, and keeps its own account of it.
type driver struct {
	*world
	rt      *rapid.T
	real    time.Duration // true time
	wall    time.Duration // what the wall clock shows
	service time.Duration
	failing bool // commits fail

	shown     []dane.Association // what queries are answered with
	none      mark               // since when there is nothing to answer with
	published map[dane.Association]*mark
	retired   map[dane.Material]*mark
	unfixed   map[Fixed]*mark
	ttls      []TTLUse // Until by true time, as Service
}

func newDriver(rt *rapid.T) *driver {
	d := &driver{world: newWorld(rt), rt: rt}
	d.service = 1000 * hour
	d.forget()
	return d
}

// forget is what a lost ledger does.
func (d *driver) forget() {
	d.timeline, d.ttls, d.shown = Timeline{}, nil, nil
	d.published, d.retired, d.unfixed = map[dane.Association]*mark{}, map[dane.Material]*mark{}, map[Fixed]*mark{}
	d.now = clocks(d.wall, d.service)
	d.none = d.mark()
}

func (d *driver) mark() mark { return mark{at: d.now, real: d.real, largest: d.largest()} }

// largest is the largest TTL that a cache can count by now, by true time.
func (d *driver) largest() uint32 {
	largest := d.p.TTL
	for _, u := range d.ttls {
		if d.real-u.Until.Service < time.Duration(u.TTL)*time.Second {
			largest = max(largest, u.TTL)
		}
	}
	return largest
}

// passed tells whether a wait since m is over by both clocks and by true time.
func (d *driver) passed(m *mark, wait time.Duration) bool {
	return m != nil && d.now.Wall.Sub(m.at.Wall) >= wait && d.now.Service-m.at.Service >= wait && d.real-m.real >= wait
}

// clamped sets marks that lie in the future to now, as rule 4 has it.
func (d *driver) clamped() {
	marks := slices.Collect(maps.Values(d.published))
	marks = slices.AppendSeq(marks, maps.Values(d.retired))
	marks = slices.AppendSeq(marks, maps.Values(d.unfixed))
	for _, m := range append(marks, &d.none) {
		if m.at.Wall.After(d.now.Wall) {
			m.at.Wall = d.now.Wall
		}
		m.at.Service = min(m.at.Service, d.now.Service)
	}
}

// act is what the caller does at an instant.
func (d *driver) act() {
	d.now = clocks(d.wall, d.service)
	d.clamped()
	dec := d.decide()
	before := d.shown
	if dec.Changed && d.failing {
		d.shown = dane.Canonical(slices.Concat(d.shown, dec.RRset))
		return
	}
	d.commit(dec)
	t, changed := Served(d.timeline, d.now)
	if changed && !d.failing {
		d.timeline = t
		d.commit(d.decide())
	}
	if len(before) > 0 && len(d.shown) == 0 {
		d.none = d.mark()
	}
}

// commit checks a step from one recorded timeline to the next, and records it.
func (d *driver) commit(dec Decision) {
	before, after := d.timeline, dec.Timeline
	if len(before.Associations) > 0 && len(after.Associations) == 0 && !d.operatorTook(before) {
		d.rt.Fatalf("the RRset became empty, and it was not the operator")
	}
	for i := range before.Keys {
		d.checkRetired(&before.Keys[i], &after)
	}
	for _, a := range before.Associations {
		d.checkLeaving(a.Association, &before, &after)
	}
	for _, a := range after.Associations {
		d.checkReady(a, &before)
	}
	d.checkAgility(&after)
	d.timeline, d.shown, d.last = after, dec.RRset, dec
	d.account()
	d.checkNext()
}

// account keeps the driver's own marks.
func (d *driver) account() {
	for _, a := range d.shown {
		if d.published[a] == nil {
			m := d.mark()
			d.published[a] = &m
		}
	}
	maps.DeleteFunc(d.published, func(a dane.Association, _ *mark) bool { return !slices.Contains(d.shown, a) })
	for _, k := range d.timeline.Keys {
		if m := d.mark(); k.RetiredAt.IsZero() {
			delete(d.retired, bareOf(k.Material))
		} else if d.retired[bareOf(k.Material)] == nil {
			d.retired[bareOf(k.Material)] = &m
		}
	}
	for _, f := range d.timeline.Fixed {
		id := Fixed{Association: f.Association, Zone: f.Zone}
		if m := d.mark(); f.RetiredAt.IsZero() {
			delete(d.unfixed, id)
		} else if d.unfixed[id] == nil {
			d.unfixed[id] = &m
		}
	}
}

// bareOf gives m without what may come and go.
func bareOf(m dane.Material) dane.Material {
	m.Leaf.DER, m.Issuer.DER = "", ""
	return m
}

// operatorTook tells whether the Corefile lost something that before stands on.
func (d *driver) operatorTook(before Timeline) bool {
	return len(d.p.Combinations) == 0 || slices.ContainsFunc(before.Fixed, func(f Fixed) bool {
		return !f.Zone && !slices.Contains(d.p.Pins, f.Association)
	})
}

// checkRetired wants evidence from every place of a key that is retired.
func (d *driver) checkRetired(k *Key, after *Timeline) {
	if !k.RetiredAt.IsZero() || !slices.ContainsFunc(after.Keys, func(l Key) bool {
		return bareOf(l.Material) == bareOf(k.Material) && !l.RetiredAt.IsZero()
	}) {
		return
	}
	for _, p := range k.Places {
		f, ok := d.files[p.File]
		switch {
		case !ok || f.Doubt:
			d.rt.Fatalf("%s was retired though %s is in doubt", k.Lineage, p.File)
		case f.Unmapped || f.Gone >= 3:
		case f.Gone > 0 || slices.ContainsFunc(f.Leaves, func(m dane.Material) bool { return sameCertificate(m, k.Material) }):
			d.rt.Fatalf("%s was retired though %s may hold it", k.Lineage, p.File)
		}
	}
}

// sameCertificate is told by the certificates alone; a chain without its issuer contradicts nothing.
func sameCertificate(a, b dane.Material) bool {
	a, b = bareOf(a), bareOf(b)
	return a.Leaf == b.Leaf && (a.Issuer == b.Issuer || a.Issuer == dane.Fingerprint{} || b.Issuer == dane.Fingerprint{})
}

// checkLeaving wants a reason for each association that leaves the RRset (I3).
func (d *driver) checkLeaving(a dane.Association, before, after *Timeline) {
	if slices.Contains(after.RRset(), a) {
		return
	}
	left := !slices.Contains(after.Combinations, a.Combination)
	if left && slices.Contains(d.p.Combinations, a.Combination) {
		d.rt.Fatalf("%s left, and the Corefile wants it", a.Combination)
	}
	for i := range before.Keys {
		k := &before.Keys[i]
		if !slices.Contains(associations(k, before.Combinations), a) || left || len(d.p.Combinations) == 0 {
			continue
		}
		m := d.retired[bareOf(k.Material)]
		if m == nil || !d.passed(m, max(d.p.Grace, d.p.Propagation+2*time.Duration(m.largest)*time.Second)) {
			d.rt.Fatalf("%s left before its time: its key retired at %+v, now is %+v", a, k.RetiredAt, d.now)
		}
	}
	for _, f := range before.Fixed {
		m := d.unfixed[Fixed{Association: f.Association, Zone: f.Zone}]
		switch {
		case f.Association != a:
		case !f.Zone && slices.Contains(d.p.Pins, a):
			d.rt.Fatalf("the pin %s left", a)
		case f.Zone && (m == nil || !d.passed(m, d.p.Grace)):
			d.rt.Fatalf("the zone's record %s left before its time", a)
		}
	}
}

// checkReady wants hold to have passed for what has become Ready.
func (d *driver) checkReady(a Times, before *Timeline) {
	i := slices.IndexFunc(before.Associations, func(t Times) bool { return t.Association == a.Association })
	if a.ReadyAt.IsZero() || i >= 0 && !before.Associations[i].ReadyAt.IsZero() {
		return
	}
	m := d.published[a.Association]
	if a.First {
		m = &mark{d.none.at, d.none.real, d.largest()}
	}
	if m == nil || !d.passed(m, max(d.p.Hold, d.p.Propagation+2*time.Duration(m.largest)*time.Second)) {
		d.rt.Fatalf("%s is Ready before its time: published %+v, first %v, now is %+v, marked %+v", a.Association, a.PublishedAt, a.First, d.now, m)
	}
}

// checkAgility wants the same matching types of every usage and selector for all keys (RFC 7671 9).
func (d *driver) checkAgility(t *Timeline) {
	rrset := t.RRset()
	types := map[dane.Combination]string{}
	for i := range t.Keys {
		mine := map[dane.Combination]string{}
		for _, a := range associations(&t.Keys[i], t.Combinations) {
			if !slices.Contains(rrset, a) {
				d.rt.Fatalf("%s is missing", a)
			}
			pair := a.Combination
			pair.MatchingType = 0
			mine[pair] += fmt.Sprint(a.MatchingType)
		}
		for pair, have := range mine {
			if all, known := types[pair]; known && all != have {
				d.rt.Fatalf("%s: one key has the matching types %s, another %s", pair, all, have)
			}
			types[pair] = have
		}
	}
	for _, a := range rrset {
		fixed := slices.ContainsFunc(t.Fixed, func(f Fixed) bool { return f.Association == a })
		if !fixed && !slices.Contains(t.Combinations, a.Combination) {
			d.rt.Fatalf("%s is published and in no combination", a)
		}
	}
}

// checkNext wants that nothing happens before Next, and something at Next.
func (d *driver) checkNext() {
	o := d.observe()
	soon := func(after time.Duration) Decision {
		return Decide(d.timeline, o, d.p, clocks(d.wall+after, d.service+after))
	}
	quiet := d.last.Next - 1
	if d.last.Next == 0 {
		quiet = 4000 * day
	}
	if now := soon(quiet); now.Changed || len(now.Transitions) > 0 {
		d.rt.Fatalf("next change is in %v, but %v before it there is %+v\nwas %+v", d.last.Next, quiet, now, d.timeline)
	}
	blocked := func(ps []Problem) bool {
		return slices.ContainsFunc(ps, func(p Problem) bool { return p.Reason == LastAssociation })
	}
	if d.last.Next > 0 {
		if now := soon(d.last.Next); !now.Changed && !blocked(now.Problems) {
			d.rt.Fatalf("nothing happens at the next change: %+v", d.timeline)
		}
	}
}

// happen changes the world at random.
func (d *driver) happen() {
	pick := func(label string, of ...string) string { return rapid.SampledFrom(of).Draw(d.rt, label) }
	path := pick("file", "certs/a/1.pem", "certs/b/2.pem", "next/a/3.pem", "next/b/4.pem")
	f := d.files[path]
	switch what := pick("event", "time", "time", "time", "next", "next", "jump", "restart", "crash", "put", "put", "put", "doubt",
		"gone", "gone", "lost", "unmapped", "reload", "reload", "reload", "reload", "disk", "ledger"); {
	case what == "time":
		d.pass(rapid.SampledFrom([]time.Duration{1, time.Minute, hour, 5 * hour, day, 20 * day}).Draw(d.rt, "passes"))
	case what == "next":
		d.pass(d.last.Next - time.Duration(rapid.IntRange(0, 1).Draw(d.rt, "early")))
	case what == "jump":
		d.wall += rapid.SampledFrom([]time.Duration{-300 * day, -hour, -1, time.Minute, day, 300 * day}).Draw(d.rt, "jumps")
	case what == "crash":
		d.service = max(0, d.service-rapid.SampledFrom([]time.Duration{1, time.Minute, 5 * time.Minute}).Draw(d.rt, "loses"))
	case what == "restart":
		d.real, d.wall, d.seen.Known = d.real+hour, d.wall+hour, false
		d.act()
		d.seen.Known = true
	case what == "put":
		names := rapid.SliceOfNDistinct(rapid.SampledFrom([]string{"A", "A'", "B<X", "B<Y", "B", "C<X", "R", "R2<X", "A?", "B?", "R2?"}), 1, 2,
			rapid.ID).Draw(d.rt, "leaves")
		if path[0] == 'c' {
			names = slices.DeleteFunc(names, func(n string) bool { return n[len(n)-1] == '?' })
		}
		d.put(path, names...)
	case what == "reload":
		d.reload(pick("option", "combinations", "pins", "zone", "ttl"))
	case what == "disk":
		d.failing = !d.failing
	case what == "ledger":
		d.forget()
	case f == nil:
	case what == "doubt":
		f.Doubt = !f.Doubt
	case what == "gone":
		f.FileState = FileState{Gone: f.Gone + uint64(rapid.IntRange(1, 3).Draw(d.rt, "sweeps")), Lost: f.Lost}
	case what == "lost":
		f.FileState = FileState{Gone: 3, Lost: true}
	case what == "unmapped":
		f.Unmapped = !f.Unmapped
	}
}

// reload changes an option of the Corefile, or the zone's own records.
func (d *driver) reload(what string) {
	switch {
	case what == "combinations":
		d.p.Combinations = combinations(rapid.SampledFrom([]string{"3 1 1", "3 1 1", "3 1 1, 3 1 2", "3 0 1, 3 1 1", "2 1 1, 3 1 1", "3 0 0, 3 1 1",
			"3 1 2", "2 1 1", ""}).Draw(d.rt, "as"))
	case what == "pins":
		d.p.Pins = rapid.SampledFrom([][]dane.Association{nil, {association("W", "3 1 1")}, {association("A", "3 1 1")}}).Draw(d.rt, "pins")
	case what == "zone":
		d.seen.ZoneKnown = rapid.Bool().Draw(d.rt, "known")
		d.seen.Zone = rapid.SampledFrom([][]dane.Association{nil, {association("V", "3 1 1")}, {
			association("V", "3 1 2"), association("A", "3 1 1")}}).Draw(d.rt, "zone")
	case what == "ttl" && !d.failing: // a TTL that was never recorded is beyond what a timeline can know
		d.ttls = append(d.ttls, TTLUse{TTL: d.p.TTL, Until: Stamp{Service: d.real}})
		ttl(rapid.SampledFrom([]uint32{1, 60, 600, 3600}).Draw(d.rt, "ttl"))(d.world)
		d.p.Grace = max(2*time.Duration(d.p.TTL)*time.Second, rapid.SampledFrom([]time.Duration{0, 48 * hour}).Draw(d.rt, "grace"))
		d.p.UntilExpiry = rapid.Bool().Draw(d.rt, "notafter")
	}
}

func (d *driver) pass(after time.Duration) {
	after = max(after, 0)
	d.real, d.wall, d.service = d.real+after, d.wall+after, d.service+after
}

// TestNoLifeBreaksAPromise lives random lives: rollovers of all kinds, doubt, clocks that jump, disks that fail, ledgers that are
// lost, and an operator who changes everything.
func TestNoLifeBreaksAPromise(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		d := newDriver(rt)
		d.put("certs/a/1.pem", "A")
		for range rapid.IntRange(1, 60).Draw(rt, "events") {
			d.act()
			d.happen()
		}
		d.act()
	})
}

// TestShuffledObservationsGiveTheSameDecision goes beyond the reversal that every test tries.
func TestShuffledObservationsGiveTheSameDecision(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		w := newWorld(rt)
		w.p.Combinations = combinations("2 1 1, 3 0 1, 3 1 1")
		for i := range rapid.IntRange(1, 16).Draw(rt, "files") {
			root := rapid.SampledFrom([]string{"certs", "next"}).Draw(rt, "root")
			w.put(fmt.Sprintf("%s/l%d/%d.pem", root, i%7, i), rapid.SliceOfN(rapid.SampledFrom([]string{
				"A", "A'", "A<X", "A<Y", "B", "B<X", "C", "C<Y", "R", "R2", "E", "F", "G", "H", "I", "J", "K", "L", "M"}), 1, 3).Draw(rt, "leaves")...)
		}
		if rapid.Bool().Draw(rt, "later") {
			w.timeline.ObservedAt = at(0)
		}
		o := w.observe()
		want := Decide(w.timeline, o, w.p, at(hour))
		o.Seen = rapid.Permutation(o.Seen).Draw(rt, "order")
		for i := range o.Seen {
			o.Seen[i].Places = rapid.Permutation(o.Seen[i].Places).Draw(rt, "places")
		}
		got := Decide(w.timeline, o, w.p, at(hour))
		if !slices.Equal(got.RRset, want.RRset) || !slices.Equal(got.Problems, want.Problems) {
			rt.Fatalf("got %v, want %v", got, want)
		}
		key := func(a, b Key) int { return cmp.Compare(a.Material.Leaf.SHA256, b.Material.Leaf.SHA256) }
		if slices.CompareFunc(got.Timeline.Keys, want.Timeline.Keys, key) != 0 {
			rt.Fatalf("got %v, want %v", got.Timeline.Keys, want.Timeline.Keys)
		}
	})
}

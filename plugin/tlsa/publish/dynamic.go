package publish

import (
	"slices"
	"strings"
	"time"

	"github.com/coredns-tlsa/coredns-tlsa/plugin/tlsa/rollover"
)

// enoughMissed is how many complete sweeps must find no lineage that names a dynamic owner before its grace begins (rule 3).
const enoughMissed = 3

// mostOctets bounds the text of a name: one octet more is on the wire (RFC 1035 3.1).
const mostOctets = 254

// class gives what the owners of a pattern in one of the block's zones have in common.
func (p *Publisher) class(pt *pattern, zone string) *class {
	i := slices.IndexFunc(pt.classes, func(c *class) bool { return c.zone == zone })
	if i < 0 {
		i = len(pt.classes)
		pt.classes = append(pt.classes, newClass(pt.Owner, pt.prefix, zone, pt))
		p.govern(pt.classes[i])
	}
	return pt.classes[i]
}

// grow makes the owner of a pattern for a host, which has no dot at its end; nil if the name would be too long. It tells
// whether it is the first of its site.
func (p *Publisher) grow(pt *pattern, host string) (o *owner, first bool) {
	if len(pt.prefix)+len(host)+1 > mostOctets {
		return nil, false
	}
	c := p.class(pt, longest(p.cfg.Zones, host+"."))
	o = &owner{class: c, record: &c.unseen, at: int32(len(p.owners))}
	p.owners = append(p.owners, o)
	p.unnamed[o] = struct{}{}
	p.unknown++
	first = p.atlas.add(o, host+".")
	if !o.wild() {
		pt.figures.Hosts++
		pt.told = false
	}
	return o, first
}

// regrow makes the owner that a timeline of the ledger belongs to; nil if no pattern takes it.
func (p *Publisher) regrow(name string) *owner {
	pt, host := p.atlas.patterns.match(name)
	if pt == nil {
		return nil
	}
	o, _ := p.grow(pt, host)
	return o
}

// sprout makes the owner that a certificate names, unless there is one: then it is the Corefile's, or known already. Where the
// host was answered by a wildcard SAN, it goes on from there: a key that is new to the host is not its first.
func (p *Publisher) sprout(pt *pattern, host string) {
	if p.atlas.find(pt.prefix+host+".") != nil {
		return
	}
	o, first := p.grow(pt, host)
	if o == nil {
		p.log.Warningf("%s: a certificate names %s, which is too long a name under %s", pt.Name, host, pt.prefix)
		return
	}
	p.sprouted = append(p.sprouted, o)
	if _, above, _ := strings.Cut(host, "."); !o.wild() {
		if w := p.atlas.find(pt.prefix + "*." + above + "."); w != nil && len(w.timeline().Associations) > 0 {
			before := w.odd()
			p.atlas.remember(o, w.timeline())
			o.alter(func(d *odd) { d.adopted, d.unrecorded, d.shown = true, before.unrecorded, before.shown })
		}
	}
	if first {
		p.atlas.meet(o.site)
	}
}

// depart counts the complete sweeps that found no lineage which names a dynamic owner, and touches those whose time is over.
func (p *Publisher) depart(touched map[*owner]struct{}, swept bool) {
	for o := range touched {
		if o.pattern == nil {
			continue
		}
		if !o.named() {
			p.unnamed[o] = struct{}{}
			continue
		}
		if o.leaving() {
			p.log.Infof("%s: a certificate names its host again; it stays", o.name())
		}
		o.ease(func(d *odd) { d.missed, d.since = 0, rollover.Stamp{} })
		delete(p.unnamed, o)
	}
	if !swept {
		return
	}
	for o := range p.unnamed {
		switch {
		case p.atlas.doubtful(o):
		case o.odd().missed < enoughMissed-1:
			o.alter(func(d *odd) { d.missed++ })
		case !o.leaving():
			o.alter(func(d *odd) { d.since = p.store.Now() })
			touched[o] = struct{}{}
			p.log.Infof("%s: no certificate names its host any more; it leaves at %s unless one does again", o.name(), moment(p.left(o)))
		case p.left(o) <= 0:
			touched[o] = struct{}{}
		}
	}
}

// doubtful tells whether what named the host of o may only be out of sight (rule 4).
func (a *atlas) doubtful(o *owner) bool {
	if !a.known() {
		return true
	}
	for _, k := range o.timeline().Keys {
		for _, p := range k.Places {
			if a.hides(o, k, p) {
				return true
			}
		}
	}
	return false
}

// hides tells whether the place p of the key k may hold what named the host of o, though nobody can see it now.
func (a *atlas) hides(o *owner, k rollover.Key, p rollover.Place) bool {
	root := a.roots[p.Root]
	switch {
	case root == nil:
		return !a.complete() // the Corefile no longer has the root: see absent
	case !root.Complete, root.MixedOwners && len(o.written.From) == 0:
		return true
	}
	l := a.lineages[p.Lineage]
	if l == nil {
		return !p.Staged && (k.Frozen || a.lost[p.Lineage]) // what was staged goes when it has been installed
	}
	f, _ := l.File(p.File)
	return f.Doubt != nil
}

// leaving tells whether o is of a pattern and nothing has named it for long enough.
func (o *owner) leaving() bool { return !o.odd().since.IsZero() }

// left is how long o is still due its records, once nothing names it.
func (p *Publisher) left(o *owner) time.Duration {
	since, now := o.odd().since, p.store.Now()
	if since.Wall.After(now.Wall) {
		since.Wall = now.Wall // the clock was set back (rule 4)
		o.alter(func(d *odd) { d.since = since })
	}
	return o.timeline().LeaveIn(o.policy, since, now)
}

// next is when o is due, of itself after the given time or, if it is on its way out, for that; 0: never.
func (p *Publisher) next(o *owner, after time.Duration) time.Duration {
	if !o.leaving() {
		return after
	}
	if left := p.left(o); left > 0 && (after == 0 || left < after) {
		return left
	}
	return after
}

// leave takes out the touched owners whose time is over: of the ledger first, then of the answers.
func (p *Publisher) leave(touched map[*owner]struct{}) {
	changes := map[string]*rollover.Timeline{}
	var leaving []*owner
	for o := range touched {
		if o.leaving() && p.left(o) <= 0 && !p.atlas.doubtful(o) {
			changes[o.name()] = nil
			leaving = append(leaving, o)
		}
	}
	if len(leaving) == 0 {
		return
	}
	part := nextPart()
	if !p.record(changes, part) {
		return // the next sweep tries again
	}
	for _, o := range leaving {
		delete(touched, o)
		p.log.Infof("%s: has left, because no certificate has named its host for all of grace; caches may hold its records until %s",
			o.name(), moment(o.timeline().LargestTTL()+o.policy.Propagation))
		p.remove(o)
	}
	p.flush(part)
}

// remove forgets a dynamic owner.
func (p *Publisher) remove(o *owner) {
	p.put(o, nil)
	p.queue.schedule(o, time.Time{}, 0)
	p.problems.set(o.name(), nil)
	o.pattern.count(o.figures(), OwnerFigures{})
	p.uncount(o)
	if !o.wild() {
		o.pattern.figures.Hosts--
		o.pattern.told = false
	}
	if o.answer == rollover.Unknown {
		p.unknown--
	}
	p.atlas.drop(o)
	delete(p.failed, o)
	delete(p.unnamed, o)
	last := p.owners[len(p.owners)-1]
	p.owners[o.at], last.at = last, o.at
	p.owners[len(p.owners)-1] = nil
	p.owners = p.owners[:len(p.owners)-1]
}

// expected takes out of an owner's problems what is in order where nothing names it any more.
func (o *owner) expected(ps []rollover.Problem) []rollover.Problem {
	if !o.leaving() {
		return ps
	}
	leaving := []rollover.Reason{rollover.LastAssociation, rollover.NoSuccessor, rollover.NoCertificate}
	return slices.DeleteFunc(ps, func(p rollover.Problem) bool { return slices.Contains(leaving, p.Reason) })
}

// count joins the figures of an owner to those of its pattern. What they make too large, or too early, stays until the next
// survey: a change costs nothing for the other owners.
func (pt *pattern) count(was, is OwnerFigures) {
	pt.told = pt.told && is == was
	pt.figures.Records += is.Records - was.Records
	pt.figures.include(is)
	pt.stale = pt.stale || was != is && was != (OwnerFigures{})
}

// include takes the latest Ready, the earliest Removal and the earliest NotAfter.
func (f *OwnerFigures) include(o OwnerFigures) {
	if o.Ready.After(f.Ready) {
		f.Ready = o.Ready
	}
	earliest := func(at *time.Time, other time.Time) {
		if !other.IsZero() && (at.IsZero() || other.Before(*at)) {
			*at = other
		}
	}
	earliest(&f.Removal, o.Removal)
	earliest(&f.NotAfter, o.NotAfter)
}

// survey makes the figures of the patterns exact, and says what their `from` names in vain.
func (p *Publisher) survey() {
	again := map[*pattern]bool{}
	for _, pts := range p.atlas.patterns {
		for _, pt := range pts {
			p.problems.set(patternSource+pt.Name, p.atlas.missed(pt.From, func(from string) bool { return pt.found[from] > 0 }))
			if pt.stale {
				again[pt], pt.stale, pt.told = true, false, false
				pt.figures.Ready, pt.figures.Removal, pt.figures.NotAfter = time.Time{}, time.Time{}, time.Time{}
			}
		}
	}
	if len(again) == 0 {
		return
	}
	for _, o := range p.owners[len(p.cfg.Owners):] {
		if again[o.pattern] {
			o.pattern.figures.include(o.figures())
		}
	}
}

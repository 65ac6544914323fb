package certdir

import (
	"slices"

	"github.com/coredns-tlsa/coredns-tlsa/plugin/tlsa/rollover"
)

// shadowTree puts every file at or below a directory that cannot be read in doubt: what they held last stands (design 4.4).
func (s *scan) shadowTree(d *dir, why *rollover.Problem) {
	d.root.fail(why)
	s.shadowAll(d, why)
}

func (s *scan) shadowAll(d *dir, why *rollover.Problem) {
	d.epoch = s.epoch
	for l := range d.lineages.all {
		s.shadow(l, why)
	}
	for _, sub := range d.subs {
		s.shadowAll(sub, why)
	}
}

func (s *scan) shadow(l *lineage, why *rollover.Problem) {
	l.epoch = s.epoch
	s.w.marks.drop(l)
	if l.shadow = true; l.shown == nil {
		return
	}
	next := *l.shown
	next.Files = slices.Clone(l.shown.Files)
	for i := range next.Files {
		next.Files[i].Doubt = why
	}
	s.show(l, &next)
}

// whyGone gives a reason to doubt that what is absent from a directory is gone: its root is, or a directory above it is a
// detached mount, in which nothing has a name any more (W9). It is nil if there is none.
func (s *scan) whyGone(d *dir) *rollover.Problem {
	for up := d; up != nil; up = up.parent {
		if st, err := s.w.disk.lstat(up.real); err == nil && s.w.disk.isDetached(up.real, st) {
			return detachedMount(up.path)
		}
	}
	if !s.isThere(d.root) {
		return d.root.missing()
	}
	return nil
}

// noteDetached tells whether a mount is detached, and counts it.
func (s *scan) noteDetached(t target) bool {
	if !s.w.disk.isDetached(t.real, t.info) {
		return false
	}
	s.detached[t.inode] = true
	return true
}

// vanish deals with a directory that is no longer there, while its root may be.
func (s *scan) vanish(d *dir) {
	for l := range d.lineages.all {
		s.settle(l, s.known(l, nil))
	}
	for name, sub := range d.subs {
		if s.vanish(sub); sub.empty() {
			s.bury(sub, name)
		}
	}
}

// bury drops a directory in which nothing is left.
func (s *scan) bury(d *dir, name string) {
	d.dead = true
	s.w.marks.drop(d)
	s.w.unlisten(d, d.hops()...)
	delete(d.parent.subs, name)
}

// show hands out a lineage if it differs from what was handed out before.
func (s *scan) show(l *lineage, next *Lineage) {
	if l.shown != nil && l.shown.equal(next) {
		return
	}
	l.shown = next
	s.found = append(s.found, next)
}

func (l *Lineage) equal(o *Lineage) bool {
	return l.PrivateKey == o.PrivateKey && slices.EqualFunc(l.Files, o.Files, File.equal) && equalLeaves(l.Leaves, o.Leaves)
}

func equalLeaves(a, b []Leaf) bool {
	return slices.EqualFunc(a, b, func(a, b Leaf) bool {
		return a.Material == b.Material && slices.Equal(a.DNSNames, b.DNSNames) && slices.Equal(a.Files, b.Files)
	})
}

func (f File) equal(o File) bool {
	return f.Path == o.Path && (f.Doubt == o.Doubt || f.Doubt != nil && o.Doubt != nil && *f.Doubt == *o.Doubt)
}

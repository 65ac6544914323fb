package certdir

import (
	"maps"
	"path/filepath"
	"slices"
	"time"

	"github.com/coredns-tlsa/coredns-tlsa/plugin/tlsa/rollover"
)

// Where there are very many files, most sweeps are light: a directory that is as it was at its last whole visit, with those
// that its links lead through, has the same names and links, so it need not be read again. Only a file that is written to in
// place leaves no trace in a directory. Events tell of that; in case they do not, each file is looked at in every fourth
// sweep, and in each where there are no events. A watch can be lost in silence (W8): those of each directory are asserted
// once in 32 sweeps. And once in 128 each has a whole visit, whatever its times say.
const (
	manyFiles  = 100_000 // with fewer, every sweep is whole
	filesEvery = 4
	armEvery   = 32
	wholeEvery = 128
	// rested is how old the times of a directory must be to tell of every later change: FAT counts in steps of two seconds.
	rested = 3 * time.Second
)

// A visit is what a whole visit of a directory gathers for its receipt.
type visit struct {
	info
	places []*place // the directories of links and of what they lead to, but not itself
	extra  moreReceipt
	receipt
}

// A receipt is what a whole visit of a directory found, where it found nothing to tell of.
type receipt struct {
	print   uint64       // of the directory
	entries int32        // the names in it
	files   int32        // those of them that were looked at
	owner   uint32       // of all those files
	armed   bool         // there was a source, so that what can be watched is
	self    *watch       // of the directory; nil if it is not watched
	around  []passed     // as the places of the visit
	more    *moreReceipt // nil for most
}

// moreReceipt is what few directories have.
type moreReceipt struct {
	subs []*dir // in their order, which decides what problems are told first
	note *rollover.Problem
}

func (r *receipt) subs() []*dir {
	if r.more == nil {
		return nil
	}
	return r.more.subs
}

// passed is a directory that links lead through or into.
type passed struct {
	real  string
	print uint64
	watch *watch // nil if it is not watched
}

// print sums up what a directory or file is.
func (s *scan) print(i info) uint64 {
	st := status{info: i}
	return st.print(s.w.seed)
}

// lighten decides whether a sweep is light.
func (s *scan) lighten() {
	before := s.w.mounts
	s.isMount("/")
	s.w.mounts = s.mounts
	s.light = !s.atOnce && s.w.files >= s.w.many && len(s.mounts) > 0 && maps.Equal(before, s.mounts)
	s.every = 1
	if s.judges && s.w.watches.full == nil {
		s.every = filesEvery
	}
	s.w.sweeps++
}

// pass notes a directory that links of the directory that is visited lead through or into.
func (r *visit) pass(p *place, e *watch) {
	if r == nil || p.inode == r.inode || slices.ContainsFunc(r.places, func(o *place) bool { return o.real == p.real }) {
		return
	}
	r.places = append(r.places, p)
	r.around = append(r.around, passed{real: p.real, watch: e})
}

// issue keeps the receipt of a whole visit, or none if there is anything odd about the directory or its files.
func (s *scan) issue(d *dir, r *visit, list []status) {
	if d.root.survey == nil || d.only() != nil || d.root.remote || d.root.survey.remote || !s.isAtRest(d, r) {
		return
	}
	for i := range list {
		st := &list[i]
		if st.bad != nil || st.gone || st.lost || st.dev != d.id.dev || s.isMount(st.real) {
			return
		}
		if st.uid != list[0].uid { // of several, the survey has to hear in their order
			return
		}
	}
	for _, sub := range d.subs {
		if sub.epoch != s.epoch {
			return
		}
	}
	if len(list) > 0 {
		r.owner = list[0].uid
	}
	out := r.receipt
	out.print, out.files, out.armed = s.print(r.info), int32(len(list)), s.w.watches.src != nil
	out.around = slices.Clip(r.around)
	if len(r.extra.subs) > 0 || r.extra.note != nil {
		out.more = &moreReceipt{slices.Clip(r.extra.subs), r.extra.note}
	}
	for i, p := range r.places {
		out.around[i].print = s.print(p.info)
	}
	d.receipt = &out
}

// isAtRest tells whether whatever happens to a directory from now on will show in its times, and nothing is going on there.
func (s *scan) isAtRest(d *dir, r *visit) bool {
	before := s.now.Add(-s.w.rested).UnixNano()
	old := func(i info) bool { return i.mtime < before && i.ctime < before }
	if !old(r.info) || r.nameless {
		return false
	}
	for _, p := range r.places {
		if !old(p.info) || p.nameless || p.open {
			return false
		}
	}
	for l := range d.lineages.all {
		if l.shadow || l.news() != nil || !l.short().IsZero() || s.w.marks.of[l] != nil {
			return false
		}
	}
	return true
}

// isTurn tells whether this sweep is the one of so many in which a directory is looked at more closely.
func (s *scan) isTurn(d *dir, every uint64) bool { return (uint64(d.turn)+s.w.sweeps)%every == 0 }

// accept makes a visit short if the receipt of the last whole one still holds.
func (s *scan) accept(d *dir) bool {
	r := d.receipt
	if !s.light || r == nil || s.isTurn(d, wholeEvery) || d.root.survey == nil || d.root.survey.remote {
		return false
	}
	events := s.w.watches.src != nil
	arms := events && (!r.armed || s.isTurn(d, armEvery))
	if r.armed && !events || arms && !s.arm(d, r) || !s.holds(d, r, arms || s.isTurn(d, s.every)) {
		return false
	}
	for e := range r.watches {
		e.epoch = s.epoch
	}
	if r.files > 0 {
		d.root.own(r.owner)
	}
	if r.more != nil && r.more.note != nil {
		d.root.note(r.more.note)
	}
	d.root.survey.entries += int(r.entries)
	s.files += int(r.files)
	return true
}

// arm asserts the watches before everything is looked at (W4). Of where a directory that links lead to is now, a whole visit
// tells.
func (s *scan) arm(d *dir, r *receipt) bool {
	if d.parent == nil || len(d.hops()) > 0 {
		return false
	}
	r.self = s.watchDir(d)
	for i := range r.around {
		p := &r.around[i]
		now, err := s.w.disk.lstat(p.real)
		if err != nil || s.print(now) != p.print {
			return false
		}
		p.watch = s.w.watches.want(p.real, now.inode, s.epoch)
	}
	r.armed = true
	return true
}

// watches iterates over those that stand for a directory.
func (r *receipt) watches(yield func(*watch) bool) {
	if r.self != nil && !yield(r.self) {
		return
	}
	for i := range r.around {
		if e := r.around[i].watch; e != nil && !yield(e) {
			return
		}
	}
}

// holds tells whether a directory and what its links lead to are as they were, with the files or without.
func (s *scan) holds(d *dir, r *receipt, files bool) bool {
	for e := range r.watches {
		if e.dropped {
			return false
		}
	}
	if !s.isStill(d, r) {
		return false
	}
	for i := range r.around {
		p := &r.around[i]
		if now, err := s.w.disk.lstat(p.real); err != nil || s.print(now) != p.print {
			return false
		}
	}
	for l := range d.lineages.all {
		if l.shadow || s.w.marks.of[l] != nil || files && !s.areStill(l) {
			return false
		}
	}
	return true
}

func (s *scan) isStill(d *dir, r *receipt) bool {
	if d.parent == nil || len(d.hops()) > 0 {
		t := s.enter(d)
		return t.err == nil && s.bar(d, t) == nil && s.print(t.info) == r.print
	}
	now, err := s.w.disk.lstat(d.real)
	return err == nil && s.print(now) == r.print && filepath.Dir(d.real) == d.parent.real // it was found there
}

// areStill looks at the files of a lineage by the paths to which their links led. Those of private keys do not matter.
func (s *scan) areStill(l *lineage) bool {
	for i := range l.files {
		f := &l.files[i]
		if f.role == roleKey {
			continue
		}
		now, err := s.w.disk.lstat(f.real(l.dir))
		if err != nil || s.print(now) != f.print {
			return false
		}
	}
	return true
}

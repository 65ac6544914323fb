package certdir

import (
	"cmp"
	"slices"

	"golang.org/x/sys/unix"

	"github.com/coredns-tlsa/coredns-tlsa/plugin/tlsa/rollover"
)

// walk visits a directory and what lies below: it watches it, then reads it (W4).
func (s *scan) walk(d *dir) {
	if s.stopped() {
		return
	}
	d.epoch, d.dead = s.epoch, false
	if s.accept(d) {
		for _, sub := range d.receipt.subs() {
			s.walk(sub)
		}
		s.walkSubs(d)
		return
	}
	outer := s.receipt
	defer func() { s.receipt = outer }()
	s.receipt, d.receipt = nil, nil // what leads to the directory is its own matter
	t := s.enter(d)
	switch why := s.bar(d, t); {
	case why != nil:
		s.shadowTree(d, why)
		return
	case t.err != nil:
		s.vanish(d)
		return
	}
	if d.isCircle() {
		return
	}
	r := &visit{info: t.info, extra: moreReceipt{note: groupWritable(d, t.info)}}
	s.receipt = r
	r.self = s.watchDir(d)
	tooDeep := s.tooDeep
	list, ok := s.list(d)
	if !ok {
		return
	}
	s.group(d, list)
	for l := range d.lineages.all {
		if l.epoch != s.epoch {
			s.settle(l, s.known(l, nil))
		}
	}
	if s.issue(d, r, list); s.tooDeep > tooDeep {
		d.receipt = nil
	}
	s.walkSubs(d)
	d.ready = s.retryGap().Sub(s.w.begun)
}

// walkSubs walks those directories in d that were not among its names, and drops the empty ones that are gone.
func (s *scan) walkSubs(d *dir) {
	for name, sub := range d.subs {
		if sub.epoch != s.epoch {
			s.walk(sub) // not listed: gone, or a link that leads nowhere
		}
		if sub.empty() && s.isGone(sub.path) {
			s.bury(sub, name)
		}
	}
}

// bar says why a directory, or that it is gone, is not to be believed; nil if it is.
func (s *scan) bar(d *dir, t target) *rollover.Problem {
	switch {
	case t.err == nil && s.noteDetached(t): // whatever it held is gone from it
		return detachedMount(d.path)
	case t.err == nil && t.open != "":
		return writableDirectory(t.open)
	case t.err == nil:
		return nil
	case !isMissing(t.err) || len(t.hops) > 1: // it is there, or a link that should lead to it
		return unreadable(d.path, t.err)
	case d.parent == nil:
		return d.root.missing()
	}
	return nil
}

// enter finds out where a directory is now, watches it and tells in the target whether it may be read.
func (s *scan) enter(d *dir) target {
	var t target
	switch {
	case d.parent == nil:
		t = s.follow(d.path)
		t.open = "" // the directories above a root are not judged
	default:
		t = s.followName(d.parent, d.base(), d.path, false)
	}
	if t.err == nil && !t.isDir() {
		t.err = unix.ENOTDIR
	}
	s.w.unlisten(d, d.hops()...)
	if d.rare != nil || len(t.hops) > 0 {
		d.rarely().hops = slices.Clone(t.hops)
	}
	s.w.listen(d, d.hops()...)
	if t.err != nil {
		return t
	}
	if d.real, d.id = t.real, t.inode; d.real == d.path {
		d.real, t.real = d.path, d.path
	}
	s.watchDir(d)
	s.onVolume(d.root, d.real, d.id.dev)
	if p := s.remember(t.real, t.info); p.open {
		t.open = t.real
	} else if note := groupWritable(d, t.info); note != nil {
		d.root.note(note)
	}
	return t
}

// groupWritable is what there is to say of a directory in which a whole group may write; nil if none may.
func groupWritable(d *dir, st info) *rollover.Problem {
	if !st.openToGroup() {
		return nil
	}
	return problem(GroupWritable, "%s may be written by group %d, which can so add keys to DNS: chmod g-w it if that is not meant",
		show(d.path), st.gid)
}

func (s *scan) watchDir(d *dir) *watch {
	e := s.w.watches.want(d.real, d.id, s.epoch)
	if e != nil {
		e.walk(d)
	}
	return e
}

// watchFile watches a file whose changes its directory may not tell of.
func (s *scan) watchFile(real string, id inode) {
	if e := s.w.watches.want(real, id, s.epoch); e != nil {
		e.rarely().file = true
	}
}

const usualFiles = 4 // in a directory of one lineage

// list looks at every name of a directory and walks those below; not ok if it could not be read to its end.
func (s *scan) list(d *dir) (list []status, ok bool) {
	if only := d.only(); only != nil {
		for name := range only {
			list = s.addName(d, name, unix.DT_UNKNOWN, list)
		}
		return list, true
	}
	entries, err := s.readDir(d.real)
	if err != nil {
		s.shadowTree(d, unreadable(d.real, err))
		return nil, false
	}
	s.receipt.entries = int32(len(entries))
	if v := d.root.survey; v != nil {
		if v.entries += len(entries); v.entries > s.w.maxEntries {
			d.root.fail(problem(TooManyEntries, "%s holds more than %d names: the rest is not read: watch a smaller directory", show(d.root.path), s.w.maxEntries))
			return nil, false
		}
	}
	list = make([]status, 0, min(len(entries), usualFiles))
	for _, e := range entries {
		list = s.addName(d, e.name, e.kind, list)
	}
	return list, !s.stopped()
}

// addName deals with one name: a directory is walked, anything else that may be a certificate is added to list.
func (s *scan) addName(d *dir, name string, kind uint8, list []status) []status {
	skip, skipAsDir := skipFile(name), skipDir(name)
	if skip && skipAsDir || d.root.claims(d, name) {
		return list
	}
	label := readName(d.base(), name)
	l := d.lineages.of(label.key)
	known := l != nil && l.file(name) != nil
	if kind == unix.DT_DIR && !known {
		if !skipAsDir && d.only() == nil {
			s.walkSub(d, name)
		}
		return list
	}
	if label.role == roleRequest && !d.root.staged {
		return list
	}
	path := join(d.path, name)
	st := s.statusOf(d, name, path, label, s.followName(d, name, path, kind == unix.DT_LNK))
	if st.isRegular() && (len(st.hops) == 0 && st.dev != d.id.dev || s.isMount(st.real)) { // mounted by itself (W2)
		s.watchFile(st.real, st.inode)
	}
	if st.isDir() && !known {
		if !skipAsDir && d.only() == nil {
			s.walkSub(d, name)
		}
		return list
	}
	if skip || st.gone && !known {
		return list
	}
	return append(list, st)
}

// walkSub walks a directory below d.
func (s *scan) walkSub(d *dir, name string) {
	if !d.mayHaveSubs() {
		s.tooDeep++
		d.root.note(problem(TooDeep, "%s is not read: only %d levels below a configured path are: configure it by itself", show(join(d.path, name)), maxDepth))
		return
	}
	sub := d.sub(name)
	s.receipt.extra.subs = append(s.receipt.extra.subs, sub)
	s.walk(sub)
}

// mayHaveSubs tells whether the directories in d are walked.
func (d *dir) mayHaveSubs() bool { return d.only() == nil && d.depth < maxDepth }

// isCircle tells whether links led back to a directory above.
func (d *dir) isCircle() bool {
	for up := d.parent; up != nil; up = up.parent {
		if up.id == d.id {
			return true
		}
	}
	return false
}

// group settles each lineage of a directory that has files in list.
func (s *scan) group(d *dir, list []status) {
	slices.SortFunc(list, func(a, b status) int { return cmp.Or(cmp.Compare(a.key, b.key), cmp.Compare(a.path, b.path)) })
	for len(list) > 0 {
		n := 1
		for n < len(list) && list[n].key == list[0].key {
			n++
		}
		l := s.w.lineage(d, list[0].key)
		s.settle(l, s.known(l, list[:n]))
		list = list[n:]
	}
}

// known adds to list, sorted by path, those files that the lineage had: not being listed is no proof that they are gone.
func (s *scan) known(l *lineage, list []status) []status {
	var more []status
	for i := range l.files {
		f := &l.files[i]
		if _, listed := slices.BinarySearchFunc(list, f.name, byName); !listed {
			more = append(more, s.status(l.dir, f.name, label{l.key, f.role, f.sure}))
		}
	}
	if more == nil {
		return list
	}
	return slices.SortedFunc(slices.Values(slices.Concat(list, more)), func(a, b status) int { return cmp.Compare(a.path, b.path) })
}

func byName(st status, name string) int { return cmp.Compare(st.name(), name) }

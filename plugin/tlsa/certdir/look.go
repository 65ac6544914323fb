package certdir

import (
	"cmp"
	"hash/maphash"
	"slices"
	"time"
)

const (
	firstRetry = time.Second
	lastRetry  = time.Minute
)

// settle compares what a scan saw of a lineage with the last look. A difference is marked, or taken in where the scan
// reads at once.
func (s *scan) settle(l *lineage, list []status) {
	l.epoch = s.epoch
	for i := range list {
		if !list[i].gone && list[i].bad == nil {
			l.dir.root.own(list[i].uid)
		}
	}
	unchanged := !l.shadow && slices.EqualFunc(l.files, list, func(f file, st status) bool { return f.is(&st, s.w.seed) })
	switch {
	case unchanged:
	case s.atOnce:
		s.w.marks.drop(l)
		s.take(l, list)
	case s.w.marks.of[l] == nil || s.w.marks.of[l].first.IsZero():
		l.hearAll(list)
		m := s.w.marks.touch(l, s.now)
		m.seen, m.silent = s.digest(list), s.judges && !l.dir.root.remote
	default:
		l.hearAll(list)
	}
}

func (l *lineage) hearAll(list []status) {
	for i := range list {
		l.hear(list[i].name())
	}
}

// look visits one lineage by itself. If it changed since a sweep saw it, somebody is still writing: that is no event less
// for not having been heard.
func (s *scan) look(m *mark, l *lineage) {
	t := s.enter(l.dir)
	switch {
	case t.err != nil && !isMissing(t.err):
		s.shadow(l, unreadable(l.dir.path, t.err))
		return
	case t.open != "":
		s.shadow(l, writableDirectory(t.open))
		return
	}
	var list []status
	for _, name := range l.news() {
		st := s.status(l.dir, name, readName(l.dir.base(), name))
		switch {
		case st.gone || l.file(name) != nil:
		case !st.isDir():
			list = append(list, st)
		case !skipDir(name) && l.dir.mayHaveSubs():
			s.w.touch(l.dir.sub(name), s.now)
		}
	}
	slices.SortFunc(list, func(a, b status) int { return cmp.Compare(a.path, b.path) })
	list = s.known(l, list)
	now := s.digest(list)
	if m.seen != 0 && m.seen != now && (m.first.IsZero() || s.now.Before(m.first.Add(s.w.marks.most))) {
		next := s.w.marks.touch(l, s.now)
		if !m.first.IsZero() {
			next.first = m.first
		}
		next.seen, next.silent = now, m.silent
		return
	}
	if m.silent {
		s.w.unannounced++
	}
	s.take(l, list)
}

// take reads the files of a lineage and hands out what they hold.
func (s *scan) take(l *lineage, list []status) {
	shrinks := slices.ContainsFunc(list, func(st status) bool { return st.gone })
	if shrinks {
		if why := s.whyGone(l.dir); why != nil {
			s.shadow(l, why)
			return
		}
	}
	s.notice(l.dir.root, list)
	if s.line != nil && !shrinks { // else its directory may be left empty, which is to be seen when it is left
		s.line.read(l, list)
		return
	}
	s.adopt(l, list, s.w.gather(l, s.now, list, &s.w.reader))
}

// adopt makes known what was read.
func (s *scan) adopt(l *lineage, list []status, g *gathered) {
	s.w.unlistenFiles(l)
	next := g.finish(s.w)
	l.files, l.shadow = g.files, false
	for i := range l.files {
		for h := range l.files[i].hops {
			s.w.listen(l, h)
		}
	}
	s.retry(l, list, g)
	switch {
	case len(next.Files) > 0:
		s.show(l, next)
	case l.shown != nil:
		s.found = append(s.found, next)
		l.shown = nil
	}
	if len(l.files) == 0 {
		s.w.forget(l)
	}
}

// retry asks for another look at a lineage with files in doubt, at longer and longer intervals and without end.
func (s *scan) retry(l *lineage, list []status, g *gathered) {
	before := l.unrest
	l.unrest = nil
	if !g.doubt {
		return
	}
	now := &unrest{seen: s.digest(list), backoff: firstRetry, short: g.short}
	if before != nil && before.backoff > 0 && now.seen == before.seen {
		now.backoff = min(2*before.backoff, lastRetry)
	}
	l.unrest = now
	s.w.marks.again(l, s.now.Add(now.backoff), now.seen)
}

// digest sums up what a lineage's files are without reading them; never zero.
func (s *scan) digest(list []status) uint64 {
	var h maphash.Hash
	h.SetSeed(s.w.seed)
	for i := range list {
		st := &list[i]
		if st.gone {
			continue
		}
		maphash.WriteComparable(&h, st.path)
		maphash.WriteComparable(&h, st.info)
		maphash.WriteComparable(&h, reasonOf(st.bad))
		for _, hop := range st.hops {
			maphash.WriteComparable(&h, hop)
		}
	}
	return h.Sum64() | 1
}

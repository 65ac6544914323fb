package certdir

import (
	"path/filepath"
	"slices"
	"time"

	"github.com/coredns-tlsa/coredns-tlsa/plugin/tlsa/rollover"
)

const (
	maxDepth   = 4
	maxEntries = 2_000_000
	// maxAlike bounds the problems of one reason that a root shows.
	maxAlike = 20
)

// A root is one configured path.
type root struct {
	path   string // as configured
	clean  string
	staged bool
	inner  []*root // other roots that may lie inside this one: theirs is theirs
	near   bool    // others may hold the same files
	tops   map[string]*dir
	sweeps uint64
	dirs   uint32 // counts those that were made
	mixed  bool
	owner  uint32  // whose files the last survey found
	owned  bool    // it found some
	last   *Root   // as handed out last
	remote bool    // it, or what links in it lead to, lies on a file system without events
	hops   []hop   // what the path leads through, listened to
	survey *survey // of the sweep that is on; nil outside
}

func (r *root) isGlob() bool {
	_, pattern := cutGlob(r.clean)
	return pattern != ""
}

// claims tells whether another root is configured for exactly this name of a directory.
func (r *root) claims(d *dir, name string) bool {
	if len(r.inner) == 0 || d.only() != nil {
		return false
	}
	path := join(d.path, name)
	for _, o := range r.inner {
		if o.clean == path {
			return true
		}
		if ok, _ := filepath.Match(o.clean, path); ok && o.isGlob() && !r.isGlob() {
			return true
		}
	}
	return false
}

// A survey gathers what one sweep of a root finds.
type survey struct {
	complete bool
	entries  int
	problems []rollover.Problem
	alike    map[rollover.Reason]int
	remote   bool
	owner    uint32
	owners   int
}

// note takes a problem into the survey that is on.
func (r *root) note(p *rollover.Problem) {
	if r.survey == nil {
		return
	}
	r.survey.alike[p.Reason]++
	if n := r.survey.alike[p.Reason]; n <= maxAlike {
		r.survey.problems = append(r.survey.problems, *p)
	}
}

// fail takes a problem that leaves something unread.
func (r *root) fail(p *rollover.Problem) {
	r.note(p)
	if r.survey != nil {
		r.survey.complete = false
	}
}

// own takes the owner of a file into the survey that is on.
func (r *root) own(uid uint32) {
	switch v := r.survey; {
	case v == nil:
	case v.owners == 0:
		v.owner, v.owners = uid, 1
	case v.owner != uid:
		v.owners = 2
	}
}

// sweepRoot visits one root and adds its new state to the scan.
func (s *scan) sweepRoot(r *root) {
	begun := time.Now()
	r.survey = &survey{complete: true, alike: make(map[rollover.Reason]int)}
	defer func() { r.survey = nil }()
	atOnce := s.atOnce
	s.atOnce = atOnce || r.sweeps == 0 // until a root was read once there is nothing to keep: sooner is better
	s.w.unlisten(r, r.hops...)
	r.hops = nil
	found := s.expand(r)
	if s.atOnce {
		s.line = &line{s: s}
	}
	for _, d := range found {
		s.walk(d)
	}
	if s.line != nil {
		s.line.end()
		s.line = nil
	}
	s.dropTops(r, found)
	s.atOnce = atOnce
	if s.stopped() {
		return
	}
	if limit := s.w.watches.full; limit != nil {
		r.note(problem(WatchLimit, "%s is partly watched by polling only, changes are found at the next sweep: %v: raise "+
			"fs.inotify.max_user_watches or fs.inotify.max_user_instances", show(r.path), limit))
	}
	state := r.report(s.counts)
	state.Polling = r.remote || s.w.cfg.NoEvents || s.w.watches.full != nil
	s.pollAgain(r, time.Since(begun))
	s.roots = append(s.roots, state)
}

// report closes the survey.
func (r *root) report(counts bool) *Root {
	v := r.survey
	for reason, n := range v.alike {
		if n > maxAlike {
			v.problems = append(v.problems, *problem(reason, "%s has more of these than are shown", show(r.path)))
		}
	}
	if v.complete && (counts || r.sweeps == 0) {
		r.sweeps++
	}
	r.mixed = v.owners > 1 || r.mixed && !v.complete
	r.remote = v.remote || r.remote && !v.complete
	if v.owners > 0 {
		r.owner, r.owned = v.owner, true
	}
	r.last = &Root{Path: r.path, Staged: r.staged, Sweeps: r.sweeps, Complete: v.complete, MixedOwners: r.mixed, Problems: v.problems}
	return r.last
}

// notice hands out a root whose files turn out between two sweeps to belong to several users: what the stranger's file says
// must not be believed until the next sweep (design 2).
func (s *scan) notice(r *root, list []status) {
	if r.survey != nil || r.mixed || r.last == nil {
		return
	}
	if i := slices.IndexFunc(list, func(st status) bool { return !st.gone && st.bad == nil }); i >= 0 && !r.owned {
		r.owner, r.owned = list[i].uid, true
	}
	if slices.ContainsFunc(list, func(st status) bool { return !st.gone && st.bad == nil && st.uid != r.owner }) {
		state := *r.last
		state.MixedOwners, r.mixed, r.last = true, true, &state
		s.roots = append(s.roots, &state)
	}
}

// dropTops deals with the tops that the path no longer gives: gone if the root itself is there and was read in full.
func (s *scan) dropTops(r *root, found []*dir) {
	if s.stopped() {
		return
	}
	why := r.missing()
	if len(found) == 0 && r.survey.complete {
		r.fail(why)
	}
	if len(r.survey.problems) > 0 && len(found) == 0 {
		why = &r.survey.problems[0]
	}
	for path, d := range r.tops {
		switch {
		case d.epoch == s.epoch:
		case len(found) == 0, !r.survey.complete && !s.isGone(d.path):
			s.shadowAll(d, why)
		default:
			s.vanish(d)
			if d.empty() {
				d.dead = true
				delete(r.tops, path)
			}
		}
	}
}

func (r *root) missing() *rollover.Problem {
	return problem(MissingRoot, "%s does not exist: create it, mount it, or correct the path in the Corefile", show(r.path))
}

// isGone tells whether nothing stands at a path; any doubt is a no.
func (s *scan) isGone(path string) bool {
	t := s.follow(path)
	return t.err != nil && isMissing(t.err)
}

// isThere tells whether a root exists now, so that what is absent below it is really gone.
func (s *scan) isThere(r *root) bool {
	there, known := s.there[r]
	if known {
		return there
	}
	for _, d := range r.tops {
		if there = s.topIsThere(d); there {
			break
		}
	}
	s.there[r] = there
	return there
}

func (s *scan) topIsThere(d *dir) bool {
	if d.only() == nil {
		t := s.follow(d.path)
		return t.err == nil && t.isDir() && !s.w.disk.isDetached(t.real, t.info)
	}
	for name := range d.only() {
		if t := s.follow(join(d.path, name)); t.err == nil {
			return true
		}
	}
	return false
}

// retryGap keeps a busy directory from being scanned all the time.
func (s *scan) retryGap() time.Time {
	took := time.Since(s.now)
	return s.now.Add(took + max(s.w.cfg.Quiet, 10*took))
}

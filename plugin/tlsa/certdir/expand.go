package certdir

import (
	"errors"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// A glob is a directory in which a root's pattern looks for names.
type glob struct {
	root    *root
	base    string // the directory as the operator sees it
	pattern string // of the name in that directory
	rest    string // of the path behind it
}

func isMissing(err error) bool { return errors.Is(err, unix.ENOENT) || errors.Is(err, unix.ENOTDIR) }

// expand gives the directories that the root's path leads to, those of single files included. Not filepath.Glob: it takes
// what it cannot read for absent.
func (s *scan) expand(r *root) []*dir {
	for _, d := range r.tops {
		clear(d.only())
	}
	fixed, pattern := cutGlob(r.clean)
	var found []*dir
	s.match(r, fixed, pattern, &found)
	return found
}

// match takes in what pattern matches below base, a path without patterns.
func (s *scan) match(r *root, base, pattern string, found *[]*dir) {
	base = filepath.Clean(base)
	t := s.follow(base)
	if t.isDir() {
		t.hops = append(t.hops, hop{filepath.Dir(t.real), filepath.Base(t.real)}) // its own removal is told by the directory above where that is watched too
	}
	r.hops = append(r.hops, t.hops...)
	s.w.listen(r, t.hops...)
	switch {
	case t.err != nil && isMissing(t.err):
	case t.err != nil:
		r.fail(unreadable(base, t.err))
	case pattern != "":
		if t.isDir() {
			s.matchIn(r, base, t, pattern, found)
		}
	case t.isDir():
		s.addTop(r, base, found)
	default:
		d := s.addTop(r, filepath.Dir(base), found)
		if d.only() == nil {
			d.rarely().only = make(map[string]bool)
		}
		d.only()[filepath.Base(base)] = true
		s.watchFile(t.real, t.inode) // it may be mounted by itself (W2)
	}
}

// matchIn matches the first step of pattern in one directory.
func (s *scan) matchIn(r *root, base string, t target, pattern string, found *[]*dir) {
	step, rest, _ := strings.Cut(pattern, "/")
	if !strings.ContainsAny(step, `*?[\`) {
		s.match(r, join(base, step), rest, found)
		return
	}
	s.w.watches.want(t.real, t.inode, s.epoch)
	s.w.addGlob(t.real, glob{r, base, step, rest})
	entries, err := s.readDir(t.real)
	if err != nil {
		r.fail(unreadable(base, err))
	}
	for _, e := range entries {
		name := e.name
		if ok, err := filepath.Match(step, name); !ok || err != nil || skipFile(name) && !strings.HasPrefix(step, ".") {
			continue
		}
		if rest != "" || !skipDir(name) {
			s.match(r, join(base, name), rest, found)
		}
	}
}

func (w *Watcher) addGlob(real string, g glob) {
	if !w.cfg.NoEvents && !slices.Contains(w.globs[real], g) {
		w.globs[real] = append(w.globs[real], g)
	}
}

// heardGlob: a name that matches a root's pattern. A file that the root already has is looked at by itself.
func (w *Watcher) heardGlob(g glob, name string, now time.Time) {
	if ok, _ := filepath.Match(g.pattern, name); !ok {
		return
	}
	if d := g.root.tops[g.base]; g.rest == "" && d != nil && d.only()[name] {
		return
	}
	w.marks.touch(g.root, now)
}

func (s *scan) addTop(r *root, path string, found *[]*dir) *dir {
	d := r.tops[path]
	if d == nil {
		d = newDir(r, nil, path)
		r.tops[path] = d
	}
	if d.rarely().found != s.epoch {
		d.rare.found = s.epoch
		*found = append(*found, d)
	}
	return d
}

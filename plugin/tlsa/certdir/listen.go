package certdir

import (
	"errors"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// listen has what hear of every change to the paths, which are links on the way to it, or its target.
func (w *Watcher) listen(what any, paths []string) {
	if w.cfg.NoEvents {
		return
	}
	for _, path := range paths {
		if !slices.Contains(w.listeners[path], what) {
			w.listeners[path] = append(w.listeners[path], what)
		}
	}
}

func (w *Watcher) unlisten(what any, paths []string) {
	for _, path := range paths {
		left := slices.DeleteFunc(w.listeners[path], func(o any) bool { return o == what })
		if len(left) == 0 {
			delete(w.listeners, path)
		} else {
			w.listeners[path] = left
		}
	}
}

// heard maps the path of an event to what it may concern.
func (w *Watcher) heard(path string, now time.Time) {
	if self := w.watches.byPath[path]; self != nil {
		w.heardSelf(self, now)
	}
	e := w.watches.byPath[filepath.Dir(path)]
	if e == nil {
		return
	}
	name := filepath.Base(path)
	for _, d := range e.dirs {
		w.heardIn(d, name, now)
	}
	for _, at := range append([]string{e.path}, e.aliases...) {
		for _, what := range w.listeners[join(at, name)] {
			w.touch(what, now)
		}
		for _, g := range w.globs[at] {
			w.heardGlob(g, name, now)
		}
	}
}

// heardSelf: a watched directory was itself changed, moved or removed.
func (w *Watcher) heardSelf(e *watch, now time.Time) {
	for _, d := range e.dirs {
		w.touch(d, now)
	}
	if len(e.dirs) > 0 || e.file {
		return
	}
	// It is where links lead. Its own watch may be gone now, so whoever goes through it looks again.
	for path, all := range w.listeners {
		if strings.HasPrefix(path, e.path+"/") {
			for _, what := range all {
				w.touch(what, now)
			}
		}
	}
}

// heardIn: something happened to a name of a walked directory.
func (w *Watcher) heardIn(d *dir, name string, now time.Time) {
	if d.dead || d.only != nil && !d.only[name] {
		return
	}
	if sub := d.subs[name]; sub != nil {
		w.touch(sub, now)
	}
	if skipFile(name) && skipDir(name) || d.root.claims(d, name) {
		return
	}
	label := readName(d.base(), name)
	if l := d.lineages.of(label.key); l != nil && l.file(name) != nil {
		w.touch(l, now)
		return
	}
	// A name not heard of before is looked at by itself: it may be a directory, full of files already (W4).
	st, err := w.disk.lstat(join(d.real, name))
	switch {
	case err == nil && st.isDir() && !skipDir(name) && d.mayHaveSubs():
		w.touch(d.sub(name), now)
	case skipFile(name) || label.role == roleRequest && !d.root.staged:
	case err != nil && !errors.Is(err, unix.ENOENT), err == nil && !st.isDir():
		l := w.lineage(d, label.key)
		if !slices.Contains(l.news, name) {
			l.news = append(l.news, name)
		}
		w.touch(l, now)
	}
}

// touch marks what a change concerns. Directories are scanned at once, but rarely: their files wait for quiet by themselves.
func (w *Watcher) touch(what any, now time.Time) {
	d, ok := what.(*dir)
	switch {
	case !ok:
		w.marks.touch(what, now)
	case d.dead:
	case d.parent == nil:
		w.marks.touch(d.root, now)
	case d.ready.After(now):
		w.marks.again(d, d.ready, 0)
	default:
		w.marks.again(d, now, 0)
	}
}

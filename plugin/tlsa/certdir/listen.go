package certdir

import (
	"errors"
	"hash/maphash"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// listen has what hear of every change to the paths, which are links on the way to it, or its target.
func (w *Watcher) listen(what any, hops ...hop) {
	if w.cfg.NoEvents {
		return
	}
	for _, h := range hops {
		w.listeners.add(maphash.Comparable(w.seed, h), what)
	}
}

func (w *Watcher) unlisten(what any, hops ...hop) {
	for _, h := range hops {
		w.listeners.drop(maphash.Comparable(w.seed, h), what)
	}
}

func (w *Watcher) unlistenFiles(l *lineage) {
	for i := range l.files {
		for h := range l.files[i].hops {
			w.unlisten(l, h)
		}
	}
}

// listeners are who hears of a hop: *lineage, *dir and *root, by the hash of the hop. Two hops of one hash do no harm: an
// event is a hint.
type listeners map[uint64]any // one of them, or several

type several map[any]struct{}

func (t listeners) add(at uint64, what any) {
	switch have := t[at].(type) {
	case several:
		have[what] = struct{}{}
	case nil:
		t[at] = what
	default:
		if have != what {
			t[at] = several{have: {}, what: {}}
		}
	}
}

func (t listeners) drop(at uint64, what any) {
	have := t[at]
	if all, ok := have.(several); ok {
		if delete(all, what); len(all) > 0 {
			return
		}
	} else if have != what {
		return
	}
	delete(t, at)
}

// each calls hear with every listener at a hop.
func (t listeners) each(at uint64, hear func(what any)) {
	switch have := t[at].(type) {
	case several:
		for what := range have {
			hear(what)
		}
	case nil:
	default:
		hear(have)
	}
}

// heardMoved: directories through or into which links lead may be gone, with their watches, so whoever goes there looks
// again. It asks every listener, so it comes once for all that was heard together.
func (w *Watcher) heardMoved(now time.Time) {
	if len(w.moved) == 0 {
		return
	}
	least := unix.PathMax
	for dir := range w.moved {
		least = min(least, len(dir))
	}
	for at := range w.listeners {
		w.listeners.each(at, func(what any) {
			if goesBelow(what, w.moved, least) {
				w.touch(what, now)
			}
		})
	}
	w.moved = nil
}

// goesBelow tells whether the links of a listener lead through or into one of the directories, or below. None of them has a
// path shorter than least.
func goesBelow(what any, dirs map[string]bool, least int) bool {
	below := func(h hop) bool {
		at := h.dir
		for ; !dirs[at] && len(at) > least; at = at[:max(1, strings.LastIndexByte(at, '/'))] {
		}
		return dirs[at]
	}
	switch what := what.(type) {
	case *lineage:
		for i := range what.files {
			for h := range what.files[i].hops {
				if below(h) {
					return true
				}
			}
		}
	case *dir:
		return slices.ContainsFunc(what.hops(), below)
	case *root:
		return slices.ContainsFunc(what.hops, below)
	}
	return false
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
	for d := range e.walked {
		w.heardIn(d, name, now)
	}
	for _, at := range append([]string{e.path}, e.aliases()...) {
		w.listeners.each(maphash.Comparable(w.seed, hop{at, name}), func(what any) { w.touch(what, now) })
		for _, g := range w.globs[at] {
			w.heardGlob(g, name, now)
		}
	}
}

// heardSelf: a watched directory was itself changed, moved or removed.
func (w *Watcher) heardSelf(e *watch, now time.Time) {
	for d := range e.walked {
		w.touch(d, now)
	}
	if e.dir != nil || e.rare != nil && e.rare.file {
		return
	}
	if w.moved == nil {
		w.moved = make(map[string]bool)
	}
	w.moved[e.path] = true // it is where links lead
}

// heardIn: something happened to a name of a walked directory.
func (w *Watcher) heardIn(d *dir, name string, now time.Time) {
	if d.dead || d.only() != nil && !d.only()[name] {
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
		l.hear(name)
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
	case w.begun.Add(d.ready).After(now):
		w.marks.again(d, w.begun.Add(d.ready), 0)
	default:
		w.marks.again(d, now, 0)
	}
}

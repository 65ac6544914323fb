package certdir

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// watches are the directories, and some files, that the source watches: one watch for each inode, because fsnotify drops a
// second path to the same one in silence (W5).
type watches struct {
	src    source // nil: nothing is watched
	byID   map[inode]*watch
	byPath map[string]*watch
	most   int // bounds the watches; zero does not
	// full is why the source took no more, until the next sweep tries again.
	full error
	// failed counts instances and watches that the system refused; what vanished meanwhile is no failure.
	failed uint64
}

// errBudget: others under the same user need watches too.
var errBudget = errors.New("half of the watches that the system gives a user are in use here")

// watchBudget is half of what the system allows, where it tells.
func watchBudget() int {
	text, err := os.ReadFile("/proc/sys/fs/inotify/max_user_watches")
	if err != nil {
		return 0
	}
	n, err := strconv.Atoi(strings.TrimSpace(string(text)))
	if err != nil {
		return 0
	}
	return max(1, n/2)
}

type watch struct {
	inode
	path    string     // as the source knows it
	epoch   uint64     // of the scan that wanted it last
	dir     *dir       // one that is walked there; nil if none is
	rare    *rareWatch // nil for most
	dropped bool       // it no longer stands
}

// rareWatch is what few watches have.
type rareWatch struct {
	aliases []string
	dirs    []*dir // others that are walked there
	file    bool
}

func (e *watch) rarely() *rareWatch {
	if e.rare == nil {
		e.rare = &rareWatch{}
	}
	return e.rare
}

func (e *watch) aliases() []string {
	if e.rare == nil {
		return nil
	}
	return e.rare.aliases
}

// walked iterates over the directories that are walked there.
func (e *watch) walked(yield func(*dir) bool) {
	if e.dir == nil || !yield(e.dir) || e.rare == nil {
		return
	}
	for _, d := range e.rare.dirs {
		if !yield(d) {
			return
		}
	}
}

// walk notes that a directory is walked there.
func (e *watch) walk(d *dir) {
	for o := range e.walked {
		if o == d {
			return
		}
	}
	if e.dir == nil || e.dir.dead {
		e.dir = d
		return
	}
	r := e.rarely()
	r.dirs = append(slices.DeleteFunc(r.dirs, func(o *dir) bool { return o.dead }), d)
}

func newWatches(src source) *watches {
	return &watches{src: src, byID: make(map[inode]*watch), byPath: make(map[string]*watch)}
}

// want asserts the watch of a path, once a scan; nil if it cannot be watched. A path that meanwhile leads to another inode
// is removed before it is added: fsnotify would leak the old watch (W5, W8).
func (t *watches) want(path string, id inode, epoch uint64) *watch {
	if t.src == nil || filepath.Base(path) == "..." { // fsnotify takes /... for something else
		return nil
	}
	if old := t.byPath[path]; old != nil && old.inode != id {
		if old.path == path {
			t.drop(old)
		}
		delete(t.byPath, path)
	}
	e := t.byID[id]
	switch {
	case e == nil:
		e = &watch{inode: id, path: path}
	case e.epoch == epoch:
		e.alias(t, path)
		return e
	case e.path != path:
		t.drop(e)
		e.rarely().aliases, e.rare.file = append(e.aliases(), e.path), false
		e = &watch{inode: id, path: path, dir: e.dir, rare: e.rare}
	}
	if err := t.add(path); err != nil {
		t.drop(e)
		return nil
	}
	e.epoch = epoch
	t.byID[id], t.byPath[path] = e, e
	return e
}

func (e *watch) alias(t *watches, path string) {
	if path == e.path || slices.Contains(e.aliases(), path) {
		return
	}
	e.rarely().aliases = append(e.aliases(), path)
	t.byPath[path] = e
}

// add asserts one watch. That it stands already proves nothing: it is lost in silence when its directory is unmounted or
// removed, and an inode number is soon used again.
func (t *watches) add(path string) error {
	if t.byPath[path] == nil {
		if t.most > 0 && len(t.byID) >= t.most {
			t.full = errBudget
			t.failed++
		}
		if t.full != nil {
			return t.full
		}
	}
	err := t.src.Add(path)
	if err != nil && !isMissing(err) {
		t.failed++
	}
	for _, limit := range []error{unix.ENOSPC, unix.EMFILE, unix.ENFILE, unix.ENOMEM} {
		if errors.Is(err, limit) {
			t.full = err
		}
	}
	return err
}

func (t *watches) drop(e *watch) {
	if t.byID[e.inode] != e {
		return
	}
	e.dropped = true
	_ = t.src.Remove(e.path) // it may be gone already
	delete(t.byID, e.inode)
	for _, path := range append(e.aliases(), e.path) {
		if t.byPath[path] == e {
			delete(t.byPath, path)
		}
	}
}

// dropBefore drops what no scan since epoch has wanted.
func (t *watches) dropBefore(epoch uint64) {
	for _, e := range t.byID {
		if e.epoch < epoch {
			t.drop(e)
		}
	}
}

// close ends the source.
func (t *watches) close() {
	if t.src != nil {
		_ = t.src.Close()
	}
	for _, e := range t.byID {
		e.dropped = true
	}
	failed := t.failed
	*t = *newWatches(nil)
	t.failed = failed
}

package certdir

import (
	"errors"
	"hash/maphash"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/coredns-tlsa/coredns-tlsa/plugin/tlsa/rollover"
)

// A dir is one directory that is walked: a root, one below it, or the directory of configured files.
type dir struct {
	root     *root
	parent   *dir
	path     string // as the operator sees it
	real     string // without links
	id       inode
	subs     map[string]*dir
	lineages family
	epoch    uint64        // of the scan that visited it last
	ready    time.Duration // before then, since the first scan, it is not scanned again outside of a sweep
	receipt  *receipt      // of its last whole visit; nil if that found something odd
	rare     *rareDir      // nil for most
	turn     uint32        // tells in which sweeps it is looked at more closely
	depth    uint8
	dead     bool // no longer part of the tree
}

// rareDir is what few directories have.
type rareDir struct {
	only  map[string]bool // the names of configured files; nil where the whole directory is watched
	hops  []hop           // the links that lead to it, listened to
	found uint64          // the scan in which its root's path last led to it
}

func (d *dir) rarely() *rareDir {
	if d.rare == nil {
		d.rare = &rareDir{}
	}
	return d.rare
}

// only are the names of configured files; nil where the whole directory is watched.
func (d *dir) only() map[string]bool {
	if d.rare == nil {
		return nil
	}
	return d.rare.only
}

// hops are the links that lead to it, listened to.
func (d *dir) hops() []hop {
	if d.rare == nil {
		return nil
	}
	return d.rare.hops
}

// A lineage is what is known of a Lineage between two looks.
type lineage struct {
	dir   *dir
	key   string
	id    string
	files []file   // sorted by name
	shown *Lineage // as handed out last; nil before
	// shadow: the directory cannot be read, so every file is in doubt.
	shadow bool
	unrest *unrest // nil while all is well
	epoch  uint64  // of the scan that saw it last
}

// unrest is what is known of a lineage that is in doubt or about to change.
type unrest struct {
	news    []string      // names that were heard of and are not among files
	seen    uint64        // the digest of its files at the last look
	backoff time.Duration // until the next try if a file is in doubt
	short   time.Time     // since when a file lacks the issuers it had; zero if none does
}

// news are the names that were heard of and are not among its files.
func (l *lineage) news() []string {
	if l.unrest == nil {
		return nil
	}
	return l.unrest.news
}

// hear keeps a name that the look to come has to see.
func (l *lineage) hear(name string) {
	if l.file(name) != nil || slices.Contains(l.news(), name) {
		return
	}
	if l.unrest == nil {
		l.unrest = &unrest{}
	}
	l.unrest.news = append(l.unrest.news, name)
}

// short is since when a file lacks the issuers it had; zero if none does.
func (l *lineage) short() time.Time {
	if l.unrest == nil {
		return time.Time{}
	}
	return l.unrest.short
}

// A status is what a file is without reading it.
type status struct {
	path string
	info
	label
	hops []hop
	real string            // the path to open
	bad  *rollover.Problem // why it cannot be read
	gone bool              // there is no such name
	lost bool              // its mount is detached
}

func (s *status) name() string { return s.path[strings.LastIndexByte(s.path, '/')+1:] }

// print sums up what a file is and why it cannot be read, but not what leads to it.
func (s *status) print(seed maphash.Seed) uint64 {
	return maphash.Comparable(seed, struct {
		info
		bad  rollover.Reason
		gone bool
	}{s.info, reasonOf(s.bad), s.gone})
}

func reasonOf(p *rollover.Problem) rollover.Reason {
	if p == nil {
		return ""
	}
	return p.Reason
}

// status looks at a name of a directory, following links.
func (s *scan) status(d *dir, name string, l label) status {
	path := join(d.path, name)
	return s.statusOf(d, name, path, l, s.followName(d, name, path, false))
}

func (s *scan) statusOf(d *dir, name, path string, l label, t target) status {
	s.files++
	st := status{path: path, info: t.info, label: l, real: t.real, hops: t.hops}
	if own := (hop{d.real, name}); len(st.hops) > 0 && st.hops[0] == own {
		st.hops = st.hops[1:] // its directory tells of it
	}
	switch {
	case t.err != nil && isMissing(t.err) && len(st.hops) == 0:
		st.gone = true
	case t.err != nil:
		at := join(d.real, name)
		if len(st.hops) > 0 && !errors.Is(t.err, unix.ENOENT) && !errors.Is(t.err, unix.ELOOP) {
			at = st.hops[len(st.hops)-1].path()
		}
		st.bad = unreadable(at, t.err)
	case t.open != "":
		st.bad = problem(WritableDirectory, "%s leads through %s, where anyone may write and so add keys to DNS: chmod o-w that directory", show(st.path), show(t.open))
	case !t.isRegular():
		st.bad = problem(NotRegular, "%s is no regular file: put the certificate in its place", show(st.path))
	case t.size > maxSize:
		st.bad = problem(TooLarge, "%s is larger than 1 MiB: move it out of the watched directory if it is no certificate", show(st.path))
	case s.w.disk.openToAll(t.real, t.info):
		st.bad = problem(WritableFile, "%s is not read: anyone may write to it and so add keys to DNS: chmod o-w it", show(st.path))
	}
	if t.err == nil {
		st.lost = s.noteDetached(t)
		if t.dev != d.id.dev {
			s.onVolume(d.root, t.real, t.dev)
		}
	}
	return st
}

func newDir(r *root, parent *dir, path string) *dir {
	r.dirs++
	d := &dir{root: r, parent: parent, path: path, turn: r.dirs}
	if parent != nil {
		d.depth = parent.depth + 1
	}
	return d
}

// sub finds or makes the directory of a name.
func (d *dir) sub(name string) *dir {
	if sub := d.subs[name]; sub != nil {
		return sub
	}
	if d.subs == nil {
		d.subs = make(map[string]*dir)
	}
	sub := newDir(d.root, d, join(d.path, name))
	d.subs[tail(sub.path, name)] = sub
	return sub
}

// empty tells whether nothing is known in a directory any more.
func (d *dir) empty() bool { return d.lineages.empty() && len(d.subs) == 0 }

// base is the name by which a directory names its role set.
func (d *dir) base() string { return filepath.Base(d.path) }

// lineage finds or makes the lineage of a key.
func (w *Watcher) lineage(d *dir, key string) *lineage {
	if l := d.lineages.of(key); l != nil {
		return l
	}
	l := &lineage{dir: d, id: join(d.path, key)}
	l.key = tail(l.id, key)
	if d.root.near {
		if w.byID[l.id] != nil {
			l.id += " in " + d.root.path // two roots over one file
		}
		w.byID[l.id] = l
	}
	d.lineages.add(l)
	return l
}

// forget drops a lineage of which nothing is left.
func (w *Watcher) forget(l *lineage) {
	w.unlistenFiles(l)
	w.marks.drop(l)
	l.dir.lineages.drop(l)
	if w.byID[l.id] == l {
		delete(w.byID, l.id)
	}
}

func (l *lineage) file(name string) *file {
	i, ok := slices.BinarySearchFunc(l.files, name, func(f file, name string) int { return strings.Compare(f.name, name) })
	if !ok {
		return nil
	}
	return &l.files[i]
}

// tail gives the end of path that reads as name: of equal strings the tree keeps one.
func tail(path, name string) string { return path[len(path)-len(name):] }

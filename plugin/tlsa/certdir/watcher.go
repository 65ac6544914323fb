package certdir

import (
	"context"
	"hash/maphash"
	"path/filepath"
	"strings"
	"time"
	"weak"

	"golang.org/x/sys/unix"

	"github.com/coredns-tlsa/coredns-tlsa/plugin/tlsa/dane"
)

// A Watcher knows what the directories of one Config hold. It is not safe for concurrent use: first Sweep, then Run.
type Watcher struct {
	cfg        Config
	openSource func() (source, error)
	reader     reader
	disk       disk
	linkBuf    []byte
	listBuf    []byte
	maxEntries int
	lostGap    time.Duration // the least time between sweeps that lost events ask for

	roots   []*root
	byID    map[string]*lineage                       // those of roots that others are near
	issuers map[string]weak.Pointer[dane.Certificate] // by SHA-256: few issuers stand in many files
	epoch   uint64                                    // counts scans
	begun   time.Time                                 // the first of them
	seed    maphash.Seed
	names   names
	mores   [8]*moreFile // some that files share
	newest  int          // of those
	marks   marks

	unannounced int // what Figures.Unannounced is to be

	// What light sweeps go by: how many there were, and what the last one found.
	sweeps uint64
	files  int
	many   int
	few    int // with fewer lineages in the line there are no helpers
	rested time.Duration
	mounts map[string]bool

	// What events are mapped by.
	watches   *watches
	listeners listeners
	globs     map[string][]glob
	moved     map[string]bool // directories of links that were changed themselves, until all is heard
}

// New makes a Watcher. It does no I/O and starts nothing.
func New(cfg Config) *Watcher {
	w := &Watcher{
		cfg:        cfg,
		openSource: openNotifier,
		reader:     newReader(),
		disk:       newDisk(),
		lostGap:    lostGap,
		linkBuf:    make([]byte, unix.PathMax),
		listBuf:    make([]byte, 32<<10),
		maxEntries: maxEntries,
		many:       manyFiles,
		few:        aheadFew,
		rested:     rested,
		byID:       make(map[string]*lineage),
		issuers:    make(map[string]weak.Pointer[dane.Certificate]),
		marks:      marks{quiet: cfg.Quiet, most: cfg.MaxQuiet, of: make(map[any]*mark)},
		seed:       maphash.MakeSeed(),
		names:      make(names),
		watches:    newWatches(nil),
		listeners:  make(listeners),
		globs:      make(map[string][]glob),
	}
	known := make(map[string]bool)
	add := func(paths []string, staged bool) {
		for _, path := range paths {
			if !known[path] {
				known[path] = true
				w.roots = append(w.roots, &root{path: path, clean: filepath.Clean(path), staged: staged, tops: make(map[string]*dir)})
			}
		}
	}
	add(cfg.Certs, false)
	add(cfg.Next, true)
	for _, r := range w.roots {
		for _, o := range w.roots {
			if o != r && o.mayLieIn(r) {
				r.inner = append(r.inner, o)
			}
			r.near = r.near || o != r && (o.mayLieIn(r) || filepath.Dir(o.clean) == filepath.Dir(r.clean))
		}
	}
	return w
}

// Sweep reads every directory once and whatever changed in it at once, without waiting for quiet. It is for the start,
// before Run. What is found when ctx ends proves nothing, and is not to be used.
func (w *Watcher) Sweep(ctx context.Context) Changes {
	s := w.scan(ctx)
	s.atOnce, s.counts = true, true
	s.sweep()
	c := s.changes().sorted()
	c.Sweep = s.figures(nil)
	return c
}

// A scan is one look at the disk: a sweep, one directory, or some lineages.
type scan struct {
	w      *Watcher
	ctx    context.Context
	now    time.Time
	epoch  uint64
	atOnce bool   // what changed is read now, not after a quiet period
	counts bool   // a complete sweep counts
	judges bool   // events should have told of whatever it finds
	light  bool   // directories that are as they were are not read
	every  uint64 // files in them are looked at in one sweep of so many

	receipt *visit // of the directory that is visited; nil outside
	line    *line  // of what is read ahead; nil where files are read one after another
	tooDeep int    // counts directories that were not read

	places map[string]*place
	way    way             // the last one
	spare  []hop           // what is left to make room from
	mounts map[string]bool // nil until asked for
	remote map[uint64]bool // by device
	there  map[*root]bool
	found  []*Lineage
	roots  []*Root

	files    int
	detached map[inode]bool
}

func (w *Watcher) scan(ctx context.Context) *scan {
	w.epoch++
	now := time.Now()
	if w.begun.IsZero() {
		w.begun = now
	}
	return &scan{
		w: w, ctx: ctx, now: now, epoch: w.epoch, places: make(map[string]*place),
		remote: make(map[uint64]bool), there: make(map[*root]bool), detached: make(map[inode]bool),
	}
}

func (s *scan) changes() Changes { return Changes{Lineages: s.found, Roots: s.roots} }

// stopped tells whether the scan is to end early; what it has not seen then proves nothing.
func (s *scan) stopped() bool { return s.ctx.Err() != nil }

// sweep visits every root.
func (s *scan) sweep() {
	s.lighten()
	clear(s.w.globs)
	for _, r := range s.w.roots {
		s.sweepRoot(r)
	}
	if s.stopped() {
		return
	}
	s.w.files = s.files
	s.w.watches.dropBefore(s.epoch)
	for id, p := range s.w.issuers {
		if p.Value() == nil {
			delete(s.w.issuers, id)
		}
	}
}

// mayLieIn tells whether something of r may stand below or beside what outer watches.
func (r *root) mayLieIn(outer *root) bool {
	fixed, _ := cutGlob(r.clean)
	above, _ := cutGlob(outer.clean)
	return strings.HasPrefix(fixed+"/", strings.TrimSuffix(above, "/")+"/") || strings.HasPrefix(above+"/", strings.TrimSuffix(fixed, "/")+"/")
}

// cutGlob splits a path before its first step that is a pattern.
func cutGlob(path string) (fixed, pattern string) {
	at := strings.IndexAny(path, `*?[\`)
	if at < 0 {
		return path, ""
	}
	slash := strings.LastIndexByte(path[:at], '/')
	return path[:slash+1], path[slash+1:]
}

// names keep one copy of names that stand in many places: a tree of certbot has few.
type names map[string]string

const mostNames = 1024

func (n names) intern(name string) string {
	if known, ok := n[name]; ok {
		return known
	}
	own := strings.Clone(name)
	if len(n) >= mostNames {
		clear(n)
	}
	n[own] = own
	return own
}

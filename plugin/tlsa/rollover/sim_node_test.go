package rollover

import (
	"cmp"
	"fmt"
	"slices"
	"time"

	"github.com/coredns-tlsa/coredns-tlsa/plugin/tlsa/dane"
)

// The conditions of a file, and of all installed files of a node together.
const (
	fine   = iota
	doubts // cannot be read or trusted; what it held last is remembered until a restart
	empty  // readable, and without any leaf; or, of all: an empty directory in place of a mounted one
)

// A file is a node's copy, which may lag behind the origin.
type file struct {
	path      string
	places    []Place // its own
	holds     *cert   // as it is, whether or not it can be read; nil once it is gone
	kept      *cert   // as it was read last
	condition int
	seen      bool // it has been read
	gone      bool // it was deleted
	sweeps    uint64
	lost      bool
}

func newFile(path string, c *cert) *file {
	return &file{path: path, places: []Place{place(path)}, holds: c, kept: c}
}

func (f *file) staged() bool { return f.path[0] == 'n' }

// A shelf has files in the order of their paths.
type shelf []*file

func (s shelf) find(path string) *file {
	for _, f := range s {
		if f.path == path {
			return f
		}
	}
	return nil
}

func (s shelf) String() string {
	all := make([]string, len(s))
	for i, f := range s {
		all[i] = f.path
	}
	return fmt.Sprint(all)
}

// set puts f there, in the stead of the file of its path.
func (s *shelf) set(f *file) {
	i, found := slices.BinarySearchFunc(*s, f, func(f, g *file) int { return cmp.Compare(f.path, g.path) })
	if !found {
		*s = slices.Insert(*s, i, f)
	}
	(*s)[i] = f
}

// The origins of a ledger (package ledger).
const (
	fresh = iota
	intact
	restored
	lost
)

// How commits fail.
const (
	works = iota
	refuses
	lies // it has written, and says that it has not
)

// A disk is what survives a crash.
type disk struct {
	recorded Timeline
	beat     time.Duration // the time of service at the last commit or heartbeat
	copied   Timeline      // the backup
	copyBeat time.Duration
	doubtful bool // restored or lost, and not all that was found is recorded since
	fails    int
}

// A memory is what a reload may have to go back to.
type memory struct {
	p          Policy
	timeline   Timeline // as the ledger has it
	adopted    bool     // it does not have it yet
	unrecorded []Key
	shown      []dane.Association
	answer     Answer
	failed     bool
	last       Decision
}

// A node is a CoreDNS: what package publish does around Decide, for one owner.
type node struct {
	sim  *simulation
	name int
	memory
	disk
	origin  int
	files   shelf
	hidden  int // the condition of the root of installed certificates
	known   bool
	delay   time.Duration // until a file of the origin arrives here
	arrived int           // how many of the origin's puts have come

	up      bool
	serving bool
	offset  time.Duration // of the wall clock
	service time.Duration
	due     time.Duration // true time of the next change; 0: none
	fuse    int           // steps until a crash; 0: none

	account
}

func (n *node) now() Stamp { return clocks(n.sim.real+n.offset, n.service) }

// dies counts the steps to a crash, and tells whether it has happened.
func (n *node) dies() bool {
	if n.fuse > 0 {
		if n.fuse--; n.fuse == 0 {
			n.up = false
		}
	}
	return !n.up
}

// act is publish.step.
func (n *node) act() {
	if !n.up {
		return
	}
	t := n.base()
	d := Decide(t, n.observe(t), n.p, n.now())
	d.Changed = d.Changed || n.adopted || n.failed
	n.settle(d)
	n.serve()
	if n.up {
		n.vouch()
		n.checkSeen()
	}
}

// vouch is publish.vouch.
func (n *node) vouch() {
	if n.doubtful && n.known && !n.failed && n.fails != refuses {
		n.doubtful, n.beat = false, n.service
	}
}

// base is the timeline that the next decision starts from.
func (n *node) base() Timeline {
	t := n.timeline.With(n.unrecorded)
	if len(n.shown) > 0 && len(t.Associations) == 0 {
		t.NoneSince = Stamp{}
	}
	return t
}

// serve is publish.serve.
func (n *node) serve() {
	if !n.up || !n.serving || n.failed {
		return
	}
	if t, changed := Served(n.timeline, n.now()); changed {
		d := Decide(t, n.observe(t), n.p, n.now())
		d.Changed = true
		n.settle(d)
	}
}

// settle is publish.settle: record, then show.
func (n *node) settle(d Decision) {
	if n.dies() {
		return
	}
	recorded := !d.Changed || n.commit(d.Timeline)
	if n.dies() {
		n.sim.reach("crash between commit and answer")
		return
	}
	if recorded {
		n.accept(d)
	} else {
		n.provide(d)
	}
}

func (n *node) commit(t Timeline) bool {
	if n.fails != refuses {
		n.recorded = t
		n.beat = n.service
	}
	if n.fails != refuses {
		n.remark(t.Keys)
	}
	return n.fails == works
}

// accept is publish.accept.
func (n *node) accept(d Decision) {
	n.failed, n.adopted, n.unrecorded, n.last = false, n.adopted && !d.Changed, nil, d
	n.timeline, n.shown, n.answer = d.Timeline, d.RRset, d.Answer
	if n.due = 0; d.Next > 0 {
		n.due = n.sim.real + d.Next
	}
	n.accountFor()
	n.show()
}

// provide is publish.provide.
func (n *node) provide(d Decision) {
	n.sim.reach("addition that cannot be recorded")
	n.failed, n.unrecorded, n.last = true, n.timeline.Unrecorded(d.Timeline.Keys), d
	n.shown = dane.Canonical(slices.Concat(n.shown, d.RRset))
	for _, k := range d.Timeline.Keys {
		if d.Timeline.WithdrawnAt.IsZero() && len(n.timeline.Associations) > 0 {
			n.shown = dane.Canonical(slices.Concat(n.shown, associations(&k, n.timeline.Combinations)))
		}
	}
	if n.answer = d.Answer; len(n.shown) > 0 {
		n.answer = Records
	}
	n.show()
}

// observe is publish's atlas.observe.
func (n *node) observe(t Timeline) Observation {
	o := Observation{Known: n.known, Hidden: n.hidden == doubts, Files: make(map[string]FileState, len(n.files))}
	o.Seen = make([]Seen, 0, len(n.files))
	certs := make([]*cert, 0, len(n.files))
	for _, f := range n.files {
		c := n.read(f)
		if c == nil {
			continue
		}
		f.seen = true
		if i := slices.Index(certs, c); i >= 0 {
			o.Seen[i].Places = append(slices.Clip(o.Seen[i].Places), f.places...)
			continue
		}
		certs = append(certs, c)
		o.Seen = append(o.Seen, Seen{Material: c.material, Lineage: f.places[0].Lineage, Places: f.places})
	}
	for _, k := range t.Keys {
		for _, p := range k.Places {
			o.Files[p.File] = n.state(p)
		}
	}
	return o
}

// read gives what is known of the content of a file, or nil.
func (n *node) read(f *file) *cert {
	switch {
	case f.gone, !f.staged() && n.hidden != fine, f.condition == empty:
		return nil
	case f.condition == doubts:
		return f.kept
	}
	return f.holds
}

func (n *node) state(p Place) FileState {
	f := n.files.find(p.File)
	switch {
	case !p.Staged && n.hidden == doubts:
		return FileState{Doubt: true}
	case !p.Staged && n.hidden == empty:
		return FileState{Gone: sweepsGone, Lost: true}
	case f == nil:
		return FileState{Gone: sweepsGone}
	case f.gone:
		return FileState{Doubt: f.sweeps == 0, Gone: f.sweeps, Lost: f.lost}
	}
	state := FileState{Doubt: f.condition == doubts}
	if c := n.read(f); c != nil {
		state.Leaves = c.leaves
	}
	return state
}

// copy brings the first puts of the origin here, each path as it is by now; and with one that was put again meanwhile all that
// was put before that: a copy that shows an effect and not its cause shows what never was.
func (n *node) copy(through int) {
	for puts := n.sim.puts; n.arrived < through; n.arrived++ {
		path := puts[n.arrived]
		for i := through; i < len(puts); i++ {
			if puts[i] == path {
				through = i + 1
			}
		}
		n.arrive(path)
	}
}

// arrive brings a path of the origin here as it is now.
func (n *node) arrive(path string) {
	c, there := n.sim.origin[path]
	f := n.files.find(path)
	switch {
	case there && f == nil:
		n.files.set(newFile(path, c))
	case there:
		n.drop(f)
		f.holds, f.gone, f.sweeps, f.lost = c, false, 0, false
		if f.condition == fine {
			f.kept = c
		}
	case f != nil && !f.gone:
		live := 0
		for _, g := range n.files {
			if !g.staged() && !g.gone {
				live++
			}
		}
		n.drop(f)
		f.gone, f.sweeps, f.lost = true, 0, !f.staged() && live <= 2 // one of two is half of the root
		f.holds, f.kept, f.condition = nil, nil, fine
		n.sim.at(3*time.Minute, n, func(n *node) {
			if f.gone {
				f.sweeps = sweepsGone
				n.act()
			}
		})
	}
	n.act()
}

// drop notes until when the content of f was held here; of a staged file that could not be read nobody knows it.
func (n *node) drop(f *file) {
	if f.holds != nil && (!f.staged() || n.read(f) == f.holds || n.stands(f.holds, f.path)) {
		n.lastHeld[f.holds] = n.sim.real
	}
}

// stands tells whether the recorded timeline has a certificate or bare key, not Retired, in a file.
func (n *node) stands(c *cert, path string) bool {
	return slices.ContainsFunc(n.timeline.Keys, func(k Key) bool {
		return same(k.Material, c.material) && k.RetiredAt.IsZero() && slices.ContainsFunc(k.Places, func(p Place) bool { return p.File == path })
	})
}

// boot is Prepare and Start after the disk was opened. What was remembered of files that cannot be read is forgotten.
func (n *node) boot(swept bool) {
	for _, f := range n.files {
		if f.kept = nil; f.condition == fine {
			f.kept = f.holds
		}
	}
	n.load()
	n.up, n.known = true, swept || n.known
	n.act()
	if n.up {
		n.serving = true
		n.show()
		n.act()
	}
}

// load is publish.load.
func (n *node) load() {
	n.unsaid = slices.DeleteFunc(slices.Clone(n.visible), func(a dane.Association) bool { return slices.Contains(n.timeline.RRset(), a) })
	n.memory = memory{p: n.p, timeline: n.recorded}
	n.shown = n.timeline.RRset()
	n.serving = false
	known := n.places()
	for _, f := range n.files {
		if f.seen = known[f.path]; !f.staged() && !f.gone {
			n.clear(f)
		}
	}
}

// places are the files that the recorded timeline knows.
func (n *node) places() map[string]bool {
	known := map[string]bool{}
	for _, k := range n.timeline.Keys {
		for _, p := range k.Places {
			known[p.File] = true
		}
	}
	return known
}

// clear makes a file readable that never could be read, as far as the node remembers: of its key it can know nothing.
func (n *node) clear(f *file) {
	if !f.seen {
		f.condition, f.kept = fine, f.holds
	}
}

// crash ends the process; what came after the last heartbeat is not in the time of service.
func (n *node) crash(heartbeats bool) {
	n.up, n.serving, n.fuse, n.due = false, false, 0, 0
	if since := n.service - n.beat; heartbeats && n.fails != refuses {
		n.beat += since / (5 * time.Minute) * (5 * time.Minute)
	}
	n.service = n.beat
}

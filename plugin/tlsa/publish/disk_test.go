package publish

import (
	"errors"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/coredns-tlsa/coredns-tlsa/plugin/tlsa/ledger"
	"github.com/coredns-tlsa/coredns-tlsa/plugin/tlsa/rollover"
)

// disk is a ledger that a test can fill up, and that outlives the publishers.
type disk struct {
	timelines map[string]map[string]rollover.Timeline // by block and owner
	origin    ledger.Origin
	service   time.Duration
	opened    time.Time
	skew      time.Duration   // by which the wall clock was stepped
	full      bool            // commits fail
	lying     bool            // commits are written, and fail
	dead      bool            // commits do nothing
	part      uint32          // of a serial
	vouched   map[string]bool // by block; nil where the ledger was never in doubt
	commits   int
	written   int // timelines
	refs      int
	mu        sync.Mutex // guards the rest
}

// fill makes every commit fail, or work again.
func (d *disk) fill(full bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.full = full
}

// lie makes every commit fail although it is written, or work again.
func (d *disk) lie(lying bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.lying = lying
}

func newDisk() *disk {
	return &disk{timelines: map[string]map[string]rollover.Timeline{}, origin: ledger.Intact}
}

// step moves the wall clock.
func (d *disk) step(by time.Duration) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.skew += by
}

func (d *disk) die(dead bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.dead = dead
}

func (d *disk) count() int {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.commits
}

func (d *disk) stored(owner string) (rollover.Timeline, bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, timelines := range d.timelines {
		if t, ok := timelines[owner]; ok {
			return t, true
		}
	}
	return rollover.Timeline{}, false
}

func (d *disk) open() (store, error) {
	if d.refs == 0 {
		d.opened = time.Now()
	}
	d.refs++
	return d, nil
}

func (d *disk) Origin() ledger.Origin { return d.origin }
func (d *disk) Notice() string        { return "" }
func (d *disk) Heartbeat() error      { return d.Commit("", nil) }
func (d *disk) Backup() error         { return nil }

func (d *disk) Vouches(block string) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.vouched == nil || d.vouched[block]
}

func (d *disk) Vouch(block string) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	switch {
	case d.full:
		return errFull
	case d.vouched != nil && !d.dead:
		d.vouched[block] = true
	}
	return nil
}

// fresh makes the ledger a new file.
func (d *disk) fresh() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.origin, d.vouched = ledger.Fresh, map[string]bool{}
}

// restore makes the ledger one that was just made from its copy.
func (d *disk) restore() {
	now := d.Now()
	d.mu.Lock()
	defer d.mu.Unlock()
	d.origin, d.vouched = ledger.Restored, map[string]bool{}
	for _, block := range d.timelines {
		for name, t := range block {
			block[name] = t.Doubted(now)
		}
	}
}

func (d *disk) Now() rollover.Stamp {
	d.mu.Lock()
	defer d.mu.Unlock()
	return rollover.Stamp{Wall: time.Now().UTC().Round(0).Add(d.skew), Service: d.service + time.Since(d.opened)}
}

func (d *disk) Blocks() ([]string, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	return slices.Sorted(maps.Keys(d.timelines)), nil
}

func (d *disk) Load(block string) (map[string]*rollover.Timeline, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	loaded := map[string]*rollover.Timeline{}
	for name, t := range d.timelines[block] {
		c := t.Clone()
		loaded[name] = &c
	}
	return loaded, nil
}

var errFull = errors.New("no space left on device")

func (d *disk) Commit(block string, changes map[string]*rollover.Timeline) error {
	return d.CommitSerial(block, changes, 0)
}

// serial is the part that is recorded.
func (d *disk) serial() uint32 {
	part, _ := d.Serial() // never fails
	return part
}

func (d *disk) Serial() (uint32, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.part, nil
}

func (d *disk) CommitSerial(block string, changes map[string]*rollover.Timeline, part uint32) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.dead {
		return nil
	}
	if d.full {
		return errFull
	}
	d.commits++
	d.part = max(d.part, part)
	d.written += len(changes)
	for name, t := range changes {
		if d.timelines[block] == nil {
			d.timelines[block] = map[string]rollover.Timeline{}
		}
		if t == nil {
			delete(d.timelines[block], name)
			continue
		}
		d.timelines[block][name] = t.Clone()
	}
	if len(d.timelines[block]) == 0 {
		delete(d.timelines, block)
	}
	if d.lying {
		return errFull
	}
	return nil
}

func (d *disk) Close() error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.refs--; d.refs == 0 {
		d.service += time.Since(d.opened)
	}
	return nil
}

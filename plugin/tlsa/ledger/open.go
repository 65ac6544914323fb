package ledger

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"time"

	bolt "go.etcd.io/bbolt"

	"github.com/coredns-tlsa/coredns-tlsa/plugin/tlsa/rollover"
)

// opened is a file with how it was found.
type opened struct {
	file   *file
	origin Origin
	notice string
}

// opening is the work of one openFile.
type opening struct {
	size int64
	now  time.Time
	held *contents // nil: a new file
	opened
}

// openFile opens, checks and if need be restores the file of a path, and gives the time of service that it holds.
func openFile(path string) (opened, time.Duration, error) {
	handle, err := lockFile(path)
	if err != nil {
		return opened{}, 0, err
	}
	o := &opening{now: time.Now(), opened: opened{file: &file{path: path, update: (*bolt.DB).Update, handle: handle}}}
	if err := o.judge(); err != nil {
		return opened{}, 0, errors.Join(err, o.file.close())
	}
	if o.held != nil {
		o.file.found = o.held.timelines
	}
	if err := o.start(); err != nil {
		return opened{}, 0, errors.Join(err, o.file.close())
	}
	if o.held == nil {
		return o.opened, 0, nil
	}
	return o.opened, o.held.beat.Service, nil
}

// judge finds out what the file is, and puts a good one in its place.
func (o *opening) judge() error {
	info, err := o.file.handle.Stat()
	if err != nil {
		return err
	}
	o.size = info.Size()
	held, err := examineAndKeep(o.file.handle, o.size)
	switch {
	case err == nil:
		o.held, o.origin = held, Intact
		return nil
	case errors.Is(err, ErrNewer) || errors.Is(err, ErrNotLedger):
		return err
	case errors.Is(err, errEmpty) || errors.Is(err, errDamaged):
		return o.restore(err)
	}
	return err
}

// restore replaces a damaged file by its copy, and a missing or empty one too: a kill between the two renames leaves none.
func (o *opening) restore(fault error) error {
	held, err := readBackup(o.file.path + backupSuffix)
	none := errors.Is(err, fs.ErrNotExist) || errors.Is(err, errEmpty)
	switch {
	case errors.Is(err, ErrNewer):
		return fmt.Errorf("its copy %s%s %w", o.file.path, backupSuffix, err)
	case err == nil:
		o.held, o.origin = held, Restored
		o.doubt()
	case none && errors.Is(fault, errEmpty):
		o.origin = Fresh
		return nil
	case none || errors.Is(err, errDamaged) || errors.Is(err, ErrNotLedger):
		o.origin = Lost
	default:
		return err
	}
	if o.origin == Lost && errors.Is(fault, errDamaged) && !resembles(o.file.handle, o.size) {
		return fmt.Errorf("%w: %w", ErrNotLedger, fault)
	}
	// The new file is written first, so that a full disk changes nothing.
	return o.file.exchange(o.compose, func() error { return o.makeWay(fault, !none) })
}

func readBackup(path string) (*contents, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer func() { _ = f.Close() }() // only read
	info, err := f.Stat()
	if err == nil && !info.Mode().IsRegular() {
		err = ErrNotLedger
	}
	if err != nil {
		return nil, err
	}
	return examineAndKeep(f, info.Size())
}

// stamp is when the file is opened, after so much service.
func (o *opening) stamp(service time.Duration) rollover.Stamp {
	return rollover.Stamp{Wall: o.now.UTC().Truncate(time.Millisecond), Service: service}
}

// doubt makes the timelines those of an older copy (rules 2 and 4).
func (o *opening) doubt() {
	now := o.stamp(o.held.beat.Service)
	for _, timelines := range o.held.timelines {
		for _, t := range timelines {
			*t = t.Doubted(now)
		}
	}
}

// compose writes a file of what is left, which says of itself that it may lack something.
func (o *opening) compose(next *file) error {
	held := o.held
	if held == nil {
		held = &contents{beat: o.stamp(0)}
	}
	if err := next.begin(held.beat, held.serial, map[string]bool{}); err != nil {
		return err
	}
	for _, block := range slices.Sorted(maps.Keys(held.timelines)) {
		all, err := encodeAll(block, held.timelines[block])
		if err != nil {
			return err
		}
		if err := next.append(block, all, held.beat); err != nil {
			return err
		}
	}
	return next.check()
}

// makeWay moves damaged files aside, and says so.
func (o *opening) makeWay(fault error, hasBackup bool) error {
	path := o.file.path
	o.notice = "The ledger " + path + " was missing or empty"
	if o.size > 0 {
		aside, err := setAside(path, o.now)
		if err != nil {
			return err
		}
		o.notice = fmt.Sprintf("The ledger %s %v, and is kept as %s", path, fault, aside)
	}
	if o.origin == Restored {
		o.notice += fmt.Sprintf("; its copy %s%s of %s is used. What the operator has done since (revoke, withdraw, restore) is not in it: do it again.",
			path, backupSuffix, o.held.beat.Wall.Format(time.RFC3339))
	} else if hasBackup {
		aside, err := setAside(path+backupSuffix, o.now)
		if err != nil {
			return err
		}
		o.notice += fmt.Sprintf("; its copy was not good either, and is kept as %s: the timelines start anew.", aside)
	} else {
		o.notice += "; there is no copy: the timelines start anew."
	}
	return nil
}

// start creates a new file, or goes on with a good one, and copies it.
func (o *opening) start() error {
	if err := o.begin(); err != nil || o.origin == Restored {
		return err
	}
	if err := o.file.backupOf(o.held); err != nil {
		o.notice += fmt.Sprintf(" The ledger has no copy: %v.", err)
	}
	return nil
}

func (o *opening) begin() error {
	switch o.origin {
	case Fresh:
		return o.file.create(o.stamp(0))
	case Restored, Lost:
		return nil // it was just written
	}
	if err := o.file.mount(o.file.handle); err != nil {
		return err
	}
	o.file.vouched = o.held.vouched
	// Whoever made the file may have been killed before its name was durable, and whoever wrote it last may have ended with a
	// sync that failed. If that cannot be made up for here, the first commit goes to a new file.
	o.file.suspect = errors.Join(rewriteMeta(o.file.handle, int64(o.held.image.meta.pageSize)), syncDir(filepath.Dir(o.file.path)))
	if o.held.wasteful() {
		_ = o.file.compact(o.held) // a full disk may keep the file as it is
	} else if orphans := o.held.orphans(); len(orphans) > 0 && o.file.suspect == nil {
		_ = o.file.prepare(o.held.beat, orphans) // an issuer too many does no harm either
	}
	return nil
}

// rewriteMeta makes durable which transaction is the last one. The process before may have failed to sync its meta page: the
// file reads as if that were on disk, no later sync would write it, and the next transaction would overwrite pages that the
// one before it, which is on disk, still needs. What it refers to was synced before it was written.
func rewriteMeta(f *os.File, pageSize int64) error {
	pages := make([]byte, 2*pageSize)
	if _, err := f.ReadAt(pages, 0); err != nil {
		return err
	}
	if _, err := f.WriteAt(pages, 0); err != nil {
		return err
	}
	return f.Sync()
}

func (c *contents) orphans() []issuerID {
	var out []issuerID
	for id := range c.issuers {
		if !c.used[id] {
			out = append(out, id)
		}
	}
	return out
}

// resembles tells a damaged ledger from a file that never was one, which a wrong path may have named: one of the meta pages
// still has bbolt's mark, or nothing is left but zeroes.
func resembles(f *os.File, size int64) bool {
	b := make([]byte, 4)
	for at := int64(0); at <= 1<<16; at = max(1024, 2*at) {
		if _, err := f.ReadAt(b, at+pageHeader); err == nil && binary.NativeEndian.Uint32(b) == boltMagic {
			return true
		}
	}
	zeroes := make([]byte, 1<<16)
	for at := int64(0); at < size; at += int64(len(zeroes)) {
		b := make([]byte, min(int64(len(zeroes)), size-at))
		if _, err := f.ReadAt(b, at); err != nil || !bytes.Equal(b, zeroes[:len(b)]) {
			return false
		}
	}
	return true
}

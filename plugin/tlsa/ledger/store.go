// Package ledger keeps the timelines of owners on disk: one file per path and process, shared by the instances that overlap
// in a reload. What Commit has returned for survives a kill and a power cut (design rule 4.5), and a damaged file is set
// aside whole and replaced by its last good copy (rule 4.4), whose timelines are doubted (rules 2 and 4) in the file itself.
//
// It never stores anything secret, never decides about a rollover, never overwrites a file that is not a ledger, never
// deletes a damaged one, and never logs.
package ledger

import (
	"errors"
	"sync/atomic"
	"time"

	"github.com/coredns-tlsa/coredns-tlsa/plugin/tlsa/rollover"
)

// Errors that a caller may want to tell apart.
var (
	// ErrClosed: the Store was closed.
	ErrClosed = errors.New("the ledger is closed")
	// ErrLocked: another process holds the file.
	ErrLocked = errors.New("is in use by another process")
	// ErrNotLedger: the file is something else; it was not touched.
	ErrNotLedger = errors.New("is not a ledger")
	// ErrNewer: a newer version of this software wrote the file; it was not touched.
	ErrNewer = errors.New("was written by a newer version")
	// ErrReplaced: somebody put another file in the ledger's place while it was open.
	ErrReplaced = errors.New("was replaced by another file while in use; restart the server to use that one")
)

// Origin is where the timelines of a Store came from when its file was opened.
type Origin int

// The origins. What a ledger does not have is another matter: see Vouches.
const (
	Fresh    Origin = iota // there was no file
	Intact                 // the file was good
	Restored               // the file was damaged or missing, and its copy was good
	Lost                   // the file was damaged or missing, and its copy too
	Memory                 // there is no file
)

// String gives the origin in one word.
func (o Origin) String() string {
	return [...]string{"fresh", "intact", "restored", "lost", "memory"}[o]
}

// A Store is one use of a ledger. Its methods are safe for concurrent use.
type Store struct {
	shared *shared
	closed atomic.Bool
}

// A shared is the ledger that all Stores of one path have in common.
type shared struct {
	path   string // empty for the one in memory
	refs   int    // guarded by registry.mu
	keep   keeper
	origin Origin
	notice string
	// The time of service is base, that of the file when the first Store opened it, and the monotonic time since start.
	base  time.Duration
	start time.Time
}

// A keeper holds the encoded or copied timelines: a file, or memory.
type keeper interface {
	blocks() ([]string, error)
	load(block string) (map[string]*rollover.Timeline, error)
	commit(block string, changes map[string]*rollover.Timeline, serial uint32, now rollover.Stamp) error
	serial() (uint32, error)
	backup() error
	vouches(block string) bool
	vouch(block string, now rollover.Stamp) error
	close() error
}

// Origin tells where the timelines came from when the first Store of the path was opened.
func (s *Store) Origin() Origin { return s.shared.origin }

// Notice is one sentence for the operator when something was wrong with the file or its copy at the first Open, else empty.
func (s *Store) Notice() string { return s.shared.notice }

// Now gives the wall clock and the time of service, in the milliseconds that the ledger keeps.
func (s *Store) Now() rollover.Stamp { return s.shared.now() }

func (s *shared) now() rollover.Stamp {
	now := time.Now()
	return rollover.Stamp{
		Wall:    now.UTC().Truncate(time.Millisecond),
		Service: (s.base + now.Sub(s.start)).Truncate(time.Millisecond),
	}
}

// Blocks names the blocks that have timelines, in order.
func (s *Store) Blocks() ([]string, error) {
	if s.closed.Load() {
		return nil, ErrClosed
	}
	return s.shared.keep.blocks()
}

// Load gives the timelines of a block by owner, in values of the caller's own.
func (s *Store) Load(block string) (map[string]*rollover.Timeline, error) {
	if s.closed.Load() {
		return nil, ErrClosed
	}
	return s.shared.keep.load(block)
}

// Commit records the timelines of changes, forgets the owners whose timeline is nil, and notes the time of service. When it
// returns nil, all of it is on disk.
//
// Up to 2,048 owners go in one transaction; more go in several, in the order of their names, because one over a whole large
// ledger would double its file. After an error each of the owners may have been recorded or not: the caller sends the full
// timelines of all of them again. Nothing is remembered of a failed call; the next one recovers the file by itself.
//
// Errors: ErrClosed, ErrReplaced, a timeline beyond the limits of the encoding, and those of the file system.
func (s *Store) Commit(block string, changes map[string]*rollover.Timeline) error {
	return s.CommitSerial(block, changes, 0)
}

// CommitSerial is Commit that notes the part of a serial under which the changes will be served. One that is not larger than
// what the ledger has changes nothing.
func (s *Store) CommitSerial(block string, changes map[string]*rollover.Timeline, part uint32) error {
	if s.closed.Load() {
		return ErrClosed
	}
	return s.shared.keep.commit(block, changes, part, s.Now())
}

// Heartbeat notes the time of service: what passes after the last one is lost in a crash.
func (s *Store) Heartbeat() error { return s.Commit("", nil) }

// Backup replaces FILE.bak by a copy of the ledger, if that copy is good. In memory it does nothing.
func (s *Store) Backup() error {
	if s.closed.Load() {
		return ErrClosed
	}
	return s.shared.keep.backup()
}

// Close ends this use of the ledger; the last one closes the file, or drops the timelines in memory.
func (s *Store) Close() error {
	if s.closed.Swap(true) {
		return ErrClosed
	}
	return stores.release(s.shared)
}

package ledger

import (
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"runtime/debug"
	"slices"
	"sync"
	"time"

	bolt "go.etcd.io/bbolt"

	"github.com/coredns-tlsa/coredns-tlsa/plugin/tlsa/dane"
	"github.com/coredns-tlsa/coredns-tlsa/plugin/tlsa/rollover"
)

const (
	// batch is how many owners one transaction takes. bbolt writes changed pages anew: a transaction over the whole of a
	// large ledger doubles the file for good.
	batch = 2048
	// fill is how full a page that splits may stay. Owners are first recorded in order, so what is left free is lost until
	// their records grow by a second key; with less room, that splits pages into full and almost empty ones.
	fill = 0.8
	// packed is fill where nothing is known to grow.
	packed = 0.9
	// even is fill among owners that are there already: they are renewed in any order, and a page that was split unevenly would
	// soon be split again.
	even = 0.5
	// leastPage is how large a page is at least. The more records one holds, the less often one of them that grows splits it; but
	// all of it is written for each. A file keeps what it was made with.
	leastPage = 8 << 10
	// growth is what the file grows by; bbolt's own 16 MiB are a multiple of most ledgers.
	growth = 1 << 20
)

// file keeps the timelines in a bbolt file.
type file struct {
	path string
	// update is (*bolt.DB).Update; tests let it fail.
	update func(*bolt.DB, func(*bolt.Tx) error) error

	copying sync.Mutex // held by one backup at a time, and by close, before mu

	mu     sync.Mutex // guards what follows, and makes commits, reads and copies take turns
	handle *os.File   // locked; bbolt closes it with db
	db     *bolt.DB   // nil after close or a panic, which may leave bbolt's own locks held
	closed bool
	// vouched are the blocks that the file vouches for; nil: it does for all.
	vouched map[string]bool
	// found are the timelines that nobody has loaded yet of a file that was just opened, by block, until they may be old.
	found map[string]map[string]*rollover.Timeline
	// suspect is the error after which the file is not trusted any more: a failed fsync may have dropped any page, and to
	// go on there could overwrite what the last durable meta page needs. The next commit goes to a new file.
	suspect error
}

// guarded turns a panic of bbolt, or a fault of its mapping, into an error.
func guarded(f func() error) (err error) {
	defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("%w: %v", errPanic, p)
		}
	}()
	return f()
}

var errPanic = errors.New("bbolt panicked")

func pageSize() int { return max(leastPage, os.Getpagesize()) }

// mount opens bbolt over a locked file that was examined, or is empty.
func (f *file) mount(handle *os.File) error {
	f.handle = handle
	return guarded(func() error {
		db, err := bolt.Open(f.path, 0o600, &bolt.Options{
			PageSize:     pageSize(),
			FreelistType: bolt.FreelistMapType,
			NoStatistics: true,
			Timeout:      time.Second, // the lock is ours already
			OpenFile:     func(string, int, os.FileMode) (*os.File, error) { return handle, nil },
		})
		if err != nil {
			return err
		}
		db.AllocSize = growth
		f.db = db
		return nil
	})
}

// prepare creates the parts of a new file, and drops the issuers that no record refers to.
func (f *file) prepare(now rollover.Stamp, orphans []issuerID) error {
	return f.transact(func(tx *bolt.Tx) error {
		top, err := tx.CreateBucketIfNotExists([]byte(bucketName))
		if err != nil {
			return err
		}
		issuers, err := top.CreateBucketIfNotExists([]byte(issuersName))
		if err != nil {
			return err
		}
		for _, id := range orphans {
			if err := issuers.Delete(id[:]); err != nil {
				return err
			}
		}
		if _, err := top.CreateBucketIfNotExists([]byte(blocksName)); err != nil {
			return err
		}
		return top.Put([]byte(heartbeatKey), encodeBeat(now))
	})
}

// An encoded is the record of one owner, nil where the owner goes.
type encoded struct {
	owner   string
	record  []byte
	issuers []dane.Fingerprint
}

func encodeAll(block string, changes map[string]*rollover.Timeline) ([]encoded, error) {
	if len(changes) > 0 && (block == "" || len(block) > nameOctets) {
		return nil, fmt.Errorf("block %.64q: %w", block, errRange)
	}
	owners := slices.Sorted(maps.Keys(changes))
	out, errs := make([]encoded, len(owners)), make([]error, len(owners))
	together(len(owners), func(from, to int) {
		for i := from; i < to; i++ {
			out[i], errs[i] = encodeOne(block, owners[i], changes[owners[i]])
		}
	})()
	if i := slices.IndexFunc(errs, func(err error) bool { return err != nil }); i >= 0 {
		return nil, errs[i]
	}
	return out, nil
}

// encodeOne encodes the timeline of an owner; nil has no record.
func encodeOne(block, owner string, t *rollover.Timeline) (encoded, error) {
	if owner == "" || len(owner) > nameOctets {
		return encoded{}, fmt.Errorf("owner %.64q: %w", owner, errRange)
	}
	e := encoded{owner: owner}
	var err error
	if t != nil {
		e.record, e.issuers, err = encode(block, owner, t)
	}
	return e, err
}

func (f *file) commit(block string, changes map[string]*rollover.Timeline, serial uint32, now rollover.Stamp) error {
	all, err := encodeAll(block, changes)
	if err != nil {
		return err
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if delete(f.found, block); block == "" {
		f.found = nil // it is some time since the file was opened
	}
	if err := f.usable(); err != nil {
		return err
	}
	for {
		n := min(len(all), batch)
		err := f.transact(func(tx *bolt.Tx) error { return write(tx, block, all[:n], serial, now, fill) })
		if err != nil {
			return fmt.Errorf("recording %d owners in %s: %w", len(changes), f.path, err)
		}
		if all = all[n:]; len(all) == 0 {
			return nil
		}
	}
}

// write puts the records of one transaction.
func write(tx *bolt.Tx, block string, records []encoded, serial uint32, now rollover.Stamp, fill float64) error {
	top := tx.Bucket([]byte(bucketName))
	if err := errors.Join(top.Put([]byte(heartbeatKey), encodeBeat(now)), putSerial(top, serial)); err != nil || len(records) == 0 {
		return err
	}
	issuers := top.Bucket([]byte(issuersName))
	owners, err := top.Bucket([]byte(blocksName)).CreateBucketIfNotExists([]byte(block))
	if err != nil {
		return err
	}
	owners.FillPercent = fill
	if last, _ := owners.Cursor().Last(); string(last) > records[0].owner {
		owners.FillPercent = even
	}
	for _, e := range records {
		if err := putIssuers(issuers, e.issuers); err != nil {
			return err
		}
		if e.record == nil {
			err = owners.Delete([]byte(e.owner))
		} else {
			err = owners.Put([]byte(e.owner), e.record)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

func putIssuers(b *bolt.Bucket, all []dane.Fingerprint) error {
	for _, f := range all {
		id, data, err := encodeIssuer(f)
		if err != nil {
			return err
		}
		if b.Get(id[:]) != nil {
			continue
		}
		if err := b.Put(id[:], data); err != nil {
			return err
		}
	}
	return nil
}

// transact runs one durable transaction. After an error it decides whether the file can still be trusted: a write that was
// refused (no space) changed nothing that counts, anything else may have.
func (f *file) transact(do func(*bolt.Tx) error) error {
	before, err := f.txid()
	if err == nil {
		err = f.use(func() error { return f.update(f.db, do) })
	}
	if err == nil || f.db == nil {
		return err
	}
	if refused, ok := errors.AsType[*fs.PathError](err); ok && refused.Op == "write" {
		if after, again := f.txid(); again == nil && after == before {
			return err
		}
	}
	f.suspect = err
	return err
}

// use runs f over bbolt, and gives bbolt up if it panics.
func (f *file) use(do func() error) error {
	err := guarded(do)
	if errors.Is(err, errPanic) {
		f.db, f.suspect = nil, err
	}
	return err
}

// txid is that of the last transaction as bbolt sees it.
func (f *file) txid() (id int, err error) {
	err = f.use(func() error {
		return f.db.View(func(tx *bolt.Tx) error {
			id = tx.ID()
			return nil
		})
	})
	return id, err
}

func (f *file) close() error {
	f.copying.Lock()
	defer f.copying.Unlock()
	f.mu.Lock()
	defer f.mu.Unlock()
	f.closed = true
	return f.unmount()
}

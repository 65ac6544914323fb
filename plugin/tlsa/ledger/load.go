package ledger

import (
	"fmt"

	bolt "go.etcd.io/bbolt"

	"github.com/coredns-tlsa/coredns-tlsa/plugin/tlsa/dane"
	"github.com/coredns-tlsa/coredns-tlsa/plugin/tlsa/rollover"
)

// blocks leaves out those whose owners have all been forgotten.
func (f *file) blocks() (names []string, err error) {
	err = f.view(func(tx *bolt.Tx) error {
		all := tx.Bucket([]byte(bucketName)).Bucket([]byte(blocksName))
		return all.ForEachBucket(func(name []byte) error {
			if k, _ := all.Bucket(name).Cursor().First(); k != nil {
				names = append(names, string(name))
			}
			return nil
		})
	})
	return names, err
}

func (f *file) load(block string) (map[string]*rollover.Timeline, error) {
	if out, ok := f.take(block); ok {
		return out, nil
	}
	out := make(map[string]*rollover.Timeline)
	if err := f.view(func(tx *bolt.Tx) error { return read(tx, block, out) }); err != nil {
		return nil, err
	}
	return out, nil
}

// take gives what was found in the block when the file was opened, once.
func (f *file) take(block string) (out map[string]*rollover.Timeline, ok bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	out, ok = f.found[block]
	delete(f.found, block)
	return out, ok && !f.closed
}

// view reads in one transaction.
func (f *file) view(do func(*bolt.Tx) error) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.closed {
		return ErrClosed
	}
	if f.db == nil {
		if err := f.usable(); err != nil {
			return err
		}
	}
	if err := f.use(func() error { return f.db.View(do) }); err != nil {
		return fmt.Errorf("reading %s: %w", f.path, err)
	}
	return nil
}

func read(tx *bolt.Tx, block string, out map[string]*rollover.Timeline) error {
	top := tx.Bucket([]byte(bucketName))
	issuers := make(map[issuerID]dane.Fingerprint)
	err := top.Bucket([]byte(issuersName)).ForEach(func(k, v []byte) error {
		id, f, err := decodeIssuer(k, v)
		issuers[id] = f
		return err
	})
	if err != nil {
		return err
	}
	owners := top.Bucket([]byte(blocksName)).Bucket([]byte(block))
	if owners == nil {
		return nil
	}
	return owners.ForEach(func(k, v []byte) error {
		t, err := decode(block, string(k), v, issuers)
		out[string(k)] = t
		return err
	})
}

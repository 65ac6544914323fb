package ledger

import (
	"encoding/binary"
	"slices"

	bolt "go.etcd.io/bbolt"

	"github.com/coredns-tlsa/coredns-tlsa/plugin/tlsa/rollover"
)

// A file that was made from its copy, or in the place of a lost one, may lack what was told since. It has a bucket that says so,
// in which each block is entered once all that its directories hold is recorded again: a process that ends before that, with a
// disk that fails, must not leave a file that the next one takes for whole.
const (
	vouchedName   = "vouched"
	vouchedOctets = 1 + 4
)

// Vouches tells whether what the ledger does not have of a block was never told either.
func (s *Store) Vouches(block string) bool {
	return !s.closed.Load() && s.shared.origin != Fresh && s.shared.keep.vouches(block)
}

// Vouch notes that the ledger has all that the directories of a block hold. It says nothing in one that was never in doubt.
func (s *Store) Vouch(block string) error {
	if s.closed.Load() {
		return ErrClosed
	}
	return s.shared.keep.vouch(block, s.Now())
}

func encodeVouched(block string) []byte {
	b := append(make([]byte, 0, vouchedOctets), recordVersion)
	return binary.BigEndian.AppendUint32(b, checksum(block, vouchedName, b))
}

// vouchers reads which blocks the file vouches for although it was in doubt.
func (c *contents) vouchers(bucket element) error {
	c.vouched = make(map[string]bool)
	return c.image.bucket(bucket, func(e element) error {
		if block := string(e.key); !slices.Equal(e.value, encodeVouched(block)) {
			return damaged("what it vouches for")
		}
		c.vouched[string(e.key)] = true
		return nil
	})
}

// label writes what a new file says beside the timelines.
func (f *file) label(serial uint32, vouched map[string]bool) error {
	f.vouched = vouched
	return f.transact(func(tx *bolt.Tx) error {
		top := tx.Bucket([]byte(bucketName))
		if err := putSerial(top, serial); err != nil || vouched == nil {
			return err
		}
		return putVouched(top, vouched)
	})
}

// putVouched puts the file in doubt, but for some blocks.
func putVouched(top *bolt.Bucket, blocks map[string]bool) error {
	b, err := top.CreateBucketIfNotExists([]byte(vouchedName))
	if err != nil {
		return err
	}
	for block := range blocks {
		if err := b.Put([]byte(block), encodeVouched(block)); err != nil {
			return err
		}
	}
	return nil
}

func (f *file) vouches(block string) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.vouched == nil || f.vouched[block]
}

func (f *file) vouch(block string, now rollover.Stamp) error {
	if f.vouches(block) {
		return nil
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if err := f.usable(); err != nil {
		return err
	}
	err := f.transact(func(tx *bolt.Tx) error {
		top := tx.Bucket([]byte(bucketName))
		if err := top.Put([]byte(heartbeatKey), encodeBeat(now)); err != nil {
			return err
		}
		return putVouched(top, map[string]bool{block: true})
	})
	if err == nil {
		f.vouched[block] = true
	}
	return err
}

// The timelines in memory never come from before.
func (*memory) vouches(string) bool                { return false }
func (*memory) vouch(string, rollover.Stamp) error { return nil }

package ledger

import (
	"encoding/binary"
	"slices"

	bolt "go.etcd.io/bbolt"

	"github.com/coredns-tlsa/coredns-tlsa/plugin/tlsa/rollover"
)

// A new file, and one that was made from its copy or in the place of a lost one, may lack what was told before, or since. It has
// a bucket in which each block is entered once all that its directories hold is recorded: a process that ends before that, with
// a disk that fails, must not leave a file that the next one takes for whole. Files of before have no such bucket, and are.
const (
	vouchedName   = "vouched"
	vouchedOctets = 1 + 4
)

// Vouches tells whether what the ledger does not have of a block was never told either.
func (s *Store) Vouches(block string) bool {
	return !s.closed.Load() && s.shared.keep.vouches(block)
}

// Vouch notes that the ledger has all that the directories of a block hold. Its errors are those of Commit.
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

// vouchers reads which blocks the file vouches for. An entry that is damaged is left out: that costs no timeline.
func (c *contents) vouchers(bucket element) error {
	c.vouched = make(map[string]bool)
	return c.image.bucket(bucket, func(e element) error {
		if block := string(e.key); slices.Equal(e.value, encodeVouched(block)) {
			c.vouched[block] = true
		}
		return nil
	})
}

// begin writes what a new file has beside the timelines.
func (f *file) begin(beat rollover.Stamp, serial uint32, vouched map[string]bool) error {
	if err := f.prepare(beat, nil); err != nil {
		return err
	}
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

func (m *memory) vouches(block string) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.vouched[block]
}

func (m *memory) vouch(block string, _ rollover.Stamp) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.vouched[block] = true
	return nil
}

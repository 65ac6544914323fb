package ledger

import (
	"errors"
	"os"
	"slices"

	bolt "go.etcd.io/bbolt"

	"github.com/coredns-tlsa/coredns-tlsa/plugin/tlsa/dane"
	"github.com/coredns-tlsa/coredns-tlsa/plugin/tlsa/rollover"
)

// bbolt never gives space back, nor does it join pages whose records have shrunk: after all owners had two keys at once, more
// than half of the file is unused for ever. So the first to open such a file writes it anew.

// wasteful tells whether that is worth it.
func (c *contents) wasteful() bool {
	size := c.image.meta.high * uint64(c.image.meta.pageSize)
	return size > growth && size > c.octets/4*7
}

// compact puts a copy without free pages in the file's place. After an error all that was recorded is still there.
func (f *file) compact(held *contents) error {
	return f.exchange(func(next *file) error { return errors.Join(next.fill(f, held), next.check()) }, nil)
}

// create puts a new ledger in the place of an empty file. It is never written in that place: a power cut between its first
// pages would leave what nothing knows as a ledger.
func (f *file) create(now rollover.Stamp) error {
	return f.exchange(func(next *file) error { return next.begin(now, 0, map[string]bool{}) }, nil)
}

// exchange puts a file in place that was written aside. What makes way for it does so when it is on disk.
func (f *file) exchange(write func(*file) error, makeWay func() error) error {
	temp := f.path + newSuffix
	handle, err := createLocked(temp, func(*os.File) error { return nil })
	if err != nil {
		return err
	}
	next := &file{path: f.path, update: f.update}
	if err = next.mount(handle); err == nil {
		err = write(next)
	}
	if err == nil && makeWay != nil {
		err = makeWay()
	}
	if err != nil {
		return errors.Join(err, next.unmount(), ignoreMissing(os.Remove(temp)))
	}
	renamed, err := install(temp, f.path)
	if !renamed {
		return errors.Join(err, next.unmount(), ignoreMissing(os.Remove(temp)))
	}
	_ = f.unmount() // all of it is in the new file
	f.handle, f.db, f.suspect, f.vouched = next.handle, next.db, err, next.vouched
	return err
}

// check reads the whole file.
func (f *file) check() error {
	info, err := f.handle.Stat()
	if err != nil {
		return err
	}
	_, err = examine(f.handle, info.Size())
	return err
}

// fill copies the records of another file, and of its issuers those that they need.
func (f *file) fill(from *file, held *contents) error {
	if err := f.begin(held.beat, held.serial, held.vouched); err != nil {
		return err
	}
	var issuers []dane.Fingerprint
	for id := range held.used {
		issuers = append(issuers, held.issuers[id])
	}
	return from.use(func() error {
		return from.db.View(func(tx *bolt.Tx) error {
			blocks := tx.Bucket([]byte(bucketName)).Bucket([]byte(blocksName))
			return blocks.ForEachBucket(func(name []byte) error {
				var all []encoded
				err := blocks.Bucket(name).ForEach(func(k, v []byte) error {
					all = append(all, encoded{owner: string(k), record: v})
					return nil
				})
				if err != nil || len(all) == 0 {
					return err
				}
				all[0].issuers = issuers
				return f.append(string(name), all, held.beat)
			})
		})
	})
}

// append records all of a block in a file that does not have it.
func (f *file) append(block string, all []encoded, beat rollover.Stamp) error {
	for part := range slices.Chunk(all, batch) {
		if err := f.transact(func(tx *bolt.Tx) error { return write(tx, block, part, 0, beat, packed) }); err != nil {
			return err
		}
	}
	return nil
}

package ledger

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"

	bolt "go.etcd.io/bbolt"
)

func (f *file) backup() error { return f.backupOf(nil) }

// backupOf writes a copy beside FILE.bak, reads it whole, and only then puts it in place: a damaged ledger must not replace the
// copy that could restore it. Where nothing was written since the ledger was found good, the copy need only be the same.
func (f *file) backupOf(held *contents) error {
	f.copying.Lock()
	defer f.copying.Unlock()
	temp := f.path + backupSuffix + newSuffix
	handle, err := createLocked(temp, f.snapshot)
	if err != nil {
		return fmt.Errorf("copying ledger %s: %w", f.path, err)
	}
	info, err := handle.Stat()
	if err == nil && (held == nil || !held.same(f.handle, handle, info.Size())) {
		_, err = examine(handle, info.Size())
	}
	if err == nil {
		_, err = install(temp, f.path+backupSuffix)
	}
	if err != nil {
		err = fmt.Errorf("copying ledger %s: %w", f.path, errors.Join(err, ignoreMissing(os.Remove(temp))))
	}
	return errors.Join(err, handle.Close())
}

// same tells whether a copy has the pages of the file with these contents. Its meta pages are its own.
func (c *contents) same(original, copied io.ReaderAt, size int64) bool {
	im, err := openImage(copied, size)
	if err != nil || im.meta != c.image.meta {
		return false
	}
	a, b := make([]byte, 1<<20), make([]byte, 1<<20)
	for at := 2 * int64(im.meta.pageSize); at < size; at += int64(len(a)) {
		n := min(int64(len(a)), size-at)
		_, err := original.ReadAt(a[:n], at)
		_, again := copied.ReadAt(b[:n], at)
		if err != nil || again != nil || !bytes.Equal(a[:n], b[:n]) {
			return false
		}
	}
	return true
}

// snapshot writes the last transaction's state. Commits wait meanwhile.
func (f *file) snapshot(w *os.File) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.closed {
		return ErrClosed
	}
	if f.db == nil || f.suspect != nil {
		return fmt.Errorf("after an error, until the next commit: %w", f.suspect)
	}
	return f.use(func() error {
		return f.db.View(func(tx *bolt.Tx) error {
			_, err := tx.WriteTo(w)
			return err
		})
	})
}

package ledger

import (
	"errors"
	"fmt"
	"os"

	bolt "go.etcd.io/bbolt"
)

// backup writes a copy beside FILE.bak, reads it whole, and only then puts it in place: a damaged ledger must not replace the
// copy that could restore it.
func (f *file) backup() error {
	f.copying.Lock()
	defer f.copying.Unlock()
	temp := f.path + backupSuffix + newSuffix
	handle, err := createLocked(temp, f.snapshot)
	if err != nil {
		return fmt.Errorf("copying ledger %s: %w", f.path, err)
	}
	info, err := handle.Stat()
	if err == nil {
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

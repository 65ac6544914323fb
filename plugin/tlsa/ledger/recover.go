package ledger

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
)

// usable gives commit a file that it can trust, renewing it if need be. The caller holds mu.
func (f *file) usable() error {
	if f.closed {
		return ErrClosed
	}
	here, err := f.inPlace()
	if err != nil {
		return fmt.Errorf("ledger %s: %w", f.path, err)
	}
	if here && f.suspect == nil && f.db != nil {
		return nil
	}
	if err := f.renew(); err != nil {
		return fmt.Errorf("ledger %s: renewing it: %w", f.path, errors.Join(err, f.suspect))
	}
	return nil
}

// inPlace tells whether the path still leads to our file: what goes to a deleted one is gone at the next start.
func (f *file) inPlace() (bool, error) {
	info, err := os.Stat(f.path)
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	ours, err := f.handle.Stat()
	if errors.Is(err, os.ErrClosed) {
		return false, f.reopen()
	}
	if err != nil {
		return false, err
	}
	if !os.SameFile(info, ours) {
		return false, ErrReplaced
	}
	return true, nil
}

// reopen gets hold of the file again after bbolt failed to open it, which closes it.
func (f *file) reopen() error {
	handle, err := os.OpenFile(f.path, os.O_RDWR, 0)
	if err != nil {
		return err
	}
	if err := lock(handle); err != nil {
		return errors.Join(ErrLocked, err, handle.Close())
	}
	f.handle = handle
	return nil
}

// renew writes what the file holds to a new one and puts that in its place. The old one stays locked until then, so no other
// process comes in between.
func (f *file) renew() error {
	info, err := f.handle.Stat()
	if err != nil {
		return err
	}
	if _, err := examine(f.handle, info.Size()); err != nil {
		return err
	}
	temp := f.path + newSuffix
	handle, err := createLocked(temp, func(w *os.File) error { return copyAll(w, f.handle) })
	if err != nil {
		return err
	}
	renamed, err := install(temp, f.path)
	if !renamed {
		return errors.Join(err, handle.Close(), ignoreMissing(os.Remove(temp)))
	}
	// What the old handle says no longer matters: all of it is in the new file. If only the directory could not be synced, that
	// is the file in place all the same, and the next commit renews it once more.
	_ = f.unmount()
	f.suspect = err
	return errors.Join(err, f.mount(handle))
}

// unmount closes bbolt, or, where that was given up, only the file below it.
func (f *file) unmount() error {
	db := f.db
	f.db = nil
	if db != nil {
		return guarded(db.Close)
	}
	// The mapping that a panic left behind holds the open file, and with it the lock.
	if err := errors.Join(unlock(f.handle), f.handle.Close()); !errors.Is(err, os.ErrClosed) {
		return err
	}
	return nil
}

package ledger

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
	"time"
)

const (
	backupSuffix = ".bak"
	newSuffix    = ".new"
	lockWait     = 10 * time.Second
	lockPause    = 50 * time.Millisecond
)

// lockFile opens the file, creating it if missing, and locks it against other processes. The lock is on the open file, so bbolt,
// which gets the same one, finds it held already.
func lockFile(path string) (*os.File, error) {
	for end := time.Now().Add(lockWait); ; time.Sleep(lockPause) {
		f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
		if err != nil {
			return nil, err
		}
		err = lock(f)
		if err == nil && same(f, path) {
			return f, nil
		}
		_ = f.Close() // nothing was written
		if err != nil && !errors.Is(err, syscall.EWOULDBLOCK) {
			return nil, fmt.Errorf("locking it: %w", err)
		}
		if time.Now().After(end) {
			return nil, fmt.Errorf("%w for %s; stop that process, or give this server another file", ErrLocked, lockWait)
		}
	}
}

func lock(f *os.File) error {
	for {
		err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
		if !errors.Is(err, syscall.EINTR) {
			return err
		}
	}
}

func unlock(f *os.File) error { return syscall.Flock(int(f.Fd()), syscall.LOCK_UN) }

// same tells whether path still is f: another process may have replaced it while it held the lock.
func same(f *os.File, path string) bool {
	a, err := f.Stat()
	if err != nil {
		return false
	}
	b, err := os.Stat(path)
	return err == nil && a.Mode().IsRegular() && os.SameFile(a, b)
}

// createLocked makes a file from nothing, locked and on disk when it returns; a leftover of the name goes.
func createLocked(path string, fill func(*os.File) error) (*os.File, error) {
	if err := ignoreMissing(os.Remove(path)); err != nil {
		return nil, err
	}
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return nil, err
	}
	if err = lock(f); err == nil {
		err = fill(f)
	}
	if err == nil {
		err = f.Sync()
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("writing %s: %w", path, err), f.Close(), os.Remove(path))
	}
	return f, nil
}

// copyAll copies a whole file, wherever its position is.
func copyAll(w io.Writer, r *os.File) error {
	info, err := r.Stat()
	if err != nil {
		return err
	}
	_, err = io.Copy(w, io.NewSectionReader(r, 0, info.Size()))
	return err
}

// install renames a file into place, for good. After an error it may have been renamed, though a power cut can undo that.
func install(from, to string) (renamed bool, err error) {
	if err := os.Rename(from, to); err != nil {
		_, left := os.Lstat(from)
		return errors.Is(left, fs.ErrNotExist), err
	}
	return true, syncDir(filepath.Dir(to))
}

func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

// setAside renames a damaged file to a name that nothing has yet, and gives that name. The ledger's lock keeps others out.
func setAside(path string, now time.Time) (string, error) {
	name := path + ".damaged-" + now.UTC().Format("20060102T150405Z")
	free := name
	for n := 2; ; n++ {
		_, err := os.Lstat(free)
		if errors.Is(err, fs.ErrNotExist) {
			break
		}
		if err != nil {
			return "", err
		}
		free = fmt.Sprintf("%s-%d", name, n)
	}
	_, err := install(path, free)
	return free, err
}

func ignoreMissing(err error) error {
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return err
}

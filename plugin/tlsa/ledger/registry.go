package ledger

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"time"
)

// stores are the ledgers that are open in this process: an instance that overlaps another in a reload cannot get at the file
// otherwise, because the first one holds its lock.
var stores registry

type registry struct {
	mu   sync.Mutex // guards open and the refs of what is in it; held through Open, so that nobody opens a file twice
	open []*shared
}

// Open opens the ledger of an absolute path, creating the file if its directory exists; an empty path stands for one in
// memory. Every Open needs a Close. Errors: ErrLocked after ten seconds, ErrNotLedger, ErrNewer, and those of the file system.
func Open(path string) (*Store, error) {
	stores.mu.Lock()
	defer stores.mu.Unlock()
	target, info, err := resolve(path)
	if err != nil {
		return nil, err
	}
	if s := stores.find(target, info); s != nil {
		s.refs++
		return &Store{shared: s}, nil
	}
	s := &shared{path: target, refs: 1}
	if path == "" {
		s.keep, s.origin = newMemory(), Memory
	} else if err := s.openFile(); err != nil {
		return nil, fmt.Errorf("ledger %s: %w", path, err)
	}
	s.start = time.Now()
	stores.open = append(stores.open, s)
	return &Store{shared: s}, nil
}

func (s *shared) openFile() error {
	f, service, err := openFile(s.path)
	if err != nil {
		return err
	}
	s.keep, s.origin, s.notice, s.base = f.file, f.origin, f.notice, service
	return nil
}

// find looks for the open ledger of a path, which may have other names.
func (r *registry) find(path string, info fs.FileInfo) *shared {
	for _, s := range r.open {
		if s.path == path {
			return s
		}
		if other, err := os.Stat(s.path); info != nil && err == nil && os.SameFile(info, other) {
			return s
		}
	}
	return nil
}

func (r *registry) release(s *shared) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	s.refs--
	if s.refs > 0 {
		return nil
	}
	r.open = slices.DeleteFunc(r.open, func(o *shared) bool { return o == s })
	return s.keep.close()
}

// resolve follows the links of path, so that the copies lie beside the real file. The file itself may be missing.
func resolve(path string) (string, fs.FileInfo, error) {
	if path == "" {
		return "", nil, nil
	}
	if !filepath.IsAbs(path) {
		return "", nil, fmt.Errorf("ledger %s: the path must be absolute", path)
	}
	dir, err := filepath.EvalSymlinks(filepath.Dir(path))
	if errors.Is(err, fs.ErrNotExist) {
		return "", nil, fmt.Errorf("ledger %s: directory %s does not exist; create it, writable by the server: %w",
			path, filepath.Dir(path), err)
	}
	if err != nil {
		return "", nil, fmt.Errorf("ledger %s: finding its directory: %w", path, err)
	}
	target := filepath.Join(dir, filepath.Base(path))
	if _, err := os.Lstat(target); errors.Is(err, fs.ErrNotExist) {
		return target, nil, nil
	}
	if target, err = filepath.EvalSymlinks(target); err != nil {
		return "", nil, fmt.Errorf("ledger %s: following the link: %w", path, err)
	}
	info, err := os.Stat(target)
	if err != nil {
		return "", nil, fmt.Errorf("ledger %s: %w", path, err)
	}
	if !info.Mode().IsRegular() {
		return "", nil, fmt.Errorf("ledger %s: %w: it is a %s, and a ledger is a regular file", path, ErrNotLedger, kind(info.Mode()))
	}
	return target, info, nil
}

func kind(m fs.FileMode) string {
	switch {
	case m.IsDir():
		return "directory"
	case m&fs.ModeNamedPipe != 0:
		return "named pipe"
	case m&fs.ModeSocket != 0:
		return "socket"
	default:
		return "device"
	}
}

package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"

	"golang.org/x/sys/unix"
)

// A dirSwap makes a whole new directory beside the old one and exchanges the two: one step of the file system takes every
// file from old to new, and one takes it back.
type dirSwap struct {
	Dir   string            `json:"dir"`
	Spare string            `json:"spare"` // the new directory before the exchange, the old one after it
	New   uint64            `json:"new"`   // inode of the new directory; 0: it is not whole
	Ours  map[string]string `json:"ours"`  // the new files by name, with their SHA-256
	Kept  map[string]uint64 `json:"kept"`  // the files that both directories have by name, with their inodes

	atStep   func(string)
	exchange func(a, b string) error
	proc     string // where Linux tells of other processes
}

// errNoExchange: nothing has changed, and the files have to be replaced one by one.
var errNoExchange = errors.New("the directory cannot be exchanged as a whole")

func (s *dirSwap) stage(from, to *lineage) error {
	if err := s.make(from, to); err != nil {
		return fmt.Errorf("%w: %w", errNoExchange, err)
	}
	return nil
}

func (s *dirSwap) make(from, to *lineage) error {
	if err := heldDirectory(s.proc, s.Dir); err != nil {
		return err
	}
	like, err := os.Stat(s.Dir)
	if err != nil {
		return err
	}
	if err := errors.Join(os.RemoveAll(s.Spare), os.Mkdir(s.Spare, 0o700)); err != nil {
		return err
	}
	// Before the files, which inherit from it. It is closed to others until all of them are there.
	if err := copyAttributes(s.Spare, s.Dir); err != nil {
		return err
	}
	if err := os.Chmod(s.Spare, 0o700); err != nil {
		return err
	}
	for _, role := range changedRoles(from, to) {
		m := from.files[role]
		s.atStep("stage " + m.name)
		if err := writeMember(filepath.Join(s.Spare, m.name), m, to.files[role], like); err != nil {
			return err
		}
		s.Ours[m.name] = m.sum
	}
	if err := s.keepOthers(); err != nil {
		return err
	}
	if err := openLike(s.Spare, like); err != nil {
		return err
	}
	if s.New, err = inode(s.Spare); err != nil {
		return err
	}
	return syncDir(filepath.Dir(s.Spare))
}

// keepOthers gives every other file a second name in the new directory: it stays what it is, with its owner, mode, times
// and attributes, and who writes to it writes to both.
func (s *dirSwap) keepOthers() error {
	entries, err := os.ReadDir(s.Dir)
	if err != nil {
		return err
	}
	for _, e := range entries {
		name := e.Name()
		if e.IsDir() {
			return fmt.Errorf("%s is a directory", filepath.Join(s.Dir, name))
		}
		if s.Ours[name] != "" {
			continue
		}
		s.atStep("keep " + name)
		as := filepath.Join(s.Spare, name)
		// Not os.Link: a link is kept as one everywhere.
		switch err := unix.Linkat(unix.AT_FDCWD, filepath.Join(s.Dir, name), unix.AT_FDCWD, as, 0); {
		case errors.Is(err, fs.ErrNotExist):
			continue // another program has just removed it
		case err != nil:
			return &os.LinkError{Op: "link", Old: filepath.Join(s.Dir, name), New: as, Err: err}
		}
		if s.Kept[name], err = inode(as); err != nil {
			return err
		}
	}
	return nil
}

// inode is the number of a file, of a link itself, within its file system.
func inode(path string) (uint64, error) {
	info, err := os.Lstat(path)
	if err != nil {
		return 0, err
	}
	return info.Sys().(*syscall.Stat_t).Ino, nil
}

// isNew tells whether the new directory is at path.
func (s *dirSwap) isNew(path string) bool {
	now, err := inode(path)
	return err == nil && s.New != 0 && now == s.New
}

func (s *dirSwap) isWhole() bool {
	dir := s.Spare
	if s.isNew(s.Dir) {
		dir = s.Dir
	}
	for name, sum := range s.Ours {
		if fileDigest(filepath.Join(dir, name)) != sum {
			return false
		}
	}
	return s.isNew(dir)
}

func (s *dirSwap) apply() error {
	if !s.isNew(s.Dir) {
		s.atStep("exchange")
		if err := s.exchange(s.Spare, s.Dir); err != nil {
			return fmt.Errorf("%w: %w", errNoExchange, err)
		}
	}
	s.atStep("carry")
	if err := s.carry(); err != nil {
		return err
	}
	if err := s.dropRemoved(); err != nil {
		return err
	}
	return errors.Join(syncDir(s.Dir), syncDir(filepath.Dir(s.Dir)))
}

func (s *dirSwap) revert() error {
	if s.isNew(s.Dir) {
		s.atStep("return")
		if err := s.exchange(s.Spare, s.Dir); err != nil {
			return err
		}
	}
	s.atStep("carry back")
	if err := s.carry(); err != nil {
		return err
	}
	return errors.Join(syncDir(s.Dir), syncDir(filepath.Dir(s.Dir)))
}

// carry brings into the directory in use what another program wrote into the spare one: before the exchange, or later
// because it held that one open. Where both have changed, the one in use is the younger. Our own files are no part of it.
func (s *dirSwap) carry() error {
	entries, err := os.ReadDir(s.Spare)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	for _, e := range entries {
		name := e.Name()
		if s.Ours[name] != "" {
			continue
		}
		there, err := inode(filepath.Join(s.Spare, name))
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		here, hereErr := inode(filepath.Join(s.Dir, name))
		if err := errors.Join(err, ignoreMissing(hereErr)); err != nil {
			return err
		}
		if kept := s.Kept[name]; there == kept || here != kept {
			continue // here is 0 where there is none, and so is kept
		}
		if err := os.Rename(filepath.Join(s.Spare, name), filepath.Join(s.Dir, name)); err != nil {
			return err
		}
	}
	return nil
}

// dropRemoved removes what another program removed from the old directory before the exchange: it lives on in the new one.
func (s *dirSwap) dropRemoved() error {
	for name, kept := range s.Kept {
		if _, err := inode(filepath.Join(s.Spare, name)); !errors.Is(err, fs.ErrNotExist) {
			continue
		}
		path := filepath.Join(s.Dir, name)
		if now, err := inode(path); err != nil || now != kept {
			continue
		}
		if err := os.Remove(path); err != nil {
			return err
		}
	}
	return nil
}

func ignoreMissing(err error) error {
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return err
}

func (s *dirSwap) replaced() ([]subject, error) {
	old, err := readLineage(s.Spare)
	if err != nil {
		return nil, err
	}
	defer old.wipe()
	return old.replacedSubjects()
}

// discard removes a new directory that was never in place.
func (s *dirSwap) discard() error { return os.RemoveAll(s.Spare) }

func (s *dirSwap) clean() error {
	if s.New != 0 {
		if err := s.carry(); err != nil {
			return err
		}
	}
	return os.RemoveAll(s.Spare)
}

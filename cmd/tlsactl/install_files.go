package main

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
)

// A fileSwap replaces files one by one, each by a rename. Between the first and the last the set is mixed for as long as
// the renames take; after a crash there, the next run completes them.
type fileSwap struct {
	Dir   string     `json:"dir"`  // of the installed files
	Work  string     `json:"work"` // new and old files, on the same file system
	Moves []fileMove `json:"moves"`

	atStep func(string)
}

type fileMove struct {
	Name   string `json:"name"`
	Had    bool   `json:"had"` // there was an old file
	SHA256 string `json:"sha256"`
}

func (s *fileSwap) new(m fileMove) string    { return filepath.Join(s.Work, "new", m.Name) }
func (s *fileSwap) old(m fileMove) string    { return filepath.Join(s.Work, "old", m.Name) }
func (s *fileSwap) target(m fileMove) string { return filepath.Join(s.Dir, m.Name) }

func (s *fileSwap) stage(from, to *lineage) error {
	if err := s.clean(); err != nil {
		return err
	}
	for _, dir := range []string{s.Work, filepath.Join(s.Work, "new"), filepath.Join(s.Work, "old")} {
		if err := os.Mkdir(dir, 0o700); err != nil {
			return err
		}
	}
	parent, err := os.Stat(s.Dir)
	if err != nil {
		return err
	}
	for _, role := range changedRoles(from, to) {
		m := from.files[role]
		old := to.files[role]
		move := fileMove{Name: filepath.Base(to.path) + role, Had: old != nil, SHA256: m.sum}
		if to.dir == to.path {
			move.Name = m.name
		}
		s.atStep("stage " + move.Name)
		if err := writeMember(s.new(move), m, old, parent); err != nil {
			return err
		}
		// A file that is no member, such as an empty one, is replaced as well.
		if _, err := os.Lstat(s.target(move)); err == nil {
			move.Had = true
			if err := keep(s.target(move), s.old(move)); err != nil {
				return err
			}
		}
		s.Moves = append(s.Moves, move)
	}
	for _, dir := range []string{filepath.Join(s.Work, "new"), filepath.Join(s.Work, "old"), s.Work, s.Dir} {
		if err := syncDir(dir); err != nil {
			return err
		}
	}
	return nil
}

func digest(data []byte) string {
	sum := sha256.Sum256(data)
	return hex.EncodeToString(sum[:])
}

// keep gives a file a second name, so that it can come back as it was: with its owner, mode and attributes.
func keep(path, as string) error {
	info, err := os.Lstat(path)
	if err != nil {
		return err
	}
	if info.Mode()&fs.ModeSymlink != 0 {
		target, err := os.Readlink(path)
		if err != nil {
			return err
		}
		return os.Symlink(target, as)
	}
	if os.Link(path, as) == nil {
		return nil
	}
	data, err := os.ReadFile(path) // a file system without links
	if err != nil {
		return err
	}
	defer clear(data)
	return writeOwned(as, data, info.Mode().Perm(), info)
}

// writeMember writes a new file with the owner and mode of the one it replaces. A private key is never more open than 0600
// unless the old file had one, too, and was.
func writeMember(path string, m, old *member, parent fs.FileInfo) error {
	mode, like := fs.FileMode(0o644), parent
	if old != nil {
		mode, like = old.info.Mode().Perm(), old.info
	}
	if m.hasKey() && (old == nil || !old.hasKey()) {
		mode &= 0o600
	}
	return writeOwned(path, m.data, mode, like)
}

// writeOwned writes a file durably with the owner of another one. It is 0600 until the owner is right.
func writeOwned(path string, data []byte, mode fs.FileMode, like fs.FileInfo) error {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	return errors.Join(func() error {
		if err := chownLike(f, like); err != nil {
			return err
		}
		return writeSynced(f, data, mode)
	}(), f.Close())
}

func chownLike(f *os.File, like fs.FileInfo) error {
	want, ok := like.Sys().(*syscall.Stat_t)
	if !ok {
		return nil
	}
	info, err := f.Stat()
	if err != nil {
		return err
	}
	if got, ok := info.Sys().(*syscall.Stat_t); ok && got.Uid == want.Uid && got.Gid == want.Gid {
		return nil
	}
	if err := f.Chown(int(want.Uid), int(want.Gid)); err != nil {
		return fmt.Errorf("%w: the file it replaces belongs to %d:%d: run tlsactl as root or as that user", err, want.Uid, want.Gid)
	}
	return nil
}

func (s *fileSwap) isWhole() bool {
	for _, m := range s.Moves {
		if fileDigest(s.new(m)) != m.SHA256 && fileDigest(s.target(m)) != m.SHA256 {
			return false
		}
	}
	return true
}

// fileDigest is empty for what cannot be read.
func fileDigest(path string) string {
	data, err := os.ReadFile(path)
	if err != nil {
		return ""
	}
	defer clear(data)
	return digest(data)
}

func (s *fileSwap) apply() error {
	for _, m := range s.Moves {
		s.atStep("move " + m.Name)
		if err := os.Rename(s.new(m), s.target(m)); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	return syncDir(s.Dir)
}

func (s *fileSwap) revert() error {
	for _, m := range s.Moves {
		s.atStep("return " + m.Name)
		var err error
		if m.Had {
			err = os.Rename(s.old(m), s.target(m))
		} else {
			err = os.Remove(s.target(m))
		}
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	return syncDir(s.Dir)
}

func (s *fileSwap) replaced() ([]subject, error) {
	old := &lineage{dir: filepath.Join(s.Work, "old"), files: make(map[string]*member)}
	defer old.wipe()
	for _, m := range s.Moves {
		if !m.Had {
			continue
		}
		name := m.Name
		if text, err := os.Readlink(s.old(m)); err == nil && !filepath.IsAbs(text) {
			// A relative link leads somewhere from its own place only.
			if name, err = filepath.Rel(old.dir, filepath.Join(s.Dir, text)); err != nil {
				return nil, err
			}
		}
		if err := old.add(m.Name, name); err != nil {
			return nil, err
		}
	}
	return old.replacedSubjects()
}

func (s *fileSwap) discard() error { return s.clean() }

func (s *fileSwap) clean() error { return os.RemoveAll(s.Work) }

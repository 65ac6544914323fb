package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
)

// A linkSwap makes a new directory and points the link to it: one rename takes every file from old to new.
type linkSwap struct {
	Path  string `json:"path"` // of the link
	Old   string `json:"old"`  // what it says before and after
	New   string `json:"new"`
	Whole bool   `json:"whole"` // everything is in the new directory

	atStep func(string)
}

// resolve gives the directory that a text of the link stands for.
func (s *linkSwap) resolve(text string) string {
	if filepath.IsAbs(text) {
		return text
	}
	return filepath.Join(filepath.Dir(s.Path), text)
}

// stage copies the old directory with the new files in it. A directory inside it would not be copied whole in one step of
// ours, so it is refused.
func (s *linkSwap) stage(from, to *lineage) error {
	old, dir := s.resolve(s.Old), s.resolve(s.New)
	parent, err := os.Stat(old)
	if err != nil {
		return err
	}
	if err := os.Mkdir(dir, 0o700); err != nil {
		return err
	}
	for _, role := range from.roles() {
		s.atStep("stage " + role)
		if err := writeMember(filepath.Join(dir, role), from.files[role], to.files[role], parent); err != nil {
			return err
		}
	}
	entries, err := os.ReadDir(old)
	if err != nil {
		return err
	}
	if err := writeOwned(filepath.Join(dir, linkMark), []byte(s.Path+"\n"), 0o644, parent); err != nil {
		return err
	}
	for _, e := range entries {
		if e.Name() == linkMark || slices.Contains(from.roles(), e.Name()) {
			continue
		}
		if e.IsDir() {
			return fmt.Errorf("%s is a directory: a lineage has files only, move it away", filepath.Join(old, e.Name()))
		}
		if err := copyAs(filepath.Join(old, e.Name()), filepath.Join(dir, e.Name())); err != nil {
			return err
		}
	}
	if err := openLike(dir, parent); err != nil {
		return err
	}
	s.Whole = true
	return syncDir(filepath.Dir(dir))
}

// copyAs copies a file or a link; a new inode, so that who writes to the one does not change the other.
func copyAs(path, as string) error {
	info, err := os.Lstat(path)
	if err != nil {
		return err
	}
	switch {
	case info.Mode()&fs.ModeSymlink != 0:
		return keep(path, as)
	case !info.Mode().IsRegular():
		return nil // a socket or pipe belongs to who made it
	}
	data, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	defer clear(data)
	return writeOwned(as, data, info.Mode().Perm(), info)
}

// openLike gives a finished directory the owner and mode of another one, durably.
func openLike(dir string, like fs.FileInfo) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(chownLike(d, like), d.Chmod(like.Mode()&(fs.ModePerm|fs.ModeSetgid|fs.ModeSticky)), d.Sync(), d.Close())
}

func (s *linkSwap) isWhole() bool {
	info, err := os.Stat(s.resolve(s.New))
	return s.Whole && err == nil && info.IsDir()
}

func (s *linkSwap) apply() error {
	s.atStep("move " + s.New)
	return s.point(s.New)
}

func (s *linkSwap) revert() error {
	s.atStep("return " + s.Old)
	if err := s.point(s.Old); err != nil {
		return err
	}
	return os.RemoveAll(s.resolve(s.New))
}

// point makes the link say text.
func (s *linkSwap) point(text string) error {
	if now, err := os.Readlink(s.Path); err == nil && now == text {
		return nil
	}
	temporary := s.temporary()
	if err := os.Remove(temporary); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if err := os.Symlink(text, temporary); err != nil {
		return err
	}
	if err := os.Rename(temporary, s.Path); err != nil {
		return err
	}
	return syncDir(filepath.Dir(s.Path))
}

func (s *linkSwap) temporary() string {
	return filepath.Join(filepath.Dir(s.Path), ".tlsactl-install."+filepath.Base(s.Path)+".link")
}

func (s *linkSwap) replaced() ([]subject, error) {
	old, err := readLineage(s.resolve(s.Old))
	if err != nil {
		return nil, err
	}
	defer old.wipe()
	return old.replacedSubjects()
}

// discard removes a new directory that was never in use.
func (s *linkSwap) discard() error {
	if now, err := os.Readlink(s.Path); err != nil || now == s.New {
		return errors.Join(err, s.clean())
	}
	return errors.Join(os.RemoveAll(s.resolve(s.New)), s.clean())
}

// clean removes the temporary link and, after an installation, the new directories of earlier ones: all but the one in use
// and the one before it, to go back to by hand.
func (s *linkSwap) clean() error {
	if err := os.Remove(s.temporary()); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if now, err := os.Readlink(s.Path); err != nil || now != s.New {
		return err
	}
	parent := filepath.Dir(s.resolve(s.New))
	entries, err := os.ReadDir(parent)
	if err != nil {
		return err
	}
	for _, e := range entries {
		dir := filepath.Join(parent, e.Name())
		if !e.IsDir() || dir == s.resolve(s.New) || dir == filepath.Clean(s.resolve(s.Old)) || !s.made(dir) {
			continue
		}
		if err := os.RemoveAll(dir); err != nil {
			return err
		}
	}
	return nil
}

// linkMark is a file in each directory that an installation has made, with the path of the link that it was made for. What
// has none, or that of another link, is not ours to remove.
const linkMark = ".tlsactl-install.link"

// made tells whether a directory was made for this link.
func (s *linkSwap) made(dir string) bool {
	path, err := os.ReadFile(filepath.Join(dir, linkMark))
	return err == nil && string(path) == s.Path+"\n"
}

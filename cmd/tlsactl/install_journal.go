package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
)

// journalVersion is that of the journal; another one is refused, because its installation may be under way.
const journalVersion = 1

// The phases of an installation. The journal says which one a crash interrupted.
const (
	phaseStage = "stage" // new files are being written: the old ones are in place
	phaseMove  = "move"  // new files are whole on disk and take their places
	phaseRun   = "run"   // new files are in place, the command must run
	phaseUndo  = "undo"  // old files return to their places
)

// A journal is what an interrupted installation needs to be completed or undone; exactly one of Dir, Files and Link is
// set.
type journal struct {
	Version int       `json:"version"`
	Phase   string    `json:"phase"`
	Dir     *dirSwap  `json:"dir,omitempty"`
	Files   *fileSwap `json:"files,omitempty"`
	Link    *linkSwap `json:"link,omitempty"`
}

// A swap puts new files in the place of old ones. Every method may be repeated after a crash, wherever that was.
type swap interface {
	// stage writes the new files beside the old ones, durably.
	stage(from, to *lineage) error
	// isWhole tells whether every new file is there, staged or in place, as it was written.
	isWhole() bool
	apply() error
	revert() error
	// replaced gives the keys of the old certificate; an error where there was none.
	replaced() ([]subject, error)
	// discard removes new files that were never in place.
	discard() error
	// clean removes what is needed no more.
	clean() error
}

func (j *journal) swap() (swap, error) {
	switch {
	case j.Version != journalVersion:
		return nil, fmt.Errorf("version %d is not known here: use the tlsactl that wrote it", j.Version)
	case j.Dir != nil:
		return j.Dir, nil
	case j.Files != nil:
		return j.Files, nil
	case j.Link != nil:
		return j.Link, nil
	}
	return nil, errors.New("it names no files: see what is in place, then remove it")
}

// readJournal gives nil where there is none.
func readJournal(path string) (*journal, error) {
	data, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	j := &journal{}
	if err := json.Unmarshal(data, j); err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return j, nil
}

func (j *journal) write(path, phase string) error {
	j.Version, j.Phase = journalVersion, phase
	data, err := json.MarshalIndent(j, "", "  ")
	if err != nil {
		return err
	}
	return writeAtomic(path, append(data, '\n'), 0o600)
}

func removeSynced(path string) error {
	err := os.Remove(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	return syncDir(filepath.Dir(path))
}

// lock keeps a second run away until unlock; the kernel drops it with the process.
func lock(path string) (unlock func(), err error) {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, err
	}
	if err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		f.Close()
		if errors.Is(err, syscall.EWOULDBLOCK) {
			return nil, fail(exitNotYet, "another tlsactl install is at work here (%s): wait for its end", path)
		}
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return func() { f.Close() }, nil
}

//go:build referee

package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"math/rand/v2"
	"os"
	"os/exec"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

// A toll counts what a long run has done.
type toll struct {
	mu     sync.Mutex // guards Counts
	Counts map[string]int
}

func (s *toll) add(what string, n int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.Counts == nil {
		s.Counts = map[string]int{}
	}
	s.Counts[what] += n
}

func (s *toll) get(what string) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.Counts[what]
}

func (s *toll) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	var all []string
	for _, what := range slices.Sorted(maps.Keys(s.Counts)) {
		all = append(all, fmt.Sprintf("%d %s", s.Counts[what], what))
	}
	return strings.Join(all, ", ")
}

// A lengthy run stops by itself at its target or after some minutes, and goes on later where its file says it was. The
// variables are WHAT for the target, WHAT_SEED, WHAT_FILE and WHAT_MINUTES.
type lengthy struct {
	toll
	Commit  string
	Seed    uint64
	Legs    int           // runs before this one
	Ran     time.Duration // of all of them
	what    string
	target  int
	limit   time.Time
	file    string
	started time.Time
	before  time.Duration
	stop    chan struct{}
	done    chan struct{}
}

func newLengthy(t *testing.T, what string, target int) *lengthy {
	t.Helper()
	l := &lengthy{what: what, file: os.Getenv(what + "_FILE"), started: time.Now(), stop: make(chan struct{}), done: make(chan struct{})}
	l.Seed = uint64(preset(t, what+"_SEED", int(rand.Int64N(1<<31))))
	l.Commit = "unknown"
	if out, err := exec.Command("git", "describe", "--always", "--dirty").Output(); err == nil {
		l.Commit = strings.TrimSpace(string(out))
	}
	l.target = preset(t, what, target)
	l.limit = l.started.Add(time.Duration(preset(t, what+"_MINUTES", 24*60)) * time.Minute)
	commit := l.Commit
	if data, err := os.ReadFile(l.file); err == nil {
		if err := json.Unmarshal(data, l); err != nil {
			t.Fatalf("%s: %v", l.file, err)
		}
	} else if l.file != "" && !errors.Is(err, fs.ErrNotExist) {
		t.Fatal(err)
	}
	if l.Commit != commit {
		t.Fatalf("%s is of %s, this is %s: remove it to begin anew", l.file, l.Commit, commit)
	}
	l.before = l.Ran
	go l.saving()
	return l
}

// saving keeps what is done every few seconds.
func (l *lengthy) saving() {
	defer close(l.done)
	tick := time.NewTicker(5 * time.Second)
	defer tick.Stop()
	for {
		select {
		case <-l.stop:
			return
		case <-tick.C:
			_ = l.save(l.Legs + 1) // the next one tells
		}
	}
}

func (l *lengthy) save(legs int) error {
	if l.file == "" {
		return nil
	}
	l.mu.Lock()
	data, err := json.Marshal(map[string]any{
		"Counts": l.Counts, "Commit": l.Commit, "Seed": l.Seed, "Legs": legs, "Ran": l.before + time.Since(l.started),
	})
	l.mu.Unlock()
	if err == nil {
		err = os.WriteFile(l.file+".tmp", data, 0o644)
	}
	if err == nil {
		err = os.Rename(l.file+".tmp", l.file)
	}
	return err
}

// end prints the line for contrib/soak/RESULTS.md.
func (l *lengthy) end(t *testing.T) {
	t.Helper()
	close(l.stop)
	<-l.done
	if err := l.save(l.Legs + 1); err != nil {
		t.Error(err)
	}
	t.Logf("\n| %s | %s | `contrib/soak/%s %d` | %s (%s, %d runs); seed %d | %d |", time.Now().UTC().Format(time.DateOnly), l.Commit,
		strings.ToLower(l.what), l.target, l.toll.String(), (l.before + time.Since(l.started)).Round(time.Second), l.Legs+1, l.Seed, l.get("faults"))
}

//go:build referee && linux && amd64

package publish

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
)

// A schedule is one injected fault: the call of a life that it meets, and what becomes of that and the following ones.
type schedule struct {
	call    int
	errno   syscall.Errno
	effect  effect
	lasting bool // until the disk is mended; else once
	again   int  // of one that comes once: after how many calls, or at which rename, it comes once more; 0: never
}

func (s schedule) String() string {
	effects := []string{"told as failed though done", "half done", "not done"}
	lasting := "once"
	if s.lasting {
		lasting = "until mended"
	}
	if s.again > 0 {
		lasting += fmt.Sprintf(" and again within %d calls", s.again)
	}
	return fmt.Sprintf("call %d: %s, %s, %s", s.call, s.errno.Error(), effects[s.effect], lasting)
}

// errnos are those that a call may fail with.
func errnos(c *fileCall) []syscall.Errno {
	switch {
	case c.name == "openat" && c.writable:
		return []syscall.Errno{syscall.EMFILE, syscall.EROFS, syscall.ENOSPC, syscall.EDQUOT, syscall.EIO}
	case c.name == "openat":
		return []syscall.Errno{syscall.EMFILE, syscall.EIO}
	case c.file == ".":
		return []syscall.Errno{syscall.EIO}
	}
	return []syscall.Errno{syscall.EIO, syscall.ENOSPC, syscall.EDQUOT, syscall.EROFS}
}

// schedules gives every fault of every call of a life, in an order that is drawn, and each kind of call and error in its turn.
func schedules(calls []*fileCall, r *rand.Rand) []schedule {
	kinds := map[string][]schedule{}
	for i, c := range calls {
		effects := []effect{whole, none}
		if len(c.data) > 1 {
			effects = append(effects, half)
		}
		for _, errno := range errnos(c) {
			kind := fmt.Sprint(c.name, c.file == ".", c.writable, errno)
			for _, e := range effects {
				kinds[kind] = append(kinds[kind], schedule{i, errno, e, false, 0}, schedule{i, errno, e, true, 0})
				if strings.HasSuffix(c.name, "sync") { // while the file is renewed
					kinds[kind] = append(kinds[kind], schedule{i, errno, e, false, 1 + r.IntN(8)}, schedule{i, errno, e, false, 20})
				}
			}
		}
	}
	var turns [][]schedule
	for _, kind := range slices.Sorted(maps.Keys(kinds)) {
		all := kinds[kind]
		r.Shuffle(len(all), func(i, j int) { all[i], all[j] = all[j], all[i] })
		for i, one := range all {
			if i == len(turns) {
				turns = append(turns, nil)
			}
			turns[i] = append(turns[i], one)
		}
	}
	return slices.Concat(turns...)
}

// A saboteur injects one fault into each life of a child, and cuts the power in some of the states that come after it.
type saboteur struct {
	*cutter
	calls []*fileCall // of the life without a fault
	todo  []schedule
	now   schedule
	phase phase
	call  int
	done  int // faults that were met
	again int // calls until the fault comes once more
	near  int // calls since a sync failed that are looked at closely
	kinds map[string]int
}

type phase int

const (
	between phase = iota
	counting
	waiting
	failing
	mended
)

func (s *saboteur) mark(n *note) {
	switch {
	case n.Kind == "life":
		s.call, s.near, s.again, s.phase = 0, 0, 0, counting
		if n.N > 0 {
			s.now, s.todo, s.phase = s.todo[0], s.todo[1:], waiting
		}
	case n.Kind == "over":
		s.cutSome(6)
		s.phase, s.again = between, 0
	case n.Kind == "mend":
		if s.again = 0; s.phase == failing {
			s.phase = mended
			s.cutSome(6)
		}
	}
}

func (s *saboteur) inject(c *fileCall) *fault {
	switch s.phase {
	case between:
		return nil
	case counting:
		s.calls = append(s.calls, c)
		return nil
	}
	at := s.call
	s.call++
	if s.again > 0 {
		// Half of them wait for a rename, which puts the renewed file in place.
		if s.again--; s.again == 0 || s.again >= 4 && c.name == "renameat" {
			s.again = 0
			return &fault{errnos(c)[s.r.IntN(len(errnos(c)))], s.now.effect}
		}
	}
	switch {
	case !slices.Contains(errnos(c), s.now.errno):
		return nil
	case s.phase == waiting && at >= s.now.call:
		s.phase, s.again = mended, s.now.again
		if s.now.lasting {
			s.phase = failing
		}
		s.done++
		s.kinds[c.name+" "+s.now.errno.Error()]++
	case s.phase != failing:
		return nil
	}
	f := &fault{s.now.errno, s.now.effect}
	if len(c.data) < 2 && f.effect == half {
		f.effect = none
	}
	return f
}

func (s *saboteur) see(c *fileCall) {
	if c.name == "mark" {
		s.mark(s.follow(c))
		return
	}
	if s.phase == between {
		return
	}
	s.follow(c)
	if c.failed != 0 && strings.HasSuffix(c.name, "sync") && s.phase == mended {
		s.near = 15
	}
	if s.near > 0 { // what the failed sync may have dropped is dropped, and the next commit writes
		s.near--
		s.cutOf(s.now.String(), append(s.disk.drawn(s.r, 1),
			func(c *change, _ int) bool { return !c.doubtful }, func(c *change, _ int) bool { return c.name != "" }))
	}
	if c.failed != 0 && s.r.IntN(4) == 0 || s.phase == mended && s.r.IntN(80) == 0 {
		s.cutSome(2)
	}
}

func (s *saboteur) cutSome(drawn int) {
	if s.phase != counting {
		s.cutOf(s.now.String(), s.disk.drawn(s.r, drawn))
	}
}

// Every file call of a life fails in every way that it may, once or until the disk is mended, and sometimes the power is cut
// afterwards: all that is owed stays answered, the block is marked degraded, recovers by itself, and loses nothing.
func TestFaultsOfTheDiskAreOutlived(t *testing.T) {
	if child(t) {
		return
	}
	seed, want := envNumber(t, "CRASH_SEED", 1), envNumber(t, "CRASH_FAULTS", 400)
	done, states := 0, 0
	for ; done < want; seed++ {
		s := &saboteur{cutter: newCutter(t, uint64(seed)), kinds: map[string]int{}}
		lives := min(want-done, 200)
		tr := &tracer{dir: fastDir(t), inject: s.inject, seen: func(c *fileCall) {
			s.see(c)
			if s.todo == nil && s.phase == between && len(s.calls) > 0 {
				s.todo = schedules(s.calls, s.r)
			}
		}}
		err := tr.runChild(t, "lives", fmt.Sprint("CRASH_SEED=", seed), fmt.Sprint("CRASH_LIVES=", lives+1))
		if err != nil {
			t.Fatalf("seed %d, after %d faults, %s: %v", seed, s.done, s.now, err)
		}
		done, states = done+s.done, states+s.states
		t.Logf("seed %d: %d faults in lives of %d calls: %v; %d crash states: %v", seed, s.done, len(s.calls), s.kinds, s.states, s.ends)
		if s.done < lives*3/4 { // a life with a fault may be a little shorter
			t.Errorf("only %d of %d faults were met", s.done, lives)
		}
	}
	t.Logf("%d injected faults, %d crash states after them", done, states)
}

func clearDir(t *testing.T, dir string) {
	t.Helper()
	found, err := filepath.Glob(filepath.Join(dir, "*"))
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range found {
		if err := os.Remove(f); err != nil {
			t.Fatal(err)
		}
	}
}

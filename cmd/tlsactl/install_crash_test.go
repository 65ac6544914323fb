package main

import (
	"bytes"
	"testing"
)

// A way is how new files take the place of old ones.
type way struct {
	shape shape
	env   []string
	steps int  // at least
	mixes bool // a crash may leave a mix, with a journal of it
	// journal is where the journal is.
	journal []string
}

var (
	beside   = []string{".tlsactl-install.installed"}
	atOnce   = way{shape: asDirectory, steps: 15, journal: beside}
	byLink   = way{shape: asLink, steps: 12, journal: beside}
	oneByOne = way{
		shape: asDirectory, env: []string{noExchangeEnv + "=1"}, steps: 22, mixes: true, journal: []string{"installed", ".tlsactl-install"},
	}
	ways = map[string]way{"a directory": atOnce, "a link to one": byLink, "a directory, one by one": oneByOne}
)

func (w way) site(t *testing.T) *site {
	t.Helper()
	s := newSite(t, w.shape)
	s.env = w.env
	return s
}

// The invariant of an installation, at every step where a process can die: the set is old or new, or, where files are
// replaced one by one, a journal says how it becomes one of them; and the next run makes it new and leaves nothing else.
func TestKilledAtAnyStepLeavesOldOrNewAndTheNextRunFinishes(t *testing.T) {
	for name, w := range ways {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			mixed, steps := 0, 0
			for stop := 1; ; stop++ {
				s := w.site(t)
				killed, err := s.install(stop, "--run", "echo ran >> log")
				if err != nil {
					t.Fatal(err)
				}
				if !killed {
					steps = stop - 1
					break
				}
				moved := s.holds() == "new" && len(s.read("log")) == 0
				if s.holds() == "mixed" {
					mixed++
					if !w.mixes || !bytes.Contains(s.read(w.journal...), []byte(`"phase": "move"`)) {
						t.Errorf("step %d: a mix of old and new, or no journal of it", stop)
					}
				}
				if _, err := s.install(0, "--run", "echo ran >> log"); err != nil {
					t.Errorf("step %d: the next run: %v", stop, err)
				}
				if got := s.holds(); got != "new" {
					t.Errorf("step %d: after the next run the files are %s", stop, got)
				}
				if len(s.read("log")) == 0 {
					t.Errorf("step %d: the command never ran", stop)
				}
				if moved && string(s.read("log")) != "ran\n" {
					t.Errorf("step %d: the new files were in place, and another set came meanwhile", stop)
				}
				if left := s.rubbish(); len(left) > 0 {
					t.Errorf("step %d: left behind: %s", stop, left)
				}
			}
			t.Logf("%d steps, %d of them with a mix", steps, mixed)
			if steps < w.steps || w.mixes != (mixed > 0) {
				t.Errorf("%d steps were tried, want at least %d; %d mixes", steps, w.steps, mixed)
			}
		})
	}
}

func TestKilledWhileRollingBackReturnsToOld(t *testing.T) {
	for name, w := range ways {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			undoing := 0
			for stop := 1; ; stop++ {
				s := w.site(t)
				// The command refuses the new files while there is no file "mended".
				refuses := "test -f mended || cmp -s installed/cert.pem versions/one/cert.pem || ! cmp -s installed/cert.pem staged/cert.pem"
				killed, err := s.install(stop, "--run", refuses)
				if !killed {
					if err == nil || s.holds() != "old" {
						t.Errorf("a command that fails: err %v, the files are %s", err, s.holds())
					}
					break
				}
				if !bytes.Contains(s.read(w.journal...), []byte(`"phase": "undo"`)) {
					continue
				}
				undoing++
				if got := s.holds(); got == "mixed" && !w.mixes {
					t.Errorf("step %d: on the way back the files are %s", stop, got)
				}
				if _, err := s.install(0, "--run", refuses); err == nil {
					t.Errorf("step %d: the next run succeeded with a command that refuses", stop)
				}
				if got := s.holds(); got != "old" {
					t.Errorf("step %d: the files are %s", stop, got)
				}
				s.write(".", map[string][]byte{"mended": nil})
				if _, err := s.install(0, "--run", refuses); err != nil || s.holds() != "new" {
					t.Errorf("step %d: mended: %v, the files are %s", stop, err, s.holds())
				}
				if left := s.rubbish(); len(left) > 0 {
					t.Errorf("step %d: left behind: %s", stop, left)
				}
			}
			if undoing < 3 {
				t.Errorf("%d steps of the way back were tried", undoing)
			}
		})
	}
}

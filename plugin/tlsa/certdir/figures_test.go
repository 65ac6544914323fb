package certdir

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"testing/synctest"
	"time"

	"github.com/fsnotify/fsnotify"
	"golang.org/x/sys/unix"
)

// W26: each figure is moved by its own scenario and by no other.
func TestEachFigureIsMovedByItsScenario(t *testing.T) {
	for name, c := range map[string]struct {
		do   func(s *stage)
		want string
	}{
		"nothing happens":        {func(*stage) {}, "files 2"},
		"another file":           {func(s *stage) { write(s.t, s.dir+"/c.txt.pem", ""); s.event("c.txt.pem", fsnotify.Create) }, "files 3 event"},
		"an event and a change":  {func(s *stage) { rewrite(s, "a2"); s.event("a.pem", fsnotify.Write) }, "files 2 event"},
		"a change without event": {func(s *stage) { rewrite(s, "a2"); s.figures(); s.pass(quiet) }, "files 2 unannounced 1"},
		"a change without event that goes on": {func(s *stage) {
			rewrite(s, "a2")
			s.figures()
			rewrite(s, "a3")
			s.pass(2 * quiet)
		}, "files 2 unannounced 1"},
		"an event after the sweep": {func(s *stage) { rewrite(s, "a2"); s.figures(); s.event("a.pem", fsnotify.Write) }, "files 2 event"},
		"an overflow, then a sweep": {func(s *stage) {
			rewrite(s, "a2")
			s.fake.errs <- fsnotify.ErrEventOverflow
			s.figures()
			s.pass(quiet)
		}, "files 2 overflows 1"},
		"an instance in trouble":         {func(s *stage) { s.fake.errs <- errors.New("read failed"); s.figures() }, "files 2 failures 1"},
		"a refused watch in mid-run":     {func(s *stage) { s.fake.setRefuse(unix.ENOSPC); s.figures(); s.fake.setRefuse(nil) }, "files 2 failures 1"},
		"a watch refused for good":       {func(s *stage) { s.fake.setRefuse(unix.ENOSPC) }, "files 2 watches 0 polling 1 failures 1"},
		"a detached mount":               {func(s *stage) { s.says(detached, s.dir+"/a.pem") }, "files 2 detached 1"},
		"a root on a network":            {func(s *stage) { s.mu.Lock(); s.volumes = map[string]volume{s.dir: {remote: true}}; s.mu.Unlock() }, "files 2 polling 1"},
		"a change found on a network":    {func(s *stage) { onNetwork(s); rewrite(s, "a2"); s.figures(); s.pass(quiet) }, "files 2 polling 1"},
		"a directory of its own appears": {func(s *stage) { write(s.t, s.dir+"/x/a.pem", "") }, "files 3 watches 2"},
	} {
		t.Run(name, func(t *testing.T) {
			play(t, func(s *stage) {
				write(t, s.dir+"/a.pem", s.pki.issue("a1").fullchain)
				write(t, s.dir+"/b.pem", s.pki.issue("b1").fullchain)
			}, func(s *stage) {
				c.do(s)
				if got := told(s.figures()); got != c.want {
					t.Errorf("got %q, want %q", got, c.want)
				}
			})
		})
	}
}

func rewrite(s *stage, label string) { write(s.t, s.dir+"/a.pem", s.pki.issue(label).fullchain) }

func onNetwork(s *stage) {
	s.mu.Lock()
	s.volumes = map[string]volume{s.dir: {remote: true}}
	s.mu.Unlock()
	s.figures()
}

// told gives the figures that are not as usual.
func told(f Figures) string {
	text := fmt.Sprint("files ", f.Files)
	for _, v := range []struct {
		name       string
		got, usual uint64
	}{
		{"watches", uint64(f.Watches), 1}, {"polling", uint64(f.Polling), 0}, {"unannounced", uint64(f.Unannounced), 0},
		{"detached", uint64(f.Detached), 0}, {"overflows", f.Overflows, 0}, {"failures", f.Failures, 0},
	} {
		if v.got != v.usual {
			text += fmt.Sprint(" ", v.name, " ", v.got)
		}
	}
	if !f.LastEvent.IsZero() {
		text += " event"
	}
	return text
}

func TestFiguresTellWhenAndHowLong(t *testing.T) {
	play(t, func(s *stage) { write(t, s.dir+"/a.pem", s.pki.issue("a1").fullchain) }, func(s *stage) {
		s.event("a.pem", fsnotify.Chmod)
		heard := time.Now()
		s.pass(quiet)
		f := s.figures()
		if !f.LastEvent.Equal(heard) || time.Since(f.At) > time.Second || f.Took != 0 { // fake time stands still in a sweep
			t.Errorf("%+v", f)
		}
	})
}

func TestOnlyWholeSweepsHaveFigures(t *testing.T) {
	play(t, func(s *stage) {}, func(s *stage) {
		before, swept := s.sweepsSeen(), s.swept()
		write(t, s.dir+"/a.pem", s.pki.issue("a1").fullchain) // the root itself is looked at: it came late
		s.fake.events <- fsnotify.Event{Name: s.dir, Op: fsnotify.Create}
		synctest.Wait()
		s.pass(2 * quiet)
		s.want("certs/a; a1 a.pem")
		if s.root(s.dir) != "complete=true mixed=false" || s.sweepsSeen() != before || s.swept() != swept {
			t.Error("a root that is looked at by itself is taken for a sweep")
		}
	})
}

// W24: what no event tells of is looked at every 15 to 30 s.
func TestRemoteRootIsPolledBetweenSweeps(t *testing.T) {
	for name, c := range map[string]struct {
		remote []string // what lies there, below the test's directory
		others []string // the directories that lie on another device than all the rest
	}{
		"the root":          {[]string{"certs"}, []string{"certs"}},
		"a directory in it": {[]string{"certs/x"}, []string{"certs/x"}},
		"files in it":       {[]string{"certs/x/a.pem", "target/b.pem"}, []string{"certs", "certs/x"}},
		"nothing":           {},
	} {
		t.Run(name, func(t *testing.T) {
			play(t, func(s *stage) {
				write(t, s.dir+"/x/a.pem", s.pki.issue("a1").fullchain)
				write(t, filepath.Dir(s.dir)+"/target/b.pem", s.pki.issue("b1").fullchain)
				link(t, "../target/b.pem", s.dir+"/b.pem")
				base := filepath.Dir(s.dir) + "/"
				s.volumes = make(map[string]volume)
				for _, path := range c.remote {
					s.volumes[base+path] = volume{remote: true}
				}
				for i := range c.others {
					c.others[i] = base + c.others[i]
				}
				s.says(func(st info) (info, error) { st.dev++; return st, nil }, c.others...)
			}, func(s *stage) {
				remote := c.remote != nil
				for n := 2; n < 6; n++ {
					write(t, s.dir+"/x/a.pem", s.pki.issue(fmt.Sprint("a", n)).fullchain)
					s.pass(2*remotePoll + 2*quiet)
					if got, want := s.String() == fmt.Sprintf("certs/b; b1 b.pem\ncerts/x/a; a%d a.pem", n), remote; got != want {
						t.Fatalf("found by polling: %v, want %v:\n%s", got, want, s)
					}
				}
				s.live.mu.Lock()
				defer s.live.mu.Unlock()
				if r := s.view.roots[s.dir]; r.Polling != remote || r.Sweeps != 1 {
					t.Errorf("%+v", r)
				}
			})
		})
	}
}

// Rescan is the upper bound: a short one leaves nothing to poll between sweeps.
func TestShortRescanNeedsNoPolling(t *testing.T) {
	play(t, func(s *stage) {
		s.w.cfg.Rescan = 10 * time.Second
		s.volumes = map[string]volume{s.dir: {remote: true}}
		ok(t, os.Mkdir(s.dir, 0o755))
	}, func(s *stage) {
		if len(s.w.marks.queue) != 0 {
			t.Error("a poll is due between sweeps")
		}
	})
}

func TestMountPointsAreReadAsTheKernelWritesThem(t *testing.T) {
	points := parseMounts("36 35 98:0 /mnt1 /mnt2 rw,noatime master:1 - ext3 /dev/root rw\n" +
		"37 36 0:4 /a\\040b/tls.crt//deleted /etc/a\\040b\\134/tls.crt ro - tmpfs tmpfs rw\nshort line\n38 36 0:4 / /odd\\x ro - x y z\n")
	for _, path := range []string{"/mnt2", "/etc/a b\\/tls.crt", "/odd\\x"} {
		if !points[path] || len(points) != 3 {
			t.Errorf("%q is not among %v", path, points)
		}
	}
}

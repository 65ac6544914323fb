package certdir

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/fsnotify/fsnotify"
	"golang.org/x/sys/unix"
)

// A fake is a source whose events a test makes up.
type fake struct {
	events chan fsnotify.Event
	errs   chan error
	mu     sync.Mutex
	refuse error // what Add says
	added  map[string]int
	gone   map[string]int
}

func newFake() *fake {
	return &fake{events: make(chan fsnotify.Event), errs: make(chan error), added: make(map[string]int), gone: make(map[string]int)}
}

func (f *fake) Events() <-chan fsnotify.Event { return f.events }
func (f *fake) Errors() <-chan error          { return f.errs }

func (f *fake) Remove(path string) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	delete(f.added, path)
	f.gone[path]++
	return nil
}

func (f *fake) Add(path string) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.refuse == nil {
		f.added[path]++
	}
	return f.refuse
}

// count tells how often a path was added since the last call of forget.
func (f *fake) count(path string) int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.added[path]
}

// removed tells how often a path was removed.
func (f *fake) removed(path string) int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.gone[path]
}

func (f *fake) forget() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.added = make(map[string]int)
}

func (f *fake) setRefuse(err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.refuse = err
}

func (f *fake) open() (source, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if errors.Is(f.refuse, unix.EMFILE) {
		return nil, f.refuse
	}
	return f, nil
}

func (f *fake) Close() error {
	close(f.events)
	close(f.errs)
	return nil
}

// A stage is a watcher of dir/certs in a bubble of fake time.
type stage struct {
	*live
	t     *testing.T
	dir   string
	pki   *pki
	fake  *fake
	w     *Watcher
	mu    sync.Mutex
	opens []string
	fault map[string]error  // by path below dir: what opening it says
	early func(path string) // is called before a file is opened
	// What the system is made to say of a path: by lstat instead of what it found, of its file system, of mounts.
	stat    map[string]func(info) (info, error)
	volumes map[string]volume
	mounts  map[string]bool
	open    map[int]string // the path of a descriptor
}

const (
	quiet    = time.Second
	maxQuiet = 10 * time.Second
	rescan   = time.Hour
)

// play runs a test in a bubble. prepare makes the files and settings that the watcher starts with.
func play(t *testing.T, prepare, test func(s *stage)) {
	base, err := filepath.EvalSymlinks(t.TempDir())
	ok(t, err)
	synctest.Test(t, func(t *testing.T) {
		s := &stage{t: t, dir: base + "/certs", pki: newPKI(t), fake: newFake(), open: make(map[int]string)}
		s.w = New(Config{Certs: []string{s.dir}, Rescan: rescan, Quiet: quiet, MaxQuiet: maxQuiet})
		s.w.openSource = s.fake.open
		s.w.reader.open = func(path string, flags int) (int, error) {
			s.mu.Lock()
			defer s.mu.Unlock()
			s.opens = append(s.opens, path)
			if s.early != nil {
				s.early(path)
			}
			if err := s.fault[strings.TrimPrefix(strings.TrimPrefix(path, s.dir), "/")]; err != nil {
				return -1, err
			}
			fd, err := openDisk(path, flags)
			s.open[fd] = path
			return fd, err
		}
		s.w.reader.lstat, s.w.reader.fstat = s.lstat, s.fstat
		s.w.disk = disk{lstat: s.lstat, volume: s.volume, mounts: func() map[string]bool { return s.mounts }}
		prepare(s)
		v := newView(s.pki, base)
		v.apply(s.w.Sweep(context.Background()))
		s.live = start(t, s.w, v)
		synctest.Wait()
		s.opened()
		test(s)
		s.stop()
	})
}

// opened gives what was opened since the last call, below the stage's directory.
func (s *stage) opened() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	names := make([]string, len(s.opens))
	for i, path := range s.opens {
		names[i] = strings.TrimPrefix(path, s.dir+"/")
	}
	s.opens = nil
	return strings.Join(names, " ")
}

func (s *stage) fstat(fd int) (info, error) {
	st, err := fstat(fd)
	s.mu.Lock()
	path := s.open[fd]
	s.mu.Unlock()
	return s.say(path, st, err)
}

func (s *stage) lstat(path string) (info, error) {
	st, err := lstat(path)
	return s.say(path, st, err)
}

func (s *stage) say(path string, st info, err error) (info, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if say := s.stat[path]; say != nil && err == nil {
		return say(st)
	}
	return st, err
}

func (s *stage) volume(path string) volume {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.volumes[path]
}

// says has lstat say something else of paths; nothing else of all others.
func (s *stage) says(say func(info) (info, error), paths ...string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.stat = make(map[string]func(info) (info, error))
	for _, path := range paths {
		s.stat[path] = say
	}
}

// detached is what lstat says of a mount whose source was removed.
func detached(st info) (info, error) { st.nameless = true; return st, nil }

// figures are those of the next whole sweep.
func (s *stage) figures() Figures {
	s.t.Helper()
	for swept := s.sweepsSeen(); s.sweepsSeen() == swept; {
		s.pass(time.Second)
	}
	s.live.mu.Lock()
	defer s.live.mu.Unlock()
	return *s.last
}

func (s *stage) sweepsSeen() time.Time {
	s.live.mu.Lock()
	defer s.live.mu.Unlock()
	return s.last.At
}

// fail has the opening of a path below the stage's directory fail; nil mends it.
func (s *stage) fail(name string, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.fault = map[string]error{name: err}
}

// before has something happen to a file just before it is opened.
func (s *stage) before(early func(path string)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.early = early
}

func (s *stage) event(name string, op fsnotify.Op) {
	s.fake.events <- fsnotify.Event{Name: s.dir + "/" + name, Op: op}
	synctest.Wait()
}

func (s *stage) pass(d time.Duration) {
	advance(d)
	synctest.Wait()
}

func (s *stage) want(want string) {
	s.t.Helper()
	if got := s.String(); got != want {
		s.t.Errorf("got:\n%s\nwant:\n%s", got, want)
	}
}

func TestLineageIsReadOnceItHasBeenQuiet(t *testing.T) {
	play(t, func(s *stage) { write(t, s.dir+"/a.pem", s.pki.issue("a1").fullchain) }, func(s *stage) {
		write(t, s.dir+"/a.pem", s.pki.issue("a2").fullchain)
		s.event("a.pem", fsnotify.Write)
		s.pass(quiet / 2)
		s.event("a.pem", fsnotify.Write)
		s.pass(quiet - 1)
		s.want("certs/a; a1 a.pem")
		s.pass(1)
		s.want("certs/a; a2 a.pem")
	})
}

func TestBusyLineageIsReadAfterMaxQuiet(t *testing.T) {
	play(t, func(s *stage) { write(t, s.dir+"/a.pem", s.pki.issue("a1").fullchain) }, func(s *stage) {
		write(t, s.dir+"/a.pem", s.pki.issue("a2").fullchain)
		for at := time.Duration(0); at < maxQuiet; at += quiet / 2 {
			s.want("certs/a; a1 a.pem")
			s.event("a.pem", fsnotify.Chmod)
			s.pass(quiet / 2)
		}
		s.want("certs/a; a2 a.pem")
	})
}

func TestEveryOperationMeansLookAgain(t *testing.T) {
	for _, op := range []fsnotify.Op{fsnotify.Create, fsnotify.Write, fsnotify.Remove, fsnotify.Rename, fsnotify.Chmod} {
		t.Run(op.String(), func(t *testing.T) {
			play(t, func(s *stage) { write(t, s.dir+"/a.pem", s.pki.issue("a1").fullchain) }, func(s *stage) {
				write(t, s.dir+"/a.pem", s.pki.issue("a2").fullchain)
				s.event("a.pem", op)
				s.pass(quiet)
				s.want("certs/a; a2 a.pem")
			})
		})
	}
}

func TestStormOfTouchesCostsOneRead(t *testing.T) {
	play(t, func(s *stage) { write(t, s.dir+"/a.pem", s.pki.issue("a1").fullchain) }, func(s *stage) {
		for range 1000 {
			s.event("a.pem", fsnotify.Chmod)
		}
		write(t, s.dir+"/a.pem", s.pki.issue("a2").fullchain)
		s.pass(quiet)
		if got := s.opened(); got != "a.pem" {
			t.Errorf("opened %q", got)
		}
		s.want("certs/a; a2 a.pem")
	})
}

func TestEventCostsNothingButItsLineage(t *testing.T) {
	play(t, func(s *stage) {
		for i := range 50 {
			write(t, fmt.Sprintf("%s/h%d.pem", s.dir, i), s.pki.issue(fmt.Sprint("h", i)).fullchain)
		}
	}, func(s *stage) {
		replace(t, s.dir+"/h7.pem", s.pki.issue("x").fullchain)
		s.event("h7.pem", fsnotify.Create)
		write(t, s.dir+"/new.pem", s.pki.issue("new").fullchain)
		s.event("new.pem", fsnotify.Create)
		s.event("h7.pem.tmp1", fsnotify.Rename)
		s.pass(quiet)
		if got := s.opened(); got != "h7.pem new.pem" && got != "new.pem h7.pem" {
			t.Errorf("opened %q", got)
		}
		if got := s.String(); !strings.Contains(got, "certs/h7; x h7.pem\n") || !strings.Contains(got, "certs/new; new new.pem") {
			t.Error(got)
		}
	})
}

func TestLostEventsAreMadeUpForByASweep(t *testing.T) {
	play(t, func(s *stage) { write(t, s.dir+"/a.pem", s.pki.issue("a1").fullchain) }, func(s *stage) {
		write(t, s.dir+"/a.pem", s.pki.issue("a2").fullchain)
		write(t, s.dir+"/x/y/b.pem", s.pki.issue("b1").fullchain)
		sweeps := s.view.roots[s.dir].Sweeps
		s.fake.errs <- fsnotify.ErrEventOverflow
		s.pass(lostGap + quiet)
		s.want("certs/a; a2 a.pem\ncerts/x/y/b; b1 b.pem")
		if got := s.view.roots[s.dir].Sweeps; got != sweeps {
			t.Errorf("a sweep out of turn counts: %d, was %d", got, sweeps)
		}
		for range maxHeard + 1 {
			s.fake.errs <- fsnotify.ErrEventOverflow // nor does a flood of them keep the watcher busy
		}
		s.opened()
		s.pass(2 * lostGap)
		if got := strings.Count(s.opened(), s.dir); got > 2 {
			t.Errorf("%d sweeps", got)
		}
	})
}

func TestWithoutASourceSweepsGoOn(t *testing.T) {
	play(t, func(s *stage) {
		write(t, s.dir+"/a.pem", s.pki.issue("a1").fullchain)
		s.fake.setRefuse(unix.EMFILE)
	}, func(s *stage) {
		if got := s.root(s.dir); got != "complete=true mixed=false watch-limit" {
			t.Error(got)
		}
		write(t, s.dir+"/a.pem", s.pki.issue("a2").fullchain)
		s.pass(2 * rescan)
		s.want("certs/a; a2 a.pem")
		s.fake.setRefuse(nil)
		s.pass(2 * rescan)
		if got := s.root(s.dir); got != "complete=true mixed=false" {
			t.Error(got)
		}
		write(t, s.dir+"/a.pem", s.pki.issue("a3").fullchain)
		s.event("a.pem", fsnotify.Write)
		s.pass(quiet)
		s.want("certs/a; a3 a.pem")
	})
}

func TestRefusedWatchIsAskedForAgain(t *testing.T) {
	play(t, func(s *stage) {
		write(t, s.dir+"/a.pem", s.pki.issue("a1").fullchain)
		s.fake.setRefuse(unix.ENOSPC)
	}, func(s *stage) {
		if got := s.root(s.dir); got != "complete=true mixed=false watch-limit" {
			t.Error(got)
		}
		s.fake.setRefuse(nil)
		s.pass(2 * rescan)
		if got := s.root(s.dir); got != "complete=true mixed=false" || s.fake.count(s.dir) == 0 {
			t.Error(got)
		}
	})
}

func TestEverySweepAssertsEveryWatch(t *testing.T) {
	play(t, func(s *stage) {
		write(t, s.dir+"/x/a.pem", s.pki.issue("a1").fullchain)
		write(t, filepath.Dir(s.dir)+"/target/b.pem", s.pki.issue("b1").fullchain)
		link(t, "../target/b.pem", s.dir+"/b.pem")
	}, func(s *stage) {
		s.fake.forget()
		s.pass(2 * rescan)
		for _, path := range []string{s.dir, s.dir + "/x", filepath.Dir(s.dir) + "/target"} {
			if s.fake.count(path) == 0 {
				t.Errorf("%s is not asserted", path)
			}
		}
		ok(t, os.RemoveAll(s.dir+"/x"))
		s.pass(4 * rescan)
		if s.fake.count(s.dir+"/x") != 0 {
			t.Error("a watch outlives its directory")
		}
	})
}

func TestFileCutAnywhereKeepsTheLastGoodLeaf(t *testing.T) {
	play(t, func(s *stage) { write(t, s.dir+"/a.pem", s.pki.issue("a1").fullchain) }, func(s *stage) {
		c := s.pki.issue("a2")
		for cut := 0; cut < len(c.fullchain)-1; cut += 37 {
			write(t, s.dir+"/a.pem", c.fullchain[:cut])
			s.event("a.pem", fsnotify.Write)
			s.pass(quiet)
			got := s.String()
			if !strings.HasPrefix(got, "certs/a; a1 a.pem; doubt a.pem ") {
				t.Fatalf("cut at %d: %s", cut, got)
			}
		}
		write(t, s.dir+"/a.pem", c.fullchain)
		s.pass(2 * lastRetry)
		s.want("certs/a; a2 a.pem")
	})
}

func TestFileThatGrowsUnheardIsWaitedFor(t *testing.T) {
	play(t, func(s *stage) {
		s.w.cfg.NoEvents = true
		write(t, s.dir+"/a.pem", s.pki.issue("a1").fullchain)
	}, func(s *stage) {
		c := s.pki.issue("a2")
		write(t, s.dir+"/a.pem", c.cert)
		for swept := s.swept(); s.swept() == swept; {
			s.pass(quiet / 4)
		}
		s.pass(quiet / 4) // a sweep has seen the file while it is written
		write(t, s.dir+"/a.pem", c.fullchain)
		for range 5 {
			s.want("certs/a; a1 a.pem")
			s.pass(quiet / 4)
		}
		s.pass(quiet)
		s.want("certs/a; a2 a.pem")
	})
}

func TestRetriesNeverEnd(t *testing.T) {
	play(t, func(s *stage) { write(t, s.dir+"/a.pem", s.pki.issue("a1").fullchain) }, func(s *stage) {
		s.fail("a.pem", unix.EIO)
		write(t, s.dir+"/a.pem", s.pki.issue("a2").fullchain)
		s.event("a.pem", fsnotify.Write)
		s.pass(quiet)
		s.want("certs/a; a1 a.pem; doubt a.pem unreadable")
		s.pass(rescan / 2)
		s.fail("a.pem", nil)
		s.pass(lastRetry)
		s.want("certs/a; a2 a.pem")
	})
}

func TestFileThatChangesUnderTheReaderIsReadAgain(t *testing.T) {
	for name, change := range map[string]func(path string){
		"it grows":          func(path string) { write(t, path, "half of some") },
		"it becomes a pipe": func(path string) { ok(t, os.Remove(path)); ok(t, unix.Mkfifo(path, 0o644)) },
		"it is gone":        func(path string) { ok(t, os.Remove(path)) },
	} {
		t.Run(name, func(t *testing.T) {
			play(t, func(s *stage) { write(t, s.dir+"/a.pem", s.pki.issue("a1").fullchain) }, func(s *stage) {
				s.before(change)
				write(t, s.dir+"/a.pem", s.pki.issue("a2").fullchain)
				s.event("a.pem", fsnotify.Write)
				s.pass(quiet)
				s.want("certs/a; a1 a.pem; doubt a.pem unstable")
				s.before(nil)
				replace(t, s.dir+"/a.pem", s.pki.issue("a3").fullchain)
				s.pass(firstRetry + quiet)
				s.want("certs/a; a3 a.pem")
			})
		})
	}
}

func TestFileThatChangesWhileItIsReadIsReadAgain(t *testing.T) {
	path := t.TempDir() + "/a.pem"
	c := newPKI(t).issue("a1")
	write(t, path, c.cert)
	st, err := lstat(path)
	ok(t, err)
	r := newReader()
	r.read = func(fd int, buf []byte) (int, error) {
		replace(t, path, c.fullchain)
		return unix.Read(fd, buf)
	}
	if _, why := r.content(path, path, st); reasonOf(why) != Unstable {
		t.Error(why)
	}
}

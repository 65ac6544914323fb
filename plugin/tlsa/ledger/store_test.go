package ledger

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	bolt "go.etcd.io/bbolt"

	"github.com/coredns-tlsa/coredns-tlsa/plugin/tlsa/rollover"
)

func TestTimelinesComeBackAfterARestart(t *testing.T) {
	path := ledgerPath(t)
	s := open(t, path)
	if s.Origin() != Fresh || s.Notice() != "" {
		t.Fatalf("%v %q", s.Origin(), s.Notice())
	}
	commit(t, s, "a", owners(0, 50))
	commit(t, s, "b", owners(50, 60))
	commit(t, s, "a", timelines{ownerOf(3): nil, ownerOf(4): typical(40), "gone.": nil})
	closeStore(t, s)

	s = open(t, path)
	if s.Origin() != Intact || s.Notice() != "" {
		t.Fatalf("%v %q", s.Origin(), s.Notice())
	}
	want := owners(0, 50)
	delete(want, ownerOf(3))
	want[ownerOf(4)] = typical(40)
	expect(t, s, "a", want)
	expect(t, s, "b", owners(50, 60))
	expect(t, s, "c", nil)
	closeStore(t, s)
	for _, name := range []string{path, path + backupSuffix} {
		if info, err := os.Stat(name); err != nil || info.Mode() != 0o600 {
			t.Errorf("%s: %v %v", name, info.Mode(), err)
		}
	}
}

func TestLoadGivesValuesOfTheCallersOwn(t *testing.T) {
	for _, path := range []string{"", ledgerPath(t)} {
		s := open(t, path)
		sent := owners(0, 1)
		commit(t, s, "a", sent)
		sent[ownerOf(0)].Keys[0].Places[0].Root = "changed"
		got, err := s.Load("a")
		if err != nil {
			t.Fatal(err)
		}
		got[ownerOf(0)].Keys[0].Places[0].Root = "changed"
		got[ownerOf(0)].Associations[0].ReadyAt = rollover.Stamp{}
		expect(t, s, "a", owners(0, 1))
		closeStore(t, s)
	}
}

func TestLastCloseOfOverlappingInstancesCloses(t *testing.T) {
	for name, path := range map[string]string{"file": ledgerPath(t), "memory": ""} {
		t.Run(name, func(t *testing.T) {
			older, newer := open(t, path), open(t, path)
			commit(t, older, "a", owners(0, 1))
			closeStore(t, older)
			if err := older.Close(); !errors.Is(err, ErrClosed) {
				t.Errorf("closing twice: %v", err)
			}
			commit(t, newer, "a", owners(1, 2))
			expect(t, newer, "a", owners(0, 2))
			if err := older.Commit("a", owners(5, 6)); !errors.Is(err, ErrClosed) {
				t.Errorf("commit after close: %v", err)
			}
			if _, err := older.Load("a"); !errors.Is(err, ErrClosed) {
				t.Errorf("load after close: %v", err)
			}
			if err := older.Backup(); !errors.Is(err, ErrClosed) {
				t.Errorf("backup after close: %v", err)
			}
			closeStore(t, newer)
			if n := len(stores.open); n != 0 {
				t.Errorf("%d stores are open", n)
			}
			again := open(t, path)
			if path == "" {
				expect(t, again, "a", nil)
			} else {
				expect(t, again, "a", owners(0, 2))
			}
			closeStore(t, again)
		})
	}
}

func TestOneFileUnderManyNamesIsOpenedOnce(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "real", "ledger")
	if err := errors.Join(os.Mkdir(filepath.Dir(path), 0o700), os.Symlink("real", filepath.Join(dir, "link")), os.Symlink(path, filepath.Join(dir, "file"))); err != nil {
		t.Fatal(err)
	}
	if _, err := Open(filepath.Join(dir, "file")); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("a link to nothing: %v", err)
	}
	first := open(t, path)
	if err := os.Link(path, filepath.Join(dir, "hard")); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"link/ledger", "file", "hard", "real/../real/ledger"} {
		s := open(t, dir+"/"+name)
		if s.shared != first.shared {
			t.Errorf("%s is another ledger", name)
		}
		closeStore(t, s)
	}
	closeStore(t, first)
	s := open(t, filepath.Join(dir, "file"))
	if s.shared.path != path {
		t.Errorf("copies would lie beside the link: %s", s.shared.path)
	}
	closeStore(t, s)
}

func TestConcurrentUse(t *testing.T) {
	path := ledgerPath(t)
	stores := []*Store{open(t, path), open(t, path)}
	var all sync.WaitGroup
	for i := range 24 {
		all.Go(func() {
			s := stores[i%2]
			if err := s.Commit("a", owners(i, i+1)); err != nil {
				t.Error(err)
			}
			if _, err := s.Load("a"); err != nil {
				t.Error(err)
			}
			if i%8 == 0 {
				if err := s.Backup(); err != nil {
					t.Error(err)
				}
			}
		})
	}
	all.Wait()
	expect(t, stores[0], "a", owners(0, 24))
	closeStore(t, stores[0])
	closeStore(t, stores[1])
}

func TestCommitLargerThanABatch(t *testing.T) {
	s := open(t, ledgerPath(t))
	want := owners(0, batch+3)
	commit(t, s, "a", want)
	expect(t, s, "a", want)
	closeStore(t, s)
}

func TestCommitRefusesNamesThatBboltCannotTake(t *testing.T) {
	for _, path := range []string{"", ledgerPath(t)} {
		s := open(t, path)
		long := strings.Repeat("x", nameOctets+1)
		for _, c := range []struct{ block, owner string }{{"", "o"}, {"b", ""}, {long, "o"}, {"b", long}} {
			if err := s.Commit(c.block, timelines{c.owner: typical(1)}); !errors.Is(err, errRange) {
				t.Errorf("%.5q %.5q: %v", c.block, c.owner, err)
			}
		}
		commit(t, s, "b", owners(0, 1))
		closeStore(t, s)
	}
}

// database makes a bbolt file that may not be a ledger.
func database(t *testing.T, path string, options *bolt.Options, buckets ...string) string {
	t.Helper()
	db, err := bolt.Open(path, 0o600, options)
	if err != nil {
		t.Fatal(err)
	}
	err = db.Update(func(tx *bolt.Tx) error {
		var errs []error
		for _, b := range buckets {
			_, err := tx.CreateBucket([]byte(b))
			errs = append(errs, err)
		}
		return errors.Join(errs...)
	})
	if err := errors.Join(err, db.Close()); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestOpenRefuses(t *testing.T) {
	dir := t.TempDir()
	foreign := func(name string, options *bolt.Options, buckets ...string) string {
		return database(t, filepath.Join(dir, name), options, buckets...)
	}
	text := filepath.Join(dir, "Corefile")
	writeFile(t, text, []byte(strings.Repeat("example.org { tlsa }\n", 1000)))
	for _, c := range []struct {
		name, path string
		want       error
		says       string
	}{
		{"a relative path", "ledger", nil, "must be absolute"},
		{"a missing directory", filepath.Join(dir, "no", "ledger"), fs.ErrNotExist, filepath.Join(dir, "no") + " does not exist; create it"},
		{"a directory", dir, ErrNotLedger, "directory"},
		{"a device", os.DevNull, ErrNotLedger, "device"},
		{"a text", text, ErrNotLedger, text},
		{"somebody's database", foreign("other", nil, "users"), ErrNotLedger, "is not a ledger"},
		{"somebody's database without free list", foreign("etcd", &bolt.Options{NoFreelistSync: true}, "users"), ErrNotLedger, ""},
		{"a ledger with more in it", foreign("mixed", nil, bucketName, "users"), ErrNotLedger, ""},
		{"a newer version", foreign("newer", nil, "tlsa-v2"), ErrNewer, "tlsa-v2"},
	} {
		before, _ := os.ReadFile(c.path)
		_, err := Open(c.path)
		if err == nil || c.want != nil && !errors.Is(err, c.want) || !strings.Contains(err.Error(), c.says) {
			t.Errorf("%s: %v", c.name, err)
		}
		if after, _ := os.ReadFile(c.path); string(before) != string(after) {
			t.Errorf("%s: the file changed", c.name)
		}
		if f, err := os.Open(c.path); c.path != dir && err == nil && errors.Join(lock(f), f.Close()) != nil {
			t.Errorf("%s: still locked", c.name)
		}
	}
	if n := names(t, dir); !slices.Equal(n, []string{"Corefile", "etcd", "mixed", "newer", "other"}) {
		t.Errorf("left behind: %v", n)
	}
	if len(stores.open) != 0 {
		t.Error("a refused file stays open")
	}
}

func names(t testing.TB, dir string) (out []string) {
	t.Helper()
	list, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range list {
		out = append(out, e.Name())
	}
	return out
}

func TestLockOfAnotherProcessIsWaitedFor(t *testing.T) {
	path := ledgerPath(t)
	closeStore(t, open(t, path))
	synctest.Test(t, func(t *testing.T) {
		other, err := os.OpenFile(path, os.O_RDWR, 0)
		if err != nil || lock(other) != nil {
			t.Fatal(err)
		}
		start := time.Now()
		_, err = Open(path)
		if !errors.Is(err, ErrLocked) || !strings.Contains(err.Error(), path) {
			t.Errorf("%v", err)
		}
		if d := time.Since(start); d < lockWait || d > lockWait+time.Second {
			t.Errorf("waited for %v", d)
		}
		time.AfterFunc(lockWait/2, func() { _ = other.Close() })
		s, err := Open(path)
		if err != nil {
			t.Fatal(err)
		}
		if s.Origin() != Intact {
			t.Error(s.Origin())
		}
		closeStore(t, s)
	})
}

func TestFileReplacedDuringTheWaitIsTheOneOpened(t *testing.T) {
	path := ledgerPath(t)
	s := open(t, path)
	commit(t, s, "a", owners(0, 1))
	closeStore(t, s)
	renewed := readFile(t, path)
	writeFile(t, path, renewed[:1])
	synctest.Test(t, func(t *testing.T) {
		other, err := os.OpenFile(path, os.O_RDWR, 0)
		if err != nil || lock(other) != nil {
			t.Fatal(err)
		}
		time.AfterFunc(time.Second, func() { // as the other process does when it restores
			_ = os.WriteFile(path+newSuffix, renewed, 0o600)
			_ = os.Rename(path+newSuffix, path)
			_ = other.Close()
		})
		s, err := Open(path)
		if err != nil {
			t.Fatal(err)
		}
		if s.Origin() != Intact {
			t.Error(s.Origin(), s.Notice())
		}
		expect(t, s, "a", owners(0, 1))
		closeStore(t, s)
	})
}

func TestNewFileIsLockedBeforeItIsInPlace(t *testing.T) {
	path := ledgerPath(t)
	f, err := createLocked(path, func(*os.File) error { return nil })
	if err != nil {
		t.Fatal(err)
	}
	other, err := os.Open(path)
	if err != nil || lock(other) == nil {
		t.Errorf("not locked: %v", err)
	}
	if err := errors.Join(f.Close(), other.Close()); err != nil {
		t.Error(err)
	}
}

func TestTimeOfServiceCountsOnlyWhileOpen(t *testing.T) {
	path := ledgerPath(t)
	synctest.Test(t, func(t *testing.T) {
		s := open(t, path)
		if s.Now().Service != 0 {
			t.Errorf("starts at %v", s.Now().Service)
		}
		<-time.After(time.Hour + time.Microsecond) // the bubble's clock
		now := s.Now()
		if now.Service != time.Hour || !now.Wall.Equal(time.Now().Truncate(time.Millisecond)) || now.Wall.Location() != time.UTC {
			t.Errorf("%+v", now)
		}
		if err := s.Heartbeat(); err != nil {
			t.Fatal(err)
		}
		<-time.After(time.Minute) // after the last heartbeat: lost
		second := open(t, path)
		if second.Now().Service != time.Hour+time.Minute {
			t.Errorf("an overlapping instance counts %v", second.Now().Service)
		}
		closeStore(t, second)
		closeStore(t, s)
		<-time.After(24 * time.Hour)
		s = open(t, path)
		if s.Now().Service != time.Hour {
			t.Errorf("after a restart %v", s.Now().Service)
		}
		<-time.After(time.Minute)
		commit(t, s, "a", owners(0, 1))
		closeStore(t, s)
		s = open(t, path)
		if s.Now().Service != time.Hour+time.Minute {
			t.Errorf("after a commit %v", s.Now().Service)
		}
		closeStore(t, s)
		m := open(t, "")
		<-time.After(time.Second)
		if m.Now().Service != time.Second || m.Origin() != Memory || m.Heartbeat() != nil || m.Backup() != nil {
			t.Errorf("in memory: %+v", m.Now())
		}
		closeStore(t, m)
	})
}

func TestOpenGivesUnusedSpaceBack(t *testing.T) {
	path := ledgerPath(t)
	s := open(t, path)
	want := owners(0, 20)
	changes := make(timelines)
	commit(t, s, "a", owners(0, 4000))
	for i := 20; i < 4000; i++ {
		changes[ownerOf(i)] = nil
	}
	commit(t, s, "a", changes)
	commit(t, s, "b", owners(7, 8))
	service := s.Now().Service
	closeStore(t, s)
	before, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	s = open(t, path)
	after, err := os.Stat(path)
	if err != nil || after.Size() > before.Size()/10 || after.Mode() != 0o600 {
		t.Fatalf("%d octets, before %d, %v", after.Size(), before.Size(), err)
	}
	if s.Origin() != Intact || s.Notice() != "" || s.Now().Service < service/2 {
		t.Errorf("%v %q %v", s.Origin(), s.Notice(), s.Now())
	}
	expect(t, s, "a", want)
	commit(t, s, "a", owners(20, 30))
	closeStore(t, s)
	s = open(t, path)
	expect(t, s, "a", owners(0, 30))
	expect(t, s, "b", owners(7, 8))
	closeStore(t, s)
	if n := names(t, filepath.Dir(path)); len(n) != 2 {
		t.Errorf("left behind: %v", n)
	}
}

func TestBlocksAreThoseWithTimelines(t *testing.T) {
	for _, path := range []string{"", filepath.Join(t.TempDir(), "ledger")} {
		s := open(t, path)
		commit(t, s, "b|", owners(0, 2))
		commit(t, s, "a|", owners(0, 1))
		commit(t, s, "gone|", owners(0, 1))
		gone := map[string]*rollover.Timeline{}
		for name := range owners(0, 1) {
			gone[name] = nil
		}
		commit(t, s, "gone|", gone)
		got, err := s.Blocks()
		if err != nil || !slices.Equal(got, []string{"a|", "b|"}) {
			t.Errorf("%q: %q, %v", path, got, err)
		}
		closeStore(t, s)
		if _, err := s.Blocks(); !errors.Is(err, ErrClosed) {
			t.Errorf("after Close: %v", err)
		}
	}
}

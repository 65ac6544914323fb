package ledger

import (
	"errors"
	"os"
	"syscall"
	"testing"

	bolt "go.etcd.io/bbolt"
)

// fileOf gives the file below a store, to let its transactions fail.
func fileOf(t testing.TB, s *Store) *file {
	t.Helper()
	f, ok := s.shared.keep.(*file)
	if !ok {
		t.Fatal("not a file")
	}
	return f
}

type update = func(*bolt.DB, func(*bolt.Tx) error) error

func TestFailedCommitIsRecoveredByTheNext(t *testing.T) {
	for name, fail := range map[string]update{
		"fsync of the data": func(db *bolt.DB, do func(*bolt.Tx) error) error {
			return db.Update(func(tx *bolt.Tx) error { return errors.Join(do(tx), syscall.EIO) })
		},
		"fsync of a longer file": func(db *bolt.DB, do func(*bolt.Tx) error) error {
			return db.Update(func(tx *bolt.Tx) error {
				return errors.Join(do(tx), &os.PathError{Op: "sync", Path: "ledger", Err: syscall.EIO})
			})
		},
		"fsync of the meta page": func(db *bolt.DB, do func(*bolt.Tx) error) error {
			return errors.Join(db.Update(do), syscall.EIO)
		},
		"write of the meta page": func(db *bolt.DB, do func(*bolt.Tx) error) error {
			return errors.Join(db.Update(do), &os.PathError{Op: "write", Path: "ledger", Err: syscall.EIO})
		},
		"a panic within a transaction": func(db *bolt.DB, do func(*bolt.Tx) error) error {
			return db.Update(func(tx *bolt.Tx) error { return errors.Join(do(tx), tx.ForEach(nil)) })
		},
		"a panic that leaves bbolt's lock held": func(db *bolt.DB, do func(*bolt.Tx) error) error {
			_, _ = db.Begin(true) // never ended
			panic("page 7")
		},
	} {
		t.Run(name, func(t *testing.T) { recovers(t, fail) })
	}
}

// recovers lets one commit fail, and expects the next to write all of it to another file.
func recovers(t *testing.T, fail update) {
	t.Helper()
	path := ledgerPath(t)
	s := open(t, path)
	commit(t, s, "a", owners(0, 30))
	f := fileOf(t, s)
	f.update = fail
	if err := s.Commit("a", owners(30, 40)); err == nil {
		t.Fatal("no error")
	}
	if f.suspect == nil {
		t.Error("the file is trusted")
	}
	before, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	f.update = (*bolt.DB).Update
	if err := s.Backup(); err == nil {
		t.Error("a copy of a file that is not trusted")
	}
	commit(t, s, "a", owners(30, 45))
	expect(t, s, "a", owners(0, 45))
	if after, err := os.Stat(path); err != nil || os.SameFile(before, after) {
		t.Errorf("it went on with the same file: %v", err)
	}
	if f.suspect != nil || s.Backup() != nil {
		t.Error("it has not recovered")
	}
	other, err := os.Open(path)
	if err != nil || !errors.Is(lock(other), syscall.EWOULDBLOCK) || other.Close() != nil {
		t.Errorf("the new file is not locked: %v", err)
	}
	closeStore(t, s)
	s = open(t, path)
	if s.Origin() != Intact {
		t.Error(s.Origin(), s.Notice())
	}
	expect(t, s, "a", owners(0, 45))
	closeStore(t, s)
}

func TestRefusedWriteGoesOnWithTheSameFile(t *testing.T) {
	s := open(t, ledgerPath(t))
	f := fileOf(t, s)
	f.update = func(db *bolt.DB, do func(*bolt.Tx) error) error {
		return db.Update(func(tx *bolt.Tx) error {
			return errors.Join(do(tx), &os.PathError{Op: "write", Path: "ledger", Err: syscall.ENOSPC})
		})
	}
	if err := s.Commit("a", owners(0, 1)); !errors.Is(err, syscall.ENOSPC) || f.suspect != nil {
		t.Errorf("%v, suspect: %v", err, f.suspect)
	}
	expect(t, s, "a", nil)
	f.update = (*bolt.DB).Update
	commit(t, s, "a", owners(0, 1))
	expect(t, s, "a", owners(0, 1))
	closeStore(t, s)
}

func TestLoadAfterAPanicRecovers(t *testing.T) {
	s := open(t, ledgerPath(t))
	commit(t, s, "a", owners(0, 3))
	f := fileOf(t, s)
	f.update = func(*bolt.DB, func(*bolt.Tx) error) error { panic("page 7") }
	if err := s.Heartbeat(); !errors.Is(err, errPanic) {
		t.Errorf("%v", err)
	}
	f.update = (*bolt.DB).Update
	expect(t, s, "a", owners(0, 3))
	commit(t, s, "a", owners(3, 4))
	closeStore(t, s)
}

func TestDeletedFileIsWrittenAgain(t *testing.T) {
	path := ledgerPath(t)
	s := open(t, path)
	commit(t, s, "a", owners(0, 3))
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	commit(t, s, "a", owners(3, 4))
	closeStore(t, s)
	s = open(t, path)
	if s.Origin() != Intact {
		t.Error(s.Origin())
	}
	expect(t, s, "a", owners(0, 4))
	closeStore(t, s)
}

func TestFileOfSomebodyElseInOurPlaceIsLeftAlone(t *testing.T) {
	path := ledgerPath(t)
	s := open(t, path)
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	writeFile(t, path, []byte("mine"))
	if err := s.Commit("a", owners(0, 1)); !errors.Is(err, ErrReplaced) {
		t.Errorf("%v", err)
	}
	if string(readFile(t, path)) != "mine" {
		t.Error("overwritten")
	}
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	commit(t, s, "a", owners(0, 1))
	closeStore(t, s)
}

func TestFileThatIsCutWhileInUseFailsWithoutACrash(t *testing.T) {
	path := ledgerPath(t)
	s := open(t, path)
	commit(t, s, "a", owners(0, 200))
	if err := os.Truncate(path, 3*int64(pageSize())); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Load("a"); !errors.Is(err, errPanic) {
		t.Errorf("load: %v", err)
	}
	for range 2 {
		if err := s.Commit("a", owners(0, 200)); !errors.Is(err, errDamaged) {
			t.Errorf("commit: %v", err)
		}
	}
	closeStore(t, s)
	s = open(t, path)
	if s.Origin() != Restored {
		t.Error(s.Origin())
	}
	closeStore(t, s)
}

// Each state of the file after a commit, as a power cut would leave it, holds all that was told durable until then.
func TestEveryCommitIsInTheFileWhenItReturns(t *testing.T) {
	path := ledgerPath(t)
	s := open(t, path)
	want := make(timelines)
	for i := range 30 {
		changes := owners(i*7, i*7+3)
		if i%5 == 4 {
			changes[ownerOf(i*7-7)] = nil
			delete(want, ownerOf(i*7-7))
		}
		commit(t, s, "a", changes)
		for owner, tl := range changes {
			if tl != nil {
				want[owner] = tl
			}
		}
		got, err := everything(t, readFile(t, path))
		if err != nil {
			t.Fatal(err)
		}
		if len(got["a"]) != len(want) {
			t.Fatalf("commit %d: %d owners of %d", i, len(got["a"]), len(want))
		}
	}
	at, _ := reopen(t, readFile(t, path), nil)
	if at.Origin() != Intact {
		t.Error(at.Origin())
	}
	expect(t, at, "a", want)
	closeStore(t, at)
	closeStore(t, s)
}

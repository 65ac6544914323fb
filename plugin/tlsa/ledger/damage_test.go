package ledger

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	bolt "go.etcd.io/bbolt"

	"github.com/coredns-tlsa/coredns-tlsa/plugin/tlsa/rollover"
)

// populate makes a ledger with branch pages, buckets within pages and free pages, whose copy holds all but the last commit.
func populate(t testing.TB, path string) (now, copied map[string]timelines) {
	t.Helper()
	s := open(t, path)
	commit(t, s, "a", owners(0, 40))
	commit(t, s, "a", timelines{ownerOf(1): nil, ownerOf(2): typical(77)})
	commit(t, s, "small", owners(50, 51))
	if err := s.CommitSerial("", nil, 41); err != nil {
		t.Fatal(err)
	}
	if err := s.Backup(); err != nil {
		t.Fatal(err)
	}
	commit(t, s, "a", owners(60, 61))
	closeStore(t, s)
	a := owners(0, 40)
	delete(a, ownerOf(1))
	a[ownerOf(2)] = typical(77)
	copied = map[string]timelines{"a": a, "small": owners(50, 51)}
	now = map[string]timelines{"a": union(a, owners(60, 61)), "small": owners(50, 51)}
	return now, copied
}

// doubted is what becomes of typical timelines in a copy that is used (rules 2 and 4).
func doubted(all map[string]timelines) map[string]timelines {
	out := make(map[string]timelines)
	for block, owners := range all {
		out[block] = make(timelines)
		for owner, t := range owners {
			d := t.Clone()
			d.Associations[0].PublishedAt, d.Associations[0].ReadyAt, d.Associations[0].PublishedTTL = rollover.Stamp{}, rollover.Stamp{}, 0
			out[block][owner] = &d
		}
	}
	return out
}

func expectAll(t testing.TB, s *Store, want map[string]timelines) {
	t.Helper()
	for block := range want {
		expect(t, s, block, want[block])
	}
}

// reopen puts a ledger and its copy down in a new directory and opens it.
func reopen(t testing.TB, main, backup []byte) (*Store, string) {
	t.Helper()
	path := ledgerPath(t)
	writeFile(t, path, main)
	if backup != nil {
		writeFile(t, path+backupSuffix, backup)
	}
	return open(t, path), path
}

func damagedNames(t testing.TB, path string) []string {
	t.Helper()
	found, err := filepath.Glob(path + "*.damaged-*")
	if err != nil {
		t.Fatal(err)
	}
	return found
}

func TestDamageOfAnyPageIsRestoredOrHarmless(t *testing.T) {
	path := ledgerPath(t)
	now, copied := populate(t, path)
	good, backup := readFile(t, path), readFile(t, path+backupSuffix)
	page := pageSize()
	restored, harmless := 0, 0
	check := func(what string, bad []byte) {
		s, path := reopen(t, bad, backup)
		defer closeStore(t, s)
		switch s.Origin() {
		case Restored:
			restored++
			expectAll(t, s, doubted(copied))
			aside := damagedNames(t, path)
			if len(bad) > 0 && (len(aside) != 1 || !bytes.Equal(readFile(t, aside[0]), bad) || !strings.Contains(s.Notice(), aside[0])) {
				t.Errorf("%s: set aside: %q, notice %q", what, aside, s.Notice())
			}
			if !bytes.Equal(readFile(t, path+backupSuffix), backup) || !strings.Contains(s.Notice(), "done since") {
				t.Errorf("%s: the copy changed, notice %q", what, s.Notice())
			}
		case Intact: // the page was free
			harmless++
			expectAll(t, s, now)
		default:
			t.Errorf("%s: %v", what, s.Origin())
		}
		commit(t, s, "new", owners(0, 1))
	}
	for at := 0; at < len(good); at += page {
		zeroed, flipped := bytes.Clone(good), bytes.Clone(good)
		clear(zeroed[at : at+page])
		for i := range page {
			flipped[at+i] ^= 0xff
		}
		check("zeroed", zeroed)
		check("flipped", flipped)
		check("cut", good[:at])
	}
	t.Logf("%d pages: %d restored, %d harmless", len(good)/page, restored, harmless)
	if restored < 20 || harmless == 0 {
		t.Error("the ledger has too few pages for this test")
	}
}

// everything reads a whole file without bbolt.
func everything(t testing.TB, b []byte) (map[string]timelines, error) {
	t.Helper()
	c, err := examine(bytes.NewReader(b), int64(len(b)))
	if err != nil {
		return nil, err
	}
	im, err := openImage(bytes.NewReader(b), int64(len(b)))
	if err != nil {
		return nil, err
	}
	top, _, err := im.whose()
	if err != nil {
		return nil, err
	}
	out := make(map[string]timelines)
	err = im.bucket(top, func(part element) error {
		if string(part.key) != blocksName {
			return nil
		}
		return im.bucket(part, func(block element) error {
			in := make(timelines)
			out[string(block.key)] = in
			return im.bucket(block, func(e element) error {
				in[string(e.key)], err = decode(string(block.key), string(e.key), e.value, c.issuers)
				return err
			})
		})
	})
	return out, err
}

func TestAFlippedBitAnywhereIsSeenOrHarmless(t *testing.T) {
	path := ledgerPath(t)
	want, _ := populate(t, path)
	good := readFile(t, path)
	got, err := everything(t, good)
	if diff := cmp.Diff(want, got); err != nil || diff != "" {
		t.Fatal(err, diff)
	}
	// The last used octet: what the file has beyond is room to grow.
	end := len(bytes.TrimRight(good, "\x00"))
	seen := 0
	for at := range end {
		if at%pageSize() > 64 && at%127 != 0 { // every octet of the headers and first elements, some of the rest
			continue
		}
		bad := bytes.Clone(good)
		bad[at] ^= 1 << (at / 13 % 8)
		got, err := everything(t, bad)
		if err != nil {
			seen++
			if !errors.Is(err, errDamaged) {
				t.Fatalf("octet %d: %v", at, err)
			}
			continue
		}
		if !reflect.DeepEqual(got, want) {
			t.Fatalf("octet %d: records changed unseen", at)
		}
	}
	t.Logf("%d of %d octets", seen, end)
}

// What examine lets pass must be safe for bbolt, whose own check may only run on a file that it cannot fall over.
func TestBboltsOwnCheckFindsNothingMore(t *testing.T) {
	path := ledgerPath(t)
	populate(t, path)
	good := readFile(t, path)
	checked := 0
	for at := 0; at < len(good); at += 211 {
		bad := bytes.Clone(good)
		bad[at] ^= 0x10
		if _, err := examine(bytes.NewReader(bad), int64(len(bad))); err != nil {
			continue
		}
		checked++
		writeFile(t, path, bad)
		db, err := bolt.Open(path, 0o600, &bolt.Options{Timeout: time.Second})
		if err != nil {
			t.Fatal(err)
		}
		err = db.View(func(tx *bolt.Tx) error {
			var errs []error
			for err := range tx.Check() {
				errs = append(errs, err)
			}
			return errors.Join(errs...)
		})
		if err := errors.Join(err, db.Close()); err != nil {
			t.Fatalf("octet %d: %v", at, err)
		}
	}
	if checked < 25 {
		t.Errorf("only %d files", checked)
	}
}

func TestLostLedgerStartsAnewAndKeepsBothFiles(t *testing.T) {
	path := ledgerPath(t)
	populate(t, path)
	bad := readFile(t, path)
	bad[pageSize()+20] ^= 1
	copies := map[string][]byte{"a damaged copy": bad, "no copy": nil, "a cut copy": bad[:5000], "a foreign copy": []byte("text")}
	for name, backup := range copies {
		s, path := reopen(t, bad, backup)
		aside := damagedNames(t, path)
		want := 1
		if backup != nil {
			want = 2
		}
		if s.Origin() != Lost || len(aside) != want || !strings.Contains(s.Notice(), aside[0]) {
			t.Errorf("%s: %v %q %q", name, s.Origin(), aside, s.Notice())
		}
		for _, a := range aside {
			kept := bad
			if strings.Contains(a, backupSuffix) {
				kept = backup
			}
			if !bytes.Equal(readFile(t, a), kept) || !strings.Contains(s.Notice(), a) {
				t.Errorf("%s: %s changed, notice %q", name, a, s.Notice())
			}
		}
		expect(t, s, "a", nil)
		commit(t, s, "a", owners(0, 1))
		closeStore(t, s)
		s = open(t, path)
		if s.Origin() != Intact {
			t.Errorf("%s: then %v", name, s.Origin())
		}
		expect(t, s, "a", owners(0, 1))
		closeStore(t, s)
	}
}

func TestMissingLedgerIsRestored(t *testing.T) {
	path := ledgerPath(t)
	_, copied := populate(t, path)
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	s := open(t, path)
	if s.Origin() != Restored || !strings.Contains(s.Notice(), path+backupSuffix) {
		t.Errorf("%v %q", s.Origin(), s.Notice())
	}
	expectAll(t, s, doubted(copied))
	closeStore(t, s)
	if aside := damagedNames(t, path); len(aside) != 0 {
		t.Errorf("set aside: %q", aside)
	}
}

func TestMissingLedgerWithADamagedCopyIsLost(t *testing.T) {
	path := ledgerPath(t)
	populate(t, path)
	if err := errors.Join(os.Remove(path), os.Truncate(path+backupSuffix, 10_000)); err != nil {
		t.Fatal(err)
	}
	s := open(t, path)
	if aside := damagedNames(t, path); s.Origin() != Lost || len(aside) != 1 || !strings.Contains(s.Notice(), aside[0]) {
		t.Errorf("%v %q %q", s.Origin(), aside, s.Notice())
	}
	expect(t, s, "a", nil)
	closeStore(t, s)
}

func TestEmptyFileWithoutCopyIsFresh(t *testing.T) {
	s, path := reopen(t, nil, nil)
	if s.Origin() != Fresh || s.Notice() != "" {
		t.Errorf("%v %q", s.Origin(), s.Notice())
	}
	closeStore(t, s)
	bare := database(t, ledgerPath(t), nil) // what a kill leaves between bbolt's first pages and ours
	s = open(t, bare)
	if s.Origin() != Fresh {
		t.Error(s.Origin())
	}
	commit(t, s, "a", owners(0, 1))
	closeStore(t, s)
	if s = open(t, path); s.Origin() != Intact {
		t.Error(s.Origin())
	}
	closeStore(t, s)
}

func TestCopyOfANewerVersionIsNotOverwritten(t *testing.T) {
	path := ledgerPath(t)
	database(t, path+backupSuffix, nil, "tlsa-v9")
	before := readFile(t, path+backupSuffix)
	if _, err := Open(path); !errors.Is(err, ErrNewer) || !strings.Contains(err.Error(), backupSuffix) {
		t.Errorf("%v", err)
	}
	if !bytes.Equal(before, readFile(t, path+backupSuffix)) {
		t.Error("it changed")
	}
}

func TestBackupNeverReplacesAGoodCopyByADamagedOne(t *testing.T) {
	path := ledgerPath(t)
	s := open(t, path)
	commit(t, s, "a", owners(0, 40))
	if err := s.Backup(); err != nil {
		t.Fatal(err)
	}
	good := readFile(t, path+backupSuffix)
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	at := int64(bytes.LastIndex(readFile(t, path), []byte(ownerOf(20))))
	if _, err := f.WriteAt([]byte("X"), at); err != nil || f.Close() != nil {
		t.Fatal(err)
	}
	if err := s.Backup(); !errors.Is(err, errDamaged) {
		t.Errorf("%v", err)
	}
	if !bytes.Equal(good, readFile(t, path+backupSuffix)) {
		t.Error("the good copy is gone")
	}
	if _, err := s.Load("a"); !errors.Is(err, errDecode) {
		t.Errorf("load: %v", err)
	}
	closeStore(t, s)
	if left := names(t, filepath.Dir(path)); len(left) != 2 {
		t.Errorf("left behind: %v", left)
	}
}

func TestDamagedFilesOfOneSecondGetNamesOfTheirOwn(t *testing.T) {
	path := ledgerPath(t)
	seen := make(map[string]bool)
	for range 3 {
		writeFile(t, path, []byte("x"))
		name, err := setAside(path, time.Unix(0, 0))
		if err != nil || seen[name] {
			t.Fatal(name, err)
		}
		seen[name] = true
	}
}

func TestDirectoryThatTakesNoCopyIsNoticed(t *testing.T) {
	path := ledgerPath(t)
	closeStore(t, open(t, path))
	if err := errors.Join(os.Remove(path+backupSuffix), os.MkdirAll(path+backupSuffix+"/full", 0o700)); err != nil {
		t.Fatal(err)
	}
	s := open(t, path)
	if s.Origin() != Intact || !strings.Contains(s.Notice(), "no copy") {
		t.Errorf("%v %q", s.Origin(), s.Notice())
	}
	closeStore(t, s)
}

func TestIssuersThatNoRecordNeedsGoAtOpen(t *testing.T) {
	path := ledgerPath(t)
	s := open(t, path)
	commit(t, s, "a", owners(0, 4))
	commit(t, s, "a", timelines{ownerOf(1): nil, ownerOf(2): nil, ownerOf(3): &rollover.Timeline{}})
	closeStore(t, s)
	closeStore(t, open(t, path))
	b := readFile(t, path)
	c, err := examine(bytes.NewReader(b), int64(len(b)))
	if err != nil || len(c.issuers) != 1 || c.count != 2 {
		t.Fatalf("%d issuers, %d records: %v", len(c.issuers), c.count, err)
	}
	s = open(t, path)
	expect(t, s, "a", timelines{ownerOf(0): typical(0), ownerOf(3): {}})
	closeStore(t, s)
}

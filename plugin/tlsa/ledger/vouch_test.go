package ledger

import (
	"bytes"
	"errors"
	"maps"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	bolt "go.etcd.io/bbolt"

	"github.com/coredns-tlsa/coredns-tlsa/plugin/tlsa/rollover"
)

// expectVouched wants the store to vouch for the named blocks of a, small and new, and for no others.
func expectVouched(t *testing.T, s *Store, want string) {
	t.Helper()
	got := slices.DeleteFunc(strings.Fields("a small new"), func(block string) bool { return !s.Vouches(block) })
	if strings.Join(got, " ") != want {
		t.Errorf("it vouches for %q, want %q", got, want)
	}
}

func vouch(t *testing.T, s *Store, block string) {
	t.Helper()
	if err := s.Vouch(block); err != nil {
		t.Fatal(err)
	}
}

// In a file of before the bucket is missing.
func TestOnlyAFileWithoutDoubtVouchesForAll(t *testing.T) {
	path := ledgerPath(t)
	s := open(t, path)
	expectVouched(t, s, "")
	vouch(t, s, "a")
	expectVouched(t, s, "a")
	closeStore(t, s)
	s = open(t, path)
	expectVouched(t, s, "a")
	f := s.shared.keep.(*file)
	err := f.transact(func(tx *bolt.Tx) error { return tx.Bucket([]byte(bucketName)).DeleteBucket([]byte(vouchedName)) })
	if err != nil {
		t.Fatal(err)
	}
	closeStore(t, s)
	s = open(t, path)
	expectVouched(t, s, "a small new")
	vouch(t, s, "a")
	closeStore(t, s)
	s = open(t, path)
	expectVouched(t, s, "a small new")
	closeStore(t, s)
	if err := s.Vouch("a"); !errors.Is(err, ErrClosed) || s.Vouches("a") {
		t.Errorf("closed: %v", err)
	}
}

func TestMemoryVouchesForWhatWasRecordedInIt(t *testing.T) {
	s := open(t, "")
	defer closeStore(t, s)
	expectVouched(t, s, "")
	vouch(t, s, "a")
	expectVouched(t, s, "a")
}

// A process that ends before it could write anything leaves the copy in place of the ledger.
func TestRestoredOrLostLedgerIsInDoubtUntilItHasRecordedAll(t *testing.T) {
	path := ledgerPath(t)
	_, copied := populate(t, path)
	good, backup := readFile(t, path), readFile(t, path+backupSuffix)
	cut := good[:3*pageSize()]
	for name, tc := range map[string]struct {
		backup []byte
		origin Origin
		want   map[string]timelines
	}{
		"restored": {backup, Restored, doubted(copied)},
		"lost":     {nil, Lost, map[string]timelines{"a": nil, "small": nil}},
	} {
		t.Run(name, func(t *testing.T) {
			s, path := reopen(t, cut, tc.backup)
			if s.Origin() != tc.origin {
				t.Fatal(s.Origin())
			}
			again := func() {
				t.Helper()
				closeStore(t, s)
				if s = open(t, path); s.Origin() != Intact {
					t.Fatal(s.Origin())
				}
				expectAll(t, s, tc.want)
			}
			expectAll(t, s, tc.want)
			expectVouched(t, s, "")
			again()
			expectVouched(t, s, "")
			vouch(t, s, "a")
			expectVouched(t, s, "a")
			again()
			expectVouched(t, s, "a")
			vouch(t, s, "a")
			vouch(t, s, "new")
			// A file that is written anew says the same.
			f := s.shared.keep.(*file)
			info, err := f.handle.Stat()
			if err != nil {
				t.Fatal(err)
			}
			held, err := examine(f.handle, info.Size())
			if err == nil {
				err = f.compact(held)
			}
			if err != nil {
				t.Fatal(err)
			}
			expectVouched(t, s, "a new")
			again()
			expectVouched(t, s, "a new")
			// So does a copy of it, but for whoever has to use that copy.
			if err := errors.Join(s.Backup(), os.Truncate(path, 1000)); err != nil {
				t.Fatal(err)
			}
			closeStore(t, s)
			s = open(t, path)
			expectVouched(t, s, "")
			closeStore(t, s)
		})
	}
}

// What came after the copy is unknown for good: to open the file once more changes nothing of it.
func TestDoubtIsInTheFile(t *testing.T) {
	path := ledgerPath(t)
	s := open(t, path)
	tl := typical(1)
	tl.NoneSince, tl.OldTTLs = at(9), []rollover.TTLUse{{TTL: 7200, Until: at(10)}}
	tl.Keys[0].RetiredAt, tl.Keys[0].RetiredTTL = at(20), 60
	const service = 72 * time.Hour
	s.shared.base = service
	if err := errors.Join(s.CommitSerial("a", timelines{"x.": tl}, 41), s.Backup()); err != nil {
		t.Fatal(err)
	}
	closeStore(t, s)
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	begun := time.Now().UTC().Truncate(time.Millisecond)
	closeStore(t, open(t, path))
	s = open(t, path)
	all, err := s.Load("a")
	if err != nil {
		t.Fatal(err)
	}
	got := all["x."]
	since := func(s rollover.Stamp) bool {
		return !s.Wall.Before(begun) && !s.Wall.After(time.Now()) && s.Service >= service && s.Service < service+time.Minute
	}
	if !got.NoneSince.IsZero() || !since(got.OldTTLs[0].Until) || !since(got.Keys[0].RetiredAt) || got.Keys[0].RetiredTTL != 7200 ||
		!got.Associations[0].ReadyAt.IsZero() || !got.Associations[0].PublishedAt.IsZero() {
		t.Errorf("%+v", got)
	}
	if serialOf(t, s) != 41 || !since(s.Now()) {
		t.Errorf("the serial is %d, the time %v", serialOf(t, s), s.Now())
	}
	closeStore(t, s)
}

// restoredStore opens a copy of which nothing is vouched for yet.
func restoredStore(t *testing.T) (*Store, string) {
	t.Helper()
	path := ledgerPath(t)
	populate(t, path)
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	return open(t, path), path
}

func TestABlockIsNotVouchedForWhereThatCouldNotBeWritten(t *testing.T) {
	s, path := restoredStore(t)
	f := s.shared.keep.(*file)
	refused := errors.New("refused")
	f.update = func(*bolt.DB, func(*bolt.Tx) error) error { return refused }
	if err := s.Vouch("a"); !errors.Is(err, refused) {
		t.Errorf("%v", err)
	}
	expectVouched(t, s, "")
	f.update = (*bolt.DB).Update
	if err := os.Remove(path); err != nil { // and the file is not trusted any more
		t.Fatal(err)
	}
	vouch(t, s, "a")
	expectVouched(t, s, "a")
	closeStore(t, s)
	s = open(t, path)
	expectVouched(t, s, "a")
	closeStore(t, s)
}

func TestDamageOfWhatAFileVouchesForIsSeenOrHarmless(t *testing.T) {
	s, path := restoredStore(t)
	vouch(t, s, "a")
	closeStore(t, s)
	good := readFile(t, path)
	want := map[string]bool{"a": true}
	seen, left := 0, 0
	for at := range good {
		if !bytes.Contains(good[max(0, at-100):min(len(good), at+100)], []byte(vouchedName)) {
			continue
		}
		bad := bytes.Clone(good)
		bad[at] ^= 1 << (at % 8)
		c, err := examine(bytes.NewReader(bad), int64(len(bad)))
		if err != nil {
			seen++
		} else if len(c.vouched) == 0 && c.vouched != nil {
			left++
		} else if !maps.Equal(c.vouched, want) {
			t.Fatalf("octet %d: it vouches for %v", at, c.vouched)
		}
	}
	if seen < 20 || left < vouchedOctets {
		t.Errorf("damage was seen %d times, %d times it only left out what the file vouches for", seen, left)
	}
}

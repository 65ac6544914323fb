package ledger

import (
	"bytes"
	"os"
	"testing"
)

func serialOf(t testing.TB, s *Store) uint32 {
	t.Helper()
	part, err := s.Serial()
	if err != nil {
		t.Fatal(err)
	}
	return part
}

func commitSerial(t testing.TB, s *Store, part uint32) {
	t.Helper()
	if err := s.CommitSerial("a", owners(0, 3), part); err != nil {
		t.Fatal(err)
	}
}

func TestSerialNeverFallsAndOutlivesTheStore(t *testing.T) {
	for name, path := range map[string]string{"file": ledgerPath(t), "memory": ""} {
		t.Run(name, func(t *testing.T) {
			s := open(t, path)
			if got := serialOf(t, s); got != 0 {
				t.Errorf("a new ledger has %d", got)
			}
			commitSerial(t, s, 7)
			commitSerial(t, s, 5)
			commit(t, s, "a", owners(0, 1))
			if got := serialOf(t, s); got != 7 {
				t.Errorf("after 7 and 5 it is %d", got)
			}
			closeStore(t, s)
			if path == "" {
				return
			}
			s = open(t, path)
			if got := serialOf(t, s); got != 7 || s.Origin() != Intact {
				t.Errorf("after reopening: %d, %s", got, s.Origin())
			}
			expect(t, s, "a", owners(0, 3))
		})
	}
}

func TestSerialOutlivesCompaction(t *testing.T) {
	path := ledgerPath(t)
	s := open(t, path)
	commit(t, s, "a", owners(0, 4000))
	commitSerial(t, s, 7)
	gone := timelines{}
	for owner := range owners(0, 4000) {
		gone[owner] = nil
	}
	commit(t, s, "a", gone)
	closeStore(t, s)
	before, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	s = open(t, path)
	after, err := os.Stat(path)
	if err != nil || after.Size() >= before.Size() {
		t.Fatalf("not compacted: %v, %v", after, err)
	}
	if got := serialOf(t, s); got != 7 {
		t.Errorf("it is %d", got)
	}
}

// TestDamagedSerialCostsNoTimeline flips every bit of the record and of its key: what is lost is the serial, or the file is
// set aside and its copy has everything.
func TestDamagedSerialCostsNoTimeline(t *testing.T) {
	path := ledgerPath(t)
	s := open(t, path)
	commitSerial(t, s, 0x01020304)
	if err := s.Backup(); err != nil {
		t.Fatal(err)
	}
	closeStore(t, s)
	good, backup := readFile(t, path), readFile(t, path+backupSuffix)
	record := append([]byte(serialKey), encodeSerial(0x01020304)...)
	found := 0
	for at := 0; ; at++ {
		i := bytes.Index(good[at:], record)
		if i < 0 {
			break
		}
		at += i
		found++
		for bit := range 8 * len(record) {
			bad := bytes.Clone(good)
			bad[at+bit/8] ^= 1 << (bit % 8)
			s, _ := reopen(t, bad, backup)
			want := map[string]timelines{"a": owners(0, 3)}
			if s.Origin() == Restored {
				want = doubted(want)
			}
			expectAll(t, s, want)
			if got := serialOf(t, s); got != 0x01020304 && got != 0 {
				t.Errorf("bit %d: serial %#x", bit, got)
			}
			if s.Origin() != Intact && (s.Origin() != Restored || bit >= 8*len(serialKey)) {
				t.Errorf("bit %d: %s", bit, s.Origin())
			}
			closeStore(t, s)
		}
	}
	if found == 0 {
		t.Error("no serial in the file")
	}
}

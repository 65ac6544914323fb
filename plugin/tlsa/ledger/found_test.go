package ledger

import (
	"bytes"
	"fmt"
	"os"
	"testing"
)

func TestWhatWasFoundAtOpenIsNotLoadedOnceItHasChanged(t *testing.T) {
	path := ledgerPath(t)
	s := open(t, path)
	commit(t, s, "a", owners(0, 2))
	commit(t, s, "b", owners(2, 3))
	closeStore(t, s)
	s = open(t, path)
	defer closeStore(t, s)
	commit(t, s, "a", timelines{ownerOf(0): typical(9)})
	expect(t, s, "a", timelines{ownerOf(0): typical(9), ownerOf(1): typical(1)})
	got, err := s.Load("b")
	if err != nil {
		t.Fatal(err)
	}
	got[ownerOf(2)].TTL = 1
	expect(t, s, "b", owners(2, 3))
}

// More records than are read side by side at a time.
func TestEveryRecordOfManyIsCheckedAtOpen(t *testing.T) {
	path := ledgerPath(t)
	s := open(t, path)
	const n = batch + 1000
	commit(t, s, "a", owners(0, n))
	closeStore(t, s)
	s = open(t, path)
	expect(t, s, "a", owners(0, n))
	closeStore(t, s)
	good := readFile(t, path)
	for _, i := range []int{0, 1, batch/2 - 1, batch / 2, batch - 1, batch, n - 1} {
		t.Run(fmt.Sprint(i), func(t *testing.T) {
			bad := bytes.Clone(good)
			key := []byte(ownerOf(i))
			for at := bytes.Index(bad, key); at >= 0; { // the old copies of its page too
				bad[at+len(key)+50] ^= 1
				next := bytes.Index(bad[at+1:], key)
				if at += 1 + next; next < 0 {
					break
				}
			}
			if _, err := examine(bytes.NewReader(bad), int64(len(bad))); err == nil {
				t.Error("the damage was not seen")
			}
		})
	}
}

func TestCopyAtOpenIsTheSameInEveryPage(t *testing.T) {
	path := ledgerPath(t)
	s := open(t, path)
	commit(t, s, "a", owners(0, 100))
	closeStore(t, s)
	closeStore(t, open(t, path)) // which copies it
	original, copied := readFile(t, path), readFile(t, path+backupSuffix)
	c, err := examine(bytes.NewReader(original), int64(len(original)))
	if err != nil {
		t.Fatal(err)
	}
	same := func() bool { return c.same(bytes.NewReader(original), bytes.NewReader(copied), int64(len(copied))) }
	if !same() {
		t.Error("a good copy does not count as one")
	}
	for at := 16; at < len(copied); at += pageSize() {
		copied[at] ^= 1
		if same() {
			t.Errorf("a copy with another octet %d counts as the same", at)
		}
		copied[at] ^= 1
	}
	copied = copied[:len(copied)-1]
	if same() {
		t.Error("a copy that is cut short counts as the same")
	}
	if _, err := os.Stat(path + backupSuffix + newSuffix); err == nil {
		t.Error("the copy's draft is left behind")
	}
}

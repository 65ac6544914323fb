package ledger

import (
	"bytes"
	"encoding/binary"
	"errors"
	"testing"

	"pgregory.net/rapid"
)

// pagesOf gives the numbers of the pages of a kind that the tree uses, or of the free list.
func pagesOf(t *testing.T, good []byte, kind uint16) (out []uint64) {
	t.Helper()
	im, err := openImage(bytes.NewReader(good), int64(len(good)))
	if err != nil {
		t.Fatal(err)
	}
	if kind == freelistPage {
		return []uint64{im.meta.freelist}
	}
	c, err := examine(bytes.NewReader(good), int64(len(good)))
	if err != nil {
		t.Fatal(err)
	}
	free := make(map[uint64]bool)
	list := good[int(im.meta.freelist)*pageSize():]
	for i := range int(binary.NativeEndian.Uint16(list[10:])) {
		free[binary.NativeEndian.Uint64(list[pageHeader+8*i:])] = true
	}
	for id := range c.image.used {
		if id > 1 && !free[uint64(id)] && binary.NativeEndian.Uint16(good[id*pageSize()+8:]) == kind {
			out = append(out, uint64(id))
		}
	}
	if len(out) == 0 {
		t.Fatalf("no page of kind %d", kind)
	}
	return out
}

func put16(b []byte, at int, add int) {
	binary.NativeEndian.PutUint16(b[at:], uint16(int(binary.NativeEndian.Uint16(b[at:]))+add))
}

func put32(b []byte, at int, add int) {
	binary.NativeEndian.PutUint32(b[at:], uint32(int(binary.NativeEndian.Uint32(b[at:]))+add))
}

func put64(b []byte, at int, add int) {
	binary.NativeEndian.PutUint64(b[at:], uint64(int(binary.NativeEndian.Uint64(b[at:]))+add))
}

// keyOf finds the key of a branch page's element.
func keyOf(page []byte, i int) []byte {
	at := pageHeader + i*elementSize
	from := at + int(binary.NativeEndian.Uint32(page[at:]))
	return page[from : from+int(binary.NativeEndian.Uint32(page[at+4:]))]
}

func TestEveryKindOfDamageToTheTreeIsSeen(t *testing.T) {
	path := ledgerPath(t)
	populate(t, path)
	good := readFile(t, path)
	tree := []uint16{leafPage, branchPage}
	for _, c := range []struct {
		name   string
		pages  []uint16
		damage func(page []byte)
	}{
		{"a page that calls itself another", append(tree, freelistPage), func(p []byte) { put64(p, 0, 1) }},
		{"a page of no type", append(tree, freelistPage), func(p []byte) { put16(p, 8, 0x40) }},
		{"one element less", append(tree, freelistPage), func(p []byte) { put16(p, 10, -1) }},
		{"one element more", append(tree, freelistPage), func(p []byte) { put16(p, 10, 1) }},
		{"no element", []uint16{branchPage}, func(p []byte) { put16(p, 10, -int(p[10])) }},
		{"a page too long", tree, func(p []byte) { put32(p, 12, 1) }},
		{"a page beyond the file", tree, func(p []byte) { put32(p, 12, 1<<30) }},
		{"a key's place", []uint16{branchPage}, func(p []byte) { put32(p, pageHeader, 1) }},
		{"a key's length", []uint16{branchPage}, func(p []byte) { put32(p, pageHeader+4, -1) }},
		{"a child outside the file", []uint16{branchPage}, func(p []byte) { put64(p, pageHeader+8, 1<<40) }},
		{"a child twice", []uint16{branchPage}, func(p []byte) { copy(p[pageHeader+8:pageHeader+16], p[pageHeader+24:]) }},
		{"a child before its page", []uint16{branchPage}, func(p []byte) { keyOf(p, 1)[20]++ }},
		{"children in disorder", []uint16{branchPage}, func(p []byte) { keyOf(p, 1)[0] = 0 }},
		{"an element's flags", []uint16{leafPage}, func(p []byte) { put32(p, pageHeader, 2) }},
		{"a value's place", []uint16{leafPage}, func(p []byte) { put32(p, pageHeader+4, -1) }},
		{"a key of no length", []uint16{leafPage}, func(p []byte) { clear(p[pageHeader+8 : pageHeader+12]) }},
		{"a page both free and used", []uint16{freelistPage}, func(p []byte) { put64(p, pageHeader, 1) }},
		{"a page free twice", []uint16{freelistPage}, func(p []byte) { copy(p[pageHeader:pageHeader+8], p[pageHeader+8:]) }},
		{"a free page outside the file", []uint16{freelistPage}, func(p []byte) { put64(p, pageHeader, 1<<40) }},
		{"a free list beyond its page", []uint16{freelistPage}, func(p []byte) { put16(p, 10, 0x4000) }},
		{"a long free list", []uint16{freelistPage}, func(p []byte) { p[10], p[11] = 0xff, 0xff }},
	} {
		for _, kind := range c.pages {
			for _, id := range pagesOf(t, good, kind) {
				bad := bytes.Clone(good)
				c.damage(bad[int(id)*pageSize():])
				if _, err := examine(bytes.NewReader(bad), int64(len(bad))); !errors.Is(err, errDamaged) {
					t.Errorf("%s: page %d of kind %d: %v", c.name, id, kind, err)
				}
			}
		}
	}
}

func TestRandomDamageNeverPanics(t *testing.T) {
	path := ledgerPath(t)
	populate(t, path)
	good := bytes.TrimRight(readFile(t, path), "\x00")
	size := pageSize()
	good = good[:len(good)/size*size]
	rapid.Check(t, func(t *rapid.T) {
		bad := bytes.Clone(good)
		pages := rapid.IntRange(0, len(bad)/size-1)
		for range rapid.IntRange(1, 4).Draw(t, "wounds") {
			to := bad[pages.Draw(t, "page")*size:][:size]
			switch rapid.IntRange(0, 2).Draw(t, "kind") {
			case 0: // a page that went elsewhere
				from := pages.Draw(t, "from")
				copy(to, good[from*size:(from+1)*size])
			case 1: // a number in the first part of a page
				at := rapid.IntRange(0, 40).Draw(t, "at") * 4
				binary.NativeEndian.PutUint32(to[at:], rapid.Uint32().Draw(t, "number"))
			case 2:
				copy(to[rapid.IntRange(0, size-1).Draw(t, "at"):], rapid.SliceOfN(rapid.Byte(), 1, 64).Draw(t, "octets"))
			}
		}
		_, _ = examine(bytes.NewReader(bad), int64(len(bad))) // any verdict
	})
}

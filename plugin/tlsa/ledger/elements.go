package ledger

import (
	"bytes"
	"encoding/binary"
	"slices"
)

// fields are the numbers of one element: where its key starts, from the element on, and the lengths of key and value.
type fields struct {
	pos, key, value uint32
	child           uint64
	bucket          bool
}

func branchFields(b []byte) (fields, bool) {
	e := binary.NativeEndian
	return fields{pos: e.Uint32(b), key: e.Uint32(b[4:]), child: e.Uint64(b[8:])}, true
}

func leafFields(b []byte) (fields, bool) {
	e := binary.NativeEndian
	flags := e.Uint32(b)
	f := fields{pos: e.Uint32(b[4:]), key: e.Uint32(b[8:]), value: e.Uint32(b[12:]), bucket: flags == bucketFlag}
	return f, flags <= bucketFlag
}

type entry struct {
	element
	child uint64
}

// cut takes a page into its elements. bbolt writes the data of one right after that of the other, the first one's after the
// last element: a count or a length that changed leaves a gap.
func cut(page []byte, keys span, read func([]byte) (fields, bool)) ([]entry, error) {
	count := int(binary.NativeEndian.Uint16(page[10:]))
	next := pageHeader + count*elementSize
	if next > len(page) {
		return nil, damaged("a page counts %d elements", count)
	}
	out := make([]entry, 0, count)
	var last []byte
	for i := range count {
		at := pageHeader + i*elementSize
		f, ok := read(page[at : at+elementSize])
		end := uint64(next) + uint64(f.key) + uint64(f.value)
		if !ok || f.key == 0 || uint64(at)+uint64(f.pos) != uint64(next) || end > uint64(len(page)) {
			return nil, damaged("an element is out of its place")
		}
		key := page[next : next+int(f.key)]
		if !keys.holds(key) || i > 0 && bytes.Compare(last, key) >= 0 {
			return nil, damaged("a key is out of order")
		}
		value := page[next+int(f.key) : end]
		out = append(out, entry{element{key, value, f.bucket}, f.child})
		last, next = key, int(end)
	}
	return out, nil
}

func leaf(page []byte, keys span, visit func(element) error) error {
	elements, err := cut(page, keys, leafFields)
	if err != nil {
		return err
	}
	for _, e := range elements {
		if err := visit(e.element); err != nil {
			return err
		}
	}
	return nil
}

// root visits the buckets of the file.
func (im *image) root(visit func(element) error) error {
	return im.tree(im.meta.root, span{}, 0, visit)
}

// bucket visits the elements of a bucket that was met as an element: small ones lie within their parent's page.
func (im *image) bucket(e element, visit func(element) error) error {
	if !e.bucket || len(e.value) < pageHeader {
		return damaged("a bucket is missing")
	}
	if id := binary.NativeEndian.Uint64(e.value); id != 0 {
		return im.tree(id, span{}, 0, visit)
	}
	page := slices.Clone(e.value[pageHeader:])
	if len(page) < pageHeader || binary.NativeEndian.Uint16(page[8:]) != leafPage {
		return damaged("a bucket is malformed")
	}
	return leaf(page, span{}, visit)
}

// free claims the pages of the free list, and tells whether all pages are accounted for.
func (im *image) free() error {
	b, err := im.page(im.meta.freelist)
	if err != nil {
		return err
	}
	if binary.NativeEndian.Uint16(b[8:]) != freelistPage {
		return damaged("the free list is missing")
	}
	count := uint64(binary.NativeEndian.Uint16(b[10:]))
	b = b[pageHeader:]
	if count == 0xFFFF { // the count of a long list is its first number
		count, b = binary.NativeEndian.Uint64(b), b[8:]
	}
	if count > uint64(len(b)/8) {
		return damaged("the free list is too long")
	}
	for i := range count {
		if err := im.claim(binary.NativeEndian.Uint64(b[8*i:]), 1); err != nil {
			return err
		}
	}
	for id := 2; id < len(im.used); id++ {
		if !im.used[id] {
			return damaged("page %d is lost", id)
		}
	}
	return nil
}

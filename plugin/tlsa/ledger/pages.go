package ledger

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/fnv"
	"io"
)

// bbolt trusts its file: it follows a damaged page number out of its mapping, which kills the process, and its own Check does
// so in a goroutine where no recover and no debug.SetPanicOnFault of ours reaches. So the file is read here first, by plain
// reads, against the format of its pages: both meta pages, every page used once and either in the tree or free, every
// element in its place, every key in order. Unlike Check it also sees a count that has shrunk.
const (
	pageHeader  = 16
	elementSize = 16 // of branch and leaf alike
	metaSize    = 64
	boltMagic   = 0xED0CDAED
	boltVersion = 2

	branchPage   = 0x01
	leafPage     = 0x02
	metaPage     = 0x04
	freelistPage = 0x10
	bucketFlag   = 0x01
	noFreelist   = ^uint64(0)

	maxDepth = 32
)

var errDamaged = errors.New("is damaged")

func damaged(format string, args ...any) error {
	return fmt.Errorf("%w: %s", errDamaged, fmt.Sprintf(format, args...))
}

type meta struct {
	pageSize                   uint32
	root, freelist, high, txid uint64
}

// image is a bbolt file seen through reads.
type image struct {
	r    io.ReaderAt
	meta meta
	used []bool // by page: in the tree, or free
}

// An element is one entry of a leaf page: a value, or a bucket.
type element struct {
	key, value []byte
	bucket     bool
}

// openImage reads both meta pages. A commit writes one of them in one sector, so a bad one is damage and no torn write; to
// go on with the other would silently forget a commit.
func openImage(r io.ReaderAt, size int64) (*image, error) {
	first, err := readMeta(r, 0, 0)
	if err != nil {
		return nil, err
	}
	second, err := readMeta(r, 1, int64(first.pageSize))
	if err != nil {
		return nil, err
	}
	m := first
	if second.txid > first.txid {
		m = second
	}
	if first.pageSize != second.pageSize || m.high > uint64(size)/uint64(m.pageSize) {
		return nil, damaged("it holds %d octets instead of %d pages", size, m.high)
	}
	im := &image{r: r, meta: m, used: make([]bool, m.high)}
	return im, nil
}

func readMeta(r io.ReaderAt, number, at int64) (meta, error) {
	b := make([]byte, pageHeader+metaSize)
	if _, err := r.ReadAt(b, at); err != nil {
		return meta{}, damaged("reading a meta page: %v", err)
	}
	e := binary.NativeEndian
	typed := e.Uint64(b) == uint64(number) && e.Uint16(b[8:]) == metaPage
	b = b[pageHeader:]
	h := fnv.New64a()
	_, _ = h.Write(b[:metaSize-8]) // a hash never fails
	if !typed || e.Uint32(b) != boltMagic || e.Uint32(b[4:]) != boltVersion || e.Uint64(b[56:]) != h.Sum64() {
		return meta{}, damaged("a meta page is not valid")
	}
	m := meta{pageSize: e.Uint32(b[8:])}
	m.root, m.freelist, m.high, m.txid = e.Uint64(b[16:]), e.Uint64(b[32:]), e.Uint64(b[40:]), e.Uint64(b[48:])
	if m.pageSize < 1024 || m.pageSize > 1<<24 || m.pageSize&(m.pageSize-1) != 0 {
		return meta{}, damaged("a meta page is not valid")
	}
	return m, nil
}

// claim marks pages as used, each once.
func (im *image) claim(id, n uint64) error {
	if id < 2 || n > im.meta.high || id > im.meta.high-n {
		return damaged("page %d is outside the file", id)
	}
	for ; n > 0; id, n = id+1, n-1 {
		if im.used[id] {
			return damaged("page %d is used twice", id)
		}
		im.used[id] = true
	}
	return nil
}

// page reads a page with its overflow, and claims it.
func (im *image) page(id uint64) ([]byte, error) {
	head := make([]byte, pageHeader)
	size := int64(im.meta.pageSize)
	if id >= im.meta.high {
		return nil, damaged("page %d is outside the file", id)
	}
	if _, err := im.r.ReadAt(head, int64(id)*size); err != nil {
		return nil, damaged("reading page %d: %v", id, err)
	}
	pages := uint64(binary.NativeEndian.Uint32(head[12:])) + 1
	if binary.NativeEndian.Uint64(head) != id {
		return nil, damaged("page %d calls itself another", id)
	}
	if err := im.claim(id, pages); err != nil {
		return nil, err
	}
	b := make([]byte, int64(pages)*size)
	if _, err := im.r.ReadAt(b, int64(id)*size); err != nil {
		return nil, damaged("reading page %d: %v", id, err)
	}
	return b, nil
}

// span is the range of keys that a page may hold; a nil end is open.
type span struct{ first, end []byte }

func (s span) holds(key []byte) bool {
	return bytes.Compare(key, s.first) >= 0 && (s.end == nil || bytes.Compare(key, s.end) < 0)
}

// tree visits the elements of a bucket in order.
func (im *image) tree(id uint64, keys span, depth int, visit func(element) error) error {
	b, err := im.page(id)
	if err != nil {
		return err
	}
	switch flags := binary.NativeEndian.Uint16(b[8:]); {
	case flags == leafPage:
		return leaf(b, keys, visit)
	case flags != branchPage || depth == maxDepth:
		return damaged("page %d has the wrong type", id)
	}
	elements, err := cut(b, keys, branchFields)
	if err != nil || len(elements) == 0 {
		return errors.Join(err, damaged("branch page %d", id))
	}
	for i, e := range elements {
		child := span{e.key, keys.end}
		if i+1 < len(elements) {
			child.end = elements[i+1].key
		}
		if err := im.tree(e.child, child, depth+1, visit); err != nil {
			return err
		}
	}
	return nil
}

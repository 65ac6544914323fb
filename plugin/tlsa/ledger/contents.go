package ledger

import (
	"cmp"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"runtime"
	"strings"
	"sync"
	"time"

	"github.com/coredns-tlsa/coredns-tlsa/plugin/tlsa/dane"
	"github.com/coredns-tlsa/coredns-tlsa/plugin/tlsa/rollover"
)

// The file: a bucket named after the version, in it the heartbeat, the issuers by issuerID, a bucket of records by owner for
// each block, and where they were ever needed the part of a serial and the blocks that the file vouches for.
const (
	anyVersion      = "tlsa-v"
	bucketName      = "tlsa-v1"
	heartbeatKey    = "heartbeat"
	issuersName     = "issuers"
	blocksName      = "owners" // after the issuers, which its records refer to
	heartbeatOctets = 1 + 8 + 8 + 4
)

var errEmpty = errors.New("is empty")

// contents is what a good file holds.
type contents struct {
	image   *image
	beat    rollover.Stamp
	issuers map[issuerID]dane.Fingerprint
	used    map[issuerID]bool
	serial  uint32          // the part of a serial; 0: none
	count   int             // of the records
	octets  uint64          // of the records, as they lie in a full page
	vouched map[string]bool // by block; nil: it vouches for all
	// timelines are those of each block, if they are kept.
	timelines map[string]map[string]*rollover.Timeline
}

// examine reads a whole file. Errors: errEmpty, ErrNotLedger, ErrNewer, errDamaged.
func examine(r io.ReaderAt, size int64) (*contents, error) { return inspect(r, size, nil) }

// examineAndKeep does it for who wants the timelines too.
func examineAndKeep(r io.ReaderAt, size int64) (*contents, error) {
	return inspect(r, size, map[string]map[string]*rollover.Timeline{})
}

func inspect(r io.ReaderAt, size int64, timelines map[string]map[string]*rollover.Timeline) (*contents, error) {
	if size == 0 {
		return nil, errEmpty
	}
	im, err := openImage(r, size)
	if err != nil {
		return nil, err
	}
	top, other, err := im.whose()
	if err != nil {
		return nil, err
	}
	c := &contents{image: im, issuers: make(map[issuerID]dane.Fingerprint), used: make(map[issuerID]bool), timelines: timelines}
	seen := make(map[string]bool)
	err = im.bucket(top, func(e element) error {
		if isSerial(e) {
			c.serial = max(c.serial, decodeSerial(e.value))
			return nil
		}
		if e.bucket && string(e.key) == vouchedName {
			return c.vouchers(e)
		}
		seen[string(e.key)] = true
		return c.part(e)
	})
	switch {
	case other != nil && (err != nil || len(seen) != 3):
		return nil, other
	case other != nil:
		return nil, damaged("its name: %v", other)
	case err != nil:
		return nil, err
	case len(seen) != 3:
		return nil, damaged("a part is missing")
	}
	return c, im.free()
}

// whose finds our bucket. A file without the free list that we always write, or with other buckets, is somebody else's. One
// bucket of another name comes with the error that this means, unless what it holds is ours: then the name is damaged.
func (im *image) whose() (top element, other, err error) {
	if im.meta.freelist == noFreelist {
		return top, nil, ErrNotLedger
	}
	names := 0
	err = im.root(func(e element) error {
		names++
		top = e
		switch name := string(e.key); {
		case name == bucketName:
		case strings.HasPrefix(bucketName, name), strings.HasPrefix(name, anyVersion) && !allDigits(name[len(anyVersion):]):
			return damaged("its name %q", name)
		case strings.HasPrefix(name, anyVersion):
			other = fmt.Errorf("%w: it holds %q", ErrNewer, name)
		case other == nil:
			other = ErrNotLedger
		}
		return nil
	})
	switch {
	case err != nil:
		return top, nil, err
	case names == 0:
		return top, nil, cmp.Or(im.free(), errEmpty)
	case names > 1 && other != nil:
		return top, nil, other
	}
	return top, other, nil
}

func allDigits(s string) bool { return strings.Trim(s, "0123456789") == "" }

func (c *contents) part(e element) error {
	switch string(e.key) {
	case heartbeatKey:
		beat, err := decodeBeat(e.value)
		c.beat = beat
		return err
	case issuersName:
		return c.image.bucket(e, func(e element) error {
			id, f, err := decodeIssuer(e.key, e.value)
			c.issuers[id] = f
			return asDamage(err)
		})
	case blocksName:
		return c.image.bucket(e, c.block)
	}
	return damaged("it holds %q", e.key)
}

// block reads the records of a block: some are decoded while the pages of the next are read.
func (c *contents) block(b element) error {
	block := string(b.key)
	if c.timelines != nil {
		c.timelines[block] = make(map[string]*rollover.Timeline)
	}
	decoded := func() error { return nil }
	waiting := make([]element, 0, batch)
	err := c.image.bucket(b, func(e element) error {
		if waiting = append(waiting, e); len(waiting) < batch {
			return nil
		}
		before := decoded
		decoded, waiting = c.records(block, waiting), make([]element, 0, batch)
		return before()
	})
	rest := c.records(block, waiting)
	return cmp.Or(err, decoded(), rest())
}

// records begins to decode some of a block side by side: most of the time that it takes to open a ledger goes there. What it
// gives waits for that and takes them in.
func (c *contents) records(block string, elements []element) (takeIn func() error) {
	type record struct {
		owner    string
		timeline *rollover.Timeline
		used     []issuerID
		err      error
	}
	all := make([]record, len(elements))
	wait := together(len(all), func(from, to int) {
		in := reader{issuers: c.issuers}
		for i := from; i < to; i++ {
			e, r := elements[i], &all[i]
			r.owner = string(e.key)
			if r.timeline, r.err = in.record(block, r.owner, e.value); e.bucket {
				r.err = errDecode
			}
			r.used = in.used
		}
	})
	return func() error {
		wait()
		for i, r := range all {
			if r.err != nil {
				return asDamage(r.err)
			}
			for _, id := range r.used {
				c.used[id] = true
			}
			c.count++
			c.octets += uint64(elementSize + len(elements[i].key) + len(elements[i].value))
			if c.timelines != nil {
				c.timelines[block][r.owner] = r.timeline
			}
		}
		return nil
	}
}

// together begins to do something for parts of n, with all processors where there are many, and gives what waits for the end.
func together(n int, do func(from, to int)) (wait func()) {
	const worthIt = 500
	size := max(worthIt, n/runtime.GOMAXPROCS(0)+1)
	var parts sync.WaitGroup
	for from := 0; from < n; from += size {
		parts.Go(func() { do(from, min(from+size, n)) })
	}
	return parts.Wait
}

func asDamage(err error) error {
	if err == nil {
		return nil
	}
	return damaged("%v", err)
}

func encodeBeat(now rollover.Stamp) []byte {
	b := append(make([]byte, 0, heartbeatOctets), recordVersion)
	b = binary.BigEndian.AppendUint64(b, uint64(now.Wall.UnixMilli()))
	b = binary.BigEndian.AppendUint64(b, uint64(now.Service.Milliseconds()))
	return binary.BigEndian.AppendUint32(b, checksum("", heartbeatKey, b))
}

func decodeBeat(b []byte) (rollover.Stamp, error) {
	const n = heartbeatOctets - 4
	if len(b) != heartbeatOctets || b[0] != recordVersion || binary.BigEndian.Uint32(b[n:]) != checksum("", heartbeatKey, b[:n]) {
		return rollover.Stamp{}, damaged("its heartbeat")
	}
	return rollover.Stamp{
		Wall:    time.UnixMilli(int64(binary.BigEndian.Uint64(b[1:]))).UTC(),
		Service: time.Duration(binary.BigEndian.Uint64(b[9:])) * time.Millisecond,
	}, nil
}

package ledger

import (
	"cmp"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/coredns-tlsa/coredns-tlsa/plugin/tlsa/dane"
	"github.com/coredns-tlsa/coredns-tlsa/plugin/tlsa/rollover"
)

// The file: a bucket named after the version, in it the heartbeat, the issuers by issuerID, a bucket of records by owner for
// each block, and where it was ever needed the part of a serial.
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
	serial  uint32 // the part of a serial; 0: none
	records int
	octets  uint64 // of the records, as they lie in a full page
}

// examine reads a whole file. Errors: errEmpty, ErrNotLedger, ErrNewer, errDamaged.
func examine(r io.ReaderAt, size int64) (*contents, error) {
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
	c := &contents{image: im, issuers: make(map[issuerID]dane.Fingerprint), used: make(map[issuerID]bool)}
	seen := make(map[string]bool)
	err = im.bucket(top, func(e element) error {
		if isSerial(e) {
			c.serial = max(c.serial, decodeSerial(e.value))
			return nil
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

func (c *contents) block(b element) error {
	block := string(b.key)
	return c.image.bucket(b, func(e element) error {
		_, used, err := decodeUses(block, string(e.key), e.value, c.issuers)
		for _, id := range used {
			c.used[id] = true
		}
		c.records++
		c.octets += uint64(elementSize + len(e.key) + len(e.value))
		if err == nil && e.bucket {
			err = errDecode
		}
		return asDamage(err)
	})
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

package ledger

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"time"

	"github.com/coredns-tlsa/coredns-tlsa/plugin/tlsa/dane"
	"github.com/coredns-tlsa/coredns-tlsa/plugin/tlsa/rollover"
)

// reader takes from the front; after an error it gives zeroes. One may read record after record.
type reader struct {
	b       []byte
	err     error
	base    rollover.Stamp
	issuers map[issuerID]dane.Fingerprint
	used    []issuerID
	again   writer // has room for what is read to be written again
}

// decode reads a record; the issuers that it refers to must be known. It takes nothing but what encode gives.
func decode(block, owner string, data []byte, issuers map[issuerID]dane.Fingerprint) (*rollover.Timeline, error) {
	r := reader{issuers: issuers}
	return r.record(block, owner, data)
}

// record does it, and leaves in used the issuers that the record refers to.
func (r *reader) record(block, owner string, data []byte) (*rollover.Timeline, error) {
	r.used = nil
	n := len(data) - 4
	if n < 1 || n > maxRecord || data[0] != recordVersion {
		return nil, fmt.Errorf("%s: %w: its version or length", owner, errDecode)
	}
	if binary.BigEndian.Uint32(data[n:]) != checksum(block, owner, data[:n]) {
		return nil, fmt.Errorf("%s: %w: its checksum", owner, errDecode)
	}
	r.b, r.err, r.base = data[1:n], nil, rollover.Stamp{}
	t := r.timeline()
	if r.err == nil && len(r.b) > 0 {
		r.fail()
	}
	if r.err != nil {
		return nil, fmt.Errorf("%s: %w", owner, r.err)
	}
	r.again = writer{b: r.again.b[:0]}
	if err := r.again.record(block, owner, t); err != nil || !bytes.Equal(r.again.b, data) {
		return nil, fmt.Errorf("%s: %w: not the one encoding", owner, errDecode)
	}
	return t, nil
}

func (r *reader) fail() {
	if r.err == nil {
		r.err = errDecode
	}
	r.b = nil
}

func (r *reader) take(n int) []byte {
	if n < 0 || n > len(r.b) {
		r.fail()
		return nil
	}
	out := r.b[:n]
	r.b = r.b[n:]
	return out
}

func (r *reader) byte() byte {
	if b := r.take(1); b != nil {
		return b[0]
	}
	return 0
}

// flags takes n of them; a bit beyond is an error.
func (r *reader) flags(n int) [3]bool {
	b := r.byte()
	if b>>n != 0 {
		r.fail()
	}
	return [3]bool{b&1 != 0, b&2 != 0, b&4 != 0}
}

func (r *reader) number() uint64 {
	v, n := binary.Uvarint(r.b)
	if n <= 0 {
		r.fail()
		return 0
	}
	r.b = r.b[n:]
	return v
}

func (r *reader) signed() int64 {
	v, n := binary.Varint(r.b)
	if n <= 0 {
		r.fail()
		return 0
	}
	r.b = r.b[n:]
	return v
}

func (r *reader) ttl() uint32 {
	n := r.number()
	if n>>32 != 0 {
		r.fail()
	}
	return uint32(n)
}

func (r *reader) length(most int) int {
	n := r.number()
	if n > uint64(most) {
		r.fail()
		return 0
	}
	return int(n)
}

// list reads a count and as many elements; the count is not trusted with memory.
func list[T any](r *reader, element func() T) []T {
	var out []T
	for n := r.length(maxCount); n > 0 && r.err == nil; n-- {
		out = append(out, element())
	}
	return out
}

func (r *reader) text() string { return string(r.take(r.length(maxString))) }

func (r *reader) path(known string) string {
	n := r.length(len(known))
	if r.err != nil {
		return ""
	}
	return known[:n] + string(r.take(r.length(maxPath-n)))
}

func (r *reader) wall(base time.Time) time.Time {
	switch r.byte() {
	case 0:
		return time.Time{}
	case 1:
		ms := r.signed() + millis(base)
		if ms > maxMillis || ms < -maxMillis {
			r.fail()
		}
		return time.UnixMilli(ms).UTC()
	}
	r.fail()
	return time.Time{}
}

func (r *reader) stamp() rollover.Stamp {
	s := rollover.Stamp{Wall: r.wall(r.base.Wall)}
	if !s.IsZero() {
		s.Service = time.Duration(r.signed()+r.base.Service.Milliseconds()) * time.Millisecond
	}
	return s
}

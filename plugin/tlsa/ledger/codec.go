package ledger

import (
	"crypto/sha256"
	"crypto/sha512"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"time"

	"github.com/coredns-tlsa/coredns-tlsa/plugin/tlsa/dane"
	"github.com/coredns-tlsa/coredns-tlsa/plugin/tlsa/rollover"
)

// A record is the version, the timeline, and a CRC-32C over block, owner and all before it. There is one encoding of each
// timeline: what decodes encodes to the same octets. Times are in milliseconds and written relative to ObservedAt, paths
// relative to their root, association data as "the digest of key N" where it is one. Issuers are shared by many owners, so a
// record only refers to them (issuer.go). What the operator has said follows as a part of its own, and is left out where there
// is nothing: records from before it existed are the same.
const (
	recordVersion = 1
	operatorPart  = 1
	// The limits are far above what the rollover's own allow; they bound what a damaged length can ask for.
	maxRecord = 1 << 20
	maxString = 1 << 16
	maxPath   = 1 << 13
	maxCount  = 1 << 12
	// maxMillis keeps differences of times in range; it is some 140,000 years.
	maxMillis = 1 << 52
	// nameOctets is the longest block or owner: a key of bbolt is at most 32,768 octets long.
	nameOctets = 1 << 14
)

var (
	errTooLong = errors.New("longer than the ledger takes")
	errRange   = errors.New("out of the range that the ledger takes")
	errDecode  = errors.New("malformed record")
)

func castagnoli() *crc32.Table { return crc32.MakeTable(crc32.Castagnoli) }

// checksum covers the keys, so that a record under a damaged name does not pass for another owner's.
func checksum(block, owner string, body []byte) uint32 {
	t, name := castagnoli(), make([]byte, 0, binary.MaxVarintLen64+len(block)+len(owner))
	name = append(append(binary.AppendUvarint(name, uint64(len(block))), block...), owner...)
	return crc32.Update(crc32.Checksum(name, t), t, body)
}

// writer appends; its first error stays.
type writer struct {
	b       []byte
	err     error
	base    rollover.Stamp
	issuers []dane.Fingerprint
}

// encode gives the record of a timeline, and the issuers that it refers to.
func encode(block, owner string, t *rollover.Timeline) ([]byte, []dane.Fingerprint, error) {
	w := &writer{b: make([]byte, 0, 512)}
	if err := w.record(block, owner, t); err != nil {
		return nil, nil, err
	}
	return w.b, w.issuers, nil
}

func (w *writer) record(block, owner string, t *rollover.Timeline) error {
	w.b = append(w.b, recordVersion)
	w.timeline(t)
	if len(w.b) > maxRecord {
		w.fail(errTooLong)
	}
	if w.err != nil {
		return fmt.Errorf("encoding the timeline of %s: %w", owner, w.err)
	}
	w.b = binary.BigEndian.AppendUint32(w.b, checksum(block, owner, w.b))
	return nil
}

func (w *writer) fail(err error) {
	if w.err == nil {
		w.err = err
	}
}

func (w *writer) byte(b byte)     { w.b = append(w.b, b) }
func (w *writer) number(n uint64) { w.b = binary.AppendUvarint(w.b, n) }
func (w *writer) signed(n int64)  { w.b = binary.AppendVarint(w.b, n) }

func (w *writer) count(n int) {
	if n > maxCount {
		w.fail(errTooLong)
	}
	w.number(uint64(n))
}

func (w *writer) text(s string) {
	if len(s) > maxString {
		w.fail(errTooLong)
	}
	w.number(uint64(len(s)))
	w.b = append(w.b, s...)
}

// path writes what s does not share with the beginning of a string that is known already.
func (w *writer) path(known, s string) {
	if len(s) > maxPath {
		w.fail(errTooLong)
	}
	n := prefix(known, s)
	w.number(uint64(n))
	w.text(s[n:])
}

func prefix(a, b string) int {
	n := min(len(a), len(b))
	for i := range n {
		if a[i] != b[i] {
			return i
		}
	}
	return n
}

// wall writes zero for the zero time, else one more than nothing and the distance from base.
func (w *writer) wall(t, base time.Time) {
	if t.IsZero() {
		w.byte(0)
		return
	}
	ms := t.UnixMilli()
	if ms > maxMillis || ms < -maxMillis {
		w.fail(errRange)
		return
	}
	w.byte(1)
	w.signed(ms - millis(base))
}

func millis(t time.Time) int64 {
	if t.IsZero() {
		return 0
	}
	return t.UnixMilli()
}

// stamp drops the time of service of an event that has not happened.
func (w *writer) stamp(s rollover.Stamp) {
	w.wall(s.Wall, w.base.Wall)
	if !s.IsZero() {
		w.signed(s.Service.Milliseconds() - w.base.Service.Milliseconds())
	}
}

func bits(flags ...bool) byte {
	var b byte
	for i, f := range flags {
		if f {
			b |= 1 << i
		}
	}
	return b
}

func (w *writer) combination(c dane.Combination) {
	if c.Usage > dane.DANEEE || c.Selector > dane.SPKI || c.MatchingType > dane.SHA512 {
		w.fail(fmt.Errorf("combination %s: %w", c, errRange))
		return
	}
	w.byte(byte(c.Usage)*6 + byte(c.Selector)*3 + byte(c.MatchingType))
}

// association writes the number of the key that the data can be computed from, else zero and the data.
func (w *writer) association(a dane.Association, keys []rollover.Key) {
	w.combination(a.Combination)
	for i := range keys {
		if derive(&keys[i].Material, a.Combination) == a.Data && a.Data != "" {
			w.number(uint64(i) + 1)
			return
		}
	}
	w.number(0)
	w.text(a.Data)
}

// derive computes the association data of a key; empty where the key does not say.
func derive(m *dane.Material, c dane.Combination) string {
	f := &m.Leaf
	if c.Usage.OfIssuer() {
		f = &m.Issuer
	}
	full, d256, d512 := f.DER, f.SHA256, f.SHA512
	if c.Selector == dane.SPKI {
		full = f.SPKI
		if full == "" {
			return ""
		}
	}
	var room [512]byte // on the stack
	switch {
	case c.MatchingType == dane.Full:
		return full
	case c.Selector == dane.Cert && c.MatchingType == dane.SHA256:
		return d256
	case c.Selector == dane.Cert:
		return d512
	case c.MatchingType == dane.SHA256:
		sum := sha256.Sum256(append(room[:0], full...))
		return string(sum[:])
	default:
		sum := sha512.Sum512(append(room[:0], full...))
		return string(sum[:])
	}
}

package ledger

import (
	"errors"
	"fmt"

	"github.com/coredns-tlsa/coredns-tlsa/plugin/tlsa/rollover"
)

// errIssuer: a timeline whose keys have issuers refers to something that is not in it.
var errIssuer = errors.New("its keys have issuers")

// Pack gives the one encoding of a timeline without its name, for who keeps many of them in memory. It takes none whose keys
// have issuers.
func Pack(t *rollover.Timeline) (string, error) {
	w := &writer{b: make([]byte, 0, 512)}
	if w.timeline(t); w.err == nil && len(w.issuers) > 0 {
		w.err = errIssuer
	}
	if w.err != nil {
		return "", fmt.Errorf("packing a timeline: %w", w.err)
	}
	return string(w.b), nil
}

// Unpack reverses Pack.
func Unpack(packed string) (*rollover.Timeline, error) {
	r := &reader{b: []byte(packed)}
	t := r.timeline()
	if r.err == nil && len(r.b) > 0 {
		r.fail()
	}
	if r.err != nil {
		return nil, fmt.Errorf("unpacking a timeline: %w", r.err)
	}
	return t, nil
}

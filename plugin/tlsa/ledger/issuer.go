package ledger

import (
	"crypto/sha256"
	"fmt"

	"github.com/coredns-tlsa/coredns-tlsa/plugin/tlsa/dane"
)

// An issuerID names an issuer's fingerprint: the first half of the SHA-256 of its encoding. A few issuers stand behind all
// certificates of a server, and one of them is as large as the rest of an owner's record.
type issuerID [16]byte

func encodeIssuer(f dane.Fingerprint) (issuerID, []byte, error) {
	w := &writer{}
	w.fingerprint(f)
	sum := sha256.Sum256(w.b)
	return issuerID(sum[:16]), w.b, w.err
}

// decodeIssuer checks the encoding against its name.
func decodeIssuer(id, data []byte) (issuerID, dane.Fingerprint, error) {
	r := &reader{b: data}
	f := r.fingerprint()
	if r.err == nil && len(r.b) > 0 {
		r.fail()
	}
	sum := sha256.Sum256(data)
	if r.err != nil || string(sum[:16]) != string(id) || f == (dane.Fingerprint{}) {
		return issuerID{}, f, fmt.Errorf("issuer %x: %w", id, errDecode)
	}
	return issuerID(id), f, nil
}

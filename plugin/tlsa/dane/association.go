package dane

import (
	"crypto/sha256"
	"crypto/sha512"
	"errors"
	"fmt"
	"slices"
)

// Why an association cannot be computed.
var (
	// ErrNoIssuer: usage 0 or 2, and the chain does not hold the issuer of the leaf, or the key has no certificate yet.
	ErrNoIssuer = errors.New("the chain does not hold the issuer of the certificate")
	// ErrNoCertificate: selector 0, and there is only a bare key.
	ErrNoCertificate = errors.New("there is no certificate yet, only its key")
	// ErrNoDER: matching type 0 with selector 0, and the whole certificate was not kept.
	ErrNoDER = errors.New("the whole certificate was not kept")
	// ErrNoKey: there is no key at all.
	ErrNoKey = errors.New("there is no key")
	// ErrData: the association data cannot be that of the combination; the text says why.
	ErrData = errors.New("bad certificate association data")
)

// Association computes the association of m for a combination (RFC 6698 2.1): with the leaf for the usages PKIX-EE and
// DANE-EE, with its issuer for PKIX-TA and DANE-TA.
//
// Errors: ErrNoIssuer, ErrNoCertificate, ErrNoDER, ErrNoKey; ErrCombination if c is not one, and ErrData if m holds a digest
// of the wrong length.
func (m Material) Association(c Combination) (Association, error) {
	if !c.registered() {
		return Association{}, fmt.Errorf("%w: %s", ErrCombination, c)
	}
	f := m.Leaf
	if c.Usage.OfIssuer() {
		if f = m.Issuer; f == (Fingerprint{}) {
			return Association{}, ErrNoIssuer
		}
	}
	data, err := f.data(c)
	if err == nil {
		err = c.checkData(data)
	}
	if err != nil {
		return Association{}, err
	}
	return Association{Combination: c, Data: data}, nil
}

// data selects and presents; it does not look at the usage.
func (f Fingerprint) data(c Combination) (string, error) {
	switch {
	case c.Selector == SPKI && f.SPKI == "":
		return "", ErrNoKey
	case c.Selector == SPKI && c.MatchingType == SHA256:
		d := sha256.Sum256([]byte(f.SPKI))
		return string(d[:]), nil
	case c.Selector == SPKI && c.MatchingType == SHA512:
		d := sha512.Sum512([]byte(f.SPKI))
		return string(d[:]), nil
	case c.Selector == SPKI:
		return f.SPKI, nil
	case f.SHA256 == "" && f.SHA512 == "":
		return "", ErrNoCertificate
	case c.MatchingType == SHA256:
		return f.SHA256, nil
	case c.MatchingType == SHA512:
		return f.SHA512, nil
	case f.DER == "":
		return "", ErrNoDER
	default:
		return f.DER, nil
	}
}

// maxData is what RDLENGTH leaves beside the three parameters.
const maxData = 1<<16 - 1 - 3

// checkData refuses what can never match: data of the wrong length, no data, the digest of nothing.
func (c Combination) checkData(data string) error {
	want := 0
	var nothing string
	switch c.MatchingType {
	case SHA256:
		d := sha256.Sum256(nil)
		want, nothing = len(d), string(d[:])
	case SHA512:
		d := sha512.Sum512(nil)
		want, nothing = len(d), string(d[:])
	}
	switch {
	case want != 0 && len(data) != want:
		return fmt.Errorf("%w: got %d octets, want %d for matching type %d", ErrData, len(data), want, c.MatchingType)
	case len(data) > maxData:
		return fmt.Errorf("%w: got %d octets, want at most %d", ErrData, len(data), maxData)
	case data == nothing:
		return fmt.Errorf("%w: it stands for no data at all", ErrData)
	}
	return nil
}

// Canonical gives the associations in the one order of an RRset, each once (RFC 2181 5), in a fresh slice: answers must not
// differ from one query to the next, because signatures are cached by the text of the RRset.
func Canonical(as []Association) []Association {
	sorted := slices.SortedFunc(slices.Values(as), Association.Compare)
	return slices.Compact(sorted)
}

package dane

import (
	"cmp"
	"fmt"
	"strconv"
)

// Usage is the certificate usage of a TLSA record (RFC 6698 2.1.1, RFC 7218 2.1), 0 to 3.
type Usage uint8

// The registered usages.
const (
	PKIXTA Usage = iota // PKIX-TA: a CA that PKIX must also accept
	PKIXEE              // PKIX-EE: a leaf that PKIX must also accept
	DANETA              // DANE-TA: a trust anchor of the domain's own choice
	DANEEE              // DANE-EE: the leaf, with nothing else to check
)

// OfIssuer tells whether records of this usage are about the issuer of the leaf, not the leaf (PKIX-TA, DANE-TA).
func (u Usage) OfIssuer() bool { return u == PKIXTA || u == DANETA }

// Selector says which part of the certificate is matched (RFC 6698 2.1.2), 0 or 1.
type Selector uint8

// The registered selectors.
const (
	Cert Selector = iota // the whole certificate
	SPKI                 // its SubjectPublicKeyInfo
)

// MatchingType says how the selected part is presented (RFC 6698 2.1.3), 0 to 2.
type MatchingType uint8

// The registered matching types.
const (
	Full   MatchingType = iota // the octets themselves
	SHA256                     // SHA2-256 of them
	SHA512                     // SHA2-512 of them
)

// A Combination is the parameter combination "usage selector matching" of a TLSA record.
type Combination struct {
	Usage        Usage
	Selector     Selector
	MatchingType MatchingType
}

// String gives the combination as its three numbers, "3 1 1".
func (c Combination) String() string {
	return fmt.Sprintf("%d %d %d", c.Usage, c.Selector, c.MatchingType)
}

// Compare orders combinations by usage, selector and matching type.
func (c Combination) Compare(d Combination) int {
	return cmp.Or(cmp.Compare(c.Usage, d.Usage), cmp.Compare(c.Selector, d.Selector), cmp.Compare(c.MatchingType, d.MatchingType))
}

func (c Combination) registered() bool {
	return c.Usage <= DANEEE && c.Selector <= SPKI && c.MatchingType <= SHA512
}

// An Association is a combination with its certificate association data (RFC 6698 2.1.4): one TLSA record without its
// owner. It is comparable, so it can key a map.
type Association struct {
	Combination
	// Data holds the raw octets: 32 or 64 of them for a digest.
	Data string
}

// Compare gives the one canonical order of an RRset: by combination, then by data.
func (a Association) Compare(b Association) int {
	return cmp.Or(a.Combination.Compare(b.Combination), cmp.Compare(a.Data, b.Data))
}

// Short gives the first eight octets of the data in hexadecimal, enough to tell associations apart in a log.
func (a Association) Short() string {
	return fmt.Sprintf("%x", a.Data[:min(len(a.Data), 8)])
}

// String gives the combination and the short digest.
func (a Association) String() string { return a.Combination.String() + " " + a.Short() }

func number(s string, most int) (uint8, bool) {
	n, err := strconv.Atoi(s)
	if err != nil || n < 0 || n > most || strconv.Itoa(n) != s {
		return 0, false
	}
	return uint8(n), true
}

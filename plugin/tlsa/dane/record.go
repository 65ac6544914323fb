package dane

import (
	"encoding/hex"

	"github.com/miekg/dns"
)

// TLSA makes a fresh record of class IN, its data in lower case. owner is taken as it is; ttl is in seconds.
func (a Association) TLSA(owner string, ttl uint32) *dns.TLSA {
	return &dns.TLSA{
		Hdr:          dns.RR_Header{Name: owner, Rrtype: dns.TypeTLSA, Class: dns.ClassINET, Ttl: ttl},
		Usage:        uint8(a.Usage),
		Selector:     uint8(a.Selector),
		MatchingType: uint8(a.MatchingType),
		Certificate:  hex.EncodeToString([]byte(a.Data)),
	}
}

// FromTLSA takes the association out of a record. Its error wraps ErrCombination if a parameter is not a registered one, and
// ErrData if the data cannot be that of the combination; clients cannot use such a record (RFC 6698 4.1).
func FromTLSA(rr *dns.TLSA) (Association, error) {
	c := Combination{Usage(rr.Usage), Selector(rr.Selector), MatchingType(rr.MatchingType)}
	data, err := ParseData(c, rr.Certificate)
	if err != nil {
		return Association{}, err
	}
	return Association{Combination: c, Data: data}, nil
}

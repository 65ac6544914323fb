package zone

import (
	"encoding/hex"
	"slices"
	"strings"

	"github.com/coredns-tlsa/coredns-tlsa/plugin/tlsa/dane"

	"github.com/miekg/dns"
)

// A Set is the answer of an owner. It is never changed.
type Set struct {
	// Unknown: nothing can be known of the owner; its TLSA query fails rather than denies.
	Unknown bool
	ttl     uint32
	records []dane.Association
}

// NewSet makes the answer of an owner that has the associations as, which may be none, under ttl seconds. It keeps as, which
// must not be changed any more.
func NewSet(as []dane.Association, ttl uint32) *Set { return &Set{records: as, ttl: ttl} }

// equal tells whether both answer the same; either may be nil, which answers nothing.
func (s *Set) equal(o *Set) bool {
	if s == nil || o == nil || s == o {
		return s == o
	}
	return s.Unknown == o.Unknown && s.ttl == o.ttl && slices.Equal(s.records, o.records)
}

// Len is the number of records.
func (s *Set) Len() int { return len(s.records) }

// RRs gives the records under the name owner in a slice of the caller's own: plugins in front append to it and change TTLs.
func (s *Set) RRs(owner string) []dns.RR {
	records := make([]dns.TLSA, len(s.records))
	rrs := make([]dns.RR, len(records))
	digits := s.digits()
	for i, a := range s.records {
		n := hex.EncodedLen(len(a.Data))
		records[i] = dns.TLSA{
			Hdr:          dns.RR_Header{Name: owner, Rrtype: dns.TypeTLSA, Class: dns.ClassINET, Ttl: s.ttl},
			Usage:        uint8(a.Usage),
			Selector:     uint8(a.Selector),
			MatchingType: uint8(a.MatchingType),
			Certificate:  digits[:n],
		}
		rrs[i], digits = &records[i], digits[n:]
	}
	return rrs
}

// digits gives the data of all records in hex: one text takes less time than one for each.
func (s *Set) digits() string {
	length := 0
	for _, a := range s.records {
		length += hex.EncodedLen(len(a.Data))
	}
	var text strings.Builder
	text.Grow(length)
	var piece [128]byte
	for _, a := range s.records {
		for data := a.Data; data != ""; {
			n := min(len(data), len(piece)/2)
			text.Write(piece[:hex.Encode(piece[:], []byte(data[:n]))])
			data = data[n:]
		}
	}
	return text.String()
}

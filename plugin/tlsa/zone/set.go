package zone

import (
	"encoding/hex"
	"slices"

	"github.com/coredns-tlsa/coredns-tlsa/plugin/tlsa/dane"

	"github.com/miekg/dns"
)

// A Set is the answer of an owner. It is never changed.
type Set struct {
	// Unknown: nothing can be known of the owner; its TLSA query fails rather than denies.
	Unknown bool
	ttl     uint32
	records []record
}

// A record has its data in hex, as replies want it: to make that for each of them would take half as long again.
type record struct {
	usage, selector, matchingType uint8
	data                          string
}

// NewSet makes the answer of an owner that has the associations as, which may be none, under ttl seconds.
func NewSet(as []dane.Association, ttl uint32) *Set {
	s := &Set{ttl: ttl, records: make([]record, len(as))}
	var room [256]byte
	digits := room[:0]
	for _, a := range as {
		digits = hex.AppendEncode(digits, []byte(a.Data))
	}
	text := string(digits) // of all
	for i, a := range as {
		n := hex.EncodedLen(len(a.Data))
		s.records[i] = record{uint8(a.Usage), uint8(a.Selector), uint8(a.MatchingType), text[:n]}
		text = text[n:]
	}
	return s
}

// Equal tells whether both answer the same; either may be nil, which answers nothing.
func (s *Set) Equal(o *Set) bool {
	if s == nil || o == nil || s == o {
		return s == o
	}
	return s.Unknown == o.Unknown && s.ttl == o.ttl && slices.Equal(s.records, o.records)
}

// Len is the number of records.
func (s *Set) Len() int { return len(s.records) }

// fewRecords is how many most owners have at most.
const fewRecords = 2

// Reply answers r with the records, under the name owner. Nothing of it is anyone else's: plugins in front append to its sections
// and change TTLs. With few records it is one piece of memory.
func (s *Set) Reply(r *dns.Msg, owner string) *dns.Msg {
	m := new(struct {
		dns.Msg
		question [1]dns.Question
		records  [fewRecords]dns.TLSA
		answer   [fewRecords + 1]dns.RR // and a signature
	})
	m.Id, m.Response, m.Authoritative = r.Id, true, true
	m.RecursionDesired, m.CheckingDisabled = r.RecursionDesired, r.CheckingDisabled
	m.question[0] = r.Question[0]
	m.Question = m.question[:]
	if n := len(s.records); n <= fewRecords {
		m.Answer = m.answer[:n]
		s.write(m.records[:n], m.Answer, owner)
	} else {
		m.Answer = s.RRs(owner)
	}
	return &m.Msg
}

// RRs gives the records under the name owner in a slice of the caller's own.
func (s *Set) RRs(owner string) []dns.RR {
	rrs := make([]dns.RR, len(s.records))
	s.write(make([]dns.TLSA, len(s.records)), rrs, owner)
	return rrs
}

func (s *Set) write(records []dns.TLSA, rrs []dns.RR, owner string) {
	for i := range s.records {
		from, rr := &s.records[i], &records[i]
		rr.Hdr = dns.RR_Header{Name: owner, Rrtype: dns.TypeTLSA, Class: dns.ClassINET, Ttl: s.ttl}
		rr.Usage, rr.Selector, rr.MatchingType, rr.Certificate = from.usage, from.selector, from.matchingType, from.data
		rrs[i] = rr
	}
}

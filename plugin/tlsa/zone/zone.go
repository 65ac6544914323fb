// Package zone holds the answers: name in, entry out.
//
// A [Table] is read without a lock by any number of queries while one [Writer] changes it. What a query has found never
// changes under it. The package knows nothing of files, rollovers or the network.
package zone

import (
	"encoding/hex"
	"hash/maphash"
	"slices"
	"sync/atomic"

	"github.com/coredns-tlsa/coredns-tlsa/plugin/tlsa/dane"

	"github.com/miekg/dns"
)

// An Entry is what a name of the table is. A name can be several things at once.
type Entry struct {
	// Owner: the name is a TLSA owner; Set is its answer.
	Owner bool
	// Ours: the name starts with an underscore and belongs to this plugin alone: every other type is denied there.
	Ours bool
	// Above: a name of ours lies below, so the name exists even where the zone knows nothing of it (RFC 8020).
	Above bool
	Set   *Set
}

// A Set is the answer of an owner. It is never changed.
type Set struct {
	// Unknown: nothing can be known of the owner; its TLSA query fails rather than denies.
	Unknown bool
	records []dns.TLSA
}

// NewSet makes the answer of an owner that has the associations as, which may be none, under ttl seconds.
func NewSet(as []dane.Association, ttl uint32) *Set {
	s := &Set{}
	for _, a := range as {
		s.records = append(s.records, dns.TLSA{
			Hdr:          dns.RR_Header{Rrtype: dns.TypeTLSA, Class: dns.ClassINET, Ttl: ttl},
			Usage:        uint8(a.Usage),
			Selector:     uint8(a.Selector),
			MatchingType: uint8(a.MatchingType),
			Certificate:  hex.EncodeToString([]byte(a.Data)),
		})
	}
	return s
}

// equal tells whether both answer the same; either may be nil, which answers nothing.
func (s *Set) equal(o *Set) bool {
	if s == nil || o == nil {
		return s == o
	}
	return s.Unknown == o.Unknown && slices.Equal(s.records, o.records)
}

// Len is the number of records.
func (s *Set) Len() int { return len(s.records) }

// RRs gives the records under the name owner in a slice of the caller's own: plugins in front append to it and change TTLs.
func (s *Set) RRs(owner string) []dns.RR {
	records := make([]dns.TLSA, len(s.records))
	copy(records, s.records)
	rrs := make([]dns.RR, len(records))
	for i := range records {
		records[i].Hdr.Name = owner
		rrs[i] = &records[i]
	}
	return rrs
}

// shardCount keeps a shard small enough to be copied for one change, with a million names in the table.
const shardCount = 1024

// A Table maps names to entries. The zero Table is empty and ready.
type Table struct {
	shards [shardCount]atomic.Pointer[map[string]Entry]
}

var seed = maphash.MakeSeed()

func shard(name string) uint64 { return maphash.String(seed, name) % shardCount }

// Lookup finds the entry of name, which must be lower case and fully qualified. It takes no lock and allocates nothing.
func (t *Table) Lookup(name string) (Entry, bool) {
	m := t.shards[shard(name)].Load()
	if m == nil {
		return Entry{}, false
	}
	e, ok := (*m)[name]
	return e, ok
}

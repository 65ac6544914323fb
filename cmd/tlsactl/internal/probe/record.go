package probe

import (
	"cmp"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/miekg/dns"

	"github.com/coredns-tlsa/coredns-tlsa/plugin/tlsa/dane"
)

// What a client makes of a record before it sees a certificate.
const (
	usable    = "usable"
	unusable  = "unusable"  // it is as if it were not there (RFC 6698 4.1)
	outranked = "outranked" // a stronger matching type of the same usage and selector is there (RFC 7671 9)
	withdrawn = "withdrawn" // the DNS server plans to have removed it by then
)

// A Record is one TLSA record. Data is in hexadecimal.
type Record struct {
	Usage        uint8  `json:"usage"`
	Selector     uint8  `json:"selector"`
	MatchingType uint8  `json:"matchingType"`
	Data         string `json:"data"`
	// State is usable, unusable, outranked or withdrawn; Reason says why it is not usable.
	State  string `json:"state"`
	Reason string `json:"reason,omitempty"`

	association dane.Association
}

// String gives the parameters and the start of the data.
func (r Record) String() string {
	const most = 16
	data := r.Data
	if len(data) > most {
		data = data[:most] + "..."
	}
	return fmt.Sprintf("%d %d %d %s", r.Usage, r.Selector, r.MatchingType, data)
}

// A Forecast tells which associations will be gone at a later moment. The DNS server's control socket knows; nobody else does.
type Forecast interface {
	Withdrawn(owner string, a dane.Association, at time.Time) bool
}

// sift says of each record of an RRset, each once and in one order, what a client makes of it. gone may be nil.
func sift(rrs []dns.RR, smtp bool, gone func(dane.Association) bool) []Record {
	var records []Record
	for _, rr := range rrs {
		if rr, ok := rr.(*dns.TLSA); ok {
			records = append(records, newRecord(rr, smtp))
		}
	}
	slices.SortFunc(records, Record.compare)
	records = slices.Compact(records)
	strongest := make(map[[2]uint8]uint8)
	for i, r := range records {
		if r.State == usable && gone != nil && gone(r.association) {
			records[i].State, records[i].Reason = withdrawn, "the DNS server plans to have removed it by then"
		}
		if records[i].State == usable {
			key := [2]uint8{r.Usage, r.Selector}
			strongest[key] = max(strongest[key], r.MatchingType)
		}
	}
	for i, r := range records {
		best := strongest[[2]uint8{r.Usage, r.Selector}]
		if r.State == usable && dane.MatchingType(r.MatchingType) != dane.Full && r.MatchingType < best {
			records[i].State = outranked
			records[i].Reason = fmt.Sprintf("clients look only at the %d %d %d records (RFC 7671 9)", r.Usage, r.Selector, best)
		}
	}
	return records
}

// compare orders as a client tries: what needs least first, DANE-EE before PKIX-TA.
func (r Record) compare(s Record) int {
	return cmp.Or(cmp.Compare(s.Usage, r.Usage), cmp.Compare(r.Selector, s.Selector), cmp.Compare(r.MatchingType, s.MatchingType),
		cmp.Compare(r.Data, s.Data))
}

func newRecord(rr *dns.TLSA, smtp bool) Record {
	r := Record{
		Usage: rr.Usage, Selector: rr.Selector, MatchingType: rr.MatchingType, Data: strings.ToLower(rr.Certificate),
		State: unusable,
	}
	a, err := dane.FromTLSA(rr)
	switch {
	case errors.Is(err, dane.ErrCombination):
		r.Reason = "unknown parameters (RFC 6698 4.1)"
	case err != nil && !rightLength(rr):
		r.Reason = err.Error()
	case smtp && rr.Usage < uint8(dane.DANETA):
		r.Reason = "mail servers do not use PKIX usages: publish 3 1 1 (RFC 7672 3.1.3)"
	case err != nil:
		// Only the digest of nothing is left: clients take it for a digest as any other, and it never matches.
		r.State, r.Reason = usable, err.Error()
	case rr.MatchingType == uint8(dane.Full) && !whole(a):
		r.Reason = "the data is neither a certificate nor a key"
	default:
		r.State = usable
	}
	if r.State == usable {
		data, _ := hex.DecodeString(r.Data) // FromTLSA has read it
		r.association = dane.Association{
			Combination: dane.Combination{
				Usage: dane.Usage(rr.Usage), Selector: dane.Selector(rr.Selector), MatchingType: dane.MatchingType(rr.MatchingType),
			},
			Data: string(data),
		}
	}
	return r
}

// rightLength tells whether the data is as long as the digest that the matching type names.
func rightLength(rr *dns.TLSA) bool {
	length := map[dane.MatchingType]int{dane.SHA256: 32, dane.SHA512: 64}[dane.MatchingType(rr.MatchingType)]
	return length != 0 && len(rr.Certificate) == 2*length
}

// whole tells whether full data is what the selector says.
func whole(a dane.Association) bool {
	if a.Selector == dane.SPKI {
		return dane.KeyAlgorithm(a.Data) != ""
	}
	_, err := dane.ParseCertificate([]byte(a.Data))
	return err == nil
}

package denial

import (
	"context"
	"slices"
	"strings"

	"github.com/coredns/coredns/plugin"
	"github.com/coredns/coredns/plugin/pkg/nonwriter"

	"github.com/miekg/dns"
)

// Ask puts a question of our own to next, on behalf of the client of w; nil if it has no answer.
func Ask(ctx context.Context, next plugin.Handler, w dns.ResponseWriter, name string, qtype uint16, do bool) *dns.Msg {
	if next == nil {
		return nil
	}
	// It meets no wire and needs no random ID, which would take a twentieth of the time of a denial.
	q := &dns.Msg{Question: []dns.Question{{Name: name, Qtype: qtype, Qclass: dns.ClassINET}}}
	q.RecursionDesired = true
	if do {
		q.SetEdns0(4096, true)
	}
	nw := nonwriter.New(w)
	if _, err := next.ServeDNS(ctx, nw, q); err != nil || nw.Msg == nil {
		return nil
	}
	// The answer with an alias that leads out of the server's zones has the rcode of its target (RFC 6604 3): a failure here.
	if r := nw.Msg.Rcode; r != dns.RcodeSuccess && r != dns.RcodeNameError && len(nw.Msg.Answer) == 0 {
		return nil
	}
	return nw.Msg
}

// SOA gives the SOA that next has for name, in a copy with the TTL of a denial; nil if there is none. A wildcard CNAME gives
// no SOA at name itself: the names above it do.
func SOA(ctx context.Context, next plugin.Handler, w dns.ResponseWriter, name string) *dns.SOA {
	for {
		if m := Ask(ctx, next, w, name, dns.TypeSOA, false); m != nil {
			for _, section := range [][]dns.RR{m.Ns, m.Answer} {
				for _, rr := range section {
					if soa, ok := rr.(*dns.SOA); ok && dns.IsSubDomain(soa.Hdr.Name, name) {
						return negative(soa)
					}
				}
			}
		}
		i, end := dns.NextLabel(name, 0)
		if end {
			return nil
		}
		name = name[i:]
	}
}

// Negative gives an SOA in a copy with the TTL min(TTL, MINIMUM) of denials (RFC 2308 3, RFC 9077 3); any other record as
// it is. The NSEC of the denial has the same.
func Negative(rr dns.RR) dns.RR {
	if soa, ok := rr.(*dns.SOA); ok {
		return negative(soa)
	}
	return rr
}

func negative(soa *dns.SOA) *dns.SOA {
	c := *soa
	c.Hdr.Ttl = min(c.Hdr.Ttl, c.Minttl)
	return &c
}

// isCutOrDNAME tells whether name, of which next has denied a type, is a zone cut or has a DNAME. What is asked below it shows
// either, so that one question does, which no wire has to hold; and as next has neither referred nor led elsewhere, it is not that of a name above.
func isCutOrDNAME(ctx context.Context, next plugin.Handler, w dns.ResponseWriter, name string) (cut, dname bool) {
	m := Ask(ctx, next, w, `\000.`+name, dns.TypeNS, false)
	if m == nil {
		return false, false
	}
	dname = slices.ContainsFunc(m.Answer, func(rr dns.RR) bool { return rr.Header().Rrtype == dns.TypeDNAME })
	return soaOf(m) == nil && cutOf(m) != "", dname
}

// hasDNAME tells whether next has a DNAME at name itself.
func hasDNAME(ctx context.Context, next plugin.Handler, w dns.ResponseWriter, name string) bool {
	m := Ask(ctx, next, w, name, dns.TypeDNAME, false)
	if m == nil || len(m.Answer) == 0 {
		return false
	}
	rr := m.Answer[0].Header()
	return rr.Rrtype == dns.TypeDNAME && strings.EqualFold(rr.Name, name)
}

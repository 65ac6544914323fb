package denial

import (
	"strings"

	"github.com/miekg/dns"
)

// WriteMsg implements dns.ResponseWriter. A positive answer goes on as it is. The next plugin's message is never changed:
// it may keep it.
func (l *lower) WriteMsg(m *dns.Msg) error {
	if !l.do {
		return l.signer.WriteMsg(shortened(m))
	}
	proof, soa := l.denial(m)
	if proof == nil {
		return l.signer.WriteMsg(shortened(m))
	}
	l.denied = m
	signed := *m
	signed.Rcode = dns.RcodeSuccess // a compact denial is NODATA (RFC 9824 3.1)
	signed.Answer, signed.Ns, signed.Extra = []dns.RR{proof}, nil, nil
	if soa != nil {
		signed.Ns = []dns.RR{soa}
	}
	return l.signer.WriteMsg(&signed)
}

// denial gives the NSEC and the SOA that *dnssec* is to sign for m, or nil where it does well by itself. A referral to a
// child without DS has no SOA.
func (l *lower) denial(m *dns.Msg) (*nsec, *dns.SOA) {
	if len(m.Question) != 1 || len(m.Answer) > 0 || m.Rcode != dns.RcodeSuccess && m.Rcode != dns.RcodeNameError {
		return nil, nil
	}
	qtype, name := m.Question[0].Qtype, strings.ToLower(m.Question[0].Name)
	soa := soaOf(m)
	if soa == nil {
		if cut := cutOf(m); cut != "" {
			return l.unsignedCut(m, cut), nil
		}
		if soa = SOA(l.Context, l.back.next, l.ResponseWriter, name); soa == nil {
			return nil, nil
		}
	}
	apex := strings.ToLower(soa.Header().Name)
	if !dns.IsSubDomain(apex, name) {
		return nil, nil
	}
	soa = negative(soa)
	return newNSEC(name, soa.Header().Ttl, l.types(m, name, apex, qtype)), soa
}

// types chooses what the NSEC at name claims to be there.
func (l *lower) types(m *dns.Msg, name, apex string, qtype uint16) *types {
	if name == apex {
		return apexTypes.except(qtype)
	}
	var cut, dname bool
	switch {
	case qtype == dns.TypeDS:
		cut, dname = isCutOrDNAME(l.Context, l.back.next, l.ResponseWriter, name)
	case m.Rcode == dns.RcodeSuccess && qtype != dns.TypeDNAME:
		dname = hasDNAME(l.Context, l.back.next, l.ResponseWriter, name)
	}
	switch {
	case cut:
		return cutTypes
	case dname:
		return dnameTypes.except(qtype)
	case m.Rcode == dns.RcodeNameError && l.back.whole:
		return noName
	}
	return innerTypes.except(qtype)
}

// unsignedCut proves, with a referral, that the child has no DS (RFC 4035 3.1.4.1); nil where it has one.
func (l *lower) unsignedCut(m *dns.Msg, cut string) *nsec {
	var ttl uint32
	for _, rr := range m.Ns {
		if rr.Header().Rrtype == dns.TypeDS {
			return nil
		}
		ttl = rr.Header().Ttl
	}
	if soa := SOA(l.Context, l.back.next, l.ResponseWriter, parent(cut)); soa != nil {
		ttl = min(ttl, soa.Header().Ttl)
	}
	return newNSEC(strings.ToLower(cut), ttl, cutTypes)
}

func parent(name string) string {
	i, end := dns.NextLabel(name, 0)
	if end {
		return "."
	}
	return name[i:]
}

// shortened gives m with its denial's SOA under the TTL of a denial; m itself where there is nothing to change.
func shortened(m *dns.Msg) *dns.Msg {
	soa := soaOf(m)
	if soa == nil || soa.Hdr.Ttl <= soa.Minttl || m.Rcode != dns.RcodeSuccess && m.Rcode != dns.RcodeNameError {
		return m
	}
	c := *m
	c.Ns = make([]dns.RR, len(m.Ns))
	for i, rr := range m.Ns {
		c.Ns[i] = Negative(rr)
	}
	return &c
}

// soaOf gives the SOA of a denial.
func soaOf(m *dns.Msg) *dns.SOA {
	for _, rr := range m.Ns {
		if soa, ok := rr.(*dns.SOA); ok {
			return soa
		}
	}
	return nil
}

// cutOf gives the zone cut of a referral, empty if m is none.
func cutOf(m *dns.Msg) string {
	if len(m.Answer) > 0 || m.Rcode != dns.RcodeSuccess {
		return ""
	}
	for _, rr := range m.Ns {
		if rr.Header().Rrtype == dns.TypeNS {
			return rr.Header().Name
		}
	}
	return ""
}

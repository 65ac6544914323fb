package tlsa

import (
	"context"
	"fmt"
	"net"
	"slices"
	"strings"
	"time"

	"github.com/coredns/coredns/plugin/pkg/response"

	"github.com/coredns-tlsa/coredns-tlsa/plugin/tlsa/dane"
	"github.com/coredns-tlsa/coredns-tlsa/plugin/tlsa/denial"
	"github.com/coredns-tlsa/coredns-tlsa/plugin/tlsa/publish"

	"github.com/miekg/dns"
)

// backend is the zone data behind a handler.
type backend struct{ h *Handler }

var _ publish.Zones = backend{}

// SOA implements publish.Zones.
func (b backend) SOA(zone string) (publish.SOA, bool) {
	if z := b.h.apexes.of(zone); z != nil && z.zone == zone {
		return z.lookSOA(b.h.apexes.Next), true
	}
	above := denial.SOA(context.Background(), b.h.behind(zone), local{}, zone)
	if above == nil {
		return publish.SOA{}, false
	}
	zone = strings.ToLower(above.Hdr.Name) // which may be one above
	m := b.ask(zone, dns.TypeSOA, true)
	if m == nil {
		return publish.SOA{}, false
	}
	var found publish.SOA
	there := false
	for _, rr := range m.Answer {
		switch rr := rr.(type) {
		case *dns.SOA:
			found.Serial, found.Lag = rr.Serial, (time.Duration(rr.Refresh)+time.Duration(rr.Retry))*time.Second
			there = strings.EqualFold(rr.Hdr.Name, zone)
		case *dns.RRSIG:
			found.Signed = true
		}
	}
	return found, there
}

// Look implements publish.Zones.
func (b backend) Look(owner string) publish.ZoneView {
	z := b.h.apexes.of(owner)
	if z != nil && !z.leads(owner, b.h.apexes.Next) {
		return publish.ZoneView{Known: true}
	}
	m := b.ask(owner, dns.TypeTLSA, false)
	if m == nil {
		return publish.ZoneView{Known: z != nil}
	}
	v := publish.ZoneView{Known: true}
	if isReferral(m) {
		v.Cut = m.Ns[0].Header().Name
	}
	for _, rr := range m.Answer {
		switch rr := rr.(type) {
		case *dns.DNAME:
			v.Cut = rr.Hdr.Name
		case *dns.TLSA:
			if a, err := dane.FromTLSA(rr); err == nil && strings.EqualFold(rr.Hdr.Name, owner) {
				v.TLSA = append(v.TLSA, a)
			}
		}
	}
	if z != nil && dns.IsSubDomain(v.Cut, z.zone) && v.Cut != "" {
		return publish.ZoneView{Known: true} // what delegates the zone to us, or lies above that
	}
	nothing := m.Rcode == dns.RcodeNameError && len(m.Answer) == 0 // of any type
	if !nothing && v.Cut == "" && b.has(owner, dns.TypeDNAME) != nil {
		v.Cut = owner
	}
	return v
}

// Remark implements publish.Zones.
func (b backend) Remark(owner string) publish.Remarks {
	var r publish.Remarks
	if z := b.h.apexes.of(owner); z != nil && !z.leads(owner, b.h.apexes.Next) {
		return r
	}
	host := hostOf(owner)
	m := b.ask(host, dns.TypeCNAME, false)
	if m != nil && (isReferral(m) || isBelowDNAME(m, host)) { // to us, or to who else has the zone
		return r
	}
	if alias, ok := recordIn(m, host, dns.TypeCNAME).(*dns.CNAME); ok {
		r.Alias = strings.ToLower(alias.Target)
	}
	if m == nil || m.Rcode != dns.RcodeNameError || len(m.Answer) > 0 { // below a name that does not exist nothing does (RFC 8020)
		r.Hidden = b.hidden(owner)
	}
	return r
}

// isBelowDNAME tells whether a DNAME above name leads elsewhere.
func isBelowDNAME(m *dns.Msg, name string) bool {
	return slices.ContainsFunc(m.Answer, func(rr dns.RR) bool {
		above := rr.Header().Name
		return rr.Header().Rrtype == dns.TypeDNAME && dns.IsSubDomain(above, name) && !strings.EqualFold(above, name)
	})
}

func isReferral(m *dns.Msg) bool {
	kind, _ := response.Typify(m, time.Now())
	return kind == response.Delegation
}

// has gives the record of the type at name, nil if there is none.
func (b backend) has(name string, qtype uint16) dns.RR {
	return recordIn(b.ask(name, qtype, false), name, qtype)
}

// recordIn gives the record of the type at name in an answer, which may be nil.
func recordIn(m *dns.Msg, name string, qtype uint16) dns.RR {
	if m != nil {
		for _, rr := range m.Answer {
			if rr.Header().Rrtype == qtype && strings.EqualFold(rr.Header().Name, name) {
				return rr
			}
		}
	}
	return nil
}

// hostOf is owner without its leading underscore labels.
func hostOf(owner string) string {
	for strings.HasPrefix(owner, "_") {
		_, owner, _ = strings.Cut(owner, ".")
	}
	return owner
}

// hidden finds records that our names hide: those of other types at an owner and at its underscore ancestors. What a wildcard shows there is meant to be hidden.
func (b backend) hidden(name string) string {
	for strings.HasPrefix(name, "_") {
		_, parent, _ := strings.Cut(name, ".")
		for _, qtype := range hideable() {
			m := b.ask(name, qtype, false)
			if m == nil || m.Rcode == dns.RcodeNameError {
				break // nothing of any type is there
			}
			if len(m.Answer) == 0 {
				continue
			}
			if w := b.ask(nobody+parent, qtype, false); w != nil && len(w.Answer) > 0 {
				continue
			}
			rr := m.Answer[0].Header()
			return fmt.Sprintf("%s at %s", dns.TypeToString[rr.Rrtype], rr.Name)
		}
		name = parent
	}
	return ""
}

// hideable are the types that a zone may well have at a name with underscores.
func hideable() []uint16 {
	return []uint16{
		dns.TypeTXT, dns.TypeA, dns.TypeAAAA, dns.TypeSRV, dns.TypeURI, dns.TypeHTTPS, dns.TypeSVCB, dns.TypeMX, dns.TypeCAA,
		dns.TypeNAPTR, dns.TypePTR,
	}
}

func (b backend) ask(name string, qtype uint16, do bool) *dns.Msg {
	return denial.Ask(context.Background(), b.h.behind(name), local{}, name, qtype, do)
}

// local is the other end of our own questions.
type local struct{ dns.ResponseWriter }

// The addresses of local, which nobody changes.
var (
	localAddr  = &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1), Port: 53}
	remoteAddr = &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)}
)

// LocalAddr implements dns.ResponseWriter.
func (local) LocalAddr() net.Addr { return localAddr }

// RemoteAddr implements dns.ResponseWriter.
func (local) RemoteAddr() net.Addr { return remoteAddr }

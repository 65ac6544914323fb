package tlsa

import (
	"context"
	"fmt"
	"net"
	"strings"
	"time"

	"github.com/coredns/coredns/plugin"
	"github.com/coredns/coredns/plugin/pkg/nonwriter"
	"github.com/coredns/coredns/plugin/pkg/response"

	"github.com/coredns-tlsa/coredns-tlsa/plugin/tlsa/dane"
	"github.com/coredns-tlsa/coredns-tlsa/plugin/tlsa/publish"

	"github.com/miekg/dns"
)

// soaFor gives the SOA that the next plugin has for name, in a copy with the TTL of a denial; nil if there is none. The
// zone may be one below ours, so it is never taken for granted. A wildcard CNAME gives no SOA at name itself: the names
// above it do.
func soaFor(ctx context.Context, next plugin.Handler, w dns.ResponseWriter, name string) dns.RR {
	for {
		if m := ask(ctx, next, w, name, dns.TypeSOA, false); m != nil {
			for _, section := range [][]dns.RR{m.Ns, m.Answer} {
				for _, rr := range section {
					if rr.Header().Rrtype == dns.TypeSOA && dns.IsSubDomain(rr.Header().Name, name) {
						return negative(rr)
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

// negative gives an SOA in a copy with the TTL min(TTL, MINIMUM) (RFC 2308 3, RFC 9077 3): *dnssec* gives its NSEC the same.
func negative(rr dns.RR) dns.RR {
	soa, ok := rr.(*dns.SOA)
	if !ok {
		return rr
	}
	c := *soa
	c.Hdr.Ttl = min(c.Hdr.Ttl, c.Minttl)
	return &c
}

// ask puts a question of our own to the next plugin; nil if it has no answer.
func ask(ctx context.Context, next plugin.Handler, w dns.ResponseWriter, name string, qtype uint16, do bool) *dns.Msg {
	if next == nil {
		return nil
	}
	q := new(dns.Msg)
	q.SetQuestion(name, qtype)
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

// backend is the zone data behind a handler.
type backend struct{ h *Handler }

var _ publish.Zones = backend{}

// SOA implements publish.Zones.
func (b backend) SOA(zone string) (publish.SOA, bool) {
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
	m := b.ask(owner, dns.TypeTLSA, false)
	if m == nil {
		return publish.ZoneView{}
	}
	v := publish.ZoneView{Known: true}
	if kind, _ := response.Typify(m, time.Now()); kind == response.Delegation {
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
	v.Hidden = b.hidden(owner)
	return v
}

// hidden finds records that our names hide: those of other types at the owner and at its underscore ancestors. What a
// wildcard shows there is meant to be hidden.
func (b backend) hidden(owner string) string {
	for name := owner; strings.HasPrefix(name, "_"); {
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
	return ask(context.Background(), b.h.Next, local{}, name, qtype, do)
}

// local is the other end of our own questions.
type local struct{ dns.ResponseWriter }

// LocalAddr implements dns.ResponseWriter.
func (local) LocalAddr() net.Addr { return &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1), Port: 53} }

// RemoteAddr implements dns.ResponseWriter.
func (local) RemoteAddr() net.Addr { return &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)} }

package tlsa

import (
	"context"
	"slices"
	"strings"
	"time"

	"github.com/coredns/coredns/plugin"
	"github.com/coredns/coredns/plugin/pkg/fall"
	"github.com/coredns/coredns/plugin/pkg/nonwriter"

	"github.com/coredns-tlsa/coredns-tlsa/plugin/tlsa/corefile"
	"github.com/coredns-tlsa/coredns-tlsa/plugin/tlsa/denial"
	"github.com/coredns-tlsa/coredns-tlsa/plugin/tlsa/publish"

	"github.com/miekg/dns"
)

// The SOA and NS of `authority`. The denials of a name that is about to get records must not be kept for long; the rest is
// for secondaries, which learn of changes by NOTIFY.
const (
	apexTTL     = 3600
	apexRefresh = 3600
	apexRetry   = 600
	apexExpire  = 14 * 24 * 3600
	apexMinimum = 300
)

// apexes serves the zones of `authority`: their SOA and NS, and what they do not have. It stands between a Handler and the
// next plugin, so that the Handler finds a zone there as it would in *file*.
type apexes struct {
	Next  plugin.Handler // nil without one
	zones map[string]*apex
	// ours tells whether a name exists because of an owner, and whether it shows nothing of the next plugin.
	ours func(name string) (exists, alone bool)
}

type apex struct {
	zone, mailbox string
	servers       []string
	fall          fall.F
	parts         []*publish.Part // the serial is the largest
	served        served
}

// apexesOf gives what the directives of a server block have `authority` for; nil if none has.
func apexesOf(blocks []*corefile.Block, next plugin.Handler, ours func(string) (exists, alone bool)) *apexes {
	a := &apexes{Next: next, zones: map[string]*apex{}, ours: ours}
	for _, b := range blocks {
		if b.Authority == nil {
			continue
		}
		for _, zone := range b.Zones {
			z := &apex{zone: zone, servers: b.Authority.Servers, mailbox: b.Authority.Mailbox, fall: fall.F{Zones: b.Authority.Fall}}
			if z.mailbox == "" {
				z.mailbox = "hostmaster." + zone
			}
			a.zones[zone] = z
		}
	}
	if len(a.zones) == 0 {
		return nil
	}
	return a
}

// serve takes in what a block publishes. It is called before the first query.
func (a *apexes) serve(u *unit) {
	if a == nil {
		return
	}
	for zone, z := range a.zones {
		own := u.block.Authority != nil && slices.Contains(u.block.Zones, zone)
		if own {
			z.served = u.meter.served
		}
		if own || u.block.Concerns(zone) {
			z.parts = append(z.parts, u.publisher.Parts(zone)...)
		}
	}
}

// of gives the zone that name lies in; nil if none is ours.
func (a *apexes) of(name string) *apex {
	if a == nil {
		return nil
	}
	for i, end := 0, false; !end; i, end = dns.NextLabel(name, i) {
		if z := a.zones[name[i:]]; z != nil {
			return z
		}
	}
	return nil
}

// covers tells whether all of the zones are ours.
func (a *apexes) covers(zones []string) bool {
	return a != nil && !slices.ContainsFunc(zones, func(zone string) bool { return a.zones[zone] == nil })
}

// Name implements plugin.Handler.
func (a *apexes) Name() string { return pluginName }

// ServeDNS implements plugin.Handler.
func (a *apexes) ServeDNS(ctx context.Context, w dns.ResponseWriter, r *dns.Msg) (int, error) {
	if r.Opcode != dns.OpcodeQuery || len(r.Question) != 1 || r.Question[0].Qclass != dns.ClassINET {
		return a.pass(ctx, w, r)
	}
	name, qtype := strings.ToLower(r.Question[0].Name), r.Question[0].Qtype
	z := a.of(name)
	switch {
	case z == nil:
		return a.pass(ctx, w, r)
	case qtype == dns.TypeAXFR, qtype == dns.TypeIXFR: // *transfer* is not there, or does not have the zone
		return dns.RcodeRefused, nil
	}
	exists, alone := a.ours(name)
	if name != z.zone && !alone && z.leads(name, a.Next) {
		if !exists {
			return a.Next.ServeDNS(ctx, &relabelled{w, z}, r)
		}
		// A host has what the next plugin has there; where that has nothing, it exists by us all the same.
		nw := nonwriter.New(w)
		if _, err := a.Next.ServeDNS(ctx, nw, r); err == nil && nw.Msg != nil && positive(nw.Msg) {
			return dns.RcodeSuccess, w.WriteMsg(nw.Msg)
		}
	}
	m := new(dns.Msg)
	m.SetReply(r)
	m.Authoritative = true
	if name == z.zone {
		m.Answer = z.answer(qtype)
	} else if !exists {
		m.Rcode = dns.RcodeNameError
	}
	if len(m.Answer) == 0 {
		m.Ns = []dns.RR{denial.Negative(z.soa())}
	}
	z.served.count(m.Rcode)
	return m.Rcode, w.WriteMsg(m)
}

// pass hands on what no zone of ours has.
func (a *apexes) pass(ctx context.Context, w dns.ResponseWriter, r *dns.Msg) (int, error) {
	if a.Next == nil {
		return dns.RcodeRefused, nil
	}
	return a.Next.ServeDNS(ctx, w, r)
}

// leads tells whether fallthrough leads on from name.
func (z *apex) leads(name string, next plugin.Handler) bool {
	return next != nil && z.fall.Through(name)
}

// positive tells whether m has records of the name, or leads to where they are.
func positive(m *dns.Msg) bool {
	return m.Rcode == dns.RcodeSuccess && (len(m.Answer) > 0 || elsewhere(m))
}

// relabelled gives denials of the next plugin the zone's SOA: a zone has one.
type relabelled struct {
	dns.ResponseWriter
	z *apex
}

// WriteMsg implements dns.ResponseWriter. What it changes it changes in a copy: the next plugin may keep its message.
func (r *relabelled) WriteMsg(m *dns.Msg) error {
	c := *m
	c.Ns = slices.Clone(m.Ns)
	for i, rr := range c.Ns {
		if soa, ok := rr.(*dns.SOA); ok && dns.IsSubDomain(soa.Hdr.Name, r.z.zone) {
			c.Ns[i] = denial.Negative(r.z.soa())
		}
	}
	return r.ResponseWriter.WriteMsg(&c)
}

// answer gives the apex's own records of a type.
func (z *apex) answer(qtype uint16) []dns.RR {
	switch qtype {
	case dns.TypeSOA:
		return []dns.RR{z.soa()}
	case dns.TypeNS:
		return z.ns()
	case dns.TypeANY:
		return append(z.ns(), z.soa())
	}
	return nil
}

func (z *apex) header(rrtype uint16) dns.RR_Header {
	return dns.RR_Header{Name: z.zone, Rrtype: rrtype, Class: dns.ClassINET, Ttl: apexTTL}
}

func (z *apex) soa() *dns.SOA {
	return &dns.SOA{
		Hdr: z.header(dns.TypeSOA), Ns: z.servers[0], Mbox: z.mailbox, Serial: largest(z.parts),
		Refresh: apexRefresh, Retry: apexRetry, Expire: apexExpire, Minttl: apexMinimum,
	}
}

func (z *apex) ns() []dns.RR {
	rrs := make([]dns.RR, len(z.servers))
	for i, server := range z.servers {
		rrs[i] = &dns.NS{Hdr: z.header(dns.TypeNS), Ns: server}
	}
	return rrs
}

// lookSOA is backend.SOA for a zone of ours. Where names fall through to a zone of the next plugin, it has that one's
// serial, so that its changes are seen.
func (z *apex) lookSOA(next plugin.Handler) publish.SOA {
	soa := publish.SOA{Lag: (apexRefresh + apexRetry) * time.Second}
	if len(z.fall.Zones) == 0 {
		return soa
	}
	if rr := denial.SOA(context.Background(), next, local{}, z.zone); rr != nil {
		soa.Serial = rr.Serial
	}
	return soa
}

// behind gives the plugin that knows of name what is not ours.
func (h *Handler) behind(name string) plugin.Handler {
	if h.apexes.of(name) != nil {
		return h.apexes.Next
	}
	return h.Next
}

// has tells whether name exists because of an owner of ours, and whether it belongs to us alone.
func (h *Handler) has(name string) (exists, alone bool) {
	entry, block := h.lookup(name)
	return block != nil, entry.Ours
}

// hasNext tells whether something after the directive b serves its zones, be it the authority of another directive.
func (h *Handler) hasNext(b *corefile.Block) bool {
	if h.apexes == nil {
		return h.Next != nil
	}
	return h.apexes.Next != nil || b.Authority == nil && h.apexes.covers(b.Zones)
}

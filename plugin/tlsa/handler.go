package tlsa

import (
	"context"
	"strings"

	"github.com/coredns/coredns/plugin"

	"github.com/coredns-tlsa/coredns-tlsa/plugin/tlsa/zone"

	"github.com/miekg/dns"
)

const pluginName = "tlsa"

// Handler answers for the TLSA owners of one server block and the names that they bring into being.
type Handler struct {
	Next plugin.Handler

	// tables are those of the block's directives. They are set before the first query and never change.
	tables []*zone.Table
	// bypass is what *cache* must not keep.
	bypass []string
	ready  []func() bool
}

var _ plugin.Handler = (*Handler)(nil)

// Name implements plugin.Handler.
func (h *Handler) Name() string { return pluginName }

// ServeDNS implements plugin.Handler. It answers as design 5 has it, and passes on what is not ours.
func (h *Handler) ServeDNS(ctx context.Context, w dns.ResponseWriter, r *dns.Msg) (int, error) {
	if r.Opcode != dns.OpcodeQuery || len(r.Question) != 1 || r.Question[0].Qclass != dns.ClassINET {
		return plugin.NextOrFailure(h.Name(), h.Next, ctx, w, r)
	}
	name, qtype := strings.ToLower(r.Question[0].Name), r.Question[0].Qtype
	entry, ok := h.lookup(name)
	if !ok || qtype == dns.TypeAXFR || qtype == dns.TypeIXFR {
		return plugin.NextOrFailure(h.Name(), h.Next, ctx, w, r)
	}
	switch {
	case entry.Owner && (qtype == dns.TypeTLSA || qtype == dns.TypeANY):
		return h.answer(ctx, w, r, name, entry.Set)
	case entry.Ours:
		return h.deny(ctx, w, r, name)
	}
	// The name exists, because ours lie below it: what the zone denies is the type only (RFC 8020, RFC 4592 2.2.2).
	return plugin.NextOrFailure(h.Name(), h.Next, ctx, &existing{ResponseWriter: w}, r)
}

func (h *Handler) lookup(name string) (zone.Entry, bool) {
	for _, t := range h.tables {
		if e, ok := t.Lookup(name); ok {
			return e, true
		}
	}
	return zone.Entry{}, false
}

// answer gives the whole RRset, a denial where there is known to be none, or SERVFAIL where nothing is known.
func (h *Handler) answer(ctx context.Context, w dns.ResponseWriter, r *dns.Msg, name string, set *zone.Set) (int, error) {
	if set.Unknown {
		return dns.RcodeServerFailure, nil
	}
	if set.Len() == 0 {
		return h.deny(ctx, w, r, name)
	}
	m := new(dns.Msg)
	m.SetReply(r)
	m.Authoritative = true
	m.Answer = set.RRs(name)
	return dns.RcodeSuccess, w.WriteMsg(m)
}

// deny answers NODATA with exactly one SOA: *dnssec* signs no other denial. Without an SOA it fails rather than denies.
func (h *Handler) deny(ctx context.Context, w dns.ResponseWriter, r *dns.Msg, name string) (int, error) {
	soa := soaFor(ctx, h.Next, w, name)
	if soa == nil {
		return dns.RcodeServerFailure, nil
	}
	m := new(dns.Msg)
	m.SetReply(r)
	m.Authoritative = true
	m.Ns = []dns.RR{soa}
	return dns.RcodeSuccess, w.WriteMsg(m)
}

// existing turns NXDOMAIN into NODATA for a name that exists because of us.
type existing struct {
	dns.ResponseWriter
}

// WriteMsg implements dns.ResponseWriter. What it changes it changes in a copy: the next plugin may keep its message.
func (e *existing) WriteMsg(m *dns.Msg) error {
	if len(m.Answer) > 0 || m.Rcode != dns.RcodeNameError && m.Rcode != dns.RcodeSuccess {
		return e.ResponseWriter.WriteMsg(m)
	}
	nodata := *m
	nodata.Rcode = dns.RcodeSuccess
	nodata.Ns = make([]dns.RR, len(m.Ns))
	for i, rr := range m.Ns {
		nodata.Ns[i] = negative(rr)
	}
	return e.ResponseWriter.WriteMsg(&nodata)
}

// CacheBypassZones implements cache.ZoneBypasser. *cache* asks before our own start, so the names are there from setup on.
func (h *Handler) CacheBypassZones() []string { return h.bypass }

// Ready implements ready.Readiness: every owner can be answered with something better than SERVFAIL.
func (h *Handler) Ready() bool {
	for _, ready := range h.ready {
		if !ready() {
			return false
		}
	}
	return true
}

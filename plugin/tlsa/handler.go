package tlsa

import (
	"context"
	"slices"
	"strings"

	"github.com/coredns/coredns/plugin"

	"github.com/coredns-tlsa/coredns-tlsa/plugin/tlsa/corefile"
	"github.com/coredns-tlsa/coredns-tlsa/plugin/tlsa/denial"
	"github.com/coredns-tlsa/coredns-tlsa/plugin/tlsa/publish"
	"github.com/coredns-tlsa/coredns-tlsa/plugin/tlsa/zone"

	"github.com/miekg/dns"
)

const pluginName = "tlsa"

// Handler answers for the TLSA owners of one server block and the names that they bring into being.
type Handler struct {
	Next plugin.Handler

	// blocks are the directives of the server block. They are set before the first query and never change.
	blocks []servedBlock
	// stars: one of them has a `*`.
	stars bool
	// bypass gives what *cache* must not keep.
	bypass func() []string
	// apexes are the zones of `authority`, and Next then; nil without one.
	apexes *apexes
	// transfers is nil without *transfer*.
	transfers *transfers
}

// servedBlock is a directive as queries see it.
type servedBlock struct {
	publisher *publish.Publisher
	table     *zone.Table
	wild      *publish.Wildcards // nil without `*`
	known     func() bool
	block     *corefile.Block
	served
}

// serve adds what a unit publishes.
func (h *Handler) serve(u *unit) {
	h.stars = h.stars || u.publisher.Wildcards() != nil
	h.blocks = append(h.blocks, servedBlock{
		publisher: u.publisher, table: u.publisher.Table(), wild: u.publisher.Wildcards(), known: u.publisher.Known,
		block: u.block, served: u.meter.served,
	})
	h.apexes.serve(u)
}

var _ plugin.Handler = (*Handler)(nil)

// Name implements plugin.Handler.
func (h *Handler) Name() string { return pluginName }

// ServeDNS implements plugin.Handler. It answers as design 5 has it, and passes on what is not ours.
func (h *Handler) ServeDNS(ctx context.Context, w dns.ResponseWriter, r *dns.Msg) (int, error) {
	if r.Opcode != dns.OpcodeQuery || len(r.Question) != 1 || r.Question[0].Qclass != dns.ClassINET {
		return plugin.NextOrFailure(h.Name(), h.Next, ctx, w, r)
	}
	w = h.numbered(w)
	name, qtype := r.Question[0].Name, r.Question[0].Qtype
	entry, block := h.lookup(name)
	if block == nil { // what the table has is in lower case
		if lower := strings.ToLower(name); lower != name {
			name = lower
			entry, block = h.lookup(name)
		}
	}
	if h.stars && !entry.Owner {
		entry, block = h.covered(ctx, w, name, entry, block)
	}
	if block == nil || qtype == dns.TypeAXFR || qtype == dns.TypeIXFR {
		return plugin.NextOrFailure(h.Name(), h.Next, ctx, w, r)
	}
	var m *dns.Msg
	switch {
	case entry.Owner && (qtype == dns.TypeTLSA || qtype == dns.TypeANY):
		m = h.answer(ctx, w, r, name, entry.Set)
	case entry.Ours:
		m = h.deny(ctx, w, r, name)
	default:
		// The name exists, because ours lie below it: what the zone denies is the type only (RFC 8020, RFC 4592 2.2.2).
		return plugin.NextOrFailure(h.Name(), h.Next, ctx, &existing{ResponseWriter: w}, r)
	}
	if m == nil {
		block.failed.Inc()
		return dns.RcodeServerFailure, nil
	}
	block.ok.Inc()
	return dns.RcodeSuccess, w.WriteMsg(m)
}

func (h *Handler) lookup(name string) (zone.Entry, *servedBlock) {
	var entry zone.Entry
	var block *servedBlock
	for i := range h.blocks {
		e, ok := h.blocks[i].table.Lookup(name)
		if ok && (block == nil || rank(e) > rank(entry)) {
			entry, block = e, &h.blocks[i]
		}
	}
	return entry, block
}

// rank orders what a name is in several directives: an owner of one may have another's owner below it.
func rank(e zone.Entry) int {
	switch {
	case e.Owner:
		return 2
	case e.Ours:
		return 1
	}
	return 0
}

// answer gives the whole RRset, a denial where there is known to be none, or nil, which is SERVFAIL, where nothing is known.
func (h *Handler) answer(ctx context.Context, w dns.ResponseWriter, r *dns.Msg, name string, set *zone.Set) *dns.Msg {
	if set.Unknown {
		return nil
	}
	if set.Len() == 0 {
		return h.deny(ctx, w, r, name)
	}
	return set.Reply(r, name)
}

// deny gives NODATA with exactly one SOA: *dnssec* signs no other denial. Without an SOA it gives nil: SERVFAIL, not a denial.
func (h *Handler) deny(ctx context.Context, w dns.ResponseWriter, r *dns.Msg, name string) *dns.Msg {
	soa := denial.SOA(ctx, h.Next, w, name)
	if soa == nil {
		return nil
	}
	m := new(dns.Msg)
	m.SetReply(r)
	m.Authoritative = true
	m.Ns = []dns.RR{soa}
	return m
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
		nodata.Ns[i] = denial.Negative(rr)
	}
	return e.ResponseWriter.WriteMsg(&nodata)
}

// CacheBypassZones implements cache.ZoneBypasser. *cache* asks before our own start, so the names are there from setup on.
func (h *Handler) CacheBypassZones() []string { return h.bypass() }

// Ready implements ready.Readiness: every owner can be answered with something better than SERVFAIL.
func (h *Handler) Ready() bool {
	return !slices.ContainsFunc(h.blocks, func(b servedBlock) bool { return !b.known() })
}

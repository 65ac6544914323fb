package tlsa

import (
	"context"
	"slices"
	"strings"
	"time"

	"github.com/coredns/coredns/plugin/pkg/response"

	"github.com/coredns-tlsa/coredns-tlsa/plugin/tlsa/denial"
	"github.com/coredns-tlsa/coredns-tlsa/plugin/tlsa/zone"

	"github.com/miekg/dns"
)

// nobody begins a name that is in no zone, so that only a wildcard answers for it.
const nobody = "_no-such-name-in-this-zone."

// covered finds what a name that is no owner is by a wildcard SAN: entry and block if it is nothing more than they say. Nothing
// is remembered of a query, whatever its name.
func (h *Handler) covered(
	ctx context.Context, w dns.ResponseWriter, name string, entry zone.Entry, block *servedBlock,
) (zone.Entry, *servedBlock) {
	for i := range h.blocks {
		b := &h.blocks[i]
		if b.wild == nil {
			continue
		}
		m, ok := b.wild.Lookup(name)
		if ok && rank(m.Entry) > rank(entry) && h.serves(ctx, w, name, m.Host, m.Written) {
			return m.Entry, b
		}
		if owner, ours := b.wild.Unsure(name); ours && rank(entry) == 0 {
			return zone.Entry{Owner: owner, Ours: true, Set: &zone.Set{Unknown: true}}, b
		}
	}
	return entry, block
}

// serves tells whether host exists, and name, which lies below it, is not for the next plugin: below a cut or a DNAME, or with
// TLSA records of its own.
func (h *Handler) serves(ctx context.Context, w dns.ResponseWriter, name, host string, written bool) bool {
	if !written && !h.exists(ctx, w, host) {
		return false
	}
	m := denial.Ask(ctx, h.Next, w, name, dns.TypeTLSA, false)
	return m != nil && !elsewhere(m) && !slices.ContainsFunc(m.Answer, func(rr dns.RR) bool {
		return rr.Header().Rrtype == dns.TypeTLSA && strings.EqualFold(rr.Header().Name, name)
	})
}

// exists tells whether the next plugin has host by itself. What it has for every name beside host, by a wildcard, proves
// nothing: a client could make up any number of such hosts.
func (h *Handler) exists(ctx context.Context, w dns.ResponseWriter, host string) bool {
	_, parent, _ := strings.Cut(host, ".")
	for _, qtype := range []uint16{dns.TypeA, dns.TypeAAAA} {
		m := denial.Ask(ctx, h.Next, w, host, qtype, false)
		if m == nil || nxdomain(m) || elsewhere(m) {
			return false
		}
		beside := denial.Ask(ctx, h.Next, w, nobody+parent, qtype, false)
		switch {
		case beside == nil:
			return false
		case nxdomain(beside), !slices.Equal(contents(m, host), contents(beside, nobody+parent)):
			return true
		}
	}
	return false
}

func nxdomain(m *dns.Msg) bool { return m.Rcode == dns.RcodeNameError && len(m.Answer) == 0 }

// elsewhere tells whether the answer leads into another zone, by a cut or a DNAME.
func elsewhere(m *dns.Msg) bool {
	kind, _ := response.Typify(m, time.Now())
	return kind == response.Delegation ||
		slices.ContainsFunc(m.Answer, func(rr dns.RR) bool { return rr.Header().Rrtype == dns.TypeDNAME })
}

// contents are the records of an answer, whatever their TTL and order, with the name that was asked for left out.
func contents(m *dns.Msg, name string) []string {
	var all []string
	for _, rr := range m.Answer {
		rr = dns.Copy(rr)
		rr.Header().Ttl = 0
		if strings.EqualFold(rr.Header().Name, name) {
			rr.Header().Name = "."
		}
		all = append(all, rr.String())
	}
	slices.Sort(all)
	return all
}

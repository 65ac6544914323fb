package tlsa

import (
	"context"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"time"

	"github.com/coredns/coredns/plugin"
	"github.com/coredns/coredns/plugin/rewrite"
	"github.com/coredns/coredns/request"

	"github.com/coredns-tlsa/coredns-tlsa/plugin/tlsa/denial"
	"github.com/coredns-tlsa/coredns-tlsa/plugin/tlsa/zone"

	"github.com/miekg/dns"
)

// rewritten says what the rules of *rewrite* do to a TLSA query for owner or to its records; empty for nothing.
func rewritten(rules []rewrite.Rule, owner string, ttl uint32) string {
	q := new(dns.Msg)
	q.SetQuestion(owner, dns.TypeTLSA)
	asked := q.Question[0]
	rr := &dns.TLSA{Hdr: dns.RR_Header{Name: owner, Rrtype: dns.TypeTLSA, Class: dns.ClassINET, Ttl: ttl}}
	before := rr.String()
	for _, rule := range rules {
		response, result := rule.Rewrite(context.Background(), request.Request{W: local{}, Req: q})
		if result != rewrite.RewriteDone {
			continue
		}
		if now := q.Question[0]; now != asked {
			return fmt.Sprintf("makes a query for %s %s of it", now.Name, dns.TypeToString[now.Qtype])
		}
		for _, r := range response {
			r.RewriteResponse(new(dns.Msg), rr)
		}
		if rr.Hdr.Ttl != ttl {
			return fmt.Sprintf("makes the TTL %s of %s", time.Duration(rr.Hdr.Ttl)*time.Second, time.Duration(ttl)*time.Second)
		}
		if rr.String() != before {
			return "changes its records"
		}
		if rule.Mode() == rewrite.Stop {
			break
		}
	}
	return ""
}

// servesStale tells whether *cache* was given serve_stale. It does not say so itself.
func servesStale(cache plugin.Handler) bool {
	v := reflect.Indirect(reflect.ValueOf(cache))
	if v.Kind() != reflect.Struct {
		return false
	}
	d := v.FieldByName("staleUpTo")
	return d.IsValid() && d.CanInt() && d.Int() > 0
}

// mostRehearsals bounds how many names are asked for at start: each leaves a line in the log of *log*.
const mostRehearsals = 16

// rehearse asks the whole server block for one name of each zone once it serves, and warns where the answer is not ours: some
// plugin in front takes it, changes it or leaves it unsigned.
func (i *instance) rehearse(c *chain, h *Handler) {
	i.rehearsals = append(i.rehearsals, func() {
		asked := 0
		for _, b := range h.blocks {
			for _, name := range b.samples() {
				if asked++; asked > mostRehearsals {
					return
				}
				if fault := c.fault(b.table, name); fault != "" {
					log.Warningf("%s: %s", name, fault)
				}
			}
		}
	})
}

// samples gives an owner with records for each zone of the block.
func (b servedBlock) samples() []string {
	var samples []string
	zones := map[string]bool{}
	for _, o := range b.block.Owners {
		zone := plugin.Zones(b.block.Zones).Matches(o.Name)
		if e, ok := b.table.Lookup(o.Name); ok && e.Owner && e.Set.Len() > 0 && !zones[zone] {
			zones[zone] = true
			samples = append(samples, o.Name)
		}
	}
	return samples
}

// fault says what is wrong with the server block's answer for an owner; empty if nothing is, or if a plugin refuses to
// answer this process.
func (c *chain) fault(table *zone.Table, owner string) (fault string) {
	defer func() {
		if r := recover(); r != nil { // a plugin in front that expects a client
			fault = ""
		}
	}()
	e, ok := table.Lookup(owner)
	if !ok {
		return ""
	}
	m := denial.Ask(context.Background(), c.head, local{}, owner, dns.TypeTLSA, true)
	if now, ok := table.Lookup(owner); m == nil || !ok || now.Set != e.Set {
		return ""
	}
	var got, want []string
	signed := false
	for _, rr := range m.Answer {
		switch rr := rr.(type) {
		case *dns.TLSA:
			got = append(got, rr.String())
		case *dns.RRSIG:
			signed = signed || rr.TypeCovered == dns.TypeTLSA
		}
	}
	for _, rr := range e.Set.RRs(owner) {
		want = append(want, rr.String())
	}
	slices.Sort(got)
	slices.Sort(want)
	switch {
	case !slices.Equal(got, want):
		return fmt.Sprintf("a plugin in front of tlsa answers in its place or changes the answer, so clients do not get what tlsa counts by: "+
			"got %q, want %q; leave the name out of that plugin's rules", strings.Join(got, ", "), strings.Join(want, ", "))
	case c.signed && !signed:
		return "dnssec does not sign it, so clients ignore it: give dnssec the zone"
	}
	return ""
}

package probe

import (
	"cmp"
	"context"
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"github.com/miekg/dns"

	"github.com/coredns-tlsa/coredns-tlsa/cmd/tlsactl/internal/starttls"
	"github.com/coredns-tlsa/coredns-tlsa/plugin/tlsa/dane"
)

// How much of a target is looked at.
const (
	maxHosts     = 20
	maxAddresses = 16
)

// place is one host and port to connect to, with all that DNS says about it.
type place struct {
	Host
	protocol  starttls.Protocol
	domain    string // of the service, for XMPP
	smtp      bool
	addresses []netip.Addr
}

func (p *place) add(outcome Outcome, f Finding) {
	p.Outcome = worst(p.Outcome, outcome)
	p.Findings = append(p.Findings, f)
}

func text(name string) string {
	if name == "." {
		return name
	}
	return strings.TrimSuffix(name, ".")
}

// hop is one host that MX or SRV records name.
type hop struct {
	name       string // fully qualified
	port       uint16
	preference uint16
}

// find asks for the hosts of a target and for their addresses and records. What it says of the whole target goes into r.
func (c *checker) find(ctx context.Context, t Target, r *Report) []*place {
	fqdn := dns.Fqdn(t.Name)
	switch {
	case t.Service != "":
		return c.findSRV(ctx, t, r)
	case t.MX:
		return c.findMX(ctx, t, r)
	default:
		return []*place{c.locate(ctx, t, hop{name: fqdn, port: t.Port}, nil)}
	}
}

// findMX is RFC 7672 2.2.1: MX records of a secure zone, else the domain itself (RFC 5321 5.1).
func (c *checker) findMX(ctx context.Context, t Target, r *Report) []*place {
	fqdn := dns.Fqdn(t.Name)
	a := c.Resolver.Lookup(ctx, fqdn, dns.TypeMX)
	var hops []hop
	for _, rr := range a.Records {
		if mx, ok := rr.(*dns.MX); ok {
			hops = append(hops, hop{dns.CanonicalName(mx.Mx), t.Port, mx.Preference})
		}
	}
	switch {
	case a.Status < Insecure:
		r.add(lookupFault(a, "MX", t.Name))
		return nil
	case !a.Exists:
		r.add(Unreachable, fault("", "RFC 5321 5.1", "there is no domain %s", t.Name))
		return nil
	case len(hops) == 0:
		r.note("RFC 5321 5.1", "%s has no MX record, so the domain itself is its mail host", t.Name)
		return []*place{c.locate(ctx, t, hop{name: fqdn, port: t.Port}, nil)}
	case len(hops) == 1 && hops[0].name == ".":
		r.add(Unreachable, fault("", "RFC 7505 3", "%s says by a null MX that it takes no mail: there is nothing to check", t.Name))
		return nil
	case a.Status == Insecure:
		r.add(NotSecure, fault("", "RFC 7672 2.2.1", "the MX records of %s are not signed, so DANE does not apply to mail for it: "+
			"sign the zone and put its DS into the parent; the hosts alone are checked with HOST:25", t.Name))
		return nil
	}
	names := []string{t.Name}
	if a.Aliased {
		names = append(names, text(a.Name))
	}
	return c.locateAll(ctx, t, r, hops, names)
}

// findSRV is RFC 7673 3.
func (c *checker) findSRV(ctx context.Context, t Target, r *Report) []*place {
	a := c.Resolver.Lookup(ctx, dns.Fqdn(t.String()), dns.TypeSRV)
	var hops []hop
	for _, rr := range a.Records {
		if srv, ok := rr.(*dns.SRV); ok {
			hops = append(hops, hop{dns.CanonicalName(srv.Target), srv.Port, srv.Priority})
		}
	}
	switch {
	case a.Status < Insecure:
		r.add(lookupFault(a, "SRV", t.String()))
		return nil
	case len(hops) == 0 || len(hops) == 1 && hops[0].name == ".":
		r.add(Unreachable, fault("", "RFC 2782", "there is no service %s: there is nothing to check", t))
		return nil
	case a.Status == Insecure:
		r.add(NotSecure, fault("", "RFC 7673 3.1", "the SRV records %s are not signed, so DANE does not apply: "+
			"sign the zone and put its DS into the parent; the hosts alone are checked with HOST:PORT", t))
		return nil
	}
	return c.locateAll(ctx, t, r, hops, []string{t.Name})
}

// locateAll looks at each host in the order of preference.
func (c *checker) locateAll(ctx context.Context, t Target, r *Report, hops []hop, names []string) []*place {
	slices.SortFunc(hops, func(a, b hop) int {
		return cmp.Or(cmp.Compare(a.preference, b.preference), cmp.Compare(a.name, b.name), cmp.Compare(a.port, b.port))
	})
	hops = slices.Compact(hops)
	if len(hops) > maxHosts {
		r.add(Unreachable, fault("", "", "%d hosts: only the first %d are checked", len(hops), maxHosts))
		hops = hops[:maxHosts]
	}
	var places []*place
	for _, h := range hops {
		p := c.locate(ctx, t, h, names)
		p.Preference = &h.preference
		places = append(places, p)
	}
	return places
}

// locate asks for the addresses and the records of one host (RFC 7672 2.2.2, RFC 7671 7). names are further ones that its
// certificate may carry.
func (c *checker) locate(ctx context.Context, t Target, h hop, names []string) *place {
	p := &place{protocol: t.Protocol, domain: t.Name, smtp: t.smtp()}
	p.Name, p.Port, p.Protocol = text(h.name), h.port, string(t.Protocol)
	a, aaaa := c.Resolver.Lookup(ctx, h.name, dns.TypeA), c.Resolver.Lookup(ctx, h.name, dns.TypeAAAA)
	for _, x := range []struct {
		Answer
		kind string
	}{{a, "A"}, {aaaa, "AAAA"}} {
		if x.Status < Insecure {
			p.add(lookupFault(x.Answer, x.kind, p.Name))
		}
	}
	if p.Outcome != "" {
		return p
	}
	p.addresses = addresses(a, aaaa)
	switch n := len(p.addresses); {
	case n == 0:
		p.add(Unreachable, fault("", "", "%s has no address", p.Name))
		return p
	case n > maxAddresses:
		p.add(Unreachable, fault("", "", "%d addresses: only the first %d are checked", n, maxAddresses))
		p.addresses = p.addresses[:maxAddresses]
	}
	c.records(ctx, p, c.bases(ctx, h.name, a, aaaa))
	for _, name := range append([]string{p.Base, p.Name}, names...) {
		if name != "" && !slices.Contains(p.Names, name) {
			p.Names = append(p.Names, name)
		}
	}
	return p
}

func addresses(answers ...Answer) []netip.Addr {
	var all []netip.Addr
	for _, a := range answers {
		for _, rr := range a.Records {
			switch rr := rr.(type) {
			case *dns.A:
				if ip, ok := netip.AddrFromSlice(rr.A.To4()); ok {
					all = append(all, ip)
				}
			case *dns.AAAA:
				if ip, ok := netip.AddrFromSlice(rr.AAAA); ok {
					all = append(all, ip)
				}
			}
		}
	}
	slices.SortFunc(all, netip.Addr.Compare)
	return slices.Compact(all)
}

// bases gives the candidates for the TLSA base domain: the name after aliases if every step to the addresses is secure, then
// the name itself if at least its own record, address or alias, is (RFC 7672 2.2.2).
func (c *checker) bases(ctx context.Context, name string, a, aaaa Answer) []string {
	secure, expanded := true, name
	for _, x := range []Answer{a, aaaa} {
		if len(x.Records) > 0 {
			secure = secure && x.Status == Secure
			expanded = x.Name
		}
	}
	switch {
	case secure && expanded == name:
		return []string{name}
	case secure:
		return []string{expanded, name}
	case expanded == name:
		return nil
	}
	if alias := c.Resolver.Lookup(ctx, name, dns.TypeCNAME); alias.Status == Secure {
		return []string{name}
	}
	return nil
}

// records asks for the TLSA records of the first candidate that has any.
func (c *checker) records(ctx context.Context, p *place, candidates []string) {
	if len(candidates) == 0 {
		p.add(NotSecure, fault("", "RFC 7672 2.2.2", "the addresses of %s are not signed, so DANE does not apply: sign the zone and put its DS into the parent", p.Name))
		return
	}
	var unsigned, absent []string
	for _, base := range candidates {
		owner := fmt.Sprintf("_%d._tcp.%s", p.Port, base)
		a := c.Resolver.Lookup(ctx, owner, dns.TypeTLSA)
		switch {
		case a.Status < Insecure:
			p.add(lookupFault(a, "TLSA", text(owner)))
			return
		case a.Status == Insecure && len(a.Records) > 0:
			unsigned = append(unsigned, text(owner))
		case a.Status == Secure && len(a.Records) > 0:
			p.Base, p.Owner = text(base), text(owner)
			c.sift(p, a)
			return
		default:
			absent = append(absent, text(owner))
		}
	}
	if len(unsigned) > 0 {
		p.add(NotSecure, fault("", "RFC 7671 2", "the records at %s are not signed, so no client uses them: sign the zone and put its DS into the parent",
			strings.Join(unsigned, " and ")))
		return
	}
	p.add(Mismatch, fault(daneRequired, "RFC 7672 2.2", "there is no TLSA record at %s, so clients do not use DANE: publish one", strings.Join(absent, " or ")))
}

// sift takes the records of an answer as of the moment that is asked about.
func (c *checker) sift(p *place, a Answer) {
	p.Records = sift(a.Records, p.smtp, func(x dane.Association) bool {
		return c.Forecast != nil && c.Forecast.Withdrawn(a.Name, x, c.At)
	})
	if a.Aliased {
		p.note("RFC 7671 7", "the records are at %s, an alias", text(a.Name))
	}
	if !a.Expires.IsZero() && c.At.After(a.Expires) {
		p.note("RFC 4034 3.1.5", "the signatures seen now end at %s: the zone must have been signed again by then", a.Expires.Format(timeForm))
	}
}

// lookupFault says what a lookup without an answer means: clients that use DANE wait for one (RFC 7672 2.1.2).
func lookupFault(a Answer, kind, name string) (Outcome, Finding) {
	const rfc = "RFC 7672 2.1.2"
	switch a.Status {
	case NoReply:
		return Unreachable, fault("", rfc, "no reply for %s %s: %s; name another resolver with --resolver", name, kind, a.Reason)
	case Bogus:
		return Mismatch, fault(dnssecInvalid, rfc, "the signatures over %s %s are wrong (%s), so mail waits and clients do not connect: repair the zone's signing or its DS", name, kind, a.Reason)
	default:
		return Mismatch, fault(dnssecInvalid, rfc, "the lookup of %s %s fails (%s), so mail waits and clients do not connect: see that every server of the zone answers this type, "+
			"also by denial", name, kind, a.Reason)
	}
}

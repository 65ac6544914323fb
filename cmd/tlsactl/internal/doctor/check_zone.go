package doctor

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/miekg/dns"
)

// checkZones looks at the zone files themselves.
func (f *facts) checkZones() (found []Finding) {
	for _, s := range f.servers {
		for _, origin := range slices.Sorted(maps.Keys(s.zoned)) {
			z := s.zoned[origin]
			bad := func(code string, severity Severity, what, why, fix string) {
				found = append(found, Finding{Code: code, Severity: severity, Place: z.path, What: what, Why: why, Fix: fix})
			}
			switch {
			case z.err != nil:
				bad("zone-file", Error, "the zone file cannot be read: "+cause(z.err),
					"denials need its SOA, and without it answers for names of "+origin+" fail", "mend the file, or the line "+z.place)
				continue
			case z.soa == nil:
				bad("zone-file", Error,
					"the zone file has no SOA for "+origin, "denials need it, and without it they fail", "add the SOA, or mend the line "+z.place)
				continue
			case z.signed:
				bad("zone-signed", Error, origin+" is signed in its file already",
					"records added to a signed zone would be bogus, so tlsa does not answer there", "serve the unsigned file, and let dnssec sign")
			}
			if kept := time.Duration(max(z.soa.Hdr.Ttl, z.soa.Minttl)) * time.Second; kept > time.Hour {
				bad("negative-ttl", Warning,
					fmt.Sprintf("denials of %s are kept for %s (the larger of the SOA's TTL and MINIMUM)", origin, rough(kept)),
					"resolvers that asked before the first TLSA record do without DANE for that long, and so they do after a mistake",
					"write 3600 or less as TTL of the SOA and as MINIMUM, and raise the serial")
			}
			if f.User != nil {
				if b := f.User.stops(z.path, toRead); b != nil {
					bad("user-unreadable", Error,
						fmt.Sprintf("%s cannot read the zone file: %s", f.User.Name, b), "the server has no zone", "let that user read it")
				}
			}
		}
	}
	return found
}

// checkNames compares the owners with the data of their zone.
func (f *facts) checkNames() (found []Finding) {
	for _, b := range f.blocks {
		for _, n := range b.names {
			z, origin := b.fileOf(n.Name)
			if z == nil || z.partial || n.pattern() || strings.HasPrefix(n.Host, "*.") {
				continue
			}
			found = append(found, b.checkName(n, z, origin)...)
		}
	}
	return found
}

func (b *block) checkName(n name, z *zone, origin string) (found []Finding) {
	bad := func(code string, severity Severity, what, why, fix string) {
		found = append(found, Finding{Code: code, Severity: severity, Place: n.place, What: what, Why: why, Fix: fix})
	}
	if at, what := z.cutAbove(origin, n.Name); at != "" {
		if n.Pattern == "" { // a certificate may well name hosts of another zone
			bad("below-cut", Error, fmt.Sprintf("%s lies below %s, where %s has %s", n.Name, at, z.path, what),
				"the name belongs to another zone, so it is not served here", "publish it where "+at+" is served, or delete it from the line")
		}
		return found
	}
	if z.at(n.Name, dns.TypeTLSA) != nil {
		bad("zone-record", Warning,
			"the zone file has TLSA records at "+n.Name, "they are published with those of the certificates, and nobody renews them",
			"delete them from "+z.path+" and raise the serial")
	}
	if hidden := z.hidden(n.Name); hidden != "" {
		bad("zone-hidden", Warning,
			hidden+" of the zone file is hidden by "+n.Name, "names below _ belong to tlsa, so nobody sees the record any more",
			"delete it from "+z.path+", or the owner from the line")
	}
	if strings.Contains("."+n.Host, "._") {
		return found // under _dane there are no hosts
	}
	service := strings.TrimSuffix(n.Name, n.Host)
	if alias, ok := z.at(n.Host, dns.TypeCNAME).(*dns.CNAME); ok {
		target := strings.ToLower(alias.Target)
		if !slices.ContainsFunc(b.names, func(o name) bool { return o.Name == service+target }) {
			bad("host-alias", Warning,
				fmt.Sprintf("%s is an alias of %s", n.Host, target), "clients look for TLSA records at the target first (RFC 7671 7)",
				"name "+service+target+", or let the server of that zone publish it")
		}
		return found
	}
	if elsewhere := z.mailElsewhere(n.Name, n.Host); elsewhere != "" {
		bad("mail-domain", Warning, fmt.Sprintf("mail for %s goes to %s, and not to itself", n.Host, elsewhere),
			"clients look for TLSA records at the host of the MX (RFC 7672 2.2.1), and never at "+n.Name, "name _25._tcp."+elsewhere)
		return found
	}
	if !z.exists(origin, n.Host) {
		bad("host-missing", Warning,
			"the zone file has no address for "+n.Host, "nobody connects to a host without an address, so its TLSA records serve nobody",
			"correct the owner, or add the host to "+z.path)
	}
	return found
}

// hidden names a record of the zone at the owner or one of its underscore ancestors, of another type than TLSA.
func (z *zone) hidden(owner string) string {
	for name := owner; strings.HasPrefix(name, "_"); _, name, _ = strings.Cut(name, ".") {
		for _, rr := range z.records[name] {
			if t := rr.Header().Rrtype; t != dns.TypeTLSA {
				return "the " + dns.TypeToString[t] + " record at " + name
			}
		}
	}
	return ""
}

// mailElsewhere gives the host of the best MX of a mail domain whose mail another host takes; empty if this is not so.
func (z *zone) mailElsewhere(owner, host string) string {
	if !strings.HasPrefix(owner, "_25._tcp.") {
		return ""
	}
	best, to := uint16(0), ""
	for _, rr := range z.records[host] {
		if mx, ok := rr.(*dns.MX); ok {
			if strings.EqualFold(mx.Mx, host) {
				return ""
			}
			if to == "" || mx.Preference < best {
				best, to = mx.Preference, strings.ToLower(mx.Mx)
			}
		}
	}
	return to
}

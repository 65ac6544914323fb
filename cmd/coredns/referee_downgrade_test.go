//go:build referee

package main

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/miekg/dns"
)

// tampering is what an attacker between a resolver and the server does to the answers for TLSA at one host.
type tampering struct {
	host string
	do   func(r *dns.Msg)
	// stock are the resolvers, of both, that take it for insecure when *dnssec* alone makes the denials.
	stock string
}

const both = "unbound named"

// tamperings are those of an attacker who may ask the server too, by overheard.
func tamperings(overheard func(name string, qtype uint16) *dns.Msg) map[string]tampering {
	// renamed puts the records that are not the SOA's under another name.
	renamed := func(rrs []dns.RR, name string) []dns.RR {
		for _, rr := range rrs {
			if rr.Header().Name != "example.org." {
				rr.Header().Name = name
			}
		}
		return rrs
	}
	soa := func() dns.RR {
		rr, _ := dns.NewRR("example.org. 60 IN SOA ns.example.org. hostmaster.example.org. 1 7200 3600 1209600 60")
		return rr
	}
	unsigned := func(rrs []dns.RR) []dns.RR {
		return slices.DeleteFunc(rrs, func(rr dns.RR) bool { return rr.Header().Rrtype == dns.TypeRRSIG })
	}
	strip := func(r *dns.Msg) { r.Answer, r.Ns = unsigned(r.Answer), unsigned(r.Ns) }
	forge := func(r *dns.Msg) {
		for i, rr := range r.Answer {
			if rr, ok := rr.(*dns.TLSA); ok {
				forged := *rr
				forged.Certificate = strings.Repeat("66", 32)
				r.Answer[i] = &forged
			}
		}
	}
	refer := func(r *dns.Msg) {
		host := r.Question[0].Name[len("_25._tcp."):]
		ns, _ := dns.NewRR(host + " 60 IN NS ns." + host)
		a, _ := dns.NewRR("ns." + host + " 60 IN A 127.0.0.9")
		r.Ns, r.Extra, r.Authoritative = []dns.RR{ns}, append(r.Extra, a), false
	}
	empty := func(r *dns.Msg) { r.Answer, r.Ns = nil, nil }
	return map[string]tampering{
		"nothing":                    {"honest", func(*dns.Msg) {}, ""},
		"no signatures":              {"stripped", strip, both},
		"forged, signatures kept":    {"kept", forge, ""},
		"forged, without signatures": {"forged", func(r *dns.Msg) { forge(r); strip(r) }, both},
		"emptied, with an SOA":       {"emptied", func(r *dns.Msg) { empty(r); r.Ns = []dns.RR{soa()} }, both},
		"emptied, without an SOA":    {"nothing", empty, both},
		"NXDOMAIN":                   {"nxdomain", func(r *dns.Msg) { empty(r); r.Ns, r.Rcode = []dns.RR{soa()}, dns.RcodeNameError }, both},
		"NXDOMAIN, nothing else":     {"nxnothing", func(r *dns.Msg) { empty(r); r.Rcode = dns.RcodeNameError }, both},
		"forged, with a referral":    {"hinted", func(r *dns.Msg) { forge(r); strip(r); refer(r) }, both},
		"a referral":                 {"referred", func(r *dns.Msg) { r.Answer = nil; refer(r) }, ""},
		"the denial of another type": {"replayed", func(r *dns.Msg) { empty(r); r.Ns = overheard(r.Question[0].Name, dns.TypeA).Ns }, "named"},
		"the denial of DS":           {"replayedds", func(r *dns.Msg) { empty(r); r.Ns = overheard(r.Question[0].Name, dns.TypeDS).Ns }, both},
		"the denial of a name below": {"below", func(r *dns.Msg) { empty(r); r.Ns = overheard("x."+r.Question[0].Name, dns.TypeTLSA).Ns }, "named"},
		// A signature over a name with an asterisk is one over any name in its place (RFC 4035 5.3.2).
		"the denial of a wildcard in its place": {"wildcard", func(r *dns.Msg) {
			empty(r)
			r.Ns = renamed(overheard("*"+r.Question[0].Name[len("_25"):], dns.TypeTLSA).Ns, r.Question[0].Name)
		}, "named"},
		"the denial of a wildcard above it": {"wildabove", func(r *dns.Msg) {
			empty(r)
			r.Ns = renamed(overheard("*.example.org.", dns.TypeTLSA).Ns, r.Question[0].Name[len("_25._tcp."):])
		}, "named"},
		"the records of another host": {"moved", func(r *dns.Msg) {
			empty(r)
			r.Answer = renamed(overheard("_25._tcp.honest.example.org.", dns.TypeTLSA).Answer, r.Question[0].Name)
		}, ""},
		"an alias that leads astray": {"alias", func(r *dns.Msg) {
			cname, _ := dns.NewRR(r.Question[0].Name + " 60 IN CNAME _25._tcp.honest.example.org.")
			empty(r)
			r.Answer = []dns.RR{cname}
		}, both},
	}
}

// astray keeps Unbound from looking long for the server of a forged referral.
const astray = "    do-not-query-address: 127.0.0.9\n"

// between stands between a resolver and the server on UDP and TCP; it gives its port.
func between(t *testing.T, s *server) string {
	t.Helper()
	at := map[string]tampering{}
	overheard := func(name string, qtype uint16) *dns.Msg {
		r, err := lookup("127.0.0.1:"+s.port, name, qtype)
		if err != nil {
			return new(dns.Msg)
		}
		return r
	}
	for _, v := range tamperings(overheard) {
		at["_25._tcp."+v.host+".example.org."] = v
	}
	port := freePort(t)
	for _, network := range []string{"udp", "tcp"} {
		ready := make(chan struct{})
		proxy := &dns.Server{Addr: "127.0.0.1:" + port, Net: network, NotifyStartedFunc: func() { close(ready) },
			Handler: dns.HandlerFunc(func(w dns.ResponseWriter, q *dns.Msg) {
				r, err := exchange(dns.Client{Net: network}, q, "127.0.0.1:"+s.port)
				if err != nil {
					return // as a lost datagram
				}
				if v, ok := at[strings.ToLower(q.Question[0].Name)]; ok && q.Question[0].Qtype == dns.TypeTLSA {
					v.do(r)
				}
				_ = w.WriteMsg(r)
			})}
		go func() { _ = proxy.ListenAndServe() }()
		<-ready
		t.Cleanup(func() { _ = proxy.Shutdown() })
	}
	return port
}

// attacked is a site with a host for each tampering. Their TLSA records come from withNames; for any other directive, and for
// none, they stand in the zone.
func attacked(t *testing.T, directive string) *server {
	t.Helper()
	zone, names := zoneFile, ""
	for _, v := range tamperings(nil) {
		zone += v.host + " IN A 127.0.0.1\n"
		names += " _25._tcp." + v.host
		if directive != withNames {
			zone += fmt.Sprintf("_25._tcp.%s IN TLSA 3 1 1 %s\n", v.host, anyDigest)
		}
	}
	s, _ := signedSite(t, zone, "example.org:PORT {\n    BLOCK\n    "+strings.Replace(directive, "NAMES", names, 1)+"\n}\n")
	return s.up()
}

// withNames is tlsa with owners, for which NAMES stands.
const withNames = "tlsa {\n        certs live\n        name NAMES from mail\n        ledger ledger\n    }"

// directives are the ways to have guarded denials: with owners, or for the zone's own TLSA records.
func directives() map[string]string {
	return map[string]string{"with names": withNames, "bare": "tlsa"}
}

func TestForgedAnswersAreRefusedByEveryValidator(t *testing.T) {
	for what, directive := range directives() {
		t.Run(what, func(t *testing.T) {
			t.Parallel()
			refusesForgedAnswers(t, attacked(t, directive))
		})
	}
}

func refusesForgedAnswers(t *testing.T, s *server) {
	t.Helper()
	through := s.upstream()
	through.port = between(t, s)
	for name, resolver := range map[string]string{
		"unbound": unboundAt(t, astray, through),
		"named":   namedAt(t, through),
		"kresd":   kresdAt(t, through),
	} {
		for what, v := range tamperings(nil) {
			t.Run(name+", "+what, func(t *testing.T) {
				t.Parallel()
				r, err := lookup(resolver, "_25._tcp."+v.host+".example.org.", dns.TypeTLSA)
				switch {
				case err != nil:
					t.Error(err)
				case v.host == "honest":
					if r.Rcode != dns.RcodeSuccess || !r.AuthenticatedData || len(r.Answer) != 2 {
						t.Errorf("the honest answer: %v", r)
					}
				case r.Rcode != dns.RcodeServerFailure:
					t.Errorf("not SERVFAIL: %v", r)
				}
			})
		}
	}
}

// TestForgedAnswersPassWithoutUs shows that the attack of TestForgedAnswersAreRefusedByEveryValidator is one.
func TestForgedAnswersPassWithoutUs(t *testing.T) {
	t.Parallel()
	s := attacked(t, "")
	through := s.upstream()
	through.port = between(t, s)
	for name, resolver := range map[string]string{"unbound": unboundAt(t, astray, through), "named": namedAt(t, through)} {
		for what, v := range tamperings(nil) {
			t.Run(name+", "+what, func(t *testing.T) {
				t.Parallel()
				r, err := lookup(resolver, "_25._tcp."+v.host+".example.org.", dns.TypeTLSA)
				if err != nil {
					t.Fatal(err)
				}
				if passes := r.Rcode != dns.RcodeServerFailure && !r.AuthenticatedData; passes != strings.Contains(v.stock, name) {
					t.Errorf("passes for insecure: %v: %v", passes, r)
				}
			})
		}
	}
}

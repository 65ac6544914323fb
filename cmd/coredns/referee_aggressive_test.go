//go:build referee

package main

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/miekg/dns"
)

// data is a record of every type that a name may have besides others.
func data() map[uint16]string {
	return map[uint16]string{
		dns.TypeA:          "127.0.0.1",
		dns.TypeAAAA:       "::1",
		dns.TypeMX:         "10 mail",
		dns.TypeTXT:        `"text"`,
		dns.TypeCAA:        `0 issue "ca.example"`,
		dns.TypeHTTPS:      "1 . alpn=h2",
		dns.TypeSVCB:       "1 . port=853",
		dns.TypeNAPTR:      `10 10 "s" "x-service" "" mail`,
		dns.TypePTR:        "mail",
		dns.TypeSMIMEA:     "3 1 1 " + anyDigest,
		dns.TypeURI:        `10 1 "https://www.example.org/"`,
		dns.TypeSRV:        "0 0 443 mail",
		dns.TypeTLSA:       "3 1 1 " + anyDigest,
		dns.TypeSSHFP:      "4 2 " + anyDigest,
		dns.TypeLOC:        "52 0 0.000 N 13 0 0.000 E 30m 1m 10000m 10m",
		dns.TypeHINFO:      `"a" "b"`,
		dns.TypeRP:         "mail mail",
		dns.TypeCERT:       "1 0 0 AQID",
		dns.TypeOPENPGPKEY: "AQID",
		dns.TypeDHCID:      "AQID",
		dns.TypeEUI48:      "00-00-5e-00-53-2a",
		dns.TypeAFSDB:      "1 mail",
		dns.TypeCSYNC:      "1 0 A",
		dns.TypeKEY:        "512 3 13 AQID",
		22:                 `\# 3 470005`,       // NSAP
		66:                 `\# 6 003B01003500`, // DSYNC
		262:                `\# 2 0141`,         // WALLET
	}
}

func typeName(qtype uint16) string { return dns.Type(qtype).String() }

// deniable are the types of data and some that no name of the zone but its own has.
func deniable() []uint16 {
	return append(slices.Sorted(maps.Keys(data())), dns.TypeDS, dns.TypeNS, dns.TypeSOA, dns.TypeDNSKEY, dns.TypeCDS, dns.TypeCNAME,
		dns.TypeDNAME, dns.TypeNSEC, dns.TypeNSEC3PARAM, 65281)
}

// records are those of data, except one type, at a name.
func records(name string, except uint16) string {
	var b strings.Builder
	for qtype, text := range data() {
		if qtype != except {
			fmt.Fprintf(&b, "%s IN %s %s\n", name, typeName(qtype), text)
		}
	}
	return b.String()
}

// full is a site in which, for each type, the name n.TYPE has every other, and the names above and below it have all. The
// zone itself has all but AAAA, URI and LOC.
func full(t *testing.T, directive string) *server {
	t.Helper()
	var zone, names strings.Builder
	zone.WriteString("$ORIGIN example.org.\n$TTL 300\n@ IN SOA server hostmaster 1 7200 3600 1209600 60\n@ IN NS server\nserver IN A 127.0.0.1\n")
	for _, line := range strings.Split(records("@", 0), "\n") {
		if !slices.ContainsFunc([]string{" AAAA ", " URI ", " LOC "}, func(s string) bool { return strings.Contains(line, s) }) {
			zone.WriteString(line + "\n")
		}
	}
	for _, qtype := range deniable() {
		above := strings.ToLower(typeName(qtype))
		zone.WriteString(records(above, 0) + records("n."+above, qtype) + records("c.n."+above, 0))
		names.WriteString(" _25._tcp.n." + above)
		if directive != withNames {
			zone.WriteString("_25._tcp.n." + above + " IN TLSA 3 1 1 " + anyDigest + "\n")
		}
	}
	s, _ := signedSite(t, zone.String(), "example.org:PORT {\n    BLOCK\n    "+strings.Replace(directive, "NAMES", names.String(), 1)+"\n}\n")
	return s.up()
}

// deny asks for what is not there; the resolver then holds the proof.
func deny(t *testing.T, resolver, name string, qtype uint16) {
	r, err := lookup(resolver, name, qtype)
	switch {
	case err != nil:
		t.Errorf("%s %s: %v", name, typeName(qtype), err)
	case qtype != dns.TypeNSEC && (r.Rcode != dns.RcodeSuccess || !r.AuthenticatedData || len(r.Answer) > 0):
		t.Errorf("%s %s is no signed denial: %v", name, typeName(qtype), r)
	}
}

// lost asks for what is there, and tells why it is not all right.
func lost(resolver, name string, qtype uint16) error {
	r, err := lookup(resolver, name, qtype)
	if err == nil && (r.Rcode != dns.RcodeSuccess || !r.AuthenticatedData || len(r.Answer) != 2) {
		err = fmt.Errorf("%s, secure %v, %d records", dns.RcodeToString[r.Rcode], r.AuthenticatedData, len(r.Answer))
	}
	return err
}

func TestDenialOfOneTypeHidesNoOther(t *testing.T) {
	for what, directive := range directives() {
		t.Run(what, func(t *testing.T) {
			t.Parallel()
			hidesNoOther(t, full(t, directive))
		})
	}
}

func hidesNoOther(t *testing.T, s *server) {
	t.Helper()
	for name, resolver := range map[string]string{
		"unbound": unboundAt(t, "    aggressive-nsec: yes\n", s.upstream()),
		"named":   namedAt(t, s.upstream()),
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			inFlight(len(deniable()), func(i int) {
				denied := deniable()[i]
				above := strings.ToLower(typeName(denied)) + ".example.org."
				host := "n." + above
				owner := "_25._tcp." + host
				// The denials of a name that is not there come first: it may hide nothing beside it or above it.
				deny(t, resolver, "m."+above, denied)
				deny(t, resolver, host, denied)
				deny(t, resolver, "_tcp."+host, denied)
				if denied != dns.TypeTLSA {
					deny(t, resolver, owner, denied)
				}
				for _, qtype := range slices.Sorted(maps.Keys(data())) {
					for _, at := range []string{host, above, "c." + host} {
						if at == host && qtype == denied {
							continue
						}
						if err := lost(resolver, at, qtype); err != nil {
							t.Errorf("after the denial of %s at %s: %s %s: %v", typeName(denied), host, at, typeName(qtype), err)
						}
					}
				}
				if err := lost(resolver, owner, dns.TypeTLSA); err != nil {
					t.Errorf("after the denial of %s: %s TLSA: %v", typeName(denied), owner, err)
				}
			})
		})
	}
}

func TestDenialAtTheZonesOwnNameHidesNothingThere(t *testing.T) {
	t.Parallel()
	s := full(t, withNames)
	var all sync.WaitGroup
	for _, denied := range []uint16{dns.TypeAAAA, dns.TypeURI, dns.TypeLOC} {
		for name, resolver := range map[string]string{
			"unbound": unboundAt(t, "    aggressive-nsec: yes\n", s.upstream()),
			"named":   namedAt(t, s.upstream()),
		} {
			all.Go(func() {
				deny(t, resolver, "example.org.", denied)
				have := append(slices.Sorted(maps.Keys(data())), dns.TypeNS, dns.TypeSOA, dns.TypeDNSKEY)
				for _, qtype := range have {
					if slices.Contains([]uint16{dns.TypeAAAA, dns.TypeURI, dns.TypeLOC}, qtype) {
						continue
					}
					if err := lost(resolver, "example.org.", qtype); err != nil {
						t.Errorf("%s, after the denial of %s: %s: %v", name, typeName(denied), typeName(qtype), err)
					}
				}
				if err := lost(resolver, "_25._tcp.n.a.example.org.", dns.TypeTLSA); err != nil {
					t.Errorf("%s, after the denial of %s: TLSA: %v", name, typeName(denied), err)
				}
			})
		}
	}
	all.Wait()
}

// TestDenialHidesOtherTypesWithoutUs shows that TestDenialOfOneTypeHidesNoOther can fail.
func TestDenialHidesOtherTypesWithoutUs(t *testing.T) {
	t.Parallel()
	s := full(t, "")
	resolver := unboundAt(t, "    aggressive-nsec: yes\n", s.upstream())
	deny(t, resolver, "n.aaaa.example.org.", dns.TypeAAAA)
	for _, qtype := range []uint16{dns.TypeMX, dns.TypeCAA, dns.TypeHTTPS} {
		if err := lost(resolver, "n.aaaa.example.org.", qtype); err == nil {
			t.Errorf("%s is still found", typeName(qtype))
		}
	}
	if err := lost(resolver, "n.aaaa.example.org.", dns.TypeTXT); err != nil {
		t.Errorf("TXT: %v", err)
	}
}

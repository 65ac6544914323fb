package tlsa

import (
	"slices"
	"strings"
	"testing"

	"github.com/coredns-tlsa/coredns-tlsa/plugin/tlsa/dane"

	"github.com/miekg/dns"
)

// nsecOf gives the NSEC of a denial, after a look at its signatures.
func (s *site) nsecOf(name string, qtype uint16) *dns.NSEC {
	s.Helper()
	m := s.ask(name, qtype, true)
	if err := validated(m, s.signer); err != nil {
		s.Fatalf("%s %s: %v", name, dns.TypeToString[qtype], err)
	}
	for _, rr := range m.Ns {
		if n, ok := rr.(*dns.NSEC); ok {
			return n
		}
	}
	s.Fatalf("%s %s is not denied:\n%v", name, dns.TypeToString[qtype], m)
	return nil
}

func TestDenialsCannotBeAbused(t *testing.T) {
	t.Parallel()
	for zone, arrange := range map[string]func(*site){
		"guard1.test.": func(*site) {},
		"guard2.test.": func(s *site) { s.before = "cache\n" + s.before },
		"guard3.test.": func(s *site) { s.before += "transfer {\nto *\n}\n" },
		"guard4.test.": func(s *site) { s.after = "tlsa {\npin _465._tcp.mail 3 1 1 " + digest1 + "\nttl 1s\n}\n" + s.after },
		"guard5.test.": func(s *site) { s.options = "" },
	} {
		t.Run(zone, func(t *testing.T) {
			t.Parallel()
			s := newSite(t, zone)
			key := newKey(t)
			s.write("certs/a/fullchain.pem", s.chain(key))
			arrange(s)
			s.start()
			names := []string{s.host, "ns." + s.zone, "nobody." + s.zone, "_tcp." + s.host, "_26._tcp." + s.host}
			for round := range 2 { // once more, from the caches
				for _, name := range names {
					if n := s.nsecOf(name, dns.TypeDS); slices.Contains(n.TypeBitMap, dns.TypeNS) {
						t.Errorf("%s DS: a validator reads an unsigned delegation: %v", name, n)
					}
				}
				for _, qtype := range []uint16{dns.TypeMX, dns.TypeCAA, dns.TypeHTTPS} {
					if n := s.nsecOf(s.host, dns.TypeTXT); !slices.Contains(n.TypeBitMap, qtype) {
						t.Errorf("%s may exist and is denied: %v", dns.TypeToString[qtype], n)
					}
				}
				n := s.nsecOf("nobody."+s.zone, dns.TypeA)
				kept := round > 0 && strings.HasPrefix(s.before, "cache\n") && n.Hdr.Ttl < 300 // *cache* counts it down
				if !slices.Contains(n.TypeBitMap, dns.TypeNXNAME) || n.Hdr.Ttl != 300 && !kept {
					t.Errorf("not the denial of a name, with the TTL of the SOA's MINIMUM: %v", n)
				}
			}
			if s.options != "" {
				s.expect(record(t, key))
			}
		})
	}
}

func TestAliasOfAnOwnerIsSignedThroughout(t *testing.T) {
	t.Parallel()
	s := newSite(t, "alias.test.")
	key := newKey(t)
	s.write("certs/a/fullchain.pem", s.chain(key))
	s.write("db", text(t, s.path("db"))+"_25._tcp.mx2 IN CNAME _25._tcp.mail\n")
	s.start()
	m := s.ask("_25._tcp.mx2."+s.zone, dns.TypeTLSA, true)
	if err := validated(m, s.signer); err != nil {
		t.Error(err)
	}
	var got []string
	for _, rr := range m.Answer {
		if tlsa, ok := rr.(*dns.TLSA); ok && tlsa.Hdr.Name == s.owner {
			a, err := dane.FromTLSA(tlsa)
			if err != nil {
				t.Error(err)
			}
			got = append(got, a.String())
		}
	}
	if len(got) != 1 || len(m.Answer) != 4 {
		t.Errorf("the alias does not lead to the records:\n%v", m)
	}
}

package tlsa

import (
	"fmt"
	"strings"
	"testing"

	"github.com/coredns-tlsa/coredns-tlsa/plugin/tlsa/publish"

	"github.com/miekg/dns"
)

// authority makes a site's zone self-contained: no plugin stands after tlsa.
func (s *site) authority(line string) {
	s.options += line + "\n"
	s.after = ""
}

func TestZoneOfAuthorityAnswersByItselfAndValidates(t *testing.T) {
	t.Parallel()
	s := newSite(t, "_dane.authority.test.")
	s.options = strings.Replace(s.options, "name _25._tcp.mail\n", "name customer _25._tcp.b.other from mail\nname none from nobody\n", 1)
	s.authority("authority ns1.elsewhere.test. NS2.elsewhere.test. mbox first.last@elsewhere.test")
	s.owner = "customer." + s.zone
	key := newKey(t)
	s.write(place, s.chain(key))
	s.start()
	s.expect(record(t, key))
	if open := s.openProblems(); fmt.Sprint(open) != "[no-certificate no-lineage]" && fmt.Sprint(open) != "[no-lineage no-certificate]" {
		t.Errorf("open are %q", open)
	}
	for _, tc := range []struct {
		name    string
		qtype   uint16
		answers int
		plain   int // the rcode without DO; with DO *dnssec* makes NXDOMAIN NODATA
	}{
		{"", dns.TypeSOA, 1, dns.RcodeSuccess},
		{"", dns.TypeNS, 2, dns.RcodeSuccess},
		{"", dns.TypeA, 0, dns.RcodeSuccess},
		{"", dns.TypeDS, 0, dns.RcodeSuccess},
		{"customer.", dns.TypeTLSA, 1, dns.RcodeSuccess},
		{"CUSTOMER.", dns.TypeTLSA, 1, dns.RcodeSuccess},
		{"customer.", dns.TypeTXT, 0, dns.RcodeSuccess},
		{"customer.", dns.TypeDS, 0, dns.RcodeSuccess},
		{"none.", dns.TypeTLSA, 0, dns.RcodeSuccess},
		{"none.", dns.TypeA, 0, dns.RcodeSuccess},
		{"_25._tcp.b.other.", dns.TypeTLSA, 1, dns.RcodeSuccess},
		{"_25._tcp.b.other.", dns.TypeA, 0, dns.RcodeSuccess},
		{"_tcp.b.other.", dns.TypeTLSA, 0, dns.RcodeSuccess},
		{"b.other.", dns.TypeA, 0, dns.RcodeSuccess},
		{"other.", dns.TypeMX, 0, dns.RcodeSuccess},
		{"nobody.", dns.TypeTLSA, 0, dns.RcodeNameError},
		{"x.customer.", dns.TypeTLSA, 0, dns.RcodeNameError},
		{"_26._tcp.b.other.", dns.TypeTLSA, 0, dns.RcodeNameError},
	} {
		name := tc.name + s.zone
		claim := name + " " + dns.TypeToString[tc.qtype]
		plain, signed := s.ask(name, tc.qtype, false), s.ask(name, tc.qtype, true)
		if plain.Rcode != tc.plain || !plain.Authoritative || len(plain.Answer) != tc.answers {
			t.Errorf("%s:\n%s", claim, plain)
		}
		if signed.Rcode != dns.RcodeSuccess || tc.answers > 0 && len(signed.Answer) != tc.answers+1 {
			t.Errorf("%s with DO:\n%s", claim, signed)
		}
		if err := validated(signed, s.signer); err != nil {
			t.Errorf("%s: %v", claim, err)
		}
		if tc.answers == 0 && (len(plain.Ns) != 1 || plain.Ns[0].Header().Ttl != 300 || plain.Ns[0].Header().Rrtype != dns.TypeSOA) {
			t.Errorf("%s is not denied by the zone's SOA under its MINIMUM:\n%s", claim, plain)
		}
	}
	soa := s.soa()
	if soa.Ns != "ns1.elsewhere.test." || soa.Mbox != `first\.last.elsewhere.test.` || soa.Hdr.Ttl > 3600 {
		t.Errorf("the SOA is %s", soa)
	}
	for _, rr := range s.ask(s.zone, dns.TypeNS, false).Answer {
		if !strings.HasSuffix(rr.(*dns.NS).Ns, ".elsewhere.test.") || rr.Header().Ttl > 3600 {
			t.Errorf("an NS is %s", rr)
		}
	}
	next := newKey(t)
	s.install(place, s.chain(next))
	s.becomes(notice, record(t, key), record(t, next))
	if later := s.soa(); !newer(later.Serial, soa.Serial) {
		t.Errorf("a change left the serial at %d, before it was %d", later.Serial, soa.Serial)
	}
	if r := s.ask("elsewhere.test.", dns.TypeA, false); r.Rcode != dns.RcodeRefused {
		t.Errorf("another zone is\n%s", r)
	}
	if r, err := s.exchange("tcp", s.zone, dns.TypeAXFR, false); err != nil || r.Rcode != dns.RcodeRefused {
		t.Errorf("a transfer without *transfer* is %v\n%s", err, r)
	}
}

// soa gives the zone's SOA.
func (s *site) soa() *dns.SOA {
	s.Helper()
	r := s.ask(s.zone, dns.TypeSOA, false)
	if len(r.Answer) != 1 {
		s.Fatalf("no SOA in\n%s", r)
	}
	return r.Answer[0].(*dns.SOA)
}

func TestZoneThatIsAnOwnerItself(t *testing.T) {
	t.Parallel()
	s := newSite(t, "_25._tcp.mail.whole.test.")
	s.options = strings.Replace(s.options, "name _25._tcp.mail\n", "name @\n", 1)
	s.authority("authority ns.elsewhere.test.")
	s.owner = s.zone
	key := newKey(t)
	s.write(place, s.issuer.chain(t, key, "mail.whole.test"))
	s.start()
	s.expect(record(t, key))
	for qtype, answers := range map[uint16]int{dns.TypeTLSA: 1, dns.TypeSOA: 1, dns.TypeNS: 1, dns.TypeA: 0, dns.TypeDS: 0} {
		r := s.ask(s.zone, qtype, true)
		if err := validated(r, s.signer); err != nil || r.Rcode != dns.RcodeSuccess || answers == 0 != (len(r.Answer) == 0) {
			t.Errorf("%s: %v\n%s", dns.TypeToString[qtype], err, r)
		}
	}
	if mailbox := s.soa().Mbox; mailbox != "hostmaster."+s.zone {
		t.Errorf("the mailbox is %s", mailbox)
	}
}

func TestFallthroughLeadsToTheNextPluginWhereNothingIsOurs(t *testing.T) {
	t.Parallel()
	s := newSite(t, "falls.test.")
	s.write("db", fmt.Sprintf(siteZone, s.zone)+"sub IN NS ns.elsewhere.test.\n_25._tcp.mail IN TXT hidden\nmail.shut IN A 192.0.2.4\n")
	s.options = strings.Replace(s.options, "name _25._tcp.mail\n", "name _25._tcp.mail _25._tcp.x.sub _25._tcp.only from mail\n", 1)
	s.options += "authority ns.elsewhere.test.\nfallthrough mail.falls.test only.falls.test sub.falls.test ns.falls.test\n"
	key := newKey(t)
	s.write(place, s.chain(key))
	s.start()
	s.expect(record(t, key))
	until(t, notice, "what lies below the next plugin's cut is not ours", func() bool { return s.problem(publish.BelowCut) == 1 })
	until(t, notice, "a record of the zone is hidden", func() bool { return s.problem(publish.ZoneHidden) == 1 })
	if s.problem(publish.ZoneMissing) != 0 {
		t.Errorf("open are %q", s.openProblems())
	}
	for _, tc := range []struct {
		name  string
		qtype uint16
		rcode int
		some  bool
	}{
		{"ns.", dns.TypeA, dns.RcodeSuccess, true},
		{"ns.", dns.TypeMX, dns.RcodeSuccess, false},
		{"mail.", dns.TypeA, dns.RcodeSuccess, true}, // a certificate takes nothing away from its host
		{"mail.", dns.TypeMX, dns.RcodeSuccess, false},
		{"_25._tcp.mail.", dns.TypeTXT, dns.RcodeSuccess, false},
		{"only.", dns.TypeA, dns.RcodeSuccess, false}, // exists by us alone
		{"mail.shut.", dns.TypeA, dns.RcodeNameError, false},
		{"a.ns.", dns.TypeA, dns.RcodeNameError, false},
		{"", dns.TypeMX, dns.RcodeSuccess, false},
	} {
		r := s.ask(tc.name+s.zone, tc.qtype, false)
		if r.Rcode != tc.rcode || tc.some != (len(r.Answer) > 0) {
			t.Errorf("%s%s %s:\n%s", tc.name, s.zone, dns.TypeToString[tc.qtype], r)
		}
		for _, rr := range r.Ns {
			if soa, ok := rr.(*dns.SOA); ok && soa.Ns != "ns.elsewhere.test." {
				t.Errorf("%s%s: the zone has another SOA: %s", tc.name, s.zone, soa)
			}
		}
	}
	if soa := s.soa(); soa.Ns != "ns.elsewhere.test." {
		t.Errorf("the apex is the next plugin's: %s", soa)
	}
	if r := s.ask("_25._tcp.x.sub."+s.zone, dns.TypeTLSA, false); len(r.Answer) > 0 || len(r.Ns) != 1 || r.Ns[0].Header().Rrtype != dns.TypeNS {
		t.Errorf("below the cut the answer is\n%s", r)
	}
}

package tlsa

import (
	"crypto"
	"fmt"
	"net"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/coredns-tlsa/coredns-tlsa/plugin/tlsa/publish"
	"github.com/coredns-tlsa/coredns-tlsa/plugin/tlsa/rollover"

	"github.com/miekg/dns"
)

func TestOwnerBelowACutIsTheZonesOwn(t *testing.T) {
	t.Parallel()
	s := newSite(t, "cut.test.")
	s.write("db", fmt.Sprintf(siteZone, s.zone)+"sub IN NS ns.elsewhere.test.\nold IN DNAME elsewhere.test.\n")
	s.options = strings.Replace(s.options, "name _25._tcp.mail\n", "name _25._tcp.mail _25._tcp.mail.sub _25._tcp.old\n", 1)
	key := newKey(t)
	s.write(place, s.issuer.chain(t, key, "mail.cut.test", "mail.sub.cut.test", "old.cut.test"))
	s.start()
	s.expect(record(t, key))
	until(t, notice, "two below a cut", func() bool { return s.problem(publish.BelowCut) == 2 })
	referral := s.ask("_25._tcp.mail.sub."+s.zone, dns.TypeTLSA, false)
	if len(referral.Answer) > 0 || len(referral.Ns) != 1 || referral.Ns[0].Header().Name != "sub."+s.zone ||
		referral.Ns[0].Header().Rrtype != dns.TypeNS {
		t.Errorf("below the delegation the answer is\n%s", referral)
	}
	alias := s.ask("_25._tcp.old."+s.zone, dns.TypeTLSA, false)
	if len(alias.Answer) == 0 || alias.Answer[0].Header().Rrtype != dns.TypeDNAME ||
		slices.ContainsFunc(alias.Answer, func(rr dns.RR) bool { return rr.Header().Rrtype == dns.TypeTLSA }) {
		t.Errorf("below the DNAME the answer is\n%s", alias)
	}
}

func TestCutsThatComeAndGoAreFollowed(t *testing.T) {
	t.Parallel()
	s := newSite(t, "moving.test.")
	s.options = strings.Replace(s.options, "name _25._tcp.mail\n", "name _25._tcp.mail _443._tcp _8443._tcp.mail\n", 1)
	s.after = "file db {\nreload 1s\n}\n"
	key := newKey(t)
	s.write(place, s.issuer.chain(t, key, "mail.moving.test", "moving.test"))
	s.start()
	serves := func(owner string, want bool) func() bool {
		return func() bool {
			m := s.ask(owner, dns.TypeTLSA, false)
			return slices.ContainsFunc(m.Answer, func(rr dns.RR) bool { return rr.Header().Rrtype == dns.TypeTLSA }) == want
		}
	}
	until(t, notice, "the apex's owner", serves("_443._tcp."+s.zone, true))
	serial := 2026010102
	zone := func(more string) {
		s.write("db", strings.Replace(fmt.Sprintf(siteZone, s.zone), "2026010101", fmt.Sprint(serial), 1)+more)
		serial++
	}
	zone("_tcp IN NS ns.elsewhere.test.\n_8443._tcp.mail IN DNAME elsewhere.test.\n")
	until(t, notice, "a delegated _tcp", serves("_443._tcp."+s.zone, false))
	until(t, notice, "a DNAME at an owner", serves("_8443._tcp.mail."+s.zone, false))
	until(t, notice, "two problems", func() bool { return s.problem(publish.BelowCut) == 2 })
	if m := s.ask("_443._tcp."+s.zone, dns.TypeTLSA, true); len(m.Answer) != 0 || len(m.Ns) == 0 || m.Ns[0].Header().Rrtype != dns.TypeNS {
		t.Errorf("not the referral of the zone:\n%s", m)
	}
	if m := s.ask("_8443._tcp.mail."+s.zone, dns.TypeDNAME, false); len(m.Answer) != 1 {
		t.Errorf("the DNAME is hidden:\n%s", m)
	}
	s.expect(record(t, key))
	zone("")
	until(t, notice, "the owner again", serves("_443._tcp."+s.zone, true))
	until(t, notice, "no problem", func() bool { return s.problem(publish.BelowCut) == 0 })
}

func TestHostThatIsAnAliasIsWarnedOf(t *testing.T) {
	t.Parallel()
	s := newSite(t, "cname.test.")
	s.write("db", fmt.Sprintf(siteZone, s.zone)+"mx IN CNAME mail\nweb IN CNAME ns\n*.any IN CNAME ns\n")
	s.options = strings.Replace(s.options, "name _25._tcp.mail\n", "name _25._tcp.mail _25._tcp.mx _25._tcp.web _25._tcp.a.any\n", 1)
	key := newKey(t)
	s.write(place, s.issuer.chain(t, key, "mail.cname.test", "mx.cname.test", "web.cname.test", "a.any.cname.test"))
	s.start()
	until(t, notice, "the aliases whose targets have no owner", func() bool { return s.problem(publish.HostAlias) == 2 })
	if lines := s.log("host-alias", "_25._tcp.ns.cname.test."); len(lines) != 2 {
		t.Errorf("the log does not say where clients ask: %q", s.log("host-alias"))
	}
	until(t, notice, "the records all the same", func() bool { return s.serves("_25._tcp.web."+s.zone, record(t, key)) })
}

func TestAliasOfTheZoneAtAnOwnerIsHidden(t *testing.T) {
	t.Parallel()
	s := newSite(t, "hidden.test.")
	s.write("db", fmt.Sprintf(siteZone, s.zone)+"_25._tcp.mail IN CNAME elsewhere.test.\n")
	key := newKey(t)
	s.write(place, s.chain(key))
	s.start()
	s.expect(record(t, key))
	until(t, notice, "nothing but the record of the zone", func() bool { return slices.Equal(s.openProblems(), []string{"zone-hidden"}) })
}

// presigned gives the zone's records with their signatures.
func (s *site) presigned() string {
	s.Helper()
	key := &dns.DNSKEY{
		Hdr:   dns.RR_Header{Name: s.zone, Rrtype: dns.TypeDNSKEY, Class: dns.ClassINET, Ttl: 3600},
		Flags: 257, Protocol: 3, Algorithm: dns.ECDSAP256SHA256,
	}
	private, err := key.Generate(256)
	s.must(err)
	sets := map[string][]dns.RR{"key": {key}}
	parser := dns.NewZoneParser(strings.NewReader(fmt.Sprintf(siteZone, s.zone)), s.zone, "")
	for rr, ok := parser.Next(); ok; rr, ok = parser.Next() {
		id := rr.Header().Name + dns.TypeToString[rr.Header().Rrtype]
		sets[id] = append(sets[id], rr)
	}
	s.must(parser.Err())
	var text strings.Builder
	for _, set := range sets {
		sig := &dns.RRSIG{
			Algorithm: key.Algorithm, SignerName: s.zone, KeyTag: key.KeyTag(),
			Inception: uint32(time.Now().Add(-time.Hour).Unix()), Expiration: uint32(time.Now().Add(time.Hour).Unix()),
		}
		s.must(sig.Sign(private.(crypto.Signer), set))
		for _, rr := range append(set, sig) {
			fmt.Fprintln(&text, rr)
		}
	}
	return text.String()
}

func TestPresignedZoneGetsNoRecordOfOurs(t *testing.T) {
	t.Parallel()
	s := newSite(t, "presigned.test.")
	s.write("db", s.presigned())
	s.before = ""
	s.write(place, s.chain(newKey(t)))
	s.start()
	until(t, notice, "zone-signed", func() bool { return s.problem(publish.ZoneSigned) == 1 })
	if r := s.ask(s.owner, dns.TypeTLSA, true); r.Rcode != dns.RcodeNameError || len(r.Answer) > 0 {
		t.Errorf("the answer is\n%s", r)
	}
	if r := s.ask(s.host, dns.TypeAAAA, true); r.Rcode != dns.RcodeSuccess {
		t.Errorf("the host's answer is\n%s", r)
	}
}

func TestRecordsOfTheZoneMergeWithOurs(t *testing.T) {
	t.Parallel()
	s := newSite(t, "static.test.")
	key, foreign := newKey(t), newKey(t)
	static := fmt.Sprintf(siteZone, s.zone) + "_25._tcp.mail IN TLSA " + wide(t, foreign) + "\n"
	s.write("db", static)
	s.after = "file db {\nreload 1s\n}\n"
	s.write(place, s.chain(key))
	s.start()
	s.expect(record(t, key), wide(t, key), wide(t, foreign))
	until(t, notice, "zone-record", func() bool { return s.problem(rollover.ZoneRecord) == 1 })
	during(t, hold+rescan, func() { s.expect(record(t, key), wide(t, key), wide(t, foreign)) })
	before := time.Now()
	s.write("db", strings.Replace(fmt.Sprintf(siteZone, s.zone), "2026010101", "2026010102", 1))
	until(t, notice+grace, "only 3 1 1 of ours", func() bool {
		set := s.published(s.owner)
		if slices.Contains(set, wide(t, foreign)) != slices.Contains(set, wide(t, key)) {
			t.Fatalf("not every key has the combination: %q", set)
		}
		return slices.Equal(set, []string{record(t, key)})
	})
	if lived := time.Since(before); lived < grace {
		t.Errorf("the zone's record is gone after %s, before grace", lived)
	}
}

func TestZoneThatLoadsLateIsFound(t *testing.T) {
	t.Parallel()
	s := newSite(t, "late.test.")
	s.mkdir("zones")
	s.after = "auto {\ndirectory zones\nreload 1s\n}\n"
	s.options += "name _443._tcp.sub\n"
	key := newKey(t)
	s.write(place, s.issuer.chain(t, key, "mail.late.test", "sub.late.test"))
	s.start()
	s.expect(record(t, key))
	until(t, notice, "zone-missing", func() bool { return s.problem(publish.ZoneMissing) > 0 })
	if r := s.ask("_tcp."+s.host, dns.TypeA, true); r.Rcode != dns.RcodeServerFailure {
		t.Errorf("without an SOA a denial is\n%s", r)
	}
	s.install("zones/db.late.test", fmt.Sprintf(siteZone, s.zone)+"sub IN NS ns.elsewhere.test.\n")
	until(t, notice, "no zone-missing, one below-cut", func() bool {
		return s.problem(publish.ZoneMissing) == 0 && s.problem(publish.BelowCut) == 1
	})
	r := s.ask("_tcp."+s.host, dns.TypeA, true)
	if err := validated(r, s.signer); err != nil || r.Rcode != dns.RcodeSuccess {
		t.Errorf("with the SOA a denial is %v\n%s", err, r)
	}
	s.expect(record(t, key))
}

func TestHostThatOnlyWeKnowExists(t *testing.T) {
	t.Parallel()
	s := newSite(t, "only.test.")
	s.options += "name _443._tcp.deep.only\n"
	s.write(place, s.chain(newKey(t)))
	s.start()
	for _, name := range []string{"deep.only." + s.zone, "only." + s.zone} {
		for _, do := range []bool{false, true} {
			if r := s.ask(name, dns.TypeA, do); r.Rcode != dns.RcodeSuccess || !r.Authoritative || len(r.Answer) > 0 || len(r.Ns) == 0 {
				t.Errorf("%s: %s", name, r)
			}
		}
	}
	if r := s.ask("other."+s.zone, dns.TypeA, false); r.Rcode != dns.RcodeNameError {
		t.Errorf("a name that nobody knows: %s", r)
	}
	// No certificate covers the host, and that is known.
	r := s.ask("_443._tcp.deep.only."+s.zone, dns.TypeTLSA, true)
	if err := validated(r, s.signer); err != nil || r.Rcode != dns.RcodeSuccess || len(r.Answer) > 0 {
		t.Errorf("%v\n%s", err, r)
	}
	if s.problem(rollover.NoCertificate) != 1 {
		t.Errorf("open are %q", s.openProblems())
	}
}

func TestCacheInFrontDoesNotDelayAChange(t *testing.T) {
	t.Parallel()
	s := newSite(t, "cached.test.")
	s.before = "cache\n" + s.before
	s.options = strings.NewReplacer("ttl 1s", "ttl 1h", "hold 2s", "hold 2h", "grace 3s", "grace 2h").Replace(s.options)
	s.options += "name _465._tcp.mail\n"
	old, young := newKey(t), newKey(t)
	s.write(place, s.chain(old))
	s.start()
	for _, do := range []bool{false, true} { // both are in the cache now, if it has them
		s.ask(s.owner, dns.TypeTLSA, do)
	}
	s.install(place, s.chain(young))
	s.becomes(notice, record(t, old), record(t, young))
	r := s.ask(s.owner, dns.TypeTLSA, true)
	if set, err := rrset(r, s.owner); err != nil || len(set) != 2 || validated(r, s.signer) != nil {
		t.Errorf("signed: %v %v\n%s", err, validated(r, s.signer), r)
	}
	for _, rr := range r.Answer {
		if rr.Header().Ttl != 3600 {
			t.Errorf("the TTL counts down: %s", rr)
		}
	}
}

// freePorts gives ports on which nobody listens now.
func freePorts(t *testing.T, n int) []string {
	t.Helper()
	var ports []string
	for range n {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		defer l.Close()
		_, port, err := net.SplitHostPort(l.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		ports = append(ports, port)
	}
	return ports
}

// TestBlocksOnTwoPortsShareOneTimeline is not parallel: others could take the ports between the choice and the start.
func TestBlocksOnTwoPortsShareOneTimeline(t *testing.T) {
	s := newSite(t, "ports.test.")
	old, young := newKey(t), newKey(t)
	s.write(place, s.chain(old))
	ports := freePorts(t, 2)
	s.port = ports[1]
	s.more = s.corefile()
	s.port = ports[0]
	s.start()
	in := s.instance.Storage[instanceKey{}].(*instance)
	if len(in.units) != 1 {
		t.Fatalf("%d publishers", len(in.units))
	}
	s.install(place, s.chain(young))
	for _, port := range ports {
		s.udp = "127.0.0.1:" + port
		s.becomes(notice, record(t, old), record(t, young))
	}
	if lines := s.log("UNGATED"); len(lines) != 1 {
		t.Errorf("one key is ungated once, not %q", lines)
	}
}

func TestViewsHaveTimelinesOfTheirOwn(t *testing.T) {
	t.Parallel()
	s := newSite(t, "views.test.")
	outside, inside, next := newKey(t), newKey(t), newKey(t)
	s.write(place, s.chain(outside))
	s.write("inside/mail/fullchain.pem", s.chain(inside))
	s.more = s.corefile() // the last one takes what no view takes
	s.before = "view inside {\nexpr proto() == 'tcp'\n}\n" + s.before
	s.options = strings.Replace(s.options, "certs certs", "certs inside", 1)
	s.start()
	over := func(network string) []string {
		r, err := s.exchange(network, s.owner, dns.TypeTLSA, false)
		s.must(err)
		set, err := rrset(r, s.owner)
		s.must(err)
		return set
	}
	if u, c := over("udp"), over("tcp"); !slices.Equal(u, []string{record(t, outside)}) || !slices.Equal(c, []string{record(t, inside)}) {
		t.Fatalf("outside %q, inside %q", u, c)
	}
	s.install("inside/mail/fullchain.pem", s.chain(next))
	until(t, notice, "both inside", func() bool { return len(over("tcp")) == 2 })
	if u := over("udp"); !slices.Equal(u, []string{record(t, outside)}) {
		t.Errorf("outside %q", u)
	}
	if a, b := s.timeline(s.owner, "inside"), s.timeline(s.owner, ""); len(a.Associations) != 2 || len(b.Associations) != 1 {
		t.Errorf("the ledger has\n%v\n%v", a, b)
	}
	if by := gauges(t, "coredns_tlsa_ungated", s.zone, "view"); by["inside"] != 1 || by[""] != 0 {
		t.Errorf("ungated by view: %v", by)
	}
}

func TestZoneOfTheDirectiveMayLieBelowThatOfTheFile(t *testing.T) {
	t.Parallel()
	s := newSite(t, "narrow.test.")
	s.write("db", fmt.Sprintf(siteZone, s.zone)+"mail.sub IN A 192.0.2.3\ncut.sub IN NS ns.elsewhere.test.\nold.sub IN DNAME elsewhere.test.\n")
	s.options = strings.Replace(s.options, "name _25._tcp.mail\n", "name _25._tcp.mail _25._tcp.x.cut _25._tcp.x.old from mail\n", 1)
	s.transferred()
	s.before = "cache\n" + s.before
	s.text = strings.Replace(s.corefile(), "\ntlsa {", "\ntlsa sub.narrow.test {", 1)
	key := newKey(t)
	s.write(place, s.chain(key))
	s.start()
	until(t, notice, "the record", func() bool { return s.serves("_25._tcp.mail.sub."+s.zone, record(t, key)) })
	for _, name := range []string{"_25._tcp.x.cut.sub.", "_25._tcp.x.old.sub."} {
		m := s.ask(name+s.zone, dns.TypeTLSA, false)
		if slices.ContainsFunc(m.Answer, func(rr dns.RR) bool { return rr.Header().Rrtype == dns.TypeTLSA }) {
			t.Errorf("%s lies in another zone:\n%s", name, m)
		}
	}
	for range 2 { // a change must show in the SOA of the file's zone, whatever *cache* has
		serial, _ := s.axfr(s.zone)
		if soa := s.soa(); soa.Serial != serial {
			t.Errorf("the SOA has %d, the transfer %d", soa.Serial, serial)
		}
		s.install(place, s.chain(newKey(t)))
		until(t, notice, "a newer transfer", func() bool {
			now, _ := s.axfr(s.zone)
			return newer(now, serial)
		})
	}
}

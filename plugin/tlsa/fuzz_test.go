package tlsa

import (
	"context"
	"os"
	"strings"
	"testing"

	"github.com/coredns/coredns/plugin"
	"github.com/coredns/coredns/plugin/dnssec"
	"github.com/coredns/coredns/plugin/pkg/cache"
	"github.com/coredns/coredns/plugin/pkg/dnstest"
	"github.com/coredns/coredns/plugin/test"

	"github.com/coredns-tlsa/coredns-tlsa/plugin/tlsa/denial"

	"github.com/miekg/dns"
)

// guardedHandler is the test's handler behind *dnssec* and its guard, as a server block has them.
func guardedHandler(f *testing.F) plugin.Handler {
	key := &dns.DNSKEY{
		Hdr:   dns.RR_Header{Name: "example.org.", Rrtype: dns.TypeDNSKEY, Class: dns.ClassINET, Ttl: 3600},
		Flags: 257, Protocol: 3, Algorithm: dns.ECDSAP256SHA256,
	}
	private, err := key.Generate(256)
	if err != nil {
		f.Fatal(err)
	}
	path := f.TempDir() + "/K"
	for suffix, text := range map[string]string{".key": key.String() + "\n", ".private": key.PrivateKeyString(private)} {
		if err := os.WriteFile(path+suffix, []byte(text), 0o600); err != nil {
			f.Fatal(err)
		}
	}
	signer, err := dnssec.ParseKeyFile(path+".key", path+".private")
	if err != nil {
		f.Fatal(err)
	}
	build := func(next plugin.Handler) plugin.Handler {
		return dnssec.New([]string{"example.org."}, []*dnssec.DNSKEY{signer}, false, next, cache.New[[]dns.RR](1024))
	}
	return denial.Guard(build, func() {})(testHandler(f))
}

// FuzzQuestion sends any packet that is one. The reply must be to it, must fit on the wire, and TLSA must be those of the owner.
func FuzzQuestion(f *testing.F) {
	h := guardedHandler(f)
	for _, name := range []string{"_25._tcp.mail", "_465._tcp.mail", "_993._tcp.mail", "_tcp.mail", "mail", "x._25._tcp.mail", "MX1._DANE", "b.alias", "no"} {
		for _, qtype := range []uint16{dns.TypeTLSA, dns.TypeA, dns.TypeANY, dns.TypeDS, dns.TypeNSEC, dns.TypeAXFR, dns.TypeSOA} {
			m := new(dns.Msg)
			m.SetQuestion(name+".example.org.", qtype)
			m.SetEdns0(1232, qtype%2 == 0)
			packet, err := m.Pack()
			if err != nil {
				f.Fatal(err)
			}
			f.Add(packet)
		}
	}
	for opcode := range 7 { // of which *file* knows one
		for _, name := range []string{"_25._tcp.mail.example.org.", "example.org.", "."} {
			m := new(dns.Msg)
			m.SetQuestion(name, dns.TypeSOA)
			m.Opcode = opcode
			packet, err := m.Pack()
			if err != nil {
				f.Fatal(err)
			}
			f.Add(packet)
		}
	}
	f.Fuzz(func(t *testing.T, packet []byte) {
		m := new(dns.Msg)
		// CoreDNS's server refuses what has no question, and replies to nothing that is a reply.
		if m.Unpack(packet) != nil || m.Response || len(m.Question) == 0 {
			return
		}
		asked := m.Copy()
		rec := dnstest.NewRecorder(&test.ResponseWriter{})
		rcode, err := h.ServeDNS(context.Background(), rec, m)
		if rec.Msg == nil {
			if err == nil && plugin.ClientWrite(rcode) && !dropped(asked) {
				t.Errorf("%s, but nothing is written to\n%s", dns.RcodeToString[rcode], asked)
			}
			return
		}
		if dropped(asked) {
			t.Errorf("a NOTIFY is answered:\n%s", rec.Msg)
		}
		r := rec.Msg
		if !r.Response || r.Id != asked.Id || r.Opcode != asked.Opcode || len(r.Question) == 0 || r.Question[0] != asked.Question[0] {
			t.Errorf("to\n%s\nthe reply is\n%s", asked, r)
		}
		if _, err := r.Pack(); err != nil {
			t.Errorf("%v in\n%s", err, r)
		}
		want := twoRecords("")
		for _, rr := range r.Answer {
			tlsa, ok := rr.(*dns.TLSA)
			if ok && (!strings.EqualFold(tlsa.Hdr.Name, asked.Question[0].Name) || tlsa.Certificate != digestIn(want[0]) && tlsa.Certificate != digestIn(want[1])) {
				t.Errorf("to\n%s\nthe answer has %s", asked, rr)
			}
		}
	})
}

// dropped tells whether *file* stays silent: to a NOTIFY for a zone that it has from nobody, unless it reads as a transfer,
// which it refuses first, or as a question for the zone's keys, which *dnssec* answers before it.
func dropped(asked *dns.Msg) bool {
	q := asked.Question[0]
	if q.Qtype == dns.TypeDNSKEY && strings.EqualFold(q.Name, "example.org.") {
		return false
	}
	return asked.Opcode == dns.OpcodeNotify && dns.IsSubDomain("example.org.", q.Name) && q.Qtype != dns.TypeAXFR && q.Qtype != dns.TypeIXFR
}

func digestIn(record string) string { return record[strings.LastIndexByte(record, ' ')+1:] }

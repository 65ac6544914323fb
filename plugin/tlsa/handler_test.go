package tlsa

import (
	"context"
	"fmt"
	"strings"
	"testing"

	"github.com/coredns/coredns/plugin"
	"github.com/coredns/coredns/plugin/file"
	"github.com/coredns/coredns/plugin/pkg/dnstest"
	"github.com/coredns/coredns/plugin/test"
	"github.com/coredns/coredns/plugin/whoami"

	"github.com/coredns-tlsa/coredns-tlsa/plugin/tlsa/dane"
	"github.com/coredns-tlsa/coredns-tlsa/plugin/tlsa/publish"
	"github.com/coredns-tlsa/coredns-tlsa/plugin/tlsa/rollover"
	"github.com/coredns-tlsa/coredns-tlsa/plugin/tlsa/zone"

	"github.com/google/go-cmp/cmp"
	"github.com/miekg/dns"
	dto "github.com/prometheus/client_model/go"
)

const testZone = `
$ORIGIN example.org.
$TTL 1h
@        IN SOA ns hostmaster 2026010101 7200 3600 1209600 300
         IN NS  ns
ns       IN A   192.0.2.1
mail     IN A   192.0.2.25
*.wild   IN A   192.0.2.99
*.alias  IN CNAME ns
_443._tcp.web IN CNAME ns
`

const (
	soaLine = "example.org.\t300\tIN\tSOA\tns.example.org. hostmaster.example.org. 2026010101 7200 3600 1209600 300"
	digest1 = "0000000000000000000000000000000000000000000000000000000000000001"
	digest2 = "0000000000000000000000000000000000000000000000000000000000000002"
)

// testHandler is the handler over the test zone, with owners of every kind.
func testHandler(t testing.TB) *Handler {
	t.Helper()
	zones, err := file.Parse(strings.NewReader(testZone), "example.org.", "stdin", 0)
	if err != nil {
		t.Fatal(err)
	}
	table := &zone.Table{}
	w := zone.NewWriter(table)
	set := func(owner, host string, s *zone.Set) { w.Set(owner, host, "example.org.", s) }
	two := zone.NewSet([]dane.Association{digest(1), digest(2)}, 600)
	set("_25._tcp.mail.example.org.", "mail.example.org.", two)
	set("_465._tcp.mail.example.org.", "mail.example.org.", zone.NewSet(nil, 600))
	set("_993._tcp.mail.example.org.", "mail.example.org.", &zone.Set{Unknown: true})
	set("_443._tcp.web.example.org.", "web.example.org.", two)
	set("_443._tcp.a.wild.example.org.", "a.wild.example.org.", two)
	set("_443._tcp.b.alias.example.org.", "b.alias.example.org.", two)
	set("_443._tcp.example.org.", "example.org.", two)
	set("mx1._dane.example.org.", "mx1._dane.example.org.", two)
	w.Flush()
	return &Handler{
		Next:   file.File{Zones: file.Zones{Z: map[string]*file.Zone{"example.org.": zones}, Names: []string{"example.org."}}},
		blocks: []servedBlock{{table: table, served: newMeter(publish.Config{Zones: []string{"test."}}).served}},
	}
}

func digest(last byte) dane.Association {
	return dane.Association{
		Combination: dane.Combination{Usage: dane.DANEEE, Selector: dane.SPKI, MatchingType: dane.SHA256},
		Data:        string([]byte{31: last}),
	}
}

func twoRecords(owner string) []string {
	return []string{
		owner + "\t600\tIN\tTLSA\t3 1 1 " + digest1,
		owner + "\t600\tIN\tTLSA\t3 1 1 " + digest2,
	}
}

// reply is what a test compares: every record in full, and the bits that resolvers look at.
type reply struct {
	Rcode      string
	AA         bool
	Answer, Ns []string
}

func query(t testing.TB, h plugin.Handler, name string, qtype uint16) reply {
	t.Helper()
	m := new(dns.Msg)
	m.SetQuestion(name, qtype)
	return send(t, h, m)
}

func send(t testing.TB, h plugin.Handler, m *dns.Msg) reply {
	t.Helper()
	rec := dnstest.NewRecorder(&test.ResponseWriter{})
	rcode, err := h.ServeDNS(context.Background(), rec, m)
	if err != nil {
		t.Fatalf("%v: %v", m.Question, err)
	}
	if rec.Msg == nil {
		return reply{Rcode: dns.RcodeToString[rcode]}
	}
	if got, want := rec.Msg.Question[0].Name, m.Question[0].Name; got != want {
		t.Errorf("the question came back as %q, not %q", got, want)
	}
	r := reply{Rcode: dns.RcodeToString[rec.Msg.Rcode], AA: rec.Msg.Authoritative}
	for _, rr := range rec.Msg.Answer {
		r.Answer = append(r.Answer, rr.String())
	}
	for _, rr := range rec.Msg.Ns {
		r.Ns = append(r.Ns, rr.String())
	}
	return r
}

func TestAnswersOfTheDesign(t *testing.T) {
	nodata := reply{Rcode: "NOERROR", AA: true, Ns: []string{soaLine}}
	positive := func(owner string) reply { return reply{Rcode: "NOERROR", AA: true, Answer: twoRecords(owner)} }
	for claim, tc := range map[string]struct {
		name  string
		qtype uint16
		want  reply
	}{
		"TLSA at an owner is the whole RRset":          {"_25._tcp.mail.example.org.", dns.TypeTLSA, positive("_25._tcp.mail.example.org.")},
		"ANY at an owner is the whole RRset":           {"_25._tcp.mail.example.org.", dns.TypeANY, positive("_25._tcp.mail.example.org.")},
		"case does not matter, and the owner is lower": {"_25._TCP.MaIl.ExAmPlE.oRg.", dns.TypeTLSA, positive("_25._tcp.mail.example.org.")},
		"another type at an owner is NODATA":           {"_25._tcp.mail.example.org.", dns.TypeA, nodata},
		"DS at an owner is NODATA":                     {"_25._tcp.mail.example.org.", dns.TypeDS, nodata},
		"an underscore ancestor is NODATA":             {"_tcp.mail.example.org.", dns.TypeA, nodata},
		"TLSA at an underscore ancestor is NODATA":     {"_tcp.mail.example.org.", dns.TypeTLSA, nodata},
		"an owner without certificate is NODATA":       {"_465._tcp.mail.example.org.", dns.TypeTLSA, nodata},
		"an owner of which nothing is known fails":     {"_993._tcp.mail.example.org.", dns.TypeTLSA, reply{Rcode: "SERVFAIL"}},
		"even that one denies other types":             {"_993._tcp.mail.example.org.", dns.TypeA, nodata},
		"a host keeps its records":                     {"mail.example.org.", dns.TypeA, reply{Rcode: "NOERROR", AA: true, Answer: []string{"mail.example.org.\t3600\tIN\tA\t192.0.2.25"}, Ns: []string{"example.org.\t3600\tIN\tNS\tns.example.org."}}},
		"a host that only we know exists":              {"web.example.org.", dns.TypeA, nodata},
		"a name above it that only we know exists":     {"_dane.example.org.", dns.TypeA, nodata},
		"an owner under _dane answers":                 {"mx1._dane.example.org.", dns.TypeTLSA, positive("mx1._dane.example.org.")},
		"an owner under _dane denies other types":      {"mx1._dane.example.org.", dns.TypeTXT, nodata},
		"an owner of the apex answers":                 {"_443._tcp.example.org.", dns.TypeTLSA, positive("_443._tcp.example.org.")},
		"a CNAME of the zone does not show at ours":    {"_443._tcp.web.example.org.", dns.TypeTLSA, positive("_443._tcp.web.example.org.")},
		"nor does it for other types":                  {"_443._tcp.web.example.org.", dns.TypeA, nodata},
		"a wildcard does not show at our ancestor":     {"_tcp.a.wild.example.org.", dns.TypeA, nodata},
		"a wildcard CNAME does not hide our TLSA":      {"_443._tcp.b.alias.example.org.", dns.TypeTLSA, positive("_443._tcp.b.alias.example.org.")},
		"a wildcard CNAME does not cost us the SOA":    {"_tcp.b.alias.example.org.", dns.TypeA, nodata},
		"a wildcard still shows at its host":           {"a.wild.example.org.", dns.TypeA, reply{Rcode: "NOERROR", AA: true, Answer: []string{"a.wild.example.org.\t3600\tIN\tA\t192.0.2.99"}, Ns: []string{"example.org.\t3600\tIN\tNS\tns.example.org."}}},
		"an unknown port is the zone's NXDOMAIN":       {"_26._tcp.mail.example.org.", dns.TypeTLSA, reply{Rcode: "NXDOMAIN", AA: true, Ns: []string{strings.Replace(soaLine, "\t300\t", "\t3600\t", 1)}}},
		"what lies below an owner is the zone's":       {"x._25._tcp.mail.example.org.", dns.TypeTLSA, reply{Rcode: "NXDOMAIN", AA: true, Ns: []string{strings.Replace(soaLine, "\t300\t", "\t3600\t", 1)}}},
	} {
		t.Run(claim, func(t *testing.T) {
			if diff := cmp.Diff(tc.want, query(t, testHandler(t), tc.name, tc.qtype)); diff != "" {
				t.Errorf("%s %s (-want +got):\n%s", tc.name, dns.TypeToString[tc.qtype], diff)
			}
		})
	}
}

func TestOwnerOfOneDirectiveAnswersBesideTheNameBelowOfAnother(t *testing.T) {
	h := testHandler(t)
	other := &zone.Table{}
	w := zone.NewWriter(other)
	w.Set("_25._tcp.mx1._dane.example.org.", "mx1._dane.example.org.", "example.org.", zone.NewSet(nil, 600))
	w.Flush()
	second := h.blocks[0]
	second.table = other
	for _, blocks := range [][]servedBlock{{h.blocks[0], second}, {second, h.blocks[0]}} {
		h.blocks = blocks
		want := reply{Rcode: "NOERROR", AA: true, Answer: twoRecords("mx1._dane.example.org.")}
		if diff := cmp.Diff(want, query(t, h, "mx1._dane.example.org.", dns.TypeTLSA)); diff != "" {
			t.Errorf("(-want +got):\n%s", diff)
		}
	}
}

func TestOnlyRecordsThatStandThereAreCalledHidden(t *testing.T) {
	h := testHandler(t)
	for owner, want := range map[string]string{
		"_25._tcp.mail.example.org.":     "",
		"_443._tcp.web.example.org.":     "CNAME at _443._tcp.web.example.org.",
		"_443._tcp.a.wild.example.org.":  "",
		"_443._tcp.b.alias.example.org.": "",
	} {
		if got := (backend{h}).Remark(owner); got.Hidden != want {
			t.Errorf("%s: %+v, want %q", owner, got, want)
		}
	}
}

func TestReadyWaitsForEveryDirective(t *testing.T) {
	known := map[bool]func() bool{true: func() bool { return true }, false: func() bool { return false }}
	for _, tc := range []struct{ first, second, want bool }{{true, true, true}, {true, false, false}, {false, true, false}} {
		h := &Handler{blocks: []servedBlock{{known: known[tc.first]}, {known: known[tc.second]}}}
		if got := h.Ready(); got != tc.want {
			t.Errorf("%+v: Ready is %v", tc, got)
		}
	}
}

func TestDirectivesWithTheSameZonesAddUpTheirFigures(t *testing.T) {
	cfg := publish.Config{Zones: []string{"sum.test."}}
	a, b := newMeter(cfg), newMeter(cfg)
	value := func() float64 {
		var m dto.Metric
		if err := associations.WithLabelValues("sum.test.", "", "active").Write(&m); err != nil {
			t.Fatal(err)
		}
		return m.GetGauge().GetValue()
	}
	a.begin()
	b.begin()
	a.Update(publish.Figures{States: map[rollover.State]int{rollover.Active: 1}})
	b.Update(publish.Figures{States: map[rollover.State]int{rollover.Active: 2}})
	if got := value(); got != 3 {
		t.Errorf("both: %v", got)
	}
	a.end()
	if got := value(); got != 2 {
		t.Errorf("one has ended: %v", got)
	}
	b.end()
}

func TestNotOurQuestionsArePassedOn(t *testing.T) {
	h := testHandler(t)
	var passed []string
	h.Next = plugin.HandlerFunc(func(_ context.Context, _ dns.ResponseWriter, r *dns.Msg) (int, error) {
		passed = append(passed, fmt.Sprintf("%s %s %s", dns.OpcodeToString[r.Opcode], dns.ClassToString[r.Question[0].Qclass], dns.TypeToString[r.Question[0].Qtype]))
		return dns.RcodeRefused, nil
	})
	const owner = "_25._tcp.mail.example.org."
	for _, m := range []*dns.Msg{
		{MsgHdr: dns.MsgHdr{Opcode: dns.OpcodeNotify}, Question: []dns.Question{{Name: owner, Qtype: dns.TypeTLSA, Qclass: dns.ClassINET}}},
		{MsgHdr: dns.MsgHdr{Opcode: dns.OpcodeUpdate}, Question: []dns.Question{{Name: owner, Qtype: dns.TypeTLSA, Qclass: dns.ClassINET}}},
		{Question: []dns.Question{{Name: owner, Qtype: dns.TypeTLSA, Qclass: dns.ClassCHAOS}}},
		{Question: []dns.Question{{Name: owner, Qtype: dns.TypeAXFR, Qclass: dns.ClassINET}}},
		{Question: []dns.Question{{Name: owner, Qtype: dns.TypeIXFR, Qclass: dns.ClassINET}}},
		{Question: []dns.Question{{Name: "other.example.org.", Qtype: dns.TypeTLSA, Qclass: dns.ClassINET}}},
	} {
		send(t, h, m)
	}
	want := []string{"NOTIFY IN TLSA", "UPDATE IN TLSA", "QUERY CH TLSA", "QUERY IN AXFR", "QUERY IN IXFR", "QUERY IN TLSA"}
	if diff := cmp.Diff(want, passed); diff != "" {
		t.Errorf("passed on (-want +got):\n%s", diff)
	}
}

func TestDenialWithoutAnSOAFails(t *testing.T) {
	h := testHandler(t)
	h.Next = test.NextHandler(dns.RcodeRefused, nil)
	if got := query(t, h, "_tcp.mail.example.org.", dns.TypeA); got.Rcode != "SERVFAIL" {
		t.Errorf("a denial without SOA is %+v: *dnssec* would leave it unsigned, and validators call it bogus", got)
	}
}

// BenchmarkHandler compares an answer of ours with the cheapest answers of CoreDNS, in one run.
func BenchmarkHandler(b *testing.B) {
	h := testHandler(b)
	fileRR := h.Next
	for _, bc := range []struct {
		name    string
		handler plugin.Handler
		qname   string
		qtype   uint16
	}{
		{"tlsa", h, "_25._tcp.mail.example.org.", dns.TypeTLSA},
		{"tlsa-denial", h, "_tcp.mail.example.org.", dns.TypeA},
		{"file", fileRR, "mail.example.org.", dns.TypeA},
		{"whoami", whoami.Whoami{}, "mail.example.org.", dns.TypeA},
	} {
		b.Run(bc.name, func(b *testing.B) {
			m := new(dns.Msg)
			m.SetQuestion(bc.qname, bc.qtype)
			w := &test.ResponseWriter{}
			b.ReportAllocs()
			for b.Loop() {
				if _, err := bc.handler.ServeDNS(context.Background(), w, m); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

func TestAliasOfADNAMEAboveIsNoneOfTheHost(t *testing.T) {
	dname, err := dns.NewRR("sub.example.org. 300 IN DNAME elsewhere.test.")
	if err != nil {
		t.Fatal(err)
	}
	m := &dns.Msg{Answer: []dns.RR{dname}}
	for name, want := range map[string]bool{"mail.SUB.example.org.": true, "sub.example.org.": false, "mail.example.org.": false} {
		if got := isBelowDNAME(m, name); got != want {
			t.Errorf("%s: %v", name, got)
		}
	}
}

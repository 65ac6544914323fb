package denial

import (
	"context"
	"crypto"
	"slices"
	"strings"
	"testing"

	"github.com/coredns/coredns/plugin"
	"github.com/coredns/coredns/plugin/dnssec"
	"github.com/coredns/coredns/plugin/file"
	"github.com/coredns/coredns/plugin/pkg/cache"
	"github.com/coredns/coredns/plugin/pkg/dnstest"
	"github.com/coredns/coredns/plugin/test"

	"github.com/google/go-cmp/cmp"
	"github.com/miekg/dns"
)

// longest is a name to which no label can be added under example.org.
var longest = strings.Repeat(strings.Repeat("a", 63)+".", 3) + strings.Repeat("b", 49)

// The SOA's TTL is above its MINIMUM, as *file* sends it.
var testZone = `
$ORIGIN example.org.
$TTL 1h
@        IN SOA ns hostmaster 2026010101 7200 3600 1209600 300
         IN NS  ns
ns       IN A   192.0.2.1
mail     IN A   192.0.2.25
         IN MX  10 mail
away     IN CNAME mail.example.net.
open     IN NS  ns.open
ns.open  IN A   192.0.2.9
safe     IN NS  ns.open
         IN DS  12345 13 2 0000000000000000000000000000000000000000000000000000000000000000
tree     IN DNAME mail
` + longest + ` IN NS ns.example.net.
_tcp.ent IN TXT "below"
`

// testKeys are two zone signing keys and a key signing key when split, else one key for both.
func testKeys(t testing.TB, split bool) (keys []*dnssec.DNSKEY) {
	t.Helper()
	flags := []uint16{257}
	if split {
		flags = []uint16{257, 256, 256}
	}
	for _, f := range flags {
		k := &dns.DNSKEY{
			Hdr:   dns.RR_Header{Name: "example.org.", Rrtype: dns.TypeDNSKEY, Class: dns.ClassINET, Ttl: 3600},
			Flags: f, Protocol: 3, Algorithm: dns.ECDSAP256SHA256,
		}
		private, err := k.Generate(256)
		if err != nil {
			t.Fatal(err)
		}
		key, err := parseKey(t, k, private)
		if err != nil {
			t.Fatal(err)
		}
		keys = append(keys, key)
	}
	return keys
}

func parseKey(t testing.TB, k *dns.DNSKEY, private crypto.PrivateKey) (*dnssec.DNSKEY, error) {
	t.Helper()
	base := t.TempDir() + "/K"
	if err := writeFile(base+".key", k.String()+"\n"); err != nil {
		return nil, err
	}
	if err := writeFile(base+".private", k.PrivateKeyString(private)); err != nil {
		return nil, err
	}
	return dnssec.ParseKeyFile(base+".key", base+".private")
}

func testFile(t testing.TB) plugin.Handler {
	t.Helper()
	zone, err := file.Parse(strings.NewReader(testZone), "example.org.", "stdin", 0)
	if err != nil {
		t.Fatal(err)
	}
	return file.File{Zones: file.Zones{Z: map[string]*file.Zone{"example.org.": zone}, Names: []string{"example.org."}}}
}

// signer gives the constructor of *dnssec* for the zones.
func signer(keys []*dnssec.DNSKEY, zones ...string) plugin.Plugin {
	d := dnssec.New(zones, keys, len(keys) > 1, nil, cache.New[[]dns.RR](10000))
	return func(next plugin.Handler) plugin.Handler {
		d.Next = next
		return d
	}
}

// guarded is *dnssec* between our handlers, over next.
func guarded(t testing.TB, build plugin.Plugin, next plugin.Handler) plugin.Handler {
	t.Helper()
	signs := false
	h := Guard(build, func() { signs = true })(next)
	if !signs || h.Name() != Name {
		t.Fatalf("dnssec was not found: %s", h.Name())
	}
	return h
}

func query(t testing.TB, h plugin.Handler, name string, qtype uint16, do bool) *dns.Msg {
	t.Helper()
	m := new(dns.Msg)
	m.SetQuestion(name, qtype)
	if do {
		m.SetEdns0(1232, true)
	}
	return exchangeWith(t, h, m)
}

func exchangeWith(t testing.TB, h plugin.Handler, m *dns.Msg) *dns.Msg {
	t.Helper()
	w := dnstest.NewRecorder(&test.ResponseWriter{})
	if _, err := h.ServeDNS(context.Background(), w, m); err != nil {
		t.Fatal(err)
	}
	if w.Msg == nil {
		return nil
	}
	packed, err := w.Msg.Pack() // as a client sees it
	if err != nil {
		t.Fatalf("%s: %v\n%v", m.Question[0].Name, err, w.Msg)
	}
	got := new(dns.Msg)
	if err := got.Unpack(packed); err != nil {
		t.Fatal(err)
	}
	return got
}

// proof gives the NSEC of a denial after a look at all that it must have: the SOA and the NSEC, signed, under one TTL.
func proof(t *testing.T, keys []*dnssec.DNSKEY, m *dns.Msg) *dns.NSEC {
	t.Helper()
	var nsec *dns.NSEC
	sets := map[uint16][]dns.RR{}
	signed := map[uint16]int{}
	for _, rr := range m.Ns {
		switch rr := rr.(type) {
		case *dns.NSEC:
			nsec = rr
			sets[dns.TypeNSEC] = append(sets[dns.TypeNSEC], rr)
		case *dns.SOA:
			sets[dns.TypeSOA] = append(sets[dns.TypeSOA], rr)
		}
		if rr.Header().Rrtype != dns.TypeNS && rr.Header().Ttl != 300 {
			t.Errorf("the TTL is not min(SOA TTL, MINIMUM): %v", rr)
		}
	}
	for _, rr := range m.Ns {
		if sig, ok := rr.(*dns.RRSIG); ok {
			for _, k := range keys {
				if k.K.KeyTag() == sig.KeyTag && sig.Verify(k.K, sets[sig.TypeCovered]) == nil {
					signed[sig.TypeCovered]++
				}
			}
		}
	}
	want := max(1, len(keys)-1) // all but the key signing key
	if len(sets[dns.TypeNSEC]) != 1 || signed[dns.TypeNSEC] != want || len(sets[dns.TypeSOA]) > 0 && signed[dns.TypeSOA] != want {
		t.Fatalf("not one signed NSEC:\n%v", m)
	}
	return nsec
}

func has(n *dns.NSEC, t uint16) bool { return slices.Contains(n.TypeBitMap, t) }

func TestDenials(t *testing.T) {
	all := []uint16{dns.TypeA, dns.TypeMX, dns.TypeTXT, dns.TypeAAAA, dns.TypeCAA, dns.TypeHTTPS, dns.TypeSVCB, dns.TypeNAPTR, dns.TypePTR,
		dns.TypeSMIMEA, dns.TypeURI, dns.TypeSRV, dns.TypeTLSA, dns.TypeSSHFP, dns.TypeOPENPGPKEY, dns.TypeCERT}
	for _, split := range []bool{false, true} {
		keys := testKeys(t, split)
		h := guarded(t, signer(keys, "example.org."), testFile(t))
		for _, tc := range []struct {
			name    string
			qtype   uint16
			at      string // of the NSEC, if not name
			claims  []uint16
			denies  []uint16
			nothing bool // NXNAME
		}{
			{name: "mail.example.org.", qtype: dns.TypeTLSA, claims: all, denies: []uint16{dns.TypeNS, dns.TypeCNAME, dns.TypeDNAME, dns.TypeDS, dns.TypeSOA, dns.TypeDNSKEY}},
			{name: "mail.example.org.", qtype: dns.TypeDS, claims: all, denies: []uint16{dns.TypeNS, dns.TypeCNAME, dns.TypeSOA}},
			{name: "mail.example.org.", qtype: dns.TypeCAA, claims: all},
			{name: "mail.example.org.", qtype: dns.TypeNS, claims: all},
			{name: "mail.example.org.", qtype: 65280, claims: all},
			{name: "ent.example.org.", qtype: dns.TypeDS, claims: all, denies: []uint16{dns.TypeNS}},
			{name: "tree.example.org.", qtype: dns.TypeDS, claims: append([]uint16{dns.TypeDNAME}, all...), denies: []uint16{dns.TypeNS}},
			{name: "below.open.example.org.", at: "open.example.org.", qtype: dns.TypeDS, claims: []uint16{dns.TypeNS}, denies: all},
			{name: "tree.example.org.", qtype: dns.TypeA, claims: append([]uint16{dns.TypeDNAME}, all...)},
			{name: "example.org.", qtype: dns.TypeMX, claims: append([]uint16{dns.TypeNS, dns.TypeSOA, dns.TypeDNSKEY}, all...)},
			{name: "example.org.", qtype: dns.TypeDS, claims: append([]uint16{dns.TypeNS, dns.TypeSOA}, all...)},
			{name: "open.example.org.", qtype: dns.TypeDS, claims: []uint16{dns.TypeNS}, denies: all},
			{name: "nobody.example.org.", qtype: dns.TypeA, nothing: true},
			{name: "a.nobody.example.org.", qtype: dns.TypeDS, nothing: true},
			{name: "NoBoDy.example.org.", qtype: dns.TypeA, at: "nobody.example.org.", nothing: true},
		} {
			m := query(t, h, tc.name, tc.qtype, true)
			what := tc.name + " " + dns.TypeToString[tc.qtype]
			if m.Rcode != dns.RcodeSuccess {
				t.Errorf("%s: rcode %s of a compact denial", what, dns.RcodeToString[m.Rcode])
			}
			n := proof(t, keys, m)
			at := tc.at
			if at == "" {
				at = tc.name
			}
			if n.Hdr.Name != at || n.NextDomain != `\000.`+at {
				t.Errorf("%s: the NSEC covers %s to %s, want only %s", what, n.Hdr.Name, n.NextDomain, at)
			}
			if tc.nothing {
				if diff := cmp.Diff([]uint16{dns.TypeRRSIG, dns.TypeNSEC, dns.TypeNXNAME}, n.TypeBitMap); diff != "" {
					t.Errorf("%s: not the denial of a name (-want +got):\n%s", what, diff)
				}
				continue
			}
			for _, claim := range tc.claims {
				if has(n, claim) == (claim == tc.qtype) {
					t.Errorf("%s: the NSEC has %s: %t", what, dns.TypeToString[claim], has(n, claim))
				}
			}
			for _, deny := range append(tc.denies, tc.qtype, dns.TypeNXNAME) {
				if has(n, deny) {
					t.Errorf("%s: the NSEC claims %s", what, dns.TypeToString[deny])
				}
			}
		}
	}
}

// What is at a name is asked below it, where there is room.
func TestCutWithTheLongestNameIsOne(t *testing.T) {
	keys := testKeys(t, false)
	n := proof(t, keys, query(t, guarded(t, signer(keys, "example.org."), testFile(t)), longest+".example.org.", dns.TypeDS, true))
	if !has(n, dns.TypeNS) || has(n, dns.TypeA) {
		t.Errorf("at a cut: %v", n.TypeBitMap)
	}
}

func TestReferrals(t *testing.T) {
	keys := testKeys(t, false)
	h := guarded(t, signer(keys, "example.org."), testFile(t))
	m := query(t, h, "www.open.example.org.", dns.TypeA, true)
	n := proof(t, keys, m)
	if diff := cmp.Diff([]uint16{dns.TypeNS, dns.TypeRRSIG, dns.TypeNSEC}, n.TypeBitMap); diff != "" || n.Hdr.Name != "open.example.org." {
		t.Errorf("the referral does not prove that there is no DS: %v", n)
	}
	if len(m.Answer) != 0 || m.Ns[0].Header().Rrtype != dns.TypeNS || len(m.Extra) == 0 {
		t.Errorf("the referral lost something:\n%v", m)
	}
	for _, rr := range append(m.Ns, m.Extra...) {
		if sig, ok := rr.(*dns.RRSIG); ok && sig.TypeCovered != dns.TypeNSEC {
			t.Errorf("not the parent's to sign: %v", sig)
		}
	}
	m = query(t, h, "www.safe.example.org.", dns.TypeA, true)
	if !slices.ContainsFunc(m.Ns, func(rr dns.RR) bool { return rr.Header().Rrtype == dns.TypeDS }) ||
		slices.ContainsFunc(m.Ns, func(rr dns.RR) bool { return rr.Header().Rrtype == dns.TypeNSEC }) {
		t.Errorf("the DS of a signed child is missing or denied:\n%v", m)
	}
	if m := query(t, h, "safe.example.org.", dns.TypeDS, true); len(m.Answer) != 2 {
		t.Errorf("the DS of a signed child is not answered:\n%v", m)
	}
}

func TestStockDnssecIsWhatIsRepaired(t *testing.T) {
	keys := testKeys(t, false)
	m := query(t, signer(keys, "example.org.")(testFile(t)), "mail.example.org.", dns.TypeDS, true)
	for _, rr := range m.Ns {
		if n, ok := rr.(*dns.NSEC); ok && !has(n, dns.TypeNS) {
			t.Errorf("*dnssec* no longer denies DS with the NS bit: is this package still needed? %v", n)
		}
	}
}

// hosts knows some types of some names only, and leaves the rest to the next plugin.
type hosts struct{ Next plugin.Handler }

func (hosts) Name() string { return "hosts" }

func (h hosts) ServeDNS(ctx context.Context, w dns.ResponseWriter, r *dns.Msg) (int, error) {
	return h.Next.ServeDNS(ctx, w, r)
}

// minimal stands between.
type minimal struct{ Next plugin.Handler }

func (minimal) Name() string { return "minimal" }

func (m minimal) ServeDNS(ctx context.Context, w dns.ResponseWriter, r *dns.Msg) (int, error) {
	return m.Next.ServeDNS(ctx, w, r)
}

func TestNXDOMAINOfAPluginThatKnowsSomeTypesOnly(t *testing.T) {
	keys := testKeys(t, false)
	h := guarded(t, signer(keys, "example.org."), minimal{hosts{testFile(t)}})
	n := proof(t, keys, query(t, h, "nobody.example.org.", dns.TypeMX, true))
	if has(n, dns.TypeNXNAME) || !has(n, dns.TypeA) {
		t.Errorf("an A of *hosts* would be denied: %v", n)
	}
}

// *cache* does not tell by the flag CO who asked: an NXDOMAIN for one client would reach those that take it for bogus.
func TestCompactAnswersOKChangesNothing(t *testing.T) {
	h := guarded(t, signer(testKeys(t, false), "example.org."), testFile(t))
	m := new(dns.Msg)
	m.SetQuestion("nobody.example.org.", dns.TypeA)
	m.SetEdns0(1232, true)
	m.IsEdns0().SetCo(true)
	if got := exchangeWith(t, h, m); got.Rcode != dns.RcodeSuccess {
		t.Errorf("rcode %s, want that for everybody", dns.RcodeToString[got.Rcode])
	}
}

func TestUnsignedAnswersKeepTheirForm(t *testing.T) {
	keys := testKeys(t, false)
	for what, h := range map[string]plugin.Handler{
		"without DO":        guarded(t, signer(keys, "example.org."), testFile(t)),
		"of another zone":   guarded(t, signer(keys, "example.net."), testFile(t)),
		"without any zones": guarded(t, signer(keys), testFile(t)),
	} {
		m := query(t, h, "nobody.example.org.", dns.TypeA, what != "without DO")
		if m.Rcode != dns.RcodeNameError || len(m.Ns) != 1 || len(m.Answer) != 0 {
			t.Errorf("%s: not a plain denial:\n%v", what, m)
			continue
		}
		if soa, ok := m.Ns[0].(*dns.SOA); !ok || soa.Hdr.Ttl != 300 {
			t.Errorf("%s: not the SOA with the TTL of a denial: %v", what, m.Ns[0])
		}
	}
}

func TestNSECQueryIsAnswered(t *testing.T) {
	keys := testKeys(t, false)
	h := guarded(t, signer(keys, "example.org."), testFile(t))
	for _, name := range []string{"mail.example.org.", "nobody.example.org.", "example.org."} {
		m := query(t, h, name, dns.TypeNSEC, true)
		if len(m.Answer) != 2 || len(m.Ns) != 0 || m.Answer[0].Header().Rrtype != dns.TypeNSEC {
			t.Errorf("%s NSEC:\n%v", name, m)
			continue
		}
		for _, rr := range m.Answer {
			if n, ok := rr.(*dns.NSEC); ok && !has(n, dns.TypeNSEC) {
				t.Errorf("the NSEC does not list itself: %v", n)
			}
		}
	}
}

func TestNXNAMEIsNoQuestion(t *testing.T) {
	h := guarded(t, signer(testKeys(t, false), "example.org."), testFile(t))
	m := new(dns.Msg)
	m.SetQuestion("mail.example.org.", dns.TypeNXNAME)
	rcode, err := h.ServeDNS(context.Background(), &test.ResponseWriter{}, m)
	if rcode != dns.RcodeFormatError || err != nil {
		t.Errorf("rcode %s, want FORMERR (RFC 9824 3.5)", dns.RcodeToString[rcode])
	}
}

func TestPositiveAnswersAreTheSame(t *testing.T) {
	keys := testKeys(t, false)
	stock, ours := signer(keys, "example.org.")(testFile(t)), guarded(t, signer(keys, "example.org."), testFile(t))
	for _, q := range []struct {
		name  string
		qtype uint16
	}{
		{"mail.example.org.", dns.TypeA}, {"mail.example.org.", dns.TypeMX}, {"example.org.", dns.TypeSOA},
		{"example.org.", dns.TypeNS}, {"example.org.", dns.TypeDNSKEY}, {"away.example.org.", dns.TypeA}, {"x.tree.example.org.", dns.TypeA},
	} {
		want, got := query(t, stock, q.name, q.qtype, true), query(t, ours, q.name, q.qtype, true)
		if diff := cmp.Diff(kinds(want), kinds(got)); diff != "" {
			t.Errorf("%s %s (-stock +ours):\n%s", q.name, dns.TypeToString[q.qtype], diff)
		}
	}
}

// kinds is a message without signatures' values and the order of its signatures, which no two runs have in common.
func kinds(m *dns.Msg) [][]string {
	var sections [][]string
	for _, section := range [][]dns.RR{m.Answer, m.Ns, m.Extra} {
		var lines []string
		for _, rr := range section {
			if sig, ok := rr.(*dns.RRSIG); ok {
				lines = append(lines, sig.Hdr.Name+" RRSIG "+dns.TypeToString[sig.TypeCovered])
			} else {
				lines = append(lines, rr.String())
			}
		}
		slices.Sort(lines)
		sections = append(sections, lines)
	}
	return append(sections, []string{dns.RcodeToString[m.Rcode]})
}

// keeper is a plugin that keeps its denial, as a server of static data may.
type keeper struct{ m *dns.Msg }

func (k keeper) Name() string { return "file" }

func (k keeper) ServeDNS(_ context.Context, w dns.ResponseWriter, r *dns.Msg) (int, error) {
	k.m.Id, k.m.Question = r.Id, r.Question
	return dns.RcodeSuccess, w.WriteMsg(k.m)
}

func TestTheNextPluginsMessageIsNotChanged(t *testing.T) {
	m := new(dns.Msg)
	m.SetQuestion("mail.example.org.", dns.TypeTXT)
	m.Response = true
	m.Ns = make([]dns.RR, 0, 8) // room to append into
	m.Ns = append(m.Ns, test.SOA("example.org. 3600 IN SOA ns.example.org. hostmaster.example.org. 1 7200 3600 1209600 300"))
	keys := testKeys(t, false)
	h := guarded(t, signer(keys, "example.org."), keeper{m})
	for _, do := range []bool{true, false, true} {
		query(t, h, "mail.example.org.", dns.TypeTXT, do)
		if len(m.Ns) != 1 || m.Ns[0].Header().Ttl != 3600 || len(m.Answer) != 0 || m.Ns[:2][1] != nil {
			t.Fatalf("the message was changed:\n%v", m)
		}
	}
}

func TestDenialOfAnAliasesTargetIsShortToo(t *testing.T) {
	m := new(dns.Msg)
	m.SetQuestion("alias.example.org.", dns.TypeA)
	m.Response, m.Rcode = true, dns.RcodeNameError
	m.Answer = []dns.RR{test.CNAME("alias.example.org. 3600 IN CNAME gone.example.org.")}
	m.Ns = []dns.RR{test.SOA("example.org. 3600 IN SOA ns.example.org. hostmaster.example.org. 1 7200 3600 1209600 300")}
	h := guarded(t, signer(testKeys(t, false), "example.org."), keeper{m})
	for _, do := range []bool{true, false} {
		for _, rr := range query(t, h, "alias.example.org.", dns.TypeA, do).Ns {
			if rr.Header().Ttl != 300 {
				t.Errorf("DO %t: %v", do, rr)
			}
		}
	}
}

func TestTheLowerOfTTLAndMINIMUM(t *testing.T) {
	for _, times := range [][3]uint32{{3600, 300, 300}, {60, 300, 60}, {0, 300, 0}, {300, 0, 0}} {
		soa := &dns.SOA{Hdr: dns.RR_Header{Ttl: times[0]}, Minttl: times[1]}
		if got := Negative(soa).Header().Ttl; got != times[2] || soa.Hdr.Ttl != times[0] {
			t.Errorf("TTL %d, MINIMUM %d: %d", times[0], times[1], got)
		}
	}
}

// mute denies without an SOA, as *hosts* does.
type mute struct{ next plugin.Handler }

func (mute) Name() string { return "hosts" }

func (h mute) ServeDNS(ctx context.Context, w dns.ResponseWriter, r *dns.Msg) (int, error) {
	if r.Question[0].Qtype == dns.TypeSOA {
		return h.next.ServeDNS(ctx, w, r)
	}
	m := new(dns.Msg)
	m.SetReply(r)
	return dns.RcodeSuccess, w.WriteMsg(m)
}

func TestDenialWithoutSOAGetsOne(t *testing.T) {
	keys := testKeys(t, false)
	h := guarded(t, signer(keys, "example.org."), mute{testFile(t)})
	m := query(t, h, "mail.example.org.", dns.TypeAAAA, true)
	if n := proof(t, keys, m); len(m.Ns) != 4 || has(n, dns.TypeAAAA) {
		t.Errorf("not a signed denial:\n%v", m)
	}
}

func TestOtherPluginsAreLeftAlone(t *testing.T) {
	built := 0
	build := func(next plugin.Handler) plugin.Handler {
		built++
		return mute{next}
	}
	h := Guard(build, func() { t.Error("*hosts* is not *dnssec*") })(testFile(t))
	if _, ok := h.(mute); !ok || built != 1 {
		t.Errorf("a handler of another plugin became %T after %d calls", h, built)
	}
}

func TestSignaturesAreFoundAgain(t *testing.T) {
	keys := testKeys(t, false)
	signatures := cache.New[[]dns.RR](10000)
	d := dnssec.New([]string{"example.org."}, keys, false, nil, signatures)
	h := guarded(t, func(next plugin.Handler) plugin.Handler { d.Next = next; return d }, testFile(t))
	for _, name := range []string{"mail.example.org.", "MAIL.example.org.", "mAiL.eXample.org."} {
		query(t, h, name, dns.TypeTXT, true)
	}
	if n := signatures.Len(); n != 2 {
		t.Errorf("%d signatures for one NSEC and one SOA: the case of the question or an unstable text makes more", n)
	}
	query(t, h, "mail.example.org.", dns.TypeCAA, true)
	query(t, h, "ns.example.org.", dns.TypeTXT, true)
	query(t, h, "nobody.example.org.", dns.TypeTXT, true)
	if n := signatures.Len(); n != 5 {
		t.Errorf("%d signatures, want 5: different NSEC records must not share one", n)
	}
}

func TestTextsAreDistinct(t *testing.T) {
	seen := map[string][]uint16{}
	for _, family := range []*types{apexTypes, innerTypes, dnameTypes, cutTypes, noName} {
		for qtype := range uint16(1024) {
			ts := family.except(qtype)
			text := newNSEC("a.example.", 300, ts).String()
			if before, ok := seen[text]; ok && !slices.Equal(before, ts.bitmap) {
				t.Fatalf("%q stands for two bitmaps", text)
			}
			seen[text] = ts.bitmap
			if !slices.IsSorted(ts.bitmap) || len(slices.Compact(slices.Clone(ts.bitmap))) != len(ts.bitmap) {
				t.Fatalf("%q: the types do not ascend: %v", text, ts.bitmap)
			}
		}
	}
	if newNSEC("a.", 1, noName).String() == newNSEC("a.", 2, noName).String() || newNSEC("a.", 1, noName).String() == newNSEC("b.", 1, noName).String() {
		t.Error("name or TTL is not in the text, so one signature would serve for both")
	}
}

func BenchmarkDenial(b *testing.B) {
	keys := testKeys(b, false)
	stock, ours := signer(keys, "example.org.")(testFile(b)), guarded(b, signer(keys, "example.org."), testFile(b))
	for _, q := range []struct {
		what, name string
		qtype      uint16
	}{
		{"positive", "mail.example.org.", dns.TypeA},
		{"nodata", "mail.example.org.", dns.TypeTLSA},
		{"ds", "mail.example.org.", dns.TypeDS},
		{"nxdomain", "nobody.example.org.", dns.TypeA},
	} {
		for _, h := range []struct {
			who string
			plugin.Handler
		}{{"stock", stock}, {"ours", ours}} {
			b.Run(q.what+"/"+h.who, func(b *testing.B) {
				m := new(dns.Msg)
				m.SetQuestion(q.name, q.qtype)
				m.SetEdns0(1232, true)
				w := &test.ResponseWriter{}
				b.ReportAllocs()
				for b.Loop() {
					if _, err := h.ServeDNS(context.Background(), w, m); err != nil {
						b.Fatal(err)
					}
				}
			})
		}
	}
}

package probe

import (
	"crypto/tls"
	"net"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/miekg/dns"
)

func query(name string, qtype uint16) *dns.Msg {
	q := new(dns.Msg)
	q.SetQuestion(name, qtype)
	return q
}

func reply(t testing.TB, q *dns.Msg, rcode int, ad bool, rrs ...string) *dns.Msg {
	t.Helper()
	r := new(dns.Msg)
	r.SetRcode(q, rcode)
	r.AuthenticatedData = ad
	for _, text := range rrs {
		rr, err := dns.NewRR(text)
		if err != nil {
			t.Fatal(err)
		}
		r.Answer = append(r.Answer, rr)
	}
	return r
}

func TestReadingOfReplies(t *testing.T) {
	const name = "mail.example.org."
	q := query(name, dns.TypeA)
	other := reply(t, query("mail.example.net.", dns.TypeA), dns.RcodeSuccess, true, "mail.example.net. A 192.0.2.1")
	ede := reply(t, q, dns.RcodeServerFailure, false)
	ede.SetEdns0(1232, true)
	ede.IsEdns0().Option = append(ede.IsEdns0().Option, &dns.EDNS0_EDE{InfoCode: dns.ExtendedErrorCodeSignatureExpired, ExtraText: "example.org"})
	noReply := reply(t, q, dns.RcodeSuccess, true)
	noReply.Response = false
	for what, c := range map[string]struct {
		reply  *dns.Msg
		status Status
		n      int
		name   string
		reason string
	}{
		"secure":              {reply(t, q, dns.RcodeSuccess, true, name+" A 192.0.2.1"), Secure, 1, name, ""},
		"no AD":               {reply(t, q, dns.RcodeSuccess, false, name+" A 192.0.2.1"), Insecure, 1, name, ""},
		"secure denial":       {reply(t, q, dns.RcodeNameError, true), Secure, 0, name, ""},
		"along two aliases":   {reply(t, q, dns.RcodeSuccess, true, "MAIL.example.org. CNAME b.example.", "b.example. CNAME C.example.", "c.example. A 192.0.2.1"), Secure, 1, "c.example.", ""},
		"in any order":        {reply(t, q, dns.RcodeSuccess, true, "c.example. A 192.0.2.1", "b.example. CNAME c.example.", name+" CNAME b.example."), Secure, 1, "c.example.", ""},
		"a loop":              {reply(t, q, dns.RcodeSuccess, true, name+" CNAME b.example.", "b.example. CNAME "+name), Failed, 0, "", "the reply is a loop of aliases"},
		"records of others":   {reply(t, q, dns.RcodeSuccess, true, "evil.example.org. A 192.0.2.66", name+" AAAA 2001:db8::1"), Secure, 0, name, ""},
		"another class":       {reply(t, q, dns.RcodeSuccess, true, name+" CH A 192.0.2.66"), Secure, 0, name, ""},
		"to another question": {other, Failed, 0, name, "the reply is to another question"},
		"a query come back":   {noReply, Failed, 0, name, "the reply is to another question"},
		"refused":             {reply(t, q, dns.RcodeRefused, true), Failed, 0, name, "the resolver says REFUSED"},
		"with a reason":       {ede, Failed, 0, name, `the resolver says SERVFAIL (Signature Expired: "example.org")`},
	} {
		a := interpret(q, c.reply)
		if a.Status != c.status || len(a.Records) != c.n || c.name != "" && a.Name != c.name || a.Reason != c.reason {
			t.Errorf("%s: %+v", what, a)
		}
	}
}

// A client that asks with DO sees when the signatures end.
func TestTheFirstSignatureToEndCounts(t *testing.T) {
	q := query("example.org.", dns.TypeA)
	a := interpret(q, reply(t, q, dns.RcodeSuccess, true, "example.org. A 192.0.2.1",
		"example.org. RRSIG A 13 2 300 20260801000000 20260501000000 1 example.org. AAAA",
		"example.org. RRSIG A 8 2 300 20260701000000 20260501000000 2 example.org. AAAA"))
	if want := time.Date(2026, 7, 1, 0, 0, 0, 0, time.UTC); !a.Expires.Equal(want) || len(a.Records) != 1 {
		t.Errorf("%+v", a)
	}
}

func FuzzDNSReply(f *testing.F) {
	q := query("mail.example.org.", dns.TypeTLSA)
	for _, r := range []*dns.Msg{
		reply(f, q, dns.RcodeSuccess, true, "mail.example.org. CNAME b.", "b. TLSA 3 1 1 "+none),
		reply(f, q, dns.RcodeServerFailure, false),
		reply(f, q, dns.RcodeSuccess, true, "mail.example.org. TLSA 2 0 0 00", "mail.example.org. RRSIG TLSA 8 2 300 20260701000000 20260501000000 2 example.org. AAAA"),
	} {
		data, err := r.Pack()
		if err != nil {
			f.Fatal(err)
		}
		f.Add(data)
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		r := new(dns.Msg)
		if r.Unpack(data) != nil {
			return
		}
		a := interpret(q, r)
		if a.Status == Failed && a.Reason == "" {
			t.Error("a failure without a reason")
		}
		for _, rr := range a.Records {
			if rr.Header().Rrtype != dns.TypeTLSA || dns.CanonicalName(rr.Header().Name) != a.Name {
				t.Errorf("not asked for: %v", rr)
			}
		}
		for _, r := range sift(a.Records, true, nil) {
			if r.State == usable && r.association.Data == "" {
				t.Errorf("usable without data: %+v", r)
			}
		}
	})
}

// recorded is what a client reads of a handshake in TLS 1.2.
func recorded(t testing.TB) []byte {
	t.Helper()
	near, far := net.Pipe()
	go func() {
		server := tls.Server(far, service{chains: "leaf int", max: tls.VersionTLS12}.config())
		_ = server.Handshake()
		server.Close()
	}()
	wire := &tap{Conn: near}
	if err := tls.Client(wire, &tls.Config{InsecureSkipVerify: true}).Handshake(); err != nil {
		t.Fatal(err)
	}
	near.Close()
	return wire.seen
}

func TestTheClearPartOfAHandshakeHasTheChain(t *testing.T) {
	want := [][]byte{pki()["leaf"].der, pki()["int"].der}
	if diff := cmp.Diff(want, overhear(recorded(t)).chain); diff != "" {
		t.Error(diff)
	}
	for _, data := range [][]byte{nil, {22}, recorded(t)[:50], {21, 3, 3, 0, 2, 2, 40}} {
		if o := overhear(data); o.chain != nil || o.alerted != (len(data) == 7) {
			t.Errorf("%x: %+v", data, o)
		}
	}
}

func FuzzHandshake(f *testing.F) {
	f.Add(recorded(f))
	f.Add([]byte{21, 3, 3, 0, 2, 2, 40})
	f.Fuzz(func(t *testing.T, data []byte) {
		o := overhear(data)
		total := 0
		for _, der := range o.chain {
			total += len(der)
		}
		if total > len(data) {
			t.Errorf("%d octets of certificates from %d", total, len(data))
		}
		if len(o.chain) > 0 {
			e := evidence{records: sift(records(t, "3 1 1 leaf", "2 0 1 int", "1 1 1 leaf"), false, nil), chain: read(o.chain), names: []string{host}, at: now, roots: rootPool()}
			if v := judge(e); v.outcome != Match && len(v.findings) == 0 {
				t.Error("a mismatch without a reason")
			}
		}
	})
}

func records(t testing.TB, texts ...string) []dns.RR {
	t.Helper()
	var rrs []dns.RR
	for _, text := range texts {
		rr, err := dns.NewRR("_443._tcp." + host + ". TLSA " + rdata(t, text))
		if err != nil {
			t.Fatal(err)
		}
		rrs = append(rrs, rr)
	}
	return rrs
}

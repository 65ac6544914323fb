package main

import (
	"bytes"
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"io"
	"math/big"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/miekg/dns"

	"github.com/coredns-tlsa/coredns-tlsa/plugin/tlsa/dane"
)

// fataler is a test or a script.
type fataler interface {
	Fatalf(format string, args ...any)
}

func must[T any](t fataler, v T, err error) T {
	if err != nil {
		t.Fatalf("%v", err)
	}
	return v
}

func newTestApp(stdin io.Reader, stdout, stderr io.Writer, x exchanger) *app {
	return &app{
		stdin: stdin, stdout: stdout, stderr: stderr, getenv: func(string) string { return "" }, now: time.Now, dns: x,
		resolvers: func() ([]string, error) { return []string{"203.0.113.53:53"}, nil },
		dial:      new(net.Dialer).DialContext, atStep: func(string) {},
		sinceBoot:  func() (string, time.Duration) { return "", 0 }, // in a bubble there is no other clock
		dialAdvice: dialAdvice, terminal: func() bool { return false }, exchange: exchange, proc: "/proc",
	}
}

// tlsactl runs in this process.
func tlsactl(t *testing.T, x exchanger, args ...string) (code int, stdout, stderr string) {
	t.Helper()
	var out, talk bytes.Buffer
	code = newTestApp(strings.NewReader(""), &out, &talk, x).run(t.Context(), args)
	return code, out.String(), talk.String()
}

func newKey(t fataler) crypto.Signer {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	return must(t, key, err)
}

func readKey(t fataler, text string) crypto.Signer {
	block, _ := pem.Decode([]byte(text))
	key, err := x509.ParsePKCS8PrivateKey(block.Bytes)
	return must(t, key, err).(crypto.Signer)
}

func pemOf(label string, der []byte) []byte {
	return pem.EncodeToMemory(&pem.Block{Type: label, Bytes: der})
}

// ca issues every certificate of these tests.
var ca = sync.OnceValue(func() (c struct {
	cert *x509.Certificate
	key  crypto.Signer
}) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		panic(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "test CA"}, IsCA: true, BasicConstraintsValid: true,
		NotBefore: time.Unix(1.7e9, 0), NotAfter: time.Unix(4e9, 0), KeyUsage: x509.KeyUsageCertSign,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		panic(err)
	}
	if c.cert, err = x509.ParseCertificate(der); err != nil {
		panic(err)
	}
	c.key = key
	return c
})

func issue(t fataler, name string, key crypto.Signer) []byte {
	serial, err := rand.Int(rand.Reader, big.NewInt(1<<62))
	template := &x509.Certificate{
		SerialNumber: must(t, serial, err), Subject: pkix.Name{CommonName: name},
		NotBefore: time.Unix(1.7e9, 0), NotAfter: time.Unix(4e9, 0),
	}
	if name != "" {
		template.DNSNames = strings.Split(name, ",")
	}
	der, err := x509.CreateCertificate(rand.Reader, template, ca().cert, key.Public(), ca().key)
	return must(t, der, err)
}

// newLineage makes the four files of certbot.
func newLineage(t fataler, name string, key crypto.Signer) map[string][]byte {
	cert, chain := pemOf("CERTIFICATE", issue(t, name, key)), pemOf("CERTIFICATE", ca().cert.Raw)
	der, err := x509.MarshalPKCS8PrivateKey(key)
	return map[string][]byte{
		"cert.pem": cert, "chain.pem": chain, "fullchain.pem": append(bytes.Clone(cert), chain...),
		"privkey.pem": pemOf("PRIVATE KEY", must(t, der, err)),
	}
}

// recordsOf are the 3 1 1 records of a certificate file.
func recordsOf(t fataler, owner string, file []byte) (out []dns.RR) {
	content, err := dane.Parse(file)
	for _, leaf := range dane.Leaves(must(t, content, err).Certificates, nil) {
		a, err := leaf.Material().Association(dane.Combination{Usage: 3, Selector: 1, MatchingType: 1})
		out = append(out, must(t, a, err).TLSA(owner, 0))
	}
	return out
}

// An authority is a name server of one zone. Its signatures are of the form that is looked at, not genuine.
type authority struct {
	mu      sync.Mutex // guards all below
	apex    string
	cuts    []string // for a resolver: the zones that a denial can come from
	ttl     time.Duration
	signed  bool
	lame    bool // answers without authority
	cut     bool // answers over UDP do not fit
	dead    bool // no answer over UDP
	expired bool // signatures are out of date
	wrong   bool // answers are to another question
	// validates is for a resolver: the answers have the AD bit.
	validates bool
	// ahead is how far the clock of its signatures is ahead.
	ahead time.Duration
	rrs   map[string][]dns.RR
}

func (z *authority) set(owner string, rrs ...dns.RR) {
	z.mu.Lock()
	defer z.mu.Unlock()
	if z.rrs == nil {
		z.rrs = make(map[string][]dns.RR)
	}
	z.rrs[strings.ToLower(owner)] = rrs
}

func (z *authority) sign(on bool) { z.change(func() { z.signed = on }) }

func (z *authority) change(f func()) {
	z.mu.Lock()
	defer z.mu.Unlock()
	f()
}

// reply answers one query; nil for none.
func (z *authority) reply(q *dns.Msg, transport string) *dns.Msg {
	z.mu.Lock()
	defer z.mu.Unlock()
	if z.dead && transport == "udp" {
		return nil
	}
	m := new(dns.Msg)
	m.SetReply(q)
	m.Authoritative, m.AuthenticatedData = !z.lame, z.validates
	if z.cut && transport == "udp" {
		m.Truncated = true
		return m
	}
	question := q.Question[0]
	if !dns.IsSubDomain(z.apex, strings.ToLower(question.Name)) {
		m.Rcode = dns.RcodeRefused
		return m
	}
	if z.wrong {
		m.Question[0].Name = "other.example."
	}
	z.fill(m, strings.ToLower(question.Name), question.Qtype)
	// A resolver follows CNAMEs, and denies what is not at their end with the SOA from there.
	end, denied := strings.ToLower(question.Name), len(m.Answer) == 0
	if n := len(m.Answer); n > 0 && len(z.cuts) > 0 {
		if cname, ok := m.Answer[n-1].(*dns.CNAME); ok && question.Qtype != dns.TypeCNAME {
			end, denied = cname.Target, true
		}
	}
	if denied {
		zone := z.apex
		for _, cut := range z.cuts {
			if len(cut) > len(zone) && dns.IsSubDomain(cut, end) {
				zone = cut
			}
		}
		soa := &dns.SOA{Hdr: z.header(zone, dns.TypeSOA), Ns: "ns.", Mbox: "mbox.", Minttl: 60}
		m.Ns = z.withSignature([]dns.RR{soa})
	}
	return m
}

func (z *authority) fill(m *dns.Msg, name string, qtype uint16) {
	var found []dns.RR
	for _, rr := range z.rrs[name] {
		if t := rr.Header().Rrtype; t == qtype || t == dns.TypeCNAME {
			rr = dns.Copy(rr)
			*rr.Header() = z.header(name, t)
			found = append(found, rr)
		}
	}
	if len(found) == 0 {
		return
	}
	m.Answer = append(m.Answer, z.withSignature(found)...)
	const most = 20 // CNAMEs may go in a circle
	if cname, ok := found[0].(*dns.CNAME); ok && qtype != dns.TypeCNAME && len(m.Answer) < most {
		if z.wrong {
			m.Question[0].Name = "other.example."
		}
		z.fill(m, strings.ToLower(cname.Target), qtype)
	}
}

func (z *authority) header(name string, t uint16) dns.RR_Header {
	return dns.RR_Header{Name: name, Rrtype: t, Class: dns.ClassINET, Ttl: uint32(z.ttl.Seconds())}
}

func (z *authority) withSignature(rrset []dns.RR) []dns.RR {
	if !z.signed {
		return rrset
	}
	h := rrset[0].Header()
	from, until := time.Now().Add(z.ahead-time.Hour), time.Now().Add(z.ahead+time.Hour)
	if z.expired {
		from, until = from.Add(-48*time.Hour), until.Add(-48*time.Hour)
	}
	return append(rrset, &dns.RRSIG{
		Hdr: z.header(h.Name, dns.TypeRRSIG), TypeCovered: h.Rrtype, OrigTtl: h.Ttl, SignerName: z.apex, Signature: "AA==",
		Inception: uint32(from.Unix()), Expiration: uint32(until.Unix()),
	})
}

// A server is an authority on the loopback.
type server struct {
	*authority
	addr string
}

func serve(t testing.TB, z *authority) server {
	t.Helper()
	for range 20 {
		udp, err := net.ListenPacket("udp", "127.0.0.1:0")
		must(t, udp, err)
		tcp, err := net.Listen("tcp", udp.LocalAddr().String())
		if err != nil { // somebody else has the port over TCP
			udp.Close()
			continue
		}
		for _, s := range []*dns.Server{
			{PacketConn: udp, Handler: z.handler("udp")}, {Listener: tcp, Handler: z.handler("tcp")},
		} {
			go func() { _ = s.ActivateAndServe() }()
			t.Cleanup(func() { _ = s.Shutdown() })
		}
		return server{z, udp.LocalAddr().String()}
	}
	t.Fatal("no port is free over both UDP and TCP")
	return server{}
}

func (z *authority) handler(transport string) dns.HandlerFunc {
	return func(w dns.ResponseWriter, q *dns.Msg) {
		if m := z.reply(q, transport); m != nil {
			_ = w.WriteMsg(m)
		}
	}
}

// A world is the exchanger of tests: authorities and resolvers by address, without a network.
type world struct {
	mu      sync.Mutex // guards servers and asked
	servers map[string]*authority
	asked   int
}

func (w *world) exchange(_ context.Context, q *dns.Msg, transport, addr string) (*dns.Msg, error) {
	w.mu.Lock()
	z := w.servers[addr]
	w.asked++
	w.mu.Unlock()
	if z == nil {
		return nil, errors.New("connection refused")
	}
	if m := z.reply(q, transport); m != nil {
		return m, nil
	}
	return nil, errors.New("i/o timeout")
}

func (w *world) put(addr string, z *authority) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.servers == nil {
		w.servers = make(map[string]*authority)
	}
	w.servers[addr] = z
}

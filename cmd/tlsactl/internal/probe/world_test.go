package probe

import (
	"bufio"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/miekg/dns"
)

// patient bounds what should take milliseconds.
const patient = 30 * time.Second

// zones is a resolver that validates: it answers with AD what is not marked, as real UDP and TCP servers on loopback.
type zones struct {
	rrs      []string
	insecure []string // names, with all below: no AD
	bogus    []string // "NAME" or "NAME TYPE": SERVFAIL, unless checking is disabled
	dead     []string // "NAME" or "NAME TYPE": SERVFAIL in any case
	refused  []string // "NAME TYPE": REFUSED
	tcp      bool     // UDP replies are truncated
}

func marked(list []string, name string, qtype uint16) bool {
	for _, entry := range list {
		n, kind, hasKind := strings.Cut(entry, " ")
		if (!hasKind || dns.StringToType[kind] == qtype) && dns.IsSubDomain(dns.Fqdn(n), name) {
			return true
		}
	}
	return false
}

func (z *zones) ServeDNS(w dns.ResponseWriter, q *dns.Msg) {
	name, qtype := dns.CanonicalName(q.Question[0].Name), q.Question[0].Qtype
	r := new(dns.Msg)
	r.SetReply(q)
	r.AuthenticatedData = q.AuthenticatedData && !q.CheckingDisabled
	r.RecursionAvailable = true
	r.Rcode = dns.RcodeNameError
	_, udp := w.RemoteAddr().(*net.UDPAddr)
	for range 9 {
		switch {
		case marked(z.refused, name, qtype):
			r.Rcode = dns.RcodeRefused
		case marked(z.dead, name, qtype), marked(z.bogus, name, qtype) && !q.CheckingDisabled:
			r.Rcode = dns.RcodeServerFailure
		default:
			if marked(z.insecure, name, qtype) {
				r.AuthenticatedData = false
			}
			if alias := z.answer(r, name, qtype); alias != "" {
				name = alias
				continue
			}
		}
		break
	}
	if r.Rcode == dns.RcodeServerFailure || r.Rcode == dns.RcodeRefused {
		r.Answer, r.AuthenticatedData = nil, false
	}
	if z.tcp && udp {
		r.Answer, r.Truncated = nil, true
	}
	_ = w.WriteMsg(r)
}

// answer adds the records of a name and gives the target of its alias.
func (z *zones) answer(r *dns.Msg, name string, qtype uint16) (alias string) {
	r.Rcode = dns.RcodeNameError
	for _, text := range z.rrs {
		rr, err := dns.NewRR(text)
		if err != nil {
			panic(fmt.Sprintf("%s: %v", text, err))
		}
		switch h := rr.Header(); {
		case dns.IsSubDomain(name, dns.CanonicalName(h.Name)) && dns.CanonicalName(h.Name) != name && r.Rcode != dns.RcodeSuccess:
			r.Rcode = dns.RcodeSuccess // an empty non-terminal
		case dns.CanonicalName(h.Name) != name:
		case h.Rrtype == dns.TypeCNAME && qtype != dns.TypeCNAME:
			r.Rcode = dns.RcodeSuccess
			r.Answer = append(r.Answer, rr)
			alias = dns.CanonicalName(rr.(*dns.CNAME).Target)
		default:
			r.Rcode = dns.RcodeSuccess
			if h.Rrtype == qtype || h.Rrtype == dns.TypeRRSIG && rr.(*dns.RRSIG).TypeCovered == qtype {
				r.Answer = append(r.Answer, rr)
			}
		}
	}
	return alias
}

// serve starts the resolver and gives its address.
func (z *zones) serve(t testing.TB) string {
	t.Helper()
	var conn net.PacketConn
	var l net.Listener
	for range 20 { // the same port for both
		var err error
		if conn, err = net.ListenPacket("udp", "127.0.0.1:0"); err != nil {
			t.Fatal(err)
		}
		if l, err = net.Listen("tcp", conn.LocalAddr().String()); err == nil {
			break
		}
		conn.Close()
	}
	for _, s := range []*dns.Server{{PacketConn: conn, Handler: z}, {Listener: l, Handler: z}} {
		ready := make(chan struct{})
		s.NotifyStartedFunc = func() { close(ready) }
		go func() { _ = s.ActivateAndServe() }()
		<-ready
		t.Cleanup(func() { _ = s.Shutdown() })
	}
	return conn.LocalAddr().String()
}

// A service is one TLS server.
type service struct {
	chains   string // certificates, leaf first; "|" parts the chains of several keys
	protocol string // "smtp" speaks STARTTLS first, "plain" has none
	min, max uint16 // versions of TLS
	talk     func(conn net.Conn)
}

func (s service) config() *tls.Config {
	// An old server still has suites that exchange keys by RSA, which costs it nothing here.
	config := &tls.Config{MinVersion: max(s.min, tls.VersionTLS10), MaxVersion: s.max}
	for names := range strings.SplitSeq(s.chains, "|") {
		config.Certificates = append(config.Certificates, chain(names))
	}
	return config
}

// handle is one connection.
func (s service) handle(conn net.Conn) {
	defer conn.Close()
	if s.talk != nil {
		s.talk(conn)
		return
	}
	if s.protocol == "smtp" || s.protocol == "plain" {
		offer := map[string]string{"smtp": "STARTTLS", "plain": "SIZE"}[s.protocol]
		in := bufio.NewReader(conn)
		_, _ = io.WriteString(conn, "220 mx ESMTP\r\n")
		_, _ = in.ReadString('\n')
		_, _ = io.WriteString(conn, "250-mx\r\n250 "+offer+"\r\n")
		line, _ := in.ReadString('\n')
		if s.protocol == "plain" || line != "STARTTLS\r\n" {
			_, _ = io.WriteString(conn, "502 no\r\n")
			return
		}
		_, _ = io.WriteString(conn, "220 go\r\n")
	}
	server := tls.Server(conn, s.config())
	if server.Handshake() != nil {
		return
	}
	for in := bufio.NewScanner(server); in.Scan() && s.protocol == "smtp"; {
		_, _ = io.WriteString(server, "250 ok\r\n")
	}
}

// internet maps addresses of the zone to servers. An address that is not in it refuses the connection.
type internet map[string]service

// dialer starts the servers on loopback and connects to them by their public address.
func (n internet) dialer(t testing.TB) func(ctx context.Context, network, addr string) (net.Conn, error) {
	t.Helper()
	real := make(map[string]string)
	var all sync.WaitGroup
	t.Cleanup(all.Wait) // after the listeners are closed
	for addr, s := range n {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		real[addr] = l.Addr().String()
		all.Go(func() {
			for {
				conn, err := l.Accept()
				if err != nil {
					return
				}
				_ = conn.SetDeadline(time.Now().Add(patient))
				all.Go(func() { s.handle(conn) })
			}
		})
		t.Cleanup(func() { l.Close() })
	}
	return func(ctx context.Context, network, addr string) (net.Conn, error) {
		to, ok := real[addr]
		if !ok {
			return nil, &net.OpError{Op: "dial", Net: network, Err: errors.New("connection refused")}
		}
		return new(net.Dialer).DialContext(ctx, network, to)
	}
}

// check runs the engine over a resolver and servers.
func check(t testing.TB, z *zones, n internet, target Target) *Report {
	t.Helper()
	return Check(t.Context(), target, Options{
		Resolver: &DNS{Addrs: []string{z.serve(t)}, Timeout: patient},
		Dial:     n.dialer(t), At: now, Roots: rootPool(), Timeout: patient,
	})
}

func parse(t testing.TB, arg string, mx bool) Target {
	t.Helper()
	target, err := ParseTarget(arg, mx, "")
	if err != nil {
		t.Fatal(err)
	}
	return target
}

// results gives the words of TLSRPT of all findings, each once.
func results(r *Report) []string {
	var all []string
	for _, f := range r.All() {
		if f.Result != "" && !slices.Contains(all, f.Result) {
			all = append(all, f.Result)
		}
	}
	return all
}

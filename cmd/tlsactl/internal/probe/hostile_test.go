package probe

import (
	"bufio"
	"context"
	"crypto/tls"
	"io"
	"net"
	"runtime"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/miekg/dns"
)

// signed answers what every hostile server's host has.
type signed struct{}

func (signed) Lookup(_ context.Context, name string, qtype uint16) Answer {
	a := Answer{Status: Secure, Name: name, Exists: true}
	text := map[uint16]string{
		dns.TypeA: host + ". A 192.0.2.1", dns.TypeTLSA: name + " TLSA 3 1 1 " + none,
	}[qtype]
	if rr, err := dns.NewRR(text); err == nil && rr != nil {
		a.Records = []dns.RR{rr}
	}
	return a
}

// against checks one server, in memory and under a clock that jumps ahead while everybody waits; it gives the time spent.
func against(t *testing.T, arg string, server func(conn net.Conn)) (r *Report, spent time.Duration) {
	t.Helper()
	target := parse(t, arg, false)
	synctest.Test(t, func(t *testing.T) {
		var servers sync.WaitGroup
		start := time.Now()
		dial := func(context.Context, string, string) (net.Conn, error) {
			near, far := net.Pipe()
			servers.Go(func() {
				defer far.Close()
				server(far)
			})
			return near, nil
		}
		r = Check(t.Context(), target, Options{Resolver: signed{}, Dial: dial, At: now, Roots: rootPool(), Timeout: 15 * time.Second})
		spent = time.Since(start)
		servers.Wait()
	})
	return r, spent
}

func TestHostileServersCostBoundedTime(t *testing.T) {
	flood := func(text string) func(net.Conn) {
		return func(conn net.Conn) {
			go func() { _, _ = io.Copy(io.Discard, conn) }()
			for {
				if _, err := io.WriteString(conn, text); err != nil {
					return
				}
			}
		}
	}
	drip := func(text string) func(net.Conn) {
		return func(conn net.Conn) {
			go func() { _, _ = io.Copy(io.Discard, conn) }()
			for i := 0; ; i++ {
				if _, err := io.WriteString(conn, text[i%len(text):][:1]); err != nil {
					return
				}
				time.Sleep(time.Second)
			}
		}
	}
	consent := func(then string) func(net.Conn) {
		return func(conn net.Conn) {
			in := bufio.NewReader(conn)
			for _, reply := range []string{"220 mx\r\n", "250-mx\r\n250 STARTTLS\r\n", "220 go\r\n"} {
				_, _ = io.WriteString(conn, reply)
				if reply != "220 go\r\n" {
					_, _ = in.ReadString('\n')
				}
			}
			go func() { _, _ = io.WriteString(conn, then) }()
			_, _ = io.Copy(io.Discard, in)
		}
	}
	silent := func(conn net.Conn) { _, _ = io.Copy(io.Discard, conn) }
	record := "\x16\x03\x03\x40\x00" + strings.Repeat("\x00", 1<<14) // empty handshake messages for ever
	for what, c := range map[string]struct {
		target string
		server func(net.Conn)
		want   Outcome
		most   time.Duration
	}{
		"a silent mail server":        {host + ":25", silent, Unreachable, 15 * time.Second},
		"a silent TLS server":         {host + ":443", silent, Unreachable, 15 * time.Second},
		"a greeting octet by octet":   {host + ":25", drip("220-patience\r\n"), Unreachable, 15 * time.Second},
		"a greeting without end":      {host + ":25", flood("220-more\r\n"), Mismatch, time.Second},
		"a line without end":          {host + ":25", flood("x"), Mismatch, time.Second},
		"XML without end":             {host + ":5222", flood("<a>"), Mismatch, time.Second},
		"TLS octet by octet":          {host + ":443", drip(record), Unreachable, 15 * time.Second},
		"TLS records without end":     {host + ":443", flood(record), Mismatch, time.Second},
		"warnings of TLS without end": {host + ":443", flood("\x15\x03\x03\x00\x02\x01\x00"), Mismatch, time.Second},
		"consent and then silence":    {host + ":25", consent(""), Unreachable, 15 * time.Second},
		"consent and then plain text": {host + ":25", consent("250 what TLS?\r\n"), Mismatch, 50 * time.Second},
		"certificates, then no proof": {host + ":443", halfway, Unreachable, 15 * time.Second},
	} {
		t.Run(what, func(t *testing.T) {
			r, spent := against(t, c.target, c.server)
			if silence := c.most == 15*time.Second; silence != strings.Contains(describe(r), "in time") {
				t.Errorf("silence is said to be that, and nothing else is: %s", describe(r))
			}
			if r.Outcome != c.want || spent > c.most {
				t.Errorf("%s after %s, want %s within %s\n%s", r.Outcome, spent, c.want, c.most, describe(r))
			}
		})
	}
}

// halfway is a server that stops after its certificates, before it proves that it holds the key.
func halfway(conn net.Conn) {
	_ = tls.Server(&halved{Conn: conn}, service{chains: "leaf int root", max: tls.VersionTLS12}.config()).Handshake()
}

// halved keeps back the end of the first flight.
type halved struct {
	net.Conn
	quiet bool
}

func (h *halved) Write(p []byte) (int, error) {
	const proof = 60 // octets, less than ServerKeyExchange and ServerHelloDone
	if h.quiet {
		return len(p), nil
	}
	h.quiet = true
	if _, err := h.Conn.Write(p[:len(p)-proof]); err != nil {
		return 0, err
	}
	return len(p), nil
}

// A chain of 256 KiB is more than any server needs, and crypto/tls ends it there; what is looked at is far less.
func TestALongChainIsCutShort(t *testing.T) {
	long := service{chains: "leaf" + strings.Repeat(" int", 200)}
	z := &zones{rrs: []string{host + ". A 192.0.2.1", "_443._tcp." + host + ". TLSA " + rdata(t, "3 1 1 leaf")}}
	r := check(t, z, internet{"192.0.2.1:443": long}, parse(t, host+":443", false))
	probe := r.Hosts[0].Addresses[0].Probes[0]
	if r.Outcome != Match || len(probe.Chain) != maxChain || len(probe.Findings) != 1 || probe.Findings[0].Level != Warning {
		t.Errorf("%s", describe(r))
	}
	longer := service{chains: "leaf" + strings.Repeat(" int", 900)}
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	r = check(t, z, internet{"192.0.2.1:443": longer}, parse(t, host+":443", false))
	runtime.ReadMemStats(&after)
	if r.Outcome != Mismatch {
		t.Errorf("%s", describe(r))
	}
	if spent := after.TotalAlloc - before.TotalAlloc; spent > 64<<20 {
		t.Errorf("a chain of %d KiB cost %d MiB", 900*len(pki()["int"].der)>>10, spent>>20)
	}
}

// A server without the key of the certificate that it shows is no match.
func TestAServerMustHoldTheKey(t *testing.T) {
	forged := chain("leaf int")
	forged.PrivateKey = pki()["stranger"].key
	z := &zones{rrs: []string{host + ". A 192.0.2.1", "_443._tcp." + host + ". TLSA " + rdata(t, "3 1 1 leaf")}}
	server := service{talk: func(conn net.Conn) {
		_ = tls.Server(conn, &tls.Config{Certificates: []tls.Certificate{forged}}).Handshake()
	}}
	if r := check(t, z, internet{"192.0.2.1:443": server}, parse(t, host+":443", false)); r.Outcome != Mismatch {
		t.Errorf("%s", describe(r))
	}
}

// A check that is cancelled ends, and says that it saw nothing.
func TestACancelledCheckIsNoVerdict(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		time.AfterFunc(time.Second, cancel)
		dial := func(context.Context, string, string) (net.Conn, error) {
			near, far := net.Pipe()
			go func() { _, _ = io.Copy(io.Discard, far) }()
			return near, nil
		}
		r := Check(ctx, parse(t, host+":25", false), Options{Resolver: signed{}, Dial: dial, At: now, Timeout: time.Hour})
		if r.Outcome != Unreachable {
			t.Errorf("%s", describe(r))
		}
	})
}

// No resolver is no verdict either.
func TestASilentResolverIsUnreachable(t *testing.T) {
	conn, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	addr := conn.LocalAddr().String()
	conn.Close()
	r := Check(t.Context(), parse(t, domain, false), Options{Resolver: &DNS{Addrs: []string{addr}, Timeout: patient}, At: now})
	if r.Outcome != Unreachable || !strings.Contains(describe(r), "--resolver") {
		t.Errorf("%s", describe(r))
	}
}

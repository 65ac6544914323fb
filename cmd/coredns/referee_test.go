//go:build referee

package main

import (
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/miekg/dns"
)

// The referees of this file are other people's validators. The server under test signs with the demonstration key, which
// is their trust anchor.

func anchor(t *testing.T) string {
	t.Helper()
	text := read(t, "../../testdata/demo/Kexample.org.+013+06643.key")
	for line := range strings.Lines(text) {
		if !strings.HasPrefix(line, ";") && strings.Contains(line, "DNSKEY") {
			return strings.TrimSpace(line)
		}
	}
	t.Fatal("no DNSKEY")
	return ""
}

// daemon runs a program in the foreground until the test ends.
func daemon(t *testing.T, name string, args ...string) *journal {
	t.Helper()
	cmd := exec.Command(name, args...)
	log := &journal{}
	cmd.Stdout, cmd.Stderr = log, log
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
		if t.Failed() {
			t.Logf("%s said:\n%s", name, log)
		}
	})
	return log
}

// unboundConf has a strict validator on a port of 127.0.0.1, with the anchor in dir and the zone at stub.
func unboundConf(dir, port, stub string) string {
	return fmt.Sprintf(`server:
    interface: 127.0.0.1
    port: %s
    username: ""
    chroot: ""
    directory: "%s"
    pidfile: ""
    use-syslog: no
    do-not-query-localhost: no
    module-config: "validator iterator"
    trust-anchor-file: "%s/anchor"
    qname-minimisation-strict: yes
    use-caps-for-id: yes
    val-log-level: 2
remote-control:
    control-enable: no
stub-zone:
    name: "example.org"
    stub-addr: %s
`, port, dir, dir, stub)
}

// unbound is a validating resolver for the server's zone; it gives its address.
func unbound(t *testing.T, s *server) string {
	t.Helper()
	return unboundAt(t, "", s.upstream())
}

// trustAnchors is BIND's way to write the anchor.
func trustAnchors(t *testing.T) string {
	t.Helper()
	return "trust-anchors {\n" + trustAnchor(anchor(t)) + "};\n"
}

// named is BIND as validating resolver for the server's zone; it gives its address.
func named(t *testing.T, s *server) string {
	t.Helper()
	return namedAt(t, s.upstream())
}

// resolve asks a validating resolver and gives the reply; AD tells that it validated.
func resolve(t *testing.T, addr, name string, qtype uint16) *dns.Msg {
	t.Helper()
	m := new(dns.Msg)
	m.SetQuestion(name, qtype)
	m.SetEdns0(1232, true)
	m.RecursionDesired, m.AuthenticatedData = true, true
	var reply *dns.Msg
	poll(t, name, func() (bool, string) {
		r, err := exchange(dns.Client{}, m, addr)
		reply = r
		return err == nil, fmt.Sprint(err)
	})
	return reply
}

// shapes are the answers and denials of design 5 over a zone of the plugin *file*.
func shapes() map[string]struct {
	name  string
	qtype uint16
	some  bool // an answer, not a denial
} {
	type shape = struct {
		name  string
		qtype uint16
		some  bool
	}
	const none, wild = "_443._tcp.none.example.org.", "_443._tcp.any.wild.example.org."
	return map[string]shape{
		"the RRset":                             {owner, dns.TypeTLSA, true},
		"another type at the owner":             {owner, dns.TypeA, false},
		"the empty non-terminal":                {"_tcp.mail.example.org.", dns.TypeA, false},
		"TLSA there":                            {"_tcp.mail.example.org.", dns.TypeTLSA, false},
		"the host":                              {"mail.example.org.", dns.TypeA, true},
		"a type that the host has not":          {"mail.example.org.", dns.TypeAAAA, false},
		"an unknown port":                       {"_26._tcp.mail.example.org.", dns.TypeTLSA, false},
		"an unknown host":                       {"nobody.example.org.", dns.TypeTLSA, false},
		"an owner without certificate":          {none, dns.TypeTLSA, false},
		"a host that exists only because of us": {"none.example.org.", dns.TypeA, false},
		"an owner under _dane":                  {"mx1._dane.example.org.", dns.TypeTLSA, true},
		"another type there":                    {"mx1._dane.example.org.", dns.TypeTXT, false},
		"the name above it":                     {"_dane.example.org.", dns.TypeTLSA, false},
		"an alias of an owner":                  {"_25._tcp.alias.example.org.", dns.TypeTLSA, true},
		"an owner under a wildcard's host":      {wild, dns.TypeTLSA, true},
		"what the wildcard does not show there": {"_tcp.any.wild.example.org.", dns.TypeA, false},
		"the wildcard's host":                   {"any.wild.example.org.", dns.TypeA, true},
		"another host of the wildcard":          {"other.wild.example.org.", dns.TypeA, true},
		"the apex":                              {"example.org.", dns.TypeSOA, true},
		"ours joined with the zone's own":       {"_587._tcp.mail.example.org.", dns.TypeTLSA, true},
	}
}

// shapesServer serves them.
func shapesServer(t *testing.T) *server {
	t.Helper()
	s := tree(t, "")
	layouts()["rename"].create(t, filepath.Join(s.dir, "live"), newCert(t).pem)
	write(t, s.conf, strings.Replace(read(t, s.conf), "name _25._tcp.mail",
		"name _25._tcp.mail\n        name _587._tcp.mail\n        name mx1._dane _443._tcp.any.wild from mail\n        name _443._tcp.none", 1))
	write(t, filepath.Join(s.dir, "db.example.org"), zoneFile+`*.wild      IN A     127.0.0.1
_25._tcp.alias IN CNAME mx1._dane
_587._tcp.mail IN TLSA 3 1 2 `+strings.Repeat("ab", 64)+`
`)
	s.start()
	s.first(owner)
	return s
}

func TestResolversValidateEveryShape(t *testing.T) {
	s := shapesServer(t)
	for name, resolver := range map[string]string{"unbound": unbound(t, s), "named": named(t, s)} {
		for what, q := range shapes() {
			r := resolve(t, resolver, q.name, q.qtype)
			if r.Rcode == dns.RcodeServerFailure || !r.AuthenticatedData || len(r.Answer) > 0 != q.some {
				t.Errorf("%s, %s (%s %s): %v", name, what, q.name, dns.TypeToString[q.qtype], r)
			}
		}
	}
}

func TestDelvValidatesEveryShape(t *testing.T) {
	s := shapesServer(t)
	keys := filepath.Join(t.TempDir(), "keys")
	write(t, keys, trustAnchors(t))
	for what, q := range shapes() {
		out, err := exec.Command("delv", "@127.0.0.1", "-p", s.port, "-a", keys, "+root=example.org", q.name, dns.TypeToString[q.qtype]).CombinedOutput()
		want := "; fully validated"
		if !q.some {
			want = "; negative response, fully validated"
		}
		if err != nil || !strings.Contains(string(out), want) {
			t.Errorf("%s: %v\n%s", what, err, out)
		}
	}
}

// tlsServer presents one certificate on a loopback port.
func tlsServer(t *testing.T, c tls.Certificate) string {
	t.Helper()
	l, err := tls.Listen("tcp", "127.0.0.1:0", &tls.Config{Certificates: []tls.Certificate{c}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			go func(conn net.Conn) {
				defer conn.Close()
				_ = conn.(*tls.Conn).Handshake()
			}(conn)
		}
	}()
	return l.Addr().String()
}

// sClient connects as openssl with the records that dig returned and tells whether DANE verified the server.
func sClient(t *testing.T, s *server, addr string) (bool, string) {
	t.Helper()
	out, err := exec.Command("dig", "@127.0.0.1", "-p", s.port, "+short", "+nosplit", owner, "TLSA").Output()
	if err != nil {
		t.Fatal(err)
	}
	args := []string{"s_client", "-brief", "-verify_return_error", "-connect", addr, "-dane_tlsa_domain", "mail.example.org", "-dane_ee_no_namechecks"}
	for rr := range strings.Lines(strings.TrimSpace(string(out))) {
		args = append(args, "-dane_tlsa_rrdata", strings.TrimSpace(rr))
	}
	text, err := exec.Command("openssl", args...).CombinedOutput()
	return err == nil && strings.Contains(string(text), "Verification: OK"), string(text)
}

func TestOpensslAcceptsOldAndNewServerAtEveryMomentOfAGatedRollover(t *testing.T) {
	s := tree(t, "")
	live := filepath.Join(s.dir, "live")
	oldPair, newPair, stranger := newPair(t), newPair(t), newPair(t)
	in := layouts()["rename"]
	in.create(t, live, oldPair.pem)
	write(t, s.conf, strings.Replace(read(t, s.conf), "certs live", "certs live\n        next next", 1))
	if err := os.MkdirAll(filepath.Join(s.dir, "next"), 0o755); err != nil {
		t.Fatal(err)
	}
	s.start()
	s.first(owner)
	oldServer, newServer, wrongServer := tlsServer(t, oldPair.pair), tlsServer(t, newPair.pair), tlsServer(t, stranger.pair)
	accepts := func(moment, addr string, want bool) {
		t.Helper()
		if ok, text := sClient(t, s, addr); ok != want {
			t.Errorf("%s: openssl accepts %v, want %v\n%s", moment, ok, want, text)
		}
	}
	accepts("before, the old certificate", oldServer, true)
	accepts("before, the new certificate, as without a gate", newServer, false)
	write(t, filepath.Join(s.dir, "next", "mail.example.org.pem"), newPair.pem)
	poll(t, "the staged key", func() (bool, string) {
		got, err := s.ask(owner)
		return len(got) == 2, fmt.Sprint(got, err)
	})
	accepts("staged, the old certificate", oldServer, true)
	accepts("staged, the new certificate", newServer, true)
	poll(t, "the line that says Ready", func() (bool, string) {
		return strings.Contains(s.log.String(), "every cache has it"), s.log.String()
	})
	in.renew(t, live, newPair.pem)
	poll(t, "the line that says retired", func() (bool, string) {
		return strings.Contains(s.log.String(), "is retired"), s.log.String()
	})
	accepts("installed, the old certificate", oldServer, true)
	accepts("installed, the new certificate", newServer, true)
	poll(t, "the removal", func() (bool, string) {
		got, err := s.ask(owner)
		return len(got) == 1, fmt.Sprint(got, err)
	})
	accepts("after grace, the new certificate", newServer, true)
	accepts("after grace, the old certificate", oldServer, false)
	accepts("a stranger", wrongServer, false)
	if strings.Contains(s.log.String(), "UNGATED") {
		t.Error("a gated rollover was called ungated")
	}
}

// pair is a cert together with what a TLS server needs of it.
type pair struct {
	cert
	pair tls.Certificate
}

func newPair(t *testing.T) pair {
	t.Helper()
	c, key := newKeyedCert(t)
	block, _ := pem.Decode([]byte(c.pem))
	if _, err := x509.ParseCertificate(block.Bytes); err != nil {
		t.Fatal(err)
	}
	return pair{cert: c, pair: tls.Certificate{Certificate: [][]byte{block.Bytes}, PrivateKey: key}}
}

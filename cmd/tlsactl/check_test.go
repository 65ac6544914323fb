package main

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/miekg/dns"
	"github.com/rogpeppe/go-internal/testscript"

	"github.com/coredns-tlsa/coredns-tlsa/cmd/tlsactl/internal/probe"
)

// checkCert makes a certificate for mail.example.org until 2040.
func checkCert(t testing.TB) (c tls.Certificate, spki string) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "mail"}, DNSNames: []string{"mail.example.org"},
		NotBefore: time.Date(2020, 1, 1, 0, 0, 0, 0, time.UTC), NotAfter: time.Date(2040, 1, 1, 0, 0, 0, 0, time.UTC),
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), crypto.Signer(key))
	if err != nil {
		t.Fatal(err)
	}
	parsed, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}, fmt.Sprintf("%x", sha256.Sum256(parsed.RawSubjectPublicKeyInfo))
}

// checkServer presents a certificate on loopback and gives its port.
func checkServer(t testing.TB, c tls.Certificate) string {
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
			go func() {
				defer conn.Close()
				_ = conn.(*tls.Conn).Handshake()
			}()
		}
	}()
	_, port, _ := net.SplitHostPort(l.Addr().String())
	return port
}

// checkZone answers with AD, but not below insecure.example.
func checkZone(t testing.TB, zone string) string {
	t.Helper()
	records := make(map[string][]dns.RR)
	parser := dns.NewZoneParser(strings.NewReader(zone), ".", "")
	for rr, ok := parser.Next(); ok; rr, ok = parser.Next() {
		name := rr.Header().Name
		records[name] = append(records[name], rr)
	}
	if err := parser.Err(); err != nil {
		t.Fatal(err)
	}
	conn, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	handler := dns.HandlerFunc(func(w dns.ResponseWriter, q *dns.Msg) {
		name := q.Question[0].Name
		r := new(dns.Msg)
		r.SetReply(q)
		r.AuthenticatedData = !dns.IsSubDomain("insecure.example.", name)
		for _, rr := range records[name] {
			if rr.Header().Rrtype == q.Question[0].Qtype {
				r.Answer = append(r.Answer, rr)
			}
		}
		_ = w.WriteMsg(r)
	})
	ready := make(chan struct{})
	s := &dns.Server{PacketConn: conn, Handler: handler, NotifyStartedFunc: func() { close(ready) }}
	go func() { _ = s.ActivateAndServe() }()
	<-ready
	t.Cleanup(func() { _ = s.Shutdown() })
	return conn.LocalAddr().String()
}

// Each script is one way to use the verb: exit codes and both outputs.
func TestCheckScripts(t *testing.T) {
	cert, spki := checkCert(t)
	port := checkServer(t, cert)
	closed, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	_, dead, _ := net.SplitHostPort(closed.Addr().String())
	closed.Close()
	zone := "mail.example.org. 60 A 127.0.0.1\nnone.example.org. 60 A 127.0.0.1\nmail.insecure.example. 60 A 127.0.0.1\nwrong.example.org. 60 A 127.0.0.1\n" +
		"null.example.org. 60 MX 0 .\ndate.example.org. 60 A 127.0.0.1\n" +
		fmt.Sprintf("_%s._tcp.mail.example.org. 60 TLSA 3 1 1 %s\n", port, spki) +
		fmt.Sprintf("_%s._tcp.mail.example.org. 60 TLSA 3 1 1 %s\n", dead, spki) +
		fmt.Sprintf("_%s._tcp.mail.insecure.example. 60 TLSA 3 1 1 %s\n", port, spki) +
		fmt.Sprintf("_%s._tcp.date.example.org. 60 TLSA 1 1 1 %s\n", port, spki) +
		fmt.Sprintf("_%s._tcp.wrong.example.org. 60 TLSA 3 1 1 %s\n", port, strings.Repeat("00", 32))
	resolver := checkZone(t, zone)
	testscript.Run(t, testscript.Params{
		Dir: filepath.Join("testdata", "check"),
		Setup: func(env *testscript.Env) error {
			env.Setenv("DNS", resolver)
			env.Setenv("PORT", port)
			env.Setenv("DEAD", dead)
			env.Setenv("SPKI", spki)
			data := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: cert.Certificate[0]})
			return os.WriteFile(filepath.Join(env.WorkDir, "roots.pem"), data, 0o600)
		},
		Cmds: map[string]func(ts *testscript.TestScript, neg bool, args []string){
			// "check CODE ARGUMENTS" runs the verb and wants its exit code.
			"check": func(ts *testscript.TestScript, _ bool, args []string) {
				for i, arg := range args {
					if arg == "roots.pem" {
						args[i] = ts.MkAbs(arg)
					}
				}
				if code := run(t.Context(), append([]string{"check"}, args[1:]...), ts.Stdout(), ts.Stderr()); strconv.Itoa(code) != args[0] {
					ts.Fatalf("exit code %d, want %s", code, args[0])
				}
			},
			"json": func(ts *testscript.TestScript, _ bool, _ []string) {
				var r probe.Report
				ts.Check(json.Unmarshal([]byte(ts.ReadFile("stdout")), &r))
				if r.Version != probe.ReportVersion || r.Outcome != probe.Match || len(r.Hosts) != 1 || len(r.Hosts[0].Addresses[0].Probes) != 3 {
					ts.Fatalf("the JSON says %+v", r)
				}
			},
		},
	})
}

func TestMomentsOfAt(t *testing.T) {
	now := time.Date(2026, 6, 1, 12, 0, 0, 0, time.UTC)
	for text, want := range map[string]time.Time{
		"":                          now,
		"+72h":                      now.Add(72 * time.Hour),
		"+30d":                      now.Add(720 * time.Hour),
		"2026-12-31":                time.Date(2026, 12, 31, 0, 0, 0, 0, time.UTC),
		"2026-12-31T12:00:00Z":      time.Date(2026, 12, 31, 12, 0, 0, 0, time.UTC),
		"2026-12-31T12:00:00+02:00": time.Date(2026, 12, 31, 10, 0, 0, 0, time.UTC),
	} {
		if got, err := momentOf(text, now); err != nil || !got.Equal(want) {
			t.Errorf("%q: %v, %v", text, got, err)
		}
	}
	for _, text := range []string{"tomorrow", "+", "+-1h", "72h", "2026-13-01"} {
		if got, err := momentOf(text, now); err == nil {
			t.Errorf("%q is taken for %v", text, got)
		}
	}
}

func TestEveryOutcomeHasExitCodes(t *testing.T) {
	want := map[probe.Outcome][2]int{
		probe.Match: {0, 0}, probe.Mismatch: {1, 2}, probe.NotSecure: {4, 1}, probe.Unreachable: {5, 3},
	}
	for outcome, codes := range want {
		if checkExit[outcome] != codes {
			t.Errorf("%s: %v, want %v", outcome, checkExit[outcome], codes)
		}
	}
}

func TestWhatStrangersWriteIsHarmless(t *testing.T) {
	const evil = "a\x1b[31m\nDANE OK | x=1\u202e"
	r := &probe.Report{
		Target: evil, Outcome: probe.Mismatch, Findings: []probe.Finding{{Level: probe.Error, Text: evil}},
		Hosts: []probe.Host{{Name: evil, Outcome: probe.Mismatch, Addresses: []probe.Address{{Address: evil, Outcome: probe.Mismatch,
			Probes: []probe.Probe{{Keys: evil, Findings: []probe.Finding{{Level: probe.Warning, Text: evil}}}}}}}},
	}
	for _, output := range []string{"text", "json", "nagios"} {
		var b strings.Builder
		f := checkFlags{output: output}
		_ = f.print(&b, r)
		if strings.ContainsAny(b.String(), "\x1b") || strings.Contains(b.String(), "\nDANE OK") || output != "json" && strings.Contains(b.String(), "\u202e") {
			t.Errorf("%s: %q", output, b.String())
		}
		if output == "nagios" && strings.Count(b.String(), "|") != 1 {
			t.Errorf("performance data can be forged: %q", b.String())
		}
	}
}

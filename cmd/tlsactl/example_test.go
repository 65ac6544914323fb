package main

import (
	"bytes"
	"context"
	"crypto/tls"
	"net"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/miekg/dns"

	"github.com/coredns-tlsa/coredns-tlsa/plugin/tlsa/control"
)

// words splits a line of an example as a shell would: blanks, and quotes of both kinds.
func words(line string) (out []string) {
	for _, m := range regexp.MustCompile(`"([^"]*)"|'([^']*)'|(\S+)`).FindAllStringSubmatch(line, -1) {
		out = append(out, m[1]+m[2]+m[3])
	}
	return out
}

// liveSite is what a validating resolver says of a mail domain, a web server and an IMAP service that all present cert.
func liveSite(t *testing.T, cert []byte) *world {
	t.Helper()
	z := &authority{apex: ".", ttl: time.Hour, signed: true, validates: true}
	for _, line := range []string{
		"example.org. MX 10 mail.example.org.", "mail.example.org. A 192.0.2.25", "www.example.org. A 192.0.2.25",
		"_imaps._tcp.example.org. SRV 0 0 993 mail.example.org.",
	} {
		rr, err := dns.NewRR(line)
		z.set(must(t, rr, err).Header().Name, rr)
	}
	for _, owner := range []string{mailOwner, "_993._tcp.mail.example.org.", "_443._tcp.www.example.org."} {
		z.set(owner, recordsOf(t, owner, cert)...)
	}
	w := &world{}
	w.put("203.0.113.53:53", z)
	w.put("127.0.0.1:53", z)
	return w
}

// runExamples runs every example, with servers that show cert for two hours already, and one that presents it.
func runExamples(t *testing.T, cert []byte) {
	t.Helper()
	presented := tlsCertificate(t, "mail.example.org", newKey(t))
	mail := tlsServer{script: smtpScript, certs: []tls.Certificate{presented}}.listen(t)
	direct := tlsServer{certs: []tls.Certificate{presented}}.listen(t)
	known := blockOf(mailOwner, control.Association{State: "retired"})
	known.status.Owners[0].Associations[0].Data = "d80338f5c2bae0f3" + strings.Repeat("00", 24)
	socket := serveControl(t, filepath.Join(socketDir(t), "s"), known)
	live := liveSite(t, pemOf("CERTIFICATE", presented.Certificate[0]))
	dial := func(ctx context.Context, network, addr string) (net.Conn, error) {
		to, ok := map[string]string{
			"mail.example.org:25": mail, "192.0.2.25:25": mail, "192.0.2.25:443": direct, "192.0.2.25:993": direct,
		}[addr]
		if !ok {
			t.Errorf("dialled %s", addr)
		}
		return new(net.Dialer).DialContext(ctx, network, to)
	}
	n := 0
	for _, verb := range newTestApp(nil, nil, nil, nil).command().Commands() {
		for line := range strings.Lines(verb.Example) {
			command, _, _ := strings.Cut(line, " && ")
			args := words(command)
			n++
			if verb.Name() == "doctor" { // TestExamplesOfDoctorRun has a Corefile for it
				continue
			}
			// These wait for real servers, which a bubble of time cannot.
			isReal := slices.Contains([]string{"check", "status", "revoke", "withdraw", "restore"}, args[1]) || strings.Contains(command, "--from")
			run := func(t *testing.T) {
				zone := &authority{apex: "example.org.", ttl: time.Hour, signed: true}
				zone.set(mailOwner, recordsOf(t, mailOwner, cert)...)
				zone.set("_465._tcp.mail.example.org.", zone.rrs[mailOwner]...)
				w := &world{}
				resolve := resolver(map[string][]string{"example.org.": {"192.0.2.1", "192.0.2.2"}}, nil)
				for addr, z := range map[string]*authority{"192.0.2.1:53": zone, "192.0.2.2:53": zone, "203.0.113.53:53": resolve} {
					w.put(addr, z)
				}
				var out, talk bytes.Buffer
				if args[1] == "check" {
					w = live
				}
				a := newTestApp(nil, &out, &talk, w)
				a.dial = dial
				if isReal {
					a.getenv = func(string) string { return socket }
				}
				code := a.run(t.Context(), args[1:])
				// Without --wait an installation is not safe yet; with what was seen two hours ago it is.
				if args[1] == "install" && code == exitNotYet {
					time.Sleep(2 * time.Hour)
					code = a.run(t.Context(), args[1:])
				}
				if code != 0 {
					t.Errorf("%s: exit %d\n%s%s", command, code, out.String(), talk.String())
				}
			}
			if isReal {
				run(t)
				continue
			}
			synctest.Test(t, run)
		}
	}
	if n < 11 {
		t.Errorf("%d examples", n)
	}
}

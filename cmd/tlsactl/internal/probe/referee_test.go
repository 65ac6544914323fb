//go:build referee

package probe

import (
	"context"
	"encoding/pem"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/miekg/dns"
)

// The referees of this file are other people's DANE clients: openssl, ldns-dane, danetool and posttls-finger judge the servers
// and records of the tables. They run with the tests in a network namespace, whose port 53, 25 and 443 are the tests' own.

// insideEnv marks the process in the namespace; its value is a directory of its own.
const insideEnv = "PROBE_TEST_INSIDE"

// namespace gives the addresses of the tables to lo, so that servers have them in earnest.
const namespace = `set -eu
ip link set lo up
ip addr add 192.0.2.0/24 dev lo
ip addr add 2001:db8::1/64 dev lo nodad
mount --bind "$PROBE_TEST_INSIDE/resolv.conf" /etc/resolv.conf
exec "$0" -test.run "^$1\$" -test.timeout 3m
`

// inside runs the calling test once more in a namespace of its own, and tells whether this is that run.
func inside(t *testing.T) bool {
	t.Helper()
	if os.Getenv(insideEnv) != "" {
		return true
	}
	dir := t.TempDir()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	for file, text := range map[string]string{
		"resolv.conf": "nameserver 127.0.0.1\noptions edns0 trust-ad\n",
		"main.cf":     "compatibility_level = 3.6\nmyhostname = client.example.org\n",
		"roots.pem":   "",
	} {
		if err := os.WriteFile(filepath.Join(dir, file), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	cmd := exec.Command("unshare", "-n", "-m", "-p", "-f", "--kill-child", "--mount-proc", "sh", "-c", namespace, self, t.Name())
	cmd.Env = append(os.Environ(), insideEnv+"="+dir, "MAIL_CONFIG="+dir)
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	return false
}

// stage is the namespace's resolver and servers: those of one row at a time.
type stage struct {
	dir   string
	zones atomic.Pointer[zones]
}

func newStage(t *testing.T) *stage {
	t.Helper()
	s := &stage{dir: os.Getenv(insideEnv)}
	s.zones.Store(&zones{})
	handler := dns.HandlerFunc(func(w dns.ResponseWriter, q *dns.Msg) { s.zones.Load().ServeDNS(w, q) })
	for _, network := range []string{"udp", "tcp"} {
		ready := make(chan struct{})
		server := &dns.Server{Addr: "127.0.0.1:53", Net: network, Handler: handler, NotifyStartedFunc: func() { close(ready) }}
		go func() { _ = server.ListenAndServe() }()
		<-ready
		t.Cleanup(func() { _ = server.Shutdown() })
	}
	s.write(t, "roots.pem", pemOf("root"))
	return s
}

func (s *stage) write(t *testing.T, file, text string) {
	t.Helper()
	if err := os.WriteFile(filepath.Join(s.dir, file), []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
}

// serve binds the servers to their real addresses until the test ends.
func (s *stage) serve(t *testing.T, n internet) {
	t.Helper()
	for addr, server := range n {
		l, err := net.Listen("tcp", addr)
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
				go server.handle(conn)
			}
		}()
	}
}

// ours is the verdict of this package over the namespace's real sockets.
func (s *stage) ours(t *testing.T, target Target) *Report {
	t.Helper()
	return Check(t.Context(), target, Options{
		Resolver: &DNS{Addrs: []string{"127.0.0.1:53"}, Timeout: patient},
		Dial:     new(net.Dialer).DialContext, At: now, Roots: rootPool(), Timeout: patient,
	})
}

func (s *stage) run(t *testing.T, name string, args ...string) (ok bool, text string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patient)
	defer cancel()
	cmd := exec.CommandContext(ctx, name, args...)
	cmd.Dir = s.dir
	out, err := cmd.CombinedOutput()
	return err == nil, string(out)
}

func pemOf(names string) string {
	var b strings.Builder
	for _, der := range chain(names).Certificate {
		b.Write(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}))
	}
	return b.String()
}

func (s *stage) openssl(t *testing.T, m match) (bool, string) {
	args := []string{"s_client", "-brief", "-verify_return_error", "-connect", "192.0.2.1:443", "-dane_tlsa_domain", host, "-dane_ee_no_namechecks",
		"-attime", fmt.Sprint(now.Unix()), "-CAfile", "roots.pem"}
	for _, r := range m.records {
		args = append(args, "-dane_tlsa_rrdata", rdata(t, r))
	}
	ok, text := s.run(t, "openssl", args...)
	return ok && strings.Contains(text, "Verification: OK") && strings.Contains(text, "DANE TLSA"), text
}

// ldnsDane and danetool get the first chain from a file: ldns-dane sends a server name with a trailing dot, which crypto/tls
// refuses. They have no clock of their own: the certificates of the tests are valid today as they are at their moment.
func (s *stage) ldnsDane(t *testing.T, _ match) (bool, string) {
	return s.run(t, "ldns-dane", "-n", "-d", "-4", "-r", "127.0.0.1", "-f", "roots.pem", "-c", "chain.pem", "verify", host, "443")
}

func (s *stage) danetool(t *testing.T, _ match) (bool, string) {
	return s.run(t, "danetool", "--insecure", "--local-dns", "--check", host, "--proto", "tcp", "--port", "443", "--load-certificate", "chain.pem")
}

// posttlsFinger always ends with 0; its words decide.
func (s *stage) posttlsFinger(t *testing.T, destination string) (bool, string) {
	_, text := s.run(t, "posttls-finger", "-c", "-t10", "-T10", "-l", "dane-only", "-L", "summary,verbose", destination)
	return strings.Contains(text, "Verified TLS connection established"), text
}

func TestRefereesAgreeOnRecordsAndCertificates(t *testing.T) {
	if !inside(t) {
		return
	}
	s := newStage(t)
	tools := map[string]func(*testing.T, match) (bool, string){
		"openssl": s.openssl, "ldns-dane": s.ldnsDane, "danetool": s.danetool,
		"posttls-finger": func(t *testing.T, _ match) (bool, string) { return s.posttlsFinger(t, "["+host+"]") },
	}
	for what, m := range matches() {
		t.Run(what, func(t *testing.T) {
			z := &zones{rrs: []string{host + ". A 192.0.2.1"}}
			for _, r := range m.records {
				z.rrs = append(z.rrs, "_443._tcp."+host+". TLSA "+rdata(t, r), "_25._tcp."+host+". TLSA "+rdata(t, r))
			}
			s.zones.Store(z)
			mail := m.server
			mail.protocol = "smtp"
			s.serve(t, internet{"192.0.2.1:443": m.server, "192.0.2.1:25": mail})
			first, _, _ := strings.Cut(m.server.chains, "|")
			s.write(t, "chain.pem", pemOf(first))
			ours := map[string]Outcome{"posttls-finger": s.ours(t, parse(t, host+":25", false)).Outcome}
			if got := s.ours(t, parse(t, host+":443", false)).Outcome; got != m.want {
				t.Errorf("we say %s, not %s", got, m.want)
			}
			for name, judge := range tools {
				want := m.want
				if o, ok := ours[name]; ok {
					want = o
				}
				accepts, text := judge(t, m)
				reason, differs := disagreements[what][name]
				switch {
				case accepts != (want == Match) && !differs:
					t.Errorf("%s accepts: %v, we say %s\n%s", name, accepts, want, text)
				case accepts == (want == Match) && differs:
					t.Errorf("%s agrees, although %q", name, reason)
				}
			}
		})
	}
}

// posttls-finger looks for the hosts and records of a mail domain as Postfix does.
func TestPostfixAgreesOnNames(t *testing.T) {
	if !inside(t) {
		return
	}
	s := newStage(t)
	for what, p := range paths(t) {
		target := parse(t, p.target, p.mx)
		if !target.smtp() || target.Port != 25 {
			continue
		}
		t.Run(what, func(t *testing.T) {
			s.zones.Store(&p.zones)
			s.serve(t, p.servers)
			if got := s.ours(t, target).Outcome; got != p.want {
				t.Errorf("we say %s, not %s", got, p.want)
			}
			destination := target.Name
			if !target.MX {
				destination = "[" + target.Name + "]"
			}
			accepts, text := s.posttlsFinger(t, destination)
			reason, differs := disagreements[what]["posttls-finger"]
			switch {
			case accepts != (p.want == Match) && !differs:
				t.Errorf("posttls-finger accepts: %v, we say %s\n%s", accepts, p.want, text)
			case accepts == (p.want == Match) && differs && reason != oneAddress: // which one is chance
				t.Errorf("posttls-finger agrees, although %q", reason)
			}
		})
	}
}

//go:build referee

package main

import (
	"crypto"
	"errors"
	"fmt"
	"net"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/miekg/dns"
)

// upstream is a zone as a resolver has to know it: where it is served, and the DNSKEY records to trust; none for a zone
// that is reached, or is insecure, through the one above it.
type upstream struct {
	zone, port string
	anchors    []string
}

func (s *server) upstream() upstream {
	s.t.Helper()
	return upstream{"example.org", s.port, []string{anchor(s.t)}}
}

// unboundAt is unbound for any upstreams, with more options of its server clause.
func unboundAt(t *testing.T, options string, ups ...upstream) string {
	t.Helper()
	dir, port := t.TempDir(), freePort(t)
	var anchors []string
	for _, up := range ups {
		anchors = append(anchors, up.anchors...)
	}
	write(t, filepath.Join(dir, "anchor"), strings.Join(anchors, "\n")+"\n")
	conf := unboundConf(dir, port, "127.0.0.1@"+ups[0].port)
	for _, up := range ups[1:] {
		conf += fmt.Sprintf("stub-zone:\n    name: %q\n    stub-addr: 127.0.0.1@%s\n", up.zone, up.port)
	}
	write(t, filepath.Join(dir, "conf"), conf+"server:\n    msg-buffer-size: 65552\n"+options)
	daemon(t, "unbound", "-d", "-c", filepath.Join(dir, "conf"))
	return warm(t, "127.0.0.1:"+port)
}

// namedAt is named for any upstreams.
func namedAt(t *testing.T, ups ...upstream) string {
	t.Helper()
	dir, port := t.TempDir(), freePort(t)
	var zones, anchors strings.Builder
	for _, up := range ups {
		fmt.Fprintf(&zones, "zone %q { type forward; forward only; forwarders { 127.0.0.1 port %s; }; };\n", up.zone, up.port)
		for _, key := range up.anchors {
			anchors.WriteString(trustAnchor(key))
		}
	}
	write(t, filepath.Join(dir, "conf"), namedConf(dir, "127.0.0.1", port, zones.String(), anchors.String()))
	daemon(t, "named", "-g", "-n", "2", "-c", filepath.Join(dir, "conf"))
	return warm(t, "127.0.0.1:"+port)
}

// namedConf has zones and anchors in BIND's syntax.
func namedConf(dir, addr, port, zones, anchors string) string {
	return fmt.Sprintf(`options {
    directory "%s";
    listen-on port %s { %s; };
    listen-on-v6 { none; };
    pid-file none;
    session-keyfile none;
    recursion yes;
    empty-zones-enable no;
    dnssec-validation yes;
    synth-from-dnssec yes;
};
controls { };
%s
trust-anchors {
%s};
`, dir, port, addr, zones, anchors)
}

// kresdAt is Knot Resolver as validating resolver for one upstream.
func kresdAt(t *testing.T, up upstream) string {
	t.Helper()
	dir, port := t.TempDir(), freePort(t)
	var anchors strings.Builder
	for _, key := range up.anchors {
		fmt.Fprintf(&anchors, "trust_anchors.add([[%s]])\n", key)
	}
	write(t, filepath.Join(dir, "conf"), fmt.Sprintf(`net.listen('127.0.0.1', %s, { kind = 'dns' })
modules.unload('ta_update')
modules.unload('priming')
modules.unload('detect_time_skew')
modules.unload('detect_time_jump')
cache.size = 10 * MB
%spolicy.add(policy.suffix(policy.FORWARD('127.0.0.1@%s'), policy.todnames({'%s.'})))
`, port, &anchors, up.port, up.zone))
	daemon(t, "kresd", "-n", "-q", "-c", filepath.Join(dir, "conf"), dir)
	return warm(t, "127.0.0.1:"+port)
}

// trustAnchor is a DNSKEY record in BIND's syntax.
func trustAnchor(record string) string {
	name, key, _ := strings.Cut(record, "DNSKEY")
	f := strings.Fields(key)
	return fmt.Sprintf("    %q static-key %s %s %s %q;\n", strings.Fields(name)[0], f[0], f[1], f[2], strings.Join(f[3:], ""))
}

// warm waits until a resolver has validated the zone's SOA: the first questions after a start may fail.
func warm(t *testing.T, addr string) string {
	t.Helper()
	poll(t, "the resolver "+addr, func() (bool, string) {
		r, err := lookup(addr, "example.org.", dns.TypeSOA)
		return err == nil && r.AuthenticatedData, fmt.Sprint(r, err)
	})
	return addr
}

// lookup is a question to a resolver, with DO; over TCP where the answer does not fit.
func lookup(addr, name string, qtype uint16) (*dns.Msg, error) {
	m := new(dns.Msg)
	m.SetQuestion(name, qtype)
	m.SetEdns0(1232, true)
	m.AuthenticatedData = true
	r, err := exchange(dns.Client{}, m, addr)
	if err == nil && r.Truncated {
		r, err = exchange(dns.Client{Net: "tcp"}, m, addr)
	}
	return r, err
}

// exchange asks a server; over UDP again and again, as a resolver does, because a datagram may be lost on a busy machine.
func exchange(c dns.Client, m *dns.Msg, addr string) (*dns.Msg, error) {
	if c.Timeout = patient; c.Net != "tcp" {
		c.Timeout = patient / 10
	}
	for tries := 1; ; tries++ {
		r, _, err := c.Exchange(m, addr)
		var late net.Error
		if err == nil || tries == 10 || !errors.As(err, &late) || !late.Timeout() {
			return r, err
		}
	}
}

// inFlight does n things, fifty at a time.
func inFlight(n int, do func(i int)) {
	slots := make(chan struct{}, 50)
	var all sync.WaitGroup
	for i := range n {
		slots <- struct{}{}
		all.Go(func() {
			do(i)
			<-slots
		})
	}
	all.Wait()
}

// newZoneKey makes a key of P-256 in dir. It gives the DNSKEY record and the base name of the files.
func newZoneKey(t *testing.T, dir, zone string, flags uint16) (*dns.DNSKEY, string) {
	t.Helper()
	key := &dns.DNSKEY{
		Hdr:       dns.RR_Header{Name: dns.Fqdn(zone), Rrtype: dns.TypeDNSKEY, Class: dns.ClassINET, Ttl: 3600},
		Flags:     flags,
		Protocol:  3,
		Algorithm: dns.ECDSAP256SHA256,
	}
	private, err := key.Generate(256)
	if err != nil {
		t.Fatal(err)
	}
	base := fmt.Sprintf("K%s+%03d+%05d", key.Hdr.Name, key.Algorithm, key.KeyTag())
	write(t, filepath.Join(dir, base+".key"), strings.ReplaceAll(key.String(), "\t", " ")+"\n")
	write(t, filepath.Join(dir, base+".private"), key.PrivateKeyString(private.(crypto.PrivateKey)))
	return key, base
}

// signedSite is a server's directory with the demonstration key, the watched certificate of mail.example.org, and zone.
// BLOCK in the Corefile stands for what a server block of example.org has but its tlsa.
func signedSite(t *testing.T, zone, corefile string) (*server, cert) {
	t.Helper()
	dir := t.TempDir()
	for _, ext := range []string{".key", ".private"} {
		copyFile(t, "../../testdata/demo/"+demoKey+ext, filepath.Join(dir, demoKey+ext))
	}
	c := newCert(t)
	write(t, filepath.Join(dir, "live", "mail", "fullchain.pem"), c.pem)
	write(t, filepath.Join(dir, "db.example.org"), zone)
	return newServer(t, dir, strings.ReplaceAll(corefile, "BLOCK", `bind 127.0.0.1
    errors
    dnssec {
        key file `+demoKey+`
    }
    file db.example.org`)), c
}

const demoKey = "Kexample.org.+013+06643"

// up starts the server and waits for its answer.
func (s *server) up() *server {
	s.t.Helper()
	s.start()
	poll(s.t, "the server", func() (bool, string) {
		r, err := lookup("127.0.0.1:"+s.port, "example.org.", dns.TypeSOA)
		return err == nil && r.Rcode == dns.RcodeSuccess && len(r.Answer) > 0, fmt.Sprint(r, err)
	})
	return s
}

// dot makes of a name relative to the zone what stands before the zone's.
func dot(name string) string {
	if name == "" {
		return ""
	}
	return name + "."
}

// anyDigest is one that no certificate here has.
var anyDigest = strings.Repeat("ab", 32)

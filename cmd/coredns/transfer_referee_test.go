//go:build referee

package main

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/miekg/dns"
)

// The referees of this file are other people's servers as secondaries of a hidden primary. The zone's REFRESH is a day, so
// what reaches them in a test came by NOTIFY.

const transferZone = `$ORIGIN example.org.
$TTL 60
@      IN SOA ns hostmaster 1 86400 86400 1209600 60
       IN NS  ns
ns     IN A   127.0.0.1
mail   IN A   127.0.0.1
*.wild IN A   127.0.0.2
_25._tcp.mail IN TXT "hidden"
`

// secondaries are how each of them is configured, with DIR, PORT and PRIMARY to be filled in, and run.
func secondaries() map[string]struct {
	conf  string
	run   []string
	signs bool
} {
	type secondary = struct {
		conf  string
		run   []string
		signs bool
	}
	return map[string]secondary{
		"nsd": {`server:
    ip-address: 127.0.0.1@PORT
    server-count: 1
    username: ""
    chroot: ""
    zonesdir: "DIR"
    database: ""
    zonelistfile: "DIR/zone.list"
    xfrdfile: "DIR/xfrd.state"
    xfrdir: "DIR"
    pidfile: "DIR/nsd.pid"
remote-control:
    control-enable: no
zone:
    name: example.org
    zonefile: example.org.zone
    allow-notify: 127.0.0.1 NOKEY
    request-xfr: 127.0.0.1@PRIMARY NOKEY
`, []string{"nsd", "-d", "-c", "DIR/conf"}, false},
		"knot": {`server:
    rundir: "DIR"
    listen: 127.0.0.1@PORT
database:
    storage: "DIR"
remote:
  - id: primary
    address: 127.0.0.1@PRIMARY
acl:
  - id: primary
    address: 127.0.0.1
    action: notify
policy:
  - id: one
    single-type-signing: on
zone:
  - domain: example.org
    storage: "DIR"
    master: primary
    acl: primary
    dnssec-signing: on
    dnssec-policy: one
`, []string{"knotd", "-c", "DIR/conf"}, true},
		"named": {`options {
    directory "DIR";
    listen-on port PORT { 127.0.0.1; };
    listen-on-v6 { none; };
    pid-file none;
    session-keyfile none;
    recursion no;
    dnssec-validation no;
    notify no;
};
controls { };
zone "example.org" {
    type secondary;
    primaries port PRIMARY { 127.0.0.1; };
    allow-notify { 127.0.0.1; };
    file "example.org.db";
    inline-signing yes;
    dnssec-policy default;
};
`, []string{"named", "-g", "-c", "DIR/conf"}, true},
	}
}

// hiddenPrimary serves the zone unsigned, for secondaries on the ports.
func hiddenPrimary(t *testing.T, ports []string) *server {
	t.Helper()
	dir := t.TempDir()
	write(t, filepath.Join(dir, "db.example.org"), transferZone)
	var to strings.Builder
	for _, port := range ports {
		to.WriteString(" 127.0.0.1:" + port)
	}
	return newServer(t, dir, fmt.Sprintf(`example.org:PORT {
    bind 127.0.0.1
    errors
    transfer {
        to%s
    }
    tlsa {
        certs live
        name _25._tcp.mail
        name _25._tcp.host.wild from mail
        ttl 1s
        propagation 0s
        hold 2s
        grace %s
        rescan 1s
        ledger ledger
    }
    file db.example.org
}
`, &to, grace))
}

// askAt asks an authoritative server and gives the answer's digests, and the rest as text without signatures.
func askAt(port, name string, qtype uint16) (reply *dns.Msg, found []string, err error) {
	m := new(dns.Msg)
	m.SetQuestion(name, qtype)
	m.SetEdns0(1232, true)
	c := dns.Client{Timeout: time.Second}
	reply, _, err = c.Exchange(m, "127.0.0.1:"+port)
	if err != nil {
		return nil, nil, err
	}
	for _, rr := range reply.Answer {
		if rr, ok := rr.(*dns.TLSA); ok {
			found = append(found, rr.Certificate)
		}
	}
	slices.Sort(found)
	return reply, found, nil
}

// anchors gives delv's trust anchors with the zone's keys as the server has them.
func anchors(t *testing.T, port string) string {
	t.Helper()
	reply, _, err := askAt(port, "example.org.", dns.TypeDNSKEY)
	if err != nil {
		t.Fatal(err)
	}
	var keys strings.Builder
	for _, rr := range reply.Answer {
		if key, ok := rr.(*dns.DNSKEY); ok && key.Flags&dns.SEP != 0 {
			fmt.Fprintf(&keys, "trust-anchors { \"example.org.\" static-key %d %d %d \"%s\"; };\n", key.Flags, key.Protocol, key.Algorithm, key.PublicKey)
		}
	}
	return keys.String()
}

func TestRolloverReachesSecondariesByNotifyAlone(t *testing.T) {
	ports := map[string]string{}
	for name := range secondaries() {
		ports[name] = freePort(t)
	}
	var all []string
	for _, port := range ports {
		all = append(all, port)
	}
	s := hiddenPrimary(t, all)
	before, after := newCert(t), newCert(t)
	live := filepath.Join(s.dir, "live")
	in := layouts()["rename"]
	in.create(t, live, before.pem)
	s.start()
	poll(t, "the primary", func() (bool, string) {
		_, found, err := askAt(s.port, owner, dns.TypeTLSA)
		return slices.Equal(found, digests(before)), fmt.Sprint(found, err)
	})
	for name, of := range secondaries() {
		dir, err := os.MkdirTemp("", name) // the path of a socket must be short
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { os.RemoveAll(dir) })
		fill := strings.NewReplacer("DIR", dir, "PORT", ports[name], "PRIMARY", s.port)
		write(t, filepath.Join(dir, "conf"), fill.Replace(of.conf))
		for i := range of.run {
			of.run[i] = fill.Replace(of.run[i])
		}
		daemon(t, of.run[0], of.run[1:]...)
	}
	reaches := func(moment string, want []string) {
		t.Helper()
		for name, of := range secondaries() {
			began := time.Now()
			poll(t, moment+" at "+name, func() (bool, string) {
				r, found, err := askAt(ports[name], owner, dns.TypeTLSA)
				signed := err == nil && len(r.Answer) == len(found)+1
				return slices.Equal(found, want) && signed == of.signs, fmt.Sprint(found, err, r)
			})
			t.Logf("%s: %s after %s", moment, name, time.Since(began).Round(time.Millisecond))
		}
	}
	reaches("the first key", digests(before))
	in.renew(t, live, after.pem)
	reaches("both keys", digests(before, after))
	for name, of := range secondaries() {
		same(t, name, s.port, ports[name])
		if of.signs {
			delv(t, name, ports[name])
		}
	}
	reaches("the new key alone", digests(after))
}

// same compares the secondary's answers with the primary's.
func same(t *testing.T, name, primary, secondary string) {
	t.Helper()
	for _, q := range []struct {
		name  string
		qtype uint16
	}{
		{owner, dns.TypeTXT}, {"_tcp.mail.example.org.", dns.TypeA}, {"mail.example.org.", dns.TypeA}, {"mail.example.org.", dns.TypeAAAA},
		{"host.wild.example.org.", dns.TypeA}, {"other.wild.example.org.", dns.TypeA}, {"x.host.wild.example.org.", dns.TypeA},
		{"_tcp.host.wild.example.org.", dns.TypeA}, {"_26._tcp.host.wild.example.org.", dns.TypeA}, {"_25._tcp.host.wild.example.org.", dns.TypeTLSA},
		{"nobody.example.org.", dns.TypeA}, {"_26._tcp.mail.example.org.", dns.TypeTLSA}, {"wild.example.org.", dns.TypeA},
	} {
		text := func(port string) string {
			r, _, err := askAt(port, q.name, q.qtype)
			if err != nil {
				t.Fatal(err)
			}
			lines := []string{dns.RcodeToString[r.Rcode]}
			for _, rr := range r.Answer {
				if rr.Header().Rrtype != dns.TypeRRSIG {
					lines = append(lines, strings.ToLower(rr.String()))
				}
			}
			slices.Sort(lines)
			return strings.Join(lines, "\n")
		}
		if ours, theirs := text(primary), text(secondary); ours != theirs {
			t.Errorf("%s %s: we say\n%s\n%s says\n%s", q.name, dns.TypeToString[q.qtype], ours, name, theirs)
		}
	}
}

// delv validates an answer and a denial of a signing secondary.
func delv(t *testing.T, name, port string) {
	t.Helper()
	keys := filepath.Join(t.TempDir(), "keys")
	write(t, keys, anchors(t, port))
	for _, q := range []struct{ name, qtype, want string }{
		{owner, "TLSA", "; fully validated"}, {"_25._tcp.host.wild.example.org.", "TLSA", "; fully validated"},
		{"_tcp.mail.example.org.", "A", "; negative response, fully validated"}, {"nobody.example.org.", "TLSA", "; negative response, fully validated"},
	} {
		out, err := exec.Command("delv", "@127.0.0.1", "-p", port, "-a", keys, "+root=example.org", q.name, q.qtype).CombinedOutput()
		if err != nil || !strings.Contains(string(out), q.want) {
			t.Errorf("%s, %s %s: %v\n%s", name, q.name, q.qtype, err, out)
		}
	}
}

//go:build referee

package main

import (
	"fmt"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/miekg/dns"
)

// The servers of this file know nothing of us: they serve zones that BIND's dnssec-signzone has signed.

// signed is a zone file that dnssec-signzone has made of dir/db.ZONE with the one key of that base name.
func signed(t *testing.T, dir, zone, base string) string {
	t.Helper()
	out := filepath.Join(dir, "signed."+zone)
	write(t, filepath.Join(dir, "unsigned."+zone), read(t, filepath.Join(dir, "db."+zone))+"\n"+read(t, filepath.Join(dir, base+".key")))
	cmd := exec.Command("dnssec-signzone", "-z", "-P", "-o", zone, "-f", out, filepath.Join(dir, "unsigned."+zone), base)
	cmd.Dir = dir
	if text, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("dnssec-signzone: %v\n%s", err, text)
	}
	return out
}

// nsd serves zone files by their zones' names; it gives its port.
func nsd(t *testing.T, zones map[string]string) string {
	t.Helper()
	dir, port := t.TempDir(), freePort(t)
	conf := fmt.Sprintf(`server:
    ip-address: 127.0.0.1
    port: %[1]s
    username: ""
    chroot: ""
    zonesdir: "%[2]s"
    database: ""
    pidfile: ""
    xfrdfile: ""
    zonelistfile: "%[2]s/zone.list"
    xfrdir: "%[2]s"
    minimal-responses: no
    rrl-ratelimit: 0
remote-control:
    control-enable: no
`, port, dir)
	for zone, file := range zones {
		conf += fmt.Sprintf("zone:\n    name: %q\n    zonefile: %q\n", zone, file)
	}
	write(t, filepath.Join(dir, "conf"), conf)
	daemon(t, "nsd", "-d", "-c", filepath.Join(dir, "conf"))
	return served(t, port)
}

// knotd is nsd for Knot DNS.
func knotd(t *testing.T, zones map[string]string) string {
	t.Helper()
	dir, port := t.TempDir(), freePort(t)
	conf := fmt.Sprintf(`server:
    listen: 127.0.0.1@%[1]s
    rundir: "%[2]s"
    udp-workers: 1
    tcp-workers: 1
    background-workers: 1
database:
    storage: "%[2]s"
log:
  - target: stderr
    any: warning
template:
  - id: default
    zonefile-load: whole
    journal-content: none
zone:
`, port, dir)
	for zone, file := range zones {
		conf += fmt.Sprintf("  - domain: %s\n    file: %q\n", zone, file)
	}
	write(t, filepath.Join(dir, "conf"), conf)
	daemon(t, "knotd", "-c", filepath.Join(dir, "conf"))
	return served(t, port)
}

// served waits until a server has the zone.
func served(t *testing.T, port string) string {
	t.Helper()
	poll(t, "the zone on port "+port, func() (bool, string) {
		r, err := lookup("127.0.0.1:"+port, "example.org.", dns.TypeSOA)
		return err == nil && r.Authoritative && len(r.Answer) > 0, fmt.Sprint(r, err)
	})
	return port
}

// twinZones is one zone with every kind of name that a resolver treats in its own way. The second text is what our names
// add to it: the records themselves and, at a host that exists only through a wildcard, that wildcard's records.
func twinZones(digest string) (zone, added string, owners []string) {
	zone = `$ORIGIN example.org.
$TTL 300
@               IN SOA   ns hostmaster 1 7200 3600 1209600 60
                IN NS    ns
                IN MX    10 mail
                IN TXT   "v=spf1 -all"
                IN CAA   0 issue "ca.example"
ns              IN A     127.0.0.1
                IN AAAA  ::1
mail            IN A     127.0.0.1
                IN AAAA  ::1
                IN MX    10 mail
                IN TXT   "mail"
                IN SSHFP 4 2 ` + anyDigest + `
www             IN A     127.0.0.1
                IN HTTPS 1 . alpn=h2
                IN CAA   0 issue "ca.example"
                IN NAPTR 10 10 "u" "sip+E2U" "!^.*$!sip:www@example.org!" .
_sip._tcp       IN SRV   0 0 5060 www
_8443._tcp.www  IN TLSA  3 1 1 ` + anyDigest + `
alias           IN CNAME mail
chain           IN CNAME alias
dangling        IN CNAME nobody
toowner         IN CNAME _25._tcp.mail
_25._tcp.alias  IN CNAME mx1._dane
_587._tcp.mail  IN TLSA  3 1 1 ` + anyDigest + `
below.ent.deep  IN A     127.0.0.1
*.wild          IN A     127.0.0.1
                IN TXT   "wild"
*.walias        IN CNAME www
dn              IN DNAME target
a.target        IN A     127.0.0.1
open            IN NS    ns.open
ns.open         IN A     127.0.0.1
closed          IN NS    ns.closed
ns.closed       IN A     127.0.0.1
`
	owners = []string{
		"_25._tcp.mail", "_443._tcp.www", "_443._tcp", "mx1._dane", "_25._tcp.a.target", "_443._tcp.any.wild",
		"_25._tcp.fresh", "_853._udp.ns", "_25._tcp.mx2.sub", "_587._tcp.mail", "_443._tcp.any.walias",
	}
	for _, o := range owners {
		added += o + " IN TLSA 3 1 1 " + digest + "\n"
	}
	added += "any.wild IN A 127.0.0.1\nany.wild IN TXT \"wild\"\nany.walias IN CNAME www\n"
	return zone, added, owners
}

const childZone = `$TTL 300
@             IN SOA ns hostmaster 1 7200 3600 1209600 60
              IN NS  ns
ns            IN A   127.0.0.1
www           IN A   127.0.0.1
              IN MX  10 www
_443._tcp.www IN TLSA 3 1 1 abababababababababababababababababababababababababababababababab
`

// twin is a server of the data that others have too: its port, and an Unbound instance in front of it.
type twin struct{ port, resolver string }

// twins are our server and those of others.
func twins(t *testing.T) map[string]twin {
	t.Helper()
	s, c := signedSite(t, "", "")
	zone, added, owners := twinZones(c.digest)
	key, base := newZoneKey(t, s.dir, "closed.example.org", 257)
	zone += key.ToDS(dns.SHA256).String() + "\n"
	write(t, filepath.Join(s.dir, "db.example.org"), zone)
	for _, child := range []string{"open", "closed"} {
		write(t, filepath.Join(s.dir, "db."+child+".example.org"), childZone)
	}
	block := func(zone, base, more string) string {
		if base != "" {
			more = "dnssec {\n        key file ../" + base + "\n    }\n    " + more
		}
		return fmt.Sprintf("%[1]s:PORT {\n    bind 127.0.0.1\n    errors\n    file ../db.%[1]s\n    %[2]s\n}\n", zone, more)
	}
	names := "tlsa {\n        certs ../live\n        name " + strings.Join(owners, " ") + " from mail\n        ledger ledger\n    }"
	ours := newServer(t, filepath.Join(s.dir, "ours"), block("example.org", demoKey, names)).up()
	below := newServer(t, filepath.Join(s.dir, "below"), block("open.example.org", "", "")+block("closed.example.org", base, "tlsa"))
	below.start()

	offline := filepath.Join(s.dir, "offline")
	for _, name := range []string{demoKey + ".key", demoKey + ".private", base + ".key", base + ".private", "db.open.example.org", "db.closed.example.org"} {
		copyFile(t, filepath.Join(s.dir, name), filepath.Join(offline, name))
	}
	write(t, filepath.Join(offline, "db.example.org"), zone+added)
	zones := map[string]string{
		"example.org":        signed(t, offline, "example.org", demoKey),
		"closed.example.org": signed(t, offline, "closed.example.org", base),
		"open.example.org":   filepath.Join(offline, "db.open.example.org"),
	}
	const aggressive = "    aggressive-nsec: yes\n"
	behind := func(port, childPort string) twin {
		return twin{port, unboundAt(t, aggressive, upstream{"example.org", port, []string{anchor(t)}},
			upstream{"open.example.org", childPort, nil}, upstream{"closed.example.org", childPort, nil})}
	}
	n, k := nsd(t, zones), knotd(t, zones)
	return map[string]twin{"ours": behind(ours.port, below.port), "nsd": behind(n, n), "knot": behind(k, k)}
}

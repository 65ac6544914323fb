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

	"github.com/miekg/dns"
)

// cuts is a zone with unsigned and signed zones below it, which another server has: on one port CoreDNS gives a query for DS
// to the topmost of its zones, even far below a cut.
func cuts(t *testing.T) (s *server, below []upstream) {
	t.Helper()
	s, children, below := cutsSite(t)
	s.up()
	children.start()
	return s, below
}

// cutsSite writes the files of cuts; the servers do not run yet.
func cutsSite(t *testing.T) (s, children *server, below []upstream) {
	t.Helper()
	s, _ = signedSite(t, "", "example.org:PORT {\n    BLOCK\n    tlsa {\n        certs live\n        name _25._tcp.mail\n        ledger ledger\n    }\n}\n")
	corefile := ""
	key, base := newZoneKey(t, s.dir, "closed.example.org", 257)
	for zone, block := range map[string]string{
		"open":     "",
		"deep.ent": "",
		"closed":   "dnssec {\n        key file ../" + base + "\n    }\n    tlsa",
	} {
		write(t, filepath.Join(s.dir, "db."+zone), fmt.Sprintf(`$TTL 60
@             IN SOA ns hostmaster 1 7200 3600 1209600 60
              IN NS  ns
ns            IN A   127.0.0.4
www           IN A   127.0.0.1
_443._tcp.www IN TLSA 3 1 1 %s
`, anyDigest))
		corefile += fmt.Sprintf("%[1]s.example.org:PORT {\n    bind 127.0.0.1\n    errors\n    %[2]s\n    file db.%[1]s\n}\n", zone, block)
		below = append(below, upstream{zone: zone + ".example.org"})
	}
	write(t, filepath.Join(s.dir, "db.example.org"), zoneFile+fmt.Sprintf(`open        IN NS ns.open
ns.open     IN A  127.0.0.4
deep.ent    IN NS ns.deep.ent
ns.deep.ent IN A  127.0.0.4
closed      IN NS ns.closed
ns.closed   IN A  127.0.0.4
%s
`, key.ToDS(dns.SHA256)))
	children = newServer(t, filepath.Join(s.dir, "children"), strings.ReplaceAll(corefile, " db.", " ../db."))
	for i := range below {
		below[i].port = children.port
	}
	return s, children, below
}

func TestDSIsDeniedWithoutADelegationExceptAtACut(t *testing.T) {
	t.Parallel()
	s, _ := cuts(t)
	for what, tc := range map[string]struct {
		name string
		cut  bool
	}{
		"the host":                    {"mail", false},
		"the empty non-terminal":      {"_tcp.mail", false},
		"the owner":                   {"_25._tcp.mail", false},
		"another host":                {"ns", false},
		"an unknown port":             {"_26._tcp.mail", false},
		"an unknown name":             {"nobody", false},
		"above a cut":                 {"ent", false},
		"an unsigned cut":             {"open", true},
		"an unsigned cut deeper down": {"deep.ent", true},
	} {
		r, err := lookup("127.0.0.1:"+s.port, tc.name+".example.org.", dns.TypeDS)
		if err != nil {
			t.Fatal(err)
		}
		var nsec *dns.NSEC
		for _, rr := range r.Ns {
			if rr, ok := rr.(*dns.NSEC); ok {
				nsec = rr
			}
		}
		switch {
		case nsec == nil || nsec.Hdr.Name != tc.name+".example.org.":
			t.Errorf("%s: no NSEC of its own: %v", what, r)
		case slices.Contains(nsec.TypeBitMap, dns.TypeNS) != tc.cut, slices.Contains(nsec.TypeBitMap, dns.TypeDS),
			slices.Contains(nsec.TypeBitMap, dns.TypeSOA), slices.Contains(nsec.TypeBitMap, dns.TypeDNAME):
			t.Errorf("%s: is a cut: %v, but %v", what, tc.cut, nsec)
		}
	}
}

func TestZonesBelowACutResolve(t *testing.T) {
	t.Parallel()
	s, below := cuts(t)
	zones := append([]upstream{s.upstream()}, below...)
	for name, resolver := range map[string]string{"unbound": unboundAt(t, "", zones...), "named": namedAt(t, zones...)} {
		for what, w := range belowCuts() {
			r, err := lookup(resolver, dns.Fqdn(dot(w.name)+"example.org"), w.qtype)
			if err != nil {
				t.Errorf("%s, %s: %v", name, what, err)
				continue
			}
			if r.Rcode == dns.RcodeServerFailure || r.AuthenticatedData != w.secure || len(r.Answer) > 0 != w.some {
				t.Errorf("%s, %s: want an answer %v, secure %v: %v", name, what, w.some, w.secure, r)
			}
		}
	}
}

// judged is a question and what a validating resolver makes of the answer.
type judged struct {
	name         string
	qtype        uint16
	some, secure bool
}

func belowCuts() map[string]judged {
	return map[string]judged{
		"the host":                       {"mail", dns.TypeA, true, true},
		"the owner":                      {"_25._tcp.mail", dns.TypeTLSA, true, true},
		"DS of an unsigned zone":         {"open", dns.TypeDS, false, true},
		"an unsigned zone":               {"open", dns.TypeSOA, true, false},
		"below it":                       {"www.open", dns.TypeA, true, false},
		"TLSA there":                     {"_443._tcp.www.open", dns.TypeTLSA, true, false},
		"a denial there":                 {"www.open", dns.TypeAAAA, false, false},
		"an unsigned zone deeper down":   {"_443._tcp.www.deep.ent", dns.TypeTLSA, true, false},
		"the name above it":              {"ent", dns.TypeA, false, true},
		"DS of a signed zone":            {"closed", dns.TypeDS, true, true},
		"a signed zone":                  {"closed", dns.TypeSOA, true, true},
		"below a signed zone":            {"www.closed", dns.TypeA, true, true},
		"TLSA below a signed zone":       {"_443._tcp.www.closed", dns.TypeTLSA, true, true},
		"a denial below a signed zone":   {"www.closed", dns.TypeAAAA, false, true},
		"DS below a signed zone":         {"www.closed", dns.TypeDS, false, true},
		"an unknown name below it":       {"nobody.closed", dns.TypeA, false, true},
		"NODATA at a signed zone":        {"closed", dns.TypeTLSA, false, true},
		"NODATA at an unsigned zone":     {"open", dns.TypeTLSA, false, false},
		"an unknown name above a cut":    {"nobody", dns.TypeA, false, true},
		"the name servers of a cut":      {"open", dns.TypeNS, true, false},
		"the servers of a signed zone":   {"closed", dns.TypeNS, true, true},
		"the zone's own name servers":    {"", dns.TypeNS, true, true},
		"an address below the cut":       {"ns.open", dns.TypeA, true, false},
		"an address, below a signed cut": {"ns.closed", dns.TypeA, true, true},
	}
}

// walk is what runs inside a network namespace: there a referral leads to a server on port 53, as it does everywhere. Each
// line that it prints is a resolver, a name, a type, the rcode, the flags and the number of answers.
const walk = `set -u
ip link set lo up
for i in 2 3 4; do ip addr add 127.0.0.$i/8 dev lo; done
"$COREDNS" -conf Corefile >parent.log 2>&1 &
(cd children && exec "$COREDNS" -conf Corefile) >children.log 2>&1 &
unbound -d -c unbound.conf >unbound.log 2>&1 &
named -g -n 2 -c named.conf >named.log 2>&1 &
ask() {
	dig "@$1" +tries=1 +time=10 +dnssec "$2" "$3" |
		sed -n 's/.*status: \([A-Z]*\),.*/\1/p; s/.*flags: \([a-z ]*\); QUERY: 1, ANSWER: \([0-9]*\),.*/\1 \2/p' | tr '\n' ' '
}
for a in 127.0.0.1 127.0.0.2; do
	for i in $(seq 100); do
		case $(ask $a example.org SOA) in *" ad "*) break ;; esac
		sleep 0.1
	done
	while read -r name qtype; do
		echo "$a $name $qtype $(ask $a "$name" "$qtype")"
	done <questions
done
`

func TestReferralsLeadToTheZonesBelow(t *testing.T) {
	t.Parallel()
	s, children, _ := cutsSite(t)
	for _, at := range []struct {
		of   *server
		addr string
	}{{s, "127.0.0.3"}, {children, "127.0.0.4"}} {
		write(t, at.of.conf, strings.NewReplacer("bind 127.0.0.1", "bind "+at.addr, at.of.port, "53").Replace(read(t, at.of.conf)))
	}
	write(t, filepath.Join(s.dir, "anchor"), anchor(t)+"\n")
	write(t, filepath.Join(s.dir, "unbound.conf"), unboundConf(s.dir, "53", "127.0.0.3"))
	write(t, filepath.Join(s.dir, "named.conf"), namedConf(s.dir, "127.0.0.2", "53",
		`zone "example.org" { type static-stub; server-addresses { 127.0.0.3; }; };`, trustAnchor(anchor(t))))
	questions := ""
	for _, w := range belowCuts() {
		questions += dns.Fqdn(dot(w.name)+"example.org") + " " + typeName(w.qtype) + "\n"
	}
	write(t, filepath.Join(s.dir, "questions"), questions)
	binary, err := build()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command("unshare", "-n", "-m", "-p", "-f", "--kill-child", "--mount-proc", "sh", "-c", walk)
	cmd.Dir = s.dir
	cmd.Env = append(os.Environ(), "COREDNS="+binary)
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	for what, w := range belowCuts() {
		for name, addr := range map[string]string{"unbound": "127.0.0.1", "named": "127.0.0.2"} {
			line := fmt.Sprintf("%s %s %s ", addr, dns.Fqdn(dot(w.name)+"example.org"), typeName(w.qtype))
			_, answer, _ := strings.Cut(string(out), line)
			answer, _, _ = strings.Cut(answer, "\n")
			f := strings.Fields(answer)
			if len(f) < 3 || f[0] != "NOERROR" || slices.Contains(f, "ad") != w.secure || (f[len(f)-1] != "0") != w.some {
				t.Errorf("%s, %s: want an answer %v, secure %v: %s%s", name, what, w.some, w.secure, line, answer)
			}
		}
	}
	if t.Failed() {
		for _, log := range []string{"parent.log", "children.log", "unbound.log", "named.log"} {
			t.Logf("%s:\n%s", log, read(t, filepath.Join(s.dir, log)))
		}
	}
}

package tlsa

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/coredns/coredns/plugin"
	"github.com/coredns/coredns/plugin/file"

	"github.com/coredns-tlsa/coredns-tlsa/plugin/tlsa/dane"
	"github.com/coredns-tlsa/coredns-tlsa/plugin/tlsa/publish"
	"github.com/coredns-tlsa/coredns-tlsa/plugin/tlsa/rollover"

	"github.com/google/go-cmp/cmp"
	"github.com/miekg/dns"
)

const starZone = `
$ORIGIN example.org.
$TTL 1h
@        IN SOA ns hostmaster 2026010101 7200 3600 1209600 300
         IN NS  ns
ns       IN A   192.0.2.1
web      IN A   192.0.2.26
six      IN AAAA 2001:db8::26
post     IN MX  10 web
alias    IN CNAME web
a.deep   IN A   192.0.2.27
cut      IN NS  ns.example.net.
old      IN DNAME elsewhere.example.net.
own      IN A   192.0.2.28
_443._tcp.own IN TLSA 3 1 1 ` + digest1 + `
`

// starHandler is a handler with `_443._tcp.*`, and an owner of another port at conf.example.org, over a zone. There are a
// wildcard certificate and one for exact.example.org. count is how often the next plugin was asked.
func starHandler(t *testing.T, zoneText string) (h *Handler, wild, exact string, count *int) {
	t.Helper()
	data, err := file.Parse(strings.NewReader(zoneText), "example.org.", "stdin", 0)
	if err != nil {
		t.Fatal(err)
	}
	next := file.File{Zones: file.Zones{Z: map[string]*file.Zone{"example.org.": data}, Names: []string{"example.org."}}}
	count = new(int)
	h = &Handler{Next: plugin.HandlerFunc(func(ctx context.Context, w dns.ResponseWriter, r *dns.Msg) (int, error) {
		*count++
		return next.ServeDNS(ctx, w, r)
	})}
	dir, ca := t.TempDir(), newIssuer(t)
	for name, sans := range map[string][]string{"wild": {"*.example.org"}, "exact": {"exact.example.org"}} {
		key := newKey(t)
		if err := os.WriteFile(filepath.Join(dir, name+".pem"), []byte(ca.chain(t, key, sans...)), 0o644); err != nil {
			t.Fatal(err)
		}
		if name == "wild" {
			wild = record(t, key)
		} else {
			exact = record(t, key)
		}
	}
	serveStars(t, h, dir)
	return h, wild, exact, count
}

// serveStars gives h the answers of a block with the certificates in dir.
func serveStars(t *testing.T, h *Handler, dir string) {
	t.Helper()
	policy := rollover.Policy{
		Combinations: []dane.Combination{{Usage: dane.DANEEE, Selector: dane.SPKI, MatchingType: dane.SHA256}},
		TTL:          600, Hold: time.Hour, Grace: time.Hour,
	}
	cfg := publish.Config{
		Zones: []string{"example.org."}, Certs: []string{dir}, Rescan: time.Minute, TTL: 600,
		Ledger: filepath.Join(t.TempDir(), "ledger"),
		Owners: []publish.Owner{
			{Name: "_25._tcp.conf.example.org.", Host: "conf.example.org.", Policy: policy},
			{Name: "_443._tcp.pinned.example.org.", Host: "pinned.example.org.", Policy: rollover.Policy{
				Pins: []dane.Association{digest(1)}, TTL: 600, Hold: time.Hour, Grace: time.Hour,
			}},
		},
		Patterns: []publish.Owner{{Name: "_443._tcp.*.example.org.", Host: "*.example.org.", Policy: policy}},
	}
	p := publish.New(cfg, backend{h}, log, newMeter(cfg))
	if err := p.Prepare(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(p.Abort)
	h.serve(&unit{publisher: p, meter: newMeter(cfg)})
}

func TestWildcardSANServesTheHostsThatExist(t *testing.T) {
	const star = "*        IN A   192.0.2.99\n         IN TXT \"any\"\n"
	for claim, zoneText := range map[string]string{
		"over a zone without a wildcard": starZone,
		"over a zone with one":           starZone + star + "same IN A 192.0.2.99\n",
		"over a zone with an alias":      starZone + "* IN CNAME ns\n",
	} {
		t.Run(claim, func(t *testing.T) {
			h, wild, exact, _ := starHandler(t, zoneText)
			nodata := reply{Rcode: "NOERROR", AA: true, Ns: []string{soaLine}}
			for name, records := range map[string][]string{
				"web": {wild}, "six": {wild}, "post": {wild}, "alias": {wild}, "own": {"3 1 1 " + digest1}, "ns": {wild},
				"conf": {wild}, "exact": {exact, wild}, "WEB": {wild},
				"ghost": nil, "cut": nil, "x.cut": nil, "old": nil, "x.old": nil, "a.deep": nil, "*": nil, "same": nil, "_x": nil, "x.web": nil,
			} {
				owner := "_443._tcp." + name + ".example.org."
				got, want := map[string]bool{}, map[string]bool{}
				r := query(t, h, owner, dns.TypeTLSA)
				for _, line := range r.Answer {
					if fields := strings.Fields(line); fields[3] == "TLSA" {
						got[strings.Join(fields[4:], " ")] = fields[0] == strings.ToLower(owner)
					}
				}
				for _, rr := range records {
					want[rr] = true
				}
				if diff := cmp.Diff(want, got); diff != "" {
					t.Errorf("%s (-want +got):\n%s", owner, diff)
				}
				if len(records) == 0 || name == "own" {
					continue
				}
				for _, below := range []string{"_tcp." + name + ".example.org.", owner} {
					if diff := cmp.Diff(nodata, query(t, h, below, dns.TypeA)); diff != "" {
						t.Errorf("%s A (-want +got):\n%s", below, diff)
					}
				}
			}
		})
	}
}

func TestWildcardSANAddsNothingWhereItDoesNotServe(t *testing.T) {
	for _, zoneText := range []string{starZone, starZone + "* IN A 192.0.2.99\n"} {
		h, _, _, _ := starHandler(t, zoneText)
		for _, name := range []string{
			"_443._tcp.ghost.example.org.", "_tcp.ghost.example.org.", "ghost.example.org.", "_443._tcp.*.example.org.", "_tcp.*.example.org.",
			"_443._tcp.cut.example.org.", "_tcp.x.old.example.org.", "_25._tcp.web.example.org.", "_443._tcp.x.web.example.org.",
		} {
			for _, qtype := range []uint16{dns.TypeTLSA, dns.TypeA, dns.TypeTXT} {
				want := query(t, h.Next, name, qtype)
				if diff := cmp.Diff(want, query(t, h, name, qtype)); diff != "" {
					t.Errorf("%s %s (-next plugin +got):\n%s", name, dns.TypeToString[qtype], diff)
				}
			}
		}
	}
}

func TestHostOfTheCorefileIsNotNXDOMAIN(t *testing.T) {
	h, _, _, _ := starHandler(t, starZone)
	for _, host := range []string{"conf.example.org.", "exact.example.org."} {
		if r := query(t, h, host, dns.TypeA); r.Rcode != "NOERROR" || len(r.Answer) > 0 {
			t.Errorf("%s: %+v", host, r)
		}
	}
}

func TestRandomLabelsOfAWildcardCreateNothing(t *testing.T) {
	h, _, _, count := starHandler(t, starZone)
	for i := range 100 {
		if r := query(t, h, fmt.Sprintf("_443._tcp.r%d.example.org.", i), dns.TypeTLSA); r.Rcode != "NXDOMAIN" {
			t.Fatalf("%+v", r)
		}
	}
	if *count -= 100; *count > 300 {
		t.Errorf("%d questions for 100 hosts that do not exist", *count)
	}
	for name, most := range map[string]int{
		"_443._tcp.exact.example.org.": 0, "_443._tcp.conf.example.org.": 1, "_443._tcp.web.example.org.": 3,
		"web.example.org.": 1,
	} {
		*count = 0
		if query(t, h, name, dns.TypeTLSA); *count > most {
			t.Errorf("%s takes %d questions to the next plugin, want at most %d", name, *count, most)
		}
	}
}

func TestHostThatMayHaveACertificateIsNotDenied(t *testing.T) {
	before, _, _, _ := starHandler(t, starZone)
	h := &Handler{Next: before.Next}
	serveStars(t, h, filepath.Join(t.TempDir(), "missing"))
	for _, name := range []string{"_443._tcp.web.example.org.", "_443._tcp.a.b.example.org.", "_443._tcp.example.org."} {
		if r := query(t, h, name, dns.TypeTLSA); r.Rcode != "SERVFAIL" {
			t.Errorf("%s: no directory was read and nothing is recorded, and yet the answer is %+v", name, r)
		}
	}
	const pinned = "_443._tcp.pinned.example.org."
	if diff := cmp.Diff(reply{Rcode: "NOERROR", AA: true, Answer: twoRecords(pinned)[:1]}, query(t, h, pinned, dns.TypeTLSA)); diff != "" {
		t.Errorf("an owner of the Corefile (-want +got):\n%s", diff)
	}
	if h.Ready() {
		t.Error("it is ready")
	}
	// A denial of the name would deny the records with it (RFC 8020).
	for name, qtype := range map[string]uint16{"_443._tcp.web.example.org.": dns.TypeA, "_tcp.web.example.org.": dns.TypeTLSA} {
		if r := query(t, h, name, qtype); r.Rcode != "NOERROR" || len(r.Ns) != 1 {
			t.Errorf("%s: %+v, want NODATA", name, r)
		}
	}
	for name, qtype := range map[string]uint16{
		"_25._tcp.web.example.org.": dns.TypeTLSA, "web.example.org.": dns.TypeTLSA,
		"_443._tcp.*.example.org.": dns.TypeTLSA, "_443._tcp._x.example.org.": dns.TypeTLSA,
	} {
		if diff := cmp.Diff(query(t, h.Next, name, qtype), query(t, h, name, qtype)); diff != "" {
			t.Errorf("%s (-next plugin +got):\n%s", name, diff)
		}
	}
}

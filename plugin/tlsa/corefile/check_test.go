package corefile

import (
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/coredns/caddy"
	"github.com/coredns/coredns/core/dnsserver"
	"github.com/google/go-cmp/cmp"
	"github.com/miekg/dns"

	"github.com/coredns-tlsa/coredns-tlsa/plugin/tlsa/dane"
	"github.com/coredns-tlsa/coredns-tlsa/plugin/tlsa/publish"
)

// directiveOf parses one directive in a server block of example.org and example.net.
func directiveOf(text string) ([]*Block, error) {
	c := caddy.NewTestController("dns", text)
	c.ServerBlockKeys = []string{"dns://example.org.:53", "dns://example.net.:53"}
	return Parse(&c.Dispenser, c.ServerBlockKeys, dnsserver.GetConfig(c).Root)
}

func must(t *testing.T, text string) *Block {
	t.Helper()
	blocks, err := directiveOf(text)
	if err != nil || len(blocks) != 1 {
		t.Fatalf("%d blocks, %v", len(blocks), err)
	}
	return blocks[0]
}

const plain = "tlsa example.org {\n certs /c\n name _25._tcp.a\n"

func TestErrorReadsLikeOneOfTheCorefileParser(t *testing.T) {
	c := caddy.NewTestController("dns", "a\nb")
	c.Next()
	c.Next()
	if got, want := here(&c.Dispenser).errorf("is %d", 1).Error(), c.Errf("is %d", 1).Error(); got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}

func TestTextThatNoCorefileCanHoldIsRefusedAllTheSame(t *testing.T) {
	for text, want := range map[string]string{
		"tlsa {\n ttl 5m":                     `1 - Error during parsing: the block is not closed: add "}" on a line of its own`,
		"tlsa {\n certs /a\x00\n}":            `2 - Error during parsing: certs: "/a\x00" holds a zero octet: no path does`,
		"tlsa {\n ledger a\x00\n}":            `2 - Error during parsing: ledger: "a\x00" holds a zero octet: no path does`,
		plain + "name _1._tcp from ./\x00\n}": `4 - Error during parsing: name: lineage "./\x00" holds a zero octet: no path does`,
	} {
		if _, err := directiveOf(text); err == nil || err.Error() != "Testfile:"+want {
			t.Errorf("got %v, want %s", err, want)
		}
	}
}

func TestPeersDecideWarningsAndErrors(t *testing.T) {
	fine := Peers{DNSSEC: true, Next: true}
	changes := func(string, uint32) string { return "changes it" }
	nothing := func(string, uint32) string { return "" }
	for sentence, row := range map[string]struct {
		text     string
		peers    Peers
		warnings []string
		err      string
	}{
		"dnssec and a zone behind: nothing to say": {plain + "}", fine, nil, ""},
		"nothing behind": {plain + "}", Peers{DNSSEC: true}, nil,
			"Testfile:1 - Error during parsing: tlsa: no plugin after it serves example.org.: add file, auto or secondary to the server block, or authority to tlsa"},
		"nothing behind a guard": {"tlsa", Peers{DNSSEC: true}, nil,
			"Testfile:1 - Error during parsing: tlsa: no plugin after it serves example.net., example.org.: add file, auto or secondary to the server block, or authority to tlsa"},
		"no dnssec": {plain + "}", Peers{Next: true},
			[]string{"Testfile:1 - tlsa: no dnssec in the server block, so clients ignore its TLSA records: add dnssec, unless something else signs them"}, ""},
		"an hour under dnssec is not too long": {plain + "ttl 1h\n}", fine, nil, ""},
		"a second more under dnssec is": {plain + "ttl 3601\n}", fine, nil,
			"Testfile:4 - Error during parsing: ttl: 1h0m1s is more than dnssec can sign, and caches would keep the records too long: write at most 1h"},
		"transfer with propagation, even none": {plain + "propagation 0\n}", Peers{DNSSEC: true, Next: true, Transfer: true}, nil, ""},
		"rewrite": {plain + "}", Peers{DNSSEC: true, Next: true, Rewrite: changes}, []string{
			"Testfile:1 - tlsa: rewrite changes it, so what clients get for _25._tcp.a.example.org. is not what tlsa counts hold and grace by: " +
				"leave the name out of the rule",
		}, ""},
		"any": {plain + "}", Peers{DNSSEC: true, Next: true, Any: true, Rewrite: nothing}, []string{
			"Testfile:1 - tlsa: any answers queries of type ANY before dnssec, unsigned, so validators refuse it for the names of tlsa too: remove any",
		}, ""},
		"serve_stale": {plain + "}", Peers{DNSSEC: true, Next: true, Stale: true, Rewrite: nothing}, []string{
			"Testfile:1 - tlsa: cache with serve_stale leaves the names of tlsa alone, but not the aliases that lead to them: " +
				"remove serve_stale, or let no CNAME of the zone lead to a name of tlsa",
		}, ""},
		"dnssec behind tlsa": {plain + "}", Peers{Unsigned: true, Next: true}, nil,
			"Testfile:1 - Error during parsing: tlsa: dnssec stands after it in this build and would sign none of its answers: " +
				"in plugin.cfg, put tlsa after dnssec and transfer, and before file"},
		"a guard does not care for TTLs": {"tlsa", Peers{DNSSEC: true, Next: true, Transfer: true, Rewrite: changes}, nil, ""},
	} {
		t.Run(sentence, func(t *testing.T) {
			warnings, err := must(t, row.text).Check(row.peers)
			got := ""
			if err != nil {
				got = err.Error()
			}
			if got != row.err {
				t.Errorf("error\n%s\nwant\n%s", got, row.err)
			}
			if diff := cmp.Diff(row.warnings, warnings); diff != "" {
				t.Errorf("warnings (-want +got):\n%s", diff)
			}
		})
	}
}

func TestDifferenceBetweenBlocksNamesTheOption(t *testing.T) {
	pin := " 3 1 1 " + strings.Repeat("0b", 32)
	for sentence, row := range map[string]struct{ a, b, want string }{
		"certs":       {"certs /d\n", "", `certs is "/c /d" here and "/c" there: make them equal`},
		"next":        {"", "next /n\n", `next is "" here and "/n" there: make them equal`},
		"ttl":         {"ttl 5m\n", "ttl 6m\n", `ttl is "5m0s" here and "6m0s" there: make them equal`},
		"rescan":      {"rescan 5m\n", "", `rescan is "5m0s" here and "1m0s" there: make them equal`},
		"an owner":    {"name _1._tcp\n", "", `name is "_1._tcp.example.org. _25._tcp.a.example.org." here and "_25._tcp.a.example.org." there: make them equal`},
		"propagation": {"propagation 1\nhold 3h\n", "hold 3h\n", `propagation is "1s" here and "0s" there: make them equal`},
		"hold":        {"hold 3h\n", "", `hold is "3h0m0s" here and "2h0m0s" there: make them equal`},
		"grace":       {"grace 49h\n", "", `grace is "49h0m0s" here and "48h0m0s" there: make them equal`},
		"notafter":    {"grace notafter\n", "", `grace is "48h0m0s or notafter" here and "48h0m0s" there: make them equal`},
		"from": {"name _1._tcp from l\n", "name _1._tcp\n",
			`from of _1._tcp.example.org. is "l" here and "" there: make them equal`},
		"as":  {"as 2 1 1\n", "", `as of _25._tcp.a.example.org. is "2 1 1" here and "3 1 1" there: make them equal`},
		"pin": {"pin _25._tcp.a" + pin + "\n", "", `pin of _25._tcp.a.example.org. is "` + strings.TrimSpace(pin) + `" here and "" there: make them equal`},
	} {
		t.Run(sentence, func(t *testing.T) {
			a, b := must(t, plain+row.a+"}"), must(t, plain+row.b+"}")
			err := sameOptions(a.Config, b.Config)
			if err == nil || err.Error() != row.want {
				t.Errorf("got %v\nwant %s", err, row.want)
			}
			if err := sameOptions(b.Config, a.Config); err == nil {
				t.Error("no difference the other way round")
			}
			if err := sameOptions(a.Config, a.Config); err != nil {
				t.Errorf("a block differs from itself: %v", err)
			}
		})
	}
}

// FuzzParse holds that no text makes the parser panic, that every error has its place, and that what is accepted is valid.
func FuzzParse(f *testing.F) {
	for _, suffix := range []string{".good", ".bad"} {
		for _, text := range corefiles(f, suffix) {
			_, text, _ = strings.Cut(text, "{")
			if i := strings.Index(text, "tlsa"); i >= 0 {
				f.Add(text[i:])
				f.Add(strings.ReplaceAll(text[i:], "tlsa {", "tlsa example.org {"))
			}
		}
	}
	f.Fuzz(func(t *testing.T, text string) {
		blocks, err := directiveOf(text)
		if err != nil && !strings.HasPrefix(err.Error(), "Testfile:") {
			t.Errorf("error without a place: %v", err)
		}
		for _, b := range blocks {
			valid(t, b)
		}
	})
}

// valid holds every promise of publish.Config and rollover.Policy against a block that parse let through.
func valid(t *testing.T, b *Block) {
	t.Helper()
	claim := func(ok bool, format string, args ...any) {
		t.Helper()
		if !ok {
			t.Errorf(format, args...)
		}
	}
	claim(len(b.Zones) > 0 && !slices.Contains(b.Zones, "."), "zones are %q", b.Zones)
	claim(ascending(b.Zones, strings.Compare), "zones not in order: %q", b.Zones)
	claim(ascending(b.Certs, strings.Compare) && ascending(b.Next, strings.Compare), "roots not in order: %q %q", b.Certs, b.Next)
	for _, path := range slices.Concat(b.Certs, b.Next) {
		_, err := filepath.Match(path, "")
		claim(filepath.IsAbs(path) && err == nil, "root %q: %v", path, err)
	}
	claim(b.Ledger == "" || filepath.IsAbs(b.Ledger), "ledger %q", b.Ledger)
	claim(b.Rescan >= time.Second, "rescan %s", b.Rescan)
	claim(ascending(b.Owners, func(o, p publish.Owner) int { return strings.Compare(o.Name, p.Name) }), "owners not in order")
	claim(ascending(b.Patterns, func(o, p publish.Owner) int { return strings.Compare(o.Name, p.Name) }), "patterns not in order")
	for _, o := range b.Patterns {
		claim(strings.HasPrefix(o.Host, "*.") && strings.Count(o.Name, "*") == 1 && len(o.Policy.Pins) == 0, "pattern %+v", o)
	}
	for _, o := range slices.Concat(b.Owners, b.Patterns) {
		within := slices.ContainsFunc(b.Zones, func(zone string) bool { return dns.IsSubDomain(zone, o.Name) && (zone != o.Name || b.Authority != nil) })
		claim(within && o.Name == dns.CanonicalName(o.Name), "owner %q", o.Name)
		buffer := make([]byte, 255)
		_, err := dns.PackDomainName(o.Name, buffer, 0, nil, false)
		claim(err == nil, "owner %q is no name: %v", o.Name, err)
		claim(strings.HasSuffix("."+o.Name, "."+o.Host) && o.Host[0] != '_', "host %q of %q", o.Host, o.Name)
		claim(ascending(o.From, strings.Compare) && !slices.Contains(o.From, ""), "from %q", o.From)
		validPolicy(claim, b, o)
	}
}

func validPolicy(claim func(ok bool, format string, args ...any), b *Block, o publish.Owner) {
	p := o.Policy
	least := p.Propagation + 2*time.Duration(p.TTL)*time.Second
	claim(p.TTL == b.TTL && p.TTL > 0 && p.Propagation >= 0, "ttl %d of %d, propagation %s", p.TTL, b.TTL, p.Propagation)
	claim(p.Hold >= least && p.Grace >= least, "hold %s or grace %s below %s", p.Hold, p.Grace, least)
	claim(ascending(p.Combinations, dane.Combination.Compare), "combinations %v", p.Combinations)
	claim(ascending(p.Pins, dane.Association.Compare), "pins %v", p.Pins)
	claim(len(p.Combinations)+len(p.Pins) > 0, "%s has neither combination nor pin", o.Name)
	all := slices.Clone(p.Combinations)
	pinned := make(map[dane.Combination]int)
	for _, pin := range p.Pins {
		all = append(all, pin.Combination)
		pinned[pin.Combination]++
		size := map[dane.MatchingType]int{dane.Full: len(pin.Data), dane.SHA256: 32, dane.SHA512: 64}[pin.MatchingType]
		claim(len(pin.Data) == size && size > 0, "pin of %d octets", len(pin.Data))
	}
	for _, c := range all {
		claim(!strings.HasPrefix(o.Name, "_25._") || c.Usage >= dane.DANETA, "%s at %s", c, o.Name)
		for _, d := range all { // digest agility
			digests := c.MatchingType != dane.Full && d.MatchingType != dane.Full
			if c.Usage == d.Usage && c.Selector == d.Selector && digests {
				claim(pinned[c] == pinned[d], "%d pins %s and %d pins %s", pinned[c], c, pinned[d], d)
			}
		}
	}
}

// ascending tells whether all stand in order, each of them once.
func ascending[T any](all []T, compare func(T, T) int) bool {
	for i := 1; i < len(all); i++ {
		if compare(all[i-1], all[i]) >= 0 {
			return false
		}
	}
	return true
}

package corefile

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/coredns-tlsa/coredns-tlsa/plugin/tlsa/dane"
	"github.com/coredns-tlsa/coredns-tlsa/plugin/tlsa/publish"
)

func (b *Block) warn(s statement, format string, args ...any) {
	b.Warnings = append(b.Warnings, fmt.Sprintf("%s - %s: "+format, append([]any{s.Position, s.option}, args...)...))
}

// warnCombination says what is legal and works badly.
func (b *Block) warnCombination(s statement, c dane.Combination) {
	if c.MatchingType == dane.Full {
		b.warn(s, "%s puts whole keys or certificates into DNS: prefer %d %d 1 (RFC 7671 10.1.2)", c, c.Usage, c.Selector)
	}
	if c.Usage == dane.DANEEE && c.Selector == dane.Cert && s.option != "pin" {
		b.warn(s, "%s changes at each renewal, even of the same key: prefer 3 1 1", c)
	}
	if c == (dane.Combination{Usage: dane.DANETA, Selector: dane.SPKI, MatchingType: dane.Full}) {
		b.warn(s, "%s is a bare trust anchor key, which not every client can use: prefer 2 1 1 (RFC 7671 5.2.3)", c)
	}
}

func (b *Block) warnLedger() {
	s := statement{Position: b.Position, option: "tlsa"}
	if at, written := b.Written["ledger"]; written {
		s = statement{Position: at, option: "ledger none"}
	}
	b.warn(s, "the timeline is in memory only, so each restart forgets which records caches may still hold: write ledger FILE")
}

// warnSize estimates the answer while two keys overlap, and warns where it will not fit into a UDP message of the usual
// size (RFC 9715). Lengths that only the certificates can tell are those of ordinary ones.
func (b *Block) warnSize(d *draft, o publish.Owner) {
	const (
		fixed       = 12 + 4 + 11 // header, question, OPT
		record      = 12 + 3      // compressed name, type, class, TTL, length; usage, selector, matching type
		keys        = 2
		certificate = 1000
		publicKey   = 294 // RSA of 2048 bits
		most        = 1232
	)
	size := fixed + wireLength(o.Name)
	for _, c := range o.Policy.Combinations {
		data := map[dane.MatchingType]int{dane.SHA256: 32, dane.SHA512: 64}[c.MatchingType]
		switch {
		case c.MatchingType != dane.Full:
		case c.Selector == dane.Cert:
			data = certificate
		default:
			data = publicKey
		}
		size += keys * (record + data)
	}
	for _, pin := range o.Policy.Pins {
		size += record + len(pin.Data)
	}
	if size > most {
		b.warn(d.at, "the records of %s may take %d octets while two keys overlap: over %d, each query has to come again over TCP",
			o.Name, size, most)
	}
}

// Peers is what else the server block has.
type Peers struct {
	// DNSSEC signs our answers.
	DNSSEC bool
	// Unsigned: *dnssec* stands behind us, where it sees none of our answers.
	Unsigned bool
	// Next: a plugin after us serves the zone.
	Next bool
	// Transfer lets secondaries have the zone.
	Transfer bool
	// Server are the zones of the server block.
	Server []string
	// Any answers queries of type ANY before us.
	Any bool
	// Stale: *cache* may answer with what has expired.
	Stale bool
	// Rewrite says what *rewrite* does to the queries for an owner or to its records, empty for nothing; nil without it.
	Rewrite func(owner string, ttl uint32) string
}

// mostRewrites bounds for how many owners the rules of *rewrite* are tried at start.
const mostRewrites = 64

// Check judges the block together with the rest of its server block. It returns what to log.
func (b *Block) Check(p Peers) (warnings []string, err error) {
	tell := func(format string, args ...any) {
		warnings = append(warnings, fmt.Sprintf("%s - tlsa: "+format, append([]any{b.Position}, args...)...))
	}
	switch {
	case b.Authority != nil && len(b.Authority.Fall) > 0 && !p.Next:
		return nil, b.Written["fallthrough"].errorf("fallthrough leads nowhere: no plugin stands after tlsa, remove it")
	case b.Authority == nil && !p.Next:
		return nil, b.errorf("tlsa: no plugin after it serves %s: add file, auto or secondary to the server block, or authority to tlsa",
			list(b.Zones))
	}
	if p.Unsigned {
		return nil, b.errorf("tlsa: dnssec stands after it in this build and would sign none of its answers: " +
			"in plugin.cfg, put tlsa after dnssec and transfer, and before file")
	}
	if !p.DNSSEC && !p.Transfer { // what is transferred may well be signed by a secondary
		tell("no dnssec in the server block, so clients ignore its TLSA records: add dnssec, unless something else signs them")
	}
	for zone, above := range b.besideParent(p) {
		tell("authority of %s stands in the server block of %s, whose DS record for it would be signed with the wrong key: "+
			"give %s a server block of its own", zone, above, zone)
	}
	if b.GuardOnly() {
		return warnings, nil
	}
	if most := uint32(time.Hour / time.Second); p.DNSSEC && b.TTL > most {
		return nil, b.Written["ttl"].errorf("ttl: %s is more than dnssec can sign, and caches would keep the records too long: write at most 1h",
			time.Duration(b.TTL)*time.Second)
	}
	if p.Any && p.DNSSEC {
		tell("any answers queries of type ANY before dnssec, unsigned, so validators refuse it for the names of tlsa too: remove any")
	}
	if p.Stale {
		tell("cache with serve_stale leaves the names of tlsa alone, but not the aliases that lead to them: " +
			"remove serve_stale, or let no CNAME of the zone lead to a name of tlsa")
	}
	for _, o := range b.Owners[:min(len(b.Owners), mostRewrites)] {
		if p.Rewrite == nil {
			break
		}
		if what := p.Rewrite(o.Name, b.TTL); what != "" {
			tell("rewrite %s, so what clients get for %s is not what tlsa counts hold and grace by: leave the name out of the rule", what, o.Name)
		}
	}
	return warnings, nil
}

// besideParent gives the zones of `authority` that have one above them in the server block, with that.
func (b *Block) besideParent(p Peers) map[string]string {
	found := map[string]string{}
	if b.Authority == nil || !p.Next {
		return found
	}
	for _, zone := range b.Zones {
		_, parent, _ := strings.Cut(zone, ".")
		if above := longest(p.Server, parent); above != "" && above != "." {
			found[zone] = above
		}
	}
	return found
}

// Equal tells whether two blocks that share a ledger, zones and a view have the same options, as they must.
func (b *Block) Equal(o *Block) error {
	err := sameOptions(b.Config, o.Config)
	if err == nil {
		err = sameAuthority(b.Authority, o.Authority)
	}
	if err != nil {
		return b.errorf("tlsa shares ledger, zones and view with %s and must have the same options, but %w", o.Position, err)
	}
	return nil
}

// sameOptions gives an error that names the first option in which two blocks differ. Zones, view and ledger are not
// compared: they say which blocks must be the same.
func sameOptions(a, b publish.Config) error {
	other := settings(b)
	for i, s := range settings(a) {
		if s != other[i] { // the owners stand before what is listed by owner, so the lists run in step up to there
			return fmt.Errorf("%s is %q here and %q there: make them equal", s.option, s.value, other[i].value)
		}
	}
	return nil
}

// A setting is an option of a block in words.
type setting struct{ option, value string }

func settings(c publish.Config) []setting {
	owners := slices.Concat(c.Owners, c.Patterns)
	names := make([]string, 0, len(owners))
	for _, o := range owners {
		names = append(names, o.Name)
	}
	all := []setting{
		{"certs", strings.Join(c.Certs, " ")},
		{"next", strings.Join(c.Next, " ")},
		{"ttl", (time.Duration(c.TTL) * time.Second).String()},
		{"rescan", c.Rescan.String()},
		{"name", strings.Join(names, " ")},
	}
	for _, o := range owners {
		grace := o.Policy.Grace.String()
		if o.Policy.UntilExpiry {
			grace += " or notafter"
		}
		pins := make([]string, 0, len(o.Policy.Pins))
		for _, pin := range o.Policy.Pins {
			pins = append(pins, fmt.Sprintf("%s %x", pin.Combination, pin.Data))
		}
		all = append(all,
			setting{"propagation", o.Policy.Propagation.String()},
			setting{"hold", o.Policy.Hold.String()},
			setting{"grace", grace},
			setting{"from of " + o.Name, strings.Join(o.From, " ")},
			setting{"as of " + o.Name, strings.Trim(fmt.Sprint(o.Policy.Combinations), "[]")},
			setting{"pin of " + o.Name, strings.Join(pins, ", ")},
		)
	}
	return all
}

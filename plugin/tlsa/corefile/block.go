package corefile

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/coredns/caddy/caddyfile"

	"github.com/coredns-tlsa/coredns-tlsa/plugin/tlsa/dane"
	"github.com/coredns-tlsa/coredns-tlsa/plugin/tlsa/publish"
	"github.com/coredns-tlsa/coredns-tlsa/plugin/tlsa/rollover"
)

// A Block is one `tlsa` directive, valid as it stands. View is unknown until the server has been put together.
type Block struct {
	publish.Config
	Position
	// Authority is nil where the next plugin has the apex.
	Authority *Authority
	// Control is the absolute path of the control socket, Status the address of the read-only status; empty without one.
	Control, Status string
	// Warnings are for the operator's log, each with its place.
	Warnings []string
	// Written tells where each option stands; an option that is missing here has its default.
	Written map[string]Position
	// Named tells where each owner stands first.
	Named map[string]Position
}

// GuardOnly tells a block that publishes nothing and is there for the sake of other signed blocks.
func (b *Block) GuardOnly() bool { return len(b.Owners)+len(b.Patterns) == 0 }

// Parse reads every tlsa directive of a server block: c has their words, keys are those of the server block, and relative
// paths lie below root, or below the working directory. It opens no file and starts nothing. Each error names file, line,
// value and what to do.
func Parse(c *caddyfile.Dispenser, keys []string, root string) ([]*Block, error) {
	var blocks []*Block
	for c.Next() {
		d, err := readDirective(c)
		if err != nil {
			return nil, err
		}
		b, err := newBlock(d, keys, root)
		if err != nil {
			return nil, err
		}
		for _, other := range blocks {
			if err := b.disjoint(other); err != nil {
				return nil, err
			}
		}
		blocks = append(blocks, b)
	}
	return blocks, nil
}

// disjoint refuses an owner or apex that an earlier directive of the server block has: only one of them would be asked.
func (b *Block) disjoint(other *Block) error {
	for _, zone := range b.Zones {
		if b.Authority != nil && other.Authority != nil && slices.Contains(other.Zones, zone) {
			return b.errorf("authority for %s stands in the tlsa directive at %s too: write it in one of them", zone, other.Position)
		}
	}
	for _, o := range b.Owners {
		if slices.ContainsFunc(other.Owners, func(p publish.Owner) bool { return p.Name == o.Name }) {
			return b.errorf("owner %s stands in the tlsa directive at %s too: name it in one of them", o.Name, other.Position)
		}
	}
	return b.apart(other)
}

// A builder puts a block together from its lines.
type builder struct {
	*Block
	root   string
	as     []placed[dane.Combination] // of the block, for names without their own
	drafts []*draft                   // in the order in which they are written
	named  map[string]*draft          // the same, by name: there may be very many
	policy rollover.Policy            // what all owners have in common
	fall   []string                   // of `fallthrough`
	// parseOwner reads an owner: with authority also the zone's own name.
	parseOwner func(raw string, zones []string) (ownerName, error)
}

// placed is a value and where it was written.
type placed[T any] struct {
	value T
	statement
}

func newBlock(d directive, serverKeys []string, root string) (*Block, error) {
	server, err := ServerZones(serverKeys)
	if err != nil {
		return nil, d.errorf("%w", err)
	}
	zones, err := parseZones(d.zones, server)
	if err != nil {
		return nil, d.errorf("%w", err)
	}
	b := &builder{
		named: map[string]*draft{},
		Block: &Block{Position: d.Position, Written: make(map[string]Position), Named: make(map[string]Position)},
		root:  root, parseOwner: parseOwner,
	}
	if slices.ContainsFunc(d.options, func(s statement) bool { return s.option == "authority" }) {
		b.parseOwner = parseApexOwner
	}
	b.Zones, b.TTL, b.Rescan = zones, uint32(time.Hour/time.Second), time.Minute
	for _, s := range d.options {
		if err := b.option(s); err != nil {
			return nil, err
		}
		if _, again := b.Written[s.option]; !again {
			b.Written[s.option] = s.Position
		}
	}
	if err := b.finish(d); err != nil {
		return nil, err
	}
	return b.Block, nil
}

// finish judges what only the whole block can tell, and fills in the defaults.
func (b *builder) finish(d directive) error {
	if len(d.options) > 0 {
		if err := b.complete(d.options); err != nil {
			return err
		}
	}
	if err := b.authorize(); err != nil {
		return err
	}
	if err := b.times(); err != nil {
		return err
	}
	if len(b.as) == 0 {
		b.as = []placed[dane.Combination]{{value: dane.Combination{Usage: dane.DANEEE, Selector: dane.SPKI, MatchingType: dane.SHA256}}}
	}
	for _, d := range b.drafts {
		owner, err := b.owner(d)
		if err != nil {
			return err
		}
		b.warnSize(d, owner)
		b.Named[owner.Name] = d.at.Position
		if d.pattern() {
			b.Patterns = append(b.Patterns, owner)
			continue
		}
		b.Owners = append(b.Owners, owner)
	}
	for _, owners := range [][]publish.Owner{b.Owners, b.Patterns} {
		slices.SortFunc(owners, func(o, p publish.Owner) int { return strings.Compare(o.Name, p.Name) })
	}
	slices.Sort(b.Certs)
	slices.Sort(b.Next)
	if !b.GuardOnly() && b.Ledger == "" {
		b.warnLedger()
	}
	return nil
}

// complete checks that the options make something to publish together.
func (b *builder) complete(options []statement) error {
	named := slices.ContainsFunc(b.drafts, func(d *draft) bool { return len(d.lines) > 0 })
	for _, s := range options {
		switch {
		case len(b.drafts) == 0:
			return s.Position.errorf("%s without name or pin: nothing would be published, add one of them, or leave the block empty",
				s.option)
		case !named && slices.Contains([]string{"certs", "next", "as"}, s.option):
			return s.Position.errorf("%s without name: no owner would use it, add name or remove it", s.option)
		}
	}
	for _, d := range b.drafts {
		if len(b.Certs)+len(b.Next)+len(d.pins) == 0 {
			return d.at.errorf("%s has nothing to publish: add certs, next or a pin", d.name)
		}
	}
	return nil
}

// times checks the waits against each other and fills in their defaults.
func (b *builder) times() error {
	ttl := time.Duration(b.TTL) * time.Second
	p := &b.policy
	p.TTL = b.TTL
	least := p.Propagation + 2*ttl
	for _, wait := range []struct {
		option string
		value  *time.Duration
		preset time.Duration
	}{
		{"hold", &p.Hold, p.Propagation + max(2*ttl, ttl+5*time.Minute)},
		{"grace", &p.Grace, max(48*time.Hour, least)},
	} {
		at, written := b.Written[wait.option]
		if !written || *wait.value == 0 { // notafter leaves the duration open
			*wait.value = wait.preset
		}
		if *wait.value < least {
			return at.errorf("%s: %s is below propagation + 2*ttl, so a cache could still hold the records of before: write at least %s",
				wait.option, *wait.value, least)
		}
	}
	return nil
}

// option reads one line of the block.
func (b *builder) option(s statement) error {
	at, again := b.Written[s.option]
	switch s.option {
	case "certs":
		return b.roots(s, &b.Certs)
	case "next":
		return b.roots(s, &b.Next)
	case "name":
		return b.nameLine(s)
	case "as":
		return b.asLine(s)
	case "pin":
		return b.pinLine(s)
	}
	if again {
		return s.Position.errorf("%s stands a second time, first at %s: remove one", s.option, at)
	}
	switch s.option {
	case "ttl":
		return b.ttl(s)
	case "propagation":
		return s.duration(&b.policy.Propagation, 0, 30*day)
	case "hold":
		return s.duration(&b.policy.Hold, time.Second, 365*day)
	case "grace":
		return b.grace(s)
	case "rescan":
		return s.duration(&b.Rescan, time.Second, day)
	case "ledger":
		return b.ledger(s)
	case "authority":
		return b.authorityLine(s)
	case "control":
		return b.control(s)
	case "status":
		return b.status(s)
	case "fallthrough":
		return b.fallthroughLine(s)
	}
	return s.Position.errorf("%w", unknown(s.option))
}

func unknown(option string) error {
	options := []string{
		"certs", "next", "name", "as", "pin", "ttl", "propagation", "hold", "grace", "ledger", "rescan", "authority", "fallthrough",
		"control", "status",
	}
	nearest := slices.MinFunc(options, func(o, p string) int { return distance(option, o) - distance(option, p) })
	if distance(option, nearest) <= 1+len(nearest)/5 {
		return fmt.Errorf("unknown option %q: did you mean %q?", option, nearest)
	}
	return fmt.Errorf("unknown option %q: the options are %s", option, list(options))
}

package corefile

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/coredns-tlsa/coredns-tlsa/plugin/tlsa/dane"
	"github.com/coredns-tlsa/coredns-tlsa/plugin/tlsa/publish"
)

// A draft is an owner while its lines are being gathered.
type draft struct {
	ownerName
	at    statement // its first line
	lines []nameLine
	from  []string
	as    []placed[dane.Combination]
	pins  []placed[dane.Association]
}

// A nameLine is a `name` line taken apart.
type nameLine struct {
	statement
	owners, from []string
	as           []dane.Combination
}

// draft finds the owner's draft, or begins one at s.
func (b *builder) draft(s statement, raw string) (*draft, error) {
	owner, err := b.parseOwner(raw, b.Zones)
	if err != nil {
		return nil, s.errorf("%w", err)
	}
	if d := b.named[owner.name]; d != nil {
		return d, nil
	}
	// Somebody who forgets the last dot gets a name that exists, but that nobody asks for.
	if zone := b.Zones[0]; strings.HasSuffix("."+strings.ToLower(raw)+".", "."+zone) {
		b.warn(s, "owner %q has no dot at its end and means %s", raw, owner.name)
	}
	d := &draft{ownerName: owner, at: s}
	b.drafts = append(b.drafts, d)
	b.named[d.name] = d
	return d, nil
}

// nameLine reads `name OWNER... [from LINEAGE...] [as USAGE SELECTOR MATCHING]...`.
func (b *builder) nameLine(s statement) error {
	line, err := b.parseName(s)
	if err != nil {
		return s.errorf("%w", err)
	}
	for _, c := range line.as {
		b.warnCombination(s, c)
	}
	for _, raw := range line.owners {
		d, err := b.draft(s, raw)
		if err != nil {
			return err
		}
		if len(d.lines) > 0 && d.lines[len(d.lines)-1].Position == s.Position {
			return s.errorf("owner %q stands twice in this line: remove one", raw)
		}
		if err := d.add(line); err != nil {
			return s.errorf("owner %q: %w", raw, err)
		}
	}
	return nil
}

// parseName takes the words of a name line apart; the owners stay as written.
func (b *builder) parseName(s statement) (nameLine, error) {
	line := nameLine{statement: s}
	keyword := func(word string) bool { return word == "from" || word == "as" }
	words := func(args []string) ([]string, []string) {
		if i := slices.IndexFunc(args, keyword); i >= 0 {
			return args[:i], args[i:]
		}
		return args, nil
	}
	owners, rest := words(s.args)
	if len(owners) == 0 {
		return line, errors.New("missing owner: write one, such as _25._tcp.mail")
	}
	line.owners = owners
	if len(rest) > 0 && rest[0] == "from" {
		var lineages []string
		if lineages, rest = words(rest[1:]); len(lineages) == 0 {
			return line, errors.New("from without a lineage: write its name or path, or remove from")
		}
		for _, raw := range lineages {
			lineage, err := b.lineage(raw)
			if err != nil {
				return line, err
			}
			line.from = append(line.from, lineage)
		}
	}
	for len(rest) > 0 {
		if rest[0] != "as" {
			return line, fmt.Errorf("%q after the lineages or combinations: the order is owners, from, as", rest[0])
		}
		combination, err := parseCombination(rest[1:min(4, len(rest))])
		if err != nil {
			return line, err
		}
		line.as, rest = append(line.as, combination), rest[4:]
	}
	return line, nil
}

// add joins another name line to the owner. Lines that would contradict or repeat each other are refused: what they mean
// together is not what either says.
func (d *draft) add(line nameLine) error {
	for _, other := range d.lines {
		bare := func(l nameLine) bool { return len(l.from)+len(l.as) == 0 }
		switch {
		case (len(other.from) == 0) != (len(line.from) == 0):
			return fmt.Errorf("it has from in one of this line and %s only: without from it would take every certificate "+
				"that covers it, so write from in both or neither", other.Position)
		case bare(other) || bare(line):
			return fmt.Errorf("it stands at %s already: join the two lines", other.Position)
		}
	}
	for _, lineage := range line.from {
		if slices.Contains(d.from, lineage) {
			return fmt.Errorf("lineage %q stands twice: remove one", lineage)
		}
		d.from = append(d.from, lineage)
	}
	for _, c := range line.as {
		if at, again := find(d.as, c); again {
			return fmt.Errorf("as %s stands twice, first at %s: remove one", c, at)
		}
		d.as = append(d.as, placed[dane.Combination]{c, line.statement})
	}
	d.lines = append(d.lines, line)
	return nil
}

func find[T comparable](all []placed[T], v T) (Position, bool) {
	for _, p := range all {
		if p.value == v {
			return p.Position, true
		}
	}
	return Position{}, false
}

// lineage reads the name or, where it has a slash, the path of a lineage.
func (b *builder) lineage(raw string) (string, error) {
	switch {
	case raw == "":
		return "", errors.New("empty lineage: write its name or path, or set the environment variable that it comes from")
	case strings.Contains(raw, "/"):
		path, err := b.absolute(raw)
		if err != nil {
			return "", fmt.Errorf("lineage %q %w", raw, err)
		}
		return path, nil
	case strings.HasPrefix(raw, ".."):
		return "", fmt.Errorf("lineage %q: no name starts with two dots, write a path with a slash", raw)
	}
	return raw, nil
}

func parseCombination(args []string) (dane.Combination, error) {
	if len(args) != 3 {
		return dane.Combination{}, errors.New("as needs three numbers: write USAGE SELECTOR MATCHING, such as 3 1 1")
	}
	return dane.ParseCombination(args[0], args[1], args[2])
}

// asLine reads the block's `as USAGE SELECTOR MATCHING`.
func (b *builder) asLine(s statement) error {
	if len(s.args) > 3 {
		return s.errorf("%q is one argument too many: write each combination in a line of its own", s.args[3])
	}
	c, err := parseCombination(s.args)
	if err != nil {
		return s.errorf("%w", err)
	}
	if at, again := find(b.as, c); again {
		return s.errorf("%s stands twice, first at %s: remove one", c, at)
	}
	b.warnCombination(s, c)
	b.as = append(b.as, placed[dane.Combination]{c, s})
	return nil
}

// owner makes the finished owner of a draft.
func (b *builder) owner(d *draft) (publish.Owner, error) {
	as := d.as
	switch {
	case len(d.lines) == 0:
		as = nil
	case len(as) == 0:
		for _, c := range b.as {
			as = append(as, placed[dane.Combination]{c.value, d.lines[0].statement})
		}
	}
	owner := publish.Owner{Name: d.name, Host: d.host, From: slices.Sorted(slices.Values(d.from)), Policy: b.policy}
	if len(d.lines) > 0 && len(d.from)+len(d.pins) == 0 && strings.Contains("."+d.host, "._") {
		b.warn(d.at, "no certificate names %s, so %s stays empty: add from", d.host, d.name)
	}
	for _, c := range as {
		if err := d.usable(c.statement, c.value); err != nil {
			return owner, err
		}
		owner.Policy.Combinations = append(owner.Policy.Combinations, c.value)
	}
	for _, pin := range d.pins {
		if err := d.usable(pin.statement, pin.value.Combination); err != nil {
			return owner, err
		}
		if err := d.agile(pin, owner.Policy.Combinations); err != nil {
			return owner, err
		}
		owner.Policy.Pins = append(owner.Policy.Pins, pin.value)
	}
	slices.SortFunc(owner.Policy.Combinations, dane.Combination.Compare)
	slices.SortFunc(owner.Policy.Pins, dane.Association.Compare)
	return owner, nil
}

// usable refuses what no client of the port would use.
func (d *draft) usable(s statement, c dane.Combination) error {
	if d.port == 25 && (c.Usage == dane.PKIXTA || c.Usage == dane.PKIXEE) {
		return s.errorf("%s at %s: mail servers ignore usages 0 and 1 on port 25 (RFC 7672 3.1.3), write 3 %d %d or 2 %d %d",
			c, d.name, c.Selector, c.MatchingType, c.Selector, c.MatchingType)
	}
	return nil
}

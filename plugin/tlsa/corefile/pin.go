package corefile

import (
	"slices"
	"strings"

	"github.com/coredns-tlsa/coredns-tlsa/plugin/tlsa/dane"
)

// pinLine reads `pin OWNER USAGE SELECTOR MATCHING HEX`; HEX may be split as in a zone file.
func (b *builder) pinLine(s statement) error {
	if len(s.args) < 5 {
		return s.errorf("it has %d of its 5 arguments: write OWNER USAGE SELECTOR MATCHING HEX", len(s.args))
	}
	c, err := parseCombination(s.args[1:4])
	if err != nil {
		return s.errorf("%w", err)
	}
	hex := strings.Join(s.args[4:], "")
	data, err := dane.ParseData(c, hex)
	if err != nil {
		return s.errorf("%q of %q: %w", hex, s.args[0], err)
	}
	d, err := b.draft(s, s.args[0])
	if err != nil {
		return err
	}
	if d.pattern() {
		return s.errorf("owner %q: a pin is for one name, and * stands for many: write the name", s.args[0])
	}
	a := dane.Association{Combination: c, Data: data}
	if at, again := find(d.pins, a); again {
		return s.errorf("%s of owner %q stands twice, first at %s: remove one", a, s.args[0], at)
	}
	b.warnCombination(s, c)
	d.pins = append(d.pins, placed[dane.Association]{a, s})
	return nil
}

// agile keeps digest agility (RFC 7671 9): a client looks only at the strongest digest of a usage and selector, so each
// must cover the same keys. It compares the number of pins, which is all that digests of unknown keys allow.
func (d *draft) agile(pin placed[dane.Association], combinations []dane.Combination) error {
	same := func(c dane.Combination) bool { return c.Usage == pin.value.Usage && c.Selector == pin.value.Selector }
	count := make(map[dane.Combination]int)
	for _, p := range d.pins {
		count[p.value.Combination]++
	}
	var wanted []dane.Combination
	for _, c := range combinations {
		if same(c) {
			wanted = append(wanted, c)
		}
	}
	pinned := pin.value.Combination
	if len(wanted) > 0 && !slices.Contains(wanted, pinned) {
		return pin.errorf("%s at %s: its certificates come as %v, so pin as %v, or clients would skip one or the other (RFC 7671 9)",
			pinned, d.name, wanted, wanted)
	}
	if len(wanted) == 0 && pinned.MatchingType != dane.Full { // the pins stand alone
		for c := range count {
			if same(c) && c.MatchingType != dane.Full {
				wanted = append(wanted, c)
			}
		}
		slices.SortFunc(wanted, dane.Combination.Compare)
	}
	for _, c := range wanted {
		if count[c] != count[pinned] {
			return pin.errorf("%s has pins for %s: %d, for %s: %d: pin every key as both, or clients would skip one (RFC 7671 9)",
				d.name, pinned, count[pinned], c, count[c])
		}
	}
	return nil
}

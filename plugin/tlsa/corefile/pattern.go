package corefile

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/coredns-tlsa/coredns-tlsa/plugin/tlsa/publish"

	"github.com/miekg/dns"
)

// pattern tells an owner with a `*`.
func (o ownerName) pattern() bool { return strings.HasPrefix(o.host, "*.") }

// parsePattern reads an owner with a `*`, which stands for the hosts that certificates name. A name with another label in its
// place is checked first, so that all that holds for an owner holds for those that come from it.
func parsePattern(raw string, zones []string) (ownerName, error) {
	labels := strings.Split(raw, ".")
	switch {
	case slices.Contains(labels[1:], "_dane"):
		return ownerName{}, fmt.Errorf("owner %q: no certificate names a host under _dane, write each name and its from", raw)
	case strings.Count(raw, "*") > 1:
		return ownerName{}, fmt.Errorf("owner %q: one * is the most, it stands for the host part or for its first label", raw)
	case len(labels) < 3 || labels[2] != "*":
		return ownerName{}, fmt.Errorf("owner %q: a * is the whole first label after _PORT._PROTO, write such as _443._tcp.*", raw)
	}
	labels[2] = "a"
	name, err := qualify(strings.Join(labels, "."), zones)
	if err != nil {
		return ownerName{}, fmt.Errorf("owner %q: %w", raw, err)
	}
	labels = dns.SplitDomainName(name)
	port, err := servicePort(labels)
	switch {
	case err != nil:
	case port == 0 || slices.ContainsFunc(labels[2:], func(label string) bool { return strings.HasPrefix(label, "_") }):
		err = errors.New("no certificate names a host under a label with an underscore, write each name and its from")
	}
	if err != nil {
		return ownerName{}, fmt.Errorf("owner %q: %w", raw, err)
	}
	host := "*." + strings.Join(labels[3:], ".") + "."
	return ownerName{name: labels[0] + "." + labels[1] + "." + host, host: host, port: port}, nil
}

// apart refuses two directives that may have an owner in common by a `*`: only one of them would be asked.
func (b *Block) apart(other *Block) error {
	o, p, clash := publish.Clash(b.Config, other.Config)
	if !clash {
		return nil
	}
	return b.errorf("owner %s and %s of the tlsa directive at %s can mean the same name: write both in one directive",
		o, p, other.Position)
}

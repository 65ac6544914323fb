package corefile

import (
	"errors"
	"fmt"
	"net"
	"slices"
	"strconv"
	"strings"
	"unicode"

	"github.com/miekg/dns"
	"golang.org/x/net/idna"
)

// ServerZones are the zones of a server block, from its keys: lower case, fully qualified, sorted, without duplicates.
func ServerZones(keys []string) ([]string, error) {
	var zones []string
	for _, key := range keys {
		hosts := zonesOfKey(key)
		if len(hosts) == 0 {
			return nil, fmt.Errorf("zone %q of the server block is not a domain name: mend it", key)
		}
		for _, zone := range hosts {
			if strings.ContainsFunc(zone, func(r rune) bool { return r > unicode.MaxASCII }) {
				return nil, fmt.Errorf("zone %q of the server block is never asked for: write it as DNS has it, with xn-- labels",
					strings.TrimSuffix(zone, "."))
			}
			zones = append(zones, zone)
		}
	}
	slices.Sort(zones)
	return slices.Compact(zones), nil
}

// parseZones gives the zones of a directive: those written, or else those of its server block.
func parseZones(written, server []string) ([]string, error) {
	zones := slices.Clone(server)
	if len(written) > 0 {
		zones = nil
	}
	for _, raw := range written {
		names, err := parseZone(raw)
		if err != nil {
			return nil, err
		}
		for _, zone := range names {
			if zone != "." && longest(server, zone) == "" {
				return nil, fmt.Errorf("zone %q is outside of the server block's %s, where it would never be asked for: "+
					"move tlsa to the server block of that zone", raw, list(server))
			}
		}
		zones = append(zones, names...)
	}
	if len(zones) == 0 {
		return nil, errors.New("no zone: write the zones after tlsa")
	}
	if slices.Contains(zones, ".") {
		return nil, errors.New(`zone ".": the root cannot be served here, write the zones after tlsa`)
	}
	slices.Sort(zones)
	return slices.Compact(zones), nil
}

// parseZone reads one zone. A network in CIDR notation stands for its reverse zones, as in the server block.
func parseZone(raw string) ([]string, error) {
	if raw == "." {
		return []string{"."}, nil
	}
	if _, _, err := net.ParseCIDR(raw); err == nil {
		if hosts := zonesOfKey(raw); len(hosts) > 0 {
			return hosts, nil
		}
	}
	zone, err := parseName(strings.TrimSuffix(raw, "."))
	if err != nil {
		return nil, fmt.Errorf("zone %q: %w", raw, err)
	}
	if wireLength(zone) > 255 {
		return nil, fmt.Errorf("zone %q: the name has %d octets, 255 are the most", raw, wireLength(zone))
	}
	return []string{zone}, nil
}

// An ownerName is a checked TLSA owner.
type ownerName struct {
	name string // lower case, fully qualified
	host string // name without its leading underscore labels
	port int    // 0 for a name that only lies under _dane
}

// parseOwner reads an owner the way a zone file does: relative to the zone unless it ends in a dot.
func parseOwner(raw string, zones []string) (ownerName, error) {
	var o ownerName
	switch {
	case raw == "@":
		return o, errors.New(`owner "@": the zone's own name cannot be an owner, write _PORT._PROTO alone for its services`)
	case strings.Contains(raw, "*"):
		return parsePattern(raw, zones)
	}
	name, err := qualify(raw, zones)
	if err != nil {
		return o, fmt.Errorf("owner %q: %w", raw, err)
	}
	labels := dns.SplitDomainName(name)
	port, err := servicePort(labels)
	if err != nil {
		return o, fmt.Errorf("owner %q: %w", raw, err)
	}
	for len(labels) > 0 && strings.HasPrefix(labels[0], "_") {
		labels = labels[1:]
	}
	if len(labels) == 0 {
		return o, fmt.Errorf("owner %q: no host is left without the underscore labels, add its name", raw)
	}
	return ownerName{name: name, host: strings.Join(labels, ".") + ".", port: port}, nil
}

// qualify makes an owner absolute and checks that it lies in one of the zones.
func qualify(raw string, zones []string) (string, error) {
	name, err := parseName(strings.TrimSuffix(raw, "."))
	if err != nil {
		return "", err
	}
	if !strings.HasSuffix(raw, ".") {
		if len(zones) != 1 {
			return "", errors.New("tlsa has several zones here, so write the whole name with a dot at its end")
		}
		name += zones[0]
	}
	switch {
	case wireLength(name) > 255:
		return "", fmt.Errorf("the name has %d octets, 255 are the most", wireLength(name))
	case slices.Contains(zones, name):
		return "", errors.New("the zone's own name cannot be an owner, write _PORT._PROTO alone for its services")
	case longest(zones, name) == "":
		return "", fmt.Errorf("it is outside of %s: mend the name, or add its zone after tlsa", list(zones))
	}
	return name, nil
}

// servicePort checks that an owner has a form that a TLSA client asks for: _PORT._PROTO in front (RFC 6698 3), or a name
// under _dane that a CNAME leads to (RFC 7671 7).
func servicePort(labels []string) (int, error) {
	first := labels[0]
	numbered := len(first) > 1 && first[0] == '_' && first[1] >= '0' && first[1] <= '9'
	if !numbered {
		if slices.Contains(labels[1:], "_dane") {
			return 0, nil
		}
		return 0, errors.New("it must start with _PORT._PROTO, such as _25._tcp, or lie under a _dane label")
	}
	port, err := strconv.Atoi(first[1:])
	if err != nil || port < 1 || port > 65535 || strconv.Itoa(port) != first[1:] {
		return 0, fmt.Errorf("port %q must be 1 to 65535, without a leading zero", first[1:])
	}
	if len(labels) < 2 || !slices.Contains([]string{"_tcp", "_udp", "_sctp"}, labels[1]) {
		return 0, fmt.Errorf("%s must be followed by _tcp, _udp or _sctp", first)
	}
	return port, nil
}

// parseName reads a dotted name without its last dot and gives it fully qualified, in lower case, as DNS has it.
func parseName(s string) (string, error) {
	labels := strings.Split(s, ".")
	for i, label := range labels {
		ascii, err := parseLabel(label)
		if err != nil {
			return "", err
		}
		labels[i] = ascii
	}
	return strings.Join(labels, ".") + ".", nil
}

func parseLabel(raw string) (string, error) {
	label := strings.ToLower(raw)
	if strings.ContainsFunc(label, func(r rune) bool { return r > unicode.MaxASCII }) {
		ascii, err := idna.Registration.ToASCII(label)
		if err == nil && !strings.ContainsFunc(label, disallowed) {
			label = ascii
		} else {
			return "", fmt.Errorf("label %q is not valid by IDNA2008, write it as the xn-- label it is registered by", raw)
		}
	}
	switch {
	case label == "":
		return "", errors.New("it has an empty label, write one dot between labels")
	case len(label) > 63:
		return "", fmt.Errorf("label %q has %d octets, 63 are the most", raw, len(label))
	case strings.ContainsFunc(label, notHost):
		return "", fmt.Errorf("label %q may hold letters, digits, hyphens and underscores only", raw)
	}
	return label, nil
}

func notHost(r rune) bool {
	return (r < 'a' || r > 'z') && (r < '0' || r > '9') && r != '-' && r != '_'
}

// disallowed tells the runes that UTS 46, which the idna package follows, lets through and RFC 5892 does not: symbols and
// punctuation but for its list of exceptions. The contexts of these (A.3 to A.7) are left to registries.
func disallowed(r rune) bool {
	return r > unicode.MaxASCII && !unicode.In(r, unicode.L, unicode.Nd, unicode.Mn, unicode.Mc) &&
		!strings.ContainsRune("\u00b7\u0375\u05f3\u05f4\u06fd\u06fe\u0f0b\u200c\u200d\u3007\u30fb", r)
}

// wireLength is the length of a fully qualified name in a message, uncompressed.
func wireLength(name string) int {
	n := 1
	for _, label := range dns.SplitDomainName(name) {
		n += 1 + len(label)
	}
	return n
}

func list(words []string) string { return strings.Join(words, ", ") }

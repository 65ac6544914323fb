package corefile

import (
	"errors"
	"fmt"
	"net"
	"slices"
	"strings"
	"unicode"

	"github.com/miekg/dns"
)

// An Authority is what `authority` and `fallthrough` say: the zones' apexes are ours.
type Authority struct {
	// Servers are the targets of the NS records: lower case, fully qualified, in the order of the Corefile.
	Servers []string
	// Mailbox is the SOA's RNAME; empty stands for hostmaster in each zone.
	Mailbox string
	// Fall are the zones whose names go to the next plugin where there is nothing of ours: "." for all, none without
	// `fallthrough`.
	Fall []string
}

// authorityLine reads `authority NS... [mbox MAILBOX]`.
func (b *builder) authorityLine(s statement) error {
	a := &Authority{}
	servers := s.args
	if i := slices.Index(s.args, "mbox"); i >= 0 {
		servers = s.args[:i]
		raw, err := statement{Position: s.Position, option: "authority: mbox", args: s.args[i+1:]}.one("mailbox")
		if err != nil {
			return err
		}
		if a.Mailbox, err = b.mailbox(raw); err != nil {
			return s.errorf("mailbox %q: %w", raw, err)
		}
	}
	if len(servers) == 0 {
		return s.errorf("no name server: write the names of the zone's servers, such as ns1.example.net.")
	}
	for _, raw := range servers {
		server, err := b.serverName(raw)
		if err != nil {
			return s.errorf("name server %q: %w", raw, err)
		}
		if slices.Contains(a.Servers, server) {
			return s.errorf("name server %q stands twice: remove one", raw)
		}
		if zone := longest(b.Zones, server); zone != "" {
			b.warn(s, "name server %s lies in %s, where it has no address: the parent of that zone must have it as glue",
				server, zone)
		}
		a.Servers = append(a.Servers, server)
	}
	b.Authority = a
	return nil
}

// serverName reads the name of a name server: relative to the zone unless it ends in a dot.
func (b *builder) serverName(raw string) (string, error) {
	if net.ParseIP(raw) != nil {
		return "", errors.New("it is an address: write the server's name")
	}
	name, err := parseName(strings.TrimSuffix(raw, "."))
	if err == nil {
		name, err = b.absoluteName(name, strings.HasSuffix(raw, "."))
	}
	return name, err
}

// absoluteName ends a name that has no dot at its end with the zone.
func (b *builder) absoluteName(name string, absolute bool) (string, error) {
	if !absolute {
		if len(b.Zones) != 1 {
			return "", errors.New("tlsa has several zones here, so write the whole name with a dot at its end")
		}
		name += b.Zones[0]
	}
	if wireLength(name) > 255 {
		return "", fmt.Errorf("the name has %d octets, 255 are the most", wireLength(name))
	}
	return name, nil
}

// mailbox reads the address of a person as RNAME (RFC 1035 8): written with @, or as a name, which is relative unless it ends
// in a dot.
func (b *builder) mailbox(raw string) (string, error) {
	at := strings.LastIndex(raw, "@")
	if at < 0 {
		name, err := parseName(strings.TrimSuffix(raw, "."))
		if err != nil {
			return "", err
		}
		return b.absoluteName(name, strings.HasSuffix(raw, "."))
	}
	person, domain := raw[:at], raw[at+1:]
	switch {
	case person == "" || len(person) > 63:
		return "", fmt.Errorf("%d octets stand before the @, write 1 to 63", len(person))
	case strings.ContainsFunc(person, notPerson):
		return "", errors.New("before the @ it may hold letters, digits and ordinary signs only")
	}
	domain, err := parseName(strings.TrimSuffix(domain, "."))
	if err != nil {
		return "", err
	}
	return b.absoluteName(strings.ReplaceAll(person, ".", `\.`)+"."+domain, true)
}

// notPerson tells the octets that would need quotes in an address or in a name's text.
func notPerson(r rune) bool {
	return r > unicode.MaxASCII || r <= ' ' || r == unicode.MaxASCII || strings.ContainsRune(`"(),:;<>@[\]$`, r)
}

// fallthroughLine reads `fallthrough [ZONES...]`; the order of the options does not matter.
func (b *builder) fallthroughLine(s statement) error {
	var zones []string
	for _, raw := range s.args {
		names, err := parseZone(raw)
		if err != nil {
			return s.errorf("%w", err)
		}
		for _, zone := range names {
			if longest(b.Zones, zone) == "" {
				return s.errorf("zone %q is outside of %s, where it would never be asked for: mend it, or leave the zones out",
					raw, list(b.Zones))
			}
		}
		zones = append(zones, names...)
	}
	if len(zones) == 0 {
		zones = []string{"."}
	}
	slices.Sort(zones)
	b.fall = slices.Compact(zones)
	return nil
}

// authorize joins fallthrough to authority, without which it makes no sense.
func (b *builder) authorize() error {
	at, written := b.Written["fallthrough"]
	switch {
	case !written:
		return nil
	case b.Authority == nil:
		return at.errorf("fallthrough without authority: remove it, a name that is not ours always goes to the next plugin")
	}
	b.Authority.Fall = b.fall
	return nil
}

// parseApexOwner is parseOwner where `authority` makes the zone's own name ours: "@", or the name with its dot. It must have
// the form of an owner all the same, such as the zone _25._tcp.mail.example.org.
func parseApexOwner(raw string, zones []string) (ownerName, error) {
	name := strings.ToLower(raw)
	if raw == "@" && len(zones) == 1 {
		name = zones[0]
	}
	if !slices.Contains(zones, name) {
		return parseOwner(raw, zones)
	}
	labels := dns.SplitDomainName(name)
	port, err := servicePort(labels)
	if err != nil {
		return ownerName{}, fmt.Errorf("owner %q: the zone's own name is %s: %w", raw, name, err)
	}
	for len(labels) > 0 && strings.HasPrefix(labels[0], "_") {
		labels = labels[1:]
	}
	if len(labels) == 0 {
		return ownerName{}, fmt.Errorf("owner %q: no host is left without the underscore labels, add its name", raw)
	}
	return ownerName{name: name, host: strings.Join(labels, ".") + ".", port: port}, nil
}

// sameAuthority is sameOptions for what the publisher does not know.
func sameAuthority(a, b *Authority) error {
	words := func(x *Authority) []setting {
		if x == nil {
			x = &Authority{}
		}
		return []setting{
			{"authority", strings.Join(x.Servers, " ")},
			{"mbox of authority", x.Mailbox},
			{"fallthrough", strings.Join(x.Fall, " ")},
		}
	}
	other := words(b)
	for i, s := range words(a) {
		if s != other[i] {
			return fmt.Errorf("%s is %q here and %q there: make them equal", s.option, s.value, other[i].value)
		}
	}
	return nil
}

package probe

import (
	"fmt"
	"net/netip"
	"strconv"
	"strings"

	"golang.org/x/net/idna"

	"github.com/coredns-tlsa/coredns-tlsa/cmd/tlsactl/internal/starttls"
)

// A Target is what to check.
type Target struct {
	// Name is the host or domain, in lower case, without a trailing dot and with A-labels only.
	Name string
	// Service is "_imap._tcp" and the like: the hosts are those of its SRV records at Name (RFC 7673).
	Service string
	// MX says that the hosts are those of the MX records of Name, or Name itself (RFC 7672 2.2).
	MX bool
	// Port is 0 with Service.
	Port     uint16
	Protocol starttls.Protocol
}

const forms = "want HOST:PORT, or a mail domain, or _SERVICE._tcp.DOMAIN for SRV records"

// ParseTarget reads HOST:PORT, a mail DOMAIN, or _SERVICE._tcp.DOMAIN. mx makes a mail domain of HOST:25 too. protocol is the
// one that is spoken before TLS; empty, the port or the service decides.
func ParseTarget(arg string, mx bool, protocol string) (Target, error) {
	name, port, hasPort := strings.Cut(arg, ":")
	var t Target
	switch n, err := strconv.ParseUint(port, 10, 16); {
	case strings.HasPrefix(arg, "[") || strings.Count(arg, ":") > 1 || isAddress(name):
		return t, fmt.Errorf("%q is an address: DANE needs the name of a host, because TLSA records are found by name", arg)
	case !hasPort && strings.HasPrefix(name, "_"):
		return parseService(name, mx, protocol)
	case !hasPort:
		t.MX, t.Port = true, 25
	case err != nil || n == 0 || strconv.FormatUint(n, 10) != port:
		return t, fmt.Errorf("%q: the port is a number from 1 to 65535", arg)
	case mx && n != 25:
		return t, fmt.Errorf("%q: mail for a domain goes to port 25 of its MX hosts: leave out --mx or the port", arg)
	default:
		t.MX, t.Port = mx, uint16(n)
	}
	t.Protocol = starttls.ForPort(t.Port)
	return t.finish(arg, name, protocol)
}

func isAddress(s string) bool {
	_, err := netip.ParseAddr(s)
	return err == nil
}

// parseService reads _SERVICE._tcp.DOMAIN.
func parseService(arg string, mx bool, protocol string) (Target, error) {
	service, rest, _ := strings.Cut(strings.ToLower(arg), ".")
	proto, domain, _ := strings.Cut(rest, ".")
	switch {
	case proto != "_tcp":
		return Target{}, fmt.Errorf("%q: %s", arg, forms)
	case mx:
		return Target{}, fmt.Errorf("%q: MX records are those of a domain, not of a service: leave out --mx", arg)
	}
	t := Target{Service: service + "._tcp", Protocol: services[service]}
	if t.Protocol == "" {
		t.Protocol = starttls.Direct
	}
	return t.finish(arg, domain, protocol)
}

// services of SRV that start in the clear (RFC 6120, 6186, 5804, 2782); the others speak TLS from the first octet.
var services = map[string]starttls.Protocol{
	"_imap": "imap", "_pop3": "pop3", "_submission": "submission", "_sieve": "sieve", "_ldap": "ldap", "_ftp": "ftp",
	"_xmpp-client": "xmpp-client", "_xmpp-server": "xmpp-server", "_postgresql": "postgres",
}

// finish checks the name and the protocol that was asked for.
func (t Target) finish(arg, name, protocol string) (Target, error) {
	name, err := idna.Lookup.ToASCII(strings.TrimSuffix(name, "."))
	if err != nil || name == "" || len(name) > 253 || strings.Contains(name, "..") {
		return Target{}, fmt.Errorf("%q is no name of a host or domain: %s", arg, forms)
	}
	t.Name = strings.ToLower(name)
	if protocol != "" {
		if t.Protocol, err = starttls.Parse(protocol); err != nil {
			return Target{}, err
		}
	}
	return t, nil
}

// smtp tells that RFC 7672 judges, which knows no PKIX usages.
func (t Target) smtp() bool { return t.MX || t.Port == 25 }

// String is how the target is written.
func (t Target) String() string {
	switch {
	case t.Service != "":
		return t.Service + "." + t.Name
	case t.MX:
		return t.Name
	default:
		return fmt.Sprintf("%s:%d", t.Name, t.Port)
	}
}

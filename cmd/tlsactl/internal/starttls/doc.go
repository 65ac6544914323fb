// Package starttls talks to a server in the clear up to the point where the TLS handshake begins: the preambles of SMTP and
// LMTP (RFC 3207), IMAP (RFC 9051), POP3 (RFC 2595), ManageSieve (RFC 5804), XMPP (RFC 6120), LDAP (RFC 4511), FTP (RFC 4217)
// and PostgreSQL.
//
// What a server says is bounded: 4 KiB a line, 128 lines and 16 KiB of XML a dialogue. Time is bounded by the caller, who
// closes the connection or sets a deadline on it. The package never sends a name, a password or anything else but what starts TLS.
package starttls

import (
	"errors"
	"fmt"
	"net"
	"slices"
	"strings"
)

// Why TLS cannot start. Errors of the network come as they are.
var (
	// ErrNotOffered: the server speaks the protocol and has no STARTTLS, or declines it.
	ErrNotOffered = errors.New("the server does not offer STARTTLS")
	// ErrRefused: the server declines to serve us at all; another time it may.
	ErrRefused = errors.New("the server refuses to serve")
	// ErrReply: that is no reply of the protocol, or it is larger than the limits.
	ErrReply = errors.New("the server does not speak the protocol")
)

// A Protocol is what is spoken before TLS.
type Protocol string

// Direct is TLS from the first octet.
const Direct Protocol = "none"

// A preamble asks for TLS; name is the domain that the client wants, which only XMPP sends.
type preamble func(d *dialogue, name string) error

var preambles = map[Protocol]preamble{
	"smtp":        func(d *dialogue, _ string) error { return d.smtp("EHLO") },
	"submission":  func(d *dialogue, _ string) error { return d.smtp("EHLO") },
	"lmtp":        func(d *dialogue, _ string) error { return d.smtp("LHLO") },
	"imap":        func(d *dialogue, _ string) error { return d.imap() },
	"pop3":        func(d *dialogue, _ string) error { return d.pop3() },
	"sieve":       func(d *dialogue, _ string) error { return d.sieve() },
	"xmpp-client": func(d *dialogue, name string) error { return d.xmpp("jabber:client", name) },
	"xmpp-server": func(d *dialogue, name string) error { return d.xmpp("jabber:server", name) },
	"ldap":        func(d *dialogue, _ string) error { return d.ldap() },
	"ftp":         func(d *dialogue, _ string) error { return d.ftp() },
	"postgres":    func(d *dialogue, _ string) error { return d.postgres() },
}

// aliases are other names that Parse takes.
var aliases = map[Protocol]Protocol{"xmpp": "xmpp-client", "xmpp-s2s": "xmpp-server"}

var ports = map[uint16]Protocol{
	21: "ftp", 24: "lmtp", 25: "smtp", 110: "pop3", 143: "imap", 389: "ldap", 587: "submission",
	4190: "sieve", 5222: "xmpp-client", 5269: "xmpp-server", 5432: "postgres",
}

// ForPort gives the protocol that is usual on a port of TCP; Direct where none starts with plain text.
func ForPort(port uint16) Protocol {
	if p, ok := ports[port]; ok {
		return p
	}
	return Direct
}

// Parse reads the name of a protocol or an alias of it, or "none" for Direct.
func Parse(name string) (Protocol, error) {
	p := Protocol(name)
	if other, ok := aliases[p]; ok {
		p = other
	}
	if _, ok := preambles[p]; ok || p == Direct {
		return p, nil
	}
	return "", fmt.Errorf("unknown protocol %q: want one of %s", name, strings.Join(Names(), ", "))
}

// Names lists what Parse reads, without aliases.
func Names() []string {
	names := []string{string(Direct)}
	for p := range preambles {
		names = append(names, string(p))
	}
	slices.Sort(names)
	return names
}

// Start talks to the server until it expects a ClientHello. name is the domain of the service, for XMPP. The caller
// bounds the time by conn. Octets that the server sends after its consent came in the clear, and TLS would take them for its own
// (CVE-2011-0411), so they are an error.
//
// Errors: ErrNotOffered, ErrRefused, ErrReply, and those of conn. Protocol must be one that Parse or ForPort gave.
func Start(conn net.Conn, p Protocol, name string) error {
	if p == Direct {
		return nil
	}
	d := newDialogue(conn)
	if err := preambles[p](d, name); err != nil {
		return fmt.Errorf("%s: %w", p, err)
	}
	if n := d.r.Buffered(); n > 0 {
		return fmt.Errorf("%s: %w: %d octets in the clear after it agreed to start TLS", p, ErrReply, n)
	}
	return nil
}

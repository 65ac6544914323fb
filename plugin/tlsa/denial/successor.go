package denial

import (
	"bytes"

	"github.com/miekg/dns"
)

// mostOctets is the longest name (RFC 1035 2.3.4), mostLabel the longest label.
const (
	mostOctets = 255
	mostLabel  = 63
)

// successor is the name that follows name, in lower case, in canonical order (RFC 4471 3.1.2): nothing lies between.
func successor(name string) string {
	if name == "." {
		return `\000.`
	}
	if len(name)+2 <= mostOctets-1 { // the text is never shorter than the octets without the root's
		return `\000.` + name
	}
	wire := make([]byte, mostOctets+1)
	n, err := dns.PackDomainName(name, wire, 0, nil, false)
	if err != nil {
		return `\000.` + name // no such name was asked for
	}
	wire = wire[:n]
	if n+2 <= mostOctets {
		return `\000.` + name
	}
	next, _, err := dns.UnpackDomainName(following(wire), 0)
	if err != nil {
		return name // it ends the zone: nothing can follow it
	}
	return next
}

// following gives the name after wire, to which no label can be added.
func following(wire []byte) []byte {
	for wire[0] != 0 {
		length := int(wire[0])
		label, rest := wire[1:1+length], wire[1+length:]
		if len(wire) < mostOctets && length < mostLabel {
			return append(append(append([]byte{byte(length + 1)}, label...), 0), rest...)
		}
		label = bytes.TrimRight(label, "\xff")
		if n := len(label); n > 0 {
			label = bytes.Clone(label)
			label[n-1]++
			if label[n-1] == 'A' {
				label[n-1] = 'Z' + 1 // letters count as lower case (RFC 4034 6.1)
			}
			return append(append([]byte{byte(n)}, label...), rest...)
		}
		wire = rest
	}
	return wire
}

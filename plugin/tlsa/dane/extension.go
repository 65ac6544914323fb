package dane

import (
	"strings"

	"golang.org/x/crypto/cryptobyte"
	"golang.org/x/crypto/cryptobyte/asn1"
)

// The extensions that are looked at, by the content of their identifiers in DER: to write all of them in dots takes time.
const (
	extSubjectKeyID   = "\x55\x1d\x0e"                         // 2.5.29.14
	extSubjectAltName = "\x55\x1d\x11"                         // 2.5.29.17
	extBasic          = "\x55\x1d\x13"                         // 2.5.29.19
	extAuthorityKeyID = "\x55\x1d\x23"                         // 2.5.29.35
	extACME           = "\x2b\x06\x01\x05\x05\x07\x01\x1f"     // 1.3.6.1.5.5.7.1.31, id-pe-acmeIdentifier (RFC 8737 3)
	attrExtensions    = "\x2a\x86\x48\x86\xf7\x0d\x01\x09\x0e" // 1.2.840.113549.1.9.14, extensionRequest (RFC 2985 5.4.2)
)

// eachExtension calls use with every extension's identifier and value; false if the list is malformed.
func eachExtension(list cryptobyte.String, use func(id, value cryptobyte.String)) bool {
	for !list.Empty() {
		var extension, id, value cryptobyte.String
		if !list.ReadASN1(&extension, asn1.SEQUENCE) ||
			!extension.ReadASN1(&id, asn1.OBJECT_IDENTIFIER) ||
			!extension.SkipOptionalASN1(asn1.BOOLEAN) ||
			!extension.ReadASN1(&value, asn1.OCTET_STRING) || !extension.Empty() {
			return false
		}
		use(id, value)
	}
	return true
}

// extend takes over one extension. A malformed value counts as absent: servers present such certificates all the same,
// and their keys are sound.
func (c *Certificate) extend(id, value cryptobyte.String) {
	switch string(id) {
	case extSubjectAltName:
		c.DNSNames = append(c.DNSNames, dnsNames(value)...)
	case extSubjectKeyID:
		var key cryptobyte.String
		if value.ReadASN1(&key, asn1.OCTET_STRING) {
			c.SubjectKeyID = string(key)
		}
	case extAuthorityKeyID:
		var frame, key cryptobyte.String
		if value.ReadASN1(&frame, asn1.SEQUENCE) && frame.ReadASN1(&key, asn1.Tag(0).ContextSpecific()) {
			c.AuthorityKeyID = string(key)
		}
	case extBasic:
		var frame cryptobyte.String
		var ca bool
		c.CA = value.ReadASN1(&frame, asn1.SEQUENCE) && frame.ReadASN1Boolean(&ca) && ca
	case extACME:
		c.Challenge = true
	}
}

// dnsNames gives the dNSNames of a SubjectAltName that can be host names, in lower case without a trailing dot. Others,
// such as one with a NUL or a line feed in it, name nothing and must not reach a log or a zone.
func dnsNames(value cryptobyte.String) []string {
	var list, name cryptobyte.String
	var tag asn1.Tag
	var names []string
	if !value.ReadASN1(&list, asn1.SEQUENCE) {
		return nil
	}
	for list.ReadAnyASN1(&name, &tag) {
		if tag != asn1.Tag(2).ContextSpecific() {
			continue
		}
		if host := strings.TrimSuffix(lower(string(name)), "."); isHost(host) {
			names = append(names, host)
		}
	}
	return names
}

// lower folds ASCII only: dNSName is an IA5String, and what else is in it is no name.
func lower(s string) string {
	return strings.Map(func(r rune) rune {
		if 'A' <= r && r <= 'Z' {
			return r + 'a' - 'A'
		}
		return r
	}, s)
}

// isHost tells whether s has the form of a host name, underscores and a wildcard included.
func isHost(s string) bool {
	if len(s) > 253 {
		return false
	}
	for label := range strings.SplitSeq(s, ".") {
		if label == "" || len(label) > 63 || strings.Trim(label, "abcdefghijklmnopqrstuvwxyz0123456789-_*") != "" {
			return false
		}
	}
	return true
}

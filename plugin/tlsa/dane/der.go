package dane

import (
	"crypto/x509"

	"golang.org/x/crypto/cryptobyte"
	"golang.org/x/crypto/cryptobyte/asn1"
)

const (
	explicit0 = asn1.Tag(0x80 | 0x20)
	explicit1 = explicit0 | 1
	explicit2 = explicit0 | 2
	explicit3 = explicit0 | 3
)

// signed is the frame that a certificate and a certificate request share (RFC 5280 4.1, RFC 2986 4.2).
type signed struct {
	body      cryptobyte.String // the octets that are signed: one SEQUENCE, header included
	algorithm cryptobyte.String // the content of the AlgorithmIdentifier
	signature []byte
}

// readSigned reads one signed structure from the front of der and gives what follows it.
func readSigned(der []byte) (s signed, rest cryptobyte.String, ok bool) {
	rest = der
	var frame, bits cryptobyte.String
	ok = rest.ReadASN1(&frame, asn1.SEQUENCE) &&
		frame.ReadASN1Element(&s.body, asn1.SEQUENCE) &&
		frame.ReadASN1(&s.algorithm, asn1.SEQUENCE) &&
		frame.ReadASN1(&bits, asn1.BIT_STRING) &&
		frame.Empty() && len(bits) > 0
	if ok {
		s.signature = bits[1:] // the first octet counts unused bits: none in any signature
	}
	return s, rest, ok
}

// readText reads one SEQUENCE, header included, into a string of its own.
func readText(s *cryptobyte.String, out *string) bool {
	var element cryptobyte.String
	ok := s.ReadASN1Element(&element, asn1.SEQUENCE)
	*out = string(element)
	return ok
}

// readKey reads a SubjectPublicKeyInfo (RFC 5280 4.1.2.7) into a string of its own.
func readKey(s *cryptobyte.String, out *string) bool {
	var element cryptobyte.String
	ok := findKey(s, &element)
	*out = string(element)
	return ok
}

// findKey reads a SubjectPublicKeyInfo: an algorithm with whatever parameters, and a key of at least one octet.
func findKey(s, out *cryptobyte.String) bool {
	if !s.ReadASN1Element(out, asn1.SEQUENCE) {
		return false
	}
	_, _, ok := cutElement(*out)
	return ok
}

// cutKey gives the algorithm's object identifier and the key bits, led by the count of unused ones, of exactly one
// SubjectPublicKeyInfo.
func cutKey(spki string) (oid, bits []byte, ok bool) { return cutElement(cryptobyte.String(spki)) }

func cutElement(s cryptobyte.String) (oid, bits []byte, ok bool) {
	var frame, algorithm, id, key cryptobyte.String
	ok = s.ReadASN1(&frame, asn1.SEQUENCE) && s.Empty() &&
		frame.ReadASN1(&algorithm, asn1.SEQUENCE) &&
		algorithm.ReadASN1(&id, asn1.OBJECT_IDENTIFIER) && len(id) > 0 &&
		frame.ReadASN1(&key, asn1.BIT_STRING) && len(key) > 1 &&
		frame.Empty()
	return id, key, ok
}

// dotted writes the content of an OBJECT IDENTIFIER in dots; empty if it is malformed or absurdly long. Arcs may exceed
// 31 bits, which encoding/asn1 refuses.
func dotted(oid []byte) string {
	const most = 64
	var id x509.OID
	if len(oid) > most || id.UnmarshalBinary(oid) != nil {
		return ""
	}
	return id.String()
}

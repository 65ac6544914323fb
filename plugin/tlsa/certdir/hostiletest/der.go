package hostiletest

import (
	"encoding/asn1"
	"encoding/binary"
	"iter"
	"slices"
	"strings"
)

func lines(text string) iter.Seq[string] { return strings.SplitSeq(text, "\n") }

// tlv encodes one element in DER.
func tlv(tag byte, parts ...[]byte) []byte {
	body := slices.Concat(parts...)
	return slices.Concat([]byte{tag}, length(len(body)), body)
}

func length(n int) []byte {
	switch {
	case n < 0x80:
		return []byte{byte(n)}
	case n < 0x100:
		return []byte{0x81, byte(n)}
	case n < 0x10000:
		return []byte{0x82, byte(n >> 8), byte(n)}
	}
	return binary.BigEndian.AppendUint32([]byte{0x84}, uint32(n))
}

// children splits the body of one element.
func children(der []byte) [][]byte {
	var outer asn1.RawValue
	must(asn1.Unmarshal(der, &outer))
	var all [][]byte
	for rest := outer.Bytes; len(rest) > 0; {
		var child asn1.RawValue
		next := must(asn1.Unmarshal(rest, &child))
		all = append(all, rest[:len(rest)-len(next)])
		rest = next
	}
	return all
}

// The children of a TBSCertificate as crypto/x509 writes it.
const (
	atVersion = iota
	atSerial
	atAlgorithm
	atIssuer
	atValidity
	atSubject
	atKey
	atExtensions
)

// edit rebuilds a certificate of a subject with one part of its body replaced, and a right signature.
func (c *Case) edit(at int, part []byte) []byte {
	parts := children(children(c.Evil.Cert)[0])
	parts[at] = part
	return c.signed(tlv(0x30, parts...))
}

// header replaces the tag and length octets of an element.
func header(der, head []byte) []byte {
	var outer asn1.RawValue
	must(asn1.Unmarshal(der, &outer))
	return slices.Concat(head, outer.Bytes)
}

// nested is n SEQUENCEs in each other.
func nested(n int) []byte {
	size := 0
	var heads [][]byte
	for range n {
		head := append([]byte{0x30}, length(size)...)
		heads = append(heads, head)
		size += len(head)
	}
	slices.Reverse(heads)
	return slices.Concat(heads...)
}

func extension(oid string, value []byte) []byte {
	return tlv(0x30, tlv(6, []byte(oid)), tlv(4, value))
}

// The extensions that matter, as the octets of their identifiers.
const (
	oidSAN   = "\x55\x1d\x11"
	oidBasic = "\x55\x1d\x13"
	oidACME  = "\x2b\x06\x01\x05\x05\x07\x01\x1f"
)

func sanOf(names ...string) []byte {
	var all [][]byte
	for _, n := range names {
		all = append(all, tlv(0x82, []byte(n)))
	}
	return extension(oidSAN, tlv(0x30, all...))
}

// extensions is the last part of a TBSCertificate.
func extensions(list ...[]byte) []byte { return tlv(0xa3, tlv(0x30, list...)) }

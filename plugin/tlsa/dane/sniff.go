package dane

import (
	"bytes"

	"golang.org/x/crypto/cryptobyte"
	"golang.org/x/crypto/cryptobyte/asn1"
)

// readDER reads a file that is exactly one SEQUENCE.
func (c filling) readDER(data []byte) error {
	if isPrivate(data) {
		c.PrivateKeys++
		return nil
	}
	if len(data) > maxDER {
		return ErrTooLarge
	}
	if key, err := parseKey(data); err == nil {
		c.PublicKeys = append(c.PublicKeys, key)
		return nil
	}
	if isRequest(data) {
		key, err := c.request(data)
		if err == nil {
			c.PublicKeys = append(c.PublicKeys, key)
		}
		return err
	}
	if _, _, ok := readSigned(data); !ok {
		return ErrNothing
	}
	certificate, err := c.pool.certificate(bytes.Clone(data))
	if err == nil {
		c.Certificates = append(c.Certificates, certificate)
	}
	return err
}

// isRequest tells a request from a certificate by what stands third in it: the public key, whose second part is a bit
// string, where a certificate has a name.
func isRequest(der []byte) bool {
	frame, _, ok := readSigned(der)
	var body, key cryptobyte.String
	return ok && frame.body.ReadASN1(&body, asn1.SEQUENCE) && body.SkipASN1(asn1.INTEGER) &&
		body.SkipASN1(asn1.SEQUENCE) && findKey(&body, &key)
}

// isPrivate recognises a private key by its frame alone, copying nothing of it: PKCS #8 (RFC 5958 2), plain or encrypted,
// PKCS #1 (RFC 8017 A.1.2), SEC 1 (RFC 5915 3).
func isPrivate(der []byte) bool {
	s := cryptobyte.String(der)
	var body, version cryptobyte.String
	if !s.ReadASN1(&body, asn1.SEQUENCE) {
		return false
	}
	if body.PeekASN1Tag(asn1.SEQUENCE) { // encrypted: an algorithm and a cipher text
		return body.SkipASN1(asn1.SEQUENCE) && body.SkipASN1(asn1.OCTET_STRING) && body.Empty()
	}
	if !body.ReadASN1(&version, asn1.INTEGER) || len(version) != 1 || version[0] > 1 {
		return false
	}
	if body.PeekASN1Tag(asn1.SEQUENCE) {
		return body.SkipASN1(asn1.SEQUENCE) && body.PeekASN1Tag(asn1.OCTET_STRING)
	}
	return body.PeekASN1Tag(asn1.INTEGER) || body.PeekASN1Tag(asn1.OCTET_STRING)
}

// isBinary tells DER, which may be cut, from a text that happens to start with "0", the octet of a SEQUENCE.
func isBinary(data []byte) bool {
	return bytes.ContainsFunc(data, func(r rune) bool { return r < '\t' || r > '~' })
}

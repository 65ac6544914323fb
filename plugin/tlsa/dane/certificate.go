package dane

import (
	"bytes"
	"crypto/sha256"
	"crypto/sha512"
	"errors"
	"fmt"
	"strings"
	"time"

	"golang.org/x/crypto/cryptobyte"
	"golang.org/x/crypto/cryptobyte/asn1"
)

// What ParseCertificate and Parse may say of one certificate, request or key.
var (
	// ErrMalformed: the octets are not what they should be; the text says which part is wrong.
	ErrMalformed = errors.New("malformed")
	// ErrTooLarge: more than 64 KiB, four times what the largest post-quantum signature in use needs.
	ErrTooLarge = errors.New("larger than 64 KiB")
)

const maxDER = 64 << 10

func malformed(part string) error { return fmt.Errorf("%w: %s", ErrMalformed, part) }

// ParseCertificate reads one X.509 certificate in DER (RFC 5280 4.1) and nothing after it. It asks for a sound frame,
// readable dates and a public key that is not empty; algorithms, serial number and the content of extensions it takes as
// they come, because a server may present them. It keeps no reference to der. DER stays empty until KeepDER.
//
// Errors: ErrTooLarge, ErrMalformed.
func ParseCertificate(der []byte) (*Certificate, error) { return ownCertificate(bytes.Clone(der)) }

// ownCertificate is ParseCertificate for octets that nobody else has.
func ownCertificate(der []byte) (*Certificate, error) {
	if len(der) > maxDER {
		return nil, ErrTooLarge
	}
	frame, rest, ok := readSigned(der)
	if !ok {
		return nil, malformed("not a certificate")
	}
	if !rest.Empty() {
		return nil, malformed(fmt.Sprintf("%d octets after the certificate", len(rest)))
	}
	c := &Certificate{raw: der}
	var spki cryptobyte.String
	if err := c.readBody(frame.body, &spki); err != nil {
		return nil, err
	}
	c.keep(spki)
	return c, nil
}

// keep sets what is kept longest, in one string.
func (c *Certificate) keep(spki []byte) {
	const digests = sha256.Size + sha512.Size
	d256, d512 := sha256.Sum256(c.raw), sha512.Sum512(c.raw)
	var b strings.Builder
	b.Grow(digests + len(spki))
	b.Write(d256[:])
	b.Write(d512[:])
	b.Write(spki)
	all := b.String()
	c.SHA256, c.SHA512, c.SPKI = all[:sha256.Size], all[sha256.Size:digests], all[digests:]
}

// KeepDER sets DER, for associations with selector Cert and matching type Full.
func (c *Certificate) KeepDER() { c.DER = string(c.raw) }

// readBody reads the TBSCertificate, and finds the key in it.
func (c *Certificate) readBody(s cryptobyte.String, spki *cryptobyte.String) error {
	var body, validity, wrapped, extensions cryptobyte.String
	var extended bool
	switch {
	case !s.ReadASN1(&body, asn1.SEQUENCE),
		!body.SkipOptionalASN1(explicit0), // the version
		!body.SkipASN1(asn1.INTEGER),      // the serial number, which may be negative
		!body.SkipASN1(asn1.SEQUENCE):     // the signature's algorithm, once more
		return malformed("not a certificate")
	case !readText(&body, &c.Issuer):
		return malformed("issuer of the certificate")
	case !body.ReadASN1(&validity, asn1.SEQUENCE),
		!readTime(&validity, &c.NotBefore), !readTime(&validity, &c.NotAfter), !validity.Empty():
		return malformed("dates of the certificate")
	case !readText(&body, &c.Subject):
		return malformed("subject of the certificate")
	case !findKey(&body, spki):
		return malformed("public key of the certificate")
	case !body.SkipOptionalASN1(asn1.Tag(1).ContextSpecific()), !body.SkipOptionalASN1(asn1.Tag(2).ContextSpecific()),
		!body.ReadOptionalASN1(&wrapped, &extended, explicit3), !body.Empty():
		return malformed("end of the certificate")
	case extended && (!wrapped.ReadASN1(&extensions, asn1.SEQUENCE) || !wrapped.Empty() || !eachExtension(extensions, c.extend)):
		return malformed("extensions of the certificate")
	}
	return nil
}

// readTime reads a Time (RFC 5280 4.1.2.5) in UTC, so that equal times are equal values.
func readTime(s *cryptobyte.String, out *time.Time) bool {
	ok := false
	if s.PeekASN1Tag(asn1.UTCTime) {
		ok = s.ReadASN1UTCTime(out)
	} else {
		ok = s.ReadASN1GeneralizedTime(out)
	}
	*out = out.UTC()
	return ok
}

package dane

import (
	"fmt"

	"golang.org/x/crypto/cryptobyte"
	"golang.org/x/crypto/cryptobyte/asn1"
)

// parseRequest reads a certificate request (RFC 2986 4) and checks that it is signed by its own key: a CA would refuse
// it otherwise, and a request that was cut and glued would announce a key nobody has. What Go cannot verify is taken on
// its form, and so is what comes when left, the checks that this file may ask for, is used up.
func parseRequest(der []byte, left *int) (*PublicKey, error) {
	frame, rest, ok := readSigned(der)
	if !ok || !rest.Empty() {
		return nil, malformed("not a certificate request")
	}
	var body, attributes cryptobyte.String
	var has bool
	var subject string
	key := &PublicKey{}
	if s := frame.body; !s.ReadASN1(&body, asn1.SEQUENCE) || !body.SkipASN1(asn1.INTEGER) || !readText(&body, &subject) {
		return nil, malformed("not a certificate request")
	}
	if !readKey(&body, &key.SPKI) {
		return nil, malformed("public key of the certificate request")
	}
	if !body.ReadOptionalASN1(&attributes, &has, explicit0) || !body.Empty() || !key.readAttributes(attributes) {
		return nil, malformed("attributes of the certificate request")
	}
	if *left > 0 {
		*left -= cost(key.SPKI)
		if frame.check(key.SPKI) == refuted {
			return nil, malformed("signature of the certificate request")
		}
	}
	return key, nil
}

// readAttributes takes the names from the extensions that the request asks for.
func (k *PublicKey) readAttributes(s cryptobyte.String) bool {
	for !s.Empty() {
		var attribute, id, values, extensions cryptobyte.String
		if !s.ReadASN1(&attribute, asn1.SEQUENCE) || !attribute.ReadASN1(&id, asn1.OBJECT_IDENTIFIER) {
			return false
		}
		if string(id) != attrExtensions {
			continue
		}
		if !attribute.ReadASN1(&values, asn1.SET) || !values.ReadASN1(&extensions, asn1.SEQUENCE) ||
			!eachExtension(extensions, k.extend) {
			return false
		}
	}
	return true
}

func (k *PublicKey) extend(id, value cryptobyte.String) {
	if string(id) == extSubjectAltName {
		k.DNSNames = append(k.DNSNames, dnsNames(value)...)
	}
}

// parseKey reads one SubjectPublicKeyInfo and nothing after it.
func parseKey(der []byte) (*PublicKey, error) {
	key := &PublicKey{}
	s := cryptobyte.String(der)
	if !readKey(&s, &key.SPKI) {
		return nil, malformed("not a public key")
	}
	if !s.Empty() {
		return nil, malformed(fmt.Sprintf("%d octets after the public key", len(s)))
	}
	return key, nil
}

// wrapRSA puts an RSAPublicKey (RFC 8017 A.1.1) into the SubjectPublicKeyInfo that a certificate will hold for it: RFC
// 3279 2.3.1 leaves only one form.
func wrapRSA(der []byte) (*PublicKey, error) {
	s := cryptobyte.String(der)
	var frame cryptobyte.String
	if !s.ReadASN1(&frame, asn1.SEQUENCE) || !s.Empty() ||
		!frame.SkipASN1(asn1.INTEGER) || !frame.SkipASN1(asn1.INTEGER) || !frame.Empty() {
		return nil, malformed("not an RSA public key")
	}
	b := cryptobyte.NewBuilder(nil)
	b.AddASN1(asn1.SEQUENCE, func(b *cryptobyte.Builder) {
		b.AddASN1(asn1.SEQUENCE, func(b *cryptobyte.Builder) {
			b.AddASN1(asn1.OBJECT_IDENTIFIER, func(b *cryptobyte.Builder) {
				b.AddBytes([]byte("\x2a\x86\x48\x86\xf7\x0d\x01\x01\x01")) // rsaEncryption
			})
			b.AddASN1NULL()
		})
		b.AddASN1BitString(der)
	})
	spki, err := b.Bytes()
	if err != nil {
		return nil, malformed("not an RSA public key")
	}
	return &PublicKey{SPKI: string(spki)}, nil
}

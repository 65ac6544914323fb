package main

import (
	"crypto"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"strings"

	"golang.org/x/crypto/cryptobyte"
	"golang.org/x/crypto/cryptobyte/asn1"
)

var errEncrypted = errors.New("the private key is encrypted, and no passphrase is asked for: " +
	"give the certificate, or the public key that openssl pkey -pubout makes of it")

// publicHalves gives the SubjectPublicKeyInfo of each private key in a file that dane.Parse has accepted.
func publicHalves(data []byte) ([]string, error) {
	block, rest := pem.Decode(data)
	if block == nil {
		spki, err := publicHalf("", data)
		return []string{spki}, err
	}
	var out []string
	for ; block != nil; block, rest = pem.Decode(rest) {
		if !strings.HasSuffix(block.Type, "PRIVATE KEY") {
			continue
		}
		if _, ok := block.Headers["DEK-Info"]; ok {
			return nil, errEncrypted
		}
		spki, err := publicHalf(block.Type, block.Bytes)
		clear(block.Bytes)
		if err != nil {
			return nil, err
		}
		out = append(out, spki)
	}
	return out, nil
}

// publicHalf decodes one private key in DER: PKCS #8 (RFC 5958), PKCS #1 (RFC 8017 A.1.2) or SEC 1 (RFC 5915), as label
// says, or as it looks where the label is empty.
func publicHalf(label string, der []byte) (string, error) {
	if label == "ENCRYPTED PRIVATE KEY" || label == "" && isEncrypted(der) {
		return "", errEncrypted
	}
	if key, err := x509.ParsePKCS8PrivateKey(der); err == nil {
		return publicOf(key)
	}
	if key, err := x509.ParsePKCS1PrivateKey(der); err == nil {
		return publicOf(key)
	}
	if key, err := x509.ParseECPrivateKey(der); err == nil {
		return publicOf(key)
	}
	if spki, ok := writtenHalf(der); ok {
		return spki, nil
	}
	if label == "" {
		label = "private key"
	}
	return "", fmt.Errorf("%s: damaged, or of a kind that is not known here: give its certificate, "+
		"or the public key that openssl pkey -pubout makes of it", label)
}

func publicOf(key any) (string, error) {
	signer, ok := key.(crypto.Signer)
	if !ok {
		return "", fmt.Errorf("a key of type %T makes no certificate", key)
	}
	spki, err := x509.MarshalPKIXPublicKey(signer.Public())
	return string(spki), err
}

// isEncrypted recognises EncryptedPrivateKeyInfo (RFC 5958 3): an algorithm and a cipher text.
func isEncrypted(der []byte) bool {
	s := cryptobyte.String(der)
	var body cryptobyte.String
	return s.ReadASN1(&body, asn1.SEQUENCE) && body.SkipASN1(asn1.SEQUENCE) && body.SkipASN1(asn1.OCTET_STRING) && body.Empty()
}

// writtenHalf finds the public half that a key in PKCS #8 or SEC 1 carries beside the secret, for the algorithms that Go
// does not know: other curves, RSASSA-PSS, and those to come.
func writtenHalf(der []byte) (string, bool) {
	s := cryptobyte.String(der)
	var body, algorithm, key cryptobyte.String
	if !s.ReadASN1(&body, asn1.SEQUENCE) || !s.Empty() || !body.SkipASN1(asn1.INTEGER) {
		return "", false
	}
	if body.PeekASN1Tag(asn1.OCTET_STRING) {
		return halfSEC1(nil, der)
	}
	if !body.ReadASN1Element(&algorithm, asn1.SEQUENCE) || !body.ReadASN1(&key, asn1.OCTET_STRING) {
		return "", false
	}
	if public, ok := readTagged(body, 1); ok { // RFC 5958: [1] IMPLICIT BIT STRING
		return subjectPublicKeyInfo(algorithm, public)
	}
	if public, ok := halfPKCS1(key); ok {
		return subjectPublicKeyInfo(algorithm, public)
	}
	return halfSEC1(algorithm, key)
}

// halfSEC1 reads ECPrivateKey; the curve is in algorithm, or else in the key.
func halfSEC1(algorithm, der cryptobyte.String) (string, bool) {
	var body, curve, public, bits cryptobyte.String
	var hasCurve, hasPublic bool
	explicit := asn1.Tag(0).ContextSpecific().Constructed()
	if !der.ReadASN1(&body, asn1.SEQUENCE) || !body.SkipASN1(asn1.INTEGER) || !body.SkipASN1(asn1.OCTET_STRING) ||
		!body.ReadOptionalASN1(&curve, &hasCurve, explicit) || !body.ReadOptionalASN1(&public, &hasPublic, explicit|1) ||
		!hasPublic || !public.ReadASN1(&bits, asn1.BIT_STRING) {
		return "", false
	}
	if algorithm == nil {
		if !hasCurve {
			return "", false
		}
		b := cryptobyte.NewBuilder(nil)
		b.AddASN1(asn1.SEQUENCE, func(b *cryptobyte.Builder) {
			b.AddBytes([]byte("\x06\x07\x2a\x86\x48\xce\x3d\x02\x01")) // id-ecPublicKey
			b.AddBytes(curve)
		})
		algorithm = b.BytesOrPanic()
	}
	return subjectPublicKeyInfo(algorithm, bits)
}

// halfPKCS1 makes the octets of an RSAPublicKey bit string of an RSAPrivateKey.
func halfPKCS1(key cryptobyte.String) ([]byte, bool) {
	var body, modulus, exponent cryptobyte.String
	if !key.ReadASN1(&body, asn1.SEQUENCE) || !body.SkipASN1(asn1.INTEGER) ||
		!body.ReadASN1Element(&modulus, asn1.INTEGER) || !body.ReadASN1Element(&exponent, asn1.INTEGER) ||
		!body.PeekASN1Tag(asn1.INTEGER) {
		return nil, false
	}
	b := cryptobyte.NewBuilder([]byte{0}) // no unused bits
	b.AddASN1(asn1.SEQUENCE, func(b *cryptobyte.Builder) { b.AddBytes(modulus); b.AddBytes(exponent) })
	return b.BytesOrPanic(), true
}

// readTagged finds an element with a primitive context-specific tag after the optional attributes.
func readTagged(s cryptobyte.String, tag asn1.Tag) ([]byte, bool) {
	var value cryptobyte.String
	found := false
	ok := s.SkipOptionalASN1(asn1.Tag(0).ContextSpecific().Constructed()) &&
		s.ReadOptionalASN1(&value, &found, tag.ContextSpecific())
	return value, ok && found
}

// subjectPublicKeyInfo puts the parts of a public key together; bits starts with the number of unused bits.
func subjectPublicKeyInfo(algorithm, bits []byte) (string, bool) {
	b := cryptobyte.NewBuilder(nil)
	b.AddASN1(asn1.SEQUENCE, func(b *cryptobyte.Builder) {
		b.AddBytes(algorithm)
		b.AddASN1(asn1.BIT_STRING, func(b *cryptobyte.Builder) { b.AddBytes(bits) })
	})
	return string(b.BytesOrPanic()), len(bits) > 1
}

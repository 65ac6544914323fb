package main

import (
	"crypto/x509"
	"errors"
	"fmt"

	"golang.org/x/crypto/cryptobyte"
	"golang.org/x/crypto/cryptobyte/asn1"
	"software.sslmate.com/src/go-pkcs12"

	"github.com/coredns-tlsa/coredns-tlsa/plugin/tlsa/dane"
)

// isPKCS12 tells a PFX (RFC 7292 4) by its version 3, which nothing else has in this place.
func isPKCS12(data []byte) bool {
	s := cryptobyte.String(data)
	var body cryptobyte.String
	var version int
	return s.ReadASN1(&body, asn1.SEQUENCE) && body.ReadASN1Integer(&version) && version == 3 && body.PeekASN1Tag(asn1.SEQUENCE)
}

// parsePKCS12 reads a key with its certificates, as mail servers and Java use them.
func (s *source) parsePKCS12(data []byte) (holding, error) {
	password, err := s.password()
	if err != nil {
		return holding{}, err
	}
	key, leaf, chain, err := pkcs12.DecodeChain(data, password)
	if errors.Is(err, pkcs12.ErrIncorrectPassword) {
		if s.passwordFile == "" {
			return holding{}, errors.New("this PKCS#12 file has a password: write it into a file and give that as --password-file")
		}
		return holding{}, fmt.Errorf("the password in %s is not that of this PKCS#12 file: correct its first line", s.passwordFile)
	}
	if err != nil {
		return holding{}, fmt.Errorf("%w; take the certificate out of it with openssl pkcs12 -in FILE -nokeys", err)
	}
	var h holding
	for _, c := range append([]*x509.Certificate{leaf}, chain...) {
		parsed, err := dane.ParseCertificate(c.Raw)
		if err != nil {
			return holding{}, err
		}
		parsed.KeepDER()
		h.certs = append(h.certs, parsed)
	}
	spki, err := publicOf(key)
	if err != nil {
		return holding{}, err
	}
	h.private = []string{spki}
	return h, nil
}

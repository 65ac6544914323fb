package hostiletest

import (
	"bytes"
	"crypto/x509"
	"encoding/asn1"
	"encoding/pem"
	"slices"
	"strings"
)

// A Reading is what the standard library and a plain walk through the DER say of a file: slow, and by other code.
type Reading struct {
	// Certificates and Keys are the SubjectPublicKeyInfos of every block that can be cut out of the file: nothing else may be
	// published because of it.
	Certificates, Keys map[string]bool
	// Sound: the file is nothing but whole blocks, and crypto/x509 reads each of them and verifies that nothing in it was
	// changed. Such a file must not be refused.
	Sound bool
	ca    *x509.Certificate
	// Names are those of each certificate and request that crypto/x509 reads, by SubjectPublicKeyInfo; none for a public key.
	Names map[string][]string
}

// Read reads a file whose certificates the CA has issued.
func Read(data []byte, ca *x509.Certificate) Reading {
	r := Reading{ca: ca, Certificates: map[string]bool{}, Keys: map[string]bool{}, Names: map[string][]string{}}
	var der asn1.RawValue
	if rest, err := asn1.Unmarshal(data, &der); err == nil && len(rest) == 0 && der.IsCompound {
		r.Sound = r.add("", data)
		return r
	}
	blocks, sound := 0, true
	// OpenSSL takes a carriage return at the very end for the end of a line; encoding/pem does not.
	for rest := append(bytes.Clone(data), '\n'); ; blocks++ {
		var b *pem.Block
		if b, rest = pem.Decode(rest); b == nil {
			break
		}
		sound = r.add(b.Type, b.Bytes) && len(b.Headers) == 0 && sound
	}
	r.Sound = sound && blocks > 0 && blocks <= 200 && isPlain(data, blocks)
	return r
}

// isPlain tells whether a file is blocks and nothing else, as encoding/pem itself would write them.
func isPlain(data []byte, blocks int) bool {
	for line := range bytes.SplitSeq(bytes.TrimSuffix(data, []byte("\n")), []byte("\n")) {
		line = bytes.TrimSuffix(line, []byte("\r"))
		if bytes.HasPrefix(line, []byte("-")) && !bytes.HasPrefix(line, []byte("-----BEGIN ")) && !bytes.HasPrefix(line, []byte("-----END ")) {
			return false // it may be a frame that was cut
		}
		if len(line) > 64 || bytes.ContainsFunc(line, func(r rune) bool { return r <= ' ' || r > '~' }) &&
			!bytes.HasPrefix(line, []byte("-----")) {
			return false
		}
	}
	begins, ends := bytes.Count(data, []byte("-----BEGIN ")), bytes.Count(data, []byte("-----END "))
	return begins == blocks && ends == blocks && bytes.HasPrefix(data, []byte("-----BEGIN ")) && bytes.Count(data, []byte("\n\n")) == 0
}

// The labels under which OpenSSL reads a certificate, a request or a public key, and none for a file in DER. Others may end in
// the same words (RFC 7468 12).
var (
	certificateLabels = []string{"", "CERTIFICATE", "X509 CERTIFICATE", "TRUSTED CERTIFICATE"}
	requestLabels     = []string{"", "CERTIFICATE REQUEST", "NEW CERTIFICATE REQUEST"}
	keyLabels         = []string{"", "PUBLIC KEY", "RSA PUBLIC KEY"}
)

// add takes in one block, and tells whether the standard library can read it; label is empty for a file in DER.
func (r *Reading) add(label string, der []byte) bool {
	certificate, request := slices.Contains(certificateLabels, label), slices.Contains(requestLabels, label)
	if spki := cut(der, 6, 5); spki != "" && certificate { // with a version and without
		r.Certificates[spki] = true
	}
	if spki := cut(der, 5, 5); spki != "" && certificate {
		r.Certificates[spki] = true
	}
	if spki := cut(der, 2, 2); spki != "" && request {
		r.Keys[spki] = true
	}
	if slices.Contains(keyLabels, label) {
		r.Keys[string(der)] = true
	}
	switch {
	case strings.HasSuffix(label, "PRIVATE KEY"):
		return true
	case certificate:
		c, err := x509.ParseCertificate(der)
		if err == nil {
			r.Names[string(c.RawSubjectPublicKeyInfo)] = c.DNSNames
		}
		return err == nil && (r.ca == nil || r.ca.CheckSignature(c.SignatureAlgorithm, c.RawTBSCertificate, c.Signature) == nil)
	case request:
		c, err := x509.ParseCertificateRequest(der)
		if err == nil && (r.ca == nil || c.CheckSignature() == nil) {
			r.Names[string(c.RawSubjectPublicKeyInfo)] = c.DNSNames
			return true
		}
		return false
	case label == "PUBLIC KEY":
		// It lets pass what follows on the key within its sequence.
		key, err := x509.ParsePKIXPublicKey(der)
		if err != nil {
			return false
		}
		again, err := x509.MarshalPKIXPublicKey(key)
		if err != nil || !bytes.Equal(again, der) {
			return false
		}
		r.Names[string(der)] = nil
		return true
	}
	return false
}

// cut gives element n of the body of a signed structure, counted from 0.
func cut(der []byte, n, least int) string {
	frame, body := elements(der), [][]byte(nil)
	if len(frame) == 1 {
		if frame = elements(inside(frame[0])); len(frame) > 0 {
			body = elements(inside(frame[0]))
		}
	}
	if len(body) <= max(n, least) {
		return ""
	}
	return string(body[n])
}

func inside(der []byte) []byte {
	var v asn1.RawValue
	if _, err := asn1.Unmarshal(der, &v); err != nil {
		return nil
	}
	return v.Bytes
}

// elements splits DER into elements, as far as it can be split.
func elements(der []byte) (all [][]byte) {
	for len(der) > 0 {
		var v asn1.RawValue
		rest, err := asn1.Unmarshal(der, &v)
		if err != nil {
			return all
		}
		all = append(all, der[:len(der)-len(rest)])
		der = rest
	}
	return all
}

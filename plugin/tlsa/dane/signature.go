package dane

import (
	"bytes"
	"crypto/rsa"
	"crypto/x509"
	"errors"

	"golang.org/x/crypto/cryptobyte"
	"golang.org/x/crypto/cryptobyte/asn1"
)

// A verdict is what can be said of a signature and a key.
type verdict int

const (
	undecided verdict = iota // Go does not know the algorithm, the curve or the key
	verified
	refuted
)

// maxRSA bounds, in bits, the work that a hostile key can ask for.
const maxRSA = 16384

// check tells whether the key in spki made the signature.
func (s signed) check(spki string) verdict {
	algorithm := s.signatureAlgorithm()
	key, err := x509.ParsePKIXPublicKey([]byte(spki))
	if err != nil || algorithm == x509.UnknownSignatureAlgorithm {
		return undecided
	}
	// Go refuses to use RSA keys under 1024 bits; that refusal says nothing about the signature.
	if key, ok := key.(*rsa.PublicKey); ok && (key.N.BitLen() < 1024 || key.N.BitLen() > maxRSA) {
		return undecided
	}
	// A request's check, unlike a certificate's, takes SHA-1: here it only tells issuers of one name apart.
	err = (&x509.CertificateRequest{
		SignatureAlgorithm:       algorithm,
		RawTBSCertificateRequest: s.body,
		Signature:                s.signature,
		PublicKey:                key,
	}).CheckSignature()
	switch {
	case err == nil:
		return verified
	case errors.Is(err, x509.ErrUnsupportedAlgorithm):
		return undecided
	default:
		return refuted
	}
}

// signatureAlgorithm translates the AlgorithmIdentifier; crypto/x509 does so only for certificates that it accepts whole.
func (s signed) signatureAlgorithm() x509.SignatureAlgorithm {
	parameters := s.algorithm
	var id cryptobyte.String
	if !parameters.ReadASN1(&id, asn1.OBJECT_IDENTIFIER) {
		return x509.UnknownSignatureAlgorithm
	}
	switch dotted(id) {
	case "1.2.840.113549.1.1.5":
		return x509.SHA1WithRSA
	case "1.2.840.113549.1.1.11":
		return x509.SHA256WithRSA
	case "1.2.840.113549.1.1.12":
		return x509.SHA384WithRSA
	case "1.2.840.113549.1.1.13":
		return x509.SHA512WithRSA
	case "1.2.840.113549.1.1.10":
		return pssAlgorithm(parameters)
	case "1.2.840.10045.4.1":
		return x509.ECDSAWithSHA1
	case "1.2.840.10045.4.3.2":
		return x509.ECDSAWithSHA256
	case "1.2.840.10045.4.3.3":
		return x509.ECDSAWithSHA384
	case "1.2.840.10045.4.3.4":
		return x509.ECDSAWithSHA512
	case "1.3.101.112":
		return x509.PureEd25519
	default:
		return x509.UnknownSignatureAlgorithm
	}
}

// pssAlgorithm reads RSASSA-PSS-params (RFC 4055 3.1). Go verifies only where both hashes are the same one and the salt is
// as long as the hash; of anything else a failed check would prove nothing.
func pssAlgorithm(s cryptobyte.String) x509.SignatureAlgorithm {
	var frame, hash, mask, salt, inner, id cryptobyte.String
	var length int
	if !s.ReadASN1(&frame, asn1.SEQUENCE) || !frame.ReadASN1(&hash, explicit0) || !frame.ReadASN1(&mask, explicit1) ||
		!frame.ReadASN1(&salt, explicit2) || !salt.ReadASN1Integer(&length) || !bytes.HasSuffix(mask, hash) {
		return x509.UnknownSignatureAlgorithm
	}
	if !hash.ReadASN1(&inner, asn1.SEQUENCE) || !inner.ReadASN1(&id, asn1.OBJECT_IDENTIFIER) {
		return x509.UnknownSignatureAlgorithm
	}
	switch hash := dotted(id); {
	case hash == "2.16.840.1.101.3.4.2.1" && length == 32:
		return x509.SHA256WithRSAPSS
	case hash == "2.16.840.1.101.3.4.2.2" && length == 48:
		return x509.SHA384WithRSAPSS
	case hash == "2.16.840.1.101.3.4.2.3" && length == 64:
		return x509.SHA512WithRSAPSS
	default:
		return x509.UnknownSignatureAlgorithm
	}
}

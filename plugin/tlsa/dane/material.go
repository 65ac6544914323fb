package dane

import "time"

// A Fingerprint is what associations with one certificate, or with one bare public key, are computed from. The octets are
// kept as strings, so that a Fingerprint is comparable and cannot be changed by who holds it.
type Fingerprint struct {
	// SPKI is the SubjectPublicKeyInfo in DER, exactly as it stands in the certificate, request or key file.
	SPKI string
	// SHA256 and SHA512 are the digests of the whole certificate in DER; empty for a bare key.
	SHA256, SHA512 string
	// DER is the whole certificate, kept only where an association with matching type Full of selector Cert is wanted.
	DER string
}

// Material is one key of a service: its leaf certificate, or its bare public key, and the issuer that the served chain
// holds. It is comparable.
type Material struct {
	Leaf Fingerprint
	// Issuer is zero when the chain does not hold the certificate that issued the leaf.
	Issuer Fingerprint
	// NotAfter is when the leaf certificate expires; zero for a bare key.
	NotAfter time.Time
}

// A Certificate is what this project needs of an X.509 certificate. It is read without asking crypto/x509 for permission:
// keys, curves and serial numbers that it refuses are fine.
type Certificate struct {
	Fingerprint
	// Subject and Issuer are the names in DER, as encoded.
	Subject, Issuer string
	// SubjectKeyID and AuthorityKeyID are the extensions' key identifiers; empty where absent.
	SubjectKeyID, AuthorityKeyID string
	// DNSNames are the dNSName SANs in lower case without a trailing dot, in the order of the certificate.
	DNSNames            []string
	NotBefore, NotAfter time.Time
	// CA is basicConstraints' cA. It decides nothing alone: self-signed leaves often carry it.
	CA bool
	// Challenge marks a certificate made for the TLS-ALPN-01 challenge (RFC 8737 3): never to be published.
	Challenge bool

	raw []byte // the whole certificate, for the issuer's signature check
}

// A PublicKey is a bare key that waits for its certificate: a PUBLIC KEY block or a certificate request.
type PublicKey struct {
	SPKI string
	// DNSNames are the names a request asks for; none for a PUBLIC KEY block.
	DNSNames []string
}

// Content is what one file holds.
type Content struct {
	Certificates []*Certificate
	PublicKeys   []*PublicKey
	// PrivateKeys counts the private-key blocks that were skipped.
	PrivateKeys int
}

// A Leaf is an end-entity certificate together with its issuer, nil if the chain does not hold it.
type Leaf struct {
	*Certificate
	IssuedBy *Certificate
}

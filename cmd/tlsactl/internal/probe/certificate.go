package probe

import (
	"crypto/sha256"
	"crypto/sha512"
	"crypto/x509"
	"fmt"

	"github.com/coredns-tlsa/coredns-tlsa/plugin/tlsa/dane"
)

// maxChain bounds the certificates of a chain that are looked at.
const maxChain = 32

// A certificate is one of a chain as the server sent it. What Go or we cannot parse still has its digests.
type certificate struct {
	fingerprint dane.Fingerprint
	parsed      *dane.Certificate // nil if it is damaged
	x509        *x509.Certificate // nil if Go refuses it; err says why
	err         error
}

// read parses a chain, as much of it as can be.
func read(chain [][]byte) []certificate {
	certs := make([]certificate, min(len(chain), maxChain))
	for i := range certs {
		c, der := &certs[i], chain[i]
		c.x509, c.err = x509.ParseCertificate(der)
		if parsed, err := dane.ParseCertificate(der); err == nil {
			c.parsed, c.fingerprint = parsed, parsed.Fingerprint
		} else {
			d256, d512 := sha256.Sum256(der), sha512.Sum512(der)
			c.fingerprint = dane.Fingerprint{SHA256: string(d256[:]), SHA512: string(d512[:])}
		}
		c.fingerprint.DER = string(der)
	}
	return certs
}

// matches compares selector and data; what the usage asks for beyond that is not its business.
func (c certificate) matches(a dane.Association) bool {
	as := dane.Combination{Usage: dane.DANEEE, Selector: a.Selector, MatchingType: a.MatchingType}
	own, err := dane.Material{Leaf: c.fingerprint}.Association(as)
	return err == nil && own.Data == a.Data
}

// key names the algorithm of the key, for people.
func (c certificate) key() string {
	if c.parsed == nil {
		return "unreadable"
	}
	return dane.KeyAlgorithm(c.fingerprint.SPKI)
}

// report is what is told of it.
func (c certificate) report() Certificate {
	out := Certificate{SHA256: fmt.Sprintf("%x", c.fingerprint.SHA256)}
	if c.parsed != nil {
		spki := sha256.Sum256([]byte(c.fingerprint.SPKI))
		out.SPKI = fmt.Sprintf("%x", spki)
		out.Key, out.Names = c.key(), c.parsed.DNSNames
		out.NotBefore, out.NotAfter = c.parsed.NotBefore, c.parsed.NotAfter
	}
	if c.x509 != nil {
		out.Subject = c.x509.Subject.String()
	}
	return out
}

package probe

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/rsa"
	"crypto/x509"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/coredns-tlsa/coredns-tlsa/plugin/tlsa/dane"
)

// verify builds paths from the server's certificate through the ones it sent up to roots, and checks signatures, dates, basic
// and name constraints (RFC 5280 6.1) and one of the names (RFC 7671 10.2, RFC 9525 6.3). It gives the paths, or what is wrong.
func (e evidence) verify(roots *x509.CertPool, rfc string) ([][]*x509.Certificate, []Finding) {
	leaf := e.chain[0]
	if leaf.x509 == nil {
		return nil, []Finding{fault(notTrusted, rfc, "this program cannot verify the server's certificate: %v; usage 3 would need no path", leaf.err)}
	}
	options := x509.VerifyOptions{Roots: roots, Intermediates: x509.NewCertPool(), CurrentTime: e.at}
	for _, c := range e.chain[1:] {
		if c.x509 != nil {
			options.Intermediates.AddCert(c.x509)
		}
	}
	paths, err := leaf.x509.Verify(options)
	var problems []Finding
	if err != nil {
		problems = append(problems, e.whyNot(options, err, rfc))
	}
	if !e.named() {
		have := strings.Join(leaf.parsed.DNSNames, ", ")
		if have == "" {
			have = "no DNS name"
		}
		problems = append(problems, fault(hostMismatch, "RFC 7671 10.2", "the server's certificate is for %.200s, not for %s: issue one for that name, or publish usage 3",
			have, strings.Join(e.names, " or ")))
	}
	return paths, problems
}

// named tells whether the server's certificate carries one of the names. A common name does not count (RFC 9525 2).
func (e evidence) named() bool {
	leaf := e.chain[0].parsed
	return leaf != nil && slices.ContainsFunc(leaf.DNSNames, func(have string) bool {
		return slices.ContainsFunc(e.names, func(want string) bool { return dane.Covers(have, want) })
	})
}

// whyNot puts a failed verification into words. x509 hides behind "unknown authority" that a certificate above the leaf is
// outside its dates, so that is found by asking about a moment when all of them are within, if there is one: the last start.
func (e evidence) whyNot(options x509.VerifyOptions, err error, rfc string) Finding {
	var late []string
	var moment time.Time
	for i, c := range e.chain {
		if c.parsed == nil {
			continue
		}
		if e.at.Before(c.parsed.NotBefore) || e.at.After(c.parsed.NotAfter) {
			late = append(late, fmt.Sprintf("certificate %d of the chain is valid from %s to %s", i, c.parsed.NotBefore.Format(time.RFC3339), c.parsed.NotAfter.Format(time.RFC3339)))
		}
		if c.parsed.NotBefore.After(moment) {
			moment = c.parsed.NotBefore
		}
	}
	options.CurrentTime = moment
	var invalid x509.CertificateInvalidError
	if _, then := e.chain[0].x509.Verify(options); len(late) > 0 && (then == nil || errors.As(err, &invalid) && invalid.Reason == x509.Expired) {
		return fault(certExpired, rfc, "%s, which usages 0 to 2 check: renew it and send the new chain", strings.Join(late, "; "))
	}
	return fault(notTrusted, rfc, "no valid path from the server's certificate to the authority (%.200s): send every certificate in between", err)
}

// algorithmOf is what x509 calls the algorithm of a key.
func algorithmOf(key crypto.PublicKey) x509.PublicKeyAlgorithm {
	switch key.(type) {
	case *rsa.PublicKey:
		return x509.RSA
	case *ecdsa.PublicKey:
		return x509.ECDSA
	case ed25519.PublicKey:
		return x509.Ed25519
	default:
		return x509.UnknownPublicKeyAlgorithm
	}
}

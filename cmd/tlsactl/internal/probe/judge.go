package probe

import (
	"crypto/sha256"
	"crypto/x509"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/coredns-tlsa/coredns-tlsa/plugin/tlsa/dane"
)

// Evidence is all that a verdict on one handshake depends on.
type evidence struct {
	owner   string // of the records, for the advice
	records []Record
	chain   []certificate // as sent, the server's own first
	names   []string      // of which the server's certificate must carry one, for the usages 0 to 2
	smtp    bool
	at      time.Time
	roots   *x509.CertPool // for the usages 0 and 1; nil is the system's
}

type verdict struct {
	outcome  Outcome
	matched  *Matched
	findings []Finding
}

func fault(result, rfc, format string, args ...any) Finding {
	return Finding{Level: Error, Result: result, Text: fmt.Sprintf(format, args...), RFC: rfc}
}

// judge decides as a client does: one record that the server satisfies is enough (RFC 6698 2.1).
func judge(e evidence) verdict {
	var faults []Finding
	tried := 0
	for _, r := range e.records {
		if r.State != usable {
			continue
		}
		tried++
		depth, problems := e.try(r)
		if depth != nowhere && len(problems) == 0 {
			return verdict{outcome: Match, matched: &Matched{Record: r.String(), Depth: depth}}
		}
		for _, p := range problems {
			if !slices.Contains(faults, p) {
				faults = append(faults, p)
			}
		}
	}
	switch {
	case tried == 0:
		faults = []Finding{e.allUnusable()}
	case len(faults) == 0:
		faults = []Finding{e.noneMatches(tried)}
	}
	return verdict{outcome: Mismatch, findings: faults}
}

// Depths that are no index of the chain.
const (
	outside = -1 // the record or the system has the certificate
	nowhere = -2 // nothing matches
)

// try compares one record. Problems mean that the data matches and something else is wrong.
func (e evidence) try(r Record) (depth int, problems []Finding) {
	a := r.association
	switch a.Usage {
	case dane.DANEEE: // names and dates do not count (RFC 7671 5.1)
		if e.chain[0].matches(a) {
			return 0, nil
		}
		return nowhere, nil
	case dane.DANETA:
		return e.tryAnchor(r)
	case dane.PKIXEE:
		if e.chain[0].matches(a) {
			_, problems := e.verify(e.roots, "RFC 7671 5.3")
			return 0, problems
		}
		return nowhere, nil
	default:
		return e.tryPKIXTA(r)
	}
}

// tryAnchor is DANE-TA (RFC 7671 5.2): the server sends the trust anchor, or the record holds all of it.
func (e evidence) tryAnchor(r Record) (int, []Finding) {
	const rfc = "RFC 7671 5.2"
	a := r.association
	for i, c := range e.chain[1:] {
		if !c.matches(a) || c.fingerprint.DER == e.chain[0].fingerprint.DER {
			continue // the server's own certificate, sent twice, is nobody's authority
		}
		if c.x509 == nil {
			return i + 1, []Finding{fault(notTrusted, rfc, "%s names certificate %d of the chain, which this program cannot verify: %v", r, i+1, c.err)}
		}
		pool := x509.NewCertPool()
		pool.AddCert(c.x509)
		_, problems := e.verify(pool, rfc)
		return i + 1, problems
	}
	if a.MatchingType == dane.Full {
		if pool := e.anchor(a); pool != nil {
			_, problems := e.verify(pool, rfc)
			return outside, problems
		}
	}
	return nowhere, nil
}

// anchor is the pool of a trust anchor that comes whole with its record: the certificate itself (2 0 0), or what the bare key
// has signed (2 1 0). Nil if it has nothing to do with the chain.
func (e evidence) anchor(a dane.Association) *x509.CertPool {
	pool := x509.NewCertPool()
	if a.Selector == dane.Cert {
		c, err := x509.ParseCertificate([]byte(a.Data))
		if err != nil || !slices.ContainsFunc(e.chain, func(sent certificate) bool { return sent.parsed != nil && sent.parsed.Issuer == string(c.RawSubject) }) {
			return nil
		}
		pool.AddCert(c)
		return pool
	}
	key, err := x509.ParsePKIXPublicKey([]byte(a.Data))
	if err != nil {
		return nil
	}
	signer := &x509.Certificate{PublicKey: key}
	found := false
	for _, c := range e.chain {
		if c.x509 == nil || len(c.x509.Signature) == 0 {
			continue
		}
		signer.PublicKeyAlgorithm = algorithmOf(key)
		if signer.CheckSignature(c.x509.SignatureAlgorithm, c.x509.RawTBSCertificate, c.x509.Signature) == nil {
			pool.AddCert(c.x509)
			found = true
		}
	}
	if !found {
		return nil
	}
	return pool
}

// tryPKIXTA is PKIX-TA (RFC 7671 5.4): a certificate authority on the PKIX path, sent or not.
func (e evidence) tryPKIXTA(r Record) (int, []Finding) {
	const rfc = "RFC 7671 5.4"
	paths, problems := e.verify(e.roots, rfc)
	for _, path := range paths {
		for _, ca := range path[1:] {
			if !read([][]byte{ca.Raw})[0].matches(r.association) {
				continue
			}
			sent := slices.IndexFunc(e.chain, func(c certificate) bool { return c.fingerprint.DER == string(ca.Raw) })
			return max(sent, outside), problems
		}
	}
	for i, c := range e.chain[1:] {
		if c.matches(r.association) && len(problems) > 0 {
			return i + 1, problems
		}
	}
	return nowhere, nil
}

// allUnusable: RFC 7672 2.2 encrypts without authentication, RFC 6698 4.1 goes on as if there were no TLSA.
func (e evidence) allUnusable() Finding {
	if e.smtp {
		return fault(tlsaInvalid, "RFC 7672 2.2", "no record is usable, so mail is encrypted and the server not authenticated; %s", e.advice())
	}
	return fault(tlsaInvalid, "RFC 6698 4.1", "no record is usable, so clients go on as if there were none; %s", e.advice())
}

func (e evidence) noneMatches(tried int) Finding {
	leaf := e.chain[0]
	for _, r := range e.records {
		switch a := r.association; {
		case r.State == outranked && a.Usage == dane.DANEEE && leaf.matches(a),
			r.State == outranked && a.Usage == dane.DANETA && slices.ContainsFunc(e.chain[1:], func(c certificate) bool { return c.matches(a) }):
			return fault(tlsaInvalid, "RFC 7671 9", "%s matches, but %s: publish every key with every matching type in use, or one type only",
				r, strings.TrimSuffix(r.Reason, " (RFC 7671 9)"))
		case r.State == usable && a.Usage == dane.DANETA && leaf.matches(a):
			return fault(tlsaInvalid, "RFC 7671 5.2", "%s names the server's own certificate, but usage 2 is for the authority that issued it: "+
				"publish it with usage 3", r)
		case r.State == usable && a.Usage == dane.DANEEE && slices.ContainsFunc(e.chain[1:], func(c certificate) bool { return c.matches(a) }):
			return fault(tlsaInvalid, "RFC 7671 5.1", "%s names an authority of the chain, but usage 3 is for the server's own certificate: "+
				"publish it with usage 2, or better the server's key", r)
		}
	}
	missing := ""
	if slices.ContainsFunc(e.records, func(r Record) bool { return r.State == usable && r.association.Usage == dane.DANETA }) {
		missing = fmt.Sprintf("; the authority of a record with usage 2 must be among the certificates that the server sends, now %d", len(e.chain))
	}
	return fault(tlsaInvalid, "RFC 6698 2.1", "none of the usable records (%d) matches the server's certificate (%s)%s; %s", tried, leaf.key(), missing, e.advice())
}

// advice is what to publish for the certificate that was seen.
func (e evidence) advice() string {
	leaf := e.chain[0]
	if leaf.parsed == nil {
		return "install another certificate: this one is damaged"
	}
	return fmt.Sprintf("install the certificate whose key is listed, or publish %s IN TLSA 3 1 1 %x", e.owner, sha256.Sum256([]byte(leaf.fingerprint.SPKI)))
}

// Package probe sees a live service as a DANE client does and judges it: SMTP by RFC 7672, other services by RFC 7671, those
// found by SRV by RFC 7673.
//
// It asks a validating resolver for the names and TLSA records, connects to every address, starts TLS three times (any key,
// RSA only, ECDSA only), and then compares what it saw. Looking and judging are apart: what judges takes plain data. It never
// writes anything, sends no mail and no credentials, and does not validate DNSSEC itself: the AD bit of the resolver decides.
//
// Other people's servers are bounded: deadlines for each lookup, each connection and the whole check; at most 20 hosts of 16
// addresses; 256 KiB and 32 certificates of a chain; the limits of package starttls.
package probe

import (
	"cmp"
	"fmt"
	"iter"
	"slices"
	"time"
)

// ReportVersion is that of the JSON form. Fields may be added within a version; none changes its meaning.
const ReportVersion = 1

// An Outcome is the verdict on a probe, an address, a host or the whole target; the worst of its parts is that of the whole.
type Outcome string

// The outcomes, from the best to the worst.
const (
	NotOffered  Outcome = "not-offered" // the server has no certificate of that kind, or cannot be asked for it apart
	Match       Outcome = "match"       // a DANE client is content
	Unreachable Outcome = "unreachable" // nothing can be said: no answer
	NotSecure   Outcome = "not-secure"  // DNS is not signed there, so DANE does not apply
	Mismatch    Outcome = "mismatch"    // a DANE client does not deliver or connect, or is not protected as the records promise
)

var severity = []Outcome{"", NotOffered, Match, Unreachable, NotSecure, Mismatch}

func worst(a, b Outcome) Outcome {
	return slices.MaxFunc([]Outcome{a, b}, func(a, b Outcome) int {
		return cmp.Compare(slices.Index(severity, a), slices.Index(severity, b))
	})
}

// The result types of SMTP TLS reporting (RFC 8460 4.3) that this package gives.
const (
	tlsaInvalid   = "tlsa-invalid"
	dnssecInvalid = "dnssec-invalid"
	daneRequired  = "dane-required"
	noSTARTTLS    = "starttls-not-supported"
	hostMismatch  = "certificate-host-mismatch"
	certExpired   = "certificate-expired"
	notTrusted    = "certificate-not-trusted"
	failure       = "validation-failure"
)

// A Level says how much a finding matters.
type Level string

// The levels: only an error makes an outcome worse.
const (
	Note    Level = "note"
	Warning Level = "warning"
	Error   Level = "error"
)

// A Finding is one sentence about what was seen and what to do.
type Finding struct {
	Level Level `json:"level"`
	// Result is the word of TLSRPT (RFC 8460 4.3), where one fits.
	Result string `json:"result,omitempty"`
	Text   string `json:"text"`
	// RFC names the section that says so, "RFC 7671 9".
	RFC string `json:"rfc,omitempty"`
}

// A Report is what one check saw. Text in it may come from strangers: who prints it must make it harmless.
type Report struct {
	Version  int       `json:"version"`
	Target   string    `json:"target"`
	Port     uint16    `json:"port,omitempty"`
	Protocol string    `json:"protocol,omitempty"`
	At       time.Time `json:"at"`
	Outcome  Outcome   `json:"outcome"`
	Findings []Finding `json:"findings,omitempty"`
	Hosts    []Host    `json:"hosts,omitempty"`
}

// All goes through the findings of the whole report, each with the place that it is about, the target's own first.
func (r *Report) All() iter.Seq2[string, Finding] {
	return func(yield func(string, Finding) bool) {
		ok := true
		each := func(where string, findings []Finding) {
			for _, f := range findings {
				ok = ok && yield(where, f)
			}
		}
		each(r.Target, r.Findings)
		for _, h := range r.Hosts {
			where := fmt.Sprintf("%s:%d", h.Name, h.Port)
			each(where, h.Findings)
			for _, a := range h.Addresses {
				each(where+" "+a.Address, a.Findings)
				for _, p := range a.Probes {
					each(where+" "+a.Address, p.Findings)
				}
			}
		}
	}
}

// A Host is one host and port of the target.
type Host struct {
	Name     string `json:"name"`
	Port     uint16 `json:"port"`
	Protocol string `json:"protocol"`
	// Preference is that of the MX record or the priority of the SRV record.
	Preference *uint16 `json:"preference,omitempty"`
	// Base is the TLSA base domain and Owner the name of the records (RFC 7671 7); empty where there are none.
	Base  string `json:"base,omitempty"`
	Owner string `json:"owner,omitempty"`
	// Names are those of which a certificate must carry one, for the usages 0 to 2.
	Names     []string  `json:"names,omitempty"`
	Outcome   Outcome   `json:"outcome"`
	Findings  []Finding `json:"findings,omitempty"`
	Records   []Record  `json:"records,omitempty"`
	Addresses []Address `json:"addresses,omitempty"`
}

// An Address is one address of a host.
type Address struct {
	Address  string    `json:"address"`
	Outcome  Outcome   `json:"outcome"`
	Findings []Finding `json:"findings,omitempty"`
	Probes   []Probe   `json:"probes,omitempty"`
}

// A Probe is one handshake.
type Probe struct {
	// Keys says which keys were asked for: "any", "RSA" or "ECDSA" (with Ed25519).
	Keys     string        `json:"keys"`
	Outcome  Outcome       `json:"outcome"`
	TLS      string        `json:"tls,omitempty"`
	Cipher   string        `json:"cipher,omitempty"`
	Chain    []Certificate `json:"chain,omitempty"`
	Matched  *Matched      `json:"matched,omitempty"`
	Findings []Finding     `json:"findings,omitempty"`
}

// A Certificate is one of a chain, as sent.
type Certificate struct {
	Subject   string    `json:"subject,omitempty"`
	Key       string    `json:"key,omitempty"`
	Names     []string  `json:"names,omitempty"`
	NotBefore time.Time `json:"notBefore,omitzero"`
	NotAfter  time.Time `json:"notAfter,omitzero"`
	// SPKI and SHA256 are the data of the associations x 1 1 and x 0 1 in hexadecimal.
	SPKI   string `json:"spki,omitempty"`
	SHA256 string `json:"sha256"`
}

// Matched tells which record the server satisfies. Depth counts from the server's own certificate, 0; it is -1 where the
// certificate authority's certificate or key comes from the record or from the system, not from the server.
type Matched struct {
	Record string `json:"record"`
	Depth  int    `json:"depth"`
}

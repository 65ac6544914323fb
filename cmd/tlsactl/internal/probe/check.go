package probe

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"sync"
	"time"

	"github.com/coredns-tlsa/coredns-tlsa/cmd/tlsactl/internal/starttls"
)

const timeForm = time.RFC3339

// parallel is how many addresses are looked at at a time.
const parallel = 8

// Options are what a check needs of the world. Resolver, Dial, At and Timeout are needed.
type Options struct {
	Resolver Resolver
	Dial     func(ctx context.Context, network, addr string) (net.Conn, error)
	// At is the moment for which certificates are judged.
	At time.Time
	// Roots are the authorities for the usages 0 and 1; nil for the system's.
	Roots *x509.CertPool
	// Forecast says which records will be gone At; nil: none.
	Forecast Forecast
	// Timeout bounds each connection from start to end; ctx bounds the whole.
	Timeout time.Duration
}

type checker struct{ Options }

func (r *Report) add(outcome Outcome, f Finding) {
	r.Outcome = worst(r.Outcome, outcome)
	r.Findings = append(r.Findings, f)
}

func (r *Report) note(rfc, format string, args ...any) {
	r.Findings = append(r.Findings, Finding{Level: Note, Text: fmt.Sprintf(format, args...), RFC: rfc})
}

func (h *Host) note(rfc, format string, args ...any) {
	h.Findings = append(h.Findings, Finding{Level: Note, Text: fmt.Sprintf(format, args...), RFC: rfc})
}

// Check looks at a target and judges it. It always gives a report; ctx bounds the time.
func Check(ctx context.Context, t Target, o Options) *Report {
	c := &checker{o}
	r := &Report{Version: ReportVersion, Target: t.String(), Port: t.Port, Protocol: string(t.Protocol), At: o.At}
	places := c.find(ctx, t, r)
	sights := c.look(ctx, places)
	for i, p := range places {
		for j, addr := range p.addresses {
			if p.Base != "" {
				a := c.address(p, addr, sights[i][j])
				p.Addresses = append(p.Addresses, a)
				p.Outcome = worst(p.Outcome, a.Outcome)
			}
		}
		r.Hosts = append(r.Hosts, p.Host)
		r.Outcome = worst(r.Outcome, p.Outcome)
	}
	return r
}

// keyKinds are the handshakes with each address, in this order.
var keyKinds = [...]string{anyKeys, rsaKeys, ecdsaKeys}

type sight [len(keyKinds)]seen

// look connects to every address of the places that have records.
func (c *checker) look(ctx context.Context, places []*place) [][]sight {
	sights := make([][]sight, len(places))
	slots := make(chan struct{}, parallel)
	var all sync.WaitGroup
	for i, p := range places {
		sights[i] = make([]sight, len(p.addresses))
		if p.Base == "" {
			continue
		}
		for j, addr := range p.addresses {
			all.Go(func() {
				slots <- struct{}{}
				defer func() { <-slots }()
				sights[i][j] = c.visit(ctx, p, addr)
			})
		}
	}
	all.Wait()
	return sights
}

// visit makes the handshakes with one address one after the other: servers limit connections.
func (c *checker) visit(ctx context.Context, p *place, addr netip.Addr) sight {
	var s sight
	for i, keys := range keyKinds {
		s[i] = c.meet(ctx, p, addr, keys)
		if i == 0 && s[0].err != nil && !errors.Is(s[0].err, errAlert) && !errors.Is(s[0].err, errTLS) {
			for j := range s {
				s[j] = s[0] // no connection, or no STARTTLS: the others would meet the same
			}
			break
		}
	}
	return s
}

// address judges what one address showed.
func (c *checker) address(p *place, addr netip.Addr, s sight) Address {
	a := Address{Address: addr.String()}
	if err := s[0].err; s[0].chain == nil && err != nil && !errors.Is(err, errAlert) && !errors.Is(err, errTLS) {
		outcome, f := noHandshake(p, err)
		a.Outcome, a.Findings = outcome, []Finding{f}
		return a
	}
	for i, keys := range keyKinds {
		x := c.probe(p, keys, s[i], s)
		a.Probes = append(a.Probes, x)
		a.Outcome = worst(a.Outcome, x.Outcome)
	}
	if a.Outcome == NotOffered { // every handshake was declined
		a.Outcome = Mismatch
		a.Findings = append(a.Findings, fault(failure, "RFC 7672 2.2", "no TLS handshake succeeds: %v", s[0].err))
	}
	if s[0].err == nil && s[1].chain == nil && s[2].chain == nil {
		a.Findings = append(a.Findings, Finding{Level: Note, Text: "the server speaks only " + tls.VersionName(s[0].version) +
			" with this program, so RSA and ECDSA certificates could not be asked for apart: only the one it prefers was checked"})
	}
	return a
}

// probe judges one handshake of those with an address.
func (c *checker) probe(p *place, keys string, s seen, all sight) Probe {
	x := Probe{Keys: keys}
	if len(s.chain) == 0 {
		x.Outcome, x.Findings = declined(keys, s.err, all)
		return x
	}
	e := evidence{
		owner: p.Owner + ".", records: p.Records, chain: read(s.chain), names: p.Names, smtp: p.smtp, at: c.At, roots: c.Roots,
	}
	v := judge(e)
	x.Outcome, x.Matched, x.Findings = v.outcome, v.matched, v.findings
	for _, cert := range e.chain {
		x.Chain = append(x.Chain, cert.report())
	}
	x.Findings = append(x.Findings, remarks(s)...)
	if s.err == nil {
		x.TLS, x.Cipher = tls.VersionName(s.version), tls.CipherSuiteName(s.suite)
	}
	return x
}

// remarks are about a handshake that showed a chain.
func remarks(s seen) []Finding {
	var all []Finding
	warn := func(rfc, format string, args ...any) {
		all = append(all, Finding{Level: Warning, Text: fmt.Sprintf(format, args...), RFC: rfc})
	}
	if s.err != nil {
		warn("", "the certificates were seen, but this program cannot finish the handshake with them and let the server prove its key (%.200s): clients with other libraries may", s.err)
	}
	if s.err == nil && s.version < tls.VersionTLS12 {
		warn("RFC 8996", "the server speaks %s, which many clients refuse", tls.VersionName(s.version))
	}
	if len(s.chain) > maxChain {
		warn("", "the server sends %d certificates: only the first %d were looked at", len(s.chain), maxChain)
	}
	return all
}

// declined is a handshake without certificates.
func declined(keys string, err error, all sight) (Outcome, []Finding) {
	shown := slices.ContainsFunc(all[:], func(s seen) bool { return len(s.chain) > 0 })
	switch {
	case errors.Is(err, errAlert):
		return NotOffered, nil
	case keys != anyKeys && shown && hungUp(err): // some servers hang up instead of an alert
		return NotOffered, nil
	case errors.Is(err, errTLS) && shown:
		return NotOffered, []Finding{{Level: Warning, Text: fmt.Sprintf("the handshake for %s certificate fails in this program: %.200s", keys, err)}}
	case errors.Is(err, errTLS):
		return Mismatch, []Finding{fault(failure, "RFC 7672 2.2", "the TLS handshake fails: %.200s", err)}
	default:
		return Unreachable, []Finding{fault("", "", "the handshake for %s alone breaks off: %.200s; try again", keys, err)}
	}
}

// noHandshake is a connection that never came to TLS.
func noHandshake(p *place, err error) (Outcome, Finding) {
	switch {
	case errors.Is(err, starttls.ErrNotOffered):
		return Mismatch, fault(noSTARTTLS, "RFC 7672 2.2", "%.300s: TLSA records promise TLS, so mail waits and clients do not connect: turn on TLS, or withdraw %s", err, p.Owner)
	case errors.Is(err, starttls.ErrReply):
		return Mismatch, fault(failure, "RFC 7672 2.2", "%.300s: is that the right port, or does a proxy interfere? --starttls says what to speak", err)
	case errors.Is(err, starttls.ErrRefused):
		return Unreachable, fault("", "", "%.300s: try again from an address that the server serves", err)
	case errors.Is(err, context.DeadlineExceeded):
		return Unreachable, fault("", "", "no TLS with it in time: try again, with a longer --timeout, or see what the server waits for")
	default:
		return Unreachable, fault("", "", "no TLS with it: %.300s", err)
	}
}

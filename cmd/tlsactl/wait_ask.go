package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strings"
	"syscall"
	"time"

	"github.com/miekg/dns"

	"github.com/coredns-tlsa/coredns-tlsa/plugin/tlsa/dane"
)

const (
	udpTimeout = 3 * time.Second
	tcpTimeout = 5 * time.Second
	udpSize    = 1232 // octets, the size that survives without fragments (RFC 9715)
)

// An exchanger sends one query over "udp" or "tcp" to an address with its port, and gives the answer.
type exchanger interface {
	exchange(ctx context.Context, query *dns.Msg, transport, addr string) (*dns.Msg, error)
}

// network is the exchanger of the real world.
type network struct{}

func (network) exchange(ctx context.Context, query *dns.Msg, transport, addr string) (*dns.Msg, error) {
	client := dns.Client{Net: transport, UDPSize: udpSize}
	answer, _, err := client.ExchangeContext(ctx, query, addr)
	return answer, err
}

// ask sends a query over UDP, then over TCP where the answer is cut, damaged or missing.
func ask(ctx context.Context, x exchanger, addr, name string, qtype uint16, recurse bool) (*dns.Msg, error) {
	query := new(dns.Msg)
	query.SetQuestion(name, qtype)
	query.RecursionDesired = recurse
	query.SetEdns0(udpSize, true)
	answer, err := askOnce(ctx, x, query, "udp", udpTimeout, addr)
	if err != nil || answer.Truncated {
		answer, err = askOnce(ctx, x, query, "tcp", tcpTimeout, addr)
	}
	if err == nil && answer.Truncated {
		err = errors.New("the answer is cut even over TCP")
	}
	return answer, err
}

func askOnce(
	ctx context.Context, x exchanger, query *dns.Msg, transport string, limit time.Duration, addr string,
) (*dns.Msg, error) {
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	answer, err := x.exchange(ctx, query.Copy(), transport, addr)
	if err != nil {
		if errors.Is(err, syscall.ENETUNREACH) || errors.Is(err, syscall.EADDRNOTAVAIL) {
			err = fmt.Errorf("%w (-4 or -6 asks over one family only)", err)
		}
		return nil, err
	}
	q := query.Question[0]
	if !answer.Response || answer.Id != query.Id || len(answer.Question) != 1 || answer.Question[0].Qtype != q.Qtype ||
		!strings.EqualFold(answer.Question[0].Name, q.Name) {
		return nil, errors.New("the answer is to another question")
	}
	return answer, nil
}

// A point is one place that must show a key: one address of a server of the zone of name. Name is the owner, or what its
// CNAMEs lead to.
type point struct {
	Owner  string `json:"owner"`
	Name   string `json:"name"`
	Server string `json:"server"` // address with port
}

func (p point) String() string {
	if p.Name == p.Owner {
		return p.Server
	}
	return p.Server + " (for " + p.Name + ")"
}

// A sighting is what one server said at one time.
type sighting struct {
	point
	at     time.Time
	trust  bool // every record of the answer that counts has a signature that is valid now
	rrset  []dane.Association
	ttl    time.Duration // the largest of the TLSA RRset and the CNAMEs before it; 0 where there is none
	alias  string        // where the CNAMEs end, if the answer has no TLSA there
	broken string        // why there is no answer that counts
}

// look asks one server. An answer without authority never counts: a cache would count down what it got long ago.
func look(ctx context.Context, x exchanger, now func() time.Time, p point) sighting {
	answer, err := ask(ctx, x, p.Server, p.Name, dns.TypeTLSA, false)
	s := sighting{point: p, at: now()}
	switch {
	case err != nil:
		s.broken = err.Error()
	case answer.Rcode != dns.RcodeSuccess && answer.Rcode != dns.RcodeNameError:
		s.broken = "it answers " + dns.RcodeToString[answer.Rcode]
	case !answer.Authoritative:
		s.broken = "it answers without authority: it does not serve the zone"
	default:
		s.read(answer)
	}
	return s
}

// read follows the CNAMEs of an answer to its TLSA RRset.
func (s *sighting) read(answer *dns.Msg) {
	name := s.Name
	s.trust = true
	for n := 0; ; n++ {
		if n > maxAliases {
			s.broken = "its CNAMEs go in a circle, or on and on"
			return
		}
		next := ""
		for _, rr := range answer.Answer {
			if cname, ok := rr.(*dns.CNAME); ok && strings.EqualFold(cname.Hdr.Name, name) {
				s.trust = s.trust && (isSigned(answer.Answer, name, dns.TypeCNAME, s.at) || hasSignedDNAME(answer.Answer, name, s.at))
				s.see(cname.Hdr.Ttl)
				next = strings.ToLower(cname.Target)
			}
		}
		if next == "" {
			break
		}
		name = next
	}
	found := false
	for _, rr := range answer.Answer {
		tlsa, ok := rr.(*dns.TLSA)
		if !ok || !strings.EqualFold(tlsa.Hdr.Name, name) {
			continue
		}
		found = true
		s.see(tlsa.Hdr.Ttl)
		// What no client can use is as if it were not there (RFC 6698 4.1).
		if a, err := dane.FromTLSA(tlsa); err == nil {
			s.rrset = append(s.rrset, a)
		}
	}
	switch {
	case found:
		s.trust = s.trust && isSigned(answer.Answer, name, dns.TypeTLSA, s.at)
	case name != s.Name:
		s.alias = name
	default:
		s.trust = isSigned(answer.Ns, "", dns.TypeSOA, s.at)
	}
	s.rrset = dane.Canonical(s.rrset)
}

func (s *sighting) see(ttl uint32) { s.ttl = max(s.ttl, time.Duration(ttl)*time.Second) }

// isSigned tells whether a section has a signature of the RRset that is valid at a time; any name if it is empty.
func isSigned(section []dns.RR, name string, covered uint16, at time.Time) bool {
	for _, rr := range section {
		sig, ok := rr.(*dns.RRSIG)
		if ok && sig.TypeCovered == covered && (name == "" || strings.EqualFold(sig.Hdr.Name, name)) && sig.ValidityPeriod(at) {
			return true
		}
	}
	return false
}

// hasSignedDNAME tells of a CNAME that a server made of a DNAME, which is never signed itself (RFC 6672 5.3.1).
func hasSignedDNAME(section []dns.RR, name string, at time.Time) bool {
	for _, rr := range section {
		if d, ok := rr.(*dns.DNAME); ok && dns.IsSubDomain(d.Hdr.Name, name) && isSigned(section, d.Hdr.Name, dns.TypeDNAME, at) {
			return true
		}
	}
	return false
}

// defaultPort adds port 53 to an address without one; the error says what is wanted.
func defaultPort(addr string) (string, error) {
	if ip := net.ParseIP(strings.Trim(addr, "[]")); ip != nil {
		return net.JoinHostPort(ip.String(), "53"), nil
	}
	host, port, err := net.SplitHostPort(addr)
	if err != nil || net.ParseIP(host) == nil || !isPort(port) {
		return "", fmt.Errorf("%q: want an IP address with or without a port, such as 192.0.2.1:53 or [2001:db8::1]:53", addr)
	}
	return net.JoinHostPort(host, port), nil
}

package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"slices"
	"strings"
	"time"

	"github.com/miekg/dns"
)

const (
	maxAliases = 8               // CNAMEs in a row
	findEvery  = 5 * time.Minute // how long a list of servers is used
)

// A finder finds the addresses of every server of the zone that a name is in.
type finder struct {
	x         exchanger
	now       func() time.Time
	fixed     []string // from --server: asked for every name
	resolvers []string
	family    func(net.IP) bool
	known     map[string]found
}

type found struct {
	servers []string
	at      time.Time
}

// servers gives addresses with their ports. A list that was found once is kept while it cannot be found anew: a resolver
// that is out of order takes no server away.
func (f *finder) servers(ctx context.Context, name string) ([]string, error) {
	if len(f.fixed) > 0 {
		return f.fixed, nil
	}
	old, ok := f.known[name]
	if ok && f.now().Sub(old.at) < findEvery {
		return old.servers, nil
	}
	servers, err := f.find(ctx, name)
	if err != nil {
		if ok {
			return old.servers, nil
		}
		return nil, fmt.Errorf("cannot find the servers of %s: %w; --server names them", name, err)
	}
	if f.known == nil {
		f.known = make(map[string]found)
	}
	f.known[name] = found{servers, f.now()}
	return servers, nil
}

func (f *finder) find(ctx context.Context, name string) ([]string, error) {
	zone, err := f.zone(ctx, name)
	if err != nil {
		return nil, err
	}
	answer, err := f.resolve(ctx, zone, dns.TypeNS)
	if err != nil {
		return nil, err
	}
	var out []string
	for _, rr := range answer.Answer {
		ns, ok := rr.(*dns.NS)
		if !ok {
			continue
		}
		addresses, err := f.addresses(ctx, ns.Ns)
		if err != nil {
			return nil, err
		}
		out = append(out, addresses...)
	}
	if len(out) == 0 {
		return nil, fmt.Errorf("the servers of %s have no address that may be asked", zone)
	}
	slices.Sort(out)
	return slices.Compact(out), nil
}

// zone gives the zone a name is in: the SOA of an answer tells. Where a CNAME leads elsewhere, the parent is asked; a name
// with a CNAME is no apex.
func (f *finder) zone(ctx context.Context, name string) (string, error) {
	for at := name; ; {
		answer, err := f.resolve(ctx, at, dns.TypeSOA)
		if err != nil {
			return "", err
		}
		isAlias := slices.ContainsFunc(answer.Answer, func(rr dns.RR) bool { return rr.Header().Rrtype == dns.TypeCNAME })
		for _, rr := range slices.Concat(answer.Answer, answer.Ns) {
			// The SOA behind a CNAME is that of its target, which may lie in a zone above this one.
			if _, ok := rr.(*dns.SOA); ok && !isAlias && dns.IsSubDomain(rr.Header().Name, at) {
				return strings.ToLower(rr.Header().Name), nil
			}
		}
		next, end := dns.NextLabel(at, 0)
		if end {
			return "", fmt.Errorf("no zone of %s", name)
		}
		at = at[next:]
	}
}

func (f *finder) addresses(ctx context.Context, host string) ([]string, error) {
	var out []string
	known := false
	for _, qtype := range []uint16{dns.TypeA, dns.TypeAAAA} {
		answer, err := f.resolve(ctx, host, qtype)
		if err != nil {
			return nil, err
		}
		for _, rr := range answer.Answer {
			var ip net.IP
			switch rr := rr.(type) {
			case *dns.A:
				ip = rr.A
			case *dns.AAAA:
				ip = rr.AAAA
			default:
				continue
			}
			known = true
			if f.family == nil || f.family(ip) {
				out = append(out, net.JoinHostPort(ip.String(), "53"))
			}
		}
	}
	if !known {
		return nil, fmt.Errorf("name server %s has no address", host)
	}
	return out, nil
}

// resolve asks the resolvers in their order until one has an answer.
func (f *finder) resolve(ctx context.Context, name string, qtype uint16) (*dns.Msg, error) {
	err := errors.New("there is no resolver")
	for _, addr := range f.resolvers {
		var answer *dns.Msg
		answer, err = ask(ctx, f.x, addr, name, qtype, true)
		if err == nil && answer.Rcode != dns.RcodeSuccess && answer.Rcode != dns.RcodeNameError {
			err = errors.New(dns.RcodeToString[answer.Rcode])
		}
		if err == nil {
			return answer, nil
		}
		err = fmt.Errorf("resolver %s, %s %s: %w", addr, name, dns.TypeToString[qtype], err)
	}
	return nil, err
}

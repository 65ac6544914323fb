package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strings"
	"time"

	"github.com/miekg/dns"
)

const (
	parentLimit = 5 * time.Second         // for all questions about a delegation
	parentTry   = 1500 * time.Millisecond // for one server of the parent
)

// A delegation is what the parent of a zone says of its servers: resolvers go there too, whatever the zone itself says.
type delegation struct {
	servers []string // addresses with ports
	// missing are name servers of the parent's without an address: nobody can ask them.
	missing []string
}

// delegation asks the servers of the parent zone, one after the other, until one tells. An error means that none did.
func (f *finder) delegation(ctx context.Context, zone string) (delegation, error) {
	if zone == "." {
		return delegation{}, nil
	}
	ctx, cancel := context.WithTimeout(ctx, parentLimit)
	defer cancel()
	next, _ := dns.NextLabel(zone, 0)
	parent, err := f.zone(ctx, dns.Fqdn(zone[next:]))
	if err != nil {
		return delegation{}, err
	}
	answer, err := f.resolve(ctx, parent, dns.TypeNS)
	if err != nil {
		return delegation{}, err
	}
	last := fmt.Errorf("%s has no server that may be asked", parent)
	for _, host := range nameServers(answer.Answer, parent) {
		addresses, err := f.addresses(ctx, host)
		if err != nil {
			last = err
			continue
		}
		for _, addr := range addresses {
			d, err := f.referral(ctx, addr, zone)
			if err == nil {
				return d, nil
			}
			last = err
		}
	}
	return delegation{}, last
}

// referral asks one server of the parent. One that serves the zone as well answers from that, which has to do.
func (f *finder) referral(ctx context.Context, addr, zone string) (delegation, error) {
	try, cancel := context.WithTimeout(ctx, parentTry)
	defer cancel()
	answer, err := ask(try, f.x, addr, zone, dns.TypeNS, false)
	if err != nil {
		return delegation{}, fmt.Errorf("%s: %w", addr, err)
	}
	hosts := nameServers(append(answer.Answer, answer.Ns...), zone)
	isDenied := answer.Authoritative && (answer.Rcode == dns.RcodeSuccess || answer.Rcode == dns.RcodeNameError)
	if len(hosts) == 0 && !isDenied {
		return delegation{}, fmt.Errorf("%s: it does not tell the servers of %s", addr, zone)
	}
	var d delegation
	for _, host := range hosts {
		addresses := f.glue(answer.Extra, host)
		if len(addresses) == 0 {
			if addresses, err = f.addresses(ctx, host); err != nil {
				d.missing = append(d.missing, host)
			}
		}
		d.servers = append(d.servers, addresses...)
	}
	return d, nil
}

// glue gives the addresses of a name server that came with a referral. Resolvers use them, even where others are right.
func (f *finder) glue(extra []dns.RR, host string) (out []string) {
	for _, rr := range extra {
		if ip := addressOf(rr); ip != nil && strings.EqualFold(rr.Header().Name, host) && (f.family == nil || f.family(ip)) {
			out = append(out, net.JoinHostPort(ip.String(), "53"))
		}
	}
	return out
}

// nameServers are the hosts of the NS records of a zone.
func nameServers(section []dns.RR, zone string) (out []string) {
	for _, rr := range section {
		if ns, ok := rr.(*dns.NS); ok && strings.EqualFold(ns.Hdr.Name, zone) {
			out = append(out, ns.Ns)
		}
	}
	return out
}

// delegated gives the servers that the parent of a zone names, or, while it does not tell, those that it named last. That is no
// error: it is said once.
func (f *finder) delegated(ctx context.Context, zone string) []string {
	d, err := f.delegation(ctx, zone)
	if f.parents == nil {
		f.parents, f.doubted = make(map[string][]string), make(map[string]bool)
	}
	if err == nil {
		if len(d.missing) > 0 {
			d.servers = append(d.servers, f.parents[zone]...) // one of them may be the one that is missing now
			err = errors.New("no address of " + strings.Join(d.missing, ", "))
		}
		f.parents[zone] = unique(d.servers)
	}
	if err != nil && !f.doubted[zone] {
		f.doubted[zone] = true
		f.doubt = fmt.Sprintf("servers that only the parent of %s names may be missing: %v", zone, err)
	}
	return f.parents[zone]
}

// takeDoubt gives what is to be said once of the servers; empty if that is nothing.
func (f *finder) takeDoubt() string {
	text := f.doubt
	f.doubt = ""
	return text
}

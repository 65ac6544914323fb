package corefile

import (
	"net"
	"strconv"
	"strings"

	"github.com/coredns/coredns/plugin/pkg/cidr"
	"github.com/miekg/dns"
)

// zonesOfKey gives the zones that a key of a server block stands for: several for a network that no octet ends; none if it is
// no name. It is CoreDNS's plugin.Host.NormalizeExact, which stands in a package that brings all of its metrics along.
func zonesOfKey(key string) []string {
	_, host, found := strings.Cut(key, "://")
	if !found {
		host = key
	}
	colon := strings.LastIndex(host, ":")
	if colon == len(host)-1 {
		return nil
	}
	if colon >= 0 {
		if _, err := strconv.Atoi(host[colon+1:]); err == nil {
			host = host[:colon]
		}
	}
	if _, ok := dns.IsDomainName(host); !ok || len(host) > 255 {
		return nil
	}
	zones := []string{host}
	if _, network, err := net.ParseCIDR(host); err == nil {
		if host[0] == ':' || host[0] == '0' && strings.Contains(host, ":") {
			return nil
		}
		zones = cidr.Reverse(cidr.Split(network))
	}
	for i, zone := range zones {
		zones[i] = strings.ToLower(dns.Fqdn(zone))
	}
	return zones
}

// longest gives the longest of zones that name lies in, or is; empty if there is none.
func longest(zones []string, name string) string {
	found := ""
	for _, zone := range zones {
		if len(zone) > len(found) && dns.IsSubDomain(zone, name) {
			found = zone
		}
	}
	return found
}

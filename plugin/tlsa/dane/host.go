package dane

import "strings"

// Covers tells whether a dNSName of a certificate names host (RFC 9525 6.3): the same name, or a wildcard that is the whole
// leftmost label and stands for exactly one label. Both are in lower case; a trailing dot of host does not count.
//
// A lone "*" covers nothing, nor does a wildcard in any other place. A wildcard stands for no label that starts with an
// underscore: that is no host. A host that is a wildcard itself names no host, and nothing covers it.
func Covers(dnsName, host string) bool {
	host = strings.TrimSuffix(host, ".")
	if !isHost(host) || strings.Contains(host, "*") {
		return false
	}
	if dnsName == host {
		return true
	}
	parent, wild := strings.CutPrefix(dnsName, "*.")
	first, rest, _ := strings.Cut(host, ".")
	return wild && parent != "" && rest == parent && !strings.HasPrefix(first, "_")
}

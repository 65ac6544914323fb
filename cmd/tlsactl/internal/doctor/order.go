package doctor

import (
	"slices"
	"strings"
)

// order is that in which CoreDNS 1.15.0 with tlsa in its place runs the directives of a server block. Those before tlsa see
// the queries first.
var order = strings.Fields(`root metadata geoip cancel proxyproto quic grpc_server https https3 timeouts multisocket reload nsid
	bufsize bind debug trace ready health pprof shed prometheus errors log dnstap local dns64 siit any chaos loadbalance tsig
	rewrite autopath acl cache header dnssec tls minimal template transfer tlsa dynupdate hosts route53 azure clouddns
	k8s_external kubernetes file auto secondary etcd loop forward grpc erratic whoami on sign view nomad`)

// full are the directives that only a build with the tag full has.
var full = strings.Fields(`geoip cancel quic grpc_server https https3 trace local dns64 siit autopath route53 azure clouddns
	k8s_external kubernetes etcd loop forward grpc erratic on nomad`)

// idle are the directives after tlsa that answer nothing.
var idle = []string{"on", "sign", "view"}

// inOrder sorts directives as the server would; those it does not know come last.
func inOrder(names []string) []string {
	place := func(name string) int {
		if i := slices.Index(order, name); i >= 0 {
			return i
		}
		return len(order)
	}
	slices.SortFunc(names, func(a, b string) int {
		if d := place(a) - place(b); d != 0 {
			return d
		}
		return strings.Compare(a, b)
	})
	return names
}

// behind gives the plugins of the list that stand after tlsa and may serve a zone.
func behind(names []string) []string {
	var found []string
	at := slices.Index(order, "tlsa")
	for _, name := range names {
		if slices.Index(order, name) > at && !slices.Contains(idle, name) {
			found = append(found, name)
		}
	}
	return found
}

func (f *facts) checkPlugins() (found []Finding) {
	for _, s := range f.servers {
		for _, name := range s.plugins {
			place := s.directives(name)[0].place
			switch {
			case !slices.Contains(order, name):
				found = append(found, Finding{
					Code: "plugin-unknown", Severity: Error, Place: place,
					What: "CoreDNS 1.15.0 has no plugin " + name, Why: "the server does not start",
					Fix: "correct the name, remove the line, or build CoreDNS with that plugin",
				})
			case slices.Contains(full, name):
				found = append(found, Finding{
					Code: "plugin-not-built", Severity: Warning, Place: place,
					What: name + " is not in the binary of `go build ./cmd/coredns`", Why: "that server does not start",
					Fix: "go build -tags full ./cmd/coredns",
				})
			}
		}
	}
	return found
}

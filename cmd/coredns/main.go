// Command coredns is CoreDNS 1.15.0 with the tlsa plugin in its place.
//
// Without build tags it has the plugins an authoritative server needs (plugins.go). With the tag full it has every
// plugin of CoreDNS (plugins_full.go). Flags and behaviour are those of CoreDNS; the only difference is one more
// directive.
package main

import (
	"fmt"
	"os"

	"github.com/coredns/coredns/core/dnsserver"
	"github.com/coredns/coredns/coremain"

	_ "github.com/coredns-tlsa/coredns-tlsa/plugin/tlsa"
)

func main() {
	directives, err := withTLSA(dnsserver.Directives)
	if err != nil {
		fmt.Fprintln(os.Stderr, "coredns:", err)
		os.Exit(1)
	}
	dnsserver.Directives = directives
	coremain.Run()
}

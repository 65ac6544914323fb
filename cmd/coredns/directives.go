package main

import (
	"errors"
	"slices"
)

// errNoTransfer says that the linked CoreDNS has no transfer directive, after which tlsa has its place.
var errNoTransfer = errors.New("no directive transfer, after which tlsa has its place: build with CoreDNS 1.15.0")

// withTLSA returns the directives with tlsa directly after transfer. The order of directives is the order of the
// handlers: from there tlsa sees its queries inside cache and dnssec, and before every plugin that serves a zone. A
// list that has tlsa already, as a CoreDNS built from a plugin.cfg with our line has, comes back as it is.
func withTLSA(directives []string) ([]string, error) {
	if slices.Contains(directives, "tlsa") {
		return directives, nil
	}
	at := slices.Index(directives, "transfer")
	if at < 0 {
		return nil, errNoTransfer
	}
	return slices.Insert(slices.Clone(directives), at+1, "tlsa"), nil
}

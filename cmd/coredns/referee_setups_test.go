//go:build referee

package main

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/miekg/dns"
)

// setup is a way to run us: server blocks, and the flags of the zone's keys.
type setup struct {
	corefile string
	keys     []uint16
}

func setups() map[string]setup {
	const ksk, zsk, view = 257, 256, "view "
	return map[string]setup{
		"one key":                  {rowsBlock, nil},
		"key and zone signing key": {rowsBlock, []uint16{ksk, zsk}},
		"two keys for both":        {rowsBlock, []uint16{ksk, ksk}},
		"behind cache":             {strings.Replace(rowsBlock, "NAMES", "cache\n    NAMES", 1), nil},
		"two directives and a bare one": {strings.Replace(rowsBlock, "NAMES",
			"NAMES\n    tlsa {\n        certs live\n        name _993._tcp.mail from mail\n        ledger second\n    }\n    tlsa", 1), nil},
		// CoreDNS gives a query for DS to the last block that takes the client: each must have a view that leaves the others' out.
		"a view of two": {strings.Replace(rowsBlock, "KEYS", view+"us {\n        expr incidr(client_ip(), '127.0.0.0/8')\n    }\n    KEYS", 1) +
			strings.Replace(stock, "KEYS", view+"others {\n        expr !incidr(client_ip(), '127.0.0.0/8')\n    }\n    KEYS", 1), nil},
		"before minimal":     {strings.Replace(rowsBlock, "NAMES", "minimal\n    NAMES", 1), nil},
		"behind loadbalance": {strings.Replace(rowsBlock, "NAMES", "loadbalance\n    NAMES", 1), nil},
	}
}

func TestEveryRowIsAnsweredEveryWayInEverySetup(t *testing.T) {
	for in, su := range setups() {
		t.Run(in, func(t *testing.T) {
			t.Parallel()
			s, _ := rowsSite(t, su.corefile, su.keys...)
			for range 2 { // of which the second may come from a cache
				for what, w := range rows() {
					for _, v := range ways() {
						r, err := v.ask(s.port, dns.Fqdn(dot(w.name)+"example.org"), w.qtype)
						if err == nil {
							err = w.right(v, r)
						}
						if err != nil {
							t.Errorf("%s (%s %s, %+v): %v\n%v", what, w.name, typeName(w.qtype), v, err, r)
						}
					}
				}
			}
		})
	}
}

func TestEveryRowValidatesInEverySetup(t *testing.T) {
	for in, su := range setups() {
		t.Run(in, func(t *testing.T) {
			t.Parallel()
			_, up := rowsSite(t, su.corefile, su.keys...)
			for name, resolver := range map[string]string{"unbound": unboundAt(t, "", up), "named": namedAt(t, up)} {
				for what, w := range rows() {
					if w.referral || w.direct {
						continue
					}
					if err := w.validated(resolver); err != nil {
						t.Errorf("%s, %s: %v", name, what, err)
					}
				}
			}
		})
	}
}

// validated tells what is wrong with what a resolver says.
func (w row) validated(resolver string) error {
	r, err := lookup(resolver, dns.Fqdn(dot(w.name)+"example.org"), w.qtype)
	if err != nil {
		return err
	}
	got, want := plain(r.Answer), w.answers
	if w.qtype == dns.TypeANY && len(want) == 0 {
		got = nil // the proof itself, of the cache
	}
	if r.Rcode == dns.RcodeServerFailure || !r.AuthenticatedData || !slices.Equal(got, want) {
		return fmt.Errorf("want %v: %v", want, r)
	}
	return nil
}

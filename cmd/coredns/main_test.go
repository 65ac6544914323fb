package main

import (
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/coredns/caddy"
	"github.com/coredns/coredns/core/dnsserver"
)

func TestTLSAStandsDirectlyAfterTransfer(t *testing.T) {
	before := slices.Clone(dnsserver.Directives)
	got, err := withTLSA(dnsserver.Directives)
	if err != nil {
		t.Fatal(err)
	}
	at := slices.Index(got, "tlsa")
	if at < 1 || got[at-1] != "transfer" {
		t.Fatalf("tlsa is not directly after transfer: %v", got)
	}
	if !slices.Equal(slices.Delete(slices.Clone(got), at, at+1), before) {
		t.Errorf("the other directives changed: %v", got)
	}
	if !slices.Equal(dnsserver.Directives, before) {
		t.Errorf("the given list was written to: %v", dnsserver.Directives)
	}
	for _, name := range []string{"log", "rewrite", "acl", "cache", "dnssec", "minimal"} {
		if i := slices.Index(got, name); i < 0 || i > at {
			t.Errorf("%s is at %d, want before tlsa at %d", name, i, at)
		}
	}
	for _, name := range []string{"dynupdate", "hosts", "kubernetes", "file", "auto", "secondary", "whoami"} {
		if i := slices.Index(got, name); i < at {
			t.Errorf("%s is at %d, want after tlsa at %d", name, i, at)
		}
	}
}

func TestListThatHasTLSAStaysAsItIs(t *testing.T) {
	in := []string{"cache", "tlsa", "transfer", "file"}
	got, err := withTLSA(in)
	if err != nil || !slices.Equal(got, in) {
		t.Errorf("withTLSA(%v) = %v, %v", in, got, err)
	}
}

func TestListWithoutTransferIsAnError(t *testing.T) {
	got, err := withTLSA([]string{"cache", "file"})
	if !errors.Is(err, errNoTransfer) {
		t.Errorf("withTLSA = %v, %v, want errNoTransfer", got, err)
	}
}

func TestPluginListShowsTLSA(t *testing.T) {
	list := strings.Fields(caddy.DescribePlugins()) // what the flag -plugins prints
	for _, name := range []string{"tlsa", "dnssec", "file", "transfer", "cache", "prometheus"} {
		if !slices.Contains(list, name) {
			t.Errorf("-plugins does not show %s", name)
		}
	}
}

// TestEveryPluginHasAPlace finds a plugin that is linked but whose directive CoreDNS does not know: caddy would ignore
// such a directive in a Corefile.
func TestEveryPluginHasAPlace(t *testing.T) {
	got, err := withTLSA(dnsserver.Directives)
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range caddy.ListPlugins()["others"] {
		directive, ok := strings.CutPrefix(name, "dns.")
		if ok && !slices.Contains(got, directive) {
			t.Errorf("directive %s has no place in the order", directive)
		}
	}
}

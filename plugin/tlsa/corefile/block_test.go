package corefile

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/coredns/caddy"
	"github.com/coredns/caddy/caddyfile"
	"github.com/coredns/coredns/core/dnsserver"
	"github.com/google/go-cmp/cmp"
)

// load reads a whole Corefile as CoreDNS does, up to where plugins would start. It gives the blocks and all warnings.
func load(name, text string) (blocks []*Block, warnings []string, err error) {
	servers, err := caddyfile.Parse(name, strings.NewReader(text), nil)
	if err != nil {
		return nil, nil, err
	}
	c := caddy.NewTestController("dns", "")
	if servers, err = c.Context().InspectServerBlocks(name, servers); err != nil {
		return nil, nil, err
	}
	for i, server := range servers {
		c.ServerBlockIndex, c.ServerBlockKeys = i, server.Keys
		if tokens := server.Tokens["root"]; tokens != nil {
			dnsserver.GetConfig(c).Root = tokens[1].Text
		}
		c.Dispenser = caddyfile.NewDispenserTokens(name, server.Tokens["tlsa"])
		parsed, err := Parse(&c.Dispenser, c.ServerBlockKeys, dnsserver.GetConfig(c).Root)
		if err != nil {
			return nil, nil, err
		}
		for _, b := range parsed {
			checked, err := b.Check(Peers{
				DNSSEC:   server.Tokens["dnssec"] != nil,
				Next:     server.Tokens["file"] != nil,
				Transfer: server.Tokens["transfer"] != nil,
			})
			if err != nil {
				return nil, nil, err
			}
			for _, other := range blocks {
				if other.Ledger != b.Ledger || !cmp.Equal(other.Zones, b.Zones) {
					continue
				}
				if err := b.Equal(other); err != nil {
					return nil, nil, err
				}
			}
			warnings = append(append(warnings, b.Warnings...), checked...)
			blocks = append(blocks, b)
		}
	}
	return blocks, warnings, nil
}

// corefiles gives the text of every Corefile in testdata with the suffix, by name.
func corefiles(t testing.TB, suffix string) map[string]string {
	t.Helper()
	paths, err := filepath.Glob("../../../testdata/corefiles/*" + suffix)
	if err != nil || len(paths) == 0 {
		t.Fatalf("no Corefile ends in %s: %v", suffix, err)
	}
	texts := make(map[string]string)
	for _, path := range paths {
		text, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		texts[filepath.Base(path)] = string(text)
	}
	return texts
}

// notes gives the comments of a Corefile that start with the word.
func notes(text, word string) []string {
	var found []string
	for line := range strings.Lines(text) {
		if note, ok := strings.CutPrefix(line, "# "+word+": "); ok {
			found = append(found, strings.TrimSpace(note))
		}
	}
	return found
}

func TestBadCorefileIsRefusedWithItsMessage(t *testing.T) {
	for name, text := range corefiles(t, ".bad") {
		t.Run(name, func(t *testing.T) {
			_, _, err := load(name, text)
			if err == nil {
				t.Fatal("no error")
			}
			if diff := cmp.Diff(notes(text, "error"), []string{err.Error()}); diff != "" {
				t.Errorf("message (-want +got):\n%s", diff)
			}
		})
	}
}

// describe writes blocks down, a line for each and one for each owner.
func describe(blocks []*Block) []string {
	var lines []string
	for _, b := range blocks {
		lines = append(lines, fmt.Sprintf("zones %v certs %q next %q ledger %q ttl %d rescan %s",
			b.Zones, b.Certs, b.Next, b.Ledger, b.TTL, b.Rescan))
		if a := b.Authority; a != nil {
			lines = append(lines, fmt.Sprintf("authority %v mbox %s fallthrough %v", a.Servers, a.Mailbox, a.Fall))
		}
		if b.Control+b.Status != "" {
			lines[len(lines)-1] += fmt.Sprintf(" control %q status %q", b.Control, b.Status)
		}
		for _, o := range slices.Concat(b.Owners, b.Patterns) {
			p := o.Policy
			lines = append(lines, fmt.Sprintf("%s host %s from %q as %v pins %v ttl %d propagation %s hold %s grace %s notafter %t",
				o.Name, o.Host, o.From, p.Combinations, p.Pins, p.TTL, p.Propagation, p.Hold, p.Grace, p.UntilExpiry))
		}
	}
	return lines
}

func TestGoodCorefileGivesItsBlocksAndWarnings(t *testing.T) {
	t.Setenv("TLSA_TEST_CERTS", "/etc/from-env")
	for name, text := range corefiles(t, ".good") {
		t.Run(name, func(t *testing.T) {
			blocks, warnings, err := load(name, text)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(notes(text, "warning"), warnings); diff != "" {
				t.Errorf("warnings (-want +got):\n%s", diff)
			}
			if diff := cmp.Diff(notes(text, "gives"), describe(blocks)); diff != "" {
				t.Errorf("blocks (-want +got):\n%s", diff)
			}
			for _, b := range blocks {
				valid(t, b)
			}
		})
	}
}

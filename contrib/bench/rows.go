package main

import (
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"

	"github.com/miekg/dns"
)

// A row is one figure: servers that are asked the same questions.
type row struct {
	title   string
	queries []string // NAME TYPE, as dnsperf reads them
	do      bool
	want    want
	ours    string
	others  []other
}

// An other is a server that ours is compared with. target is the least ratio of ours to it that will do; 0 if it is there
// for comparison only.
type other struct {
	server string
	target float64
}

// want is what an answer must have, so that no server is fast by answering something else.
type want struct {
	rcode              int
	answers, authority int // at least so many records
}

// rows are the figures. Names are asked for in an order without a pattern.
func (b *bench) rows() []row {
	var owners, hosts, unknown []string
	for _, n := range rand.New(rand.NewPCG(1, 2)).Perm(b.owners) {
		owners = append(owners, owner(n)+" TLSA")
		hosts = append(hosts, host(n)+" TXT")
		unknown = append(unknown, "no"+host(n)+" TLSA")
	}
	few := func(all []string) []string { return all[:min(len(all), 1000)] }
	ds := make([]string, len(owners))
	for i, q := range owners {
		ds[i] = strings.TrimSuffix(q, "TLSA") + "DS"
	}
	signed := want{answers: 2, rcode: dns.RcodeSuccess}
	denied := want{authority: 4, rcode: dns.RcodeSuccess}
	return []row{
		{fmt.Sprintf("unsigned, %d owners", b.owners), owners, false, want{answers: 1, rcode: dns.RcodeSuccess}, "tlsa", []other{
			{"whoami", 0.9}, {"file", 2.5}, {"template", 0}, {"nsd", 0}}},
		{"signed (DO), one owner", owners[:1], true, signed, "tlsa+dnssec", []other{
			{"file+dnssec", 1.5}, {"knot-online", 0}}},
		{fmt.Sprintf("signed (DO), %d owners", b.owners), owners, true, signed, "tlsa+dnssec", []other{
			{"file+dnssec", 1.4}, {"knot-online", 1.5}, {"nsd-presigned", 0}}},
		{"denied (DO): no such type", few(hosts), true, denied, "tlsa+dnssec", []other{{"file+dnssec", 0.7}}},
		{"denied (DO): DS", few(ds), true, denied, "tlsa+dnssec", []other{{"file+dnssec", 0.7}}},
		{"denied (DO): no such name", few(unknown), true, denied, "tlsa+dnssec", []other{{"file+dnssec", 0.7}}},
	}
}

func host(n int) string  { return fmt.Sprintf("h%07d.example.org.", n) }
func owner(n int) string { return "_25._tcp." + host(n) }

// prepare builds the server and writes what all of them serve.
func (b *bench) prepare() error {
	b.server = filepath.Join(b.dir, "coredns")
	if err := b.command("go", "build", "-o", b.server, "./cmd/coredns"); err != nil {
		return err
	}
	const apex = "$ORIGIN example.org.\n$TTL 3600\n@ IN SOA ns hostmaster 1 7200 3600 1209600 3600\n@ IN NS ns\nns IN A 127.0.0.1\n"
	if err := b.certificate(); err != nil {
		return err
	}
	var hosts, records, names strings.Builder
	for n := range b.owners {
		fmt.Fprintf(&hosts, "%s IN A 127.0.0.1\n", host(n))
		fmt.Fprintf(&records, "%s IN TLSA 3 1 1 %s\n", owner(n), b.digest)
		fmt.Fprintf(&names, "name %s from mail\n", owner(n))
	}
	b.names = names.String()
	for name, text := range map[string]string{
		"hosts.zone": apex + hosts.String(), "whole.zone": apex + hosts.String() + records.String(),
	} {
		if err := os.WriteFile(filepath.Join(b.dir, name), []byte(text), 0o600); err != nil {
			return err
		}
	}
	key, err := b.output("dnssec-keygen", "-q", "-K", b.dir, "-a", "ECDSAP256SHA256", "-f", "KSK", "example.org")
	if err != nil {
		return err
	}
	b.key = strings.TrimSpace(key)
	return nil
}

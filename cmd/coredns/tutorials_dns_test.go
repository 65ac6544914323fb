//go:build referee

package main

import (
	"fmt"
	"os"
	"regexp"
	"slices"
	"strings"
)

// withoutTLSA matches what a page adds to the Corefile of a zone that is signed already.
var withoutTLSA = regexp.MustCompile(`(?ms)^    tlsa \{$.*?^    \}\n`)

// serve starts the DNS server with a Corefile, at an address of its own and with a short ttl, in the place of the one before.
func (r *tutorialRun) serve(corefile string) {
	corefile = r.shorten(corefile)
	write(r.t, "/etc/coredns/Corefile", strings.Replace(corefile, "{\n", "{\n    bind 127.0.0.3\n", 1))
	if r.dns != nil {
		r.dns.kill()
		r.dns.start()
		return
	}
	if err := os.MkdirAll("/var/lib/coredns", 0o755); err != nil {
		r.t.Fatal(err)
	}
	r.dns = &server{t: r.t, dir: "/etc/coredns", conf: "/etc/coredns/Corefile", port: "53", log: &journal{}}
	r.dns.start()
	r.t.Cleanup(func() {
		r.dns.kill()
		if r.t.Failed() {
			log, _ := os.ReadFile("/var/log/tlsactl.log")
			r.t.Logf("the server said:\n%s\ncron said:\n%s", r.dns.log, log)
		}
	})
}

// presents wants the server to have the client's key, before there are records of it: clients that find the record of another
// key defer their mail.
func (r *tutorialRun) presents() {
	r.t.Helper()
	from := map[string][]string{"nginx": {"www.example.org:443"}, "postfix": {"mail.example.org:25", "--starttls", "smtp"}}[r.service]
	want := leafDigest(r.t, r.cert)
	poll(r.t, "the key, before the page starts the DNS server", func() (bool, string) { // a reload takes a moment
		out, _ := attempt(r.t, "/", nil, "/usr/local/bin/tlsactl", append([]string{"records", "--from"}, from...)...)
		return strings.Contains(out, want), out
	})
}

// settled waits until the records are those of these keys.
func (r *tutorialRun) settled(want []string) {
	owner := map[string]string{"nginx": "_443._tcp.www", "postfix": "_25._tcp.mail"}[r.service] + ".example.org"
	poll(r.t, "the records of the keys that remain", func() (bool, string) {
		out := execute(r.t, "/", nil, "dig", "+short", "+nosplit", "@127.0.0.3", owner, "TLSA")
		var got []string
		for line := range strings.Lines(strings.ToLower(out)) {
			if f := strings.Fields(line); len(f) == 4 && f[0] == "3" {
				got = append(got, f[3])
			}
		}
		slices.Sort(got)
		return slices.Equal(got, want), fmt.Sprintf("%s, want %s", got, want)
	})
}

package main

import (
	"bytes"
	"context"
	"crypto/tls"
	"net"
	"regexp"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// words splits a line of an example as a shell would: blanks, and quotes of both kinds.
func words(line string) (out []string) {
	for _, m := range regexp.MustCompile(`"([^"]*)"|'([^']*)'|(\S+)`).FindAllStringSubmatch(line, -1) {
		out = append(out, m[1]+m[2]+m[3])
	}
	return out
}

// runExamples runs every example, with servers that show cert for two hours already, and one that presents it.
func runExamples(t *testing.T, cert []byte) {
	t.Helper()
	presented := tlsCertificate(t, "mail.example.org", newKey(t))
	mail := tlsServer{script: smtpScript, certs: []tls.Certificate{presented}}.listen(t)
	n := 0
	for _, verb := range newTestApp(nil, nil, nil, nil).command().Commands() {
		for line := range strings.Lines(verb.Example) {
			command, _, _ := strings.Cut(line, " && ")
			args := words(command)
			n++
			if verb.Name() == "doctor" { // TestExamplesOfDoctorRun has a Corefile for it
				continue
			}
			if verb.Name() == "check" { // asks the world: only the flags are tried
				if err := verb.ParseFlags(args[2:]); err != nil {
					t.Errorf("%s: %v", command, err)
				}
				continue
			}
			run := func(t *testing.T) {
				zone := &authority{apex: "example.org.", ttl: time.Hour, signed: true}
				zone.set(mailOwner, recordsOf(t, mailOwner, cert)...)
				zone.set("_465._tcp.mail.example.org.", zone.rrs[mailOwner]...)
				w := &world{}
				resolve := resolver(map[string][]string{"example.org.": {"192.0.2.1", "192.0.2.2"}}, nil)
				for addr, z := range map[string]*authority{"192.0.2.1:53": zone, "192.0.2.2:53": zone, "203.0.113.53:53": resolve} {
					w.put(addr, z)
				}
				var out, talk bytes.Buffer
				a := newTestApp(nil, &out, &talk, w)
				a.dial = func(ctx context.Context, network, addr string) (net.Conn, error) {
					if addr != "mail.example.org:25" {
						t.Errorf("dialled %s", addr)
					}
					return new(net.Dialer).DialContext(ctx, network, mail)
				}
				code := a.run(t.Context(), args[1:])
				// Without --wait an installation is not safe yet; with what was seen two hours ago it is.
				if args[1] == "install" && code == exitNotYet {
					time.Sleep(2 * time.Hour)
					code = a.run(t.Context(), args[1:])
				}
				if code != 0 {
					t.Errorf("%s: exit %d\n%s%s", command, code, out.String(), talk.String())
				}
			}
			if strings.Contains(command, "--from") {
				run(t)
				continue
			}
			synctest.Test(t, run)
		}
	}
	if n < 11 {
		t.Errorf("%d examples", n)
	}
}

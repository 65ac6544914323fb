package main

import (
	"bytes"
	"fmt"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/coredns-tlsa/coredns-tlsa/plugin/tlsa/control"
)

// The record of the key in use is on its way out, as where a server was not restarted after its files were replaced.
func TestCheckLeavesOutWhatTheServerWillHaveRemoved(t *testing.T) {
	cert, spki := checkCert(t)
	port := checkServer(t, cert)
	owner := "_" + port + "._tcp.mail.example.org."
	resolver := checkZone(t, fmt.Sprintf("mail.example.org. 60 A 127.0.0.1\n%s 60 TLSA 3 1 1 %s\n%s 60 TLSA 3 1 1 %s\n",
		owner, spki, owner, strings.Repeat("ab", 32)))
	next := time.Now().Add(10 * time.Hour).UTC().Truncate(time.Second)
	leaving := blockOf(owner, control.Association{State: "retired", NextState: "removed", NextAt: &next}, control.Association{State: "active"})
	leaving.status.Owners[0].Associations[0].Data = spki
	young := blockOf(owner, control.Association{State: "published", NextState: "ready", NextAt: &next})
	young.status.Owners[0].Associations[0].Data = spki
	socket, other := filepath.Join(socketDir(t), "s"), filepath.Join(socketDir(t), "s")
	serveControl(t, socket, leaving)
	serveControl(t, other, young)
	for claim, row := range map[string]struct {
		flags []string
		env   string
		code  int
		says  string
	}{
		"now it is there":                      {[]string{"--control", socket}, "", exitDone, ""},
		"before it leaves":                     {[]string{"--control", socket, "--at", "+9h"}, "", exitDone, ""},
		"after it has left":                    {[]string{"--control", socket, "--at", "+11h"}, "", exitUnsafe, "plans to have removed it by then"},
		"days ahead, by the environment":       {[]string{"--at", "+1d"}, socket, exitUnsafe, "plans to have removed it by then"},
		"without a socket nobody knows":        {[]string{"--at", "+11h"}, "", exitDone, ""},
		"what becomes ready stays":             {[]string{"--control", other, "--at", "+11h"}, "", exitDone, ""},
		"a socket that does not answer":        {[]string{"--control", "nowhere/s", "--at", "+11h"}, "", exitUnreachable, "control nowhere/s"},
		"that of the environment is a warning": {[]string{"--at", "+11h"}, "nowhere/s", exitDone, "warning: TLSACTL_CONTROL"},
		"for Nagios it is unknown": {[]string{"-o", "nagios", "--control", "nowhere/s", "--at", "+11h"}, "", nagiosUnknown,
			"DANE UNKNOWN - control nowhere/s"},
	} {
		t.Run(claim, func(t *testing.T) {
			var out bytes.Buffer
			a := newTestApp(nil, &out, &out, network{})
			a.getenv = func(name string) string { return map[string]string{controlEnv: row.env}[name] }
			code := a.run(t.Context(), append([]string{"check", "--resolver", resolver, "mail.example.org:" + port}, row.flags...))
			if code != row.code || !strings.Contains(out.String(), row.says) {
				t.Errorf("exit %d, want %d and %q\n%s", code, row.code, row.says, out.String())
			}
		})
	}
}

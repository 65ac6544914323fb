package main

import (
	"path/filepath"
	"strings"
	"testing"

	"github.com/coredns-tlsa/coredns-tlsa/plugin/tlsa/control"
)

// lined are the files each of whose messages a command line must bring about.
var lined = []string{
	"act.go", "app.go", "check.go", "check_print.go", "control.go", "doctor.go", "hook.go", "hook_job.go", "hook_work.go", "man.go", "status.go",
	"status_print.go",
}

// rareMessages are those in these files that no command line brings about, with the reason.
var rareMessages = map[string]string{
	"%w; whether it was done, `%s` tells":                                      "the connection breaks between request and answer",
	"control %s: %w: only the user and the group of the DNS server may use it": "root may use every socket",
	"print the report: %w":                                                     "standard output is full or closed",
	"check of %s without an outcome %q":                                        "a fault of the program",
	"--state: %w: name a directory that can be made":                           "tests run as root, which can make them all",
	"--certs: %w": "checkPlaces has found the directory; it went away since",
}

// mistakenServers are two control sockets: one of a server that answers, and "mute", one that acts without a word.
func mistakenServers(t *testing.T) (dir string) {
	t.Helper()
	dir = socketDir(t)
	b := blockOf(mailOwner, control.Association{State: "active"}, control.Association{State: "ready"})
	b.status.Owners[0].Associations[1].Data = strings.Repeat("ab", 31) + "cd"
	serveControl(t, filepath.Join(dir, "s"), b)
	mute := blockOf(mailOwner, control.Association{State: "active"})
	mute.mute = true
	serveControl(t, filepath.Join(dir, "mute"), mute)
	refuses := blockOf(mailOwner, control.Association{State: "active"})
	refuses.refuse = &control.Error{Code: control.CodeRefused, Text: "/certs/mail.pem holds this key: install another one first"}
	serveControl(t, filepath.Join(dir, "refuses"), refuses)
	return dir
}

// newerMistakes are those of the verbs that speak to the server, judge, and describe.
var newerMistakes = []string{
	`tlsactl status`,
	`tlsactl status --control SOCKETS/none`,
	`tlsactl status --control SOCKETS/s a.example.org b.example.org`,
	`tlsactl status --control SOCKETS/s _25._quic.mail.example.org`,
	`tlsactl status --control SOCKETS/s _26._tcp.mail.example.org`,
	`tlsactl status --control SOCKETS/s -o json _26._tcp.mail.example.org`,
	`tlsactl status --control SOCKETS/s -o yaml`,
	`tlsactl revoke`,
	`tlsactl revoke --yes _25._tcp.mail.example.org abab`,
	`tlsactl revoke --control SOCKETS/s _25._tcp.mail.example.org abab`,
	`tlsactl revoke --yes --control SOCKETS/s _25._quic.mail.example.org abab`,
	`tlsactl revoke --yes --control SOCKETS/s _25._tcp.mail.example.org xyz`,
	`tlsactl revoke --yes --control SOCKETS/s _25._tcp.mail.example.org 0123456789abcdef`,
	`tlsactl revoke --yes --control SOCKETS/s _25._tcp.mail.example.org abababababababab`,
	`tlsactl revoke --yes --control SOCKETS/s --spki none`,
	`tlsactl revoke --yes --control SOCKETS/s --spki keys.pem`,
	`tlsactl revoke --yes --control SOCKETS/refuses --spki mail.pem`,
	`ANSWER=no tlsactl revoke --control SOCKETS/s --spki mail.pem`,
	`tlsactl withdraw a b`,
	`tlsactl withdraw --yes --control SOCKETS/none _25._tcp.mail.example.org`,
	`tlsactl withdraw --yes --control SOCKETS/mute _25._tcp.mail.example.org`,
	`ANSWER=no tlsactl withdraw --control SOCKETS/s --lineage mail`,
	`tlsactl restore`,
	`tlsactl restore --control SOCKETS/refuses _25._tcp.mail.example.org`,
	`tlsactl check`,
	`tlsactl check -o yaml mail.example.org`,
	`tlsactl check --timeout 0s mail.example.org`,
	`tlsactl check --resolver ns1.example.org mail.example.org`,
	`tlsactl check --at soon mail.example.org`,
	`tlsactl check --roots none.pem mail.example.org`,
	`tlsactl check --roots text.pem mail.example.org`,
	`tlsactl check mail..example.org`,
	`tlsactl check mail.example.org:0`,
	`tlsactl check --starttls snmp mail.example.org:25`,
	`tlsactl check --resolver 127.0.0.1:1 mail.example.org:25`,
	`tlsactl doctor -o yaml`,
	`tlsactl doctor --at soon`,
	`tlsactl doctor --user nobody-here`,
	`tlsactl doctor none`,
	`tlsactl doctor --corefile none`,
	`tlsactl doctor --corefile Corefile`,
	`SOURCE_DATE_EPOCH=soon tlsactl man DIR`,
	`tlsactl man`,
	`tlsactl man DIR/none`,
	`tlsactl completion tcsh`,
	`tlsactl hook certbot --next DIR/next --install DIR/etc --dryrun`,
	`RENEWED_LINEAGE=DIR/staged tlsactl hook certbot --next DIR/next --certs DIR/next --install DIR/etc`,
}

//go:build referee

package main

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"
)

// Exim is a second sender, where eximEnv names the directory in which its Debian package was unpacked: it cannot be installed
// beside Postfix. Its user is known in the namespace only.
const (
	eximEnv  = "MAIL_EXIM"
	eximID   = 64999
	eximPace = time.Second
)

const eximConf = `primary_hostname = exim.example.net
spool_directory = DIR/exim/spool
log_file_path = DIR/exim/%slog
exim_path = ROOT/usr/sbin/exim4
keep_environment =
dns_dnssec_ok = 1
domainlist local_domains =
begin routers
all:
  driver = dnslookup
  transport = dane
  dnssec_request_domains = *
  self = send
begin transports
dane:
  driver = smtp
  hosts_try_dane = *
  hosts_require_dane = *
  dnssec_request_domains = *
begin retry
* * F,1h,1m
`

// eximUser writes the files that make its user known.
func eximUser(t *testing.T, dir string) {
	t.Helper()
	for file, line := range map[string]string{
		"passwd": fmt.Sprintf("Debian-exim:x:%d:%[1]d::/:/bin/false\n", eximID),
		"group":  fmt.Sprintf("Debian-exim:x:%d:\n", eximID),
	} {
		write(t, filepath.Join(dir, file), read(t, filepath.Join("/etc", file))+line)
	}
}

// startExim sends as startPost does; it gives nil where there is no Exim.
func startExim(t *testing.T, dir string) *post {
	t.Helper()
	root := os.Getenv(eximEnv)
	if root == "" {
		return nil
	}
	base := filepath.Join(dir, "exim")
	write(t, filepath.Join(base, "conf"), strings.NewReplacer("DIR", dir, "ROOT", root).Replace(eximConf))
	if err := os.Chown(base, eximID, eximID); err != nil {
		t.Fatal(err)
	}
	return startSending(eximPace, func(n int) error {
		cmd := exec.Command(filepath.Join(root, "usr", "sbin", "exim4"), "-C", filepath.Join(base, "conf"), "-odf",
			"-f", "a@exim.example.net", fmt.Sprintf("x%d@example.org", n))
		cmd.Stdin = strings.NewReader("Subject: test\n\ntext\n")
		out, err := cmd.CombinedOutput()
		if err != nil {
			return fmt.Errorf("%w: %s", err, out)
		}
		return nil
	})
}

var eximLine = regexp.MustCompile(`(=>|==|\*\*) x(\d+)@example\.org .*`)

// readEximLog finds the first that was said of each message.
func readEximLog(text string) *mailLog {
	l := newMailLog()
	for line := range strings.Lines(text) {
		m := eximLine.FindStringSubmatch(line)
		switch {
		case m == nil:
			continue
		case m[1] != "=>":
			l.deferred[m[2]] = true
		case strings.Contains(line, " CV=dane "):
			l.verified[m[2]] = true
			continue
		default:
			l.unverified[m[2]] = true
		}
		l.faults = append(l.faults, strings.TrimSpace(line))
	}
	return l
}

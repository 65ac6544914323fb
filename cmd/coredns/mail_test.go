//go:build referee

package main

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// Mail keeps flowing from a Postfix that demands DANE to one whose certificate certbot renews with new keys. Everything runs
// in a network namespace: pebble, certbot with tlsactl as its hook, two CoreDNS, Unbound, and the two Postfix.

// mailEnv names the environment variable with the directory of a test that runs inside the namespace.
const mailEnv = "MAIL_DIR"

// mailTTL is that of the records; hold is twice as long, and a message goes every mailPace.
const (
	mailTTL  = 5 * time.Second
	mailPace = 200 * time.Millisecond
)

// Postfix wants addresses that the interface has.
const mailNamespace = `ip link set lo up && ip addr add 127.0.0.5/8 dev lo && ip addr add 127.0.0.7/8 dev lo &&
for file in resolv.conf passwd group; do mount --bind "$MAIL_DIR/$file" /etc/$file || exit; done && exec "$0" "$@"`

// inside runs the calling test again in a namespace of its own. It gives the directory where that test has to do its work, and
// "" to the test outside, whose work is done then.
func inside(t *testing.T) string {
	t.Helper()
	t.Parallel()
	if dir := os.Getenv(mailEnv); dir != "" {
		binary := filepath.Join(dir, "bin", "coredns")
		build = func() (string, error) { return binary, nil }
		return dir
	}
	// Postfix's processes are not root, so every directory above theirs has to be open.
	dir := t.TempDir()
	if err := errors.Join(os.Chmod(dir, 0o755), os.Chmod(filepath.Dir(dir), 0o755)); err != nil {
		t.Fatal(err)
	}
	coredns, err := build()
	if err != nil {
		t.Fatal(err)
	}
	bin := filepath.Join(dir, "bin")
	copyFile(t, coredns, filepath.Join(bin, "coredns"))
	execute(t, ".", nil, "go", "build", "-o", filepath.Join(bin, "tlsactl"), "../tlsactl")
	buildPebble(t, bin)
	execute(t, bin, nil, "chmod", "755", "coredns")
	eximUser(t, dir)
	write(t, filepath.Join(dir, "resolv.conf"), "nameserver 127.0.0.1\noptions edns0 trust-ad\n")
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command("unshare", "-n", "-m", "-p", "-f", "--kill-child", "--mount-proc", "sh", "-c", mailNamespace,
		self, "-test.run=^"+t.Name()+"$", "-test.v", "-test.timeout=12h")
	cmd.Env = append(os.Environ(), mailEnv+"="+dir)
	out, err := cmd.CombinedOutput()
	t.Logf("inside:\n%s", out)
	if err != nil {
		t.Error(err)
	}
	return ""
}

// A mailSite is all of it, up to the first certificate.
type mailSite struct {
	t       *testing.T
	dir     string
	certbot *site
	dns     []*server
	post    *post
	exim    *post // nil: none
}

const mailZone = `$ORIGIN example.org.
$TTL 60
@    IN SOA ns hostmaster 1 7200 3600 1209600 60
     IN NS  ns
     IN NS  ns2
     IN MX  10 mail
ns   IN A   127.0.0.3
ns2  IN A   127.0.0.4
mail IN A   127.0.0.5
`

// newMailSite starts everything; hook is the deploy hook, a shell script in which DIR stands for the directory.
func newMailSite(t *testing.T, dir, hook string) *mailSite {
	t.Helper()
	m := &mailSite{t: t, dir: dir}
	for _, d := range []string{"installed", "dane/certs", "dane/next", "certbot"} {
		if err := os.MkdirAll(filepath.Join(dir, d), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	for i, addr := range []string{"127.0.0.3", "127.0.0.4"} {
		m.dns = append(m.dns, m.coredns(filepath.Join(dir, "dns"+strconv.Itoa(i)), addr))
	}
	resolver := filepath.Join(dir, "unbound")
	write(t, filepath.Join(resolver, "anchor"), anchor(t)+"\n")
	write(t, filepath.Join(resolver, "conf"), unboundConf(resolver, "53", "127.0.0.3")+"    stub-addr: 127.0.0.4\n")
	daemon(t, "unbound", "-d", "-c", filepath.Join(resolver, "conf"))
	warm(t, "127.0.0.1:53")

	const note = "#!/bin/sh\nset -e\necho $$ >DIR/hook.pid.new\nmv DIR/hook.pid.new DIR/hook.pid\n"
	write(t, filepath.Join(dir, "hook"), strings.ReplaceAll(note+strings.TrimPrefix(hook, "#!/bin/sh\n"), "DIR", dir))
	execute(t, dir, nil, "chmod", "755", "hook")
	m.certbot = &site{t: t, ca: startPebble(t, filepath.Join(dir, "bin", "pebble")), dir: filepath.Join(dir, "certbot"), work: t.TempDir()}
	m.certbot.certbot("certonly", "--cert-name", "mail", "-d", "mail.example.org", "--deploy-hook", filepath.Join(dir, "hook"))
	m.settle(func() { m.resume(0) })
	postfix(t, dir, "receiver", postfixReceiver)
	postfix(t, dir, "sender", postfixSender)
	t.Cleanup(func() {
		if t.Failed() {
			t.Logf("the receiver said at last:\n%s", tail(read(t, filepath.Join(dir, "receiver", "log"))))
		}
	})
	m.post = startPost(mailPace)
	m.exim = startExim(t, dir)
	return m
}

func (m *mailSite) coredns(dir, addr string) *server {
	m.t.Helper()
	for _, ext := range []string{".key", ".private"} {
		copyFile(m.t, "../../testdata/demo/"+demoKey+ext, filepath.Join(dir, demoKey+ext))
	}
	write(m.t, filepath.Join(dir, "db.example.org"), mailZone)
	s := &server{t: m.t, dir: dir, conf: filepath.Join(dir, "Corefile"), port: "53", log: &journal{}}
	write(m.t, s.conf, fmt.Sprintf(`example.org:53 {
    bind %s
    errors
    dnssec {
        key file %s
    }
    tlsa {
        certs %[3]s/dane/certs
        next %[3]s/dane/next
        name _25._tcp.mail
        ttl %[4]s
        hold %[5]s
        grace %[5]s
        ledger ledger
    }
    file db.example.org
}
`, addr, demoKey, m.dir, mailTTL, 2*mailTTL))
	s.start()
	m.t.Cleanup(func() {
		s.kill()
		if m.t.Failed() {
			m.t.Logf("the server at %s said:\n%s", addr, s.log)
		}
	})
	return s
}

// tail is the end of a log.
func tail(text string) string {
	lines := strings.SplitAfter(text, "\n")
	return strings.Join(lines[max(0, len(lines)-30):], "")
}

// resume is what cron runs; it is killed after a time, if that is not 0 and it still runs.
func (m *mailSite) resume(after time.Duration) (killed bool) {
	m.t.Helper()
	cmd := exec.Command(filepath.Join(m.dir, "bin", "tlsactl"), "hook", "certbot", "--next", filepath.Join(m.dir, "dane", "next"), "--resume")
	if err := cmd.Start(); err != nil {
		m.t.Fatal(err)
	}
	if after > 0 {
		<-time.After(after)
		_ = cmd.Process.Kill()
	}
	_ = cmd.Wait()
	return !cmd.ProcessState.Exited()
}

// settle lets something happen every second until certbot's certificate is installed, for at most ten times the hold.
func (m *mailSite) settle(each func()) {
	m.t.Helper()
	want := read(m.t, filepath.Join(m.certbot.dir, "live", "mail", "privkey.pem"))
	for range 10 * int(2*mailTTL/time.Second) {
		if data, err := os.ReadFile(filepath.Join(m.dir, "installed", "mail.pem")); err == nil && strings.HasPrefix(string(data), want) {
			if _, err := os.Stat(filepath.Join(m.dir, "dane", "next", "mail.pem")); err != nil {
				return
			}
		}
		each()
		<-time.After(time.Second)
	}
	m.t.Fatal("the renewal was not installed")
}

func (m *mailSite) renew() {
	m.t.Helper()
	m.certbot.certbot("renew", "--force-renewal", "--no-random-sleep-on-renew")
}

// gatedHook is the README's, at this test's places.
func gatedHook(t *testing.T) string {
	t.Helper()
	hook := regexp.MustCompile("(?s)```sh\n(#!/bin/sh\n# certbot's deploy hook.*?)```").FindStringSubmatch(read(t, "../../README.md"))
	if hook == nil {
		t.Fatal("the README has no deploy hook")
	}
	text := hook[1]
	for was, is := range map[string]string{
		"/var/lib/dane/":         "DIR/dane/",
		"/etc/postfix/tls":       "DIR/installed",
		"/postfix reload":        "/postfix -c DIR/receiver reload",
		"/usr/local/bin/tlsactl": "DIR/bin/tlsactl",
		" hook certbot ":         fmt.Sprintf(" hook certbot --server 127.0.0.3 --server 127.0.0.4 --hold %s ", 2*mailTTL),
	} {
		if !strings.Contains(text, was) {
			t.Fatalf("the README's deploy hook has no %s", was)
		}
		text = strings.ReplaceAll(text, was, is)
	}
	return text
}

// hastyHook installs at once, as most deploy hooks do.
const hastyHook = `install() {
	cp $1 $2/.mail.pem
	mv $2/.mail.pem $2/mail.pem
}
cat "$RENEWED_LINEAGE/privkey.pem" "$RENEWED_LINEAGE/fullchain.pem" >DIR/both.pem
install DIR/both.pem DIR/installed
install "$RENEWED_LINEAGE/fullchain.pem" DIR/dane/certs
! test -e DIR/receiver/queue || postfix -c DIR/receiver reload
`

func mailRenewals() int {
	if n, err := strconv.Atoi(os.Getenv("MAIL_RENEWALS")); err == nil {
		return n
	}
	return 5
}

func TestRenewalsLoseNoMail(t *testing.T) {
	dir := inside(t)
	if dir == "" {
		return
	}
	m := newMailSite(t, dir, gatedHook(t))
	for range mailRenewals() {
		m.renew()
		m.settle(func() { m.resume(0) })
	}
	m.judge(mailRenewals(), "")
}

// judge ends the run: every message went over a verified connection, and arrived.
func (m *mailSite) judge(renewals int, more string) {
	m.t.Helper()
	// What was replaced last has to leave the caches, and the server to let go of it.
	<-time.After(3 * mailTTL)
	sent := m.all(m.post, fmt.Sprintf("%d renewals%s", renewals, more), filepath.Join("sender", "log"), readMailLog)
	if m.exim != nil {
		sent += m.all(m.exim, "Exim", filepath.Join("exim", "mainlog"), readEximLog)
	}
	if arrived := strings.Count(read(m.t, filepath.Join(m.dir, "receiver", "log")), "status=sent (example.org)"); arrived < sent {
		m.t.Errorf("%d messages arrived of %d", arrived, sent)
	}
}

// all ends a sender, and wants each of its messages verified; it gives their number.
func (m *mailSite) all(p *post, who, log string, reader func(string) *mailLog) int {
	m.t.Helper()
	l := p.end(m.t, filepath.Join(m.dir, log), reader)
	m.t.Logf("%s: %d messages, %d verified, %d unverified, %d deferred", who, p.sent, len(l.verified), len(l.unverified), len(l.deferred))
	if len(l.verified) != p.sent || len(l.faults) > 0 {
		m.t.Errorf("not every message was verified:\n%s", strings.Join(l.faults, "\n"))
	}
	return p.sent
}

// Without the gate mail is deferred: otherwise the tests beside this one would prove nothing.
func TestRenewalsWithoutTheGateDeferMail(t *testing.T) {
	dir := inside(t)
	if dir == "" {
		return
	}
	m := newMailSite(t, dir, hastyHook)
	for range 3 {
		m.renew()
		<-time.After(2 * mailTTL)
	}
	l := m.post.end(t, filepath.Join(dir, "sender", "log"), readMailLog)
	t.Logf("3 renewals: %d messages, %d verified, %d unverified, %d deferred", m.post.sent, len(l.verified), len(l.unverified), len(l.deferred))
	if len(l.deferred) == 0 {
		t.Error("no message was deferred")
	}
}

// One of two CoreDNS, the hook of certbot, and the runs from cron are killed at random moments.
func TestRenewalsLoseNoMailWhileEverythingIsKilled(t *testing.T) {
	dir := inside(t)
	if dir == "" {
		return
	}
	m := newMailSite(t, dir, gatedHook(t))
	stop := make(chan struct{})
	var all sync.WaitGroup
	var servers, hooks, resumes int
	all.Go(func() { servers = m.killServers(stop) })
	all.Go(func() { hooks = m.killHooks(stop) })
	for range mailRenewals() {
		m.renew()
		m.settle(func() {
			after := time.Duration(0)
			if rand.IntN(2) == 0 {
				after = time.Duration(1+rand.IntN(80)) * time.Millisecond
			}
			if m.resume(after) {
				resumes++
			}
		})
	}
	close(stop)
	all.Wait()
	m.judge(mailRenewals(), fmt.Sprintf(", %d kills of CoreDNS, %d of the hook, %d of its later runs", servers, hooks, resumes))
	if servers == 0 || resumes == 0 {
		t.Error("nothing was killed")
	}
}

// killServers kills one CoreDNS every few seconds, and starts it at once.
func (m *mailSite) killServers(stop chan struct{}) (n int) {
	for ; ; n++ {
		select {
		case <-stop:
			return n
		case <-time.After(time.Duration(2000+rand.IntN(4000)) * time.Millisecond):
		}
		s := m.dns[rand.IntN(len(m.dns))]
		s.kill()
		s.start()
	}
}

// killHooks kills every other run of certbot's hook, up to 60 ms after it began.
func (m *mailSite) killHooks(stop chan struct{}) (n int) {
	file := filepath.Join(m.dir, "hook.pid")
	_ = os.Remove(file)
	for {
		select {
		case <-stop:
			return n
		case <-time.After(time.Millisecond):
		}
		text, err := os.ReadFile(file)
		if err != nil {
			continue
		}
		_ = os.Remove(file)
		pid, err := strconv.Atoi(strings.TrimSpace(string(text)))
		if err != nil || rand.IntN(2) == 0 {
			continue
		}
		<-time.After(time.Duration(rand.IntN(60)) * time.Millisecond)
		if syscall.Kill(pid, syscall.SIGKILL) == nil {
			n++
		}
	}
}

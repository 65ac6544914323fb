//go:build referee

package main

import (
	"fmt"
	"net/smtp"
	"os"
	"os/user"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"
)

// The two mail servers of this file are Postfix, each with its own configuration, queue and log. They run inside a network
// namespace, which ends them.

// postfixMain is main.cf of both: DIR stands for their directory, NAME for the instance.
const postfixMain = `compatibility_level = 3.6
queue_directory = DIR/NAME/queue
data_directory = DIR/NAME/data
maillog_file = DIR/NAME/log
maillog_file_prefixes = DIR
inet_protocols = ipv4
mydestination =
alias_maps =
local_recipient_maps =
mynetworks = 127.0.0.0/8
`

// A server that never reloads would go on with the key that it has read: max_use keeps its processes for long.
const postfixReceiver = `inet_interfaces = 127.0.0.5
myhostname = mail.example.org
relay_domains = example.org
transport_maps = inline:{ { example.org = discard: } }
smtpd_tls_security_level = may
smtpd_tls_chain_files = DIR/installed/mail.pem
smtpd_tls_loglevel = 1
max_use = 100000
max_idle = 1000s
`

const postfixSender = `inet_interfaces = 127.0.0.7
myhostname = sender.example.net
smtp_tls_security_level = dane
smtp_dns_support_level = dnssec
smtp_host_lookup = dns
smtp_tls_loglevel = 1
`

const postfixMaster = `smtp inet n - n - - smtpd
cleanup unix n - n - 0 cleanup
qmgr unix n - n 300 1 qmgr
tlsmgr unix - - n 1000? 1 tlsmgr
rewrite unix - - n - - trivial-rewrite
bounce unix - - n - 0 bounce
defer unix - - n - 0 bounce
trace unix - - n - 0 bounce
flush unix n - n 1000? 0 flush
proxymap unix - - n - - proxymap
smtp unix - - n - - smtp
relay unix - - n - - smtp
error unix - - n - - error
retry unix - - n - - error
discard unix - - n - - discard
anvil unix - - n - 1 anvil
scache unix - - n - 1 scache
postlog unix-dgram n - n - 1 postlogd
`

// postfix starts one instance with its part of main.cf.
func postfix(t *testing.T, dir, name, part string) {
	t.Helper()
	base := filepath.Join(dir, name)
	replace := strings.NewReplacer("DIR", dir, "NAME", name)
	write(t, filepath.Join(base, "main.cf"), replace.Replace(postfixMain+part))
	write(t, filepath.Join(base, "master.cf"), postfixMaster)
	owner, err := user.Lookup("postfix")
	if err != nil {
		t.Fatalf("the package postfix is missing: %v", err)
	}
	uid, _ := strconv.Atoi(owner.Uid)
	gid, _ := strconv.Atoi(owner.Gid)
	for _, d := range []string{"queue", "data"} {
		if err := os.MkdirAll(filepath.Join(base, d), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Chown(filepath.Join(base, "data"), uid, gid); err != nil {
		t.Fatal(err)
	}
	execute(t, dir, nil, "postfix", "-c", base, "start")
	addr := map[string]string{"receiver": "127.0.0.5:25", "sender": "127.0.0.7:25"}[name]
	poll(t, name, func() (bool, string) {
		c, err := smtp.Dial(addr)
		if err == nil {
			c.Close()
		}
		return err == nil, fmt.Sprint(err)
	})
}

// A post sends numbered messages at a fixed pace until it is stopped.
type post struct {
	stop, done chan struct{}
	sent       int // read after done
	failed     []string
}

// startPost sends by the Postfix that demands DANE.
func startPost(pace time.Duration) *post {
	return startSending(pace, func(n int) error {
		to := fmt.Sprintf("%d@example.org", n)
		return smtp.SendMail("127.0.0.7:25", nil, "a@sender.example.net", []string{to}, []byte("Subject: "+to+"\r\n\r\n"))
	})
}

func startSending(pace time.Duration, send func(n int) error) *post {
	p := &post{stop: make(chan struct{}), done: make(chan struct{})}
	go func() {
		defer close(p.done)
		tick := time.NewTicker(pace)
		defer tick.Stop()
		for {
			if err := send(p.sent); err != nil {
				p.failed = append(p.failed, err.Error())
			} else {
				p.sent++
			}
			select {
			case <-p.stop:
				return
			case <-tick.C:
			}
		}
	}()
	return p
}

// A mailLog is what the sender's log says of the messages, by their number.
type mailLog struct {
	verified, unverified, deferred map[string]bool
	faults                         []string // lines of the log about what is not verified
}

func newMailLog() *mailLog {
	return &mailLog{make(map[string]bool), make(map[string]bool), make(map[string]bool), nil}
}

var (
	tlsLine    = regexp.MustCompile(`postfix/smtp\[(\d+)\]: (\w+) TLS connection established to `)
	statusLine = regexp.MustCompile(`postfix/\w+\[(\d+)\]: \w+: to=<(\d+)@example\.org>.* status=(\w+) `)
)

func readMailLog(text string) *mailLog {
	l := newMailLog()
	verdicts := make(map[string]string) // of the connection that a process has
	for line := range strings.Lines(text) {
		if m := tlsLine.FindStringSubmatch(line); m != nil {
			verdicts[m[1]] = m[2]
		}
		m := statusLine.FindStringSubmatch(line)
		if m == nil {
			continue
		}
		switch {
		case m[3] != "sent":
			l.deferred[m[2]] = true
			l.faults = append(l.faults, strings.TrimSpace(line))
		case verdicts[m[1]] == "Verified":
			l.verified[m[2]] = true
		default:
			l.unverified[m[2]] = true
			l.faults = append(l.faults, strings.TrimSpace(line))
		}
		delete(verdicts, m[1])
	}
	return l
}

// end stops the sending, waits until every message was tried, and gives what the log says of them.
func (p *post) end(t *testing.T, log string, reader func(text string) *mailLog) *mailLog {
	t.Helper()
	close(p.stop)
	<-p.done
	if len(p.failed) > 0 {
		t.Errorf("the sender itself did not take %d messages: %s", len(p.failed), p.failed[0])
	}
	var l *mailLog
	poll(t, "the last message", func() (bool, string) {
		l = reader(read(t, log))
		n := 0
		for i := range p.sent {
			if id := strconv.Itoa(i); l.verified[id] || l.unverified[id] || l.deferred[id] {
				n++
			}
		}
		return n == p.sent, fmt.Sprintf("%d of %d", n, p.sent)
	})
	return l
}

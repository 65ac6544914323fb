//go:build referee

package main

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/miekg/dns"

	"github.com/coredns-tlsa/coredns-tlsa/plugin/tlsa/control"
)

// A rig is a server to be killed, starved and flooded. Its address is its own, and its port is none that the system gives to
// clients, so that nothing takes it while the server is down.
type rig struct {
	*server
	addr string
	uid  int // of the files
}

const rigPort = "1053"

// rigFile is a Corefile in which ADDR, GRACE and MORE are to be filled in.
const rigFile = `example.org:` + rigPort + ` {
    bind ADDR
    errors
    dnssec {
        key file ` + demoKey + `
    }
    prometheus ADDR:9153
    tlsa {
        certs live
        next next
        name _25._tcp.mail _465._tcp.mail _443._tcp.web
        ttl 1s
        hold 2s
        grace GRACE
        rescan 1s
        ledger state/ledger
        control control
    }
    file db.example.org
    MORE
}
`

// newRig has directories live, next and state, and a certificate for each of its owners' hosts to be put there by the test.
func newRig(t *testing.T, grace time.Duration, more string) *rig {
	t.Helper()
	dir, err := os.MkdirTemp("", "rig") // a short name, for the socket
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	for _, ext := range []string{".key", ".private"} {
		copyFile(t, "../../testdata/demo/"+demoKey+ext, filepath.Join(dir, demoKey+ext))
	}
	write(t, filepath.Join(dir, "db.example.org"), zoneFile+"web IN A 127.0.0.1\n")
	for _, d := range []string{"live", "next", "state"} {
		if err := os.MkdirAll(filepath.Join(dir, d), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	addr := fmt.Sprintf("127.%d.%d.%d", 1+rand.IntN(250), 1+rand.IntN(250), 1+rand.IntN(250))
	s := &server{t: t, dir: dir, conf: filepath.Join(dir, "Corefile"), port: rigPort, log: &journal{}}
	write(t, s.conf, strings.NewReplacer("ADDR", addr, "GRACE", grace.String(), "MORE", more).Replace(rigFile))
	t.Cleanup(func() {
		s.kill()
		if t.Failed() {
			t.Logf("the server said:\n%s", s.log)
		}
	})
	return &rig{server: s, addr: net.JoinHostPort(addr, rigPort)}
}

// A reply is an answer that is as it must be: NOERROR, authoritative, signed, and with records.
type reply struct {
	digests []string
	ttl     time.Duration
}

// ask gives the answer of an owner. Silence is an error; a false answer is a fault.
func (r *rig) ask(owner string, patience time.Duration) (a reply, fault, silence error) {
	m := new(dns.Msg)
	m.SetQuestion(owner, dns.TypeTLSA)
	m.SetEdns0(4096, true)
	c := dns.Client{Timeout: patience}
	msg, _, err := c.Exchange(m, r.addr)
	if err != nil {
		return a, nil, err
	}
	signed := false
	for _, rr := range msg.Answer {
		switch rr := rr.(type) {
		case *dns.TLSA:
			a.digests = append(a.digests, rr.Certificate)
			a.ttl = time.Duration(rr.Hdr.Ttl) * time.Second
		case *dns.RRSIG:
			signed = true
		}
	}
	if msg.Rcode != dns.RcodeSuccess || !msg.Authoritative || !signed || len(a.digests) == 0 || a.ttl > ttl {
		return a, fmt.Errorf("a false answer: %v", msg), nil
	}
	slices.Sort(a.digests)
	return a, nil, nil
}

// first gives the first answer to an owner after a start.
func (r *rig) first(owner string) (a reply, fault error) {
	r.t.Helper()
	deadline := time.Now().Add(patient)
	for {
		a, fault, silence := r.ask(owner, time.Second)
		if silence == nil {
			return a, fault
		}
		if time.Now().After(deadline) {
			r.t.Fatalf("no answer in %s: %v", patient, silence)
		}
		<-time.After(time.Millisecond)
	}
}

// status is the document of the control socket; nil while it does not answer.
func (r *rig) status() *control.Status {
	c, err := control.Dial(filepath.Join(r.dir, "control"))
	if err != nil {
		return nil
	}
	s, err := c.Status(r.t.Context(), "")
	if err != nil || len(s.Blocks) != 1 {
		return nil
	}
	return s
}

// place puts a certificate into a root as most clients do, by rename.
func (r *rig) place(root, lineage string, c cert) {
	r.t.Helper()
	file := filepath.Join(r.dir, root, lineage, "fullchain.pem")
	write(r.t, file+".tmp", c.pem)
	if err := errors.Join(os.Chown(filepath.Dir(file), r.uid, r.uid), os.Chown(file+".tmp", r.uid, r.uid)); err != nil {
		r.t.Fatal(err)
	}
	if err := os.Rename(file+".tmp", file); err != nil {
		r.t.Fatal(err)
	}
}

// preset is a number from the environment, or n.
func preset(t *testing.T, variable string, n int) int {
	t.Helper()
	text := os.Getenv(variable)
	if text == "" {
		return n
	}
	n, err := strconv.Atoi(text)
	if err != nil {
		t.Fatalf("%s: %v", variable, err)
	}
	return n
}

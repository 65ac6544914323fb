package main

import (
	"bytes"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/miekg/dns"
)

// The server is built once and run as an operator runs it. Waits are up to ten times what they measure.
const (
	ttl     = time.Second
	grace   = 4 * time.Second
	quiet   = 500 * time.Millisecond
	patient = 30 * time.Second
)

var build = sync.OnceValues(func() (string, error) {
	dir, err := os.MkdirTemp("", "coredns-tlsa-test")
	if err != nil {
		return "", err
	}
	binary := filepath.Join(dir, "coredns")
	if out, err := exec.Command("go", "build", "-o", binary, ".").CombinedOutput(); err != nil {
		return "", fmt.Errorf("go build: %w\n%s", err, out)
	}
	return binary, nil
})

func TestMain(m *testing.M) {
	code := m.Run()
	if binary, err := build(); err == nil {
		os.RemoveAll(filepath.Dir(binary))
	}
	os.Exit(code)
}

// server is a running CoreDNS.
type server struct {
	t    *testing.T
	dir  string
	conf string
	port string
	cmd  *exec.Cmd
	log  *journal
}

// journal is what the server prints.
type journal struct {
	mu  sync.Mutex // guards buf
	buf bytes.Buffer
}

func (j *journal) Write(p []byte) (int, error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.buf.Write(p)
}

func (j *journal) String() string {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.buf.String()
}

// handedOut are the ports that freePort gave: that of a server which a test has killed for a moment is not free.
var handedOut sync.Map

// freePort gives a port of the loopback that nothing uses just now, over UDP and TCP. It is none of those that the system
// gives to clients: one of thousands of questions could come from it before the server starts.
func freePort(t *testing.T) string {
	t.Helper()
	for range 1000 {
		port := strconv.Itoa(10_000 + rand.IntN(20_000))
		if _, taken := handedOut.LoadOrStore(port, true); taken {
			continue
		}
		l, err := net.Listen("tcp", "127.0.0.1:"+port)
		if err != nil {
			continue
		}
		l.Close()
		u, err := net.ListenPacket("udp", "127.0.0.1:"+port)
		if err == nil {
			u.Close()
			return port
		}
	}
	t.Fatal("no free port")
	return ""
}

// newServer writes a Corefile into dir in which PORT stands for a free port. Nothing runs yet.
func newServer(t *testing.T, dir, corefile string) *server {
	t.Helper()
	s := &server{t: t, dir: dir, conf: filepath.Join(dir, "Corefile"), port: freePort(t), log: &journal{}}
	write(t, s.conf, strings.ReplaceAll(corefile, "PORT", s.port))
	t.Cleanup(func() {
		s.kill()
		if t.Failed() {
			t.Logf("the server said:\n%s", s.log)
		}
	})
	return s
}

func (s *server) start() {
	s.t.Helper()
	binary, err := build()
	if err != nil {
		s.t.Fatal(err)
	}
	s.cmd = exec.Command(binary, "-conf", s.conf)
	s.cmd.Dir = s.dir
	s.cmd.Stdout, s.cmd.Stderr = s.log, s.log
	if err := s.cmd.Start(); err != nil {
		s.t.Fatal(err)
	}
}

// kill is kill -9 by the process's own handle.
func (s *server) kill() {
	if s.cmd == nil {
		return
	}
	_ = s.cmd.Process.Kill()
	_ = s.cmd.Wait()
	s.cmd = nil
}

// ask gives the digests of one answer; an error while the server does not answer.
func (s *server) ask(owner string) ([]string, error) {
	m := new(dns.Msg)
	m.SetQuestion(owner, dns.TypeTLSA)
	m.SetEdns0(1232, true)
	c := dns.Client{Timeout: time.Second}
	r, _, err := c.Exchange(m, "127.0.0.1:"+s.port)
	if err != nil {
		return nil, err
	}
	if r.Rcode != dns.RcodeSuccess {
		return nil, fmt.Errorf("rcode %s", dns.RcodeToString[r.Rcode])
	}
	var digests []string
	signed := false
	for _, rr := range r.Answer {
		switch rr := rr.(type) {
		case *dns.TLSA:
			digests = append(digests, rr.Certificate)
		case *dns.RRSIG:
			signed = true
		}
	}
	if len(digests) > 0 && !signed {
		return nil, fmt.Errorf("%d records without a signature", len(digests))
	}
	slices.Sort(digests)
	return digests, nil
}

// first gives the first answer that the server gives at all.
func (s *server) first(owner string) []string {
	s.t.Helper()
	var digests []string
	poll(s.t, "the first answer", func() (bool, string) {
		d, err := s.ask(owner)
		if err == nil {
			digests = d
		}
		return err == nil, fmt.Sprint(err)
	})
	return digests
}

// poll asks done every few milliseconds until it says yes; it fails with what done said last.
func poll(t *testing.T, what string, done func() (bool, string)) {
	t.Helper()
	deadline := time.Now().Add(patient)
	for {
		ok, last := done()
		if ok {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("%s did not come in %s: %s", what, patient, last)
		}
		<-time.After(10 * time.Millisecond)
	}
}

func write(t *testing.T, path, text string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
}

func copyFile(t *testing.T, from, to string) {
	t.Helper()
	in, err := os.Open(from)
	if err != nil {
		t.Fatal(err)
	}
	defer in.Close()
	if err := os.MkdirAll(filepath.Dir(to), 0o755); err != nil {
		t.Fatal(err)
	}
	out, err := os.Create(to)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := io.Copy(out, in); err != nil {
		t.Fatal(err)
	}
	if err := out.Close(); err != nil {
		t.Fatal(err)
	}
}

func (s *server) signal(sig syscall.Signal) {
	s.t.Helper()
	if err := s.cmd.Process.Signal(sig); err != nil {
		s.t.Fatal(err)
	}
}

//go:build referee

package main

import (
	"context"
	"crypto/sha256"
	"crypto/x509"
	"encoding/hex"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"
)

// The clients of this file are the real ones, of Debian: certbot, dehydrated, lego and uacme. Pebble is their CA.

// An authority is a running pebble, and where clients find its TLS certificate.
type authority struct{ url, cert string }

// pebble builds and starts the CA. It takes every challenge as solved.
func pebble(t *testing.T) authority {
	t.Helper()
	return startPebble(t, buildPebble(t, t.TempDir()))
}

func buildPebble(t *testing.T, dir string) (binary string) {
	t.Helper()
	cmd := exec.Command("go", "install", "github.com/letsencrypt/pebble/v2/cmd/pebble@v2.10.1")
	cmd.Dir, cmd.Env = dir, append(os.Environ(), "GOBIN="+dir, "GOFLAGS=", "GOWORK=off")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("build pebble: %v\n%s", err, out)
	}
	return filepath.Join(dir, "pebble")
}

func startPebble(t *testing.T, binary string) authority {
	t.Helper()
	dir, port := t.TempDir(), freePort(t)
	cert, key := filepath.Join(dir, "cert.pem"), filepath.Join(dir, "key.pem")
	execute(t, dir, nil, "openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-keyout", key,
		"-out", cert, "-days", "2", "-subj", "/CN=localhost", "-addext", "subjectAltName=IP:127.0.0.1")
	config, err := json.Marshal(map[string]any{"pebble": map[string]any{
		"listenAddress": "127.0.0.1:" + port, "managementListenAddress": "", "certificate": cert, "privateKey": key,
		"httpPort": 1, "tlsPort": 1, "keyAlgorithm": "ecdsa", "retryAfter": map[string]int{"authz": 0, "order": 0},
		"profiles": map[string]any{"default": map[string]any{"description": "the only one", "validityPeriod": 7776000}},
	}})
	if err != nil {
		t.Fatal(err)
	}
	write(t, filepath.Join(dir, "config.json"), string(config))
	daemon(t, "env", "PEBBLE_VA_ALWAYS_VALID=1", "PEBBLE_VA_NOSLEEP=1", "PEBBLE_WFE_NONCEREJECT=0", "PEBBLE_AUTHZREUSE=100",
		binary, "-config", filepath.Join(dir, "config.json"))
	poll(t, "pebble", func() (bool, string) {
		conn, err := net.Dial("tcp", "127.0.0.1:"+port)
		if err == nil {
			conn.Close()
		}
		return err == nil, fmt.Sprint(err)
	})
	return authority{url: "https://127.0.0.1:" + port + "/dir", cert: cert}
}

// execute runs a program to its end and gives what it prints; any failure ends the test.
func execute(t *testing.T, dir string, env []string, name string, args ...string) string {
	t.Helper()
	out, err := attempt(t, dir, env, name, args...)
	if err != nil {
		t.Fatalf("%s %s: %v\n%s", name, strings.Join(args, " "), err, out)
	}
	return out
}

func attempt(t *testing.T, dir string, env []string, name string, args ...string) (string, error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 4*patient)
	defer cancel()
	cmd := exec.CommandContext(ctx, name, args...)
	cmd.Dir, cmd.Env = dir, append(os.Environ(), env...)
	out, err := cmd.CombinedOutput()
	return string(out), err
}

// A site is where one client keeps its files.
type site struct {
	t    *testing.T
	ca   authority
	dir  string // all that the client keeps, account keys too
	work string // whatever else it needs
}

func (s *site) execute(name string, args ...string) string {
	s.t.Helper()
	return execute(s.t, s.work, []string{"LEGO_CA_CERTIFICATES=" + s.ca.cert}, name, args...)
}

// hook is a program that does nothing, successfully.
func (s *site) hook() string {
	path := filepath.Join(s.work, "hook")
	write(s.t, path, "#!/bin/sh\nexit 0\n")
	if err := os.Chmod(path, 0o755); err != nil {
		s.t.Fatal(err)
	}
	return path
}

// An acmeClient keeps two lineages: mail, which gets a new key at each renewal, and another, of which changing tells.
type acmeClient struct {
	certs    string // what an operator watches, in the client's directory
	account  string // a pattern that finds its account key
	second   string
	changing bool
	leaf     string // the path of a lineage's leaf; NAME stands for its name
	rounds   int    // renewals where the environment does not say
	first    func(s *site)
	renew    func(s *site)
}

func acmeClients() map[string]acmeClient {
	return map[string]acmeClient{
		"certbot": {
			certs: "live", account: "accounts/*/*/*/private_key.json", second: "kept", leaf: "live/NAME/cert.pem", rounds: 8,
			first: func(s *site) {
				s.certbot("certonly", "--cert-name", "mail", "-d", "mail.example.org")
				s.certbot("certonly", "--cert-name", "kept", "-d", "kept.example.org", "--reuse-key")
			},
			renew: func(s *site) { s.certbot("renew", "--force-renewal", "--no-random-sleep-on-renew") },
		},
		"dehydrated": {
			certs: "certs", account: "accounts/*/account_key.pem", second: "roll", changing: true, leaf: "certs/NAME/cert.pem", rounds: 5,
			first: (*site).dehydratedFirst,
			renew: func(s *site) { s.execute("dehydrated", "-f", filepath.Join(s.dir, "config"), "-c", "-x") },
		},
		"lego": {
			certs: "certificates", account: "accounts/*/*/keys/*.key", second: "kept", leaf: "certificates/NAME.example.org.crt", rounds: 30,
			first: func(s *site) { s.lego("mail", "run"); s.lego("kept", "run") },
			renew: func(s *site) {
				s.lego("mail", "renew", "--days", "1000", "--no-random-sleep")
				s.lego("kept", "renew", "--days", "1000", "--no-random-sleep", "--reuse-key")
			},
		},
		"uacme": {
			certs: ".", account: "private/key.pem", second: "kept", leaf: "NAME.example.org/cert.pem", rounds: 20,
			first: (*site).uacmeFirst,
			renew: (*site).uacmeRenew,
		},
	}
}

func (s *site) certbot(verb string, args ...string) {
	s.t.Helper()
	s.execute("certbot", append([]string{verb, "-n", "--agree-tos", "--register-unsafely-without-email", "--no-verify-ssl",
		"--manual", "--preferred-challenges", "dns", "--manual-auth-hook", "/bin/true", "--manual-cleanup-hook", "/bin/true",
		"--server", s.ca.url, "--config-dir", s.dir, "--work-dir", s.work, "--logs-dir", s.work}, args...)...)
}

func (s *site) dehydratedFirst() {
	config := filepath.Join(s.dir, "config")
	write(s.t, config, fmt.Sprintf("CA=%q\nCURL_OPTS=-k\nBASEDIR=%q\nHOOK=%q\nCHALLENGETYPE=dns-01\n", s.ca.url, s.dir, s.hook()))
	write(s.t, filepath.Join(s.dir, "domains.txt"), "mail.example.org > mail\nroll.example.org > roll\n")
	write(s.t, filepath.Join(s.dir, "certs", "roll", "config"), "PRIVATE_KEY_ROLLOVER=yes\n")
	s.execute("dehydrated", "-f", config, "--register", "--accept-terms")
	s.execute("dehydrated", "-f", config, "-c", "-x")
	if _, err := os.Stat(filepath.Join(s.dir, "certs", "roll", "privkey.roll.pem")); err != nil {
		s.t.Error(err)
	}
}

func (s *site) lego(name string, verb ...string) {
	s.t.Helper()
	s.execute("lego", append([]string{"--path", s.dir, "-s", s.ca.url, "-a", "-m", "a@example.org", "-d", name + ".example.org",
		"--http", "--http.port", "127.0.0.1:" + freePort(s.t)}, verb...)...)
}

// uacmeTrust lets uacme trust pebble. Its library knows but one place for certificates, so that the test gives it a copy
// that looks below the working directory instead.
func (s *site) uacmeTrust() {
	s.t.Helper()
	for line := range strings.Lines(s.execute("ldd", "/usr/bin/uacme")) {
		f := strings.Fields(line)
		if len(f) < 3 || !strings.HasPrefix(f[0], "libcurl") {
			continue
		}
		const was, is = "\x00/etc/ssl/certs\x00", "\x00.///////////ca\x00"
		text := read(s.t, f[2])
		if strings.Count(text, was) != 1 {
			s.t.Fatalf("%s has another place for certificates", f[2])
		}
		write(s.t, filepath.Join(s.work, "lib", f[0]), strings.Replace(text, was, is, 1))
		copyFile(s.t, s.ca.cert, filepath.Join(s.work, "ca", "ca.pem"))
		return
	}
	s.t.Fatal("uacme without libcurl")
}

func (s *site) uacme(args ...string) (string, error) {
	s.t.Helper()
	return attempt(s.t, s.work, []string{"LD_LIBRARY_PATH=" + filepath.Join(s.work, "lib")}, "uacme",
		append([]string{"-f", "-y", "-a", s.ca.url, "-c", s.dir, "-h", filepath.Join(s.work, "hook"), "-t", "EC"}, args...)...)
}

// uacmeIssue orders a certificate. Version 1.7.4 gives up over a kind of challenge of pebble that it does not know; the
// authorization is valid then all the same, and the next order uses it.
func (s *site) uacmeIssue(name string) {
	s.t.Helper()
	poll(s.t, "a certificate", func() (bool, string) {
		out, err := s.uacme("issue", name+".example.org")
		return err == nil, out
	})
}

func (s *site) uacmeFirst() {
	s.uacmeTrust()
	s.hook()
	if out, err := s.uacme("new"); err != nil {
		s.t.Fatal(out)
	}
	s.uacmeIssue("mail")
	s.uacmeIssue("kept")
}

// uacmeRenew waits first: uacme names its backups by the second, and refuses the same name twice.
func (s *site) uacmeRenew() {
	<-time.After(time.Second)
	if err := os.Remove(filepath.Join(s.dir, "private", "mail.example.org", "key.pem")); err != nil {
		s.t.Fatal(err)
	}
	s.uacmeIssue("mail")
	s.uacmeIssue("kept")
}

// leafDigest is the digest of the key of the first certificate of a file.
func leafDigest(t *testing.T, path string) string {
	t.Helper()
	block, rest := pem.Decode([]byte(read(t, path)))
	for block != nil && block.Type != "CERTIFICATE" {
		block, rest = pem.Decode(rest)
	}
	if block == nil {
		t.Fatalf("%s: no certificate", path)
	}
	c, err := x509.ParseCertificate(block.Bytes)
	if err != nil {
		t.Fatal(err)
	}
	sum := sha256.Sum256(c.RawSubjectPublicKeyInfo)
	return hex.EncodeToString(sum[:])
}

// serve starts a server over certs that serves the lineages' owners, and samples it.
func serve(t *testing.T, certs string, grace time.Duration, lineages ...string) *samples {
	t.Helper()
	s := tree(t, "")
	var owners []string
	for _, l := range lineages {
		owners = append(owners, "_25._tcp."+l+".example.org.")
	}
	write(t, s.conf, strings.NewReplacer("certs live", "certs "+certs, "name _25._tcp.mail", "name "+strings.Join(owners, " "),
		"grace 4s", "grace "+grace.String()).Replace(read(t, s.conf)))
	s.start()
	s.first(owners[0])
	return sample(t, s, owners...)
}

// TestServedSetFollowsTheRealACMEClients: two servers watch each client's tree. One has what an operator watches, and a
// grace in which no key goes; the other has all that the client keeps, account keys too, and a short grace.
func TestServedSetFollowsTheRealACMEClients(t *testing.T) {
	t.Parallel()
	ca := pebble(t)
	for name, c := range acmeClients() {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c.follow(t, &site{t: t, ca: ca, dir: t.TempDir(), work: t.TempDir()})
		})
	}
}

func (c acmeClient) follow(t *testing.T, s *site) {
	rounds := c.rounds
	if n, err := strconv.Atoi(os.Getenv("ACME_RENEWALS")); err == nil {
		rounds = n
	}
	lineages := []string{"mail", c.second}
	installs := make(map[string][]install)
	c.install(s, installs, lineages, c.first)
	if found, err := filepath.Glob(filepath.Join(s.dir, c.account)); err != nil || len(found) == 0 {
		t.Errorf("no account key at %s: %v", c.account, err)
	}
	long := serve(t, filepath.Join(s.dir, c.certs), time.Hour, lineages...)
	short := serve(t, s.dir, grace, lineages...)
	start := time.Now()
	var slowest time.Duration
	for range rounds {
		done := c.install(s, installs, lineages, c.renew)
		for _, l := range lineages {
			want := slices.Sorted(slices.Values(distinct(installs[l])))
			long.settles(t, "the set of "+l, "_25._tcp."+l+".example.org.", func(got []string) bool { return slices.Equal(got, want) })
		}
		slowest = max(slowest, time.Since(done))
	}
	t.Logf("%d renewals of 2 lineages took %s; published at most %s after the client's end",
		rounds, time.Since(start).Round(time.Second), slowest.Round(time.Millisecond))
	for i, l := range lineages {
		owner := "_25._tcp." + l + ".example.org."
		last := installs[l][rounds].digest
		short.settles(t, "the end of grace of "+l, owner, func(got []string) bool { return slices.Equal(got, []string{last}) })
		if n, want := len(distinct(installs[l])), map[bool]int{true: rounds + 1, false: 1}[i == 0 || c.changing]; n != want {
			t.Errorf("%s had %d keys, want %d", l, n, want)
		}
	}
	long.end()
	short.end()
	for _, l := range lineages {
		long.faultless(t, "_25._tcp."+l+".example.org.", installs[l], time.Hour, true)
		short.faultless(t, "_25._tcp."+l+".example.org.", installs[l], grace, true)
	}
}

// install lets the client do something and notes what is then in place; it gives the time at which the client was done.
func (c acmeClient) install(s *site, installs map[string][]install, lineages []string, do func(*site)) time.Time {
	s.t.Helper()
	begun := time.Now()
	do(s)
	done := time.Now()
	for _, l := range lineages {
		digest := leafDigest(s.t, filepath.Join(s.dir, strings.ReplaceAll(c.leaf, "NAME", l)))
		installs[l] = append(installs[l], install{digest: digest, begun: begun, done: done})
	}
	return done
}

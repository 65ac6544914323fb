package main

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"encoding/hex"
	"encoding/pem"
	"fmt"
	"math/big"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/miekg/dns"
)

const owner = "_25._tcp.mail.example.org."

// cert is a certificate of mail.example.org and the digest of its key.
type cert struct{ pem, digest string }

func newCert(t *testing.T) cert {
	t.Helper()
	c, _ := newKeyedCert(t)
	return c
}

// newKeyedCert is newCert with the private key.
func newKeyedCert(t *testing.T) (cert, *ecdsa.PrivateKey) {
	t.Helper()
	return newCertOf(t, "mail.example.org")
}

func newCertOf(t *testing.T, host string) (cert, *ecdsa.PrivateKey) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	serial, err := rand.Int(rand.Reader, big.NewInt(1<<62))
	if err != nil {
		t.Fatal(err)
	}
	der, err := x509.CreateCertificate(rand.Reader, &x509.Certificate{
		SerialNumber: serial, DNSNames: []string{host},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
	}, &x509.Certificate{SerialNumber: big.NewInt(1)}, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	parsed, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	sum := sha256.Sum256(parsed.RawSubjectPublicKeyInfo)
	return cert{
		pem:    string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})),
		digest: hex.EncodeToString(sum[:]),
	}, key
}

// layout is a way in which a producer keeps and replaces a certificate.
type layout struct {
	create func(t *testing.T, dir, pem string)
	renew  func(t *testing.T, dir, pem string)
}

func layouts() map[string]layout {
	fullchain := func(dir string) string { return filepath.Join(dir, "mail", "fullchain.pem") }
	link := func(t *testing.T, target, name string) {
		t.Helper()
		if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.Symlink(target, name); err != nil {
			t.Fatal(err)
		}
	}
	rename := func(t *testing.T, from, to string) {
		t.Helper()
		if err := os.Rename(from, to); err != nil {
			t.Fatal(err)
		}
	}
	plain := func(t *testing.T, dir, pem string) { t.Helper(); write(t, fullchain(dir), pem) }
	return map[string]layout{
		"rename": {plain, func(t *testing.T, dir, pem string) {
			write(t, fullchain(dir)+".tmp", pem)
			rename(t, fullchain(dir)+".tmp", fullchain(dir))
		}},
		"in-place": {plain, plain},
		"symlink": {func(t *testing.T, dir, pem string) {
			write(t, filepath.Join(dir, "..", "archive", "mail", "fullchain1.pem"), pem)
			link(t, "../../archive/mail/fullchain1.pem", fullchain(dir))
		}, func(t *testing.T, dir, pem string) {
			write(t, filepath.Join(dir, "..", "archive", "mail", "fullchain2.pem"), pem)
			if err := os.Remove(fullchain(dir)); err != nil {
				t.Fatal(err)
			}
			link(t, "../../archive/mail/fullchain2.pem", fullchain(dir))
		}},
		"data": {func(t *testing.T, dir, pem string) {
			write(t, filepath.Join(dir, "mail", "..2026_1", "tls.crt"), pem)
			link(t, "..2026_1", filepath.Join(dir, "mail", "..data"))
			link(t, "..data/tls.crt", filepath.Join(dir, "mail", "tls.crt"))
		}, func(t *testing.T, dir, pem string) {
			write(t, filepath.Join(dir, "mail", "..2026_2", "tls.crt"), pem)
			link(t, "..2026_2", filepath.Join(dir, "mail", "..data_tmp"))
			rename(t, filepath.Join(dir, "mail", "..data_tmp"), filepath.Join(dir, "mail", "..data"))
			if err := os.RemoveAll(filepath.Join(dir, "mail", "..2026_1")); err != nil {
				t.Fatal(err)
			}
		}},
	}
}

const zoneFile = `$ORIGIN example.org.
$TTL 60
@    IN SOA ns hostmaster 1 7200 3600 1209600 60
     IN NS  ns
ns   IN A   127.0.0.1
mail IN A   127.0.0.1
`

// tree is a server's directory: keys, zone, Corefile, and certs/ for the test to fill.
func tree(t *testing.T, extra string) *server {
	t.Helper()
	dir := t.TempDir()
	const demo = "../../testdata/demo"
	for _, name := range []string{"Kexample.org.+013+06643.key", "Kexample.org.+013+06643.private"} {
		copyFile(t, filepath.Join(demo, name), filepath.Join(dir, name))
	}
	write(t, filepath.Join(dir, "db.example.org"), zoneFile)
	if err := os.MkdirAll(filepath.Join(dir, "live"), 0o755); err != nil {
		t.Fatal(err)
	}
	return newServer(t, dir, fmt.Sprintf(`example.org:PORT {
    bind 127.0.0.1
    errors
    dnssec {
        key file Kexample.org.+013+06643
    }
    tlsa {
        certs live
        name _25._tcp.mail
        ttl %d
        hold %s
        grace %s
        rescan 1s
        ledger ledger
    }
    file db.example.org
    %s
}
`, ttl/time.Second, 2*ttl, grace, extra))
}

func digests(cs ...cert) []string {
	var ds []string
	for _, c := range cs {
		ds = append(ds, c.digest)
	}
	slices.Sort(ds)
	return ds
}

func TestRenewalKeepsTheOldKeyForGraceThroughKillAndRestart(t *testing.T) {
	for name, l := range layouts() {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := tree(t, "")
			before, after := newCert(t), newCert(t)
			live := filepath.Join(s.dir, "live")
			l.create(t, live, before.pem)
			s.start()
			if got := s.first(owner); !slices.Equal(got, digests(before)) {
				t.Fatalf("the first answer is %q, want %q", got, digests(before))
			}
			changed := time.Now()
			l.renew(t, live, after.pem)
			s.both(changed, before, after)
			for i := range 3 {
				s.kill()
				s.start()
				if got := s.first(owner); !slices.Contains(got, before.digest) || !slices.Contains(got, after.digest) {
					t.Fatalf("the first answer after restart %d is %q, want both digests", i, got)
				}
			}
			s.gone(changed, before, after)
		})
	}
}

// both waits for both digests, and reports how long they took.
func (s *server) both(changed time.Time, before, after cert) {
	s.t.Helper()
	poll(s.t, "both digests", func() (bool, string) {
		got, err := s.ask(owner)
		if err == nil && !slices.Contains(got, before.digest) {
			s.t.Fatalf("the old digest left %s after the change: %q", time.Since(changed), got)
		}
		return slices.Equal(got, digests(before, after)), fmt.Sprint(got, err)
	})
	s.t.Logf("both digests %s after the change, of which the quiet period is %s", time.Since(changed).Round(time.Millisecond), quiet)
}

// gone waits until only the new digest is left, which must not be before grace has passed.
func (s *server) gone(changed time.Time, before, after cert) {
	s.t.Helper()
	poll(s.t, "the removal of the old digest", func() (bool, string) {
		got, err := s.ask(owner)
		if err == nil && !slices.Contains(got, after.digest) {
			s.t.Fatalf("the new digest is missing: %q", got)
		}
		if err == nil && !slices.Contains(got, before.digest) && time.Since(changed) < grace {
			s.t.Fatalf("the old digest left %s after the change, before grace", time.Since(changed))
		}
		return slices.Equal(got, digests(after)), fmt.Sprint(got, err)
	})
}

func TestKillAtTheMomentOfARenewalLosesNothing(t *testing.T) {
	t.Parallel()
	s := tree(t, "")
	live := filepath.Join(s.dir, "live")
	in := layouts()["in-place"]
	last := newCert(t)
	in.create(t, live, last.pem)
	s.start()
	s.first(owner)
	for i := range 8 {
		next := newCert(t)
		in.renew(t, live, next.pem)
		// Before, around and after the moment at which the change is recorded.
		<-time.After(quiet/2 + time.Duration(i)*quiet/6)
		s.kill()
		s.start()
		got := s.first(owner)
		if !slices.Contains(got, last.digest) || !slices.Contains(got, next.digest) {
			t.Fatalf("killed %d: the first answer is %q, want %q and %q", i, got, last.digest, next.digest)
		}
		last = next
	}
}

func TestSIGUSR1KeepsWatchingAndPublishing(t *testing.T) {
	t.Parallel()
	s := tree(t, "")
	live := filepath.Join(s.dir, "live")
	in := layouts()["rename"]
	old := newCert(t)
	in.create(t, live, old.pem)
	s.start()
	s.first(owner)
	for i := range 3 {
		s.signal(syscall.SIGUSR1)
		poll(t, "the reload", func() (bool, string) {
			return strings.Count(s.log.String(), "Reloading complete") == i+1, s.log.String()
		})
	}
	next := newCert(t)
	changed := time.Now()
	in.renew(t, live, next.pem)
	s.both(changed, old, next)
	s.gone(changed, old, next)
}

func TestSIGTERMEndsInTimeAndFreesTheLedger(t *testing.T) {
	t.Parallel()
	s := tree(t, "")
	c := newCert(t)
	layouts()["rename"].create(t, filepath.Join(s.dir, "live"), c.pem)
	for range 3 {
		s.start()
		if got := s.first(owner); !slices.Equal(got, digests(c)) {
			t.Fatalf("the first answer is %q", got)
		}
		s.signal(syscall.SIGTERM)
		if err := s.cmd.Wait(); err != nil {
			t.Fatalf("SIGTERM: %v", err)
		}
		s.cmd = nil
	}
}

func TestSecondServerOnTheSameLedgerIsRefusedByName(t *testing.T) {
	t.Parallel()
	s := tree(t, "")
	layouts()["rename"].create(t, filepath.Join(s.dir, "live"), newCert(t).pem)
	s.start()
	s.first(owner)
	second := newServer(t, s.dir, strings.ReplaceAll(read(t, s.conf), s.port, "PORT"))
	second.start()
	if err := second.cmd.Wait(); err == nil {
		t.Error("it starts, though another process has the ledger")
	}
	second.cmd = nil
	for _, part := range []string{"Corefile:", filepath.Join(s.dir, "ledger"), "process"} {
		if !strings.Contains(second.log.String(), part) {
			t.Errorf("its error does not name %q:\n%s", part, second.log)
		}
	}
}

func read(t *testing.T, path string) string {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

func TestBothTransportsAnswer(t *testing.T) {
	t.Parallel()
	s := tree(t, "")
	c := newCert(t)
	layouts()["rename"].create(t, filepath.Join(s.dir, "live"), c.pem)
	s.start()
	s.first(owner)
	m := new(dns.Msg)
	m.SetQuestion(owner, dns.TypeTLSA)
	tcp := dns.Client{Net: "tcp", Timeout: patient}
	r, _, err := tcp.Exchange(m, "127.0.0.1:"+s.port)
	if err != nil || len(r.Answer) != 1 || !r.Authoritative {
		t.Errorf("over TCP: %v, %v", r, err)
	}
}

func TestWhatStandsInFrontIsWarnedOf(t *testing.T) {
	const changed = "answers in its place or changes the answer"
	for claim, tc := range map[string]struct {
		lines string
		warns string // empty: nothing does
	}{
		"a rule for TTLs":                 {"rewrite ttl suffix example.org. 30", "rewrite makes the TTL 30s of 1s"},
		"a rule for names":                {"rewrite name exact _25._tcp.mail.example.org. ns.example.org.", "makes a query for ns.example.org. TLSA of it"},
		"a rule for types":                {"rewrite type TLSA TXT", "TXT of it"},
		"rules for others":                {"rewrite name exact old.example.org. ns.example.org.\nrewrite ttl exact ns.example.org. 30", ""},
		"no rule":                         {"", ""},
		"a cache that serves stale":       {"cache {\nserve_stale\n}", "cache with serve_stale"},
		"a cache":                         {"cache {\nkeepttl\n}", ""},
		"a template that answers":         {"template IN TLSA {\nanswer \"{{ .Name }} 60 IN TLSA 3 1 1 " + strings.Repeat("00", 32) + "\"\n}", changed},
		"a template for other types":      {"template IN TXT {\nanswer \"{{ .Name }} 60 IN TXT x\"\n}", ""},
		"dnssec for another zone":         {"", "dnssec does not sign it"},
		"minimal":                         {"minimal", ""},
		"an access list without this one": {"acl {\nblock net 127.0.0.1\n}", ""},
	} {
		t.Run(claim, func(t *testing.T) {
			t.Parallel()
			s := tree(t, tc.lines)
			if claim == "dnssec for another zone" {
				write(t, s.conf, strings.Replace(read(t, s.conf), "dnssec {", "dnssec sub.example.org {", 1))
			}
			layouts()["rename"].create(t, filepath.Join(s.dir, "live"), newCert(t).pem)
			s.start()
			// CoreDNS tells its version when all has started, and so after what we say of the start.
			poll(t, "the start", func() (bool, string) { return strings.Contains(s.log.String(), "\nCoreDNS-"), s.log.String() })
			log := s.log.String()
			if tc.warns != "" && !strings.Contains(log, tc.warns) {
				t.Errorf("no word of %q\n%s", tc.warns, log)
			}
			if tc.warns == "" && strings.Contains(log, "[WARNING]") {
				t.Errorf("a warning of nothing\n%s", log)
			}
		})
	}
}

package doctor

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"math/big"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/miekg/dns"
)

var now = time.Date(2026, 7, 1, 12, 0, 0, 0, time.UTC)

// stranger is a user who owns nothing here and is in no group.
var stranger = &User{Name: "coredns", UID: 54321}

const soundCorefile = `example.org {
    root DIR
    bind 192.0.2.53
    dnssec {
        key file Kexample.org.+013+00001
    }
    tlsa {
        certs  certs
        next   next
        name   _25._tcp.mail
        ledger run/tlsa.ledger
    }
    file db.example.org
}
`

const soundZone = `$ORIGIN example.org.
$TTL 3600
@     SOA ns hostmaster 7 7200 3600 1209600 3600
@     NS ns
@     MX 10 mail
@     A 192.0.2.1
ns    A 192.0.2.53
mail  A 192.0.2.25
www   AAAA 2001:db8::80
xmpp  A 192.0.2.52
`

// A world is a Corefile with the directories that it names. It is sound until a test makes a mistake in it.
type world struct {
	*testing.T
	dir      string
	corefile string
	options  Options
	ca       *x509.Certificate
	caKey    crypto.Signer
}

func newWorld(t *testing.T) *world {
	t.Helper()
	w := &world{T: t, dir: t.TempDir(), corefile: soundCorefile}
	w.must(os.Chmod(filepath.Dir(w.dir), 0o755))
	w.options = Options{At: now, Volatile: func(string) bool { return false }}
	w.caKey = w.key()
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "CA"}, IsCA: true, BasicConstraintsValid: true,
		NotBefore: now.AddDate(-1, 0, 0), NotAfter: now.AddDate(9, 0, 0), KeyUsage: x509.KeyUsageCertSign,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, w.caKey.Public(), w.caKey)
	w.must(err)
	w.ca, err = x509.ParseCertificate(der)
	w.must(err)
	for _, dir := range []string{"certs", "next", "run"} {
		w.must(os.MkdirAll(w.path(dir), 0o755))
	}
	w.zoneKey("example.org.", "Kexample.org.+013+00001")
	w.write("db.example.org", soundZone)
	w.chain("certs/mail.example.org/fullchain.pem", issued{})
	return w
}

func (w *world) must(err error) {
	w.Helper()
	if err != nil {
		w.Fatal(err)
	}
}

func (w *world) path(name string) string { return filepath.Join(w.dir, name) }

func (w *world) write(name, text string) {
	w.Helper()
	w.must(os.MkdirAll(filepath.Dir(w.path(name)), 0o755))
	w.must(os.WriteFile(w.path(name), []byte(text), 0o644))
}

func (w *world) link(to, name string) {
	w.Helper()
	w.must(os.MkdirAll(filepath.Dir(w.path(name)), 0o755))
	w.must(os.Symlink(to, w.path(name)))
}

func (w *world) chmod(name string, mode os.FileMode) {
	w.Helper()
	w.must(os.Chmod(w.path(name), mode))
}

// swap changes a part of the Corefile, which must be there.
func (w *world) swap(old, new string) {
	w.Helper()
	if !strings.Contains(w.corefile, old) {
		w.Fatalf("no %q in the Corefile", old)
	}
	w.corefile = strings.Replace(w.corefile, old, new, 1)
}

// add puts a line into the server block.
func (w *world) add(line string) { w.swap("    file db", "    "+line+"\n    file db") }

// option puts a line into the block of tlsa.
func (w *world) option(line string) { w.swap("        ledger", "        "+line+"\n        ledger") }

// zone adds a line to the zone file.
func (w *world) zone(line string) { w.write("db.example.org", soundZone+line+"\n") }

func (w *world) key() crypto.Signer {
	w.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	w.must(err)
	return key
}

func (w *world) zoneKey(zone, base string) {
	w.Helper()
	key := &dns.DNSKEY{
		Hdr:   dns.RR_Header{Name: zone, Rrtype: dns.TypeDNSKEY, Class: dns.ClassINET, Ttl: 3600},
		Flags: 257, Protocol: 3, Algorithm: dns.ECDSAP256SHA256,
	}
	private, err := key.Generate(256)
	w.must(err)
	w.write(base+".key", "; a comment\n"+key.String()+"\n")
	w.write(base+".private", key.PrivateKeyString(private))
}

// issued says what a certificate is like; the zero value is one for mail.example.org of 90 days that is ten days old.
type issued struct {
	names []string
	since time.Time
	life  time.Duration
	key   crypto.Signer
	alone bool // without its issuer
}

// chain writes a certificate and gives its key.
func (w *world) chain(name string, c issued) crypto.Signer {
	w.Helper()
	if c.key == nil {
		c.key = w.key()
	}
	if c.names == nil {
		c.names = []string{"mail.example.org"}
	}
	if c.life == 0 {
		c.life = 90 * day
	}
	if c.since.IsZero() {
		c.since = now.Add(-min(10*day, c.life/9))
	}
	serial, err := rand.Int(rand.Reader, big.NewInt(1<<62))
	w.must(err)
	template := &x509.Certificate{SerialNumber: serial, DNSNames: c.names, NotBefore: c.since, NotAfter: c.since.Add(c.life)}
	der, err := x509.CreateCertificate(rand.Reader, template, w.ca, c.key.Public(), w.caKey)
	w.must(err)
	text := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
	if !c.alone {
		text = append(text, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: w.ca.Raw})...)
	}
	w.write(name, string(text))
	return c.key
}

func (w *world) publicKey(name string) {
	w.Helper()
	der, err := x509.MarshalPKIXPublicKey(w.key().Public())
	w.must(err)
	w.write(name, string(pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der})))
}

func (w *world) privateKey(name string, mode os.FileMode) {
	w.Helper()
	der, err := x509.MarshalPKCS8PrivateKey(w.key())
	w.must(err)
	w.write(name, string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der})))
	w.chmod(name, mode)
}

// certbot makes a lineage with one certificate for each key, of which the last is installed.
func (w *world) certbot(home, name string, c issued, keys ...crypto.Signer) {
	w.Helper()
	for i, key := range keys {
		c.key = key
		version := fmt.Sprintf("%s/archive/%s/%%s%d.pem", home, name, i+1)
		w.chain(fmt.Sprintf(version, "fullchain"), c)
		text, err := os.ReadFile(w.path(fmt.Sprintf(version, "fullchain")))
		w.must(err)
		first, rest := pem.Decode(text)
		w.write(fmt.Sprintf(version, "cert"), string(pem.EncodeToMemory(first)))
		w.write(fmt.Sprintf(version, "chain"), string(rest))
	}
	for _, kind := range []string{"cert", "chain", "fullchain"} {
		w.link(fmt.Sprintf("../../archive/%s/%s%d.pem", name, kind, len(keys)), fmt.Sprintf("%s/live/%s/%s.pem", home, name, kind))
	}
}

// examine gives the report on the world as it is.
func (w *world) examine() *Report {
	w.Helper()
	w.options.Corefile = w.path("Corefile")
	w.write("Corefile", strings.ReplaceAll(w.corefile, "DIR", w.dir))
	r, err := Examine(w.options)
	w.must(err)
	return r
}

// codes are those of the findings, each once: all that are above hints, and the hints behind them.
func codes(r *Report) (wrong, hints []string) {
	for _, f := range r.Findings {
		if f.Severity == Hint {
			hints = append(hints, f.Code)
		} else {
			wrong = append(wrong, f.Code)
		}
	}
	slices.Sort(wrong)
	slices.Sort(hints)
	return slices.Compact(wrong), slices.Compact(hints)
}

func tell(r *Report) string {
	text := ""
	for _, f := range r.Findings {
		text += fmt.Sprintf("%s: %s: %s: %s [%s] {%s}\n", f.Place, f.Severity, f.Code, f.What, f.Why, f.Fix)
	}
	return text
}

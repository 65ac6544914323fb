package dane

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"golang.org/x/crypto/cryptobyte"
	"golang.org/x/crypto/cryptobyte/asn1"
)

var (
	notBefore = time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	notAfter  = time.Date(2056, 4, 1, 3, 4, 5, 0, time.UTC) // after 2049: GeneralizedTime
)

var rsaKey = sync.OnceValue(func() crypto.Signer {
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		panic(err)
	}
	return key
})

func p256Key(t testing.TB) crypto.Signer {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	return must(t, key, err)
}

func ed25519Key(t testing.TB) crypto.Signer {
	t.Helper()
	_, key, err := ed25519.GenerateKey(rand.Reader)
	return must(t, key, err)
}

func must[T any](t testing.TB, v T, err error) T {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
	return v
}

// An entity is a certificate with its key.
type entity struct {
	key  crypto.Signer
	der  []byte
	x509 *x509.Certificate
	cert *Certificate
}

// issue makes a certificate for key, signed by parent, or by itself if parent is nil.
func issue(t testing.TB, cn string, key crypto.Signer, parent *entity, change ...func(*x509.Certificate)) *entity {
	t.Helper()
	serial, err := rand.Int(rand.Reader, big.NewInt(1<<62))
	template := &x509.Certificate{
		SerialNumber:          must(t, serial, err),
		Subject:               pkix.Name{CommonName: cn},
		NotBefore:             notBefore,
		NotAfter:              notAfter,
		BasicConstraintsValid: true,
	}
	for _, f := range change {
		f(template)
	}
	issuer, signer := template, key
	if parent != nil {
		issuer, signer = parent.x509, parent.key
	}
	der, err := x509.CreateCertificate(rand.Reader, template, issuer, key.Public(), signer)
	must(t, der, err)
	parsed, err := x509.ParseCertificate(der)
	must(t, parsed, err)
	cert, err := ParseCertificate(der)
	return &entity{key, der, parsed, must(t, cert, err)}
}

func isCA(c *x509.Certificate) { c.IsCA = true }

func names(names ...string) func(*x509.Certificate) {
	return func(c *x509.Certificate) { c.DNSNames = names }
}

func keyIDs(subject, authority string) func(*x509.Certificate) {
	return func(c *x509.Certificate) { c.SubjectKeyId, c.AuthorityKeyId = []byte(subject), []byte(authority) }
}

func (e *entity) pem() []byte { return encode("CERTIFICATE", e.der) }

func encode(label string, der []byte) []byte {
	return pem.EncodeToMemory(&pem.Block{Type: label, Bytes: der})
}

func join(parts ...[]byte) []byte { return slices.Concat(parts...) }

func fixture(t testing.TB, name string) []byte {
	t.Helper()
	data, err := os.ReadFile(filepath.Join("testdata", name))
	return must(t, data, err)
}

// fixtureDER gives the octets of a fixture's first block, as encoding/pem reads them.
func fixtureDER(t testing.TB, name string) []byte {
	t.Helper()
	b, _ := pem.Decode(fixture(t, name))
	if b == nil {
		t.Fatal("no PEM block in " + name)
	}
	return b.Bytes
}

// parts are the pieces of a certificate that nobody signed, each in DER; a test replaces what it wants to be wrong.
type parts struct {
	version, serial, algorithm, issuer, validity, subject, spki, tail []byte
	signature                                                         []byte
}

func wellFormed(t testing.TB) parts {
	t.Helper()
	return parts{
		serial:    []byte{2, 1, 1},
		algorithm: []byte("\x30\x05\x06\x03\x2b\x65\x70"),
		issuer:    []byte{0x30, 0},
		validity:  sequence([]byte("\x17\x0d260102030405Z"), []byte("\x18\x0f20560401030405Z")),
		subject:   []byte{0x30, 0},
		spki:      []byte("\x30\x0b\x30\x05\x06\x03\x2b\x65\x70\x03\x02\x00\x42"),
		signature: []byte{3, 2, 0, 0x42},
	}
}

func (p parts) der() []byte {
	body := sequence(p.version, p.serial, p.algorithm, p.issuer, p.validity, p.subject, p.spki, p.tail)
	return sequence(body, p.algorithm, p.signature)
}

func sequence(parts ...[]byte) []byte { return element(asn1.SEQUENCE, parts...) }

func element(tag asn1.Tag, parts ...[]byte) []byte {
	b := cryptobyte.NewBuilder(nil)
	b.AddASN1(tag, func(b *cryptobyte.Builder) { b.AddBytes(slices.Concat(parts...)) })
	return b.BytesOrPanic()
}

// replaceOnce patches octets of one length, so that every length around them stays right.
func replaceOnce(t testing.TB, der []byte, from, to string) []byte {
	t.Helper()
	if len(from) != len(to) || bytes.Count(der, []byte(from)) == 0 {
		t.Fatalf("cannot patch %x", from)
	}
	return bytes.ReplaceAll(der, []byte(from), []byte(to))
}

func diff(t testing.TB, want, got any) {
	t.Helper()
	if d := cmp.Diff(want, got, cmpopts.IgnoreUnexported(Certificate{}), cmpopts.EquateEmpty()); d != "" {
		t.Errorf("-want +got:\n%s", d)
	}
}

// lines splits a file into lines, and lines into words.
func lines(data []byte) (out [][]string) {
	for line := range strings.Lines(string(data)) {
		out = append(out, strings.Fields(line))
	}
	return out
}

func decimal(n int) string { return strconv.Itoa(n) }

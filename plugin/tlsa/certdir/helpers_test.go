package certdir

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"maps"
	"math/big"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// pki issues certificates that tests know by a word.
type pki struct {
	t      testing.TB
	ca     *x509.Certificate
	key    *ecdsa.PrivateKey
	chain  string
	mu     sync.Mutex
	serial int64
	labels map[string]string // by SHA-256 of a certificate or SPKI
	issued map[string]issued // by label
}

// issued is one certificate in PEM.
type issued struct{ cert, fullchain, key, public, csr string }

func newPKI(t testing.TB) *pki {
	p := &pki{t: t, labels: make(map[string]string), issued: make(map[string]issued)}
	p.key = newKey(t)
	p.ca = &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "Test CA"}, IsCA: true, BasicConstraintsValid: true,
		NotBefore: time.Unix(1e9, 0), NotAfter: time.Unix(4e9, 0), KeyUsage: x509.KeyUsageCertSign,
	}
	der, err := x509.CreateCertificate(rand.Reader, p.ca, p.ca, p.key.Public(), p.key)
	ok(t, err)
	p.chain = toPEM("CERTIFICATE", der)
	return p
}

func newKey(t testing.TB) *ecdsa.PrivateKey {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	ok(t, err)
	return key
}

func toPEM(label string, der []byte) string {
	return string(pem.EncodeToMemory(&pem.Block{Type: label, Bytes: der}))
}

// issue makes a certificate with a new key, known by label.
func (p *pki) issue(label string, names ...string) issued {
	return p.issueFor(newKey(p.t), label, names...)
}

func (p *pki) issueFor(key *ecdsa.PrivateKey, label string, names ...string) issued {
	if names == nil {
		names = []string{label + ".example.org"}
	}
	p.mu.Lock()
	p.serial++
	template := &x509.Certificate{
		SerialNumber: big.NewInt(p.serial), DNSNames: names,
		NotBefore: time.Unix(1e9, 0), NotAfter: time.Unix(2e9+p.serial, 0), // so that leaves sort by age
	}
	p.mu.Unlock()
	if label == "challenge" {
		template.ExtraExtensions = []pkix.Extension{{Id: []int{1, 3, 6, 1, 5, 5, 7, 1, 31}, Critical: true, Value: append([]byte{4, 32}, make([]byte, 32)...)}}
	}
	der, err := x509.CreateCertificate(rand.Reader, template, p.ca, key.Public(), p.key)
	ok(p.t, err)
	spki, err := x509.MarshalPKIXPublicKey(key.Public())
	ok(p.t, err)
	private, err := x509.MarshalPKCS8PrivateKey(key)
	ok(p.t, err)
	request, err := x509.CreateCertificateRequest(rand.Reader, &x509.CertificateRequest{DNSNames: names}, key)
	ok(p.t, err)
	p.know(der, label)
	p.mu.Lock()
	defer p.mu.Unlock()
	p.labels[string(spki)] = "key of " + label
	cert := toPEM("CERTIFICATE", der)
	c := issued{
		cert: cert, fullchain: cert + p.chain, key: toPEM("PRIVATE KEY", private), public: toPEM("PUBLIC KEY", spki),
		csr: toPEM("CERTIFICATE REQUEST", request),
	}
	p.issued[label] = c
	return c
}

func (p *pki) know(der []byte, label string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	digest := sha256.Sum256(der)
	p.labels[string(digest[:])] = label
}

// again gives what was last issued under a label.
func (p *pki) again(label string) issued {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.issued[label]
}

func (p *pki) label(l Leaf) string {
	p.mu.Lock()
	defer p.mu.Unlock()
	id := l.Material.Leaf.SHA256
	if id == "" {
		id = l.Material.Leaf.SPKI
	}
	if label := p.labels[id]; label != "" {
		return label
	}
	return "?"
}

// A view is what a publisher would know: the last state of each lineage and root that was handed out.
type view struct {
	base     string
	pki      *pki
	lineages map[string]*Lineage
	roots    map[string]*Root
}

func newView(p *pki, base string) *view {
	return &view{base, p, make(map[string]*Lineage), make(map[string]*Root)}
}

func (v *view) apply(c Changes) {
	for _, l := range c.Lineages {
		if v.lineages[l.ID] = l; len(l.Files) == 0 {
			delete(v.lineages, l.ID)
		}
	}
	for _, r := range c.Roots {
		v.roots[r.Path] = r
	}
}

// String gives one line for each lineage: its ID, each leaf with the files that hold it, each file in doubt with why.
func (v *view) String() string {
	var lines []string
	for _, id := range slices.Sorted(maps.Keys(v.lineages)) {
		l := v.lineages[id]
		parts := []string{v.short(id)}
		for _, leaf := range l.Leaves {
			part := v.pki.label(leaf)
			if leaf.Material.Issuer.SPKI == "" && leaf.Material.Leaf.SHA256 != "" {
				part += " unissued"
			}
			for _, f := range leaf.Files {
				part += " " + filepath.Base(f)
			}
			parts = append(parts, part)
		}
		for _, f := range l.Files {
			if f.Doubt != nil {
				parts = append(parts, "doubt "+filepath.Base(f.Path)+" "+string(f.Doubt.Reason))
			}
		}
		lines = append(lines, strings.Join(parts, "; "))
	}
	return strings.Join(lines, "\n")
}

func (v *view) short(id string) string { return strings.ReplaceAll(id, v.base+"/", "") }

// rootLine gives the state of one root: sweeps, completeness, problems.
func (v *view) rootLine(path string) string {
	r := v.roots[path]
	if r == nil {
		return "never swept"
	}
	line := fmt.Sprintf("complete=%v mixed=%v", r.Complete, r.MixedOwners)
	for _, p := range r.Problems {
		line += " " + string(p.Reason)
	}
	return line
}

// A live watcher runs in the background; every change is told on news.
type live struct {
	mu     sync.Mutex
	view   *view
	sweeps int
	last   *Figures
	also   func(Changes) // is called with every change
	news   chan struct{}
	stop   func()
}

func start(t testing.TB, w *Watcher, v *view) *live {
	l := &live{view: v, news: make(chan struct{}, 1)}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() {
		defer close(done)
		w.Run(ctx, l.apply)
	}()
	l.stop = sync.OnceFunc(func() { cancel(); <-done })
	t.Cleanup(l.stop)
	return l
}

func (l *live) apply(c Changes) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.view.apply(c)
	if l.also != nil {
		l.also(c)
	}
	if c.Sweep != nil {
		l.last = c.Sweep
		l.sweeps++
	}
	select {
	case l.news <- struct{}{}:
	default:
	}
}

func (l *live) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.view.String()
}

func (l *live) onChange(also func(Changes)) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.also = also
}

// count counts lineages that have a leaf.
func (l *live) count() (n int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, one := range l.view.lineages {
		if len(one.Leaves) > 0 {
			n++
		}
	}
	return n
}

func (l *live) root(path string) string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.view.rootLine(path)
}

// armed tells that the first sweep of Run is done, so that what follows is heard.
func (l *live) armed() string {
	if l.swept() == 0 {
		return "not yet"
	}
	return "armed"
}

// swept counts sweeps.
func (l *live) swept() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.sweeps
}

// await waits until what get gives is want.
func (l *live) await(t testing.TB, get func() string, want string) {
	t.Helper()
	limit := time.NewTimer(20 * time.Second)
	defer limit.Stop()
	for get() != want {
		select {
		case <-l.news:
		case <-limit.C:
			t.Fatalf("got:\n%s\nwant:\n%s", get(), want)
		}
	}
}

// advance lets fake time pass.
func advance(d time.Duration) { <-time.After(d) }

func ok(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func write(t testing.TB, path, data string) {
	t.Helper()
	ok(t, os.MkdirAll(filepath.Dir(path), 0o755))
	ok(t, os.WriteFile(path, []byte(data), 0o644))
}

// replace writes a file as careful producers do: aside, then renamed.
func replace(t testing.TB, path, data string) {
	t.Helper()
	write(t, path+".tmp1", data)
	ok(t, os.Rename(path+".tmp1", path))
}

// link makes or swaps a symbolic link as certbot does: unlink, then link.
func link(t testing.TB, to, path string) {
	t.Helper()
	ok(t, os.MkdirAll(filepath.Dir(path), 0o755))
	if err := os.Remove(path); err != nil && !os.IsNotExist(err) {
		t.Fatal(err)
	}
	ok(t, os.Symlink(to, path))
}

// certbot writes version n of a lineage into a certbot tree, new files first, then link by link.
func certbot(t testing.TB, dir, name string, n int, c issued, chain string) {
	t.Helper()
	kinds := []string{"cert", "privkey", "chain", "fullchain"}
	for _, kind := range kinds {
		data := map[string]string{"cert": c.cert, "privkey": c.key, "chain": chain, "fullchain": c.fullchain}[kind]
		write(t, filepath.Join(dir, "archive", name, fmt.Sprintf("%s%d.pem", kind, n)), data)
	}
	for _, kind := range kinds {
		certbotLink(t, dir, name, kind, n)
	}
	write(t, filepath.Join(dir, "live", name, "README"), "do not move these files")
}

func certbotLink(t testing.TB, dir, name, kind string, n int) {
	t.Helper()
	link(t, fmt.Sprintf("../../archive/%s/%s%d.pem", name, kind, n), filepath.Join(dir, "live", name, kind+".pem"))
}

// kubernetes swaps the files of a volume at once, as the kubelet does.
func kubernetes(t testing.TB, dir string, n int, files map[string]string) {
	t.Helper()
	version := fmt.Sprintf("..2026_01_02_03_04_%02d", n)
	for name, data := range files {
		write(t, filepath.Join(dir, version, name), data)
	}
	old, _ := os.Readlink(filepath.Join(dir, "..data"))
	ok(t, os.Symlink(version, filepath.Join(dir, "..data_tmp")))
	ok(t, os.Rename(filepath.Join(dir, "..data_tmp"), filepath.Join(dir, "..data")))
	for name := range files {
		if _, err := os.Lstat(filepath.Join(dir, name)); err != nil {
			ok(t, os.Symlink("..data/"+name, filepath.Join(dir, name)))
		}
	}
	if old != "" {
		ok(t, os.RemoveAll(filepath.Join(dir, old)))
	}
}

package tlsa

import (
	"bufio"
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	golog "log"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"runtime/debug"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/coredns/caddy"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/common/expfmt"

	"github.com/coredns-tlsa/coredns-tlsa/plugin/tlsa/certdir/hostiletest"
)

// TestHelperServer is not a test: it serves a Corefile, so that a test can look for what the server keeps in a heap that is not
// its own. It obeys lines: "dump PATH" writes its heap and PATH.metrics.
func TestHelperServer(t *testing.T) {
	path := os.Getenv("TLSA_TEST_COREFILE")
	if path == "" {
		return
	}
	golog.SetOutput(os.Stderr)
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	in, err := caddy.Start(caddy.CaddyfileInput{Filepath: "Corefile", Contents: text, ServerTypeName: "dns"})
	if err != nil {
		t.Fatal(err)
	}
	for _, server := range in.Servers() {
		fmt.Println("serving", server.LocalAddr(), server.Addr())
	}
	for lines := bufio.NewScanner(os.Stdin); lines.Scan(); {
		if to, ok := strings.CutPrefix(lines.Text(), "dump "); ok {
			dump(t, to)
			fmt.Println("dumped")
		}
	}
	for _, err := range append(in.ShutdownCallbacks(), in.Stop()) {
		if err != nil {
			t.Error(err)
		}
	}
}

func dump(t *testing.T, path string) {
	t.Helper()
	runtime.GC()
	runtime.GC()
	f, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	debug.WriteHeapDump(f.Fd())
	families, err := prometheus.DefaultGatherer.Gather()
	if err != nil {
		t.Fatal(err)
	}
	var text bytes.Buffer
	for _, family := range families {
		if _, err := expfmt.MetricFamilyToText(&text, family); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.WriteFile(path+".metrics", text.Bytes(), 0o600); err != nil {
		t.Fatal(err)
	}
}

// An outpost is a site whose server runs in a process of its own.
type outpost struct {
	*site
	socket string
	in     io.WriteCloser
	out    *bufio.Scanner
}

func (s *outpost) launch() {
	s.Helper()
	s.write("Corefile", s.corefile())
	cmd := exec.CommandContext(s.Context(), os.Args[0], "-test.run=^TestHelperServer$")
	cmd.Env = append(os.Environ(), "TLSA_TEST_COREFILE="+s.path("Corefile"))
	stderr, err := os.Create(s.path("stderr"))
	s.must(err)
	cmd.Stderr = stderr
	s.in, err = cmd.StdinPipe()
	s.must(err)
	stdout, err := cmd.StdoutPipe()
	s.must(err)
	s.must(cmd.Start())
	s.Cleanup(func() {
		s.in.Close()
		_ = cmd.Wait()
		stderr.Close()
	})
	s.out = bufio.NewScanner(stdout)
	s.await("serving", &s.udp, &s.tcp)
}

// await reads the server's output up to a line that begins with a word.
func (s *outpost) await(word string, into ...any) {
	s.Helper()
	for s.out.Scan() {
		if rest, ok := strings.CutPrefix(s.out.Text(), word); ok {
			_, err := fmt.Sscan(rest, into...)
			if len(into) > 0 {
				s.must(err)
			}
			return
		}
	}
	log, _ := os.ReadFile(s.path("stderr"))
	s.Fatalf("the server has ended:\n%.3000s", log)
}

// status gives the digests of every owner without a wildcard that has any, as the control socket tells them.
func (s *outpost) status() map[string]map[string]bool {
	s.Helper()
	document, err := s.client(s.socket).Status(s.Context(), "")
	s.must(err)
	all := map[string]map[string]bool{}
	for _, o := range document.Blocks[0].Owners {
		if strings.Contains(o.Name, "*") || len(o.Associations) == 0 {
			continue
		}
		all[o.Name] = map[string]bool{}
		for _, a := range o.Associations {
			all[o.Name][a.Data] = true
		}
	}
	return all
}

func spkiDigest(spki []byte) string {
	sum := sha256.Sum256(spki)
	return hex.EncodeToString(sum[:])
}

// TestAllHostileKindsAtOnceLeakNoKey drops every kind into one live directory, beside good lineages and a file that is torn all
// the time, and then looks for private keys wherever the server leaves something.
func TestAllHostileKindsAtOnceLeakNoKey(t *testing.T) {
	t.Parallel()
	in, socket := controlled(t, "hostile.test.")
	s := &outpost{site: in, socket: socket}
	world, zone := hostiletest.NewWorld(), strings.TrimSuffix(s.zone, ".")
	want := map[string]map[string]bool{}
	expect := func(host string, spki []byte, owners ...string) {
		for _, lead := range owners {
			if want[lead+host+"."] == nil {
				want[lead+host+"."] = map[string]bool{}
			}
			want[lead+host+"."][spkiDigest(spki)] = true
		}
	}
	names := "name _443._tcp.*\n"
	for i, layout := range hostiletest.Layouts() {
		c := hostiletest.NewCase(world, fmt.Sprintf("good%d.%s", i, zone), zone, s.path(fmt.Sprintf("certs/good%d", i)), s.path("next"))
		s.must(layout.PutGood(c, c.Good))
		names += fmt.Sprintf("name _25._tcp.good%d\n", i)
		expect(c.Host, c.Good.SPKI, "_25._tcp.", "_443._tcp.")
	}
	goods := maps.Clone(want)
	kinds, cases := hostiletest.Kinds(), []*hostiletest.Case(nil)
	for i := range kinds {
		names += fmt.Sprintf("name _25._tcp.k%d\n", i)
		dirs := []string{s.path(fmt.Sprintf("certs/k%d", i)), s.path(fmt.Sprintf("next/k%d", i))}
		cases = append(cases, hostiletest.NewCase(world, fmt.Sprintf("k%d.%s", i, zone), zone, dirs[0], dirs[1]))
	}
	s.options = strings.Replace(s.options, "name _25._tcp.mail\n", names, 1)
	s.launch()
	if got := s.status(); !maps.EqualFunc(got, goods, maps.Equal) {
		t.Fatalf("before: %d owners, want %d", len(got), len(goods))
	}
	for i, k := range kinds {
		c := cases[i]
		s.must(os.MkdirAll(c.Certs, 0o755))
		s.must(k.Drop(c))
		if k.Gives == hostiletest.ItsKey {
			expect(c.Host, c.Key, "_25._tcp.")
		}
		switch {
		case k.Hosts != nil:
			for _, host := range k.Hosts(c) {
				expect(host, c.Key, "_443._tcp.")
			}
		case k.Gives == hostiletest.ItsKey && k.Named():
			expect(c.Host, c.Key, "_443._tcp.")
		}
	}
	torn := s.tear(world, zone)
	expect(torn.Host, torn.Good.SPKI, "_443._tcp.")
	s.holds(want)
	s.leaksNothing(world)
}

// tear rewrites a file in place, half of it first, until the test ends.
func (s *outpost) tear(w *hostiletest.World, zone string) *hostiletest.Case {
	c := hostiletest.NewCase(w, "torn."+zone, zone, s.path("certs/torn"), s.path("next"))
	s.must(os.MkdirAll(c.Certs, 0o755))
	data := []byte(c.Good.KeyPEM + c.Good.CertPEM + w.CAPEM)
	file := filepath.Join(c.Certs, "torn.pem")
	s.must(os.WriteFile(file, data, 0o644))
	done := make(chan struct{})
	s.Cleanup(func() { close(done) })
	go func() {
		for n := 0; ; n++ {
			select {
			case <-done:
				return
			case <-time.After(20 * time.Millisecond):
				_ = os.WriteFile(file, data[:n*37%len(data)], 0o644)
			}
			if n%40 == 0 { // a while of peace, in which it is whole
				_ = os.WriteFile(file, data, 0o644)
				<-time.After(2 * time.Second)
			}
		}
	}()
	return c
}

// holds waits until exactly what must be is served, and sees it stay so.
func (s *outpost) holds(want map[string]map[string]bool) {
	s.Helper()
	until(s, 10*time.Second, "what must be served", func() bool { return maps.EqualFunc(s.status(), want, maps.Equal) })
	for end := time.Now().Add(5 * rescan); time.Now().Before(end); <-time.After(rescan / 2) {
		if got := s.status(); !maps.EqualFunc(got, want, maps.Equal) {
			s.Fatalf("%d owners, want %d", len(got), len(want))
		}
	}
	for owner, digests := range want {
		var records []string
		for digest := range digests {
			records = append(records, "3 1 1 "+digest)
		}
		if !s.serves(owner, records...) {
			s.Errorf("%s: DNS has %q, want %q", owner, s.published(owner), records)
		}
	}
}

// leaksNothing looks for every private key in the log, the ledger, its copy, the metrics, the status and the heap, and for
// characters in the log that cannot be shown.
func (s *outpost) leaksNothing(w *hostiletest.World) {
	s.Helper()
	_, err := fmt.Fprintln(s.in, "dump "+s.path("heap"))
	s.must(err)
	s.await("dumped")
	document, err := s.client(s.socket).Status(s.Context(), "")
	s.must(err)
	body, err := json.Marshal(document)
	s.must(err)
	s.write("status", string(body))
	secrets := newNeedles(w.Secrets())
	for _, name := range []string{"heap", "heap.metrics", "stderr", "status", "tlsa.ledger"} {
		data, err := os.ReadFile(s.path(name))
		s.must(err)
		if at := secrets.in(data); at >= 0 || len(data) == 0 {
			s.Errorf("%s, of %d octets, has a private key at %d: %q", name, len(data), at, data[max(0, at-100):max(0, at)])
		}
		odd := func(r rune) bool { return r < ' ' && r != '\n' || r == 0x7f && name != "status" } // JSON has no escape for DEL
		if name != "heap" && name != "tlsa.ledger" && bytes.ContainsFunc(data, odd) {
			s.Errorf("%s has characters that cannot be shown", name)
		}
		if name == "heap" && len(data) < 1<<20 {
			s.Errorf("a heap of %d octets is none", len(data))
		}
		s.Logf("%s: %d octets", name, len(data))
	}
}

// needles are many octet strings that are looked for at once.
type needles map[[8]byte][][]byte

func newNeedles(all [][]byte) needles {
	n := needles{}
	for _, one := range all {
		n[[8]byte(one)] = append(n[[8]byte(one)], one)
	}
	return n
}

// in gives the first place of any of them, -1 if there is none.
func (n needles) in(data []byte) int {
	for at := range len(data) - 7 {
		for _, one := range n[[8]byte(data[at:])] {
			if bytes.HasPrefix(data[at:], one) {
				return at
			}
		}
	}
	return -1
}

func TestNeedlesAreFound(t *testing.T) {
	w := hostiletest.NewWorld()
	subject := w.Issue("a.example.org")
	n := newNeedles(w.Secrets())
	for what, data := range map[string][]byte{"PEM": []byte("x" + subject.KeyPEM), "scalar": slices.Concat([]byte("xyz"), w.Secrets()[0])} {
		if n.in(data) < 0 {
			t.Errorf("%s is not found", what)
		}
	}
	if at := n.in([]byte(subject.CertPEM + w.CAPEM)); at >= 0 {
		t.Errorf("a secret in a certificate, at %d", at)
	}
}

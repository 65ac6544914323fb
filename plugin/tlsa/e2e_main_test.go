package tlsa

import (
	"bytes"
	"errors"
	"flag"
	"fmt"
	golog "log"
	"os"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/coredns/caddy"
	"github.com/coredns/coredns/core/dnsserver"
	"github.com/coredns/coredns/plugin"

	_ "github.com/coredns/coredns/core" // the server type
	_ "github.com/coredns/coredns/plugin/auto"
	_ "github.com/coredns/coredns/plugin/bind"
	_ "github.com/coredns/coredns/plugin/cache"
	_ "github.com/coredns/coredns/plugin/dnssec"
	_ "github.com/coredns/coredns/plugin/errors"
	_ "github.com/coredns/coredns/plugin/root"
	_ "github.com/coredns/coredns/plugin/transfer"
	_ "github.com/coredns/coredns/plugin/view"

	"github.com/prometheus/client_golang/prometheus"
)

// TestMain puts tlsa into CoreDNS's order of plugins, and finds what servers have left behind when all tests are done.
func TestMain(m *testing.M) {
	flag.Parse()
	if flag.Lookup("test.fuzz").Value.String() == "" { // where it is the number of processes that fuzz
		if err := flag.Set("test.parallel", "16"); err != nil { // the tests mostly wait
			panic(err)
		}
	}
	caddy.Quiet, dnsserver.Quiet = true, true
	golog.SetOutput(&captured)
	at := slices.Index(dnsserver.Directives, "transfer")
	dnsserver.Directives = slices.Insert(slices.Clone(dnsserver.Directives), at+1, pluginName, failing, stalling, unstoppable)
	plugin.Register(failing, setupFailing)
	plugin.Register(stalling, setupStalling)
	plugin.Register(unstoppable, setupUnstoppable)
	code := m.Run()
	for end := time.Now().Add(10 * time.Second); len(lingering()) > 0 && time.Now().Before(end); {
		<-time.After(10 * time.Millisecond)
	}
	if left := lingering(); code == 0 && len(left) > 0 {
		fmt.Fprintf(os.Stderr, "goroutines are left after all tests:\n%s\n", strings.Join(left, "\n\n"))
		code = 1
	}
	if n := inotifies(); code == 0 && n > 0 {
		fmt.Fprintf(os.Stderr, "%d inotify instances are left after all tests\n", n)
		code = 1
	}
	os.Exit(code)
}

// failing is a plugin after tlsa that cannot start.
const failing = "failing"

func setupFailing(c *caddy.Controller) error {
	dnsserver.GetConfig(c).AddPlugin(func(next plugin.Handler) plugin.Handler { return next })
	c.OnStartup(func() error { return errors.New("this plugin never starts") })
	return nil
}

// stalling is a plugin after tlsa that takes its time to start: until the gate has been used twice.
const stalling = "stalling"

var gate = make(chan struct{})

func setupStalling(c *caddy.Controller) error {
	dnsserver.GetConfig(c).AddPlugin(func(next plugin.Handler) plugin.Handler { return next })
	c.OnStartup(func() error {
		gate <- struct{}{}
		gate <- struct{}{}
		return nil
	})
	return nil
}

// unstoppable is a plugin that fails to stop: caddy gives up the reload after the new servers are up.
const unstoppable = "unstoppable"

func setupUnstoppable(c *caddy.Controller) error {
	dnsserver.GetConfig(c).AddPlugin(func(next plugin.Handler) plugin.Handler { return next })
	c.OnShutdown(func() error { return errors.New("this plugin never stops") })
	return nil
}

// captured is the log of all servers.
var captured logBook

type logBook struct {
	mu    sync.Mutex // guards lines
	lines []string
}

// Write takes one line of the log.
func (b *logBook) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.lines = append(b.lines, strings.TrimSuffix(string(p), "\n"))
	return len(p), nil
}

// end is where the book ends now.
func (b *logBook) end() int {
	b.mu.Lock()
	defer b.mu.Unlock()
	return len(b.lines)
}

// about gives the lines from a place on that hold every one of the words.
func (b *logBook) about(from int, words ...string) []string {
	b.mu.Lock()
	defer b.mu.Unlock()
	var found []string
	for _, line := range b.lines[from:] {
		if !slices.ContainsFunc(words, func(w string) bool { return !strings.Contains(line, w) }) {
			found = append(found, line)
		}
	}
	return found
}

// lingering gives the stacks of the goroutines that this module or what it uses for files runs.
func lingering() []string {
	var found []string
	buf := make([]byte, 1<<22)
	for stack := range bytes.SplitSeq(buf[:runtime.Stack(buf, true)], []byte("\n\n")) {
		for _, ours := range []string{
			"tlsa/publish.", "tlsa.(*herald)", "tlsa/certdir.", "tlsa/ledger.", "tlsa/control.", "fsnotify", "go.etcd.io/bbolt",
		} {
			if bytes.Contains(stack, []byte(ours)) {
				found = append(found, string(stack))
				break
			}
		}
	}
	return found
}

// inotifies counts the inotify instances of the process; 0 where there is no /proc.
func inotifies() int {
	fds, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		return 0
	}
	n := 0
	for _, fd := range fds {
		if to, err := os.Readlink("/proc/self/fd/" + fd.Name()); err == nil && strings.Contains(to, "inotify") {
			n++
		}
	}
	return n
}

// gauges reads a metric: its values by the label given, where the label zone has the value.
func gauges(t testing.TB, metric, zone, label string) map[string]float64 {
	t.Helper()
	families, err := prometheus.DefaultGatherer.Gather()
	if err != nil {
		t.Fatal(err)
	}
	values := map[string]float64{}
	for _, f := range families {
		if f.GetName() != metric {
			continue
		}
		for _, m := range f.GetMetric() {
			labels := map[string]string{}
			for _, l := range m.GetLabel() {
				labels[l.GetName()] = l.GetValue()
			}
			if labels["zone"] == zone && m.GetGauge() != nil {
				values[labels[label]] += m.GetGauge().GetValue()
			}
		}
	}
	return values
}

// until polls ok, for at most ten times the figure that is aimed at.
func until(t testing.TB, figure time.Duration, claim string, ok func() bool) {
	t.Helper()
	deadline := time.After(10 * figure)
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for !ok() {
		select {
		case <-tick.C:
		case <-deadline:
			t.Fatalf("not within %s: %s", 10*figure, claim)
		}
	}
}

// during polls as long as d lasts and the test has not failed.
func during(t testing.TB, d time.Duration, poll func()) {
	t.Helper()
	end := time.After(d)
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for !t.Failed() {
		poll()
		select {
		case <-tick.C:
		case <-end:
			return
		}
	}
}

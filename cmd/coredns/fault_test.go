//go:build referee

package main

import (
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/miekg/dns"
)

// A fault is something that goes wrong with a running server while it is asked all the time and a certificate renews. Answers
// go on as before; when the fault is over the server recovers by itself, and a kill and a restart lose nothing.
type fault struct {
	// prefix runs the server: a program that executes the rest of its arguments.
	prefix []string
	// prepare comes before the start, begin makes the fault, and gives what ends it.
	prepare func(*trouble)
	begin   func(*trouble) (end func())
	// until is how many system calls fail before it ends; 0: it lasts faultSpan.
	until int
	// reason is the problem that is logged, once, and shown by status: as long as the fault lasts, if that is asked.
	reason string
	mute   bool // status cannot be asked meanwhile
	// published: the renewal shows in spite of the fault. Without, it may or may not.
	published bool
	// later: the certificate renews only after the fault, because there is no place for it.
	later bool
	// loud: every signal logs something.
	loud bool
}

// faultSpan is longer than three sweeps, so that what is logged by each of them is found out.
const faultSpan = 3300 * time.Millisecond

// A trouble is a server with a fault.
type trouble struct {
	*rig
	fault
	before, after cert
	web           cert
	injected      func() int // system calls that failed on purpose
	probes        atomic.Int64
	seen          atomic.Bool // after was answered
}

func (f fault) run(t *testing.T) {
	tr := &trouble{rig: newRig(t, time.Minute, ""), fault: f, injected: func() int { return 0 }}
	tr.before, tr.after, tr.web = newCert(t), newCert(t), newWebCert(t)
	tr.place("live", "mail", tr.before)
	tr.place("live", "web", tr.web)
	if f.prepare != nil {
		f.prepare(tr)
	}
	tr.startAs(f.prefix...)
	tr.settled(tr.before)
	stop := make(chan struct{})
	var probing sync.WaitGroup
	rest := sync.OnceFunc(func() { close(stop); probing.Wait() })
	defer rest()
	probing.Go(func() { tr.probe(stop) })
	tr.suffer()
	tr.recover()
	rest()
	tr.restarted()
	if n := tr.probes.Load(); n < 10 {
		t.Errorf("only %d probes", n)
	}
}

func newWebCert(t *testing.T) cert {
	t.Helper()
	c, _ := newCertOf(t, "web.example.org")
	return c
}

// startAs starts the server by another program.
func (r *rig) startAs(prefix ...string) {
	r.t.Helper()
	binary, err := build()
	if err != nil {
		r.t.Fatal(err)
	}
	args := append(slices.Clone(prefix), binary, "-conf", r.conf)
	r.cmd = exec.Command(args[0], args[1:]...)
	r.cmd.Dir = r.dir
	r.cmd.Stdout, r.cmd.Stderr = r.log, r.log
	if err := r.cmd.Start(); err != nil {
		r.t.Fatal(err)
	}
}

// settled waits until the owners have an answer with the certificates and the server has recorded that.
func (tr *trouble) settled(certs ...cert) {
	tr.t.Helper()
	tr.has(certs...)
	poll(tr.t, "the control socket", func() (bool, string) {
		s := tr.status()
		if s == nil || !s.Blocks[0].Serving {
			return false, tr.log.String()
		}
		for _, o := range s.Blocks[0].Owners {
			for _, a := range o.Associations {
				if a.Since == nil || a.Unrecorded {
					return false, o.Name
				}
			}
		}
		return true, ""
	})
}

func (tr *trouble) has(certs ...cert) {
	tr.t.Helper()
	a, fault := tr.first(owner)
	for _, c := range certs {
		if fault != nil || !slices.Contains(a.digests, c.digest) {
			tr.t.Fatalf("%.8s is not in the answer %s: %v", c.digest, brief(a.digests), fault)
		}
	}
}

// probe asks as a client does, which tries again: strace and a busy machine may let a second pass. Both keys are owed once they were answered.
func (tr *trouble) probe(stop <-chan struct{}) {
	for {
		var a reply
		var fault, silence error
		due := tr.seen.Load()
		for range 3 {
			if a, fault, silence = tr.ask(owner, 2*time.Second); silence == nil {
				break
			}
		}
		switch {
		case silence != nil || fault != nil:
			tr.t.Errorf("the answer fails: %v %v", silence, fault)
			return
		case !slices.Contains(a.digests, tr.before.digest) || due && !slices.Contains(a.digests, tr.after.digest):
			tr.t.Errorf("the answer lost a key: %s, of %s", brief(a.digests), brief(digests(tr.before, tr.after)))
			return
		case slices.Contains(a.digests, tr.after.digest):
			tr.seen.Store(true)
		}
		tr.probes.Add(1)
		select {
		case <-stop:
			return
		case <-time.After(10 * time.Millisecond):
		}
	}
}

// suffer goes through the fault.
func (tr *trouble) suffer() {
	tr.t.Helper()
	said := 0 // a fault may begin before the start
	if tr.prefix == nil {
		said = len(tr.log.String())
	}
	end := tr.begin(tr)
	began := time.Now()
	if !tr.later {
		tr.place("live", "mail", tr.after)
	}
	if tr.until > 0 {
		poll(tr.t, "the system calls that fail", func() (bool, string) { return tr.injected() >= tr.until, fmt.Sprint(tr.injected()) })
	}
	if tr.reason != "" {
		poll(tr.t, tr.reason, func() (bool, string) {
			s := tr.log.String()[said:]
			return strings.Contains(s, ": "+tr.reason+": ") && (tr.until > 0 || tr.mute || tr.shows()), s
		})
	}
	if tr.published {
		poll(tr.t, "the renewal", func() (bool, string) { return tr.seen.Load(), tr.log.String()[said:] })
	}
	if tr.until == 0 {
		<-time.After(time.Until(began.Add(faultSpan)))
	}
	end()
	tr.quiet(tr.log.String()[said:])
}

// shows tells whether status has the problem now.
func (tr *trouble) shows() bool {
	s := tr.status()
	if s == nil {
		return false
	}
	problems := s.Blocks[0].Problems
	for _, o := range s.Blocks[0].Owners {
		problems = append(problems, o.Problems...)
	}
	for _, p := range problems {
		if p.Reason == tr.reason {
			return true
		}
	}
	return false
}

var figure = regexp.MustCompile(`[0-9a-f]{8,}|\d+`)

// quiet checks that nothing is logged again and again.
func (tr *trouble) quiet(said string) {
	tr.t.Helper()
	lines := map[string]int{}
	for line := range strings.Lines(said) {
		line = figure.ReplaceAllString(line, "#")
		if lines[line]++; lines[line] == 3 && !tr.loud && !strings.HasPrefix(line, "[INFO]") {
			tr.t.Errorf("the log repeats itself:\n%s", said)
		}
	}
	if strings.Contains(said, "panic") {
		tr.t.Errorf("a panic:\n%s", said)
	}
}

// recover is what the server does by itself when the fault is over, within ten times what the README says.
func (tr *trouble) recover() {
	tr.t.Helper()
	if tr.later {
		tr.place("live", "mail", tr.after)
	}
	poll(tr.t, "the recovery", func() (bool, string) {
		s := tr.status()
		return tr.seen.Load() && s != nil && !tr.shows(), fmt.Sprintf("renewal %t: %+v\n%s", tr.seen.Load(), s, tr.log)
	})
	tr.settled(tr.before, tr.after)
	m := new(dns.Msg)
	m.SetQuestion(owner, dns.TypeTLSA)
	tcp := dns.Client{Net: "tcp", Timeout: 10 * time.Second}
	if r, _, err := tcp.Exchange(m, tr.addr); err != nil || len(r.Answer) < 2 {
		tr.t.Errorf("over TCP: %v, %v", r, err)
	}
}

// restarted kills and starts: every key is in the first answers, from an intact ledger.
func (tr *trouble) restarted() {
	tr.t.Helper()
	tr.kill()
	tr.log = &journal{}
	tr.startAs(tr.prefix...)
	tr.has(tr.before, tr.after)
	for lineage, owners := range killOwners {
		for _, o := range owners {
			a, fault := tr.first(o)
			want := tr.web.digest
			if lineage == "mail" {
				want = tr.before.digest
			}
			if fault != nil || !slices.Contains(a.digests, want) {
				tr.t.Errorf("after the restart %s has %s: %v", o, brief(a.digests), fault)
			}
		}
	}
	poll(tr.t, "an intact ledger", func() (bool, string) {
		s := tr.status()
		return s != nil && s.Blocks[0].LedgerOrigin == "intact", fmt.Sprintf("%+v\n%s", s, tr.log)
	})
}

// suffering runs the faults of a table, some at a time: most of what they do is wait.
func suffering(t *testing.T, faults map[string]fault) {
	t.Helper()
	binary, err := build()
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(filepath.Dir(binary), 0o755); err != nil { // for servers of other users
		t.Fatal(err)
	}
	names := make(chan string)
	var all sync.WaitGroup
	for range 6 {
		all.Go(func() {
			for claim := range names {
				t.Run(claim, faults[claim].run)
			}
		})
	}
	for _, claim := range slices.Sorted(maps.Keys(faults)) {
		names <- claim
	}
	close(names)
	all.Wait()
	t.Logf("%d faults", len(faults))
}

// execute runs a program that must not fail.
func (tr *trouble) execute(name string, args ...string) {
	tr.t.Helper()
	if out, err := exec.Command(name, args...).CombinedOutput(); err != nil {
		tr.t.Fatalf("%s %q: %v\n%s", name, args, err, out)
	}
}

func (tr *trouble) path(parts ...string) string {
	return filepath.Join(append([]string{tr.dir}, parts...)...)
}

func (tr *trouble) must(err error) {
	tr.t.Helper()
	if err != nil {
		tr.t.Fatal(err)
	}
}

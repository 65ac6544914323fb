package tlsa

import (
	"fmt"
	"net"
	"os"
	"runtime"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/coredns/caddy"

	"github.com/coredns-tlsa/coredns-tlsa/plugin/tlsa/certdir"
	"github.com/coredns-tlsa/coredns-tlsa/plugin/tlsa/rollover"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"github.com/miekg/dns"
)

// The tests here that count goroutines and inotify instances do not run in parallel with others.

// asked keeps goroutines asking for the owner's records until the returned function is called. Every answer must hold
// exactly one of the sets.
func (s *site) asked(sets ...[]string) (stop func() int) {
	s.Helper()
	for i := range sets {
		sets[i] = slices.Sorted(slices.Values(sets[i]))
	}
	udp, tcp := *s, *s // the addresses of now: reloads keep them
	done, answers := make(chan struct{}), make(chan int, 4)
	var asking sync.WaitGroup
	for i := range 4 {
		asking.Go(func() {
			n := 0
			defer func() { answers <- n }()
			tick := time.NewTicker(3 * time.Millisecond)
			defer tick.Stop()
			for ; !s.Failed(); n++ {
				select {
				case <-done:
					return
				case <-tick.C:
				}
				at, network := &udp, "udp"
				if i == 3 {
					at, network = &tcp, "tcp"
				}
				at.askOnce(network, n%2 == 0, sets)
			}
		})
	}
	return func() int {
		close(done)
		asking.Wait()
		close(answers)
		sum := 0
		for n := range answers {
			sum += n
		}
		return sum
	}
}

// askOnce fails the test on a lost or wrong answer. Over TCP a server that stops may close a connection before it reads the
// query, and any client asks again then.
func (s *site) askOnce(network string, do bool, sets [][]string) {
	r, err := s.exchange(network, s.owner, dns.TypeTLSA, do)
	for tries := 0; network == "tcp" && err != nil && tries < 5; tries++ {
		r, err = s.exchange(network, s.owner, dns.TypeTLSA, do)
	}
	if err != nil {
		s.Errorf("lost: %v", err)
		return
	}
	set, err := rrset(r, s.owner)
	if err == nil && !slices.ContainsFunc(sets, func(want []string) bool { return slices.Equal(want, set) }) {
		err = fmt.Errorf("%q, not one of %q", set, sets)
	}
	if err == nil && do {
		err = validated(r, s.signer)
	}
	if err != nil {
		s.Errorf("wrong: %v", err)
	}
}

// settled gives how many goroutines and inotify instances run, when that has been the same for some time: some come and go
// a little later than the server.
func settled(t *testing.T) (goroutines, watchers int) {
	t.Helper()
	same := 0
	until(t, time.Second, "steady goroutines and inotify instances", func() bool {
		g, w := len(lingering()), inotifies()
		if g != goroutines || w != watchers {
			same = 0
		}
		goroutines, watchers, same = g, w, same+1
		return same >= 15
	})
	return goroutines, watchers
}

// flat waits until as many goroutines and inotify instances run as before.
func flat(t *testing.T, goroutines, watchers int) {
	t.Helper()
	until(t, time.Second, fmt.Sprintf("%d goroutines of ours and %d inotify instances, but there are %d and %d",
		goroutines, watchers, len(lingering()), inotifies()), func() bool {
		return len(lingering()) == goroutines && inotifies() == watchers
	})
}

func TestHundredReloadsLoseNoAnswerAndLeaveNothing(t *testing.T) {
	s := newSite(t, "reloads.test.")
	s.options = strings.NewReplacer("hold 2s", "hold 4s", "grace 3s", "grace 4s").Replace(s.options)
	installed, staged := newKey(t), newKey(t)
	s.write(place, s.chain(installed))
	s.start()
	s.write("next/mail.pem", s.chain(staged))
	s.becomes(notice, record(t, installed), record(t, staged))
	published := s.recorded().Associations
	began := time.Now()
	goroutines, watchers := settled(t)
	all := runtime.NumGoroutine()
	stop := s.asked([]string{record(t, installed), record(t, staged)})
	plain := s.options
	for i := range 100 {
		s.options = plain
		switch i % 3 {
		case 1:
			s.options = strings.Replace(plain, "rescan 1s", "rescan 2s", 1)
		case 2:
			s.options += "name _465._tcp.mail\n"
		}
		s.reload()
	}
	s.options = plain
	s.reload()
	t.Logf("%d answers during 101 reloads in %s", stop(), time.Since(began))
	until(t, 4*time.Second, "ready", func() bool { return s.state(rollover.Ready) == 1 })
	for i, a := range s.recorded().Associations {
		if diff := cmp.Diff(published[i].PublishedAt, a.PublishedAt); diff != "" {
			t.Errorf("published at (-before +after the reloads):\n%s", diff)
		}
	}
	flat(t, goroutines, watchers)
	until(t, time.Second, "as many goroutines as before", func() bool { return runtime.NumGoroutine() <= all+5 })
	if lines := slices.Concat(s.log("[ERROR]"), s.log("UNGATED")); len(lines) > 0 {
		t.Errorf("the log says %q", lines)
	}
	s.becomes(notice, record(t, installed), record(t, staged))
}

// occupied is a TCP port that somebody else has.
func occupied(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	_, port, err := net.SplitHostPort(l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	return port
}

// faults are ways for a start to fail, each after tlsa has done more than with the one before.
func faults(t *testing.T) map[string]func(s *site) {
	return map[string]func(s *site){
		"an error in the Corefile": func(s *site) { s.options += "graze 4s\n" },
		"another zone's block cannot start": func(s *site) {
			s.more = "other." + s.zone + ":0 {\nbind 127.0.0.1\ntlsa {\ncerts " + s.path("certs") + "\nname _25._tcp.mail\nledger " +
				s.path("nowhere/tlsa.ledger") + "\n}\nfile " + s.path("other") + "\n}\n"
		},
		"a plugin after it cannot start": func(s *site) { s.after = failing + "\n" + s.after },
		"the port of another block is taken": func(s *site) {
			s.more = "other." + s.zone + ":" + occupied(t) + " {\nbind 127.0.0.1\nfile " + s.path("other") + "\n}\n"
		},
	}
}

func TestReloadThatFailsChangesNothing(t *testing.T) {
	s := newSite(t, "failing.test.")
	other := "_465._tcp.mail." + s.zone
	s.options += "name _465._tcp.mail\n" + "pin _465._tcp.mail 3 1 1 " + strings.Repeat("ab", 32) + "\n"
	key := newKey(t)
	s.write(place, s.chain(key))
	want := []string{record(t, key)}
	s.start()
	s.expect(want...)
	goroutines, watchers := settled(t)
	good := *s
	both := func() []*rollover.Timeline { // without what the old server goes on to record when its hold has passed
		out := []*rollover.Timeline{s.timeline(s.owner, ""), s.timeline(other, "")}
		for _, timeline := range out {
			for i := range timeline.Associations {
				timeline.Associations[i].ReadyAt = rollover.Stamp{}
			}
		}
		return out
	}
	for claim, fault := range faults(t) {
		t.Run(claim, func(t *testing.T) {
			whole := s.T
			s.T = t
			defer func() { s.T = whole }()
			before := both()
			stop := s.asked(slices.Clone(want))
			s.options = strings.NewReplacer("hold 2s", "hold 5s", "grace 3s", "grace 6s", "name _465._tcp.mail\n", "name _466._tcp.mail\n",
				"pin _465", "pin _466").Replace(good.options) + "certs nowhere\n"
			fault(s)
			for range 3 {
				if err := s.tryReload(); err == nil {
					t.Fatal("the reload did not fail")
				}
			}
			stop()
			if diff := cmp.Diff(before, both()); diff != "" {
				t.Errorf("the ledger (-before +after the reload that failed):\n%s", diff)
			}
			if s.timeline("_466._tcp.mail."+s.zone, "") != nil {
				t.Error("the ledger has an owner of the Corefile that could not start")
			}
			if lines := s.log("withdrawn"); len(lines) > 0 {
				t.Errorf("the log says %q", lines)
			}
			if open := s.openProblems(); len(open) > 0 {
				t.Errorf("problems of a server that could not start are open: %q", open)
			}
			flat(t, goroutines, watchers)
			staged := newKey(t)
			s.write(fmt.Sprintf("next/mail%d.pem", len(want)), s.chain(staged))
			want = append(want, record(t, staged))
			s.becomes(notice, want...)
			until(t, notice, "the figures of the server that goes on", func() bool {
				return s.state(rollover.Published)+s.state(rollover.Ready) == 2*(len(want)-1)
			})
			s.options, s.after, s.more = good.options, good.after, good.more
			s.reload()
			s.expect(want...)
			flat(t, goroutines, watchers)
		})
	}
	s.stop()
	flat(t, 0, 0)
	s.unlocked()
}

// TestChangeDuringASlowReloadIsNotTakenBack is not parallel: no other server can start meanwhile.
func TestChangeDuringASlowReloadIsNotTakenBack(t *testing.T) {
	s := newSite(t, "slow.test.")
	old, young := newKey(t), newKey(t)
	s.write(place, s.chain(old))
	s.start()
	before := s.recorded()
	s.after = stalling + "\n" + s.after
	reloaded := make(chan error, 1)
	serving := *s // its addresses and those of the new server are the same
	go func() { reloaded <- s.tryReload() }()
	<-gate
	release := sync.OnceFunc(func() { <-gate })
	defer release()
	serving.install(place, serving.chain(young))
	during(t, rescan, func() { serving.expect(record(t, old)) })
	if diff := cmp.Diff(before.Associations, serving.recorded().Associations, cmpopts.IgnoreFields(rollover.Times{}, "ReadyAt")); diff != "" {
		t.Errorf("the old server writes while the new one starts (-before +after):\n%s", diff)
	}
	release()
	if err := <-reloaded; err != nil {
		t.Fatal(err)
	}
	s.becomes(notice, record(t, old), record(t, young))
}

// TestReloadThatFailsInAShutdownGoesOn: caddy says that the reload failed, and it is the new servers that answer.
func TestReloadThatFailsInAShutdownGoesOn(t *testing.T) {
	s := newSite(t, "shutdown.test.")
	key, staged := newKey(t), newKey(t)
	s.write(place, s.chain(key))
	good := s.after
	s.after = unstoppable + "\n" + good
	s.start()
	goroutines, watchers := settled(t)
	s.after = good
	if err := s.tryReload(); err == nil {
		t.Fatal("the reload did not fail")
	}
	all := caddy.Instances()
	s.use(all[len(all)-1])
	s.expect(record(t, key))
	flat(t, goroutines, watchers)
	s.write("next/mail.pem", s.chain(staged))
	s.becomes(notice, record(t, key), record(t, staged))
	until(t, hold, "ready", func() bool { return s.state(rollover.Ready) == 1 })
	s.stop()
	flat(t, 0, 0)
	s.unlocked()
}

// unlocked fails when somebody still has the ledger open.
func (s *site) unlocked() {
	s.Helper()
	f, err := os.Open(s.path("tlsa.ledger"))
	s.must(err)
	defer f.Close()
	if err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		s.Errorf("the ledger is still locked: %v", err)
	}
}

func TestFirstStartThatFailsLeavesNothing(t *testing.T) {
	n := 0
	for claim, fault := range faults(t) {
		n++
		zone := fmt.Sprintf("firststart%d.test.", n)
		t.Run(claim, func(t *testing.T) {
			s := newSite(t, zone)
			key := newKey(t)
			s.write(place, s.chain(key))
			good := *s
			fault(s)
			for range 2 {
				if err := s.tryStart(); err == nil {
					t.Fatal("the start did not fail")
				}
			}
			flat(t, 0, 0)
			s.options, s.after, s.more = good.options, good.after, good.more
			s.start()
			s.expect(record(t, key))
			staged := newKey(t)
			s.write("next/mail.pem", s.chain(staged))
			s.becomes(notice, record(t, key), record(t, staged))
			s.stop()
			flat(t, 0, 0)
			s.unlocked()
		})
	}
}

func TestFirstAnswerAfterRestartHasTheOldRecord(t *testing.T) {
	t.Parallel()
	s := newSite(t, "restart.test.")
	s.options = strings.Replace(s.options, "grace 3s", "grace 15s", 1)
	old, young := newKey(t), newKey(t)
	s.write(place, s.chain(old))
	s.start()
	s.expect(record(t, old))
	before := time.Now()
	s.install(place, s.chain(young))
	s.becomes(notice, record(t, old), record(t, young))
	for range 3 {
		s.stop()
		s.start()
		s.expect(record(t, old), record(t, young)) // the very first answer
	}
	until(t, 15*time.Second, "only the new", func() bool { return s.serves(s.owner, record(t, young)) })
	if lived := time.Since(before); lived < 15*time.Second {
		t.Errorf("the old record is gone after %s", lived)
	}
	if lines := s.log("UNGATED"); len(lines) != 1 {
		t.Errorf("restarts made more of one ungated key: %q", lines)
	}
}

func TestRestartWithoutFilesAnswersFromTheLedger(t *testing.T) {
	t.Parallel()
	s := newSite(t, "ledger.test.")
	key := newKey(t)
	s.write(place, s.chain(key))
	s.start()
	s.expect(record(t, key))
	s.stop()
	s.must(os.Rename(s.path("certs"), s.path("away")))
	s.start()
	during(t, 2*rescan, func() { s.expect(record(t, key)) })
	if s.problem(certdir.MissingRoot) == 0 {
		t.Errorf("the problems are %q", s.openProblems())
	}
}

func TestServerWithoutFilesAndLedgerFailsRatherThanDenies(t *testing.T) {
	t.Parallel()
	s := newSite(t, "nothing.test.")
	s.must(os.Remove(s.path("certs")))
	s.start()
	if r := s.ask(s.owner, dns.TypeTLSA, true); r.Rcode != dns.RcodeServerFailure {
		t.Errorf("the answer is\n%s", r)
	}
	key := newKey(t)
	s.write(place, s.chain(key))
	until(t, notice, "an answer", func() bool { return s.ask(s.owner, dns.TypeTLSA, true).Rcode == dns.RcodeSuccess })
	s.becomes(notice, record(t, key))
}

func TestProblemsOfBeforeTheReloadAreOver(t *testing.T) {
	t.Parallel()
	s := newSite(t, "over.test.")
	s.after = "file other other." + s.zone + "\n"
	s.write(place, s.chain(newKey(t)))
	s.start()
	until(t, notice, "zone-missing", func() bool { return slices.Equal(s.openProblems(), []string{"zone-missing"}) })
	s.after = "file db\n"
	s.reload()
	if open := s.openProblems(); len(open) > 0 {
		t.Errorf("after the reload %q are open", open)
	}
	s.options = "" // guards only: nothing is published
	s.reload()
	if n := s.state(rollover.Active); n != 0 {
		t.Errorf("%d active associations of a block that is gone", n)
	}
}

//go:build referee

package main

import (
	"encoding/hex"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/coredns-tlsa/coredns-tlsa/plugin/tlsa/control"
)

// killGrace is the shortest that a Corefile allows with a TTL of one second.
const killGrace = 2 * time.Second

// A killing is a server that is killed at random instants while an operator renews its certificates and a cache asks it.
type killing struct {
	*rig
	*killModel
	cache killCache
	r     *rand.Rand
	sites map[string]*killSite
	// toll is shared by all killings of a test.
	toll *toll
	deed atomic.Value // what was done last, for a fault's report
}

// A killSite is what an operator has in hand of a lineage.
type killSite struct {
	installed, staged *killKey
	done              bool // staged is installed and may be unstaged
}

func newKilling(t *testing.T, r *rand.Rand, sum *toll) *killing {
	t.Helper()
	k := &killing{rig: newRig(t, killGrace, ""), killModel: newKillModel(killGrace), r: r, sites: map[string]*killSite{}, toll: sum}
	k.deed.Store("the first start")
	for lineage := range killOwners {
		c := k.fresh(lineage)
		k.sites[lineage] = &killSite{installed: k.hold(lineage, c)}
		k.place("live", lineage, c)
	}
	return k
}

func (k *killing) fresh(lineage string) cert {
	k.t.Helper()
	c, _ := newCertOf(k.t, lineage+".example.org")
	return c
}

func (k *killing) fault(format string, args ...any) {
	k.toll.add("faults", 1)
	k.t.Errorf("kill %d, %s: %s", k.toll.get("kills"), k.deed.Load(), fmt.Sprintf(format, args...))
}

// query asks once and judges the answer; false: the server said nothing.
func (k *killing) query(lineage, owner string) (reply, bool) {
	asked := time.Now()
	a, fault, silence := k.rig.ask(owner, time.Second)
	if silence != nil {
		return a, false
	}
	came := time.Now()
	if fault == nil {
		fault = k.judge(lineage, owner, a.digests, asked, came)
		k.cache.add(owner, a.digests, came.Add(a.ttl))
	}
	if fault != nil {
		k.fault("%s: %v", owner, fault)
	}
	k.toll.add("answers", 1)
	return a, true
}

// asking is the clients: they ask all the time and never mind silence.
func (k *killing) asking(stop <-chan struct{}) {
	for {
		for lineage, owners := range killOwners {
			for _, owner := range owners {
				k.query(lineage, owner)
			}
		}
		select {
		case <-stop:
			return
		case <-time.After(10 * time.Millisecond):
		}
	}
}

// up starts the server and wants the first answer to each owner to be right.
func (k *killing) up() {
	k.t.Helper()
	k.log = &journal{}
	k.started(time.Now())
	k.start()
	deadline := time.Now().Add(patient)
	for lineage, owners := range killOwners {
		for _, owner := range owners {
			for {
				if _, said := k.query(lineage, owner); said {
					break
				}
				if time.Now().After(deadline) {
					k.t.Fatalf("%s: no answer in %s:\n%s", k.deed.Load(), patient, k.log)
				}
				<-time.After(time.Millisecond)
			}
		}
	}
}

// down kills the server, if it runs.
func (k *killing) down() {
	if k.cmd == nil {
		return
	}
	k.kill()
	k.killed(time.Now())
	if log := k.log.String(); strings.Contains(log, "panic") || strings.Contains(log, "ledger-") {
		k.fault("the log says:\n%s", log)
	}
}

// renew does what an operator or a client does with one lineage, if not too many of its keys are published.
func (k *killing) renew(lineage string) *killKey {
	k.t.Helper()
	s := k.sites[lineage]
	if k.keys(lineage) >= 8 {
		return nil
	}
	k.toll.add("renewals", 1)
	switch way := k.r.IntN(6); {
	case way < 3:
		c := k.fresh(lineage)
		next := k.hold(lineage, c)
		k.release(s.installed)
		k.place("live", lineage, c)
		s.installed = next
		return next
	case way == 3: // the same again
		k.place("live", lineage, s.installed.cert)
		return nil
	case s.done:
		k.release(s.staged)
		if err := os.Remove(filepath.Join(k.dir, "next", lineage, "fullchain.pem")); err != nil {
			k.t.Fatal(err)
		}
		s.staged, s.done = nil, false
		return nil
	case s.staged != nil && k.r.IntN(3) > 0: // it waits to be installed
		return nil
	}
	c := k.fresh(lineage)
	next := k.hold(lineage, c)
	if s.staged != nil {
		k.release(s.staged)
	}
	k.place("next", lineage, c)
	s.staged = next
	return next
}

// safe asks the control socket of what is staged. What it has called safe once must stay so.
func (k *killing) safe(c *control.Client, key *killKey) bool {
	spki, err := hex.DecodeString(key.digest)
	if err != nil {
		k.t.Fatal(err)
	}
	s, err := c.Safe(k.t.Context(), control.Certificate{SPKI: string(spki)})
	if err != nil {
		return false
	}
	if key.told && !s.Safe {
		k.fault("%.8s was safe to install, and is no longer: %s", key.digest, s.Why)
	}
	if s.Safe && !key.told {
		key.told = true
		k.toll.add("keys Ready", 1)
	}
	return s.Safe
}

// install puts what is staged in place where it is safe. No cache may then hold an answer without it.
func (k *killing) install() {
	k.t.Helper()
	c, err := control.Dial(filepath.Join(k.dir, "control"))
	if err != nil {
		return
	}
	for lineage, s := range k.sites {
		if s.staged == nil || s.done || !k.safe(c, s.staged) || k.r.IntN(2) == 0 {
			continue
		}
		for _, owner := range killOwners[lineage] {
			if held := k.cache.lacks(owner, s.staged.digest); held != nil {
				k.fault("%.8s is safe to install, but a cache has %s", s.staged.digest, brief(held))
			}
		}
		k.hold(lineage, s.staged.cert)
		k.release(s.installed)
		k.place("live", lineage, s.staged.cert)
		s.installed, s.done = s.staged, true
		k.toll.add("keys installed when safe", 1)
	}
}

func (k *killing) either() string {
	if k.r.IntN(3) == 0 {
		return "web"
	}
	return "mail"
}

func (k *killing) pause(most time.Duration) { <-time.After(time.Duration(k.r.Int64N(int64(most)))) }

// await asks for a key all the time until it is answered, for at most a few seconds.
func (k *killing) await(lineage string, key *killKey) {
	for end := time.Now().Add(4 * time.Second); key != nil && time.Now().Before(end); {
		if a, said := k.query(lineage, killOwners[lineage][0]); said && strings.Contains(strings.Join(a.digests, " "), key.digest) {
			return
		}
	}
}

// settles lets everything end: with grace over, each owner has what the files have.
func (k *killing) settles() {
	k.t.Helper()
	k.deed.Store("the last restart")
	for lineage, owners := range killOwners {
		s := k.sites[lineage]
		want := digests(s.installed.cert)
		if s.staged != nil && s.staged != s.installed {
			want = digests(s.installed.cert, s.staged.cert)
		}
		for _, owner := range owners {
			poll(k.t, "the end of all grace", func() (bool, string) {
				a, _ := k.query(lineage, owner)
				return strings.Join(a.digests, " ") == strings.Join(want, " "), fmt.Sprint(brief(a.digests), ", want ", brief(want))
			})
		}
	}
	poll(k.t, "an intact ledger", func() (bool, string) {
		s := k.status()
		return s != nil && s.Blocks[0].LedgerOrigin == "intact", fmt.Sprintf("%+v", s)
	})
}

// killMany runs servers beside each other until the toll has so many kills, or the time is over.
func killMany(t *testing.T, seed uint64, kills int, limit time.Time, sum *toll) {
	t.Helper()
	if _, err := build(); err != nil {
		t.Fatal(err)
	}
	var all sync.WaitGroup
	for n := range 4 {
		all.Go(func() {
			t.Run(fmt.Sprint("server", n), func(t *testing.T) {
				k := newKilling(t, rand.New(rand.NewPCG(seed, uint64(n))), sum)
				stop := make(chan struct{})
				var clients sync.WaitGroup
				defer clients.Wait()
				defer close(stop)
				k.up()
				clients.Go(func() { k.asking(stop) })
				for sum.get("kills") < kills && time.Now().Before(limit) && !t.Failed() {
					k.cycle()
				}
				k.settles()
			})
		})
	}
	all.Wait()
}

func TestKillsAtRandomLoseNothing(t *testing.T) {
	t.Parallel()
	s := newLengthy(t, "KILLS", 200)
	killMany(t, s.Seed+uint64(s.Legs), s.target, s.limit, &s.toll)
	s.end(t)
	if s.get("kills") < 200 {
		return // too few to have done everything
	}
	for _, d := range deeds {
		if s.get("after "+d.name) == 0 {
			t.Errorf("no kill after %s", d.name)
		}
	}
	for _, what := range []string{"keys Ready", "keys installed when safe"} {
		if s.get(what) == 0 {
			t.Errorf("no %s", what)
		}
	}
}

//go:build referee

package main

import (
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"
)

// killOwners are the owners of each lineage of a rig.
var killOwners = map[string][]string{
	"mail": {"_25._tcp.mail.example.org.", "_465._tcp.mail.example.org."},
	"web":  {"_443._tcp.web.example.org."},
}

// A killModel says what a server may answer that is killed again and again. It knows the files, what was answered, and how
// long the server has run; nothing of the rollover. Its clock is that of service: no more of it than the model counts can
// have passed in the server, which loses what it did not write down.
type killModel struct {
	mu       sync.Mutex // guards the rest
	grace    time.Duration
	ran      time.Duration // of the runs before
	since    time.Time     // this run began then; zero: down
	lineages map[string][]*killKey
}

// A killKey is a key of a lineage.
type killKey struct {
	cert
	files    int // that hold it
	answered map[string]time.Time
	left     time.Duration // on the clock of service: when the last file was replaced or removed
	told     bool          // the control socket has said that it is safe to install
}

func newKillModel(grace time.Duration) *killModel {
	return &killModel{grace: grace, lineages: map[string][]*killKey{}}
}

func (m *killModel) started(at time.Time) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.since = at
}

func (m *killModel) killed(at time.Time) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.ran, m.since = m.ran+at.Sub(m.since), time.Time{}
}

// service is the most that the server's clock can have passed. mu is held.
func (m *killModel) service(now time.Time) time.Duration {
	if m.since.IsZero() {
		return m.ran
	}
	return m.ran + now.Sub(m.since)
}

// hold says that one more file will have the key; it must be called before.
func (m *killModel) hold(lineage string, c cert) *killKey {
	m.mu.Lock()
	defer m.mu.Unlock()
	all := m.lineages[lineage]
	if i := slices.IndexFunc(all, func(k *killKey) bool { return k.digest == c.digest }); i >= 0 {
		all[i].files++
		return all[i]
	}
	k := &killKey{cert: c, files: 1, answered: map[string]time.Time{}}
	m.lineages[lineage] = append(all, k)
	return k
}

// release says that one file less will have the key; it must be called before.
func (m *killModel) release(k *killKey) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if k.files--; k.files == 0 {
		k.left = m.service(time.Now())
	}
}

// owed tells whether the key must still be answered, if it ever was. mu is held.
func (m *killModel) owed(k *killKey, now time.Time) bool {
	return k.files > 0 || m.service(now)-k.left < m.grace
}

// keys counts those that are owed.
func (m *killModel) keys(lineage string) int {
	m.mu.Lock()
	defer m.mu.Unlock()
	n := 0
	for _, k := range m.lineages[lineage] {
		if m.owed(k, time.Now()) {
			n++
		}
	}
	return n
}

// judge takes in an answer that was asked for at a moment and came at another, and tells what is wrong with it.
func (m *killModel) judge(lineage, owner string, digests []string, asked, came time.Time) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	var faults []error
	known := map[string]bool{}
	for _, k := range m.lineages[lineage] {
		known[k.digest] = true
		at, was := k.answered[owner]
		in := slices.Contains(digests, k.digest)
		if was && at.Before(asked) && m.owed(k, came) && !in {
			faults = append(faults, fmt.Errorf("%.8s is owed (%d files have it, %s of service since it left), but not in %s",
				k.digest, k.files, m.service(came)-k.left, brief(digests)))
		}
		if in && !was {
			k.answered[owner] = came
		}
	}
	for _, d := range digests {
		if !known[d] {
			faults = append(faults, fmt.Errorf("%.8s is nobody's", d))
		}
	}
	return errors.Join(faults...)
}

// A killCache holds each answer as long as its TTL lets it.
type killCache struct {
	mu      sync.Mutex // guards entries
	entries map[string][]cached
}

type cached struct {
	digests []string
	until   time.Time
}

func (c *killCache) add(owner string, digests []string, until time.Time) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.entries == nil {
		c.entries = map[string][]cached{}
	}
	c.entries[owner] = append(c.held(owner), cached{digests, until})
}

// held gives what has not expired. mu is held.
func (c *killCache) held(owner string) []cached {
	return slices.DeleteFunc(c.entries[owner], func(e cached) bool { return !time.Now().Before(e.until) })
}

// lacks gives an answer in the cache without the digest; nil: a client could use the key now.
func (c *killCache) lacks(owner, digest string) []string {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, e := range c.held(owner) {
		if !slices.Contains(e.digests, digest) {
			return e.digests
		}
	}
	return nil
}

func TestTheModelOfKillsIsNotBlind(t *testing.T) {
	const owner = "o."
	at := func(s float64) time.Time { return time.Unix(1000, 0).Add(time.Duration(s * float64(time.Second))) }
	// a was answered at 1 and left at 2; the server ran from 0 to 3 and from 10 on.
	fresh := func() *killModel {
		m := newKillModel(2 * time.Second)
		m.started(at(0))
		a := m.hold("l", cert{digest: "a"})
		m.hold("l", cert{digest: "b"})
		if err := m.judge("l", owner, []string{"a"}, at(1), at(1)); err != nil {
			t.Fatal(err)
		}
		a.files, a.left = 0, 2*time.Second
		m.killed(at(3))
		m.started(at(10))
		return m
	}
	for what, c := range map[string]struct {
		digests []string
		asked   float64
		wrong   bool
	}{
		"both":                             {[]string{"a", "b"}, 10, false},
		"one that was never answered":      {[]string{"a"}, 10, false},
		"a stranger":                       {[]string{"a", "b", "x"}, 10, true},
		"one is gone too early":            {[]string{"b"}, 10.9, true},
		"one is gone in time":              {[]string{"b"}, 11.1, false},
		"asked before it was answered":     {[]string{"b"}, 0.5, true},
		"none at all, though one was owed": {nil, 10, true},
	} {
		m := fresh()
		asked, came := at(c.asked), at(c.asked)
		if what == "asked before it was answered" {
			came = at(11.1)
			c.wrong = false
		}
		if err := m.judge("l", owner, c.digests, asked, came); (err != nil) != c.wrong {
			t.Errorf("%s: %v", what, err)
		}
	}
	var c killCache
	c.add(owner, []string{"a"}, time.Now().Add(time.Hour))
	c.add(owner, []string{"a", "b"}, time.Now().Add(time.Hour))
	if c.lacks(owner, "a") != nil || c.lacks(owner, "b") == nil {
		t.Error("the cache does not know what it lacks")
	}
	c.entries[owner][0].until = time.Now()
	if c.lacks(owner, "b") != nil {
		t.Error("the cache holds what has expired")
	}
}

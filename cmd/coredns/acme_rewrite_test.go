//go:build referee

package main

import (
	"fmt"
	"path/filepath"
	"slices"
	"testing"
	"time"
)

// perform does the steps of a play, at once.
func (p *play) perform(t *testing.T) {
	t.Helper()
	for _, st := range p.steps {
		if err := st.do(); err != nil {
			t.Fatalf("%s: %v", st.what, err)
		}
	}
}

// A rewriter keeps three lineages as acme.sh does: turn has two keys in turn, same one key with ever new certificates, and
// mail a new key now and then.
type rewriter struct {
	t        *testing.T
	dir      string
	ca       *issuer
	turns    [2]material
	same     func() material
	installs map[string][]install
}

// newRewriter issues the first certificates.
func newRewriter(t *testing.T) *rewriter {
	t.Helper()
	r := &rewriter{t: t, dir: t.TempDir(), ca: newIssuer(t), installs: make(map[string][]install)}
	r.turns = [2]material{r.ca.issue("turn.example.org"), r.ca.issue("turn.example.org")}
	key, keyPEM := newECKey(t)
	r.same = func() material {
		m := r.ca.issueFor(key, "same.example.org")
		m.key = keyPEM
		return m
	}
	r.fresh("turn", r.turns[0])
	r.fresh("same", r.same())
	r.fresh("mail", r.ca.issue("mail.example.org"))
	return r
}

func (r *rewriter) put(name string, m material) {
	r.t.Helper()
	p := &play{dir: filepath.Join(r.dir, name), leaf: m.leaf}
	orderACMEsh(p, m, 0)
	p.perform(r.t)
}

// fresh puts a new key in place.
func (r *rewriter) fresh(name string, m material) {
	r.t.Helper()
	begun := time.Now()
	r.put(name, m)
	r.installs[name] = append(r.installs[name], install{m.digest, begun, time.Now()})
}

// TestTwelveHundredRewritesInPlaceServeNothingWrong: the rewriting goes on faster than the quiet period, so that the server
// hardly ever finds two of the lineages at rest; the third has to be published all the same.
func TestTwelveHundredRewritesInPlaceServeNothingWrong(t *testing.T) {
	t.Parallel()
	const rewrites, calm = 1200, 300
	r := newRewriter(t)
	all := serve(t, r.dir, time.Hour, "turn", "same", "mail")
	// From now on the second key comes and goes. It must be published in the end, at no certain time.
	second := install{digest: r.turns[1].digest, begun: time.Now(), done: time.Now().Add(time.Hour)}
	r.installs["turn"] = append(r.installs["turn"], second)
	tick := time.NewTicker(40 * time.Millisecond)
	defer tick.Stop()
	start := time.Now()
	for n := range rewrites {
		r.put("turn", r.turns[1-n%2])
		r.put("same", r.same())
		if n%calm == calm-1 {
			r.fresh("mail", r.ca.issue("mail.example.org"))
		}
		<-tick.C
	}
	last := time.Now()
	t.Logf("%d rewrites of 2 lineages, 9 files each, in %s", rewrites, last.Sub(start).Round(time.Second))
	for name, in := range r.installs {
		want := slices.Sorted(slices.Values(distinct(in)))
		all.settles(t, "the set of "+name, fmt.Sprintf("_25._tcp.%s.example.org.", name),
			func(got []string) bool { return slices.Equal(got, want) })
	}
	t.Logf("the last one was published %s after it was written", time.Since(last).Round(time.Millisecond))
	all.end()
	for name, in := range r.installs {
		all.faultless(t, fmt.Sprintf("_25._tcp.%s.example.org.", name), in, time.Hour, false)
	}
}

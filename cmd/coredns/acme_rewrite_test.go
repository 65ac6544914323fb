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

// TestTwelveHundredRewritesInPlaceServeNothingWrong: three lineages are rewritten as acme.sh does, faster than the quiet
// period, so that the server hardly ever finds them at rest: two keys in turn, one key with ever new certificates, and a
// new key now and then, which must be published although the rewriting of the others goes on.
func TestTwelveHundredRewritesInPlaceServeNothingWrong(t *testing.T) {
	t.Parallel()
	const rewrites, calm = 1200, 300
	ca, dir := newIssuer(t), t.TempDir()
	put := func(name string, m material) {
		p := &play{dir: filepath.Join(dir, name), leaf: m.leaf}
		orderACMEsh(p, m, 0)
		p.perform(t)
	}
	turns := []material{ca.issue("turn.example.org"), ca.issue("turn.example.org")}
	key, keyPEM := newECKey(t)
	same := func() material { m := ca.issueFor(key, "same.example.org"); m.key = keyPEM; return m }
	installs := map[string][]install{}
	put("turn", turns[0])
	one := same()
	put("same", one)
	fresh := ca.issue("mail.example.org")
	put("mail", fresh)
	begun := time.Now()
	for name, digest := range map[string]string{"turn": turns[0].digest, "same": one.digest, "mail": fresh.digest} {
		installs[name] = []install{{digest, begun.Add(-time.Second), begun}}
	}
	all := serve(t, dir, time.Hour, "turn", "same", "mail")
	tick := time.NewTicker(40 * time.Millisecond)
	defer tick.Stop()
	for n := range rewrites {
		begun := time.Now()
		put("turn", turns[n%2])
		put("same", same())
		if n%calm == calm-1 {
			fresh = ca.issue("mail.example.org")
			put("mail", fresh)
			installs["mail"] = append(installs["mail"], install{fresh.digest, begun, time.Now()})
		}
		if n == 1 {
			installs["turn"] = append(installs["turn"], install{turns[1].digest, begun.Add(-time.Second), time.Now().Add(time.Hour)})
		}
		<-tick.C
	}
	t.Logf("%d rewrites of 2 lineages, 9 files each, in %s", rewrites, time.Since(begun).Round(time.Second))
	last := time.Now()
	for name, in := range installs {
		want := slices.Sorted(slices.Values(distinct(in)))
		all.settles(t, "the set of "+name, fmt.Sprintf("_25._tcp.%s.example.org.", name), func(got []string) bool { return slices.Equal(got, want) })
	}
	t.Logf("the last one was published %s after it was written", time.Since(last).Round(time.Millisecond))
	all.end()
	for name, in := range installs {
		all.faultless(t, fmt.Sprintf("_25._tcp.%s.example.org.", name), in, time.Hour, false)
	}
}

package publish

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"testing"

	"github.com/coredns-tlsa/coredns-tlsa/plugin/tlsa/certdir"
)

// TestBreakerComparesCompleteSweeps lets lineages come, go and move between two roots, and compares what the breaker counts on
// the way with the sets of two sweeps.
func TestBreakerComparesCompleteSweeps(t *testing.T) {
	broken, whole := 0, 0
	for seed := range uint64(300) {
		r := rand.New(rand.NewPCG(seed, 3))
		a := newAtlas(nil, nil)
		now, before, lost := map[string]string{}, map[string]map[string]bool{}, map[string]bool{}
		for n := uint64(1); n < 12; n++ {
			for range r.IntN(8) {
				id, root := fmt.Sprint(r.IntN(6)), fmt.Sprint("/", r.IntN(2))
				l := &certdir.Lineage{ID: id, Name: id, Root: root}
				if delete(now, id); r.IntN(3) > 0 {
					now[id], l.Files = root, []certdir.File{{Path: id}}
					delete(lost, id)
				}
				a.learn(l, map[*owner]struct{}{})
			}
			for id := range 6 {
				a.placed[fmt.Sprint(id)] = few[*owner]{one: &owner{}} // else the breaker forgets what it has found
			}
			for _, root := range []string{"/0", "/1"} {
				complete, there := r.IntN(4) > 0, map[string]bool{}
				a.breaker([]*certdir.Root{{Path: root, Sweeps: n, Complete: complete}})
				if !complete {
					continue
				}
				for id, in := range now {
					if in == root {
						there[id] = true
					}
				}
				gone := maps.Clone(before[root])
				maps.DeleteFunc(gone, func(id string, _ bool) bool { return there[id] })
				if whole++; len(gone) > 0 && 2*len(gone) >= len(before[root]) {
					broken++
					maps.Copy(lost, gone)
				}
				before[root] = there
			}
			if !maps.Equal(a.lost, lost) {
				t.Fatalf("seed %d, sweep %d: lost are %v, want %v", seed, n, a.lost, lost)
			}
		}
	}
	if broken < 100 || whole-broken < 100 {
		t.Errorf("%d of %d sweeps broke", broken, whole)
	}
}

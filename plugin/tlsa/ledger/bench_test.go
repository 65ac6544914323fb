package ledger

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"slices"
	"testing"
	"time"

	"github.com/coredns-tlsa/coredns-tlsa/plugin/tlsa/rollover"
)

const many = 100_000

func quantile(d []time.Duration, q float64) float64 {
	slices.Sort(d)
	return float64(d[int(float64(len(d)-1)*q)].Microseconds())
}

func BenchmarkCommitOfOneOwner(b *testing.B) {
	for _, n := range []int{1000, 10_000, many} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			s := open(b, ledgerPath(b))
			commit(b, s, "a", owners(0, n))
			var each []time.Duration
			for b.Loop() {
				i := rand.IntN(n)
				start := time.Now()
				commit(b, s, "a", owners(i, i+1))
				each = append(each, time.Since(start))
			}
			b.ReportMetric(quantile(each, 0.5), "p50-µs")
			b.ReportMetric(quantile(each, 0.99), "p99-µs")
			closeStore(b, s)
		})
	}
}

func BenchmarkLoad(b *testing.B) {
	s := open(b, ledgerPath(b))
	commit(b, s, "a", owners(0, many))
	b.ReportAllocs()
	for b.Loop() {
		if got, err := s.Load("a"); err != nil || len(got) != many {
			b.Fatal(len(got), err)
		}
	}
	closeStore(b, s)
}

func BenchmarkOpen(b *testing.B) {
	path := ledgerPath(b)
	s := open(b, path)
	commit(b, s, "a", owners(0, many))
	closeStore(b, s)
	for b.Loop() {
		closeStore(b, open(b, path))
	}
}

// BenchmarkFileSize follows a ledger through its life: recorded at start, published, and then renewed in random order, each
// owner with two keys for a while.
func BenchmarkFileSize(b *testing.B) {
	path := ledgerPath(b)
	size := func(unit string, associations int) {
		info, err := os.Stat(path)
		if err != nil {
			b.Fatal(err)
		}
		b.ReportMetric(float64(info.Size())/float64(associations), unit)
	}
	for b.Loop() {
		s := open(b, path)
		all := owners(0, many)
		commit(b, s, "a", unpublished(all))
		size("recorded-B/assoc", many)
		commit(b, s, "a", all)
		size("published-B/assoc", many)
		live := many
		order := rand.Perm(many)
		for n, i := range order {
			t, next := all[ownerOf(i)], typical(many+i)
			t.Keys = append(t.Keys, next.Keys...)
			t.Associations = append(t.Associations, next.Associations...)
			live++
			if n%500 == 499 {
				commit(b, s, "a", changed(all, order[n-499:n+1]))
			}
			if n == many/5 {
				size("fifth-renewed-B/assoc", live)
			}
		}
		size("all-renewed-B/assoc", live)
		for _, t := range all {
			t.Keys, t.Associations = t.Keys[1:], t.Associations[1:]
		}
		commit(b, s, "a", all)
		closeStore(b, s)
		s = open(b, path)
		size("single-again-B/assoc", many)
		closeStore(b, s)
	}
}

func unpublished(all timelines) timelines {
	out := maps.Clone(all)
	for owner, t := range out {
		c := t.Clone()
		c.Associations[0].PublishedAt, c.Associations[0].ReadyAt = rollover.Stamp{}, rollover.Stamp{}
		out[owner] = &c
	}
	return out
}

func changed(all timelines, order []int) timelines {
	out := make(timelines)
	for _, i := range order {
		out[ownerOf(i)] = all[ownerOf(i)]
	}
	return out
}

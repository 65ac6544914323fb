package certdir

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// bigTree makes a certbot tree of n lineages.
func bigTree(b *testing.B, n int) (dir string) {
	dir = b.TempDir()
	p := withKeyIDs(newPKI(b))
	c := p.issue("a")
	files := map[string][]byte{"cert": []byte(c.cert), "privkey": []byte(c.key), "chain": []byte(p.chain), "fullchain": []byte(c.fullchain)}
	for i := range n {
		name := fmt.Sprintf("host%06d.example.org", i)
		live, archive := filepath.Join(dir, "live", name), filepath.Join(dir, "archive", name)
		ok(b, os.MkdirAll(live, 0o755))
		ok(b, os.MkdirAll(archive, 0o755))
		for kind, data := range files {
			ok(b, os.WriteFile(archive+"/"+kind+"1.pem", data, 0o600))
			ok(b, os.Symlink("../../archive/"+name+"/"+kind+"1.pem", live+"/"+kind+".pem"))
		}
	}
	return dir
}

func heapInUse() float64 {
	runtime.GC()
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return float64(m.HeapAlloc)
}

// BenchmarkSweepOfUnchangedLineages reports the first sweep, a whole one and the mean of a round of light ones.
func BenchmarkSweepOfUnchangedLineages(b *testing.B) {
	for _, n := range []int{1000, 10_000, 100_000} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			dir := bigTree(b, n)
			before, at := heapInUse(), time.Now()
			w := New(Config{Certs: []string{dir + "/live"}, Rescan: time.Minute, Quiet: time.Second, MaxQuiet: time.Second})
			found := w.Sweep(context.Background())
			first := time.Since(at)
			if len(found.Lineages) != n {
				b.Fatalf("%d lineages", len(found.Lineages))
			}
			held := heapInUse() - before
			w.many, w.rested = 0, -time.Hour // what was made a moment ago counts as old
			w.openSource = newFake().open
			r := runner{w: w, ctx: b.Context(), apply: func(c Changes) {
				if len(c.Lineages) != 0 {
					b.Errorf("%d lineages changed", len(c.Lineages))
				}
			}}
			busy := cpu(b)
			r.sweep(true)
			whole := cpu(b) - busy
			busy, sweeps := cpu(b), 0
			for b.Loop() {
				for range armEvery {
					sweeps++
					r.sweep(true)
				}
			}
			b.ReportMetric((cpu(b)-busy).Seconds()/float64(sweeps), "light-cpu-s")
			b.ReportMetric(whole.Seconds(), "whole-cpu-s")
			r.disconnect()
			b.ReportMetric(first.Seconds(), "first-s")
			b.ReportMetric(held/float64(n), "B/lineage")
			runtime.KeepAlive(found)
		})
	}
}

// cpu is the processor time of this process, which other work on the machine does not lengthen.
func cpu(b *testing.B) time.Duration {
	var u unix.Rusage
	ok(b, unix.Getrusage(unix.RUSAGE_SELF, &u))
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// BenchmarkRenewalAmongLineages reports the processor time of one renewal, from the events to what is handed out, and of a
// directory of links that is removed.
func BenchmarkRenewalAmongLineages(b *testing.B) {
	for _, n := range []int{1000, 10_000, 100_000} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			dir := tree(b, n, false, "fullchain")
			p, key := newPKI(b), newKey(b)
			w := New(Config{Certs: []string{dir + "/live"}, Rescan: time.Hour})
			w.Sweep(context.Background())
			w.openSource = newFake().open
			told := 0
			r := runner{w: w, ctx: b.Context(), apply: func(c Changes) { told += len(c.Lineages) }}
			defer r.disconnect()
			r.connect()
			w.watches.most = 0
			r.sweep(false)
			told = 0
			var renewals, removals time.Duration
			rounds := 0
			runtime.GC()
			for b.Loop() {
				rounds++
				name := fmt.Sprintf("host%06d.example.org", rounds%n)
				version := fmt.Sprintf("fullchain%d.pem", rounds+1)
				live, archive := dir+"/live/"+name, dir+"/archive/"+name
				ok(b, os.WriteFile(archive+"/"+version, []byte(p.issueFor(key, name, name).fullchain), 0o600))
				ok(b, os.Remove(live+"/fullchain.pem"))
				ok(b, os.Symlink("../../archive/"+name+"/"+version, live+"/fullchain.pem"))
				busy := cpu(b)
				w.heard(archive+"/"+version, time.Now())
				w.heard(live+"/fullchain.pem", time.Now())
				w.heardMoved(time.Now())
				r.due()
				renewals += cpu(b) - busy
				busy = cpu(b)
				w.heard(archive, time.Now())
				w.heardMoved(time.Now())
				r.due()
				removals += cpu(b) - busy
			}
			if told != rounds {
				b.Errorf("%d of %d renewals found", told, rounds)
			}
			b.ReportMetric(float64(renewals.Microseconds())/float64(rounds), "cpu-us/renewal")
			b.ReportMetric(float64(removals.Microseconds())/float64(rounds), "cpu-us/target-changed")
		})
	}
}

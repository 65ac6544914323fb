package publish

import (
	"fmt"
	"os"
	"testing"
	"time"
)

// quietLog discards lines: what a test keeps of them would be part of the heap.
type quietLog struct{}

func (quietLog) Infof(string, ...any)    {}
func (quietLog) Warningf(string, ...any) {}
func (quietLog) Errorf(string, ...any)   {}

// waits tells whether something becomes Ready yet.
func (p *Publisher) waits() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return len(p.queue) > 0
}

// kept is what the benchmark has made, so that a profile of the heap, which is written at the end, has it.
var kept *Publisher

// BenchmarkHeapOfPatterns reports what an owner costs in steady state, where four patterns serve each host of a tree, with its
// quarter of a lineage, and what each of three more costs beside the first of a host; the sizes are numbers of owners. The
// largest one takes minutes to make. -memprofile with -memprofilerate 4096 shows where the heap goes.
func BenchmarkHeapOfPatterns(b *testing.B) {
	for _, n := range []int{250, 2500, 25_000, 250_000} {
		b.Run(fmt.Sprint(4*n), func(b *testing.B) {
			cfg := forest(b, n)
			for b.Loop() {
				one := steady(b, cfg, "25")
				all := steady(b, cfg, "25", "443", "465", "587")
				b.ReportMetric(float64(all)/float64(4*n), "heap-B/owner")
				if n > 1000 { // the MiB that a watcher reads into is there or not, which hides what few owners cost
					b.ReportMetric(float64(all-one)/float64(3*n), "heap-B/further-owner")
				}
			}
		})
	}
}

// steady is the heap of a publisher that serves some ports of each host of a tree, once nothing is due.
func steady(b *testing.B, cfg Config, ports ...string) int64 {
	b.Helper()
	brief := policy()
	brief.TTL, brief.Hold = 1, 3*time.Second
	want := len(ports) * len(cfg.Owners)
	cfg.Owners = nil
	for _, port := range ports {
		cfg.Patterns = append(cfg.Patterns, Owner{Name: "_" + port + "._tcp.*.example.org.", Host: "*.example.org.", Policy: brief})
	}
	kept = nil
	before := heapInUse()
	p := New(cfg, &zoneData{view: ZoneView{Known: true}}, quietLog{}, &journal{})
	if err := p.Prepare(); err != nil {
		b.Fatal(err)
	}
	p.Start()
	if got := len(p.owners); got != want {
		b.Fatalf("%d owners", got)
	}
	for p.waits() {
		time.Sleep(time.Second)
	}
	heap := heapInUse() - before
	kept = p
	p.Stop()
	if err := os.Remove(cfg.Ledger); err != nil {
		b.Fatal(err)
	}
	return heap
}

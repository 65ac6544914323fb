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

// BenchmarkHeapOfPatterns reports what an owner costs in steady state, where four patterns serve each host of a tree; the
// sizes are numbers of owners. The largest one takes minutes to make. -memprofile with -memprofilerate 4096 shows where the
// heap goes.
func BenchmarkHeapOfPatterns(b *testing.B) {
	for _, n := range []int{250, 2500, 25_000, 250_000} {
		b.Run(fmt.Sprint(4*n), func(b *testing.B) {
			cfg, brief := forest(b, n), policy()
			brief.TTL, brief.Hold = 1, 3*time.Second
			cfg.Owners = nil
			for _, port := range []string{"25", "443", "465", "587"} {
				cfg.Patterns = append(cfg.Patterns, Owner{Name: "_" + port + "._tcp.*.example.org.", Host: "*.example.org.", Policy: brief})
			}
			for b.Loop() {
				before := heapInUse()
				p := New(cfg, &zoneData{view: ZoneView{Known: true}}, quietLog{}, &journal{})
				if err := p.Prepare(); err != nil {
					b.Fatal(err)
				}
				p.Start()
				if got := len(p.owners); got != 4*n {
					b.Fatalf("%d owners", got)
				}
				b.ReportMetric(float64(heapInUse()-before)/float64(4*n), "waiting-B/owner")
				for p.waits() {
					time.Sleep(time.Second)
				}
				b.ReportMetric(float64(heapInUse()-before)/float64(4*n), "heap-B/owner")
				kept = p
				p.Stop()
				if err := os.Remove(cfg.Ledger); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

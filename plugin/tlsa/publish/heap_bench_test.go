package publish

import (
	"context"
	"fmt"
	"os"
	"testing"
	"time"

	"github.com/coredns-tlsa/coredns-tlsa/plugin/tlsa/certdir"
)

// quietLog discards lines: what a test keeps of them would be part of the heap.
type quietLog struct{}

func (quietLog) Infof(string, ...any)    {}
func (quietLog) Warningf(string, ...any) {}
func (quietLog) Errorf(string, ...any)   {}

// mutedZone remembers nothing of what it is asked, which would be part of the heap too.
type mutedZone struct{ *zoneData }

func (mutedZone) Remark(string) Remarks { return Remarks{} }

// waits tells whether something becomes Ready yet, or is still to be asked of the zone.
func (p *Publisher) waits() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return len(p.queue)+len(p.unremarked) > 0
}

// kept is what the benchmark has made, so that a profile of the heap, which is written at the end, has it.
var kept *Publisher

// BenchmarkHeapOfPatterns reports what an owner costs in steady state, where four patterns serve each host of a tree; the sizes
// are numbers of owners. In heap-B/owner two certificates of five hosts, so a hundred thousand for a million owners, and all that
// is known of their files are included; in alone-B/owner they are not. lone-B/owner and lone-alone-B/owner are the same where each
// host has a certificate to itself, and heap-B/further-owner is what each of three more owners costs there beside the first of a
// host. The largest one takes minutes to make. -memprofile with -memprofilerate 4096 shows where the heap goes.
func BenchmarkHeapOfPatterns(b *testing.B) {
	for _, n := range []int{1000, 10_000, 100_000, 1_000_000} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			lone, shared := forest(b, n/4, n/4), forest(b, n/10, n/4)
			of := func(octets int64, owners int) float64 { return float64(octets) / float64(owners) }
			for b.Loop() {
				one := steady(b, lone, "25")
				all := steady(b, lone, "25", "443", "465", "587")
				several := steady(b, shared, "25", "443", "465", "587")
				b.ReportMetric(of(several, n), "heap-B/owner")
				b.ReportMetric(of(several-watched(b, shared), n), "alone-B/owner")
				b.ReportMetric(of(all, n), "lone-B/owner")
				b.ReportMetric(of(all-watched(b, lone), n), "lone-alone-B/owner")
				if n > 4000 { // the MiB that a watcher reads into is there or not, which hides what few owners cost
					b.ReportMetric(of(all-one, n-n/4), "heap-B/further-owner")
				}
			}
		})
	}
}

// watched is the heap of a watcher by itself, with what it has handed out.
func watched(b *testing.B, cfg Config) int64 {
	b.Helper()
	before := heapInUse()
	w := certdir.New(certdir.Config{Certs: cfg.Certs, Rescan: time.Hour, Quiet: time.Second, MaxQuiet: time.Second})
	w.Sweep(b.Context())
	ctx, cancel := context.WithCancel(b.Context())
	swept, ended := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(ended)
		w.Run(ctx, func(certdir.Changes) { close(swept) })
	}()
	<-swept
	heap := heapInUse() - before
	cancel()
	<-ended
	return heap
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
	p := New(cfg, mutedZone{&zoneData{view: ZoneView{Known: true}}}, quietLog{}, &journal{})
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

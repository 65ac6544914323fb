package publish

import (
	"fmt"
	"testing"
	"time"

	"github.com/coredns-tlsa/coredns-tlsa/plugin/tlsa/certdir"
)

// BenchmarkHostOfAPattern reports what a host that comes costs, and what one that leaves does, beside the hosts that are there.
func BenchmarkHostOfAPattern(b *testing.B) {
	for _, n := range []int{1000, 10_000, 100_000} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			cfg := stars(star443)
			t := newTree()
			lineage := func(i int) *certdir.Lineage {
				id := fmt.Sprint("/certs/l", i)
				return &certdir.Lineage{
					ID: id, Name: id, Dir: id, Root: "/certs", Files: []certdir.File{{Path: id}},
					Leaves: []certdir.Leaf{{
						Material: certificate(fmt.Sprint(i), "1"), DNSNames: []string{fmt.Sprintf("h%d.example.org", i)}, Files: []string{id},
					}},
				}
			}
			for i := range n {
				l := lineage(i)
				t.lineages[l.ID] = l
			}
			p := New(cfg, &zoneData{view: ZoneView{Known: true}}, &journal{}, &journal{})
			d := newDisk()
			p.open = func(string) (store, error) { return d.open() }
			p.watch = watcherOf(t)
			start := time.Now()
			if err := p.Prepare(); err != nil {
				b.Fatal(err)
			}
			prepared := time.Since(start)
			p.serving = true
			p.step(p.all())
			i := n
			for b.Loop() {
				i++
				l := lineage(i)
				p.step(p.learn(certdir.Changes{Lineages: []*certdir.Lineage{l}}))
				p.remove(p.atlas.find(fmt.Sprintf("_443._tcp.h%d.example.org.", i)))
				p.flush(0)
			}
			b.ReportMetric(prepared.Seconds()*1e6/float64(n), "start-us/host")
			p.Abort()
		})
	}
}

package tlsa

import (
	"fmt"
	"testing"

	"github.com/coredns-tlsa/coredns-tlsa/plugin/tlsa/publish"
)

// BenchmarkOwnersGauges sets the gauges of all owners of a block and takes them back, as a start and a stop do.
func BenchmarkOwnersGauges(b *testing.B) {
	for _, owners := range []int{1000, 10_000, 100_000} {
		b.Run(fmt.Sprint(owners), func(b *testing.B) {
			for b.Loop() {
				m := newMeter(publish.Config{Zones: []string{"gauges.example."}})
				m.begin()
				for n := range owners {
					m.Owner(fmt.Sprintf("_25._tcp.h%d.gauges.example.", n), publish.OwnerFigures{Records: 1})
				}
				m.end()
			}
		})
	}
}

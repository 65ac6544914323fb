package tlsa

import (
	"context"
	"fmt"
	"runtime"
	"testing"

	"github.com/coredns/coredns/plugin/pkg/dnstest"
	"github.com/coredns/coredns/plugin/test"

	"github.com/miekg/dns"
)

// TestQueriesLeaveNothingInMemory asks for what no cache can have seen: names in letters of chance, and names that are not there.
func TestQueriesLeaveNothingInMemory(t *testing.T) {
	h := testHandler(t)
	ask := func(from, to int) uint64 {
		for n := from; n < to; n++ {
			cased := []byte("_25._tcp.mail.example.org.")
			for i, c := range cased {
				if bit := uint(i % 22); n>>bit&1 == 1 && 'a' <= c && c <= 'z' {
					cased[i] = c - 'a' + 'A'
				}
			}
			for _, name := range []string{string(cased), fmt.Sprintf("_25._tcp.n%d.example.org.", n), fmt.Sprintf("n%d._tcp.mail.example.org.", n)} {
				for _, qtype := range []uint16{dns.TypeTLSA, dns.TypeA} {
					m := new(dns.Msg)
					m.SetQuestion(name, qtype)
					if _, err := h.ServeDNS(context.Background(), dnstest.NewRecorder(&test.ResponseWriter{}), m); err != nil {
						t.Fatal(err)
					}
				}
			}
		}
		runtime.GC()
		runtime.GC() // what was finalized in the first
		var s runtime.MemStats
		runtime.ReadMemStats(&s)
		return s.HeapAlloc
	}
	before := ask(0, 500)
	if after := ask(500, 10_000); after > before+256<<10 {
		t.Errorf("57,000 queries have left %d octets", after-before)
	}
}

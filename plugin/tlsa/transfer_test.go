package tlsa

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/coredns/coredns/plugin"
	"github.com/coredns/coredns/plugin/transfer"

	"github.com/miekg/dns"
)

func TestSerialsAreComparedOnTheCircle(t *testing.T) {
	for _, tc := range []struct {
		a, b uint32
		want bool
	}{
		{1, 1, false}, {2, 1, true}, {1, 2, false}, {1, 0xffffffff, true}, {0xffffffff, 1, false},
		{1<<31 - 1, 0, true}, {1<<31 + 1, 0, false}, {0, 1<<31 + 1, true},
	} {
		if got := newer(tc.a, tc.b); got != tc.want {
			t.Errorf("%d after %d: %v", tc.a, tc.b, got)
		}
	}
}

func TestSerialThatPassesTheEndOfTheCircleIsNew(t *testing.T) {
	t.Parallel()
	s := newSite(t, "circle.test.")
	s.write("db", strings.Replace(fmt.Sprintf(siteZone, s.zone), "2026010101", "4294967290", 1))
	s.transferred()
	s.write(place, s.chain(newKey(t)))
	s.start()
	serial, text := s.axfr(s.zone)
	if serial >= 4294967290 {
		t.Fatalf("the serial is %d", serial)
	}
	for from, want := range map[uint32]int{4294967290: len(text) + 2, serial: 1, serial + 5: 1} {
		if rrs, err := s.xfr(s.zone, from); err != nil || len(rrs) != want {
			t.Errorf("from %d: %d records, %v, want %d", from, len(rrs), err, want)
		}
	}
}

// meddling is a plugin after tlsa during whose first transfer something happens.
type meddling struct {
	transfer.Transferer
	once func()
}

func (m *meddling) Transfer(zone string, serial uint32) (<-chan []dns.RR, error) {
	if once := m.once; once != nil {
		m.once = nil
		once()
	}
	return m.Transferer.Transfer(zone, serial)
}

func TestChangeDuringATransferStartsItOver(t *testing.T) {
	t.Parallel()
	s := newSite(t, "meddled.test.")
	s.transferred()
	old, young := newKey(t), newKey(t)
	s.write(place, s.chain(old))
	s.start()
	h := s.instance.Storage[instanceKey{}].(*instance).handlers[0]
	h.transfers.from = []transfer.Transferer{&meddling{h.transfers.from[0], func() {
		s.install(place, s.chain(young))
		s.becomes(notice, record(t, old), record(t, young))
	}}}
	ch, err := h.Transfer(s.zone, 0)
	s.must(err)
	rrs := <-ch
	soa := rrs[0].(*dns.SOA)
	records := 0
	for _, rr := range rrs {
		if rr.Header().Rrtype == dns.TypeTLSA {
			records++
		}
	}
	if records != 2 || soa.Serial != s.soa().Serial {
		t.Errorf("it has %d records of ours as %d, when the SOA is %s", records, soa.Serial, s.soa())
	}
}

func TestZonesOfOthersAreNotTransferredByUs(t *testing.T) {
	h := testHandler(t)
	for _, zone := range []string{"example.org.", "example.net.", "."} {
		if _, err := h.Transfer(zone, 0); !errors.Is(err, transfer.ErrNotAuthoritative) {
			t.Errorf("%s: %v", zone, err)
		}
	}
}

func TestSerialsOfOtherZonesAreNotKept(t *testing.T) {
	h := testHandler(t)
	h.transfers = &transfers{}
	h.Next = plugin.HandlerFunc(func(_ context.Context, w dns.ResponseWriter, q *dns.Msg) (int, error) { // has every zone
		m := new(dns.Msg)
		m.SetReply(q)
		m.Answer = []dns.RR{&dns.SOA{Hdr: dns.RR_Header{Name: q.Question[0].Name, Rrtype: dns.TypeSOA, Class: dns.ClassINET}, Serial: 7}}
		return dns.RcodeSuccess, w.WriteMsg(m)
	})
	for i := range 100 {
		soa := &dns.SOA{Hdr: dns.RR_Header{Name: fmt.Sprintf("zone%d.test.", i), Rrtype: dns.TypeSOA}, Serial: 7}
		if got := h.renumber([]dns.RR{soa}); got[0].(*dns.SOA).Serial != 7 {
			t.Fatalf("a zone that is none of ours has serial %d", got[0].(*dns.SOA).Serial)
		}
	}
	h.transfers.numberings.Range(func(zone, _ any) bool {
		t.Errorf("%s is remembered: a client could make up any number of such", zone)
		return false
	})
}

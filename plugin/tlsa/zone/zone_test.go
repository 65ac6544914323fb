package zone

import (
	"encoding/hex"
	"fmt"
	"hash/maphash"
	"strings"
	"sync"
	"testing"

	"github.com/coredns-tlsa/coredns-tlsa/plugin/tlsa/dane"

	"github.com/google/go-cmp/cmp"
	"github.com/miekg/dns"
)

func association(data byte) dane.Association {
	return dane.Association{
		Combination: dane.Combination{Usage: dane.DANEEE, Selector: dane.SPKI, MatchingType: dane.SHA256},
		Data:        string([]byte{31: data}),
	}
}

func entry(t *testing.T, table *Table, name string) Entry {
	t.Helper()
	e, _ := table.Lookup(name)
	return e
}

func TestOwnerBringsItsAncestorsIntoBeing(t *testing.T) {
	var table Table
	w := NewWriter(&table)
	set := NewSet([]dane.Association{association(1)}, 300)
	w.Set("_25._tcp.mail.example.org.", "mail.example.org.", "example.org.", set)
	if _, ok := table.Lookup("_25._tcp.mail.example.org."); ok {
		t.Error("an owner shows before Flush")
	}
	w.Flush()
	want := map[string]Entry{
		"_25._tcp.mail.example.org.": {Owner: true, Ours: true, Set: set},
		"_tcp.mail.example.org.":     {Ours: true},
		"mail.example.org.":          {Above: true},
		"example.org.":               {},
		"org.":                       {},
		"_26._tcp.mail.example.org.": {},
	}
	for name, e := range want {
		if got := entry(t, &table, name); got != e {
			t.Errorf("%s: got %+v, want %+v", name, got, e)
		}
	}
}

func TestWhatWasSetLastShows(t *testing.T) {
	var table Table
	w := NewWriter(&table)
	const owner, host, apex = "_25._tcp.mail.example.org.", "mail.example.org.", "example.org."
	one, two := NewSet([]dane.Association{association(1)}, 300), NewSet([]dane.Association{association(2)}, 300)
	w.Set(owner, host, apex, one)
	w.Flush()
	w.Set(owner, host, apex, NewSet([]dane.Association{association(1)}, 300))
	if changed := w.Changed(); len(changed) > 0 {
		t.Errorf("what answers the same changes %v", changed)
	}
	w.Set(owner, host, apex, two)
	w.Set(owner, host, apex, one)
	w.Flush()
	if e := entry(t, &table, owner); e.Set.Len() != 1 || !e.Set.Equal(one) {
		t.Errorf("%+v shows, want what was set last", e)
	}
}

func TestOwnerAtTheApexStopsThere(t *testing.T) {
	var table Table
	w := NewWriter(&table)
	w.Set("_443._tcp.example.org.", "example.org.", "example.org.", NewSet(nil, 300))
	w.Set("mx1._dane.example.org.", "mx1._dane.example.org.", "example.org.", NewSet(nil, 300))
	w.Flush()
	if e := entry(t, &table, "_tcp.example.org."); !e.Ours {
		t.Error("_tcp.example.org. is not ours")
	}
	if e, ok := table.Lookup("example.org."); ok {
		t.Errorf("the apex is in the table: %+v", e)
	}
	if e := entry(t, &table, "mx1._dane.example.org."); !e.Owner || e.Ours || !e.Above {
		t.Errorf("an owner under _dane is %+v, want an owner whose other types stay the zone's", e)
	}
	if e := entry(t, &table, "_dane.example.org."); e.Ours || !e.Above {
		t.Errorf("_dane is %+v", e)
	}
}

func TestSharedAncestorStaysUntilItsLastOwnerGoes(t *testing.T) {
	var table Table
	w := NewWriter(&table)
	set := NewSet([]dane.Association{association(1)}, 300)
	for _, owner := range []string{"_25._tcp.mail.example.org.", "_465._tcp.mail.example.org."} {
		w.Set(owner, "mail.example.org.", "example.org.", set)
	}
	w.Set("_25._tcp.mail.example.org.", "mail.example.org.", "example.org.", NewSet(nil, 60))
	w.Set("_25._tcp.mail.example.org.", "mail.example.org.", "example.org.", nil)
	w.Flush()
	if _, ok := table.Lookup("_25._tcp.mail.example.org."); ok {
		t.Error("an owner that was taken out is still there")
	}
	if e := entry(t, &table, "_tcp.mail.example.org."); !e.Ours {
		t.Error("the ancestor went with the first of its two owners")
	}
	w.Set("_465._tcp.mail.example.org.", "mail.example.org.", "example.org.", nil)
	w.Flush()
	for _, name := range []string{"_465._tcp.mail.example.org.", "_tcp.mail.example.org.", "mail.example.org."} {
		if e, ok := table.Lookup(name); ok {
			t.Errorf("%s is left behind: %+v", name, e)
		}
	}
	if len(w.drafts)+len(w.names) != 0 {
		t.Errorf("the writer remembers %v and %v of an empty table", w.drafts, w.names)
	}
	for i := range table.shards {
		if s := table.shards[i].Load(); s != nil && s.used > 0 {
			t.Errorf("the table has %v", *s)
		}
	}
}

func TestRecordsAreTheCallersOwn(t *testing.T) {
	const owner = "_25._tcp.mail.example.org."
	for _, count := range []byte{1, 2, 3} {
		var as []dane.Association
		var want []string
		for i := range count {
			as = append(as, association(i))
			want = append(want, fmt.Sprintf("%s\t300\tIN\tTLSA\t3 1 1 %064x", owner, i))
		}
		set, query := NewSet(as, 300), new(dns.Msg)
		query.SetQuestion(owner, dns.TypeTLSA)
		for claim, records := range map[string]func() []dns.RR{
			"RRs":   func() []dns.RR { return set.RRs(owner) },
			"Reply": func() []dns.RR { return set.Reply(query, owner).Answer },
		} {
			first := records()
			first[0].Header().Ttl = 1
			last := first[count-1].(*dns.TLSA)
			last.Certificate = "00"
			_ = append(first[:1], &dns.A{}, &dns.A{})
			var got []string
			for _, rr := range records() {
				got = append(got, rr.String())
			}
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("%s: a caller changed the set of the next one (-want +got):\n%s", claim, diff)
			}
			if first[0].Header().Ttl != 1 || last.Certificate != "00" {
				t.Errorf("%s: the next caller got the records of the one before", claim)
			}
		}
	}
}

func TestReplyIsThatOfTheLibraryWithAA(t *testing.T) {
	const owner = "_25._tcp.mail.example.org."
	set := NewSet([]dane.Association{association(1)}, 300)
	for _, bits := range []struct{ rd, cd bool }{{false, false}, {true, false}, {false, true}} {
		query, want := new(dns.Msg), new(dns.Msg)
		query.SetQuestion("_25._TCP.mail.example.org.", dns.TypeANY)
		query.RecursionDesired, query.CheckingDisabled = bits.rd, bits.cd
		want.SetReply(query)
		want.Authoritative = true
		want.Answer = set.RRs(owner)
		got := set.Reply(query, owner)
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%+v (-want +got):\n%s", bits, diff)
		}
		if got.Question[0].Name = "changed."; query.Question[0].Name == "changed." {
			t.Error("the question of the reply is that of the query")
		}
	}
}

func TestQueriesSeeOldOrNewNeverAMix(t *testing.T) {
	var table Table
	w := NewWriter(&table)
	const owner = "_25._tcp.mail.example.org."
	set := func(n int) *Set {
		as := make([]dane.Association, n)
		for i := range as {
			as[i] = association(byte(n))
		}
		return NewSet(as, uint32(n))
	}
	w.Set(owner, "mail.example.org.", "example.org.", set(1))
	w.Flush()
	var wg sync.WaitGroup
	stop := make(chan struct{})
	for range 2 {
		wg.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
				}
				e, ok := table.Lookup(owner)
				if !ok {
					t.Error("the owner was missing for a moment")
					return
				}
				rrs := e.Set.RRs(owner)
				for _, rr := range rrs {
					if int(rr.Header().Ttl) != len(rrs) {
						t.Errorf("a mix: %d records with TTL %d", len(rrs), rr.Header().Ttl)
						return
					}
				}
			}
		})
	}
	for i := range 2000 {
		w.Set(owner, "mail.example.org.", "example.org.", set(1+i%5))
		w.Set(fmt.Sprintf("_%d._tcp.mail.example.org.", 1000+i%50), "mail.example.org.", "example.org.", set(1))
		w.Flush()
	}
	close(stop)
	wg.Wait()
}

func BenchmarkLookup(b *testing.B) {
	for _, owners := range []int{1000, 10_000, 100_000, 1_000_000} {
		b.Run(fmt.Sprint(owners), func(b *testing.B) {
			var table Table
			w := NewWriter(&table)
			set := NewSet([]dane.Association{association(1)}, 300)
			names := make([]string, owners)
			for i := range names {
				host := fmt.Sprintf("h%d.example.org.", i/4)
				names[i] = fmt.Sprintf("_%d._tcp.%s", 1+i%4, host)
				w.Set(names[i], host, "example.org.", set)
			}
			w.Flush()
			for i := range names {
				names[i] = strings.Clone(names[i]) // a query's name is its own
			}
			b.ReportAllocs()
			i := 0
			for b.Loop() {
				i = (i + 7919) % owners
				if _, ok := table.Lookup(names[i]); !ok {
					b.Fatal("missing")
				}
			}
		})
	}
}

// TestWhatAQueryReadsIsNeverChanged: a query may hold a shard for as long as it likes, without a lock.
func TestWhatAQueryReadsIsNeverChanged(t *testing.T) {
	const owner = "_25._tcp.mail.example.org."
	table := &Table{}
	w := NewWriter(table)
	w.Set(owner, "mail.example.org.", "example.org.", &Set{})
	w.Flush()
	hash := maphash.String(seed, "mail.example.org.")
	held := table.shards[hash%shardCount].Load()
	w.Set(owner, "mail.example.org.", "example.org.", &Set{Unknown: true})
	w.Flush()
	if n, _ := held.get(hash, "mail.example.org."); n.entry("_25._tcp.").Set.Unknown {
		t.Error("a flush has changed the shard that a query had read")
	}
	if e, _ := table.Lookup(owner); !e.Set.Unknown {
		t.Error("a flush shows nothing")
	}
	below := func(host string, set *Set) {
		w.Set("_25._tcp."+host, host, "example.org.", set)
		w.Flush()
	}
	below("mx1._dane.example.org.", &Set{})
	n, _ := table.node("example.org.")
	below("mx2._dane.example.org.", &Set{})
	if n.names.below[0].owners != 1 {
		t.Error("a flush has changed the counts of a node that a query had read")
	}
}

func TestRecordsHaveTheirOwnData(t *testing.T) {
	var as []dane.Association
	for _, length := range []int{32, 200, 64, 129, 1} {
		a := association(byte(length))
		a.Data = strings.Repeat(string(rune('a'+len(as))), length)
		as = append(as, a)
	}
	for i, rr := range NewSet(as, 300).RRs("_25._tcp.mail.example.org.") {
		if got, want := rr.(*dns.TLSA).Certificate, hex.EncodeToString([]byte(as[i].Data)); got != want {
			t.Errorf("record %d has %s, want %s", i, got, want)
		}
	}
}

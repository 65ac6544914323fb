package zone

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/coredns-tlsa/coredns-tlsa/plugin/tlsa/dane"
)

// model is a table without any sharing: it counts the names of ours at and under every name.
type model map[string]*counts

type counts struct {
	ours, above int
	set         *Set
}

func (m model) at(name string) *counts {
	if m[name] == nil {
		m[name] = &counts{}
	}
	return m[name]
}

func (m model) set(owner, host, apex string, set *Set) {
	c := m.at(owner)
	was, is := c.set != nil, set != nil
	c.set = set
	if was == is {
		return
	}
	step := map[bool]int{true: 1, false: -1}[is]
	name := owner
	for ; name != host && name != apex; name = parent(name) {
		m.at(name).ours += step
	}
	for ; name != apex && name != "."; name = parent(name) {
		m.at(name).above += step
	}
}

func (m model) lookup(name string) Entry {
	c := m.at(name)
	return Entry{Owner: c.set != nil, Ours: c.ours > 0, Above: c.above > 0, Set: c.set}
}

// TestTableIsThatOfAModel drives a table and a plain map with the same changes. Few names, so that owners of one base, of bases
// below each other, below underscore labels that other owners have, and at an apex meet.
func TestTableIsThatOfAModel(t *testing.T) {
	leads := []string{"", "_25._tcp.", "_443._tcp.", "_443._udp.", "_x._443._tcp."}
	hosts := []string{"", "mail.", "a.mail.", "b.a.mail.", "_dane.", "mx1._dane.", "mx2._dane.", "x.mx1._dane.", "_tcp.mail.", "*."}
	apexes := []string{"example.org.", "_dane.example.org."}
	for seed := range uint64(100) {
		r := rand.New(rand.NewPCG(seed, 1))
		var table Table
		w, m, names := NewWriter(&table), model{}, map[string]bool{}
		for range 60 {
			for range 1 + r.IntN(4) {
				name := leads[r.IntN(len(leads))] + hosts[r.IntN(len(hosts))] + "example.org."
				_, host := split(name)
				apex := apexes[0]
				if strings.HasSuffix(name, apexes[1]) {
					apex = apexes[1]
				}
				var set *Set
				if r.IntN(3) > 0 {
					set = NewSet([]dane.Association{association(byte(r.IntN(3)))}, 300)
				}
				w.Set(name, host, apex, set)
				m.set(name, host, apex, set)
				for n := name; n != "."; n = parent(n) {
					names[n] = true
				}
			}
			w.Flush()
			for name := range names {
				got, ok := table.Lookup(name)
				want := m.lookup(name)
				if got.Owner != want.Owner || got.Ours != want.Ours || got.Above != want.Above || !got.Set.Equal(want.Set) || ok != (want != Entry{}) {
					t.Fatalf("seed %d: %s: got %+v %v, want %+v", seed, name, got, ok, want)
				}
			}
		}
	}
}

// TestShardFindsWhatItHolds puts and removes at random, so that gaps close over the end of the slots.
func TestShardFindsWhatItHolds(t *testing.T) {
	for seed := range uint64(200) {
		r := rand.New(rand.NewPCG(seed, 2))
		var s *shard
		want := map[string]*names{}
		hash := func(base string) uint64 { return uint64(len(base)%7)<<61 | uint64(base[0])<<40 }
		for range 200 {
			s = s.roomFor(1)
			base := strings.Repeat(string(rune('a'+r.IntN(5))), 1+r.IntN(9))
			if r.IntN(2) == 0 {
				want[base] = &names{}
				s.put(hash(base), base, node{names: want[base]})
			} else {
				delete(want, base)
				s.remove(hash(base), base)
			}
			if s.used != len(want) {
				t.Fatalf("seed %d: %d used, want %d", seed, s.used, len(want))
			}
			if s.used == len(s.slots) && s.used > 0 {
				t.Fatalf("seed %d: no search for what is not there ends in %d full slots", seed, s.used)
			}
			for base, n := range want {
				if got, ok := s.get(hash(base), base); !ok || got.names != n {
					t.Fatalf("seed %d: %s is lost", seed, base)
				}
			}
		}
	}
}

// TestSiblingsShareWhatIsEqual holds what makes a million owners small, and that it ends where they differ.
func TestSiblingsShareWhatIsEqual(t *testing.T) {
	var table Table
	w := NewWriter(&table)
	set := func(lead, host string, data byte) {
		w.Set(lead+host, host, "example.org.", NewSet([]dane.Association{association(data)}, 300))
	}
	answer := func(lead, host string) *Set { return entry(t, &table, lead+host).Set }
	for range 3 {
		for i := range 3 {
			for _, lead := range []string{"_25._tcp.", "_443._tcp."} {
				set(lead, fmt.Sprintf("h%d.example.org.", i), byte(i))
			}
		}
		w.Flush()
	}
	if answer("_25._tcp.", "h1.example.org.") != answer("_443._tcp.", "h1.example.org.") || len(w.names) != 1 {
		t.Errorf("equal owners have answers of their own, or equal hosts names of their own: %v", w.names)
	}
	room := 0
	for i := range table.shards {
		if s := table.shards[i].Load(); s != nil {
			room += len(s.slots)
		}
	}
	if room > 6 {
		t.Errorf("%d slots for 3 hosts", room)
	}
	set("_443._tcp.", "h1.example.org.", 9)
	w.Flush()
	if got := answer("_25._tcp.", "h1.example.org."); !got.Equal(NewSet([]dane.Association{association(1)}, 300)) {
		t.Errorf("a change of one owner has given its sibling %v", got)
	}
	if got := answer("_443._tcp.", "h1.example.org."); !got.Equal(NewSet([]dane.Association{association(9)}, 300)) {
		t.Errorf("an owner that shared its answer has %v after a change", got)
	}
	w.Set("_25._tcp.h1.example.org.", "h1.example.org.", "example.org.", nil)
	w.Flush()
	if e := entry(t, &table, "_25._tcp.h2.example.org."); !e.Owner {
		t.Error("an owner that left has taken that of another host along")
	}
}

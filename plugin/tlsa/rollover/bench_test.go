package rollover

import (
	"testing"
)

// benchOwner is an owner with an Active and a staged key.
func benchOwner(b *testing.B) (*world, Observation) {
	b.Helper()
	w := newWorld(b)
	w.put(live, "A")
	w.put("next/mail/key.pem", "B")
	w.step(at(0))
	w.step(at(10 * hour))
	return w, w.observe()
}

// BenchmarkDecideWithNothingToDo is what a sweep costs for each owner.
func BenchmarkDecideWithNothingToDo(b *testing.B) {
	w, o := benchOwner(b)
	b.ReportAllocs()
	for b.Loop() {
		if d := Decide(w.timeline, o, w.p, at(11*hour)); d.Changed {
			b.Fatal("something changed")
		}
	}
}

// BenchmarkDecideWithARollover is what the installation of the staged key costs.
func BenchmarkDecideWithARollover(b *testing.B) {
	w, _ := benchOwner(b)
	w.put(live, "B")
	o := w.observe()
	b.ReportAllocs()
	for b.Loop() {
		if d := Decide(w.timeline, o, w.p, at(11*hour)); !d.Changed {
			b.Fatal("nothing changed")
		}
	}
}

// BenchmarkStatuses is what one owner costs in the status document.
func BenchmarkStatuses(b *testing.B) {
	w, _ := benchOwner(b)
	b.ReportAllocs()
	for b.Loop() {
		w.timeline.Statuses(w.p, at(11*hour))
	}
}

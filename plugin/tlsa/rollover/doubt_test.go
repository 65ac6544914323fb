package rollover

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"
)

// The faults that the simulator has found.

func TestStagedKeyStaysWhileItMayBeInstalledUnseen(t *testing.T) {
	const staged = "next/mail/key.pem"
	life(t, map[string][]row{
		"the installed file cannot be read": installed(
			row{now: at(20 * hour), do: put(staged, "B"), want: "A active, B published"},
			row{now: at(22 * hour), want: "A active, B ready"},
			row{now: at(23 * hour), do: all(doubtful(live), gone(staged, 3)), want: "A active, B ready | source-missing"},
			row{now: at(200 * hour), want: "A active, B ready | source-missing"},
			row{now: at(201 * hour), do: put(live, "A"), want: "A active, B retired"},
			row{now: at(249 * hour), want: "A active"},
		),
		"the installed file is empty": installed(
			row{now: at(20 * hour), do: put(staged, "B"), want: "A active, B published"},
			row{now: at(23 * hour), do: all(put(live), gone(staged, 3)), want: "A active, B ready | source-missing"},
			row{now: at(24 * hour), do: put(live, "B"), want: "A retired, B active"},
		),
		"the root of installed certificates has vanished": installed(
			row{now: at(20 * hour), do: put(staged, "B"), want: "A active, B published"},
			row{now: at(23 * hour), do: all(vanishesWithItsRoot(live, 3), gone(staged, 3)), want: "A active, B ready | removals-frozen, source-missing"},
			row{now: at(200 * hour), want: "A active, B ready | removals-frozen, source-missing"},
			row{now: at(201 * hour), do: put(live, "B"), want: "A retired, B active"},
		),
		"the root of installed certificates cannot be read, and none was known": {
			{now: at(0), do: put(staged, "B"), want: "B published"},
			{now: at(1), do: put("next/mail/other.pem", "C"), want: "B published, C published"},
			{now: at(10 * hour), do: all(hidden(true), gone(staged, 3)), want: "B ready, C ready | source-missing"},
			{now: at(100 * hour), want: "B ready, C ready | source-missing"},
			{now: at(101 * hour), do: hidden(false), want: "B retired, C ready"},
		},
	})
}

func hidden(is bool) func(*world) { return func(w *world) { w.seen.Hidden = is } }

func TestAnOlderLedgerProvesNothing(t *testing.T) {
	restore := func(w *world) { w.timeline = w.timeline.Doubted(w.now) }
	life(t, map[string][]row{
		"what was Ready waits anew, what is in use is not ungated": installed(
			row{now: at(20 * hour), do: put("next/mail/key.pem", "B"), want: "A active, B published"},
			row{now: at(30 * hour), do: restore, want: "A active~, B published"},
			row{now: at(32*hour - 1), want: "A active~, B published"},
			row{now: at(32 * hour), want: "A active, B ready"},
		),
		"grace starts anew": installed(
			row{now: at(20 * hour), do: put(live, "B"), want: "A retired, B active!"},
			row{now: at(30 * hour), want: "A retired, B active"},
			row{now: at(60 * hour), do: restore, want: "A retired~, B active~"},
			row{now: at(108*hour - 1), want: "A retired, B active"},
			row{now: at(108 * hour), want: "B active"},
		),
	})
}

// Sequence 8814526 of the simulation: the records that caches hold were in a combination which the older ledger does not know.
func TestRenewalWithTheSameKeyWaitsAfterALostLedger(t *testing.T) {
	for claim, tc := range map[string]struct {
		do     func(*world)
		before Safety // of the renewal just before hold has passed
	}{
		"an older ledger": {func(w *world) { w.timeline = w.timeline.Doubted(w.now) }, Safety{Left: 1}},
		"a lost ledger":   {func(w *world) { w.timeline = Timeline{} }, Safety{Left: 1}},
		"an intact ledger, and another combination enters": {as("3 1 1, 3 1 2"), Safety{Safe: true}},
	} {
		t.Run(claim, func(t *testing.T) {
			w := newWorld(t)
			w.put(live, "A")
			w.step(at(0))
			w.step(at(10 * hour))
			tc.do(w)
			w.step(at(10 * hour))
			for now, want := range map[time.Duration]Safety{12*hour - 1: tc.before, 12 * hour: {Safe: true}} {
				timeline := Decide(w.timeline, w.observe(), w.p, at(now)).Timeline
				if got := timeline.Safe(leaf("A'").Association, w.p, at(now)); got.Safe != want.Safe || got.Left != want.Left {
					t.Errorf("%v: renewed: %+v, want %+v", now, got, want)
				}
				if got := timeline.Safe(leaf("A").Association, w.p, at(now)); !got.Safe {
					t.Errorf("%v: what is installed: %+v", now, got)
				}
			}
		})
	}
}

// What was in use counts no more than what never was, and the first record to be Ready decides.
func TestSafetyAfterALostLedgerIsThatOfItsFirstReadyRecord(t *testing.T) {
	w := newWorld(t)
	w.put(live, "A")
	w.step(at(0))
	w.timeline = Timeline{}
	w.step(at(10 * hour))
	as("3 1 1, 3 1 2")(w)
	w.step(at(11 * hour))
	if got := w.timeline.Safe(leaf("A'").Association, w.p, at(11*hour)); got.Safe || got.Left != hour {
		t.Errorf("3 1 1 is Ready in an hour, 3 1 2 in two: %+v", got)
	}
	w.put(live, "A'")
	w.step(at(11 * hour))
	if got := w.timeline.Safe(leaf("A").Association, w.p, at(11*hour)); got.Safe || got.Left != hour {
		t.Errorf("back to what was in use: %+v", got)
	}
}

func TestNameThatIsWithdrawnSinceAnUnknownTimeIsNotSafe(t *testing.T) {
	w := newWorld(t)
	w.timeline.WithdrawnAt = at(0)
	if s := w.timeline.Safe(leaf("A").Association, w.p, at(hour)); s.Safe || s.Left != w.p.Hold {
		t.Errorf("got %+v", s)
	}
}

// Sequence 432042 of the simulation: a server that lags behind has handed out records of before under the ttl of before.
func TestWithdrawnNameIsSafeOnceTheLaggardsLastCacheIsOver(t *testing.T) {
	w := newWorld(t)
	w.p.Propagation = 10 * time.Minute
	w.put(live, "A")
	w.step(at(0))
	w.step(at(10 * hour))
	withdrawn(w)
	w.step(at(10 * hour))
	ttl(10)(w)
	w.p.Hold += w.p.Propagation
	w.step(at(10 * hour))
	for after, want := range map[time.Duration]bool{hour: false, hour + 10*time.Minute - 1: false, 2*hour + 10*time.Minute: true} {
		now := at(10*hour + after)
		d := Decide(w.timeline, w.observe(), w.p, now)
		if got := d.Timeline.Safe(leaf("B").Association, w.p, now); got.Safe != want {
			t.Errorf("%v after it was withdrawn: %+v, want %v", after, got, want)
		}
	}
}

// Sequences 268797 and 349697: what a refused certificate has in common with a known key stays while its file holds it.
func TestLimitTakesNothingAway(t *testing.T) {
	w := newWorld(t)
	as("3 0 1, 3 1 1")(w)
	for i, key := range strings.Fields("A B C E F G H I J K L M") {
		w.put(fmt.Sprintf("next/l%02d/cert.pem", i), key)
	}
	w.step(at(0))
	for _, s := range []struct {
		now      Stamp
		do       func(*world)
		has, not string
	}{
		{at(hour), put("next/new/cert.pem", "A'"), "A", "A'/301"},
		{at(2 * hour), put("next/l00/cert.pem", "B"), "A", "A'/301"},
		{at(100 * hour), nil, "A", "A'/301"},
		{at(101 * hour), put("next/new/cert.pem", "C"), "A", ""},
		{at(149*hour - 1), nil, "A", ""},
		{at(149 * hour), nil, "B", "A"},
		{at(150 * hour), put("next/l01/cert.pem", "A'"), "A'/301", ""},
	} {
		if w.now = s.now; s.do != nil {
			s.do(w)
		}
		w.step(s.now)
		var got []string
		for _, a := range w.timeline.RRset() {
			got = append(got, labels()[a])
		}
		if !slices.Contains(got, s.has) || slices.Contains(got, s.not) {
			t.Errorf("after %v: got %v, want %s and not %q", s.now.Service, got, s.has, s.not)
		}
	}
}

// Sequences 278281 and 343975: an old key is in use again and cannot be recorded, until long after its grace.
func TestReturnThatIsNotRecordedIsRemembered(t *testing.T) {
	w := newWorld(t)
	w.put(live, "A")
	w.step(at(0))
	w.put(live, "B")
	w.step(at(10 * hour))
	recorded := w.timeline
	var unrecorded []Key
	provide := func(now Stamp) {
		w.now, w.timeline = now, recorded.With(unrecorded)
		unrecorded = recorded.Unrecorded(w.decide().Timeline.Keys)
	}
	provide(at(11 * hour))
	if len(unrecorded) != 0 {
		t.Fatalf("unrecorded without a change: %+v", unrecorded)
	}
	w.put(live, "A")
	provide(at(20 * hour))
	provide(at(90 * hour))
	w.put(live, "B", "C")
	provide(at(100 * hour))
	if n := len(unrecorded); n != 2 || !unrecorded[0].RetiredAt.IsZero() {
		t.Fatalf("%d unrecorded, %+v", n, unrecorded)
	}
	w.timeline = recorded.With(unrecorded)
	w.step(at(110 * hour))
	if got, want := w.String(), "A retired, B active, C active!"; got != want {
		t.Errorf("once it is recorded: %s, want %s", got, want)
	}
	w.step(at(158*hour - 1))
	if got, want := w.String(), "A retired, B active, C active"; got != want {
		t.Errorf("before grace is over: %s, want %s", got, want)
	}
}

func TestWhatIsInstalledAgainstSafeAfterALossIsNotSafeForThat(t *testing.T) {
	for claim, lose := range map[string]func(*world){
		"an older ledger": func(w *world) { w.timeline = w.timeline.Doubted(w.now) },
		"a lost ledger":   loseLedger,
	} {
		t.Run(claim, func(t *testing.T) {
			w := newWorld(t)
			w.put(live, "A")
			w.step(at(0))
			w.step(at(10 * hour))
			lose(w)
			w.step(at(10 * hour))
			w.put(live, "A'")
			w.step(at(11 * hour))
			for now, want := range map[Stamp]Safety{at(11 * hour): {Left: hour}, at(12 * hour): {Safe: true}} {
				timeline := Decide(w.timeline, w.observe(), w.p, now).Timeline
				if got := timeline.Safe(leaf("A'").Association, w.p, now); got.Safe != want.Safe || got.Left != want.Left {
					t.Errorf("after %v: %+v, want %+v", now.Service, got, want)
				}
			}
		})
	}
}

func TestStagedRenewalWaitsAfterALostLedger(t *testing.T) {
	w := newWorld(t)
	w.put(live, "A")
	w.step(at(0))
	w.step(at(10 * hour))
	loseLedger(w)
	w.put("next/mail/cert.pem", "A'")
	w.step(at(10 * hour))
	if got := w.timeline.Safe(leaf("A'").Association, w.p, at(11*hour)); got.Safe || got.Left != hour {
		t.Errorf("staged: %+v, want an hour to wait", got)
	}
	if got := w.timeline.Safe(leaf("A").Association, w.p, at(11*hour)); !got.Safe {
		t.Errorf("in use: %+v, want safe", got)
	}
}

func TestSafetyOfARenewalIsThatOfTheFirstRecordToBeReady(t *testing.T) {
	w := newWorld(t)
	as("3 1 2")(w)
	w.put(live, "A")
	w.step(at(10 * hour))
	as("3 1 1, 3 1 2")(w)
	w.step(at(11 * hour))
	if got := w.timeline.Safe(leaf("A'").Association, w.p, at(11*hour)); got.Safe || got.Left != hour {
		t.Errorf("%+v, want an hour to wait", got)
	}
}

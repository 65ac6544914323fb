package rollover

import (
	"testing"
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

func TestNameThatIsWithdrawnSinceAnUnknownTimeIsNotSafe(t *testing.T) {
	w := newWorld(t)
	w.timeline.WithdrawnAt = at(0)
	if s := w.timeline.Safe(leaf("A").Association, w.p, at(hour)); s.Safe || s.Left != w.p.Hold {
		t.Errorf("got %+v", s)
	}
}

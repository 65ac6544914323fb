package rollover

import (
	"testing"
	"time"

	"github.com/coredns-tlsa/coredns-tlsa/plugin/tlsa/dane"

	gocmp "github.com/google/go-cmp/cmp"
)

// installed is a life's usual beginning: A is installed, and Ready by the tenth hour.
func installed(more ...row) []row {
	return append([]row{
		{now: at(0), do: put("certs/mail/fullchain.pem", "A"), want: "A active~"},
		{now: at(10 * hour), want: "A active"},
	}, more...)
}

func TestReadyWaitsForHoldOnBothClocks(t *testing.T) {
	staged := put("next/mail/key.pub", "B")
	life(t, map[string][]row{
		"a staged key is published at once and Ready exactly when hold has passed": installed(
			row{now: at(10 * hour), do: staged, want: "A active, B published"},
			row{now: at(12*hour - 1), want: "A active, B published"},
			row{now: at(12 * hour), want: "A active, B ready"},
		),
		"the wall clock alone does not make Ready": installed(
			row{now: at(10 * hour), do: staged, want: "A active, B published"},
			row{now: clocks(1000*day, 12*hour-1), want: "A active, B published"},
			row{now: clocks(1000*day, 12*hour), want: "A active, B ready"},
		),
		"the time of service alone does not make Ready": installed(
			row{now: at(10 * hour), do: staged, want: "A active, B published"},
			row{now: clocks(12*hour-1, 1000*day), want: "A active, B published"},
			row{now: clocks(12*hour, 1000*day), want: "A active, B ready"},
		),
		"a wall clock set back starts its wait again": installed(
			row{now: at(10 * hour), do: staged, want: "A active, B published"},
			row{now: clocks(-5*hour, 11*hour), want: "A active, B published"},
			row{now: clocks(-3*hour-1, 13*hour), want: "A active, B published"},
			row{now: clocks(-3*hour, 13*hour), want: "A active, B ready"},
		),
		"a wall clock that was ahead and is set right starts its wait again": installed(
			row{now: clocks(900*day, 10*hour), do: staged, want: "A active, B published"},
			row{now: at(11 * hour), want: "A active, B published"},
			row{now: at(13*hour - 1), want: "A active, B published"},
			row{now: at(13 * hour), want: "A active, B ready"},
		),
		"time of service that a crash has lost is waited for again": installed(
			row{now: at(10 * hour), do: staged, want: "A active, B published"},
			row{now: clocks(11*hour, 9*hour), want: "A active, B published"},
			row{now: clocks(30*hour, 11*hour-1), want: "A active, B published"},
			row{now: clocks(30*hour, 11*hour), want: "A active, B ready"},
		),
		"Ready stays Ready when both clocks are set back": installed(
			row{now: at(10 * hour), do: staged, want: "A active, B published"},
			row{now: at(12 * hour), want: "A active, B ready"},
			row{now: clocks(-day, 1*hour), want: "A active, B ready"},
		),
	})
}

func TestHoldCountsTheLargestTTLThatACacheCanHold(t *testing.T) {
	staged := put("next/mail/key.pub", "B")
	life(t, map[string][]row{
		"a key published just after the TTL was lowered waits twice the old TTL": installed(
			row{now: at(20 * hour), do: all(ttl(60), staged), want: "A active, B published"},
			row{now: at(20*hour + 6*time.Minute), want: "A active, B published"},
			row{now: at(22*hour - 1), want: "A active, B published"},
			row{now: at(22 * hour), want: "A active, B ready"},
		),
		"a key published within the old TTL waits twice the old TTL": installed(
			row{now: at(20 * hour), do: ttl(60), want: "A active"},
			row{now: at(21*hour - 1), do: staged, want: "A active, B published"},
			row{now: at(23*hour - 2), want: "A active, B published"},
			row{now: at(23*hour - 1), want: "A active, B ready"},
		),
		"a key published once the old TTL has passed on both clocks waits by today's": installed(
			row{now: at(20 * hour), do: ttl(60), want: "A active"},
			row{now: at(21 * hour), do: staged, want: "A active, B published"},
			row{now: at(21*hour + 6*time.Minute - 1), want: "A active, B published"},
			row{now: at(21*hour + 6*time.Minute), want: "A active, B ready"},
		),
		"the old TTL counts until the time of service has passed too": installed(
			row{now: at(20 * hour), do: ttl(60), want: "A active"},
			row{now: clocks(30*hour, 21*hour-1), do: staged, want: "A active, B published"},
			row{now: clocks(60*hour, 23*hour-2), want: "A active, B published"},
			row{now: clocks(60*hour, 23*hour-1), want: "A active, B ready"},
		),
		"of several old TTLs the largest counts": installed(
			row{now: at(20 * hour), do: ttl(1800), want: "A active"},
			row{now: at(20*hour + time.Minute), do: ttl(60), want: "A active"},
			row{now: at(20*hour + 2*time.Minute), do: staged, want: "A active, B published"},
			row{now: at(22 * hour), want: "A active, B published"},
			row{now: at(22*hour + 2*time.Minute), want: "A active, B ready"},
		),
		"what hold has beyond the TTL is kept for the old TTL too": {
			{now: at(0), do: all(ttl(240), put("certs/mail/fullchain.pem", "A")), want: "A active~"},
			{now: at(hour), do: all(ttl(10), staged), want: "A active, B published"},
			{now: at(hour + 9*time.Minute - 1), want: "A active, B published"},
			{now: at(hour + 9*time.Minute), want: "A active, B ready"},
		},
		"a TTL raised while a key waits lengthens its hold as the Corefile now says": {
			{now: at(0), do: all(ttl(60), put("certs/mail/fullchain.pem", "A")), want: "A active~"},
			{now: at(hour), do: staged, want: "A active, B published"},
			{now: at(hour + 1), do: ttl(3600), want: "A active, B published"},
			{now: at(3 * hour), want: "A active, B ready"},
		},
		"a TTL that rises again is not counted twice": installed(
			row{now: at(20 * hour), do: ttl(60), want: "A active"},
			row{now: at(20*hour + 1), do: ttl(3600), want: "A active"},
			row{now: at(20*hour + 2), do: staged, want: "A active, B published"},
			row{now: at(22*hour + 2), want: "A active, B ready"},
		),
	})
}

func TestOldTTLsAreForgottenWhenNoCacheCountsByThem(t *testing.T) {
	w := newWorld(t)
	w.put("certs/mail/fullchain.pem", "A")
	w.step(at(0))
	w.step(at(10 * hour))
	for i, seconds := range []uint32{1800, 60, 600, 30} {
		ttl(seconds)(w)
		w.step(at(20*hour + time.Duration(i)*time.Minute))
	}
	want := []TTLUse{{3600, at(20 * hour)}, {1800, at(20*hour + time.Minute)}, {600, at(20*hour + 3*time.Minute)}}
	if diff := gocmp.Diff(want, w.timeline.OldTTLs); diff != "" {
		t.Errorf("old TTLs (-want +got):\n%s", diff)
	}
	if got, want := w.last.Next, 10*time.Minute; got != want {
		t.Errorf("next change is in %v, want %v: the end of the shortest old TTL", got, want)
	}
	w.step(at(21*hour - 1))
	if diff := gocmp.Diff([]TTLUse{{3600, at(20 * hour)}}, w.timeline.OldTTLs); diff != "" {
		t.Errorf("old TTLs (-want +got):\n%s", diff)
	}
	w.step(at(21 * hour))
	if w.timeline.OldTTLs != nil {
		t.Errorf("old TTLs remain: %v", w.timeline.OldTTLs)
	}
}

func TestFirstAssociationIsReadyAtOnceOnlyAfterAKnownAbsence(t *testing.T) {
	appears := put("certs/mail/fullchain.pem", "A")
	life(t, map[string][]row{
		"an owner that was seen without any for hold": {
			{now: at(0), want: "none | no-certificate"},
			{now: at(2 * hour), do: appears, want: "A active"},
		},
		"an owner that was seen without any for less than hold": {
			{now: at(0), want: "none | no-certificate"},
			{now: at(2*hour - 1), do: appears, want: "A active!"},
			{now: at(4*hour - 1), want: "A active"},
		},
		"an absence counts on both clocks": {
			{now: at(0), want: "none | no-certificate"},
			{now: clocks(1000*day, 2*hour-1), do: appears, want: "A active!"},
		},
		"an absence counts by the largest TTL": {
			{now: at(0), want: "none | no-certificate"},
			{now: at(hour), do: ttl(60), want: "none | no-certificate"},
			{now: at(2*hour - 1), do: appears, want: "A active!"},
		},
		"an absence that nobody could see does not count": {
			{now: at(0), do: func(w *world) { w.seen.Known = false }, want: "unknown"},
			{now: at(10 * hour), do: appears, want: "A active~"},
			{now: at(12 * hour), do: func(w *world) { w.seen.Known = true }, want: "A active"},
		},
		"a lost ledger shows no absence": {
			{now: at(0), want: "none | no-certificate"},
			{now: at(10 * hour), do: all(loseLedger, appears), want: "A active~"},
			{now: at(12*hour - 1), want: "A active~"},
			{now: at(12 * hour), want: "A active"},
		},
		"the second association waits": {
			{now: at(0), want: "none | no-certificate"},
			{now: at(10 * hour), do: appears, want: "A active"},
			{now: at(10*hour + 1), do: put("next/mail/key.pub", "B"), want: "A active, B published"},
		},
		"a staged one may be the first": {
			{now: at(0), want: "none | no-certificate"},
			{now: at(10 * hour), do: put("next/mail/key.pub", "B"), want: "B ready"},
		},
		"several that appear together": {
			{now: at(0), want: "none | no-certificate"},
			{now: at(10 * hour), do: all(appears, put("next/mail/key.pub", "B")), want: "A active, B ready"},
		},
		"a withdrawn name counts as an absence": installed(
			row{now: at(20 * hour), do: as(""), want: "none"},
			row{now: at(22*hour - 1), do: all(as("3 1 1"), put("certs/mail/fullchain.pem", "B")), want: "B active!"},
		),
		"a name withdrawn for hold is enabled anew at once": installed(
			row{now: at(20 * hour), do: as(""), want: "none"},
			row{now: at(22 * hour), do: all(as("3 1 1"), put("certs/mail/fullchain.pem", "B")), want: "B active"},
		),
	})
}

func TestFirstObservationIsNotCountedAsUngated(t *testing.T) {
	life(t, map[string][]row{
		"what is installed is Active, what is staged waits": {
			{now: at(0), do: all(put("certs/mail/fullchain.pem", "A"), put("next/mail/key.pub", "B")), want: "A active~, B published"},
			{now: at(2*hour - 1), want: "A active~, B published"},
			{now: at(2 * hour), want: "A active, B ready"},
		},
		"what a root holds that is read later was in use without a record": {
			{now: at(0), do: all(func(w *world) { w.seen.Known = false }, put("certs/mail/fullchain.pem", "A")), want: "A active~"},
			{now: at(1), do: all(func(w *world) { w.seen.Known = true }, put("certs/other/fullchain.pem", "R")), want: "A active~, R active!"},
			{now: at(2), do: put("certs/third/fullchain.pem", "D"), want: "A active~, D active!, R active!"},
		},
		"a lost ledger makes everything installed initial": installed(
			row{now: at(20 * hour), do: put("next/mail/key.pub", "B"), want: "A active, B published"},
			row{now: at(30 * hour), do: all(loseLedger, put("certs/mail/fullchain.pem", "B")), want: "B active~"},
			row{now: at(32 * hour), want: "B active"},
		),
	})
}

func TestUngatedIsWhatIsInstalledBeforeItIsReady(t *testing.T) {
	swap := put("certs/mail/fullchain.pem", "B")
	life(t, map[string][]row{
		"a key that nobody announced": installed(
			row{now: at(10 * hour), do: swap, want: "A retired, B active!"},
			row{now: at(12*hour - 1), want: "A retired, B active!"},
			row{now: at(12 * hour), want: "A retired, B active"},
		),
		"a key installed before its hold has passed": installed(
			row{now: at(10 * hour), do: put("next/mail/key.pub", "B"), want: "A active, B published"},
			row{now: at(11 * hour), do: swap, want: "A retired, B active!"},
			row{now: at(12 * hour), want: "A retired, B active"},
		),
		"a key installed when it is Ready is not": installed(
			row{now: at(10 * hour), do: put("next/mail/key.pub", "B"), want: "A active, B published"},
			row{now: at(12 * hour), do: swap, want: "A retired, B active"},
		),
		"a certificate whose key alone waited, where the whole certificate is matched": {
			{now: at(0), do: all(as("3 0 1, 3 1 1"), put("certs/mail/fullchain.pem", "A")), want: "A active~, A/301 active~"},
			{now: at(10 * hour), do: put("next/mail/key.pub", "B?"), want: "A active, A/301 active, B published | certificate-missing"},
			{now: at(20 * hour), do: swap, want: "A retired, A/301 retired, B active, B/301 active!"},
			{now: at(22 * hour), want: "A retired, A/301 retired, B active, B/301 active"},
		},
	})
}

func TestUngatedIsToldWithTheTimeItLasts(t *testing.T) {
	w := newWorld(t)
	w.put("certs/mail/fullchain.pem", "A")
	w.step(at(0))
	w.step(at(10 * hour))
	w.put("certs/mail/fullchain.pem", "B")
	w.step(at(10 * hour))
	statuses := w.timeline.Statuses(w.p, at(11*hour))
	for _, s := range statuses {
		if s.Association == association("B", "3 1 1") && (!s.Ungated || s.Left != hour || s.State != Active || s.Gated) {
			t.Errorf("got %+v, want ungated for one more hour", s)
		}
	}
	w.step(at(12 * hour))
	got := map[string]State{}
	for _, tr := range w.transitions {
		got[labels()[tr.Association]] = tr.State
		if tr.Ungated || !tr.Gated {
			t.Errorf("got %+v, want the end of the ungated time", tr)
		}
	}
	if diff := gocmp.Diff(map[string]State{"B": Active}, got); diff != "" {
		t.Errorf("transitions (-want +got):\n%s", diff)
	}
}

func TestStampLeftDoesNotOverflow(t *testing.T) {
	for claim, c := range map[string]struct {
		event, now Stamp
		wait, want time.Duration
	}{
		"the largest wait is not over at once": {at(10 * hour), at(20 * hour), 1<<63 - 1, 1<<63 - 1 - 10*hour},
		"both clocks agree":                    {at(10 * hour), at(20 * hour), 11 * hour, hour},
		"the slower clock counts":              {at(10 * hour), clocks(20*hour, 12*hour), 11 * hour, 9 * hour},
		"it is over exactly at the end":        {at(10 * hour), at(21 * hour), 11 * hour, 0},
	} {
		t.Run(claim, func(t *testing.T) {
			if got := c.event.Left(c.wait, c.now); got != c.want {
				t.Errorf("got %v, want %v", got, c.want)
			}
		})
	}
}

func TestServedStampsWhatIsNewAndNothingElse(t *testing.T) {
	before := Timeline{TTL: 60, OldTTLs: []TTLUse{{3600, at(0)}}, Associations: []Times{
		{Association: association("A", "3 1 1"), PublishedAt: at(0), PublishedTTL: 7},
		{Association: association("B", "3 1 1")},
	}}
	given := before.Clone()
	after, changed := Served(before, at(hour))
	want := before.Clone()
	want.Associations[1].PublishedAt, want.Associations[1].PublishedTTL = at(hour), 3600
	if diff := gocmp.Diff(want, after); diff != "" || !changed {
		t.Errorf("changed %v (-want +got):\n%s", changed, diff)
	}
	if diff := gocmp.Diff(given, before); diff != "" {
		t.Errorf("Served changed what it was given:\n%s", diff)
	}
	if _, changed := Served(after, at(2*hour)); changed {
		t.Error("a second call changed something")
	}
}

func TestNothingIsReadyBeforeItIsServed(t *testing.T) {
	w := newWorld(t)
	w.put("certs/mail/fullchain.pem", "A")
	w.now = at(0)
	w.timeline = w.decide().Timeline
	w.now = at(100 * day)
	d := w.decide()
	if d.Changed || !d.Timeline.Associations[0].ReadyAt.IsZero() || d.Next != 0 {
		t.Errorf("got %+v: what was never served has no wait", d)
	}
	if diff := gocmp.Diff([]dane.Association{association("A", "3 1 1")}, d.RRset); diff != "" {
		t.Errorf("RRset (-want +got):\n%s", diff)
	}
}

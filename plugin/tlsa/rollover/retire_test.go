package rollover

import (
	"slices"
	"testing"
	"time"

	"github.com/coredns-tlsa/coredns-tlsa/plugin/tlsa/dane"

	gocmp "github.com/google/go-cmp/cmp"
)

const live = "certs/mail/fullchain.pem"

// both is the usual beginning with an ECDSA key A and an RSA key R in lineages of their own.
func both(more ...row) []row {
	return append([]row{
		{now: at(0), do: all(put(live, "A"), put("certs/rsa/fullchain.pem", "R")), want: "A active~, R active~"},
		{now: at(10 * hour), want: "A active, R active"},
	}, more...)
}

func TestAnotherLeafInItsPlaceRetiresAKey(t *testing.T) {
	life(t, map[string][]row{
		"one leaf after another": installed(
			row{now: at(10 * hour), do: put("next/mail/key.pub", "B"), want: "A active, B published"},
			row{now: at(20 * hour), do: put(live, "B"), want: "A retired, B active"},
		),
		"the only one left in the file, of another algorithm": installed(
			row{now: at(20 * hour), do: put(live, "R"), want: "A retired, R active!"},
		),
		"among several leaves the one of its algorithm": {
			{now: at(0), do: put(live, "A", "R"), want: "A active~, R active~"},
			{now: at(10 * hour), do: put(live, "A", "R2"), want: "A active, R retired, R2 active!"},
		},
		"several leaves, none of its algorithm: it stays": {
			{now: at(0), do: put(live, "A"), want: "A active~"},
			{now: at(10 * hour), do: put(live, "R", "D"), want: "A active, D active!, R active! | source-missing"},
		},
		"of several leaves the one that is left out": {
			{now: at(0), do: put(live, "A", "R"), want: "A active~, R active~"},
			{now: at(10 * hour), do: put(live, "R"), want: "A retired, R active"},
		},
		"the key is still in another place": {
			{now: at(0), do: all(put(live, "A"), put("certs/copy/fullchain.pem", "A")), want: "A active~"},
			{now: at(10 * hour), do: put(live, "B"), want: "A active, B active!"},
			{now: at(20 * hour), do: put("certs/copy/fullchain.pem", "B"), want: "A retired, B active"},
		},
		"one place is replaced and another in doubt: it stays": {
			{now: at(0), do: all(put(live, "A"), put("certs/copy/fullchain.pem", "A")), want: "A active~"},
			{now: at(10 * hour), do: all(put(live, "B"), doubtful("certs/copy/fullchain.pem")), want: "A active, B active! | source-missing"},
		},
		"an empty file says nothing": installed(
			row{now: at(20 * hour), do: put(live), want: "A active | source-missing"},
			row{now: at(500 * day), want: "A active | source-missing"},
		),
		"one of its lineage's files is replaced, the other one is gone": {
			{now: at(0), do: all(put(live, "A"), put("certs/mail/cert.pem", "A")), want: "A active~"},
			{now: at(10 * hour), do: all(put(live, "R"), gone("certs/mail/cert.pem", 3)), want: "A retired, R active!"},
		},
		"a place is replaced, and one of another lineage vanished with its root: it stays": {
			{now: at(0), do: all(put(live, "A"), put("certs/copy/fullchain.pem", "A")), want: "A active~"},
			{now: at(10 * hour), do: all(put(live, "B"), vanishesWithItsRoot("certs/copy/fullchain.pem", 3)),
				want: "A active, B active! | removals-frozen"},
		},
		"a lineage that the Corefile no longer gives to the owner": both(
			row{now: at(20 * hour), do: func(w *world) { w.files["certs/rsa/fullchain.pem"].Unmapped = true }, want: "A active, R retired"},
		),
		"a lineage taken from the owner that is gone as well": both(
			row{now: at(20 * hour), do: func(w *world) {
				w.files["certs/rsa/fullchain.pem"].FileState = FileState{Gone: 7, Unmapped: true}
			}, want: "A active, R retired"},
		),
	})
}

func TestAnAbsenceRetiresAKeyOnlyAfterThreeSweepsWithASuccessor(t *testing.T) {
	copied := put("certs/copy/fullchain.pem", "B")
	life(t, map[string][]row{
		"one sweep and two are not enough": installed(
			row{now: at(10 * hour), do: all(copied, gone(live, 1)), want: "A active, B active! | source-missing"},
			row{now: at(20 * hour), do: gone(live, 2), want: "A active, B active | source-missing"},
			row{now: at(30 * hour), do: gone(live, 3), want: "A retired, B active"},
		),
		"without another key it stays": installed(
			row{now: at(20 * hour), do: gone(live, 3), want: "A active | no-successor"},
			row{now: at(500 * day), do: gone(live, 1000000), want: "A active | no-successor"},
		),
		"a key of another algorithm is no successor": both(
			row{now: at(20 * hour), do: gone(live, 3), want: "A active, R active | no-successor"},
		),
		"a staged key is no successor": installed(
			row{now: at(10 * hour), do: all(put("next/mail/key.pub", "B"), gone(live, 3)), want: "A active, B published | no-successor"},
		),
		"a successor whose own file is gone is none": installed(
			row{now: at(10 * hour), do: copied, want: "A active, B active!"},
			row{now: at(20 * hour), do: all(gone("certs/copy/fullchain.pem", 3), gone(live, 3)), want: "A active, B active | no-successor"},
		),
		"a successor that comes later": installed(
			row{now: at(20 * hour), do: gone(live, 3), want: "A active | no-successor"},
			row{now: at(30 * hour), do: copied, want: "A retired, B active!"},
		),
		"a missing root is doubt, whatever was counted": installed(
			row{now: at(10 * hour), do: copied, want: "A active, B active!"},
			row{now: at(20 * hour), do: func(w *world) { w.files[live].FileState = FileState{Gone: 9, Doubt: true} },
				want: "A active, B active | source-missing"},
		),
		"a file of which nothing is told is doubt": installed(
			row{now: at(20 * hour), do: func(w *world) { delete(w.files, live) }, want: "A active | source-missing"},
		),
		"the file comes back": installed(
			row{now: at(20 * hour), do: gone(live, 2), want: "A active | source-missing"},
			row{now: at(30 * hour), do: put(live, "A"), want: "A active"},
		),
		"an installed key that is gone, but still staged, is Active": installed(
			row{now: at(20 * hour), do: all(put("next/mail/key.pem", "A"), gone(live, 3)), want: "A active"},
			row{now: at(30 * hour), do: gone("next/mail/key.pem", 3), want: "A active | no-successor"},
		),
		"one of two places where it is installed may go": {
			{now: at(0), do: all(put(live, "A"), put("certs/copy/fullchain.pem", "A")), want: "A active~"},
			{now: at(10 * hour), do: gone("certs/copy/fullchain.pem", 3), want: "A active"},
			{now: at(20 * hour), do: put(live, "R"), want: "A retired, R active!"},
		},
	})
}

func TestRemovalsFreezeWhenARootLosesHalfOfItsLineages(t *testing.T) {
	copied := put("certs/copy/fullchain.pem", "B")
	lost := vanishesWithItsRoot(live, 3)
	life(t, map[string][]row{
		"what vanished stays": installed(
			row{now: at(10 * hour), do: all(copied, lost), want: "A active, B active! | removals-frozen"},
			row{now: at(500 * day), do: vanishesWithItsRoot(live, 1000000), want: "A active, B active | removals-frozen"},
		),
		"also after a restart, which cannot know": installed(
			row{now: at(10 * hour), do: all(copied, lost), want: "A active, B active! | removals-frozen"},
			row{now: at(20 * hour), do: gone(live, 3), want: "A active, B active | removals-frozen"},
		),
		"also when it was noticed before the third sweep": installed(
			row{now: at(10 * hour), do: all(copied, vanishesWithItsRoot(live, 1)), want: "A active, B active! | source-missing"},
			row{now: at(20 * hour), do: gone(live, 3), want: "A active, B active | removals-frozen"},
		),
		"its return thaws it": installed(
			row{now: at(10 * hour), do: all(copied, lost), want: "A active, B active! | removals-frozen"},
			row{now: at(20 * hour), do: put(live, "A"), want: "A active, B active"},
			row{now: at(30 * hour), do: gone(live, 3), want: "A retired, B active"},
		),
		"another leaf in its place retires it all the same": installed(
			row{now: at(10 * hour), do: all(copied, lost), want: "A active, B active! | removals-frozen"},
			row{now: at(20 * hour), do: put(live, "B"), want: "A retired, B active"},
		),
		"a staged copy does not thaw it": installed(
			row{now: at(10 * hour), do: all(copied, lost), want: "A active, B active! | removals-frozen"},
			row{now: at(20 * hour), do: put("next/mail/key.pem", "A"), want: "A active, B active"},
			row{now: at(30 * hour), do: all(gone(live, 3), gone("next/mail/key.pem", 3)), want: "A active, B active | removals-frozen"},
		),
		"what did not vanish is not frozen": both(
			row{now: at(20 * hour), do: all(vanishesWithItsRoot("certs/rsa/fullchain.pem", 3), copied),
				want: "A active, B active!, R active | removals-frozen"},
			row{now: at(30 * hour), do: gone(live, 3), want: "A retired, B active, R active | removals-frozen"},
		),
	})
}

func TestAStagedKeyThatNeverWasActiveRetiresWhenSweepsMissIt(t *testing.T) {
	staged := put("next/mail/key.pub", "B")
	life(t, map[string][]row{
		"after three sweeps, with nothing in its stead": installed(
			row{now: at(10 * hour), do: staged, want: "A active, B published"},
			row{now: at(11 * hour), do: gone("next/mail/key.pub", 2), want: "A active, B published"},
			row{now: at(13 * hour), do: gone("next/mail/key.pub", 3), want: "A active, B retired"},
			row{now: at(61*hour - 1), want: "A active, B retired"},
			row{now: at(61 * hour), want: "A active"},
		),
		"a root that lost half of its lineages does not freeze it": installed(
			row{now: at(10 * hour), do: staged, want: "A active, B published"},
			row{now: at(11 * hour), do: vanishesWithItsRoot("next/mail/key.pub", 3), want: "A active, B retired~"},
		),
		"doubt keeps it": installed(
			row{now: at(10 * hour), do: staged, want: "A active, B published"},
			row{now: at(11 * hour), do: doubtful("next/mail/key.pub"), want: "A active, B published | source-missing"},
			row{now: at(500 * day), want: "A active, B ready | source-missing"},
		),
		"another key in its place retires it at once": installed(
			row{now: at(10 * hour), do: staged, want: "A active, B published"},
			row{now: at(11 * hour), do: put("next/mail/key.pub", "C"), want: "A active, B retired~, C published"},
		),
		"moving it into place makes it Active and nothing else": installed(
			row{now: at(10 * hour), do: put("next/mail/key.pem", "B"), want: "A active, B published"},
			row{now: at(20 * hour), do: all(gone("next/mail/key.pem", 1), put(live, "B")), want: "A retired, B active"},
			row{now: at(21 * hour), do: gone("next/mail/key.pem", 3), want: "A retired, B active"},
			row{now: at(22 * hour), do: put(live, "C"), want: "A retired, B retired, C active!"},
		),
		"its certificate takes its place": installed(
			row{now: at(10 * hour), do: put("next/mail/key.pub", "B?"), want: "A active, B published"},
			row{now: at(20 * hour), do: put(live, "B"), want: "A retired, B active"},
			row{now: at(21 * hour), do: gone("next/mail/key.pub", 3), want: "A retired, B active"},
			row{now: at(100 * hour), want: "B active"},
		),
		"a staged copy of what was replaced waits as any other": installed(
			row{now: at(20 * hour), do: all(put("next/mail/old.pem", "A"), put(live, "B")), want: "A ready, B active!"},
			row{now: at(30 * hour), do: put(live, "A"), want: "A active, B retired"},
		),
	})
}

func TestAnOldKeyReturnsAtOnce(t *testing.T) {
	life(t, map[string][]row{
		"A, B, A: no new wait": installed(
			row{now: at(20 * hour), do: put(live, "B"), want: "A retired, B active!"},
			row{now: at(30 * hour), do: put(live, "A"), want: "A active, B retired"},
			row{now: at(30*hour + 48*hour), want: "A active"},
		),
		"A, B, A before B is Ready": installed(
			row{now: at(20 * hour), do: put(live, "B"), want: "A retired, B active!"},
			row{now: at(20*hour + 1), do: put(live, "A"), want: "A active, B retired~"},
			row{now: at(20*hour + 2), do: put(live, "B"), want: "A retired, B active!"},
		),
		"A, B, A in an instant after a lost ledger": {
			{now: at(0), do: put(live, "A"), want: "A active~"},
			{now: at(1), do: put(live, "B"), want: "A retired~, B active!"},
			{now: at(2), do: put(live, "A"), want: "A active~, B retired~"},
		},
		"at the last moment of its grace": installed(
			row{now: at(20 * hour), do: put(live, "B"), want: "A retired, B active!"},
			row{now: at(68 * hour), do: put(live, "A"), want: "A active, B retired"},
		),
		"after its removal it waits again": installed(
			row{now: at(20 * hour), do: put(live, "B"), want: "A retired, B active!"},
			row{now: at(68 * hour), want: "B active"},
			row{now: at(69 * hour), do: put(live, "A"), want: "A active!, B retired"},
		),
		"a staged key that had been withdrawn": installed(
			row{now: at(10 * hour), do: put("next/mail/key.pem", "B"), want: "A active, B published"},
			row{now: at(11 * hour), do: gone("next/mail/key.pem", 3), want: "A active, B retired~"},
			row{now: at(11*hour + 30*time.Minute), do: put(live, "B"), want: "A retired, B active!"},
			row{now: at(12 * hour), want: "A retired, B active"},
		),
	})
}

func TestReturnBeginsANewTimeAsActive(t *testing.T) {
	for claim, staged := range map[string][]string{
		"from Retired":              nil,
		"from a staged copy of its": {"A"},
	} {
		t.Run(claim, func(t *testing.T) {
			w := newWorld(t)
			w.put("next/mail/old.pem", staged...)
			for i, name := range []string{"A", "B", "A"} {
				w.put(live, name)
				w.step(at(time.Duration(i) * 10 * hour))
			}
			want := Status{Association: association("A", "3 1 1"), State: Active, Since: at(20 * hour), Lineage: "mail",
				Gated: true, Reason: "installed in " + live}
			for _, s := range w.timeline.Statuses(w.p, w.now) {
				if diff := gocmp.Diff(want, s); diff != "" && s.Association == want.Association {
					t.Errorf("status (-want +got):\n%s", diff)
				}
			}
		})
	}
}

func TestEachRetiredKeyHasItsOwnDeadline(t *testing.T) {
	life(t, map[string][]row{
		"three keys within one window": installed(
			row{now: at(20 * hour), do: put(live, "B"), want: "A retired, B active!"},
			row{now: at(30 * hour), do: put(live, "C"), want: "A retired, B retired, C active!"},
			row{now: at(68*hour - 1), want: "A retired, B retired, C active"},
			row{now: at(68 * hour), want: "B retired, C active"},
			row{now: at(78*hour - 1), want: "B retired, C active"},
			row{now: at(78 * hour), want: "C active"},
		),
		"a TTL lowered just before counts with its old value": {
			{now: at(0), do: all(ttl(3600), func(w *world) { w.p.Grace = 2 * time.Minute }, put(live, "A")), want: "A active~"},
			{now: at(10 * hour), do: all(ttl(60), put(live, "B")), want: "A retired, B active!"},
			{now: at(12*hour - 1), want: "A retired, B active!"},
			{now: at(12 * hour), want: "B active"},
		},
		"a grace lengthened meanwhile counts": installed(
			row{now: at(20 * hour), do: put(live, "B"), want: "A retired, B active!"},
			row{now: at(30 * hour), do: func(w *world) { w.p.Grace = 72 * hour }, want: "A retired, B active"},
			row{now: at(92*hour - 1), want: "A retired, B active"},
			row{now: at(92 * hour), want: "B active"},
		),
	})
}

func TestGraceCountsOnBothClocks(t *testing.T) {
	rolled := func(more ...row) []row {
		return installed(append([]row{{now: at(20 * hour), do: put(live, "B"), want: "A retired, B active!"}}, more...)...)
	}
	life(t, map[string][]row{
		"the wall clock alone removes nothing": rolled(
			row{now: clocks(1000*day, 68*hour-1), want: "A retired, B active"},
			row{now: clocks(1000*day, 68*hour), want: "B active"},
		),
		"the time of service alone removes nothing": rolled(
			row{now: clocks(68*hour-1, 1000*day), want: "A retired, B active"},
			row{now: clocks(68*hour, 1000*day), want: "B active"},
		),
		"a wall clock set back starts grace again": rolled(
			row{now: clocks(0, 30*hour), want: "A retired, B active!"},
			row{now: clocks(48*hour-1, 100*hour), want: "A retired, B active"},
			row{now: clocks(48*hour, 100*hour), want: "B active"},
		),
		"service lost in a crash is served again": rolled(
			row{now: clocks(40*hour, 15*hour), want: "A retired, B active!"},
			row{now: clocks(900*hour, 63*hour-1), want: "A retired, B active"},
			row{now: clocks(900*hour, 63*hour), want: "B active"},
		),
	})
}

func TestUntilExpiryKeepsARetiredKeyAsLongAsItsCertificateLives(t *testing.T) {
	notAfter := func(w *world) { w.p.UntilExpiry = true }
	life(t, map[string][]row{
		"until it has expired": installed(
			row{now: at(20 * hour), do: all(notAfter, put(live, "B")), want: "A retired, B active!"},
			row{now: at(90*day - 1), want: "A retired, B active"},
			row{now: at(90 * day), want: "B active"},
		),
		"a clock that jumps past the expiry does not end it": installed(
			row{now: at(20 * hour), do: all(notAfter, put(live, "B")), want: "A retired, B active!"},
			row{now: clocks(400*day, 90*day-1), want: "A retired, B active"},
			row{now: clocks(400*day, 90*day), want: "B active"},
		),
		"grace is the least even for an expired one": installed(
			row{now: at(100 * day), do: all(notAfter, put(live, "B")), want: "A retired, B active!"},
			row{now: at(102*day - 1), want: "A retired, B active"},
			row{now: at(102 * day), want: "B active"},
		),
		"a bare key has no expiry": installed(
			row{now: at(10 * hour), do: all(notAfter, put("next/mail/key.pub", "B?")), want: "A active, B published"},
			row{now: at(20 * hour), do: gone("next/mail/key.pub", 3), want: "A active, B retired"},
			row{now: at(68 * hour), want: "A active"},
		),
	})
}

func TestAnOwnerNeverLosesItsLastAssociationByItself(t *testing.T) {
	life(t, map[string][]row{
		"its certificate is taken from it": installed(
			row{now: at(20 * hour), do: func(w *world) { w.files[live].Unmapped = true }, want: "A active | last-association"},
			row{now: at(500 * day), want: "A active | last-association"},
		),
		"a staged key that is all there is": {
			{now: at(0), do: put("next/mail/key.pub", "B"), want: "B published"},
			{now: at(10 * hour), do: gone("next/mail/key.pub", 3), want: "B ready | last-association"},
			{now: at(500 * day), want: "B ready | last-association"},
			{now: at(501 * day), do: put(live, "A"), want: "A active!, B retired"},
		},
		"two keys that would leave together": {
			{now: at(0), do: put(live, "A", "R"), want: "A active~, R active~"},
			{now: at(10 * hour), do: func(w *world) { w.files[live].Unmapped = true }, want: "A active, R active | last-association"},
		},
		"the successor has no record": {
			{now: at(0), do: all(as("2 1 1"), put(live, "A<X")), want: "X/211 active~"},
			{now: at(10 * hour), do: put(live, "B"), want: "X/211 active | issuer-missing, last-association"},
		},
		"a pin is a record too": installed(
			row{now: at(10 * hour), do: pins(association("W", "3 1 1")), want: "A active, W active~"},
			row{now: at(20 * hour), do: func(w *world) { w.files[live].Unmapped = true }, want: "A retired, W active"},
			row{now: at(21 * hour), do: pins(), want: "A retired"},
			row{now: at(500 * day), want: "A retired | last-association"},
			row{now: at(501 * day), do: put("certs/new/fullchain.pem", "B"), want: "B active!"},
		),
		"a record of the zone is one too": installed(
			row{now: at(10 * hour), do: zone(association("W", "3 1 1")), want: "A active, W active~ | zone-record"},
			row{now: at(20 * hour), do: func(w *world) { w.files[live].Unmapped = true }, want: "A retired, W active | zone-record"},
			row{now: at(30 * hour), do: zone(), want: "A retired, W active | last-association"},
			row{now: at(500 * day), want: "W active | last-association"},
		),
		"a key and the zone's record leave together": installed(
			row{now: at(10 * hour), do: zone(association("W", "3 1 1")), want: "A active, W active~ | zone-record"},
			row{now: at(20 * hour), do: all(zone(), func(w *world) { w.files[live].Unmapped = true }), want: "A active, W retired | last-association"},
			row{now: at(500 * day), want: "A active | last-association"},
		),
	})
}

func TestRecordsThatNoKeyStandsBehindStayWhileTheyAreAllThereIs(t *testing.T) {
	w := newWorld(t)
	a := association("A", "3 1 1")
	w.timeline.Associations = []Times{{Association: a, PublishedAt: at(0), ReadyAt: at(2 * hour)}}
	w.step(at(10 * hour))
	if !slices.Equal(w.last.RRset, []dane.Association{a}) {
		t.Errorf("the RRset is %v", w.last.RRset)
	}
}

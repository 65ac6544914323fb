package rollover

import (
	"crypto/sha256"
	"errors"
	"strings"
	"testing"
	"time"
)

// dataOf names the association of a key for 3 1 1, keyOf the key itself.
func dataOf(name string) Target { return Target{Data: association(name, "3 1 1").Data} }

func keyOf(name string) Target {
	digest := sha256.Sum256([]byte(leaf(name).Leaf.SPKI))
	return Target{Data: string(digest[:]), Key: true}
}

// operator applies what the operator says to the timeline; nil wants it to be accepted.
func operator(refused error, says func(w *world) (Timeline, error)) func(*world) {
	return func(w *world) {
		w.t.Helper()
		before := w.timeline.Clone()
		t, err := says(w)
		if !errors.Is(err, refused) {
			w.t.Fatalf("the operator's word gives %v, want %v", err, refused)
		}
		if err != nil {
			t = before
		}
		w.timeline = t
	}
}

func revoked(x Target, refused error) func(*world) {
	return func(w *world) {
		operator(refused, func(w *world) (Timeline, error) { return w.timeline.Revoke(w.observe(), x, w.now) })(w)
	}
}

func unrevoked(x Target, refused error) func(*world) {
	return operator(refused, func(w *world) (Timeline, error) { return w.timeline.Unrevoke(x, w.p, w.now) })
}

var (
	withdrawn   = operator(nil, func(w *world) (Timeline, error) { return w.timeline.Withdraw(w.now) })
	unwithdrawn = operator(nil, func(w *world) (Timeline, error) { return w.timeline.Unwithdraw() })
)

func lineageWithdrawn(id string, refused error) func(*world) {
	return operator(refused, func(w *world) (Timeline, error) { return w.timeline.WithdrawLineage(w.observe(), id) })
}

func lineageBack(id string, refused error) func(*world) {
	return operator(refused, func(w *world) (Timeline, error) { return w.timeline.UnwithdrawLineage(id) })
}

// replacedBy is an owner whose key A has been replaced by B.
func replacedBy(more ...row) []row {
	return installed(append([]row{{now: at(20 * hour), do: put(live, "B"), want: "A retired, B active!"}}, more...)...)
}

func TestRevokeDropsAKeyAtOnceAndForGood(t *testing.T) {
	life(t, map[string][]row{
		"what is retired, by its association data": replacedBy(
			row{now: at(21 * hour), do: revoked(dataOf("A"), nil), want: "B active!"},
			row{now: at(500 * day), want: "B active"},
		),
		"what is retired, by the digest of its key": replacedBy(
			row{now: at(21 * hour), do: revoked(keyOf("A"), nil), want: "B active!"},
		),
		"all associations of the key": {
			{now: at(0), do: all(as("3 1 1, 3 1 2"), put(live, "A")), want: "A active~, A/312 active~"},
			{now: at(20 * hour), do: put(live, "B"), want: "A retired, A/312 retired, B active!, B/312 active!"},
			{now: at(21 * hour), do: revoked(dataOf("A"), nil), want: "B active!, B/312 active!"},
		},
		"an installed key whose file is gone": {
			{now: at(0), do: all(put(live, "A"), put("certs/b/fullchain.pem", "B")), want: "A active~, B active~"},
			{now: at(10 * hour), do: vanishesWithItsRoot(live, 3), want: "A active, B active | removals-frozen"},
			{now: at(11 * hour), do: revoked(dataOf("A"), nil), want: "B active"},
		},
		"a file that holds it again publishes it again": replacedBy(
			row{now: at(21 * hour), do: revoked(dataOf("A"), nil), want: "B active!"},
			row{now: at(22 * hour), do: put("next/mail/key.pem", "A"), want: "A published, B active"},
			row{now: at(23 * hour), do: unrevoked(dataOf("A"), ErrNothing), want: "A published, B active"},
		),
		"a zone record that the zone no longer has": installed(
			row{now: at(10 * hour), do: zone(association("Z", "3 1 1")), want: "A active, Z active~ | zone-record"},
			row{now: at(11 * hour), do: revoked(dataOf("Z"), ErrHeld), want: "A active, Z active~ | zone-record"},
			row{now: at(12 * hour), do: zone(), want: "A active, Z retired"},
			row{now: at(13 * hour), do: revoked(keyOf("Z"), nil), want: "A active"},
			row{now: at(14 * hour), do: unrevoked(keyOf("Z"), nil), want: "A active, Z retired~"},
			row{now: at(62*hour - 1), want: "A active, Z retired"},
			row{now: at(62 * hour), want: "A active"},
		),
	})
}

func TestRevokeIsRefused(t *testing.T) {
	life(t, map[string][]row{
		"while a file holds the key": installed(
			row{now: at(10 * hour), do: put("next/mail/key.pem", "B"), want: "A active, B published"},
			row{now: at(11 * hour), do: revoked(dataOf("B"), ErrHeld), want: "A active, B published"},
			row{now: at(12 * hour), do: revoked(keyOf("A"), ErrHeld), want: "A active, B ready"},
		),
		"while a file in doubt is known to hold it": replacedBy(
			row{now: at(21 * hour), do: func(w *world) {
				w.put("certs/copy/fullchain.pem", "A")
			}, want: "A active, B active!"},
			row{now: at(22 * hour), do: all(func(w *world) {
				f := w.files["certs/copy/fullchain.pem"]
				f.Doubt, f.kept = true, true
			}, revoked(dataOf("A"), ErrHeld)), want: "A active, B active"},
		),
		"while a pin holds it": installed(
			row{now: at(10 * hour), do: pins(association("P", "3 1 1")), want: "A active, P active~"},
			row{now: at(11 * hour), do: revoked(dataOf("P"), ErrHeld), want: "A active, P active~"},
		),
		"when it is the last": installed(
			row{now: at(10 * hour), do: all(gone(live, 1), revoked(dataOf("A"), ErrLast)), want: "A active | source-missing"},
		),
		"when there is no such": installed(
			row{now: at(10 * hour), do: revoked(dataOf("B"), ErrNothing), want: "A active"},
			row{now: at(11 * hour), do: revoked(keyOf("B"), ErrNothing), want: "A active"},
			row{now: at(12 * hour), do: unrevoked(dataOf("A"), ErrNothing), want: "A active"},
		),
	})
}

func TestRevokeIsUndoneWithinGrace(t *testing.T) {
	life(t, map[string][]row{
		"what was retired has its whole grace again": replacedBy(
			row{now: at(60 * hour), do: revoked(dataOf("A"), nil), want: "B active"},
			row{now: at(61 * hour), want: "B active"},
			row{now: at(90 * hour), do: unrevoked(dataOf("A"), nil), want: "A retired~, B active"},
			row{now: at(138*hour - 1), want: "A retired, B active"},
			row{now: at(138 * hour), want: "B active"},
		),
		"what was in use is ungated until every cache has it": {
			{now: at(0), do: all(put(live, "A"), put("certs/b/fullchain.pem", "B")), want: "A active~, B active~"},
			{now: at(10 * hour), do: gone(live, 1), want: "A active, B active | source-missing"},
			{now: at(11 * hour), do: revoked(dataOf("A"), nil), want: "B active"},
			{now: at(12 * hour), do: unrevoked(dataOf("A"), nil), want: "A active!, B active | source-missing"},
			{now: at(14 * hour), want: "A active, B active | source-missing"},
		},
		"and not after it": replacedBy(
			row{now: at(30 * hour), want: "A retired, B active"},
			row{now: at(31 * hour), do: revoked(dataOf("A"), nil), want: "B active"},
			row{now: at(78 * hour), want: "B active"},
			row{now: at(79 * hour), do: unrevoked(dataOf("A"), ErrNothing), want: "B active"},
		),
	})
}

// Sequence 2980561 of the simulation: the ttl was lowered after a key had retired under the larger one.
func TestWhatIsRetiredAnewWaitsForTheLargerTTL(t *testing.T) {
	pin, p := association("P", "3 1 1"), newWorld(t).p
	before := Timeline{
		TTL: 10, Combinations: p.Combinations, ObservedAt: at(0),
		Keys:  []Key{{Material: leaf("A"), ActiveAt: at(0)}, {Material: leaf("B"), RetiredAt: at(hour), RetiredTTL: 7200}},
		Fixed: []Fixed{{Association: pin, RetiredAt: at(hour), RetiredTTL: 7200}},
	}
	for claim, again := range map[string]func(Timeline) (Timeline, error){
		"an older ledger": func(t Timeline) (Timeline, error) { return t.Doubted(at(2 * hour)), nil },
		"a revocation undone": func(t Timeline) (_ Timeline, err error) {
			for _, x := range []Target{dataOf("B"), {Data: pin.Data}} {
				if t, err = t.Revoke(Observation{}, x, at(hour)); err == nil {
					t, err = t.Unrevoke(x, p, at(2*hour))
				}
				if err != nil {
					break
				}
			}
			return t, err
		},
	} {
		after, err := again(before)
		if err != nil {
			t.Fatalf("%s: %v", claim, err)
		}
		if k, f := after.Keys[1], after.Fixed[0]; k.RetiredAt != at(2*hour) || k.RetiredTTL != 7200 || f.RetiredAt != at(2*hour) || f.RetiredTTL != 7200 {
			t.Errorf("%s: %+v, %+v", claim, k, f)
		}
	}
}

// TestRevocationIsForgottenWithItsGrace needs both clocks for that, as any removal does.
func TestRevocationIsForgottenWithItsGrace(t *testing.T) {
	w := newWorld(t)
	w.put(live, "A")
	w.step(at(0))
	w.put(live, "B")
	w.step(at(10 * hour))
	revoked(dataOf("A"), nil)(w)
	for _, r := range []struct {
		now  Stamp
		kept int
		next time.Duration
	}{
		{at(10 * hour), 1, hour * 2},
		{clocks(60*hour, 12*hour), 1, 46 * hour},
		{clocks(12*hour, 60*hour), 1, 46 * hour},
		{at(58*hour - 1), 1, 1},
		{at(58 * hour), 0, 0},
	} {
		w.step(r.now)
		if got := len(w.timeline.Revoked); got != r.kept || w.last.Next != r.next {
			t.Errorf("at %v: %d revocations and %s, want %d and %s", r.now, got, w.last.Next, r.kept, r.next)
		}
	}
}

func TestCloneSharesNothingOfARevocation(t *testing.T) {
	a := Timeline{Revoked: []Revocation{{Keys: []Key{{Lineage: "k", Places: []Place{place(live)}}}, Fixed: []Fixed{{Zone: true}}}}}
	b := a.Clone()
	r := &b.Revoked[0]
	r.TTL, r.Fixed[0].Zone, r.Keys[0].Lineage, r.Keys[0].Places[0].Staged = 1, false, "other", true
	if k := a.Revoked[0].Keys[0]; a.Revoked[0].TTL != 0 || !a.Revoked[0].Fixed[0].Zone || k.Lineage != "k" || k.Places[0].Staged {
		t.Errorf("the original has changed: %+v", a.Revoked[0])
	}
}

func TestWithdrawnOwnerHasNoRecordsUntilItIsRestored(t *testing.T) {
	life(t, map[string][]row{
		"it comes back as it is then": installed(
			row{now: at(10 * hour), do: withdrawn, want: "none | withdrawn"},
			row{now: at(11 * hour), do: put(live, "B"), want: "none | withdrawn"},
			row{now: at(12*hour - 1), do: unwithdrawn, want: "A retired~, B active!"},
			row{now: at(14*hour - 1), want: "A retired, B active"},
		),
		"after hold nothing is at risk": installed(
			row{now: at(10 * hour), do: withdrawn, want: "none | withdrawn"},
			row{now: at(11 * hour), do: put(live, "B"), want: "none | withdrawn"},
			row{now: at(12 * hour), do: unwithdrawn, want: "A retired, B active"},
		),
		"what is due for removal goes meanwhile": replacedBy(
			row{now: at(21 * hour), do: withdrawn, want: "none | withdrawn"},
			row{now: at(500 * day), want: "none | withdrawn"},
			row{now: at(501 * day), do: unwithdrawn, want: "B active"},
		),
		"a pin too": {
			{now: at(0), do: all(as(""), pins(association("P", "3 1 1"))), want: "P active~"},
			{now: at(10 * hour), do: withdrawn, want: "none | withdrawn"},
			{now: at(11 * hour), do: unwithdrawn, want: "P active~"},
		},
		"and a key that nothing holds can be revoked even if it is the last": installed(
			row{now: at(10 * hour), do: all(withdrawn, gone(live, 1)), want: "none | source-missing, withdrawn"},
			row{now: at(11 * hour), do: revoked(dataOf("A"), nil), want: "none | withdrawn"},
		),
		"twice is refused": installed(
			row{now: at(10 * hour), do: withdrawn, want: "none | withdrawn"},
			row{now: at(11 * hour), do: operator(ErrNothing, func(w *world) (Timeline, error) { return w.timeline.Withdraw(w.now) }),
				want: "none | withdrawn"},
			row{now: at(12*hour - 1), do: unwithdrawn, want: "A active~"},
			row{now: at(12 * hour), do: operator(ErrNothing, func(w *world) (Timeline, error) { return w.timeline.Unwithdraw() }),
				want: "A active~"},
		),
	})
}

func TestWithdrawnLineageNeedsNoReturn(t *testing.T) {
	lost := vanishesWithItsRoot("certs/rsa/fullchain.pem", 3)
	const id = "certs/rsa"
	life(t, map[string][]row{
		"a frozen removal goes on": both(
			row{now: at(11 * hour), do: lost, want: "A active, R active | removals-frozen"},
			row{now: at(12 * hour), do: lineageWithdrawn(id, nil), want: "A active, R retired"},
			row{now: at(60 * hour), want: "A active"},
		),
		"without a successor too, and in doubt": both(
			row{now: at(11 * hour), do: doubtful("certs/rsa/fullchain.pem"), want: "A active, R active | source-missing"},
			row{now: at(12 * hour), do: lineageWithdrawn(id, nil), want: "A active, R retired"},
		),
		"it is undone while the key is there": both(
			row{now: at(11 * hour), do: lost, want: "A active, R active | removals-frozen"},
			row{now: at(12 * hour), do: lineageWithdrawn(id, nil), want: "A active, R retired"},
			row{now: at(20 * hour), do: lineageBack(id, nil), want: "A active, R active | removals-frozen"},
			row{now: at(500 * day), want: "A active, R active | removals-frozen"},
			row{now: at(501 * day), do: lineageBack(id, ErrNothing), want: "A active, R active | removals-frozen"},
		),
		"its return is evidence": both(
			row{now: at(11 * hour), do: lost, want: "A active, R active | removals-frozen"},
			row{now: at(12 * hour), do: lineageWithdrawn(id, nil), want: "A active, R retired"},
			row{now: at(13 * hour), do: put("certs/rsa/fullchain.pem", "R"), want: "A active, R active"},
			row{now: at(14 * hour), do: lost, want: "A active, R active | removals-frozen"},
		),
		"another place of the key keeps it": both(
			row{now: at(11 * hour), do: put("certs/copy/fullchain.pem", "R"), want: "A active, R active"},
			row{now: at(12 * hour), do: all(lost, doubtful("certs/copy/fullchain.pem")), want: "A active, R active | source-missing"},
			row{now: at(13 * hour), do: lineageWithdrawn(id, nil), want: "A active, R active | source-missing"},
		),
		"refused while the file holds the key": both(
			row{now: at(11 * hour), do: lineageWithdrawn(id, ErrHeld), want: "A active, R active"},
		),
		"refused for a lineage that nobody knows": both(
			row{now: at(11 * hour), do: lineageWithdrawn("certs/other", ErrNothing), want: "A active, R active"},
		),
		"refused for all that the owner has": installed(
			row{now: at(10 * hour), do: all(gone(live, 3), lineageWithdrawn("certs/mail", ErrLast)), want: "A active | no-successor"},
		),
		"refused where all else is retired": replacedBy(
			row{now: at(21 * hour), do: all(gone(live, 3), lineageWithdrawn("certs/mail", ErrLast)), want: "A retired, B active! | no-successor"},
		),
	})
}

// TestSafeIsReadyOrInUse reads a life: who is safe to install, and in how many hours the others are.
func TestSafeIsReadyOrInUse(t *testing.T) {
	for claim, tc := range map[string]struct {
		rows []row
		key  string
		safe bool
		left time.Duration
		why  string
	}{
		"staged and waiting": {installed(row{now: at(10 * hour), do: put("next/mail/key.pub", "B?"), want: "A active, B published"}),
			"B", false, 2 * hour, "without it"},
		"staged and Ready": {installed(
			row{now: at(10 * hour), do: put("next/mail/key.pub", "B?"), want: "A active, B published"},
			row{now: at(12 * hour), want: "A active, B ready"}), "B", true, 0, ""},
		"installed from the beginning": {[]row{{now: at(0), do: put(live, "A"), want: "A active~"}}, "A", true, 0, ""},
		"ungated":                      {replacedBy(), "B", false, 2 * hour, "without it"},
		"retired":                      {replacedBy(), "A", true, 0, ""},
		"retired and about to leave":   {replacedBy(row{now: at(20*hour + 47*hour), want: "A retired, B active"}), "A", false, 0, "leaves DNS in 1h0m0s"},
		"retired with time to spare":   {replacedBy(row{now: at(20*hour + 46*hour), want: "A retired, B active"}), "A", true, 0, ""},
		"not published":                {installed(), "B", false, 0, "not published"},
		"of two combinations one cannot be computed": {
			[]row{
				{now: at(0), do: all(as("3 0 1, 3 1 1"), put(live, "A")), want: "A active~, A/301 active~"},
				{now: at(10 * hour), do: put("next/mail/key.pub", "B?"), want: "A active, A/301 active, B published | certificate-missing"},
				{now: at(20 * hour), want: "A active, A/301 active, B ready | certificate-missing"},
			}, "B?", false, 0, "3 0 1 cannot be computed"},
		"of two combinations one has just been added": {
			[]row{
				{now: at(0), do: put(live, "A"), want: "A active~"},
				{now: at(9 * hour), do: put("next/mail/cert.pem", "B"), want: "A active, B published"},
				{now: at(20 * hour), do: as("3 1 1, 3 1 2"), want: "A active, A/312 active~, B ready, B/312 published"},
				{now: at(21 * hour), want: "A active, A/312 active~, B ready, B/312 published"},
			}, "B", false, hour, "3 1 2"},
		"a pin alone": {[]row{
			{now: at(0), do: all(as(""), pins(association("P", "3 1 1"))), want: "P active~"},
			{now: at(2 * hour), want: "P active"},
		}, "P", true, 0, ""},
		"a pin alone, of another key": {[]row{
			{now: at(0), do: all(as(""), pins(association("P", "3 1 1"))), want: "P active~"},
			{now: at(2 * hour), want: "P active"},
		}, "A", false, 0, "not published"},
		"withdrawn just now":      {installed(row{now: at(10 * hour), do: withdrawn, want: "none | withdrawn"}), "B", false, 2 * hour, "withdrawn"},
		"withdrawn long ago":      {installed(row{now: at(10 * hour), do: withdrawn, want: "none | withdrawn"}, row{now: at(12 * hour), want: "none | withdrawn"}), "B", true, 0, ""},
		"an owner without a past": {[]row{{now: at(0), want: "none | no-certificate"}}, "B", false, 0, "not published"},
	} {
		t.Run(claim, func(t *testing.T) {
			life(t, map[string][]row{claim: tc.rows})
			w := newWorld(t)
			for _, r := range tc.rows {
				if w.now = r.now; r.do != nil {
					r.do(w)
				}
				w.step(r.now)
			}
			got := w.timeline.Safe(leaf(tc.key).Association, w.p, w.now)
			if got.Safe != tc.safe || got.Left != tc.left || !strings.Contains(got.Why, tc.why) || got.Safe != (got.Why == "") {
				t.Errorf("got %+v, want %t in %s because of %q", got, tc.safe, tc.left, tc.why)
			}
		})
	}
	if got := (&Timeline{}).Safe(leaf("A").Association, newWorld(t).p, at(0)); got.Safe {
		t.Errorf("an owner of which nothing is known: %+v", got)
	}
}

package rollover

import (
	"slices"
	"strings"
	"testing"

	"github.com/coredns-tlsa/coredns-tlsa/plugin/tlsa/dane"

	gocmp "github.com/google/go-cmp/cmp"
)

func TestCombinationsEnterAndLeaveForAllKeysAtOnce(t *testing.T) {
	life(t, map[string][]row{
		"one more enters for Active, staged and Retired keys": installed(
			row{now: at(20 * hour), do: all(put("next/mail/key.pem", "C"), put(live, "B")), want: "A retired, B active!, C published"},
			row{now: at(30 * hour), do: as("3 1 1, 3 1 2"), want: "A retired, A/312 retired~, B active, B/312 active~, C ready, C/312 published"},
			row{now: at(32 * hour), want: "A retired, A/312 retired, B active, B/312 active, C ready, C/312 ready"},
		),
		"one leaves only when the others are Ready for every key": installed(
			row{now: at(20 * hour), do: all(put("next/mail/key.pem", "C"), as("3 1 2")),
				want: "A active, A/312 active~, C published, C/312 published"},
			row{now: at(22*hour - 1), want: "A active, A/312 active~, C published, C/312 published"},
			row{now: at(22 * hour), want: "A/312 active, C/312 ready"},
		),
		"a newcomer delays the leaving": installed(
			row{now: at(20 * hour), do: as("3 1 2"), want: "A active, A/312 active~"},
			row{now: at(21 * hour), do: put("next/mail/key.pem", "C"), want: "A active, A/312 active~, C published, C/312 published"},
			row{now: at(22 * hour), want: "A active, A/312 active, C published, C/312 published"},
			row{now: at(23 * hour), want: "A/312 active, C/312 ready"},
		),
		"one that leaves and is wanted again": installed(
			row{now: at(20 * hour), do: as("3 1 2"), want: "A active, A/312 active~"},
			row{now: at(21 * hour), do: as("3 1 1"), want: "A active"},
			row{now: at(22 * hour), do: as("3 1 2"), want: "A active, A/312 active~"},
			row{now: at(24*hour - 1), want: "A active, A/312 active~"},
			row{now: at(24 * hour), want: "A/312 active"},
		),
		"the last of keys stays while a root of installed certificates cannot be read": installed(
			row{now: at(20 * hour), do: all(as("3 0 1"), hidden(true)), want: "A active, A/301 active~ | combination-waits"},
			row{now: at(30 * hour), want: "A active, A/301 active | combination-waits"},
			row{now: at(30 * hour), do: hidden(false), want: "A/301 active"},
		),
		"the last of keys stays while an installed file cannot be read": installed(
			row{now: at(20 * hour), do: all(as("3 0 1"), doubtful(live)), want: "A active, A/301 active~ | combination-waits, source-missing"},
			row{now: at(30 * hour), want: "A active, A/301 active | combination-waits, source-missing"},
			row{now: at(30 * hour), do: put(live, "A'"), want: "A active, A'/301 active!, A/301 retired"},
			row{now: at(32 * hour), want: "A'/301 active, A/301 retired"},
		),
		"another of keys is enough": installed(
			row{now: at(20 * hour), do: all(as("3 1 2"), hidden(true)), want: "A active, A/312 active~"},
			row{now: at(22 * hour), want: "A/312 active"},
		),
		"of several one leaves at once when the others are Ready": {
			{now: at(0), do: all(as("3 1 1, 3 1 2"), put(live, "A")), want: "A active~, A/312 active~"},
			{now: at(10 * hour), do: as("3 1 1"), want: "A active"},
		},
	})
}

func TestTheLastOfItsKindStaysWhileACertificateIsOutOfSight(t *testing.T) {
	const rsa = "certs/rsa/fullchain.pem"
	life(t, map[string][]row{
		"of keys is 1 1 1 too": {
			{now: at(0), do: all(as("1 1 1"), put(live, "A")), want: "A/111 active~"},
			{now: at(10 * hour), do: all(as("3 0 1"), hidden(true)), want: "A/111 active, A/301 active~ | combination-waits"},
			{now: at(20 * hour), want: "A/111 active, A/301 active | combination-waits"},
		},
		"of whole certificates the last may leave while something is out of sight": {
			{now: at(0), do: all(as("3 0 1"), put(live, "A")), want: "A/301 active~"},
			{now: at(10 * hour), do: all(as("3 1 1"), hidden(true)), want: "A active~, A/301 active"},
			{now: at(20 * hour), want: "A active"},
		},
		"an owner without certificates has nothing out of sight": {
			{now: at(0), do: all(as("3 0 1"), pins(association("V", "3 0 1")), zone(association("W", "3 1 1"))), want: "V/301 active~, W active~ | zone-record"},
			{now: at(10 * hour), do: all(zone(), hidden(true)), want: "V/301 active, W retired"},
			{now: at(58 * hour), want: "V/301 active"},
		},
		"a file that is gone alone is not out of sight": installed(
			row{now: at(20 * hour), do: all(as("3 0 1"), gone(live, 3)), want: "A active, A/301 active~ | no-successor"},
			row{now: at(30 * hour), want: "A/301 active | no-successor"},
		),
		"one of a frozen key is, though nobody knows any more that its root had vanished": installed(
			row{now: at(20 * hour), do: all(as("3 0 1"), vanishesWithItsRoot(live, 3)), want: "A active, A/301 active~ | combination-waits, removals-frozen"},
			row{now: at(30 * hour), do: gone(live, 3), want: "A active, A/301 active | combination-waits, removals-frozen"},
		),
		"a file that the Corefile has taken from the owner is not out of sight": {
			{now: at(0), do: all(put(live, "A"), put(rsa, "R")), want: "A active~, R active~"},
			{now: at(10 * hour), do: all(as("3 0 1"), doubtful(rsa), func(w *world) { w.files[live].Unmapped, w.files[live].Doubt = true, true; w.files[rsa].Unmapped = true }),
				want: "A active, A/301 active~, R active, R/301 active~ | source-missing"},
		},
		"the last of keys stays until the operator withdraws the lineage that is out of sight": {
			{now: at(0), do: all(put(live, "A"), put(rsa, "A")), want: "A active~"},
			{now: at(10 * hour), do: all(as("3 0 1"), doubtful(rsa)), want: "A active, A/301 active~ | combination-waits"},
			{now: at(20 * hour), do: func(w *world) {
				w.timeline, _ = w.timeline.WithdrawLineage(w.observe(), "certs/rsa")
			}, want: "A/301 active"},
		},
		"a place that is new is in sight": {
			{now: at(0), do: all(as("3 0 1, 3 1 1"), put(live, "A")), want: "A active~, A/301 active~"},
			{now: at(10 * hour), do: all(as("3 0 1"), put("certs/copy/fullchain.pem", "A")), want: "A/301 active"},
		},
		"a staged key retires while another place is new": {
			{now: at(0), do: all(put(live, "A"), put("next/mail/key.pem", "B")), want: "A active~, B published"},
			{now: at(10 * hour), do: all(gone("next/mail/key.pem", 3), put("certs/copy/fullchain.pem", "A")), want: "A active, B retired"},
		},
	})
}

// What is renewed where nobody can read it may have only the record that it shares with the certificate before it.
func TestARenewalOutOfSightKeepsTheRecordItShares(t *testing.T) {
	more := put("certs/rsa/fullchain.pem", "R")
	for claim, tc := range map[string]struct {
		before, after, first, renewed string
		more                          func(*world)
		want                          string
	}{
		"with its key, to another issuer":                    {"3 1 1", "2 1 1", "A<X", "A'<Y", nil, "A active, X/211 active"},
		"with another key, to keys":                          {"2 1 1", "3 1 1", "A<X", "B<X", nil, "A active, X/211 active"},
		"with another key, to keys from whole issuers":       {"2 0 1", "3 1 1", "A<X", "B<X", nil, "A active, X/201 active"},
		"with another key, to certificates":                  {"2 0 1", "3 0 1", "A<X", "B<X", nil, "A/301 active, X/201 active"},
		"with another key, to certificates from an issuer":   {"2 1 1", "3 0 1", "A<X", "B<X", nil, "A/301 active, X/211 active"},
		"with another key, to whole issuers":                 {"2 1 1", "2 0 1", "A<X", "B<X", nil, "X/201 active, X/211 active"},
		"with another key, to the key of its issuer":         {"2 0 1", "2 1 1", "A<X", "B<X", nil, "X/211 active"},
		"with another key, to issuers that are not known":    {"2 0 1", "2 0 0, 3 1 1", "A<X", "B<X", nil, "A active, X/201 active"},
		"with another key, to issuers that one key has none": {"2 1 1", "2 1 2, 3 1 1", "A<X", "B<X", more, "A active, R active, X/211 active"},
		"with its key, to certificates":                      {"3 1 1", "3 0 1", "A", "A'", nil, "A active, A/301 active"},
		"with its key, to another usage":                     {"3 1 1", "1 1 1", "A", "A'", nil, "A/111 active"},
	} {
		t.Run(claim, func(t *testing.T) {
			w := newWorld(t)
			as(tc.before)(w)
			w.put(live, tc.first)
			w.step(at(0))
			w.step(at(10 * hour))
			if s := w.timeline.Safe(leaf(tc.renewed).Association, w.p, at(10*hour)); !s.Safe {
				t.Fatalf("not safe: %+v", s)
			}
			hidden(true)(w)
			doubtful(live)(w)
			w.step(at(10 * hour))
			if tc.more != nil {
				tc.more(w)
			}
			as(tc.after)(w)
			w.step(at(11 * hour))
			w.step(at(20 * hour))
			if got, _, _ := strings.Cut(w.String(), " |"); got != tc.want {
				t.Errorf("%s, want %s", got, tc.want)
			}
			matches := func(a dane.Association) bool {
				b, err := leaf(tc.renewed).Association(a.Combination)
				return err == nil && a == b
			}
			if !slices.ContainsFunc(w.last.RRset, matches) {
				t.Errorf("%s matches nothing of %s", tc.renewed, w)
			}
		})
	}
}

func TestACombinationWaitsUntilEveryKeyHasIt(t *testing.T) {
	life(t, map[string][]row{
		"a bare staged key has no certificate": installed(
			row{now: at(20 * hour), do: all(put("next/mail/key.pub", "B?"), as("3 0 1")), want: "A active, B published | combination-waits"},
			row{now: at(30 * hour), want: "A active, B ready | combination-waits"},
			row{now: at(40 * hour), do: put("next/mail/cert.pem", "B"), want: "A active, A/301 active~, B ready, B/301 published"},
			row{now: at(42 * hour), want: "A/301 active, B/301 ready"},
		),
		"a retired key without its issuer": installed(
			row{now: at(20 * hour), do: put(live, "B<X"), want: "A retired, B active!"},
			row{now: at(21 * hour), do: as("2 1 1, 3 1 1"), want: "A retired, B active! | combination-waits"},
			row{now: at(68 * hour), want: "B active, X/211 active~"},
		),
		"a retired key whose whole certificate is gone": installed(
			row{now: at(20 * hour), do: put(live, "B"), want: "A retired, B active!"},
			row{now: at(30 * hour), do: as("3 0 0"), want: "A retired, B active | combination-waits"},
			row{now: at(68 * hour), want: "B active, B/300 active~"},
			row{now: at(70 * hour), want: "B/300 active"},
		),
		"a wanted one that waits does not let another go": installed(
			row{now: at(20 * hour), do: as("2 1 1"), want: "A active | combination-waits"},
			row{now: at(30 * hour), do: put(live, "A<X"), want: "A active, X/211 active~"},
			row{now: at(32 * hour), want: "X/211 active"},
		),
		"a new owner takes all, and says what is missing": {
			{now: at(0), do: all(as("2 1 1, 3 0 1, 3 1 1"), put("next/mail/key.pub", "B?")),
				want: "B published | certificate-missing"},
		},
	})
}

func TestRenewalOfTheSameKey(t *testing.T) {
	w := newWorld(t)
	w.put(live, "A")
	w.step(at(0))
	w.step(at(10 * hour))
	rrset := w.last.RRset
	w.put(live, "A'")
	w.step(at(20 * hour))
	if len(w.transitions) != 0 {
		t.Errorf("3 1 1: got transitions %v", w.transitions)
	}
	if diff := gocmp.Diff(rrset, w.last.RRset); diff != "" {
		t.Errorf("3 1 1: the RRset changed:\n%s", diff)
	}
	life(t, map[string][]row{
		"3 1 1 before it was Ready is not ungated": {
			{now: at(0), do: put(live, "A"), want: "A active~"},
			{now: at(1), do: put(live, "A'"), want: "A active~"},
			{now: at(2 * hour), want: "A active"},
			{now: at(100 * hour), want: "A active"},
		},
		"3 1 1 that was ungated stays so until it is Ready": {
			{now: at(0), want: "none | no-certificate"},
			{now: at(1), do: put(live, "A"), want: "A active!"},
			{now: at(2), do: put(live, "A'"), want: "A active!"},
			{now: at(2*hour + 1), want: "A active"},
		},
		"3 0 1 is ungated unless it was staged": {
			{now: at(0), do: all(as("3 0 1"), put(live, "A")), want: "A/301 active~"},
			{now: at(10 * hour), do: put(live, "A'"), want: "A'/301 active!, A/301 retired"},
		},
		"3 0 1 staged as a certificate": {
			{now: at(0), do: all(as("3 0 1"), put(live, "A")), want: "A/301 active~"},
			{now: at(10 * hour), do: put("next/mail/cert.pem", "A'"), want: "A'/301 published, A/301 active"},
			{now: at(12 * hour), do: put(live, "A'"), want: "A'/301 active, A/301 retired"},
		},
		"2 1 1 under the same issuer changes nothing": {
			{now: at(0), do: all(as("2 1 1"), put(live, "A<X")), want: "X/211 active~"},
			{now: at(10 * hour), do: put(live, "B<X"), want: "X/211 active"},
			{now: at(100 * hour), want: "X/211 active"},
		},
	})
}

func TestIssuersOfUsageTwo(t *testing.T) {
	life(t, map[string][]row{
		"another issuer is another association, and ungated": {
			{now: at(0), do: all(as("2 1 1"), put(live, "A<X")), want: "X/211 active~"},
			{now: at(10 * hour), do: put(live, "B<Y"), want: "X/211 retired, Y/211 active!"},
			{now: at(58 * hour), want: "Y/211 active"},
		},
		"another issuer of the very same leaf": {
			{now: at(0), do: all(as("2 1 1, 3 1 1"), put(live, "A<X")), want: "A active~, X/211 active~"},
			{now: at(10 * hour), do: put(live, "A<Y"), want: "A active, X/211 retired, Y/211 active!"},
		},
		"a chain that lacks it for a while": {
			{now: at(0), do: all(as("2 1 1"), put(live, "A<X")), want: "X/211 active~"},
			{now: at(10 * hour), do: put(live, "A"), want: "X/211 active"},
			{now: at(20 * hour), do: put(live, "A<X"), want: "X/211 active"},
		},
		"one that was never known is no guess": {
			{now: at(0), do: all(as("2 1 1"), put(live, "A")), want: "none | issuer-missing, no-certificate"},
			{now: at(10 * hour), do: put(live, "A<X"), want: "X/211 active"},
		},
		"one that becomes known after the key was installed is ungated": {
			{now: at(0), do: all(as("2 1 1"), put(live, "A<X")), want: "X/211 active~"},
			{now: at(10 * hour), do: put(live, "B"), want: "X/211 active | issuer-missing, last-association"},
			{now: at(20 * hour), do: put(live, "B<Y"), want: "X/211 retired, Y/211 active!"},
		},
		"files with and without it are one key": {
			{now: at(0), do: all(as("2 1 1"), put("certs/mail/cert.pem", "A"), put(live, "A<X")), want: "X/211 active~"},
			{now: at(10 * hour), do: all(put("certs/mail/cert.pem", "B"), put(live, "B<X")), want: "X/211 active"},
		},
		"a staged chain with it and an installed leaf without it": {
			{now: at(0), do: all(as("2 1 1"), put("certs/mail/cert.pem", "A"), put("next/mail/fullchain.pem", "A<X")), want: "X/211 active~"},
		},
		"a truncated chain is not taken for a retired one": {
			{now: at(0), do: all(as("2 1 1"), put(live, "A<X")), want: "X/211 active~"},
			{now: at(10 * hour), do: put(live, "A<Y"), want: "X/211 retired, Y/211 active!"},
			{now: at(20 * hour), do: put(live, "A"), want: "X/211 retired, Y/211 active"},
			{now: at(58 * hour), want: "Y/211 active"},
		},
	})
}

func TestWholeCertificatesAreKeptOnlyForMatchingTypeFull(t *testing.T) {
	w := newWorld(t)
	kept := func() string {
		var names []string
		for _, k := range w.timeline.Keys {
			if k.Material.Leaf.DER != "" {
				names = append(names, labels()[dane.Association{Combination: combinations("3 0 0")[0], Data: k.Material.Leaf.DER}])
			}
		}
		return strings.Join(names, " ")
	}
	for i, r := range []struct {
		do         func(*world)
		want, kept string
	}{
		{put(live, "A"), "A active~", ""},
		{as("3 0 0, 3 1 1"), "A active, A/300 active~", "A/300"},
		{all(doubtful(live), put("certs/copy/fullchain.pem", "B")), "A active, A/300 active, B active!, B/300 active! | source-missing", "A/300 B/300"},
		{all(put(live, "C"), put("next/mail/key.pub", "D?")),
			"A retired, A/300 retired, B active, B/300 active, C active!, C/300 active!, D published | certificate-missing", "A/300 B/300 C/300"},
		{as("3 1 1"), "A retired, B active, C active, D ready", ""},
		{as("3 0 0, 3 1 1"), "A retired, B active, C active, D ready | combination-waits", "B/300 C/300"},
	} {
		r.do(w)
		w.step(at(10 * hour * (1 + 1*durations(i))))
		if got := w.String(); got != r.want {
			t.Errorf("row %d: got %q, want %q", i, got, r.want)
		}
		if got := kept(); got != r.kept {
			t.Errorf("row %d: whole certificates are kept of %q, want %q", i, got, r.kept)
		}
	}
}

func TestABareKeyBesideItsCertificateIsNoBurden(t *testing.T) {
	life(t, map[string][]row{
		"it neither delays a combination nor raises a problem": {
			{now: at(0), do: all(put(live, "A"), put("next/mail/key.pub", "A?")), want: "A active~"},
			{now: at(10 * hour), do: as("3 0 1"), want: "A active, A/301 active~"},
			{now: at(12 * hour), want: "A/301 active"},
		},
		"once its certificate is retired it counts for itself": {
			{now: at(0), do: all(as("3 0 1, 3 1 1"), put(live, "A"), put("next/mail/key.pub", "A?")), want: "A active~, A/301 active~"},
			{now: at(10 * hour), do: put(live, "B"), want: "A ready, A/301 retired, B active!, B/301 active! | certificate-missing"},
		},
	})
}

func TestRecordsOfTheZoneJoin(t *testing.T) {
	life(t, map[string][]row{
		"with their combination, for all keys, until they are deleted": both(
			row{now: at(20 * hour), do: zone(association("W", "3 1 2")),
				want: "A active, A/312 active~, R active, R/312 active~, W/312 active~ | zone-record"},
			row{now: at(30 * hour), do: zone(), want: "A active, A/312 active, R active, R/312 active, W/312 retired"},
			row{now: at(78*hour - 1), want: "A active, A/312 active, R active, R/312 active, W/312 retired"},
			row{now: at(78 * hour), want: "A active, R active"},
		),
		"a key that comes while one is retired has its combination too": both(
			row{now: at(20 * hour), do: zone(association("W", "3 1 2")),
				want: "A active, A/312 active~, R active, R/312 active~, W/312 active~ | zone-record"},
			row{now: at(30 * hour), do: all(zone(), put("next/mail/key.pem", "B")),
				want: "A active, A/312 active, B published, B/312 published, R active, R/312 active, W/312 retired"},
		),
		"a zone that cannot be asked keeps them": installed(
			row{now: at(20 * hour), do: zone(association("W", "3 1 1")), want: "A active, W active~ | zone-record"},
			row{now: at(30 * hour), do: func(w *world) { w.seen.ZoneKnown, w.seen.Zone = false, nil }, want: "A active, W active"},
		),
		"one that is put back is needed again": installed(
			row{now: at(20 * hour), do: zone(association("W", "3 1 1")), want: "A active, W active~ | zone-record"},
			row{now: at(30 * hour), do: zone(), want: "A active, W retired"},
			row{now: at(40 * hour), do: zone(association("W", "3 1 1")), want: "A active, W active | zone-record"},
			row{now: at(500 * day), want: "A active, W active | zone-record"},
		),
		"one that a key of ours has as well is published once": installed(
			row{now: at(20 * hour), do: zone(association("A", "3 1 1")), want: "A active | zone-record"},
			row{now: at(30 * hour), do: zone(), want: "A active"},
		),
		"an owner that only the zone knew": {
			{now: at(0), do: zone(association("W", "3 1 1"), association("V", "3 1 1")), want: "V active~, W active~ | zone-record"},
			{now: at(10 * hour), do: zone(association("V", "3 1 1")), want: "V active, W retired | zone-record"},
			{now: at(100 * hour), do: zone(), want: "V active | last-association"},
			{now: at(200 * hour), do: put(live, "A"), want: "A active!, V retired"},
			{now: at(248 * hour), want: "A active"},
		},
		"a grace on both clocks": installed(
			row{now: at(20 * hour), do: zone(association("W", "3 1 1")), want: "A active, W active~ | zone-record"},
			row{now: at(30 * hour), do: zone(), want: "A active, W retired"},
			row{now: clocks(500*day, 78*hour-1), want: "A active, W retired"},
			row{now: clocks(500*day, 78*hour), want: "A active"},
		),
	})
}

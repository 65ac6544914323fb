package rollover

import (
	"fmt"
	"strings"
	"testing"
	"time"

	gocmp "github.com/google/go-cmp/cmp"
)

func durations(i int) time.Duration { return time.Duration(i) }

func TestWhatIsNeededIsPublishedAtOnce(t *testing.T) {
	life(t, map[string][]row{
		"installed and staged certificates, bare keys and pins": {
			{now: at(0), do: all(put(live, "A"), put("next/mail/cert.pem", "B"), put("next/rsa/key.pub", "R?"), pins(association("W", "3 1 1"))),
				want: "A active~, B published, R published, W active~"},
		},
		"every leaf of a file": {
			{now: at(0), do: put(live, "A", "R", "D"), want: "A active~, D active~, R active~"},
		},
		"a file below both kinds of root is installed": {
			{now: at(0), do: put(live, "A"), want: "A active~"},
			{now: at(10 * hour), do: all(put("certs/b/fullchain.pem", "B"), put("next/b/fullchain.pem", "B")), want: "A active, B active!"},
		},
		"in every combination": {
			{now: at(0), do: all(as("2 1 1, 3 0 2, 3 1 1"), put(live, "A<X")), want: "A active~, A/302 active~, X/211 active~"},
		},
		"nothing known is no denial": {
			{now: at(0), do: func(w *world) { w.seen.Known = false }, want: "unknown"},
			{now: at(hour), do: func(w *world) { w.seen.Known = true }, want: "none | no-certificate"},
			{now: at(2 * hour), do: func(w *world) { w.seen.Known = false }, want: "none | no-certificate"},
		},
	})
}

func TestDoubtKeepsTheRRset(t *testing.T) {
	life(t, map[string][]row{
		"an unreadable file": installed(
			row{now: at(20 * hour), do: doubtful(live), want: "A active | source-missing"},
			row{now: at(5000 * day), want: "A active | source-missing"},
			row{now: at(5001 * day), do: put(live, "A"), want: "A active"},
		),
		"all of them": both(
			row{now: at(20 * hour), do: all(doubtful(live), doubtful("certs/rsa/fullchain.pem")), want: "A active, R active | source-missing"},
		),
		"an unreadable file does not stop what is retired already": installed(
			row{now: at(20 * hour), do: put(live, "B"), want: "A retired, B active!"},
			row{now: at(30 * hour), do: doubtful(live), want: "A retired, B active | source-missing"},
			row{now: at(68 * hour), want: "B active | source-missing"},
		),
		"a restart that has read nothing yet": installed(
			row{now: at(20 * hour), do: put(live, "B"), want: "A retired, B active!"},
			row{now: at(21 * hour), do: all(func(w *world) { w.seen.Known = false }, func(w *world) { clear(w.files) }),
				want: "A retired, B active! | source-missing"},
		),
	})
}

func TestLimitRefusesStagedKeysThenNewLineages(t *testing.T) {
	many := func(n int) []row { // n lineages at the first observation
		return []row{{now: at(0), do: func(w *world) {
			for i := range n {
				w.put(fmt.Sprintf("certs/l%02d/fullchain.pem", i), string(rune('E'+i)))
			}
			as("3 0 1")(w)
		}, want: ""}}
	}
	first := map[int]string{}
	for _, n := range []int{11, 12, 14} {
		text := ""
		for i := range n {
			text += fmt.Sprintf("%c/301 active~, ", 'E'+i)
		}
		first[n] = text[:len(text)-2]
	}
	begin := func(n int, more ...row) []row {
		rows := many(n)
		rows[0].want = first[n]
		return append(rows, more...)
	}
	life(t, map[string][]row{
		"the first observation is taken whole": begin(14),
		"the twelfth is taken": begin(11,
			row{now: at(1), do: put("certs/new/fullchain.pem", "A"), want: "A/301 active!, " + first[11]}),
		"a thirteenth lineage is refused": begin(12,
			row{now: at(1), do: put("certs/new/fullchain.pem", "A"), want: first[12] + " | too-many-keys"}),
		"a staged thirteenth is refused, even by `from`": begin(12,
			row{now: at(1), do: all(put("next/new/fullchain.pem", "A"), named("next/new/fullchain.pem")), want: first[12] + " | too-many-keys"}),
		"a lineage by `from` is taken": begin(12,
			row{now: at(1), do: all(put("certs/new/fullchain.pem", "A"), named("certs/new/fullchain.pem")), want: "A/301 active!, " + first[12]}),
		"another key of a lineage already served is taken": begin(12,
			row{now: at(1), do: put("certs/l00/more.pem", "A"), want: "A/301 active!, " + first[12]}),
		"what is refused is taken when there is room": begin(12,
			row{now: at(1), do: put("certs/new/fullchain.pem", "A"), want: first[12] + " | too-many-keys"},
			row{now: at(2), do: func(w *world) { w.files["certs/l11/fullchain.pem"].Unmapped = true },
				want: first[11] + ", P/301 retired~ | too-many-keys"},
			row{now: at(48*hour + 2), want: "A/301 active!, E/301 active, F/301 active, G/301 active, H/301 active, I/301 active, " +
				"J/301 active, K/301 active, L/301 active, M/301 active, N/301 active, O/301 active"}),
		"staged keys are refused before installed ones": begin(11,
			row{now: at(1), do: all(put("a-next/a/fullchain.pem", "A"), put("certs/z/fullchain.pem", "B")),
				want: "B/301 active!, " + first[11] + " | too-many-keys"}),
		"of two new lineages one is taken, always the same": begin(11,
			row{now: at(1), do: all(put("certs/z/fullchain.pem", "A"), put("certs/y/fullchain.pem", "B")),
				want: "B/301 active!, " + first[11] + " | too-many-keys"}),
		"a certificate with the records of a known one is no newcomer": begin(12,
			row{now: at(1), do: as("3 1 1"), want: "E active~, E/301 active~, F active~, F/301 active~, G active~, G/301 active~, " +
				"H active~, H/301 active~, I active~, I/301 active~, J active~, J/301 active~, K active~, K/301 active~, L active~, " +
				"L/301 active~, M active~, M/301 active~, N active~, N/301 active~, O active~, O/301 active~, P active~, P/301 active~"},
			row{now: at(10 * hour), want: "E active, F active, G active, H active, I active, J active, K active, L active, M active, " +
				"N active, O active, P active"},
			row{now: at(11 * hour), do: put("next/a/fullchain.pem", "E'"), want: "E active, F active, G active, H active, I active, " +
				"J active, K active, L active, M active, N active, O active, P active"}),
		"Active, Ready and Retired keys are never refused": begin(12,
			row{now: at(1), do: put("certs/l00/fullchain.pem", "A"),
				want: "A/301 active!, E/301 retired~, " + first[12][len("E/301 active~, "):]},
			row{now: at(2), do: put("certs/l00/fullchain.pem", "E"), want: "A/301 retired~, " + first[12]}),
	})
}

// Sequences 221552 and 250124 of the simulation: a flood of staged keys while `3 0 1` waits for the certificate of a bare key.
func TestLimitAdmitsTheCertificateOfAReadyKey(t *testing.T) {
	staged := func(keys string) func(*world) {
		return func(w *world) {
			for i, key := range strings.Fields(keys) {
				w.put(fmt.Sprintf("next/l%02d/key.pem", i), key)
			}
		}
	}
	full := "A ready, B ready, C ready, E ready, F ready, G ready, H ready, I ready, J ready, K ready, L ready, M ready"
	waits := row{now: at(0), do: func(w *world) { staged("A? B C E F G H I J K L M")(w) }}
	waits.want = strings.ReplaceAll(full, "ready", "published")
	held := row{now: at(3 * hour), want: full}
	life(t, map[string][]row{
		"while another combination waits for it": {waits, held,
			{now: at(4 * hour), do: as("3 0 1"), want: full + " | combination-waits"},
			{now: at(5 * hour), do: put("certs/new/fullchain.pem", "A"), want: "A active, A/301 active~, " + func() string {
				var both []string
				for key := range strings.FieldsSeq("B C E F G H I J K L M") {
					both = append(both, key+" ready, "+key+"/301 published")
				}
				return strings.Join(both, ", ")
			}()},
		},
		"and a certificate whose record the zone has": {waits, held,
			{now: at(4 * hour), do: all(as("3 0 1"), zone(association("D", "3 1 1"))), want: strings.Replace(full, "E", "D active~, E", 1) +
				" | combination-waits, zone-record"},
			{now: at(8 * hour), do: put("certs/new/fullchain.pem", "D"), want: strings.Replace(full, "E", "D active, E", 1) +
				" | combination-waits, zone-record"},
			{now: at(9 * hour), do: zone(), want: strings.Replace(full, "E", "D active, E", 1) + " | combination-waits"},
			{now: at(60 * hour), want: strings.Replace(full, "E", "D active, E", 1) + " | combination-waits"},
		},
		"and not what is staged": {waits, held,
			{now: at(4 * hour), do: all(as("3 0 1"), put("next/a/fullchain.pem", "B'")), want: full + " | combination-waits, too-many-keys"}},
		"and no other key": {waits, held,
			{now: at(4 * hour), do: all(as("3 0 1"), put("certs/b/fullchain.pem", "N")), want: full + " | combination-waits, too-many-keys"}},
	})
}

func TestLimitCountsBareKeysWhoseCombinationWaits(t *testing.T) {
	w := newWorld(t)
	w.put(live, "A")
	w.step(at(0))
	as("3 0 1, 3 1 1")(w)
	for i, key := range strings.Fields("B C D E F G H I J K L M N O P Q") {
		w.put(fmt.Sprintf("next/l%02d/key.pub", i), key+"?")
	}
	as("3 0 1")(w)
	w.step(at(hour))
	if n := len(w.timeline.Keys); n != maxKeys {
		t.Errorf("%d keys are published, %v", n, w)
	}
}

func TestLimitRefusesACertificateWithoutItsIssuer(t *testing.T) {
	w := newWorld(t)
	as("2 1 1, 3 1 1")(w)
	for key := range strings.FieldsSeq("A B C D E F G H I J K L") {
		w.put("next/"+key+"/fullchain.pem", key+"<X")
	}
	w.step(at(0))
	w.put("certs/a/fullchain.pem", "A'") // over a known key
	w.step(at(10 * hour))
	if n := len(w.timeline.Keys); n != maxKeys {
		t.Errorf("%d keys, %v", n, w)
	}
}

func TestTheOperatorWithdraws(t *testing.T) {
	w311 := association("W", "3 1 1")
	life(t, map[string][]row{
		"a pin, at once": installed(
			row{now: at(20 * hour), do: pins(w311), want: "A active, W active~"},
			row{now: at(30 * hour), do: pins(), want: "A active"},
		),
		"the only pin": {
			{now: at(0), do: all(as(""), pins(w311)), want: "W active~"},
			{now: at(10 * hour), do: pins(), want: "none"},
		},
		"a pin whose key is still published": installed(
			row{now: at(20 * hour), do: pins(association("A", "3 1 1")), want: "A active"},
			row{now: at(30 * hour), do: put(live, "B"), want: "A active, B active!"},
			row{now: at(31 * hour), do: pins(), want: "A retired, B active!"},
			row{now: at(78*hour - 1), want: "A retired, B active"},
			row{now: at(78 * hour), want: "B active"},
		),
		"the names, with everything Active, staged and Retired": installed(
			row{now: at(20 * hour), do: all(put(live, "B"), put("next/mail/key.pub", "C")), want: "A retired, B active!, C published"},
			row{now: at(21 * hour), do: as(""), want: "none"},
			row{now: at(500 * day), want: "none"},
		),
		"the names, with the directories unreadable": installed(
			row{now: at(20 * hour), do: all(as(""), doubtful(live), func(w *world) { w.seen.Known = false }), want: "none"},
		),
		"the names, while a pin stays": installed(
			row{now: at(20 * hour), do: pins(w311), want: "A active, W active~"},
			row{now: at(21 * hour), do: as(""), want: "W active~"},
			row{now: at(30 * hour), do: as("3 1 1"), want: "A active!, W active"},
		),
		"the names, while the zone's own record stays": installed(
			row{now: at(20 * hour), do: zone(w311), want: "A active, W active~ | zone-record"},
			row{now: at(21 * hour), do: as(""), want: "W active~ | zone-record"},
			row{now: at(30 * hour), do: zone(), want: "W retired"},
			row{now: at(78*hour - 1), want: "W retired"},
			row{now: at(78 * hour), want: "none"},
		),
		"a new pin is published at once and counts its hold": installed(
			row{now: at(20 * hour), do: pins(w311), want: "A active, W active~"},
			row{now: at(22 * hour), want: "A active, W active"},
		),
		"a pin and the zone's same record": installed(
			row{now: at(20 * hour), do: all(pins(w311), zone(w311)), want: "A active, W active~ | zone-record"},
			row{now: at(30 * hour), do: pins(), want: "A active, W active | zone-record"},
			row{now: at(40 * hour), do: all(pins(w311), zone()), want: "A active, W active"},
			row{now: at(41 * hour), do: pins(), want: "A active, W retired"},
		),
	})
}

func TestNextIsTheTimeUntilTheNextChange(t *testing.T) {
	for claim, c := range map[string]struct {
		do   func(*world)
		now  Stamp
		want time.Duration
	}{
		"nothing is due":                   {nil, at(20 * hour), 0},
		"a staged key becomes Ready":       {put("next/mail/key.pub", "B"), at(20 * hour), 2 * hour},
		"the earliest of two":              {all(put(live, "B"), put("next/mail/key.pub", "C")), at(20 * hour), 2 * hour},
		"a pin becomes Ready":              {pins(association("W", "3 1 1")), at(20 * hour), 2 * hour},
		"a retired key is removed":         {put(live, "A'"), at(20 * hour), 48 * hour},
		"an old TTL ends":                  {ttl(60), at(20 * hour), hour},
		"what is blocked is never due":     {gone(live, 3), at(20 * hour), 0},
		"a clock behind the other decides": {put("next/mail/key.pub", "B"), clocks(5000*hour, 20*hour), 2 * hour},
	} {
		t.Run(claim, func(t *testing.T) {
			w := newWorld(t)
			w.put(live, "A")
			w.step(at(0))
			w.step(at(10 * hour))
			if c.do != nil {
				c.do(w)
			}
			w.step(c.now)
			if got := w.last.Next; got != c.want {
				t.Errorf("got %v, want %v", got, c.want)
			}
		})
	}
	t.Run("a deleted record of the zone is removed", func(t *testing.T) {
		w := newWorld(t)
		all(put(live, "A"), zone(association("W", "3 1 1")))(w)
		w.step(at(0))
		zone()(w)
		w.step(at(10 * hour))
		if got := w.last.Next; got != 48*hour {
			t.Errorf("got %v, want grace", got)
		}
	})
}

func TestTransitionsTellEachChangeOnce(t *testing.T) {
	type change struct {
		Name, From, To string
		Ungated        bool
		Reason         string
	}
	w := newWorld(t)
	for i, r := range []struct {
		now  Stamp
		do   func(*world)
		want []change
	}{
		{at(0), put(live, "A"), []change{{"A", "removed", "active", false, "installed in " + live}}},
		{at(hour), nil, nil},
		{at(2 * hour), nil, []change{{"A", "active", "active", false, "installed in " + live}}},
		{at(10 * hour), put("next/mail/key.pem", "B"), []change{{"B", "removed", "published", false, "staged in next/mail/key.pem"}}},
		{at(12 * hour), nil, []change{{"B", "published", "ready", false, "staged in next/mail/key.pem"}}},
		{at(20 * hour), put(live, "B"), []change{
			{"A", "active", "retired", false, `"certs/mail/fullchain.pem" holds another leaf`},
			{"B", "ready", "active", false, "installed in " + live},
		}},
		{at(30 * hour), put(live, "C"), []change{
			{"B", "active", "ready", false, "staged in next/mail/key.pem"},
			{"C", "removed", "active", true, "installed in " + live},
		}},
		{at(32 * hour), nil, []change{{"C", "active", "active", false, "installed in " + live}}},
		{at(68 * hour), nil, []change{{"A", "retired", "removed", false, "no longer needed, and its time is over"}}},
		{at(70 * hour), pins(association("W", "3 1 1")), []change{{"W", "removed", "active", false, "pinned in the Corefile"}}},
		{at(71 * hour), pins(), []change{{"W", "active", "removed", false, "withdrawn from the Corefile"}}},
		{at(72 * hour), as("3 1 2"), []change{
			{"B/312", "removed", "published", false, "staged in next/mail/key.pem"},
			{"C/312", "removed", "active", false, "installed in " + live},
		}},
		{at(74 * hour), nil, []change{
			{"B/312", "published", "ready", false, "staged in next/mail/key.pem"},
			{"C/312", "active", "active", false, "installed in " + live},
			{"B", "ready", "removed", false, "the Corefile no longer asks for 3 1 1"},
			{"C", "active", "removed", false, "the Corefile no longer asks for 3 1 1"},
		}},
		{at(80 * hour), as(""), []change{
			{"B/312", "ready", "removed", false, "withdrawn from the Corefile"},
			{"C/312", "active", "removed", false, "withdrawn from the Corefile"},
		}},
	} {
		if r.do != nil {
			r.do(w)
		}
		w.step(r.now)
		var got []change
		for _, tr := range w.transitions {
			got = append(got, change{labels()[tr.Association], tr.From.String(), tr.State.String(), tr.Ungated, tr.Reason})
		}
		sortByName := gocmp.Transformer("sorted", func(cs []change) map[string]change {
			m := map[string]change{}
			for _, c := range cs {
				m[c.Name] = c
			}
			return m
		})
		if diff := gocmp.Diff(r.want, got, sortByName); diff != "" || len(got) != len(r.want) {
			t.Errorf("row %d (-want +got):\n%s", i, diff)
		}
	}
}

func TestNothingIsToldOfARetiredAssociationThatBecomesReady(t *testing.T) {
	w := newWorld(t)
	w.put(live, "A")
	w.step(at(0))
	w.put(live, "B")
	w.step(at(hour))
	w.step(at(2 * hour))
	if got := w.String(); got != "A retired, B active!" || len(w.transitions) != 0 {
		t.Errorf("got %q and transitions %v", got, w.transitions)
	}
}

func TestStatusesSayWhatIsDue(t *testing.T) {
	w := newWorld(t)
	w.put(live, "A")
	w.step(at(0))
	w.step(at(10 * hour))
	w.put(live, "B")
	w.put("next/mail/key.pem", "C")
	pins(association("W", "3 1 1"))(w)
	w.step(at(20 * hour))
	got := map[string]Status{}
	for _, s := range w.timeline.Statuses(w.p, at(21*hour)) {
		name := labels()[s.Association]
		s.Association = association("A", "3 1 1")
		got[name] = s
	}
	same := association("A", "3 1 1")
	want := map[string]Status{
		"A": {Association: same, State: Retired, Since: at(20 * hour), Lineage: "mail", Gated: true, Left: 47 * hour, Reason: "no longer needed"},
		"B": {Association: same, State: Active, Since: at(20 * hour), Lineage: "mail", Ungated: true, Left: hour, Reason: "installed in " + live},
		"C": {Association: same, State: Published, Since: at(20 * hour), Lineage: "mail", Left: hour, Reason: "staged in next/mail/key.pem"},
		"W": {Association: same, State: Active, Since: at(20 * hour), Reason: "pinned in the Corefile"},
	}
	if diff := gocmp.Diff(want, got); diff != "" {
		t.Errorf("statuses (-want +got):\n%s", diff)
	}
}

func TestDecideIsTotal(t *testing.T) {
	for claim, c := range map[string]struct {
		t Timeline
		o Observation
		p Policy
	}{
		"nothing at all":                {},
		"a key without a place":         {t: Timeline{Keys: []Key{{Material: leaf("A")}}}, p: Policy{Combinations: combinations("3 1 1")}},
		"a seen key without a place":    {o: Observation{Seen: []Seen{{Material: leaf("A")}}}, p: Policy{Combinations: combinations("3 1 1")}},
		"an empty key":                  {o: Observation{Seen: []Seen{{Places: []Place{place(live)}}}}, p: Policy{Combinations: combinations("3 0 0")}},
		"associations nobody needs":     {t: Timeline{Associations: []Times{{}, {}}}, p: Policy{Combinations: combinations("3 1 1")}},
		"associations twice":            {t: Timeline{Fixed: []Fixed{{}, {}}, Associations: []Times{{}, {}}}, p: Policy{Combinations: combinations("3 1 1")}},
		"combinations that are not any": {o: Observation{Seen: []Seen{{Material: leaf("A"), Places: []Place{place(live)}}}}, p: Policy{Combinations: combinations("9 9 9")}},
	} {
		t.Run(claim, func(t *testing.T) {
			d := Decide(c.t, c.o, c.p, at(hour))
			again := Decide(d.Timeline, c.o, c.p, at(hour))
			if again.Changed {
				t.Errorf("deciding once more changes something:\n%s", gocmp.Diff(d.Timeline, again.Timeline))
			}
		})
	}
}

func TestKeyInThousandsOfPlacesRemembersAFew(t *testing.T) {
	m := leaf("A")
	seen := Seen{Material: m, Lineage: "shared"}
	for i := range 5000 {
		dir := fmt.Sprintf("certs/%04d", i)
		seen.Places = append(seen.Places, Place{Root: "certs", Lineage: dir, File: dir + "/fullchain.pem", Staged: i < 4000})
	}
	d := Decide(Timeline{}, Observation{Known: true, Seen: []Seen{seen}}, Policy{Combinations: combinations("3 1 1"), TTL: 3600}, at(0))
	places := d.Timeline.Keys[0].Places
	if len(places) != mostPlaces || places[0].Staged || d.Timeline.Keys[0].ActiveAt.IsZero() {
		t.Errorf("%d places, the first %+v", len(places), places[0])
	}
}

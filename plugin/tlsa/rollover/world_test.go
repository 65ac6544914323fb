package rollover

import (
	"cmp"
	"crypto/sha256"
	"crypto/sha512"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/coredns-tlsa/coredns-tlsa/plugin/tlsa/dane"

	gocmp "github.com/google/go-cmp/cmp"
)

const (
	hour = time.Hour
	day  = 24 * hour
)

// at is an instant of a quiet life: both clocks have counted d since the start.
func at(d time.Duration) Stamp { return clocks(d, d) }

// clocks is an instant at which the clocks disagree.
func clocks(wall, service time.Duration) Stamp {
	return Stamp{Wall: time.Date(2026, 11, 21, 0, 0, 0, 0, time.UTC).Add(wall), Service: service}
}

// combinations reads "3 1 1, 2 1 1".
func combinations(text string) []dane.Combination {
	var cs []dane.Combination
	for field := range strings.SplitSeq(text, ", ") {
		var c dane.Combination
		if _, err := fmt.Sscan(field, &c.Usage, &c.Selector, &c.MatchingType); err == nil {
			cs = append(cs, c)
		}
	}
	return cs
}

// The algorithms of test keys, as object identifiers in DER.
const (
	rsaOID     = "\x06\x09\x2a\x86\x48\x86\xf7\x0d\x01\x01\x01"
	ecdsaOID   = "\x06\x07\x2a\x86\x48\xce\x3d\x02\x01"
	ed25519OID = "\x06\x03\x2b\x65\x70"
)

func tlv(tag byte, content string) string { return string([]byte{tag, byte(len(content))}) + content }

func spki(oid, name string) string {
	return tlv(0x30, tlv(0x30, oid)+tlv(0x03, "\x00"+name))
}

func fingerprint(oid, name string, serial int) dane.Fingerprint {
	f := dane.Fingerprint{SPKI: spki(oid, name), DER: fmt.Sprintf("certificate %d of %s", serial, name)}
	a, b := sha256.Sum256([]byte(f.DER)), sha512.Sum512([]byte(f.DER))
	f.SHA256, f.SHA512 = string(a[:]), string(b[:])
	return f
}

// leaf gives the material that a short name stands for: R... is an RSA key, D... an Ed25519 key, any other an ECDSA key;
// ' marks the second certificate over the same key; <X an issuer X that the chain holds; ? a bare key.
func leaf(name string) dane.Material {
	name, issuer, issued := strings.Cut(name, "<")
	name, bare := strings.CutSuffix(name, "?")
	key := strings.TrimRight(name, "'")
	oid := ecdsaOID
	switch key[0] {
	case 'R':
		oid = rsaOID
	case 'D':
		oid = ed25519OID
	}
	serial := len(name) - len(key)
	m := dane.Material{Leaf: fingerprint(oid, key, serial), NotAfter: at(90*day + time.Duration(serial)*day).Wall}
	if bare {
		return dane.Material{Leaf: dane.Fingerprint{SPKI: m.Leaf.SPKI}}
	}
	if issued {
		m.Issuer = fingerprint(rsaOID, "CA "+issuer, 0)
	}
	return m
}

func association(name, combination string) dane.Association {
	a, err := leaf(name).Association(combinations(combination)[0])
	if err != nil {
		panic(err)
	}
	return a
}

// labels names the associations that tests may meet.
var labels = sync.OnceValue(func() map[dane.Association]string {
	names := map[dane.Association]string{}
	add := func(m dane.Material, label string) {
		for n := range 24 {
			c := dane.Combination{Usage: dane.Usage(n / 6), Selector: dane.Selector(n / 3 % 2), MatchingType: dane.MatchingType(n % 3)}
			a, err := m.Association(c)
			if _, known := names[a]; err != nil || known {
				continue
			}
			names[a] = label
			if c != combinations("3 1 1")[0] {
				names[a] += "/" + strings.ReplaceAll(c.String(), " ", "")
			}
		}
	}
	for _, ca := range []string{"X", "Y"} {
		add(dane.Material{Issuer: leaf("A<" + ca).Issuer}, ca)
	}
	for _, serial := range []string{"", "'"} {
		for key := range strings.FieldsSeq("A B C D E F G H I J K L M N O P Q R R2 S T U V W Z") {
			add(leaf(key+serial), key+serial)
		}
	}
	return names
})

// A diskFile is a file of the world: its path is root/lineage/name, below a root called `next` or `...-next` it is staged.
type diskFile struct {
	FileState
	named bool
	kept  bool // in doubt, but what it held last is remembered
}

// tester is what a test and a property have in common.
type tester interface {
	Helper()
	Fatalf(format string, args ...any)
}

// A world is an owner with its files, its ledger and the one who calls Decide.
type world struct {
	t     tester
	files map[string]*diskFile
	seen  Observation // Known, ZoneKnown and Zone
	p     Policy
	now   Stamp

	timeline    Timeline // as committed
	last        Decision
	transitions []Transition // of the last step
}

func newWorld(t tester) *world {
	return &world{t: t, files: map[string]*diskFile{}, seen: Observation{Known: true}, p: Policy{
		Combinations: combinations("3 1 1"), TTL: 3600, Hold: 2 * hour, Grace: 48 * hour,
	}}
}

// put writes leaves into a file.
func (w *world) put(path string, names ...string) {
	f := &diskFile{}
	for _, n := range names {
		f.Leaves = append(f.Leaves, leaf(n))
	}
	w.files[path] = f
}

func place(path string) Place {
	parts := strings.Split(path, "/")
	return Place{Root: parts[0], Lineage: strings.Join(parts[:2], "/"), File: path, Staged: strings.HasSuffix(parts[0], "next")}
}

// observe looks at the files as the caller of Decide does.
func (w *world) observe() Observation {
	o := w.seen
	o.Files = map[string]FileState{}
	for _, path := range slices.Sorted(maps.Keys(w.files)) {
		f := w.files[path]
		if w.knows(path) {
			o.Files[path] = f.FileState
		}
		if f.Doubt && !f.kept || f.Gone > 0 || f.Unmapped {
			continue
		}
		for _, m := range f.Leaves {
			i := slices.IndexFunc(o.Seen, func(s Seen) bool { return s.Material == m })
			if i < 0 {
				i = len(o.Seen)
				o.Seen = append(o.Seen, Seen{Material: m, Lineage: strings.Split(path, "/")[1]})
			}
			o.Seen[i].Places = append(o.Seen[i].Places, place(path))
			o.Seen[i].Named = o.Seen[i].Named || f.named
		}
	}
	return o
}

// knows tells whether the timeline has a key there: only of these files anything is asked.
func (w *world) knows(path string) bool {
	return slices.ContainsFunc(w.timeline.Keys, func(k Key) bool {
		return slices.ContainsFunc(k.Places, func(p Place) bool { return p.File == path })
	})
}

// decide calls Decide and checks what must hold of any decision.
func (w *world) decide() Decision {
	w.t.Helper()
	o := w.observe()
	given := w.timeline.Clone()
	d := Decide(w.timeline, o, w.p, w.now)
	if diff := gocmp.Diff(given, w.timeline.Clone()); diff != "" {
		w.t.Fatalf("Decide changed the timeline it was given:\n%s", diff)
	}
	again := Decide(d.Timeline.Clone(), o, w.p, w.now)
	want := Decision{Timeline: d.Timeline, Answer: d.Answer, RRset: d.RRset, Problems: d.Problems, Next: d.Next}
	want.Statuses = again.Timeline.Statuses(w.p, w.now)
	if diff := gocmp.Diff(want, again); diff != "" {
		w.t.Fatalf("deciding once more changes something:\n%s", diff)
	}
	slices.Reverse(o.Seen)
	for i := range o.Seen {
		o.Seen[i].Places = slices.Clone(o.Seen[i].Places)
		slices.Reverse(o.Seen[i].Places)
	}
	o.Zone = slices.Clone(o.Zone)
	slices.Reverse(o.Zone)
	if diff := gocmp.Diff(d, Decide(w.timeline, o, w.p, w.now)); diff != "" {
		w.t.Fatalf("the order of the observation matters:\n%s", diff)
	}
	if canonical := dane.Canonical(d.RRset); !slices.Equal(canonical, d.RRset) {
		w.t.Fatalf("RRset is not canonical: %v", d.RRset)
	}
	problems := slices.Clone(d.Problems)
	slices.SortFunc(problems, func(a, b Problem) int { return cmp.Or(cmp.Compare(a.Reason, b.Reason), cmp.Compare(a.Text, b.Text)) })
	if !slices.Equal(slices.Compact(problems), d.Problems) {
		w.t.Fatalf("problems are out of order or double: %v", d.Problems)
	}
	if len(w.timeline.Associations) > 0 && (d.Answer != Records) != (len(d.RRset) == 0) {
		w.t.Fatalf("answer %v with the RRset %v", d.Answer, d.RRset)
	}
	w.checkTransitions(w.timeline, d)
	return d
}

// checkTransitions wants one transition for each association that changed its state.
func (w *world) checkTransitions(before Timeline, d Decision) {
	w.t.Helper()
	old := map[dane.Association]Status{}
	for _, s := range before.Statuses(w.p, w.now) {
		old[s.Association] = s
	}
	told := map[dane.Association]bool{}
	for _, tr := range d.Transitions {
		if told[tr.Association] {
			w.t.Fatalf("two transitions of %s", tr.Association)
		}
		told[tr.Association] = true
	}
	for _, s := range d.Timeline.Statuses(w.p, w.now) {
		was, known := old[s.Association]
		if (!known || was.State != s.State) && !told[s.Association] {
			w.t.Fatalf("%s became %s without a transition", s.Association, s.State)
		}
		delete(old, s.Association)
	}
	for a := range old {
		if !told[a] {
			w.t.Fatalf("%s was removed without a transition", a)
		}
	}
}

// step is what the caller does at an instant: decide, commit, publish, stamp, decide, commit.
func (w *world) step(now Stamp) {
	w.t.Helper()
	w.now = now
	w.last = w.decide()
	w.transitions = w.last.Transitions
	w.timeline = w.last.Timeline
	if t, changed := Served(w.timeline, now); changed {
		w.timeline = t
		w.last = w.decide()
		w.transitions = append(w.transitions, w.last.Transitions...)
		w.timeline = w.last.Timeline
	}
}

// String gives the RRset with its states, and the reasons of the problems: "A active, B published | no-successor". ~ marks
// what is not Ready where the state does not tell, ! what is ungated.
func (w *world) String() string {
	var states, reasons []string
	for _, s := range w.timeline.Statuses(w.p, w.now) {
		states = append(states, labels()[s.Association]+" "+w.state(s))
	}
	slices.Sort(states)
	for _, p := range w.last.Problems {
		reasons = append(reasons, string(p.Reason))
	}
	text := strings.Join(states, ", ")
	if len(states) == 0 {
		text = [...]string{"unknown", "none", "no records"}[w.last.Answer]
	}
	if len(reasons) > 0 {
		text += " | " + strings.Join(slices.Compact(reasons), ", ")
	}
	return text
}

func (w *world) state(s Status) string {
	text := s.State.String()
	switch {
	case s.Ungated:
		text += "!"
	case !s.Gated && s.State != Published:
		text += "~"
	}
	return text
}

// A row is one step of a life: what happens, when, and what must be so then.
type row struct {
	now  Stamp
	do   func(w *world)
	want string
}

// life runs the rows of a table whose cases are sentences.
func life(t *testing.T, cases map[string][]row) {
	t.Helper()
	for claim, rows := range cases {
		t.Run(claim, func(t *testing.T) {
			w := newWorld(t)
			for i, r := range rows {
				if w.now = r.now; r.do != nil {
					r.do(w)
				}
				w.step(r.now)
				if got := w.String(); got != r.want {
					t.Fatalf("row %d: got %q, want %q; problems %v", i, got, r.want, w.last.Problems)
				}
			}
		})
	}
}

// The things that happen in a life.
func put(path string, names ...string) func(*world) { return func(w *world) { w.put(path, names...) } }

func all(dos ...func(*world)) func(*world) {
	return func(w *world) {
		for _, do := range dos {
			do(w)
		}
	}
}

func gone(path string, sweeps uint64) func(*world) {
	return func(w *world) { w.files[path].FileState = FileState{Gone: sweeps} }
}

func vanishesWithItsRoot(path string, sweeps uint64) func(*world) {
	return func(w *world) { w.files[path].FileState = FileState{Gone: sweeps, Lost: true} }
}

func doubtful(path string) func(*world) { return func(w *world) { w.files[path].Doubt = true } }

func named(path string) func(*world) { return func(w *world) { w.files[path].named = true } }

func as(text string) func(*world) {
	return func(w *world) { w.p.Combinations = combinations(text) }
}

func pins(as ...dane.Association) func(*world) { return func(w *world) { w.p.Pins = as } }

func zone(as ...dane.Association) func(*world) {
	return func(w *world) { w.seen.ZoneKnown, w.seen.Zone = true, as }
}

func ttl(seconds uint32) func(*world) {
	return func(w *world) {
		w.p.TTL = seconds
		w.p.Hold = max(2*time.Duration(seconds)*time.Second, time.Duration(seconds)*time.Second+5*time.Minute)
	}
}

func loseLedger(w *world) { w.timeline = Timeline{} }

package main

import (
	"encoding/json"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/miekg/dns"
	"github.com/rogpeppe/go-internal/testscript"

	"github.com/coredns-tlsa/coredns-tlsa/plugin/tlsa/control"
)

// socketDir is a directory of a path that is short enough, and that nobody else may write in.
func socketDir(t testing.TB) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "tlsactl") //nolint:usetesting // a test's own directory has too long a path for a socket
	must(t, dir, err)
	t.Cleanup(func() { os.RemoveAll(dir) })
	return dir
}

// A fakeBlock is what a control server answers from: a status, what is safe, and whether actions are refused.
type fakeBlock struct {
	mu     sync.Mutex // guards all below
	status control.BlockStatus
	safe   control.Safety
	refuse *control.Error
	mute   bool // actions are done without a word
	acts   []control.Action
}

// blockOf is a block with one owner, and its associations 3 1 1 of a digest of ab.
func blockOf(owner string, associations ...control.Association) *fakeBlock {
	for i := range associations {
		a := &associations[i]
		a.Usage, a.Selector, a.MatchingType, a.Data = 3, 1, 1, strings.Repeat("ab", 32)
	}
	return &fakeBlock{status: control.BlockStatus{
		Zones: []string{"example.org."}, Serving: true, Known: true,
		Owners: []control.OwnerStatus{{Name: owner, Zone: "example.org.", Answer: control.AnswerRecords, Associations: associations}},
	}}
}

func (b *fakeBlock) Status(owner string) control.BlockStatus {
	b.mu.Lock()
	defer b.mu.Unlock()
	s := b.status
	if owner != "" {
		s.Owners, s.Lineages = nil, nil
		for _, o := range b.status.Owners {
			if o.Name == owner {
				s.Owners = append(s.Owners, o)
			}
		}
	}
	return s
}

func (b *fakeBlock) Safe(control.Certificate) control.Safety {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.safe
}

func (b *fakeBlock) Act(a control.Action, only bool) ([]control.Done, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.refuse != nil {
		return nil, b.refuse
	}
	if only {
		return nil, nil
	}
	b.acts = append(b.acts, a)
	var done []control.Done
	if b.mute {
		return done, nil
	}
	for _, o := range b.status.Owners {
		if a.Owner == "" || a.Owner == o.Name {
			done = append(done, control.Done{
				Owner: o.Name, Zone: o.Zone, Text: "the operator has done it", CachedUntil: &inTwoHours, UndoUntil: &inTwoDays,
			})
		}
	}
	return done, nil
}

// serveControl serves blocks at a path until the test ends.
func serveControl(t testing.TB, path string, blocks ...*fakeBlock) string {
	t.Helper()
	u, err := control.ClaimSocket(path, func(text string) { t.Errorf("control: %s", text) })
	must(t, u, err)
	t.Cleanup(u.Close)
	for _, b := range blocks {
		u.Add(b)
	}
	if err := u.Serve(); err != nil {
		t.Fatal(err)
	}
	return path
}

var (
	inTwoHours = time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC)
	inTwoDays  = time.Date(2026, 11, 24, 10, 0, 0, 0, time.UTC)
)

// scriptControl is "control FILE": the DNS server serves the status of one block in FILE at $CONTROL.
func scriptControl(t *testing.T, ts *testscript.TestScript, args []string) {
	b := ts.Value("control").(*fakeBlock)
	ts.Check(json.Unmarshal([]byte(ts.ReadFile(args[0])), &b.status))
	serveControl(t, ts.Getenv("CONTROL"), b)
}

// scriptKnows is "knows STATE OWNER FILE": the DNS server at $CONTROL has one owner, with 3 1 1 of a file in this state.
func scriptKnows(t *testing.T, ts *testscript.TestScript, args []string) {
	a := control.Association{State: args[0], Gated: args[0] != "published"}
	if !a.Gated {
		later := time.Now().Add(time.Hour)
		a.NextState, a.NextAt = "ready", &later
	}
	known := blockOf(args[1], a)
	known.status.Owners[0].Associations[0].Data = recordsOf(ts, args[1], []byte(ts.ReadFile(args[2])))[0].(*dns.TLSA).Certificate
	b := ts.Value("control").(*fakeBlock)
	b.mu.Lock()
	isNew := b.status.Zones == nil
	b.status = known.status
	b.safe = control.Safety{Safe: a.Gated, SafeAt: a.NextAt, Owners: []string{args[1]}}
	b.mu.Unlock()
	if isNew {
		serveControl(t, ts.Getenv("CONTROL"), b)
	}
}

// scriptRefuse is "refuse CODE TEXT": actions fail; "refuse" alone ends that.
func scriptRefuse(ts *testscript.TestScript, _ bool, args []string) {
	b := ts.Value("control").(*fakeBlock)
	b.mu.Lock()
	defer b.mu.Unlock()
	b.refuse = nil
	if len(args) == 2 {
		b.refuse = &control.Error{Code: args[0], Text: args[1]}
	}
}

// scriptActed is "acted [ACTION...]": the actions since the last time were these.
func scriptActed(ts *testscript.TestScript, _ bool, args []string) {
	b := ts.Value("control").(*fakeBlock)
	b.mu.Lock()
	defer b.mu.Unlock()
	var got []string
	for _, a := range b.acts {
		body, err := json.Marshal(a)
		ts.Check(err)
		got = append(got, string(a.Verb)+" "+string(body))
	}
	b.acts = nil
	if want := args; !slices.Equal(got, want) {
		ts.Fatalf("the server did %q, want %q", got, want)
	}
}

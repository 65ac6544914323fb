//go:build referee && linux && amd64

package publish

import (
	"bytes"
	"encoding/binary"
	"encoding/gob"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strconv"
	"syscall"
	"testing"

	"github.com/coredns-tlsa/coredns-tlsa/plugin/tlsa/ledger"
	"github.com/coredns-tlsa/coredns-tlsa/plugin/tlsa/rollover"
)

// envNumber gives the number of an environment variable, which the soak sets.
func envNumber(t *testing.T, name string, otherwise int) int {
	t.Helper()
	text := os.Getenv(name)
	if text == "" {
		return otherwise
	}
	n, err := strconv.Atoi(text)
	if err != nil {
		t.Fatalf("%s: %v", name, err)
	}
	return n
}

// fastDir is a directory in memory where there is one: what counts is which calls are made, not that a disk is waited for.
func fastDir(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("/dev/shm", "tlsa") //nolint:usetesting // not the directory of other tests
	if err != nil {
		return t.TempDir()
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	return dir
}

// A cutter cuts the power in states that it draws, and counts how they end.
type cutter struct {
	t      *testing.T
	r      *rand.Rand
	dir    string
	disk   *platter
	owed   *promise
	seen   map[[32]byte]bool
	states int
	ends   map[ledger.Origin]int
	partly int // of the states have a part of a commit
	bad    int
	points int // where something was told
	said   bytes.Buffer
	notes  *gob.Decoder

	files   map[string][]byte // at the start of a life
	origins []ledger.Origin   // before something is told; nil: those of a new ledger
	copied  []byte            // the ledger of which all is owed from the start
	doubted bool              // it was damaged or lost
}

// owes makes what a copy of the ledger holds owed.
func (c *cutter) owes() {
	c.t.Helper()
	path := filepath.Join(c.t.TempDir(), "tlsa.ledger")
	if err := os.WriteFile(path, c.copied, 0o600); err != nil {
		c.t.Fatal(err)
	}
	s, err := ledger.Open(path)
	if err != nil {
		c.t.Fatal(err)
	}
	blocks, err := s.Blocks()
	if err != nil || len(blocks) == 0 {
		c.t.Fatal(blocks, err)
	}
	for _, block := range blocks {
		all, err := s.Load(block)
		if err != nil {
			c.t.Fatal(err)
		}
		for owner, tl := range all {
			if c.doubted {
				*tl = tl.Doubted(rollover.Stamp{})
			}
			c.owed.records[ownerOf{block, owner}] = []string{c.owed.enter(recordNote{Timeline: *tl})}
		}
	}
	if err := s.Close(); err != nil {
		c.t.Fatal(err)
	}
}

// cut tries every luck of the moment, and of the drawn ones as many as are said.
func (c *cutter) cut(where string, drawn int) {
	c.t.Helper()
	c.cutOf(where, c.disk.lucks(c.r, drawn))
}

func (c *cutter) cutOf(where string, lucks []luck) {
	c.t.Helper()
	for i, l := range lucks {
		files := c.disk.state(l)
		if d := c.owed.digest(files, c.points); c.seen[d] {
			continue
		} else {
			c.seen[d] = true
		}
		c.states++
		v, err := c.owed.recoverFrom(c.dir, files, c.states%4 == 0)
		if err != nil {
			c.t.Fatal(err)
		}
		c.ends[v.origin]++
		if v.partly {
			c.partly++
		}
		if len(v.faults) > 0 && c.bad < 20 {
			c.bad++
			c.t.Errorf("%s, luck %d: %q", where, i, v.faults)
		}
	}
}

// follow is what a tracer sees: it keeps the disk and the promise, of each life its own.
func (c *cutter) follow(call *fileCall) *note {
	c.t.Helper()
	if call.name != "mark" {
		if err := c.disk.take(call); err != nil {
			c.t.Fatal(err)
		}
		return nil
	}
	c.said.Write(call.data)
	n := &note{}
	if err := c.notes.Decode(n); err != nil {
		c.t.Fatal(err)
	}
	c.points++
	if n.Kind == "life" {
		c.disk, c.owed = newPlatter(c.files), newPromise()
		if c.origins != nil {
			c.owed.origins, c.owed.doubted = c.origins, c.doubted
		}
		if c.copied != nil {
			c.owes()
		}
	}
	c.owed.take(n)
	return n
}

func newCutter(t *testing.T, seed uint64) *cutter {
	t.Helper()
	c := &cutter{
		t: t, r: rand.New(rand.NewPCG(seed, 3)), dir: fastDir(t), disk: newPlatter(nil), owed: newPromise(),
		seen: map[[32]byte]bool{}, ends: map[ledger.Origin]int{},
	}
	c.notes = gob.NewDecoder(&c.said)
	return c
}

// cutAll runs a child, and cuts the power after each of its calls.
func (c *cutter) cutAll(role, dir string, seed int) {
	c.t.Helper()
	calls := 0
	var now string
	tr := &tracer{dir: dir, seen: func(call *fileCall) {
		if n := c.follow(call); n != nil {
			now = n.Kind
			return
		}
		calls++
		c.cut(fmt.Sprintf("%s, seed %d, call %d (%s %s) after %s", role, seed, calls, call.name, call.file, now), 2)
	}}
	if err := tr.runChild(c.t, role, fmt.Sprint("CRASH_SEED=", seed)); err != nil {
		c.t.Fatal(err)
	}
	if c.states < 100 || !c.owed.told {
		c.t.Errorf("%s, seed %d: only %d states", role, seed, c.states)
	}
	c.t.Logf("%s, seed %d: %d calls, %d states: %v", role, seed, calls, c.states, c.ends)
}

// child does what a role says in a process of its own; false: this is the test itself.
func child(t *testing.T) bool {
	t.Helper()
	role, dir, seed := os.Getenv(childRole), os.Getenv(childDir), uint64(envNumber(t, "CRASH_SEED", 1))
	if role == "" {
		return false
	}
	if err := filterCalls(); err != nil {
		t.Fatal(err)
	}
	marks := newMarker()
	switch role {
	case "live":
		live(t, marks, dir, 0, seed, true)
	case "lives":
		for n := range envNumber(t, "CRASH_LIVES", 1) {
			clearDir(t, dir)
			live(t, marks, dir, n, seed, false)
		}
	case "ends badly":
		endBadly(t, marks, dir, seed)
	case "large commits":
		commitMany(t, marks, dir)
	default:
		revive(t, marks, dir, seed, role != wasteful)
	}
	return true
}

// wasteful is the role of a start that finds a file which it writes anew.
const wasteful = "main file wasteful"

// The power is cut after every write, sync and rename of a life, and of a start that finds its file damaged, missing, or mostly
// unused.
func TestPowerCutAnywhereLosesNothing(t *testing.T) {
	if child(t) {
		return
	}
	seed, want := envNumber(t, "CRASH_SEED", 1), envNumber(t, "CRASH_STATES", 2000)
	states := 0
	for ; states < want; seed++ {
		c := newCutter(t, uint64(seed))
		dir := fastDir(t)
		c.cutAll("live", dir, seed)
		many := newCutter(t, uint64(seed))
		many.cutAll("large commits", fastDir(t), seed)
		if many.partly == 0 {
			t.Error("no large commit was cut between two transactions")
		}
		states += c.states + many.states
		for role, d := range map[string]damage{
			"main file damaged": {main: true}, "main file missing": {missing: true}, "both files damaged": {main: true, copied: true},
			wasteful: {waste: true},
		} {
			states += d.cutAll(t, role, dir, seed)
		}
	}
	t.Logf("%d crash states", states)
}

// A server ends while its last sync fails, and is started again: what that sync may have dropped, no later one brings back.
func TestStartAfterAFailedSyncLosesNothing(t *testing.T) {
	if child(t) {
		return
	}
	for seed := 1; seed <= 4; seed++ {
		c := newCutter(t, uint64(seed))
		syncs, failed, now := -1, 0, "" // syncs since the end began
		tr := &tracer{
			dir: fastDir(t),
			inject: func(call *fileCall) *fault {
				if call.name != "fdatasync" || syncs < 0 {
					return nil
				}
				if syncs++; syncs != 2 { // the first one is of the pages, the second one of what makes them count
					return nil
				}
				failed++
				return &fault{syscall.EIO, none}
			},
			seen: func(call *fileCall) {
				if n := c.follow(call); n != nil {
					if now = n.Kind; now == "ending" {
						syncs = 0
					}
					return
				}
				if failed > 0 {
					c.cut(fmt.Sprintf("seed %d: %s %s after %s", seed, call.name, call.file, now), 2)
				}
			},
		}
		if err := tr.runChild(t, "ends badly", fmt.Sprint("CRASH_SEED=", seed)); err != nil {
			t.Fatal(err)
		}
		if failed != 1 || c.states < 100 {
			t.Errorf("seed %d: %d syncs failed, %d states", seed, failed, c.states)
		}
	}
}

// damage is what a start finds.
type damage struct{ main, missing, copied, waste bool }

// cutAll lets a server start with the files that a life left behind, damaged.
func (d damage) cutAll(t *testing.T, role, from string, seed int) int {
	t.Helper()
	c := newCutter(t, uint64(seed))
	files := map[string][]byte{}
	for name, bad := range map[string]bool{"tlsa.ledger": d.main, "tlsa.ledger.bak": d.copied} {
		data, err := os.ReadFile(filepath.Join(from, name))
		if err != nil {
			t.Fatal(err)
		}
		if files[name] = data; bad {
			data[binary.NativeEndian.Uint32(data[24:])+40] ^= 1 // in the second meta page
		}
	}
	origins := []ledger.Origin{ledger.Restored, ledger.Intact}
	if d.waste {
		files["tlsa.ledger"] = wasted(t, files["tlsa.ledger"])
		origins, c.copied = []ledger.Origin{ledger.Intact}, files["tlsa.ledger"]
	} else if d.copied {
		origins = []ledger.Origin{ledger.Lost, ledger.Fresh, ledger.Intact}
	} else {
		c.copied = files["tlsa.ledger.bak"]
	}
	if d.missing {
		delete(files, "tlsa.ledger")
	}
	dir := fastDir(t)
	for name, data := range files {
		if err := os.WriteFile(filepath.Join(dir, name), data, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	c.files, c.origins, c.doubted = files, origins, !d.waste
	c.cutAll(role, dir, seed)
	if info, err := os.Stat(filepath.Join(dir, "tlsa.ledger")); err != nil || d.waste && info.Size() > int64(len(files["tlsa.ledger"]))/2 {
		t.Errorf("%s: the file was not written anew (%v)", role, err)
	}
	return c.states
}

// wasted gives a ledger after another block has come, in several transactions, and gone: bbolt gives no space back.
func wasted(t *testing.T, data []byte) []byte {
	t.Helper()
	path := filepath.Join(t.TempDir(), "tlsa.ledger")
	if err := os.WriteFile(path, data, 0o600); err != nil {
		t.Fatal(err)
	}
	s, err := ledger.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	blocks, err := s.Blocks()
	if err != nil || len(blocks) == 0 {
		t.Fatal(blocks, err)
	}
	all, err := s.Load(blocks[0])
	if err != nil || all[mail] == nil {
		t.Fatal(blocks, all, err)
	}
	come, gone := map[string]*rollover.Timeline{}, map[string]*rollover.Timeline{}
	for n := range 6000 {
		owner := fmt.Sprintf("_25._tcp.h%d.example.com.", n)
		come[owner], gone[owner] = all[mail], nil
	}
	for _, changes := range []map[string]*rollover.Timeline{come, gone} {
		if err := s.Commit("example.com.", changes); err != nil {
			t.Fatal(err)
		}
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if data, err = os.ReadFile(path); err != nil {
		t.Fatal(err)
	}
	return data
}

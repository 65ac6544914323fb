package publish

import (
	"context"
	"crypto/sha256"
	"crypto/sha512"
	"encoding/hex"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/coredns-tlsa/coredns-tlsa/plugin/tlsa/certdir"
	"github.com/coredns-tlsa/coredns-tlsa/plugin/tlsa/dane"
	"github.com/coredns-tlsa/coredns-tlsa/plugin/tlsa/rollover"

	"github.com/miekg/dns"
)

const mail = "_25._tcp.mail.example.org."

var spki311 = dane.Combination{Usage: dane.DANEEE, Selector: dane.SPKI, MatchingType: dane.SHA256}

// stage is the world of one publisher: directories that a test writes by hand, a disk that can fail, a log.
type stage struct {
	t    *testing.T
	disk *disk
	zone *zoneData
	log  *journal
	tree *tree
	p    *Publisher
}

// onStage runs f under fake time with the publisher of an owner at mail.example.org: ttl 1h, hold 2h, grace 48h.
func onStage(t *testing.T, f func(*stage)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		s := &stage{t: t, disk: newDisk(), zone: &zoneData{view: ZoneView{Known: true}, serial: 1}, log: &journal{}}
		f(s)
		if s.p != nil {
			s.p.Stop()
		}
	})
}

func config(owners ...Owner) Config {
	if len(owners) == 0 {
		owners = []Owner{owner25()}
	}
	return Config{
		Zones: []string{"example.org."}, Certs: []string{"/certs"}, Next: []string{"/next"},
		Rescan: time.Minute, Ledger: "/ledger", TTL: 3600, Owners: owners,
	}
}

func owner25() Owner {
	return Owner{Name: mail, Host: "mail.example.org.", Policy: policy()}
}

func policy() rollover.Policy {
	return rollover.Policy{Combinations: []dane.Combination{spki311}, TTL: 3600, Hold: 2 * time.Hour, Grace: 48 * time.Hour}
}

// prepare makes a publisher of the stage and sweeps the tree as it is.
func (s *stage) prepare(cfg Config) (*Publisher, error) {
	if s.tree == nil {
		s.tree = newTree()
	}
	p := New(cfg, s.zone, s.log, s.log)
	p.portion = 7
	p.open = func(string) (store, error) { return s.disk.open() }
	p.watch = watcherOf(s.tree)
	return p, p.Prepare()
}

func watcherOf(t *tree) func(certdir.Config) watcher {
	return func(certdir.Config) watcher { return t }
}

// start is prepare and Start.
func (s *stage) start(cfg Config) {
	s.t.Helper()
	p, err := s.prepare(cfg)
	if err != nil {
		s.t.Fatal(err)
	}
	s.p = p
	p.Start()
	p.Inherit()
	synctest.Wait()
}

// kill ends the publisher as a crash does: nothing is written any more.
func (s *stage) kill() {
	s.disk.die(true)
	s.p.Stop()
	s.disk.die(false)
	s.p = nil
	s.tree.unrun()
}

// after lets d of fake time pass.
func (s *stage) after(d time.Duration) {
	<-time.After(d)
	synctest.Wait()
}

// want compares the answer at an owner with keys by name.
func (s *stage) want(owner string, keys ...string) {
	s.t.Helper()
	e, ok := s.p.Table().Lookup(owner)
	if !ok || e.Set == nil || e.Set.Unknown {
		s.t.Errorf("%s: nothing is known (%+v), want %v", owner, e, keys)
		return
	}
	var got, want []string
	for _, rr := range e.Set.RRs(owner) {
		got = append(got, rr.(*dns.TLSA).Certificate)
	}
	for _, k := range keys {
		sum := sha256.Sum256([]byte(spki(k)))
		want = append(want, hex.EncodeToString(sum[:]))
	}
	slices.Sort(want)
	slices.Sort(got)
	if !slices.Equal(got, want) {
		s.t.Errorf("at %s %s has %d records %.8v, want those of %v %.8v", time.Now().UTC().Format(time.DateTime), owner, len(got), got, keys, want)
	}
}

func (s *stage) states(owner string) string {
	s.p.mu.Lock()
	defer s.p.mu.Unlock()
	for _, o := range s.p.owners {
		if o.name() != owner {
			continue
		}
		var words []string
		for _, st := range o.timeline().Statuses(o.policy, s.p.store.Now()) {
			word := st.State.String()
			if st.Ungated {
				word += " ungated"
			}
			words = append(words, word)
		}
		slices.Sort(words)
		return strings.Join(words, ", ")
	}
	return "no such owner"
}

// spki is a public key that is enough for KeyAlgorithm: the OID of ECDSA and some bits.
func spki(name string) string {
	id, _ := hex.DecodeString("301306072a8648ce3d020106082a8648ce3d030107")
	bits := append([]byte{0x03, byte(len(name) + 1), 0}, name...)
	return string(append([]byte{0x30, byte(len(id) + len(bits))}, append(id, bits...)...))
}

func certificate(key, serial string) dane.Material {
	a, b := sha256.Sum256([]byte(key+serial)), sha512.Sum512([]byte(key+serial))
	return dane.Material{
		Leaf:     dane.Fingerprint{SPKI: spki(key), SHA256: string(a[:]), SHA512: string(b[:])},
		NotAfter: time.Date(2100, 1, 1, 0, 0, 0, 0, time.UTC),
	}
}

// tree is a watcher whose files a test writes by hand.
type tree struct {
	mu       sync.Mutex
	roots    map[string]*certdir.Root
	lineages map[string]*certdir.Lineage
	apply    func(certdir.Changes)
}

func newTree() *tree {
	t := &tree{roots: map[string]*certdir.Root{}, lineages: map[string]*certdir.Lineage{}}
	t.roots["/certs"] = &certdir.Root{Path: "/certs"}
	t.roots["/next"] = &certdir.Root{Path: "/next", Staged: true}
	return t
}

// Sweep finds every root complete unless a test said otherwise by unmount.
func (t *tree) Sweep(context.Context) certdir.Changes {
	return t.sweep(slices.Collect(maps.Keys(t.lineages))...)
}

func (t *tree) sweep(changed ...string) certdir.Changes {
	t.mu.Lock()
	defer t.mu.Unlock()
	c := certdir.Changes{Sweep: &certdir.Figures{At: time.Now(), Files: len(t.lineages)}}
	for path, r := range t.roots {
		n := *r
		if n.Complete = len(n.Problems) == 0; n.Complete {
			n.Sweeps++
		}
		t.roots[path] = &n
		c.Roots = append(c.Roots, &n)
	}
	for _, id := range changed {
		c.Lineages = append(c.Lineages, t.lineages[id])
	}
	return c
}

func (t *tree) Run(ctx context.Context, apply func(certdir.Changes)) {
	t.mu.Lock()
	t.apply = apply
	t.mu.Unlock()
	<-ctx.Done()
}

func (t *tree) unrun() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.apply = nil
}

func (t *tree) running() func(certdir.Changes) {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.apply
}

// look is a sweep while running.
func (s *stage) look(changed ...string) {
	c := s.tree.sweep(changed...)
	if apply := s.tree.running(); apply != nil {
		apply(c)
		synctest.Wait()
	}
}

// put makes the file fullchain.pem of a lineage under a root hold the leaves, and looks.
func (s *stage) put(root, name string, leaves ...certdir.Leaf) {
	if s.tree == nil {
		s.tree = newTree()
	}
	s.look(s.enter(root, name, leaves...))
}

// enter is put without looking; it gives the lineage's identity.
func (s *stage) enter(root, name string, leaves ...certdir.Leaf) string {
	id := root + "/" + name
	file := id + "/fullchain.pem"
	l := &certdir.Lineage{ID: id, Name: name, Dir: id, Root: root, Staged: root == "/next", Files: []certdir.File{{Path: file}}}
	for _, leaf := range leaves {
		leaf.Files = []string{file}
		leaf.Algorithm = dane.KeyAlgorithm(leaf.Material.Leaf.SPKI)
		l.Leaves = append(l.Leaves, leaf)
	}
	s.tree.lineages[id] = l
	return id
}

// remove takes lineages away, in one sweep.
func (s *stage) remove(ids ...string) {
	for _, id := range ids {
		l := *s.tree.lineages[id]
		l.Files, l.Leaves = nil, nil
		s.tree.lineages[id] = &l
	}
	s.look(ids...)
	for _, id := range ids {
		delete(s.tree.lineages, id)
	}
}

func leaf(key, serial string, names ...string) certdir.Leaf {
	return certdir.Leaf{Material: certificate(key, serial), DNSNames: names}
}

func mailLeaf(key string) certdir.Leaf { return leaf(key, "1", "mail.example.org") }

func bareLeaf(key string) certdir.Leaf {
	return certdir.Leaf{Material: dane.Material{Leaf: dane.Fingerprint{SPKI: spki(key)}}}
}

// zoneData is the next plugin.
type zoneData struct {
	mu     sync.Mutex // guards the rest
	view   ZoneView
	rest   Remarks
	serial uint32
	lag    time.Duration
	signed bool
	mute   bool // it answers for no owner
	asked  map[string]int
	// remarked are the owners of which Remark was asked.
	remarked []string
}

func (z *zoneData) change(view ZoneView, serial uint32) {
	z.mu.Lock()
	defer z.mu.Unlock()
	z.view, z.serial = view, serial
}

func (z *zoneData) silence(mute bool) {
	z.mu.Lock()
	defer z.mu.Unlock()
	z.mute = mute
}

func (z *zoneData) Look(owner string) ZoneView {
	z.mu.Lock()
	defer z.mu.Unlock()
	if z.asked != nil {
		z.asked[owner]++
	}
	if z.mute {
		return ZoneView{}
	}
	return z.view
}

func (z *zoneData) Remark(owner string) Remarks {
	z.mu.Lock()
	defer z.mu.Unlock()
	z.remarked = append(z.remarked, owner)
	return z.rest
}

func (z *zoneData) SOA(string) (SOA, bool) {
	z.mu.Lock()
	defer z.mu.Unlock()
	return SOA{Serial: z.serial, Lag: z.lag, Signed: z.signed}, z.view.Known
}

// journal is the log and the meter.
type journal struct {
	mu       sync.Mutex // guards the rest
	lines    []string
	latest   Figures
	failures int
	jumps    int
	owners   map[string]OwnerFigures
}

func (j *journal) Infof(format string, v ...any)    { j.line("INFO "+format, v) }
func (j *journal) Warningf(format string, v ...any) { j.line("WARN "+format, v) }
func (j *journal) Errorf(format string, v ...any)   { j.line("ERROR "+format, v) }

func (j *journal) line(format string, v []any) {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.lines = append(j.lines, fmt.Sprintf(format, v...))
}

func (j *journal) Update(f Figures) {
	j.mu.Lock()
	defer j.mu.Unlock()
	f.States, f.Problems = maps.Clone(f.States), maps.Clone(f.Problems)
	j.latest = f
}

func (j *journal) LedgerError() {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.failures++
}

func (j *journal) Owner(name string, f OwnerFigures) {
	j.mu.Lock()
	defer j.mu.Unlock()
	if j.owners == nil {
		j.owners = map[string]OwnerFigures{}
	}
	j.owners[name] = f
}

func (j *journal) owner(name string) OwnerFigures {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.owners[name]
}

func (j *journal) clockJumps() int {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.jumps
}

func (j *journal) Problem(rollover.Reason) {}

func (j *journal) ClockJump() {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.jumps++
}

// take gives the lines since it was last called.
func (j *journal) take() []string {
	j.mu.Lock()
	defer j.mu.Unlock()
	lines := j.lines
	j.lines = nil
	return lines
}

func (j *journal) figures() Figures {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.latest
}

func (j *journal) errors() int {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.failures
}

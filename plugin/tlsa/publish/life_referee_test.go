//go:build referee && linux && amd64

package publish

import (
	"bytes"
	"encoding/gob"
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/coredns-tlsa/coredns-tlsa/plugin/tlsa/control"
	"github.com/coredns-tlsa/coredns-tlsa/plugin/tlsa/ledger"
	"github.com/coredns-tlsa/coredns-tlsa/plugin/tlsa/rollover"

	"github.com/miekg/dns"
)

// A note is what the child tells its tracer.
type note struct {
	Kind string // life, commit, done, vouch, vouched, shown, ending, stopped, mend, over
	// N is the number of the life, or of the publisher.
	N       int
	Block   string
	Records []recordNote
	Part    uint32
	Service time.Duration
	Failed  bool
	Shown   map[string][]string // hexadecimal data by owner
}

type recordNote struct {
	Owner    string
	Gone     bool
	Timeline rollover.Timeline
}

// A life is a publisher over a real ledger on a real disk, from its first start through every kind of commit, under fake time:
// ttl 1m, hold 10m, grace 30m.
type life struct {
	*stage
	r      *rand.Rand
	cfg    Config
	marks  *marker
	plain  bool // without faults
	number int  // of the publisher
	told   *told
	staged time.Time // when k2 was
	// must says until when an owner must have a key; held is the key that each lineage holds.
	must map[string]map[string]time.Time
	held map[string]string
	hide map[string]bool // withdrawn
}

const lifeGrace = 30 * time.Minute

var withdrawWeb = control.Action{Verb: control.Withdraw, Owner: web}

// forever is beyond the end of every life.
func forever() time.Time { return time.Date(2100, 1, 1, 0, 0, 0, 0, time.UTC) }

func newLife(s *stage, marks *marker, dir string, seed uint64, plain bool) *life {
	p := rollover.Policy{Combinations: policy().Combinations, TTL: 60, Hold: 10 * time.Minute, Grace: lifeGrace}
	cfg := config(Owner{Name: mail, Host: "mail.example.org.", Policy: p}, Owner{Name: web, Host: "www.example.org.", Policy: p})
	cfg.Patterns = []Owner{{Name: star443, Host: "*.example.org.", Policy: p}}
	cfg.Ledger, cfg.TTL = filepath.Join(dir, "tlsa.ledger"), 60
	return &life{
		stage: s, r: rand.New(rand.NewPCG(seed, 7)), cfg: cfg, marks: marks, plain: plain,
		must: map[string]map[string]time.Time{}, held: map[string]string{}, hide: map[string]bool{},
	}
}

// live runs a whole life and leaves the ledger closed.
func live(t *testing.T, marks *marker, dir string, n int, seed uint64, plain bool) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		s := &stage{t: t, zone: &zoneData{view: ZoneView{Known: true}, serial: 1}, log: &journal{}, tree: newTree()}
		l := newLife(s, marks, dir, seed, plain)
		l.say(note{Kind: "life", N: n})
		for _, step := range l.steps() {
			step()
			l.after(70 * time.Second)
			l.check("while it may fail")
			l.mend()
		}
		l.after(lifeGrace + 15*time.Minute)
		l.mend()
		l.want(mail, "k3")
		l.want(web, "w1")
		l.end()
		l.compare()
		l.say(note{Kind: "over", N: n})
	})
}

// steps are every kind of commit, and at random copies, reloads and restarts between them.
func (l *life) steps() []func() {
	hosts := 3 + l.r.IntN(30)
	steps := []func(){
		func() { l.holds("/certs/mail", mail, "k1"); l.holds("/certs/www", web, "w1"); l.begin() },
		func() { l.after(20 * time.Minute); l.staged = time.Now(); l.holds("/next/mail", mail, "k2") },
		l.ripens,
		func() { l.holds("/certs/mail", mail, "k2"); l.leaves("/next/mail") },
		func() { l.hosts(hosts) },
		func() { l.holds("/certs/mail", mail, "k3") },
		func() { l.obey(revoke("k1")); delete(l.must[mail], "k1"); l.obey(undo(revoke("k1"))) },
		func() { l.obey(revoke("k2")); delete(l.must[mail], "k2") },
		func() { l.hide[web] = true; l.obey(withdrawWeb); l.reload(l.cfg) },
		func() { l.obey(undo(withdrawWeb)); l.hide[web] = false },
		func() { l.zone.change(ZoneView{Known: true}, 2); l.leaves("/certs/host0", "/certs/host1") },
		func() { l.move("example.net.", "example.org.") },
		func() { l.cfg.Patterns = nil; l.forget(hosts); l.reload(l.cfg) },
	}
	all := []func(){steps[0]}
	for _, step := range steps[1:] {
		all = append(all, step)
		switch l.r.IntN(6) {
		case 0:
			all = append(all, func() { l.p.locked(func() { l.p.upkeep(l.p.store.Backup()) }) })
		case 1:
			all = append(all, func() { l.end(); l.begin() })
		case 2:
			all = append(all, func() { l.reload(l.cfg) })
		}
	}
	return all
}

// holds makes a lineage hold a key, so that its owner needs it from now on.
func (l *life) holds(id, owner, key string) {
	l.releases(id)
	l.held[id] = key
	l.needs(owner, key)
	host := map[string]string{mail: "mail", web: "www"}[owner]
	l.put(filepath.Dir(id), filepath.Base(id), leaf(key, "1", host+".example.org"))
}

func (l *life) needs(owner, key string) {
	if l.must[owner] == nil {
		l.must[owner] = map[string]time.Time{}
	}
	l.must[owner][key] = forever()
}

// releases starts the grace of what a lineage holds, unless another holds it too.
func (l *life) releases(id string) {
	key := l.held[id]
	delete(l.held, id)
	if slices.Contains(slices.Collect(maps.Values(l.held)), key) {
		return
	}
	for _, keys := range l.must {
		if _, ok := keys[key]; ok {
			keys[key] = time.Now().Add(lifeGrace)
		}
	}
}

func (l *life) leaves(ids ...string) {
	for _, id := range ids {
		l.releases(id)
	}
	l.remove(ids...)
	for range 4 {
		l.look()
	}
}

// ripens wants the staged key not to be Ready before hold has passed.
func (l *life) ripens() {
	l.after(3 * time.Minute)
	if got := l.states(mail); got != "active, published" && time.Since(l.staged) < 10*time.Minute {
		l.t.Errorf("a key staged for less than hold: %s", got)
	}
	l.after(15 * time.Minute)
}

// hosts makes many dynamic owners in one commit.
func (l *life) hosts(n int) {
	var ids []string
	for i := range n {
		name := fmt.Sprintf("host%d", i)
		id, key := "/certs/"+name, "key of "+name
		ids = append(ids, id)
		l.held[id] = key
		l.needs("_443._tcp."+name+".example.org.", key)
		l.enter("/certs", name, leaf(key, "1", name+".example.org"))
	}
	l.look(ids...)
}

func (l *life) forget(n int) {
	for i := range n {
		delete(l.must, fmt.Sprintf("_443._tcp.host%d.example.org.", i))
	}
}

// begin starts a publisher. A start may be refused while the disk fails, and works once it is mended.
func (l *life) begin() {
	p, err := l.prepareReal(l.cfg)
	if err != nil {
		if l.plain {
			l.t.Fatal(err)
		}
		l.say(note{Kind: "mend"})
		if p, err = l.prepareReal(l.cfg); err != nil {
			l.t.Fatalf("a start after the disk was mended: %v", err)
		}
	}
	l.p = p
	p.Start()
	p.Inherit()
	synctest.Wait()
}

func (l *life) prepareReal(cfg Config) (*Publisher, error) {
	lineages := l.tree.lineages
	l.tree = newTree()
	l.tree.lineages = lineages
	p := New(cfg, l.zone, l.log, l.log)
	l.number++
	n := l.number
	p.open = func(path string) (store, error) {
		s, err := ledger.Open(path)
		if err != nil {
			return nil, err
		}
		l.told = &told{Store: s, life: l}
		return l.told, nil
	}
	p.watch = watcherOf(l.tree)
	p.OnChange(func() { l.say(note{Kind: "shown", N: n, Shown: l.shown(p)}) })
	return p, p.Prepare()
}

func (l *life) end() {
	l.p.Stop()
	l.say(note{Kind: "stopped", N: l.number})
}

// reload lets a new publisher take over from the one that serves.
func (l *life) reload(cfg Config) {
	old, before, oldTree, n := l.p, l.told, l.tree, l.number
	p, err := l.prepareReal(cfg)
	if err != nil && l.plain {
		l.t.Fatal(err)
	}
	if err != nil { // the old one goes on
		l.told, l.tree = before, oldTree
		l.say(note{Kind: "mend"})
		if p, err = l.prepareReal(cfg); err != nil {
			l.t.Fatalf("a reload after the disk was mended: %v", err)
		}
	}
	old.Stop()
	l.say(note{Kind: "stopped", N: n})
	l.p = p
	p.Start()
	p.Inherit()
	synctest.Wait()
}

func (l *life) move(zones ...string) {
	l.cfg.Zones = zones
	l.reload(l.cfg)
}

// obey lets the operator act, again after the disk was mended where it failed.
func (l *life) obey(a control.Action) {
	_, err := l.p.Act(a, false)
	if err != nil && !l.plain {
		l.mend()
		_, err = l.p.Act(a, false)
	}
	if err != nil {
		l.t.Errorf("%+v: %v", a, err)
	}
	synctest.Wait()
}

// shown is what queries see, and with faults the part of it that the publisher thinks is recorded.
func (l *life) shown(p *Publisher) map[string][]string {
	all := map[string][]string{}
	for _, o := range p.owners {
		e, ok := p.Table().Lookup(o.name())
		if !ok || e.Set == nil {
			continue
		}
		recorded := map[string]bool{}
		for _, a := range o.timeline().RRset() {
			recorded[fmt.Sprintf("%x", a.Data)] = true
		}
		for _, rr := range e.Set.RRs(o.name()) {
			if data := rr.(*dns.TLSA).Certificate; l.plain || recorded[data] {
				all[o.name()] = append(all[o.name()], data)
			}
		}
	}
	return all
}

// check wants every key to be answered that is needed or still owed, and the block to be degraded while commits fail.
func (l *life) check(when string) {
	l.t.Helper()
	for owner, keys := range l.must {
		e, ok := l.p.Table().Lookup(owner)
		if l.hide[owner] {
			continue
		}
		if !ok || e.Set == nil || e.Set.Unknown {
			l.t.Errorf("%s: %s is not answered", when, owner)
			continue
		}
		var got []string
		for _, rr := range e.Set.RRs(owner) {
			got = append(got, rr.(*dns.TLSA).Certificate)
		}
		for key, until := range keys {
			if time.Now().Before(until) && !slices.Contains(got, keyDigest(key)) {
				l.t.Errorf("%s: %s lacks %s, which is owed until %s", when, owner, key, until)
			}
		}
	}
	degraded := l.log.figures().Problems[LedgerFailing] == 1
	if failing := l.told.failing != nil; failing != degraded && (failing || len(l.p.failed) == 0) {
		l.t.Errorf("%s: the last commit failed: %v, degraded: %t", when, l.told.failing, degraded)
	}
}

// mend ends the fault, and wants the publisher to recover by itself.
func (l *life) mend() {
	l.say(note{Kind: "mend"})
	l.after(130 * time.Second)
	if !l.recovered() { // the fault has come only now
		l.check("while it may fail")
		l.say(note{Kind: "mend"})
		l.after(130 * time.Second)
	}
	l.check("after the disk was mended")
	if !l.recovered() {
		l.t.Errorf("it has not recovered: %v, problems %v, %d owners not recorded",
			l.told.failing, l.log.figures().Problems, len(l.p.failed))
	}
}

func (l *life) recovered() bool {
	for _, o := range l.p.owners {
		if len(o.odd().unrecorded) > 0 {
			return false
		}
	}
	return l.told.failing == nil && l.log.figures().Problems[LedgerFailing] == 0 && len(l.p.failed) == 0
}

// compare wants the file to hold what the publisher had at its end.
func (l *life) compare() {
	s, err := ledger.Open(l.cfg.Ledger)
	if err != nil && !l.plain { // the fault has come only now
		l.say(note{Kind: "mend"})
		s, err = ledger.Open(l.cfg.Ledger)
	}
	if err != nil {
		l.t.Error(err)
		return
	}
	got, err := s.Load(l.p.block)
	if err != nil || s.Origin() != ledger.Intact {
		l.t.Errorf("at the end: %s %v", s.Origin(), err)
	}
	canon := canon()
	for _, o := range l.p.owners {
		t := got[o.name()]
		if t == nil || canon(t) != canon(o.timeline()) {
			l.t.Errorf("at the end the ledger has another timeline of %s", o.name())
		}
	}
	if err := s.Close(); err != nil {
		l.t.Error(err)
	}
}

func (l *life) say(n note) {
	if err := l.marks.say(n); err != nil {
		l.t.Fatal(err)
	}
}

// marker writes notes to the tracer, each in one call.
type marker struct {
	file    *os.File
	buffer  bytes.Buffer
	encoder *gob.Encoder
}

func newMarker() *marker {
	m := &marker{file: os.NewFile(markFD, "marks")}
	m.encoder = gob.NewEncoder(&m.buffer)
	return m
}

func (m *marker) say(n note) error {
	defer m.buffer.Reset()
	if err := m.encoder.Encode(n); err != nil {
		return err
	}
	_, err := m.file.Write(m.buffer.Bytes())
	return err
}

// canon gives a function whose result is the same for timelines that mean the same: gob knows no difference between an empty
// slice and none.
func canon() func(*rollover.Timeline) string {
	var b bytes.Buffer
	encoder := gob.NewEncoder(&b)
	encode := func(t *rollover.Timeline) string {
		b.Reset()
		if err := encoder.Encode(t); err != nil {
			panic(err)
		}
		return b.String()
	}
	encode(&rollover.Timeline{}) // the first one describes the type, too
	return encode
}

// told is a ledger that tells of its commits.
type told struct {
	*ledger.Store
	life    *life
	failing error // of the last commit
}

func (d *told) Heartbeat() error { return d.CommitSerial("", nil, 0) }

func (d *told) Commit(block string, changes map[string]*rollover.Timeline) error {
	return d.CommitSerial(block, changes, 0)
}

func (d *told) Vouch(block string) error {
	d.life.say(note{Kind: "vouch", Block: block})
	err := d.Store.Vouch(block)
	if err == nil {
		d.life.say(note{Kind: "vouched", Block: block})
	}
	return err
}

func (d *told) CommitSerial(block string, changes map[string]*rollover.Timeline, part uint32) error {
	n := note{Kind: "commit", Block: block, Part: part, Service: d.Now().Service}
	for _, owner := range slices.Sorted(maps.Keys(changes)) {
		r := recordNote{Owner: owner, Gone: changes[owner] == nil}
		if !r.Gone {
			r.Timeline = *changes[owner]
		}
		n.Records = append(n.Records, r)
	}
	d.life.say(n)
	err := d.Store.CommitSerial(block, changes, part)
	d.failing = err
	d.life.say(note{Kind: "done", Failed: err != nil})
	return err
}

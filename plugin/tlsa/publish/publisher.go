package publish

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/coredns-tlsa/coredns-tlsa/plugin/tlsa/certdir"
	"github.com/coredns-tlsa/coredns-tlsa/plugin/tlsa/ledger"
	"github.com/coredns-tlsa/coredns-tlsa/plugin/tlsa/rollover"
	"github.com/coredns-tlsa/coredns-tlsa/plugin/tlsa/zone"
)

// A Publisher runs one block: New, Prepare, Start, Stop; or Abort instead of Start when the server could not be started.
type Publisher struct {
	cfg   Config
	block string // the ledger's name for the block
	zones Zones
	log   Logger
	meter Meter

	table zone.Table
	parts map[string]*Part // by zone; the map never changes
	wild  *Wildcards       // nil without patterns
	known atomic.Bool      // nothing that may be owed is unknown

	// mu is held for one step: a change of files, a due moment, a check of the zone.
	mu         sync.Mutex
	paused     bool // another instance is taking over
	stale      bool // something was missed while paused
	blind      bool // the first sweep is not over: what the ledger has is answered, and nothing is decided
	serving    bool // queries are being answered
	writer     *zone.Writer
	store      store
	watcher    watcher
	owners     []*owner            // those of the Corefile, then dynamic ones
	unnamed    map[*owner]struct{} // dynamic owners that no lineage names
	unknown    int                 // owners whose answer is Unknown
	atlas      *atlas
	queue      queue
	problems   *problems
	warned     map[string]bool // roots with private keys that this process can read
	soas       map[string]zoneSOA
	lags       map[string]time.Duration      // REFRESH + RETRY as last seen
	failed     map[*owner]struct{}           // what could not be recorded
	withdrawn  map[string]*rollover.Timeline // what the ledger has and the Corefile no longer
	backoff    time.Duration                 // how long to wait before that is tried again, 0 when commits work
	retry      time.Time                     // when it is
	sprouted   []*owner                      // those that a certificate has just brought into being
	unremarked []*owner                      // those that remark is to ask about
	figures    Figures
	changed    func()         // see OnChange
	checked    rollover.Stamp // both clocks at the last check

	open  func(path string) (store, error)
	watch func(certdir.Config) watcher
	// portion is how many owners are decided and recorded at a time: a decision takes many times the room of what stays of it.
	portion int
	poke    chan struct{}
	first   <-chan certdir.Changes // the first sweep, while it is not over
	give    context.CancelFunc     // ends it
	cancel  context.CancelFunc
	done    sync.WaitGroup
	life    sync.Mutex   // held by Prepare, Start, Stop and Abort
	before  []*Publisher // whom it takes over from; guarded by handover.mu
	// vouched: the ledger has all that was told of the block, and of those that timelines were taken from (see adopt).
	vouched bool
	// adopted are the owners whose timelines came from another block of the ledger; forgotten once the start is sure.
	adopted []string
	// watchdog gives a start up that nobody finishes or aborts.
	watchdog *time.Timer
}

func blockName(zones []string, view string) string { return strings.Join(zones, " ") + "|" + view }

// quiet and maxQuiet are how long a lineage must be left alone before it is read, and how long a busy one may delay that.
const (
	quiet    = 500 * time.Millisecond
	maxQuiet = 10 * time.Second
)

// New makes the publisher of a block. It does nothing yet.
func New(cfg Config, zones Zones, log Logger, meter Meter) *Publisher {
	log = plain{log}
	p := &Publisher{
		cfg: cfg, block: blockName(cfg.Zones, cfg.View), zones: zones, log: log, meter: meter,
		problems: newProblems(log, meter), warned: map[string]bool{}, lags: map[string]time.Duration{},
		parts: map[string]*Part{}, changed: func() {}, poke: make(chan struct{}, 1), portion: 10_000,
		open:  openLedger,
		watch: func(c certdir.Config) watcher { return certdir.New(c) },
	}
	for _, z := range cfg.Zones {
		p.parts[z] = &Part{}
	}
	p.writer = zone.NewWriter(&p.table)
	if len(cfg.Patterns) > 0 {
		p.wild = newWildcards(cfg)
	}
	p.reset()
	return p
}

// reset forgets what a start that was given up had found.
func (p *Publisher) reset() {
	for _, o := range p.owners {
		if o.pattern != nil {
			p.put(o, nil)
		}
	}
	p.owners, p.queue, p.unnamed = nil, nil, map[*owner]struct{}{}
	for _, c := range p.cfg.Owners {
		o := newOwner(p.cfg, c)
		p.govern(o.class)
		p.owners = append(p.owners, o)
	}
	p.unknown = len(p.owners)
	p.atlas = newAtlas(p.owners, newPatterns(p.cfg))
	p.atlas.create = p.sprout
	p.atlas.foreign = func(name string) bool { return longest(p.cfg.Zones, name+".") == "" }
	p.soas, p.failed, p.unremarked = map[string]zoneSOA{}, map[*owner]struct{}{}, nil
	p.figures = Figures{States: map[rollover.State]int{}}
}

// Table is where queries look up their answers. It never changes identity.
func (p *Publisher) Table() *zone.Table { return &p.table }

// Wildcards is what wildcard SANs give to hosts; nil without patterns. It never changes identity.
func (p *Publisher) Wildcards() *Wildcards { return p.wild }

// Config is what the publisher was made with.
func (p *Publisher) Config() Config { return p.cfg }

// Known tells whether every owner can be answered with something better than SERVFAIL.
func (p *Publisher) Known() bool { return p.known.Load() }

// Prepare opens the ledger, sweeps once, records what is new and builds the first answers, without serving them: nothing
// becomes Ready by it. Where that takes long and the ledger vouches for what is owed, the first answers are the ledger's and the
// sweep goes on in the background, or begins with Start where there are many owners. From now on a publisher of the same block
// in this process stands still, until Start lets its stop or Abort lets it go on. On an error nothing is left open.
func (p *Publisher) Prepare() error {
	p.life.Lock()
	defer p.life.Unlock()
	return p.prepare()
}

func (p *Publisher) prepare() error {
	begun := time.Now()
	store, err := p.open(p.cfg.Ledger)
	if err != nil {
		return fmt.Errorf("opening the ledger: %w", err)
	}
	p.store = store
	p.reset()
	takeOver(p)
	if err := p.load(); err != nil {
		p.abort()
		return err
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.notice()
	p.watcher = p.watch(certdir.Config{
		Certs: p.cfg.Certs, Next: p.cfg.Next, Rescan: p.cfg.Rescan, Quiet: quiet, MaxQuiet: maxQuiet,
		Known: p.places(), KeepDER: p.wants(wholeCertificate), Issuers: p.wants(issuer),
	})
	p.firstAnswers(begun)
	p.renumber()
	p.watchdog = time.AfterFunc(giveUp, p.Abort)
	return nil
}

// notice passes on what the ledger says about its opening.
func (p *Publisher) notice() {
	switch notice, origin := p.store.Notice(), p.store.Origin(); {
	case notice == "":
	case origin == ledger.Restored, origin == ledger.Lost:
		p.problems.set(p.cfg.Ledger, []rollover.Problem{{Reason: LedgerLost, Text: notice}})
	default:
		p.log.Warningf("%s", notice)
	}
}

// Start begins to serve: what is published counts from now on, and files are watched. The instance before must have stopped.
func (p *Publisher) Start() {
	p.life.Lock()
	defer p.life.Unlock()
	if p.store == nil { // the start took so long that it was given up
		if err := p.prepare(); err != nil {
			p.known.Store(false)
			p.log.Errorf("%v; what was found before is answered, and nothing changes until the next reload", err)
			return
		}
	}
	p.watchdog.Stop()
	takenOver(p)
	ctx, cancel := context.WithCancel(context.Background())
	p.cancel = cancel
	p.mu.Lock()
	p.serving = true
	p.withdraw(map[string]map[string]*rollover.Timeline{p.block: p.withdrawn})
	p.withdrawn = nil
	p.step(p.lookAgain())
	if !p.paused && !p.blind { // what was decided is served from now on
		p.serve(p.owners)
		p.tellAll(p.owners)
	}
	if p.blind && p.first == nil {
		p.sweep()
	}
	p.report()
	p.log.Infof("%s: %d names with %d associations; %s", strings.Join(p.cfg.Zones, " "), len(p.owners), p.total(), p.keeping())
	p.mu.Unlock()
	changes := make(chan certdir.Changes)
	p.done.Go(func() {
		p.catchUp(ctx)
		p.watcher.Run(ctx, func(c certdir.Changes) {
			select {
			case changes <- c:
			case <-ctx.Done():
			}
		})
	})
	p.done.Go(func() { p.run(ctx, changes) })
}

// Stop ends the watcher and the loop, and closes the ledger.
func (p *Publisher) Stop() {
	p.life.Lock()
	defer p.life.Unlock()
	if p.cancel == nil {
		p.abort()
		return
	}
	p.cancel()
	p.done.Wait()
	p.give() // nobody takes what a sweep that is cut short has found
	p.locked(func() { p.upkeep(p.store.Heartbeat()) })
	stopped(p)
	p.close()
}

// Abort gives back what Prepare took. It does nothing after Start.
func (p *Publisher) Abort() {
	p.life.Lock()
	defer p.life.Unlock()
	if p.cancel == nil {
		p.abort()
	}
}

func (p *Publisher) abort() {
	if p.watchdog != nil {
		p.watchdog.Stop()
	}
	if p.give != nil {
		p.give()
	}
	p.disown()
	giveBack(p)
	p.close()
}

func (p *Publisher) close() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.store == nil {
		return
	}
	if err := p.store.Close(); err != nil {
		p.log.Errorf("closing the ledger %s: %v", p.cfg.Ledger, err)
	}
	p.store = nil
}

func (p *Publisher) all() map[*owner]struct{} {
	all := make(map[*owner]struct{}, len(p.owners))
	for _, o := range p.owners {
		all[o] = struct{}{}
	}
	return all
}

// Same tells whether a block of the Corefile has the same timeline.
func (p *Publisher) Same(cfg Config) bool {
	return cfg.Ledger == p.cfg.Ledger && cfg.View == p.cfg.View && slices.Equal(cfg.Zones, p.cfg.Zones)
}

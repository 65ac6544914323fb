package publish

import (
	"context"
	"slices"
	"sync"
	"time"

	"github.com/coredns-tlsa/coredns-tlsa/plugin/tlsa/certdir"
	"github.com/coredns-tlsa/coredns-tlsa/plugin/tlsa/rollover"
)

const (
	// heartbeat bounds the time of service that a crash can lose (rule 4.4).
	heartbeat = 5 * time.Minute
	// recheck bounds how late a change can come when the wall clock was stepped.
	recheck = time.Minute
	// lookout bounds how late a change of the zone's data is seen.
	lookout = 5 * time.Second
	daily   = 24 * time.Hour
)

// run is the loop of a publisher: changed files, due moments, the zone's serial, the ledger's upkeep.
func (p *Publisher) run(ctx context.Context, changes <-chan certdir.Changes) {
	beat, check, backup := time.NewTicker(heartbeat), time.NewTicker(recheck), time.NewTicker(daily)
	look := time.NewTicker(min(p.cfg.Rescan, lookout))
	defer beat.Stop()
	defer check.Stop()
	defer backup.Stop()
	defer look.Stop()
	due := time.NewTimer(p.wait())
	defer due.Stop()
	always := make(chan struct{})
	close(always)
	for {
		var left <-chan struct{}
		if p.remarking() {
			left = always
		}
		select {
		case <-ctx.Done():
			return
		case c := <-changes:
			p.locked(func() { p.step(p.learn(c)) })
		case <-p.poke: // the operator has acted: something else may be due
		case <-due.C:
			p.locked(p.ripen)
		case <-check.C:
			p.locked(p.revise)
		case <-look.C:
			p.locked(func() { p.step(p.lookAgain()) })
		case <-left:
			p.locked(func() { p.step(p.remark()) })
		case <-beat.C:
			p.locked(func() { p.recorded(p.store.Heartbeat()) })
		case <-backup.C:
			p.locked(func() { p.upkeep(p.store.Backup()) })
		}
		due.Reset(p.wait())
	}
}

func (p *Publisher) locked(f func()) {
	p.mu.Lock()
	defer p.mu.Unlock()
	f()
}

// wait is how long until something is due.
func (p *Publisher) wait() time.Duration {
	p.mu.Lock()
	defer p.mu.Unlock()
	wait := recheck
	if len(p.queue) > 0 {
		wait = min(wait, time.Until(p.queue[0].extra.due))
	}
	if p.backoff > 0 {
		wait = min(wait, time.Until(p.retry))
	}
	return max(wait, 10*time.Millisecond)
}

// ripen decides what is due and what could not be recorded.
func (p *Publisher) ripen() {
	touched := map[*owner]struct{}{}
	for _, o := range p.queue.ripe(time.Now()) {
		touched[o] = struct{}{}
	}
	if p.backoff > 0 && !time.Now().Before(p.retry) {
		if len(p.failed) == 0 {
			p.recorded(p.store.Heartbeat())
		}
		for o := range p.failed {
			touched[o] = struct{}{}
		}
	}
	p.step(touched)
	p.report()
}

// revise decides again whatever waits for a moment, in case the wall clock was stepped.
func (p *Publisher) revise() {
	p.compareClocks()
	p.problems.tidy()
	touched := make(map[*owner]struct{}, len(p.queue))
	for _, o := range p.queue {
		touched[o] = struct{}{}
	}
	p.step(touched)
}

// jump is the least difference between the clocks that is a step, not drift or a pause.
const jump = time.Minute

// compareClocks finds steps of the wall clock. They do no harm, because a change waits for both clocks; but an operator
// wants to know.
func (p *Publisher) compareClocks() {
	before, now := p.checked, p.store.Now()
	p.checked = now
	if before.IsZero() {
		return
	}
	step := now.Wall.Sub(before.Wall) - (now.Service - before.Service)
	if step.Abs() > jump {
		p.meter.ClockJump()
		p.log.Warningf("the wall clock jumped by %s; removals and Ready wait for the time of service too", step.Round(time.Second))
	}
}

func (p *Publisher) upkeep(err error) {
	if err != nil {
		p.meter.LedgerError()
		p.log.Errorf("keeping the ledger %s: %v", p.cfg.Ledger, err)
	}
}

// learn takes in what the watcher found and gives the owners to decide again. mu is held.
func (p *Publisher) learn(c certdir.Changes) map[*owner]struct{} {
	touched := make(map[*owner]struct{}, len(c.Lineages))
	knew, complete, hidden := p.atlas.known(), p.atlas.complete(), p.atlas.hidden()
	for _, r := range c.Roots {
		p.learnRoot(r, touched)
	}
	p.learnLineages(c.Lineages, touched)
	p.atlas.breaker(c.Roots)
	for _, l := range c.Lineages {
		p.warnOfKeys(l)
		p.tellOf(l.ID)
	}
	for id := range p.atlas.remapped {
		p.tellOf(id)
	}
	clear(p.atlas.remapped)
	if len(c.Roots) > 0 {
		p.atlas.nextRound(touched)
	}
	if !complete && p.atlas.complete() || hidden && !p.atlas.hidden() {
		p.sight(touched)
	}
	p.depart(touched, c.Sweep != nil)
	p.judge()
	if c.Sweep != nil {
		p.survey()
		p.figures.Sweep = *c.Sweep
		p.report()
	}
	if !knew && p.atlas.known() {
		return p.all()
	}
	return touched
}

// learnLineages takes in lineages and asks the zone about the owners that they bring into being, one portion while the next is
// made.
func (p *Publisher) learnLineages(lineages []*certdir.Lineage, touched map[*owner]struct{}) {
	var asking sync.WaitGroup
	from := 0
	for _, l := range lineages {
		p.atlas.learn(l, touched)
		if made := p.sprouted[from:]; len(made) >= p.portion {
			from = len(p.sprouted)
			asking.Wait()
			asking.Go(func() { p.ask(made) })
		}
	}
	asking.Wait()
	p.ask(p.sprouted[from:])
	p.asked(p.sprouted)
	p.sprouted = nil
}

// sight touches the owners that wait for what can be read only now: their own files may not have changed.
func (p *Publisher) sight(touched map[*owner]struct{}) {
	waits := func(o OpenProblem) bool {
		return o.Reason == rollover.CombinationWaits || o.Reason == rollover.SourceMissing
	}
	for source, open := range p.problems.bySource {
		if o := p.atlas.find(source); o != nil && slices.ContainsFunc(open, waits) {
			touched[o] = struct{}{}
		}
	}
}

// tellOf keeps the problems of a lineage, none where it is gone.
func (p *Publisher) tellOf(id string) {
	if l := p.atlas.lineages[id]; l != nil {
		p.problems.set(id, p.atlas.problems(l))
	} else {
		p.problems.set(id, nil)
	}
}

// learnRoot takes in a root; when its files turn out to have several owners, or one again, its lineages map anew.
func (p *Publisher) learnRoot(r *certdir.Root, touched map[*owner]struct{}) {
	before := p.atlas.roots[r.Path]
	p.atlas.roots[r.Path] = r
	ps := append([]rollover.Problem(nil), r.Problems...)
	if r.MixedOwners && p.atlas.bySAN {
		ps = append(ps, rollover.Problem{Reason: MixedOwners, Text: "its files belong to several users, so the names in their certificates " +
			"prove nothing; give every owner its lineages by `from`, or let one user own all files"})
	}
	p.problems.set(rootSource+r.Path, ps)
	if before == nil || before.MixedOwners == r.MixedOwners {
		return
	}
	for _, l := range p.atlas.lineages {
		if l.Root == r.Path {
			p.atlas.learn(l.Lineage, touched)
		}
	}
}

// warnOfKeys says once for each root that its private keys are open to this process, which needs none (design 2).
func (p *Publisher) warnOfKeys(l *certdir.Lineage) {
	if l.PrivateKey == "" || p.warned[l.Root] {
		return
	}
	p.warned[l.Root] = true
	p.log.Warningf("%s: this process can read private keys there (%q), and needs none; "+
		"give it the certificates only, or take its right to read the keys", l.Root, l.PrivateKey)
}

package certdir

import (
	"cmp"
	"context"
	"math/rand/v2"
	"slices"
	"time"
)

const (
	// batch bounds how many lineages are looked at before the changes are handed out.
	batch   = 256
	lostGap = 5 * time.Second // W7, W8
)

// Run watches until ctx ends and hands every change to apply, from this goroutine only. After every sweep it calls apply
// with the Roots, else only with Lineages that changed.
func (w *Watcher) Run(ctx context.Context, apply func(Changes)) {
	r := runner{w: w, ctx: ctx, apply: apply}
	defer r.disconnect()
	r.sweep(false) // it comes right after the one at the start
	for ctx.Err() == nil {
		r.wait()
		r.due()
	}
}

type runner struct {
	w     *Watcher
	ctx   context.Context
	apply func(Changes)

	heard *collector // nil without a source
	swept time.Time  // the end of the last sweep
	next  time.Time  // the next sweep
	early bool       // it is one that lost events ask for
}

// connect starts the source; without one, or after a failure, sweeps alone find what changed.
func (r *runner) connect() {
	if r.w.cfg.NoEvents || r.heard != nil {
		return
	}
	src, err := r.w.openSource()
	if err != nil {
		r.w.watches.full = err
		r.w.watches.failed++
		return
	}
	failed := r.w.watches.failed
	r.w.watches = newWatches(src)
	r.w.watches.failed = failed
	r.w.watches.most = watchBudget()
	r.heard = collect(src)
}

func (r *runner) disconnect() {
	r.w.watches.close()
	if r.heard != nil {
		<-r.heard.done
	}
}

func (r *runner) sweep(counts bool) {
	s := r.w.scan(r.ctx)
	s.counts = counts
	s.judges = r.heard != nil && !r.early
	r.w.watches.full = nil
	r.connect()
	s.sweep()
	if s.stopped() {
		return
	}
	r.swept, r.early = time.Now(), false
	spread := r.w.cfg.Rescan / 10
	r.next = r.swept.Add(r.w.cfg.Rescan - spread + rand.N(2*spread+1))
	c := s.changes().sorted()
	c.Sweep = s.figures(r.heard)
	r.apply(c)
}

// wait returns when there is something to do.
func (r *runner) wait() {
	until := r.next
	if due, ok := r.w.marks.next(); ok && due.Before(until) {
		until = due
	}
	timer := time.NewTimer(time.Until(until))
	defer timer.Stop()
	var wake chan struct{}
	if r.heard != nil {
		wake = r.heard.wake
	}
	select {
	case <-r.ctx.Done():
	case <-timer.C:
	case <-wake:
		r.listen()
	}
}

// listen marks what was heard.
func (r *runner) listen() {
	paths, lost := r.heard.take()
	now := time.Now()
	if soon := r.swept.Add(r.w.lostGap); lost && soon.Before(r.next) {
		r.next, r.early = soon, true
	}
	for path := range paths {
		r.w.heard(path, now)
	}
	r.w.heardMoved(now)
}

// due does what is due now: a sweep, or a batch of marks.
func (r *runner) due() {
	if r.ctx.Err() != nil {
		return
	}
	if !time.Now().Before(r.next) {
		r.sweep(!r.early)
		return
	}
	s := r.w.scan(r.ctx)
	for n := 0; n < batch && !s.stopped(); n++ {
		m := r.w.marks.pop(s.now)
		if m == nil {
			break
		}
		s.handle(m)
	}
	if len(s.found)+len(s.roots) > 0 {
		r.apply(s.changes().sorted())
	}
}

func (s *scan) handle(m *mark) {
	switch what := m.what.(type) {
	case *lineage:
		s.look(m, what)
	case *dir:
		if !what.dead {
			s.walk(what)
		}
	case *root:
		s.sweepRoot(what)
	}
}

// sorted puts the lineages in order and keeps only the last state of each.
func (c Changes) sorted() Changes {
	slices.Reverse(c.Lineages)
	slices.SortStableFunc(c.Lineages, func(a, b *Lineage) int { return cmp.Compare(a.ID, b.ID) })
	c.Lineages = slices.CompactFunc(c.Lineages, func(a, b *Lineage) bool { return a.ID == b.ID })
	return c
}

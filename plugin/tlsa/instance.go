package tlsa

import (
	"fmt"
	"path/filepath"
	"slices"
	"sync"

	"github.com/coredns/caddy"
	"github.com/coredns/coredns/core/dnsserver"

	"github.com/coredns-tlsa/coredns-tlsa/plugin/tlsa/control"
	"github.com/coredns-tlsa/coredns-tlsa/plugin/tlsa/corefile"
	"github.com/coredns-tlsa/coredns-tlsa/plugin/tlsa/publish"
)

// instance is what the tlsa directives of one caddy instance run. Blocks with the same ledger, zones and view share one
// publisher, because a timeline has one writer.
type instance struct {
	mu    sync.Mutex // guards what follows; held while the instance starts or stops
	units []*unit
	// rehearsals look at the answers of each server block once it serves.
	rehearsals []func()
	// expected are all directives of the Corefile, for what one has to know of another before that is prepared.
	expected []expected
	handlers []*Handler // those with *transfer*
	herald   *herald
	// listeners are the control sockets and status addresses of the units.
	listeners []*listener
	up        *caddy.Instance // nil until it serves
}

type unit struct {
	block     *corefile.Block
	publisher *publish.Publisher
	meter     *meter
}

type instanceKey struct{}

// instanceOf gives the instance that c belongs to, and hooks it into the instance's life when it is new.
func instanceOf(c *caddy.Controller) *instance {
	if i, ok := c.Get(instanceKey{}).(*instance); ok {
		return i
	}
	i := &instance{herald: newHerald()}
	c.Set(instanceKey{}, i)
	c.OnShutdown(i.stop)
	c.OnRestartFailed(i.restartFailed)
	return i
}

// prepare checks a block against its server block and gets its answers ready.
func (i *instance) prepare(h *Handler, b *corefile.Block, p corefile.Peers) error {
	warnings, err := b.Check(p)
	if err != nil {
		return err
	}
	for _, w := range append(b.Warnings, warnings...) {
		log.Warning(w)
	}
	if b.GuardOnly() {
		return nil
	}
	b.Ledger = oneName(b.Ledger)
	_, written := b.Written["propagation"]
	b.FollowSOA = i.transferred(b) && !written
	_, b.HoldWritten = b.Written["hold"]
	b.Beside = i.beside(b)
	i.mu.Lock()
	defer i.mu.Unlock()
	u, err := i.share(b)
	if err != nil {
		return err
	}
	if u == nil {
		m := newMeter(b.Config)
		u = &unit{block: b, publisher: publish.New(b.Config, backend{h}, log, m), meter: m}
		u.publisher.OnChange(i.herald.changed)
		if err := u.publisher.Prepare(); err != nil {
			return fmt.Errorf("%s - %w", b.Position, err)
		}
		i.units = append(i.units, u)
	}
	if err := i.listen(b, u); err != nil {
		return err
	}
	h.serve(u)
	if h.transfers != nil && !slices.Contains(i.handlers, h) {
		i.handlers = append(i.handlers, h)
	}
	return nil
}

// oneName gives a ledger the same name by whatever links its directory is reached.
func oneName(ledger string) string {
	if dir, err := filepath.EvalSymlinks(filepath.Dir(ledger)); err == nil && ledger != "" {
		return filepath.Join(dir, filepath.Base(ledger))
	}
	return ledger
}

// expected are the directives of one server block.
type expected struct {
	cfg    *dnsserver.Config
	blocks []*corefile.Block
}

func (i *instance) expect(cfg *dnsserver.Config, blocks []*corefile.Block) {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.expected = append(i.expected, expected{cfg, blocks})
}

// transferred tells whether *transfer* stands beside any of the blocks that share b's timeline.
func (i *instance) transferred(b *corefile.Block) bool {
	i.mu.Lock()
	defer i.mu.Unlock()
	return slices.ContainsFunc(i.expected, func(e expected) bool {
		return e.cfg.ViewName == b.View && e.cfg.Handler("transfer") != nil && slices.ContainsFunc(e.blocks, func(o *corefile.Block) bool {
			return oneName(o.Ledger) == b.Ledger && slices.Equal(o.Zones, b.Zones)
		})
	})
}

// beside gives the zones of the other blocks that keep their timelines under the same view in the same ledger.
func (i *instance) beside(b *corefile.Block) [][]string {
	i.mu.Lock()
	defer i.mu.Unlock()
	var others [][]string
	for _, e := range i.expected {
		for _, o := range e.blocks {
			if !o.GuardOnly() && e.cfg.ViewName == b.View && oneName(o.Ledger) == b.Ledger && !slices.Equal(o.Zones, b.Zones) {
				others = append(others, o.Zones)
			}
		}
	}
	return others
}

// share gives the unit of a block that has the same timeline, nil if b is the first.
func (i *instance) share(b *corefile.Block) (*unit, error) {
	for _, u := range i.units {
		if u.publisher.Same(b.Config) {
			return u, b.Equal(u.block)
		}
	}
	return nil, nil
}

// started begins to serve: the servers of the instance are up, and those of the instance before are gone.
func started(in *caddy.Instance) {
	in.StorageMu.RLock()
	i, ok := in.Storage[instanceKey{}].(*instance)
	in.StorageMu.RUnlock()
	if !ok {
		return
	}
	i.mu.Lock()
	defer i.mu.Unlock()
	if i.up != nil {
		return
	}
	i.up = in
	for _, u := range i.units {
		u.meter.begin()
		u.publisher.Start()
	}
	for _, u := range i.units {
		u.publisher.Inherit()
	}
	i.open()
	for _, rehearse := range i.rehearsals {
		rehearse()
	}
	if len(i.handlers) > 0 {
		go i.herald.run(i.handlers)
	}
}

// restartFailed makes the next instance give back what it took. But where it was the shutdown of another plugin that failed,
// caddy has stopped the servers of i and tells nobody that those of the next instance are up.
func (i *instance) restartFailed() error {
	i.mu.Lock()
	up := i.up
	i.mu.Unlock()
	if up == nil || slices.Contains(caddy.Instances(), up) {
		publish.AbortStarts()
		control.AbortStarts()
		return nil
	}
	log.Warning("the reload has failed in the shutdown of another plugin, but the new servers are up: tlsa goes on with them")
	err := i.stop()
	for _, next := range caddy.Instances() {
		started(next)
	}
	return err
}

// stop never fails: an error would keep caddy from telling the next instance that it is up.
func (i *instance) stop() error {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.shut()
	for _, u := range i.units {
		u.publisher.Stop()
		u.meter.end()
	}
	i.units = nil
	i.herald.stop()
	return nil
}

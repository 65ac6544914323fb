package tlsa

import (
	"context"
	"slices"
	"strings"

	"github.com/coredns/caddy"
	"github.com/coredns/coredns/core/dnsserver"
	"github.com/coredns/coredns/plugin"
	clog "github.com/coredns/coredns/plugin/pkg/log"
	"github.com/coredns/coredns/plugin/rewrite"

	"github.com/coredns-tlsa/coredns-tlsa/plugin/tlsa/corefile"
	"github.com/coredns-tlsa/coredns-tlsa/plugin/tlsa/denial"

	"github.com/miekg/dns"
)

var log = clog.NewWithPlugin(pluginName)

func init() { plugin.Register(pluginName, setup) }

func setup(c *caddy.Controller) error {
	blocks, err := corefile.Parse(&c.Dispenser, c.ServerBlockKeys, dnsserver.GetConfig(c).Root)
	if err != nil {
		return plugin.Error(pluginName, err)
	}
	registerHook()
	h := &Handler{}
	cfg := dnsserver.GetConfig(c)
	chain := survey(cfg)
	server, err := corefile.ServerZones(c.ServerBlockKeys)
	if err != nil {
		return plugin.Error(pluginName, err)
	}
	h.bypass = func() []string {
		names, transferred := bypassed(blocks, cfg.Handler("transfer") != nil)
		return append(names, h.around(transferred)...)
	}
	cfg.AddPlugin(func(next plugin.Handler) plugin.Handler {
		h.Next = next
		if h.apexes = apexesOf(blocks, next, h.has); h.apexes != nil {
			h.Next = h.apexes
		}
		return h
	})
	i := instanceOf(c)
	i.expect(cfg, blocks)
	c.OnStartup(func() error {
		h.transfers = transfersOf(cfg)
		for _, b := range blocks {
			b.View = cfg.ViewName
			if err := i.prepare(h, b, peersOf(cfg, h, b, chain, server)); err != nil {
				return plugin.Error(pluginName, err)
			}
		}
		i.rehearse(chain, h)
		return nil
	})
	return nil
}

// manyOwners is where naming every owner to *cache* would cost its look-ups more than bypassing the zone does.
const manyOwners = 64

// bypassed gives the names, or where serials change with us the zones, because a secondary must not get an old SOA: these
// are given by themselves too.
func bypassed(blocks []*corefile.Block, transfer bool) (names, transferred []string) {
	for _, b := range blocks {
		if transfer && !b.GuardOnly() {
			transferred = append(transferred, b.Zones...)
		}
		if len(b.Owners) > manyOwners || len(b.Patterns) > 0 || b.Authority != nil || transfer && !b.GuardOnly() {
			names = append(names, b.Zones...)
			continue
		}
		for _, o := range b.Owners {
			names = append(names, o.Name)
		}
	}
	return names, transferred
}

// around gives the zones of the next plugin that zones of ours lie in: a directive may name no more than a part of the zone
// whose serial it changes. One that is loaded only later is not found.
func (h *Handler) around(zones []string) []string {
	var found []string
	for _, z := range zones {
		m := denial.Ask(context.Background(), h.Next, local{}, z, dns.TypeSOA, false)
		if m == nil || !m.Authoritative {
			continue
		}
		for _, rr := range slices.Concat(m.Answer, m.Ns) {
			if soa, ok := rr.(*dns.SOA); ok && dns.IsSubDomain(soa.Hdr.Name, z) {
				found = append(found, strings.ToLower(soa.Hdr.Name))
			}
		}
	}
	return found
}

// chain is what a query meets in the server block, known once the server has been put together.
type chain struct {
	head   plugin.Handler // the first plugin
	signed bool           // *dnssec* is there, between the handlers of package denial
}

// survey finds the head of the server block's plugins, and puts the handlers of package denial around *dnssec*. What stands
// before us has been set up before us.
func survey(cfg *dnsserver.Config) *chain {
	c := &chain{}
	for i, build := range cfg.Plugin {
		cfg.Plugin[i] = denial.Guard(build, func() { c.signed = true })
	}
	if len(cfg.Plugin) > 0 {
		build := cfg.Plugin[0]
		cfg.Plugin[0] = func(next plugin.Handler) plugin.Handler {
			c.head = build(next)
			return c.head
		}
	}
	return c
}

// peersOf looks at the rest of the server block. It is complete only once the server has been put together.
func peersOf(cfg *dnsserver.Config, h *Handler, b *corefile.Block, c *chain, server []string) corefile.Peers {
	p := corefile.Peers{
		Server:   server,
		DNSSEC:   c.signed,
		Unsigned: cfg.Handler("dnssec") != nil,
		Next:     h.hasNext(b),
		Transfer: cfg.Handler("transfer") != nil,
		Any:      cfg.Handler("any") != nil,
		Stale:    servesStale(cfg.Handler("cache")),
	}
	if rw, ok := cfg.Handler("rewrite").(rewrite.Rewrite); ok {
		p.Rewrite = func(owner string, ttl uint32) string { return rewritten(rw.Rules, owner, ttl) }
	}
	return p
}

// registerHook makes sure that start is called when an instance is up. Each setup does it, because SIGUSR1 purges the hooks;
// a hook that is still there makes caddy panic, and then all is well.
func registerHook() {
	defer func() { _ = recover() }()
	caddy.RegisterEventHook(pluginName, func(event caddy.EventName, info any) error {
		if in, ok := info.(*caddy.Instance); ok && event == caddy.InstanceStartupEvent {
			started(in)
		}
		return nil
	})
}

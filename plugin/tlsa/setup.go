package tlsa

import (
	"reflect"
	"strings"

	"github.com/coredns/caddy"
	"github.com/coredns/coredns/core/dnsserver"
	"github.com/coredns/coredns/plugin"
	clog "github.com/coredns/coredns/plugin/pkg/log"
)

var log = clog.NewWithPlugin(pluginName)

func init() { plugin.Register(pluginName, setup) }

func setup(c *caddy.Controller) error {
	blocks, err := parse(c)
	if err != nil {
		return plugin.Error(pluginName, err)
	}
	registerHook()
	h := &Handler{}
	for _, b := range blocks {
		h.bypass = append(h.bypass, bypassed(b)...)
	}
	cfg := dnsserver.GetConfig(c)
	cfg.AddPlugin(func(next plugin.Handler) plugin.Handler {
		h.Next = next
		return h
	})
	i := instanceOf(c)
	c.OnStartup(func() error {
		for _, b := range blocks {
			b.View = cfg.ViewName
			if err := i.prepare(h, b, peersOf(cfg, h)); err != nil {
				return plugin.Error(pluginName, err)
			}
		}
		return nil
	})
	return nil
}

// manyOwners is where naming every owner to *cache* would cost its look-ups more than bypassing the zone does.
const manyOwners = 64

func bypassed(b *block) []string {
	if len(b.Owners) > manyOwners || len(b.Patterns) > 0 {
		return b.Zones
	}
	var names []string
	for _, o := range b.Owners {
		names = append(names, o.Name)
	}
	return names
}

// peersOf looks at the rest of the server block. It is complete only once the server has been put together.
func peersOf(cfg *dnsserver.Config, h *Handler) peers {
	return peers{
		dnssec:     cfg.Handler("dnssec") != nil,
		next:       h.Next != nil,
		transfer:   cfg.Handler("transfer") != nil,
		rewriteTTL: rewritesTTL(cfg.Handler("rewrite")),
	}
}

// rewritesTTL tells whether one of *rewrite*'s rules is for TTLs. They are known by their types' names alone.
func rewritesTTL(rewrite plugin.Handler) bool {
	if rewrite == nil {
		return false
	}
	v := reflect.Indirect(reflect.ValueOf(rewrite))
	if v.Kind() != reflect.Struct {
		return false
	}
	rules := v.FieldByName("Rules")
	if rules.Kind() != reflect.Slice {
		return false
	}
	for i := range rules.Len() {
		if strings.Contains(strings.ToLower(rules.Index(i).Elem().Type().String()), "ttl") {
			return true
		}
	}
	return false
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

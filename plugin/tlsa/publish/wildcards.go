package publish

import (
	"strings"
	"sync/atomic"

	"github.com/coredns-tlsa/coredns-tlsa/plugin/tlsa/dane"
	"github.com/coredns-tlsa/coredns-tlsa/plugin/tlsa/zone"
)

// Wildcards is what wildcard SANs give to the hosts that they cover. It does not know which of these exist: that is for the
// caller to ask. It is read without a lock.
type Wildcards struct {
	table    zone.Table // by the name with the asterisk
	writer   *zone.Writer
	patterns patterns
	prefixes map[string][]string // those of the patterns, by themselves and by what follows their first label
	hosts    map[string]struct{} // of the owners that the Corefile names
	unsure   atomic.Bool
}

// A Match is what a name is, if its host exists.
type Match struct {
	zone.Entry
	Host string
	// Written: the Corefile has the host, so it counts as existing.
	Written bool
}

func newWildcards(cfg Config) *Wildcards {
	w := &Wildcards{patterns: newPatterns(cfg), prefixes: map[string][]string{}, hosts: map[string]struct{}{}}
	w.writer = zone.NewWriter(&w.table)
	seen := map[string]bool{}
	for _, c := range cfg.Patterns {
		lead, _ := split(c.Name)
		if seen[lead] {
			continue
		}
		seen[lead] = true
		_, tail, _ := strings.Cut(lead, ".")
		w.prefixes[lead] = append(w.prefixes[lead], lead)
		w.prefixes[tail] = append(w.prefixes[tail], lead)
	}
	for _, o := range cfg.Owners {
		w.hosts[o.Host] = struct{}{}
	}
	return w
}

// put gives the wildcard SAN of a name its answer; nil takes it out.
func (w *Wildcards) put(name string, set *zone.Set) { w.writer.Set(name, name, name, set) }

// written gives the hosts of the Corefile that a wildcard SAN covers.
func (w *Wildcards) written(san string) []string {
	var hosts []string
	for host := range w.hosts {
		if dane.Covers(strings.TrimSuffix(san, "."), host) {
			hosts = append(hosts, host)
		}
	}
	return hosts
}

// Lookup finds what a wildcard SAN makes of a name, which must be lower case and fully qualified.
func (w *Wildcards) Lookup(name string) (Match, bool) {
	lead, host := split(name)
	prefixes := w.prefixes[lead]
	if len(prefixes) == 0 {
		return Match{}, false
	}
	_, above, _ := strings.Cut(host, ".")
	if !dane.Covers("*."+strings.TrimSuffix(above, "."), host) {
		return Match{}, false
	}
	for _, prefix := range prefixes {
		e, ok := w.table.Lookup(prefix + "*." + above)
		if !ok {
			continue
		}
		_, written := w.hosts[host]
		m := Match{Entry: zone.Entry{Ours: true}, Host: host, Written: written}
		if prefix == lead {
			m.Owner, m.Set = true, e.Set
		}
		return m, true
	}
	return Match{}, false
}

// Unsure tells whether name may be an owner of which nothing is known, because not every directory has been read and the
// ledger cannot vouch for what it does not have; and whether it is such a name or one above, which must not be denied.
func (w *Wildcards) Unsure(name string) (owner, ours bool) {
	if !w.unsure.Load() {
		return false, false
	}
	lead, host := split(name)
	for _, prefix := range w.prefixes[lead] {
		if pt, host := w.patterns.match(prefix + host); pt != nil && !strings.HasPrefix(host, "*") {
			return prefix == lead, true
		}
	}
	return false, false
}

// Incomplete tells whether there may be owners that nobody knows of.
func (w *Wildcards) Incomplete() bool { return w != nil && w.unsure.Load() }

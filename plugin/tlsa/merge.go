package tlsa

import (
	"maps"
	"slices"
	"strings"

	"github.com/miekg/dns"

	"github.com/coredns-tlsa/coredns-tlsa/plugin/tlsa/publish"
)

// A merging is a zone's data while our RRsets are put into them.
type merging struct {
	apex  string
	nodes map[string][]dns.RR // by name, lower case
	names []string            // of nodes, in the zone's order
	// exists has the names of the zone and those above them (RFC 4592 2.2.2).
	exists map[string]bool
	// ours are the names that start with an underscore and show nothing of the zone.
	ours map[string]bool
	// fresh are the names that exist only because of us, with their closest encloser in the zone.
	fresh map[string]string
}

// merge puts the owners' RRsets into the records of a zone, which come without SOA and unsigned, so that a server that has
// them gives the answers that we give. The records are not changed; those that it makes are new.
//
// An owner without records leaves nothing: that its name exists cannot be said in a zone.
func merge(apex string, records []dns.RR, owners []publish.Served) []dns.RR {
	m := newMerging(apex, records)
	owners = slices.DeleteFunc(m.writtenOut(owners), func(o publish.Served) bool { return m.cut(o.Name) })
	sets := map[string][]dns.RR{}
	for _, o := range owners {
		for name := o.Name; name != o.Host && name != apex; name = above(name) {
			m.ours[name] = true
		}
		if o.Set.Len() > 0 {
			sets[o.Name] = o.Set.RRs(o.Name)
			m.enter(o.Name)
		}
	}
	var all []dns.RR
	for _, name := range m.names {
		if !m.ours[name] {
			all = append(all, beside(m.nodes[name], sets[name])...)
		}
	}
	for _, o := range owners {
		all = append(all, sets[o.Name]...)
	}
	return append(all, m.expanded(sets)...)
}

func newMerging(apex string, records []dns.RR) *merging {
	m := &merging{
		apex: apex, nodes: map[string][]dns.RR{}, exists: map[string]bool{apex: true}, ours: map[string]bool{}, fresh: map[string]string{},
	}
	for _, rr := range records {
		name := strings.ToLower(rr.Header().Name)
		if _, known := m.nodes[name]; !known {
			m.names = append(m.names, name)
			for n := name; n != "." && !m.exists[n]; n = above(n) {
				m.exists[n] = true
			}
		}
		m.nodes[name] = append(m.nodes[name], rr)
	}
	return m
}

// writtenOut gives the owners with those of wildcard SANs written out for the hosts that Handler.serves finds to exist.
func (m *merging) writtenOut(owners []publish.Served) []publish.Served {
	known := map[string]bool{}
	var all, wild []publish.Served
	for _, o := range owners {
		known[o.Name] = true
		if strings.HasPrefix(o.Host, "*.") {
			wild = append(wild, o)
		} else {
			all = append(all, o)
		}
	}
	for _, o := range wild {
		hosts := map[string]bool{}
		for _, host := range o.Written {
			hosts[host] = true
		}
		for host := range m.exists {
			if "*."+above(host) == o.Host && m.hasItself(host) {
				hosts[host] = true
			}
		}
		for _, host := range slices.Sorted(maps.Keys(hosts)) {
			name := strings.TrimSuffix(o.Name, o.Host) + host
			if !known[name] && !m.has(name, dns.TypeTLSA) {
				known[name] = true
				all = append(all, publish.Served{Name: name, Host: host, Set: o.Set})
			}
		}
	}
	return all
}

// hasItself is what Handler.exists asks for: the host's addresses are not those of a wildcard beside it.
func (m *merging) hasItself(host string) bool {
	if strings.HasPrefix(host, "*") || strings.HasPrefix(host, "_") {
		return false
	}
	wildcard := "*." + above(host)
	if len(m.nodes[wildcard]) == 0 {
		return true
	}
	for _, qtype := range []uint16{dns.TypeA, dns.TypeAAAA, dns.TypeCNAME} {
		if !slices.Equal(m.contents(host, qtype), m.contents(wildcard, qtype)) {
			return true
		}
	}
	return false
}

// contents are the records of a type at a name, without the name and the TTL.
func (m *merging) contents(name string, qtype uint16) []string {
	var all []string
	for _, rr := range m.nodes[name] {
		if rr.Header().Rrtype == qtype {
			c := at(".", rr)
			c.Header().Ttl = 0
			all = append(all, c.String())
		}
	}
	slices.Sort(all)
	return all
}

func (m *merging) has(name string, qtype uint16) bool {
	return slices.ContainsFunc(m.nodes[name], func(rr dns.RR) bool { return rr.Header().Rrtype == qtype })
}

// cut tells whether name belongs to another zone: it lies at or below a delegation, or below a DNAME.
func (m *merging) cut(name string) bool {
	for n := name; ; n = above(n) {
		for _, rr := range m.nodes[n] {
			t := rr.Header().Rrtype
			if t == dns.TypeNS && n != m.apex || t == dns.TypeDNAME && n != name {
				return true
			}
		}
		if n == m.apex || n == "." {
			return false
		}
	}
}

// enter notes the names that an owner brings into being.
func (m *merging) enter(owner string) {
	var fresh []string
	name := owner
	for ; !m.exists[name]; name = above(name) {
		fresh = append(fresh, name)
	}
	for _, n := range fresh {
		m.fresh[n] = name
	}
}

// expanded writes out the wildcards that the fresh names would keep from being expanded: at each of these that is not ours,
// as it exists now, and below all of them, because what is not there has them as closest encloser now (RFC 4592 3.3.1).
func (m *merging) expanded(sets map[string][]dns.RR) []dns.RR {
	var all []dns.RR
	for _, name := range slices.Sorted(maps.Keys(m.fresh)) {
		encloser := m.fresh[name]
		for _, rr := range m.nodes["*."+encloser] {
			if t := rr.Header().Rrtype; t == dns.TypeNS || t == dns.TypeDNAME {
				continue // not expanded (RFC 4592 4.2, 4.4)
			}
			if !m.ours[name] {
				all = append(all, beside([]dns.RR{at(name, rr)}, sets[name])...)
			}
			all = append(all, at("*."+name, rr))
		}
	}
	return all
}

// beside gives what may stand beside the TLSA records of an owner; all where it has none.
func beside(records, set []dns.RR) []dns.RR {
	if len(set) == 0 {
		return records
	}
	return slices.DeleteFunc(slices.Clone(records), func(rr dns.RR) bool {
		t := rr.Header().Rrtype
		return t == dns.TypeTLSA || t == dns.TypeCNAME
	})
}

// at is a copy of a record under another name.
func at(name string, rr dns.RR) dns.RR {
	c := dns.Copy(rr)
	c.Header().Name = name
	return c
}

// above is the name without its first label.
func above(name string) string {
	i, end := dns.NextLabel(name, 0)
	if end {
		return "."
	}
	return name[i:]
}

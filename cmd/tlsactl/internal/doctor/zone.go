package doctor

import (
	"io"
	"slices"
	"strings"
	"time"

	"github.com/miekg/dns"
)

// A zone is what the zone file of one zone has of interest: its SOA, and the records at the names that the owners touch.
type zone struct {
	path, place string
	err         error // it cannot be read
	soa         *dns.SOA
	signed      bool
	partial     bool                // it is too large to be read to its end
	records     map[string][]dns.RR // at the names that are of interest
}

// mostRecords bounds how many records of a zone file are read.
const mostRecords = 2_000_000

// readZones reads the files of the plugin file for the zones of the tlsa blocks.
func (s *server) readZones() {
	for _, b := range s.blocks {
		for _, origin := range b.Zones {
			if s.zoned[origin] != nil || b.Authority != nil {
				continue
			}
			if path, place := s.zoneFile(origin); path != "" {
				z := &zone{path: path, place: place, records: map[string][]dns.RR{}}
				z.err = z.read(origin, s.interest(origin))
				s.zoned[origin] = z
			}
		}
	}
}

// zoneFile gives the file that serves a zone: that of the longest zone it lies in.
func (s *server) zoneFile(origin string) (path, place string) {
	best := ""
	for _, d := range s.directives("file") {
		if len(d.args) == 0 {
			continue
		}
		zones := s.zones
		if len(d.args) > 1 {
			zones = lower(d.args[1:])
		}
		if zone := longest(zones, origin); len(zone) > len(best) {
			best, path, place = zone, below(s.root, d.args[0]), d.place
		}
	}
	return path, place
}

// interest are the names whose records matter: owners, hosts, all above them up to the zone, and the wildcards there.
func (s *server) interest(origin string) map[string]bool {
	wanted := map[string]bool{origin: true}
	for _, b := range s.blocks {
		for _, n := range b.names {
			for name := n.Name; dns.IsSubDomain(origin, name) && name != origin; {
				_, above, _ := strings.Cut(name, ".")
				wanted[name], wanted["*."+above] = true, true
				name = above
			}
		}
	}
	return wanted
}

func (z *zone) read(origin string, wanted map[string]bool) error {
	file, err := open(z.path)
	if err != nil {
		return err
	}
	defer file.Close()
	info, err := file.Stat()
	if err != nil {
		return err
	}
	parser := dns.NewZoneParser(io.LimitReader(file, mostZone), origin, z.path)
	parser.SetIncludeAllowed(true)
	n := 0
	for rr, ok := parser.Next(); ok; rr, ok = parser.Next() {
		if n++; n > mostRecords {
			break
		}
		name := strings.ToLower(rr.Header().Name)
		switch rr := rr.(type) {
		case *dns.SOA:
			if name == origin {
				z.soa = rr
			}
		case *dns.RRSIG:
			z.signed = z.signed || name == origin && rr.TypeCovered == dns.TypeSOA
		}
		if wanted[name] {
			z.records[name] = append(z.records[name], rr)
		}
	}
	if z.partial = n > mostRecords || info.Size() > mostZone; z.partial {
		return nil
	}
	return parser.Err()
}

// at gives the first record of a type at a name.
func (z *zone) at(name string, qtype uint16) dns.RR {
	for _, rr := range z.records[name] {
		if rr.Header().Rrtype == qtype {
			return rr
		}
	}
	return nil
}

// lag is how long secondaries may be behind that miss a NOTIFY.
func (z *zone) lag() time.Duration {
	return (time.Duration(z.soa.Refresh) + time.Duration(z.soa.Retry)) * time.Second
}

// cutAbove gives the delegation or DNAME that a name of the zone lies at or below; empty if there is none.
func (z *zone) cutAbove(origin, name string) (at, what string) {
	for ; name != origin && name != ""; _, name, _ = strings.Cut(name, ".") {
		if z.at(name, dns.TypeNS) != nil {
			at, what = name, "a delegation"
		} else if z.at(name, dns.TypeDNAME) != nil {
			at, what = name, "a DNAME"
		}
	}
	return at, what
}

// exists tells whether a host has an address or an alias, by a wildcard too.
func (z *zone) exists(origin, host string) bool {
	lookAt := func(name string) bool {
		return z.at(name, dns.TypeA) != nil || z.at(name, dns.TypeAAAA) != nil || z.at(name, dns.TypeCNAME) != nil
	}
	if lookAt(host) {
		return true
	}
	for name := host; name != origin && name != ""; {
		if len(z.records[name]) > 0 {
			return false // a wildcard shows only below the closest name that exists (RFC 4592 3.3.1)
		}
		_, name, _ = strings.Cut(name, ".")
		if lookAt("*." + name) {
			return true
		}
	}
	return false
}

// longest gives the longest of zones that a name lies in, or is; empty if there is none.
func longest(zones []string, name string) string {
	best := ""
	for _, zone := range zones {
		if dns.IsSubDomain(zone, name) && len(zone) > len(best) {
			best = zone
		}
	}
	return best
}

func within(name string, zones []string) bool { return longest(zones, name) != "" }

// lower are names as DNS compares them.
func lower(names []string) []string {
	var found []string
	for _, name := range names {
		found = append(found, dns.CanonicalName(name))
	}
	slices.Sort(found)
	return found
}

// fileOf gives the zone file that an owner of the block lies in, with the zone's name; nil where there is none to read.
func (b *block) fileOf(owner string) (*zone, string) {
	origin := longest(b.Zones, owner)
	z := b.server.zoned[origin]
	if z == nil || z.err != nil || z.soa == nil {
		return nil, origin
	}
	return z, origin
}

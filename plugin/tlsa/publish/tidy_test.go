package publish

import "maps"

// seated fails if sites and lineages do not know each other, or an owner is not told of a lineage that its timeline knows.
func (s *stage) seated(sites map[*site]bool) {
	s.t.Helper()
	a, links := s.p.atlas, 0
	for _, l := range a.lineages {
		links += len(l.sites)
		for _, site := range l.sites {
			if !sites[site] || !site.seated(l.ID) {
				s.t.Errorf("%s believes to map to %s", l.ID, site.host)
			}
		}
	}
	for site := range sites {
		links -= len(site.seats)
	}
	if links != 0 {
		s.t.Errorf("%d sites of lineages more than lineages of sites", links)
	}
	placed := map[string]bool{}
	for id, owners := range a.placed {
		for o := range owners.all {
			placed[id+" "+o.name()] = true
		}
	}
	due := map[string]bool{}
	for _, o := range s.p.owners {
		for _, k := range o.timeline().Keys {
			for _, p := range k.Places {
				if !o.seated(p.Lineage) {
					due[p.Lineage+" "+o.name()] = true
				}
			}
		}
	}
	if !maps.Equal(placed, due) {
		s.t.Errorf("told of a lineage by their timelines are %v, want %v", placed, due)
	}
}

// tidy fails if something of a dynamic owner that has left is remembered.
func (s *stage) tidy() {
	s.t.Helper()
	s.p.mu.Lock()
	defer s.p.mu.Unlock()
	there := map[*owner]bool{}
	for i, o := range s.p.owners {
		there[o] = true
		if o.pattern != nil && int(o.at) != i {
			s.t.Errorf("%s believes to be at %d, and is at %d", o.name(), o.at, i)
		}
	}
	check := func(where string, o *owner) {
		s.t.Helper()
		if !there[o] {
			s.t.Errorf("%s is left in %s", o.name(), where)
		}
	}
	a := s.p.atlas
	sites := map[*site]bool{}
	for host, first := range a.byHost {
		for site := first; site != nil; site = site.beside {
			sites[site] = true
			if len(site.owners) == 0 || site.bare() != host {
				s.t.Errorf("%d owners at %s, found as %s", len(site.owners), site.host, host)
			}
			for _, o := range site.owners {
				check("a site", o)
			}
		}
	}
	for _, index := range []map[string][]*site{a.byParent, a.byFrom} {
		for _, some := range index {
			for _, site := range some {
				if !sites[site] {
					s.t.Errorf("the site %s is left in an index", site.host)
				}
			}
		}
	}
	for above, some := range a.byParent {
		for i, site := range some {
			if site.among != i {
				s.t.Errorf("%s believes to be at %d of %s, and is at %d", site.host, site.among, above, i)
			}
		}
	}
	s.seated(sites)
	for _, owners := range a.placed {
		for o := range owners.all {
			check("placed", o)
		}
	}
	for _, m := range a.missing {
		for o := range m.owners {
			check("missing", o)
		}
	}
	for _, o := range s.p.queue {
		check("the queue", o)
	}
	for o := range s.p.unnamed {
		check("unnamed", o)
	}
	for o := range s.p.failed {
		check("failed", o)
	}
}

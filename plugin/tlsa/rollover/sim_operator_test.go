package rollover

import (
	"slices"
	"time"

	"github.com/coredns-tlsa/coredns-tlsa/plugin/tlsa/dane"
)

// happen lets one thing happen: to the keys, or as a fault, or by the operator's word.
func (s *simulation) happen() {
	n := s.nodes[s.choose(len(s.nodes), "node")]
	switch s.choose(16, "event") {
	case 0, 1: // to the next change, or to just before it
		early := time.Duration(s.choose(2, "early"))
		if n.due > 0 {
			s.pass(n.due - s.real - early)
		}
	case 2, 3:
		s.pass([]time.Duration{1, time.Second, time.Minute, 5 * time.Minute, 20 * time.Minute, hour, 3 * hour, day, 20 * day}[s.choose(9, "time")])
	case 4, 5:
		s.stage(s.slot())
	case 6, 7, 8:
		s.installStaged(s.slot())
	case 9:
		s.keys(s.slot())
	case 10, 11:
		n.fault()
	case 12:
		n.clock()
	case 13:
		n.restart()
	case 14:
		n.reload()
	case 15:
		n.word()
	}
}

// slot chooses a lineage, mostly the first.
func (s *simulation) slot() int { return []int{0, 0, 1, 2}[s.choose(4, "slot")] }

// put writes or (nil) deletes a file of the mail host; it arrives at each node in its time.
func (s *simulation) put(path string, c *cert) {
	if c == nil {
		delete(s.origin, path)
	} else {
		s.origin[path] = c
	}
	s.puts = append(s.puts, path)
	through := len(s.puts)
	for _, n := range s.nodes {
		if n.delay == 0 {
			n.copy(through)
		} else {
			s.at(n.delay, n, func(n *node) { n.copy(through) })
		}
	}
}

func (s *simulation) stage(slot int) {
	c := s.fresh(slot)
	if old := s.slots[slot]; old != nil && s.choose(4, "again") == 3 {
		c = s.another(old)
	}
	i := s.choose(2, "file")
	if s.origin[paths().next[slot][1-i]] != nil {
		s.reach("two staged keys")
	}
	if s.choose(4, "bare") == 3 {
		c = c.bare
	}
	s.tell("stage %s in %s", c.name, paths().next[slot][i])
	s.put(paths().next[slot][i], c)
}

// installStaged installs a staged key, if the operator thinks that he may.
func (s *simulation) installStaged(slot int) {
	for i := range 2 {
		path := paths().next[slot][i]
		c := s.origin[path]
		if c == nil {
			continue
		}
		if c.whole != nil {
			c = c.whole
		}
		if !s.may(slot, c) {
			continue
		}
		s.reach("installed from next")
		s.install(slot, c)
		if s.choose(3, "clean") > 0 {
			s.put(path, nil)
		}
		return
	}
}

// may tells whether the operator installs a certificate in a lineage: the careful one asks every node.
func (s *simulation) may(slot int, c *cert) bool {
	if !s.noticed(slot) || s.returns(c) && !s.readable() {
		return false
	}
	if slices.ContainsFunc(s.nodes, func(n *node) bool { return n.hidden == empty }) {
		return false // not modelled: what is installed below a directory that is not mounted
	}
	if !s.careful {
		return true
	}
	for _, n := range s.nodes {
		if !n.safe(c) || n.awaitsReturn() {
			return false
		}
	}
	return true
}

func (n *node) safe(c *cert) bool {
	is := func(t Timeline) bool { return t.Safe(c.material.Association, n.p, n.now()).Safe }
	return n.up && n.serving && len(n.timeline.Keys)+len(n.timeline.Fixed) > 0 && is(n.timeline) &&
		(!n.failed || is(Decide(n.base(), n.observe(n.base()), n.p, n.now()).Timeline))
}

// install puts a key in use. A server may present the one before as long as is promised.
func (s *simulation) install(slot int, c *cert) {
	s.tell("install %s in %s", c.name, slotNames[slot])
	before := s.slots[slot]
	s.slots[slot], s.again[slot] = c, s.returns(c)
	s.leave(before)
	s.leaving = slices.DeleteFunc(s.leaving, func(d departure) bool { return d.cert == c })
	s.check()
	s.put(paths().live[slot], c)
}

func (s *simulation) leave(c *cert) {
	if c == nil || slices.Contains(s.slots[:], c) {
		return
	}
	d := departure{c, s.real, s.real + s.grace()}
	s.leaving = append(slices.DeleteFunc(s.leaving, func(d departure) bool { return d.cert == c }), d)
}

// grace is the shortest that a node is told.
func (s *simulation) grace() time.Duration {
	grace := s.nodes[0].p.Grace
	for _, n := range s.nodes {
		grace = min(grace, n.p.Grace)
	}
	return grace
}

// keys is what else happens to keys.
func (s *simulation) keys(slot int) {
	c := s.slots[slot]
	switch s.choose(5, "keys") {
	case 0: // back to a key that was replaced
		for _, d := range s.leaving {
			if d.id[0] == slot%2 && s.may(slot, d.cert) {
				s.reach("back to a replaced key")
				s.install(slot, d.cert)
				return
			}
		}
	case 1: // renewed without a new key
		if c != nil && s.may(slot, s.another(c)) {
			s.reach("renewed with the same key")
			s.install(slot, s.another(c))
		}
	case 2: // a lineage moves to another directory
		if other := (slot + 2) % 4; other < 3 && c != nil && s.slots[other] == nil && s.may(other, c) && s.noticed(slot) {
			s.reach("lineage moved")
			s.install(other, c)
			s.remove(slot)
		}
	case 3: // a key is no longer in use
		if c != nil && s.choose(2, "really") == 1 && s.noticed(slot) {
			s.reach("lineage deleted")
			s.remove(slot)
		}
	case 4: // a staged key is given up
		for i := range 2 {
			if s.origin[paths().next[slot][i]] != nil {
				s.put(paths().next[slot][i], nil)
				return
			}
		}
	}
}

// readable tells whether every node can read every file, and will see what is installed before a Retired key can leave.
func (s *simulation) readable() bool {
	return !slices.ContainsFunc(s.nodes, func(n *node) bool {
		return n.hidden != fine || n.delay > n.p.Hold || slices.ContainsFunc(n.files, func(f *file) bool { return f.condition != fine })
	})
}

// returns tells whether a certificate was given up before.
func (s *simulation) returns(c *cert) bool {
	return slices.ContainsFunc(s.leaving, func(d departure) bool { return d.cert == c }) || slices.ContainsFunc(s.nodes, func(n *node) bool {
		return slices.ContainsFunc(n.timeline.Keys, func(k Key) bool { return same(k.Material, c.material) && !k.RetiredAt.IsZero() })
	})
}

// noticed tells whether every node knows of what is installed in a lineage all that it will need: see what is not modelled.
func (s *simulation) noticed(slot int) bool {
	c := s.slots[slot]
	return c == nil || !slices.ContainsFunc(s.nodes, func(n *node) bool {
		return n.awaits(slot) || !n.timeline.Has(c.material) && slices.ContainsFunc(n.p.Combinations, func(k dane.Combination) bool { return k.Selector == dane.Cert })
	})
}

func (s *simulation) remove(slot int) {
	s.tell("remove %s", slotNames[slot])
	c := s.slots[slot]
	s.slots[slot] = nil
	s.leave(c)
	s.put(paths().live[slot], nil)
}

package zone

// A shard holds the nodes whose bases hash to it. It is never changed once a table has it: a query may read it for as long as
// it likes. Open addressing with the hash beside each node: a query that finds its base reads one stretch of memory and the
// base's text, however many there are.
type shard struct {
	slots []slot
	used  int
}

type slot struct {
	hash uint64
	base string
	node
}

// find gives the number of a base's slot, or of the free one where it belongs; the shard has slots.
func (s *shard) find(hash uint64, base string) (at int, found bool) {
	at = s.home(hash)
	for {
		switch l := &s.slots[at]; {
		case l.names == nil:
			return at, false
		case l.hash == hash && l.base == base:
			return at, true
		}
		if at++; at == len(s.slots) {
			at = 0
		}
	}
}

// home is where the search for a hash begins. Its low bits have chosen the shard.
func (s *shard) home(hash uint64) int { return int((hash >> 32) * uint64(len(s.slots)) >> 32) }

// get gives the node of a base.
func (s *shard) get(hash uint64, base string) (node, bool) {
	if s == nil || s.used == 0 {
		return node{}, false
	}
	at, found := s.find(hash, base)
	return s.slots[at].node, found
}

// roomFor gives a copy with room for more bases, and at least one slot that stays free: the search for what is not there ends
// at it.
func (s *shard) roomFor(more int) *shard {
	if s == nil {
		s = &shard{}
	}
	c := &shard{used: s.used}
	if need := s.used + more; len(s.slots)-need > len(s.slots)/8 && need > 0 && len(s.slots) <= 4*need {
		c.slots = append(make([]slot, 0, len(s.slots)), s.slots...)
		return c
	} else if need > 0 {
		c.slots = make([]slot, need+need/4+1)
	}
	for _, l := range s.slots {
		if l.names != nil {
			at, _ := c.find(l.hash, l.base)
			c.slots[at] = l
		}
	}
	return c
}

// put gives base a node; there is room for it.
func (s *shard) put(hash uint64, base string, n node) {
	at, found := s.find(hash, base)
	if !found {
		s.slots[at].hash, s.slots[at].base = hash, base
		s.used++
	}
	s.slots[at].node = n
}

// remove takes a base out, if it is there, and closes the gap.
func (s *shard) remove(hash uint64, base string) {
	gap, found := s.find(hash, base)
	if !found {
		return
	}
	s.used--
	for at := gap; ; {
		s.slots[gap] = slot{}
		for {
			if at++; at == len(s.slots) {
				at = 0
			}
			if s.slots[at].names == nil {
				return
			}
			// One whose home lies after the gap is found without it.
			if home := s.home(s.slots[at].hash); gap <= at && (home <= gap || home > at) || gap > at && home <= gap && home > at {
				break
			}
		}
		s.slots[gap] = s.slots[at]
		gap = at
	}
}

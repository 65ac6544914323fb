package rollover

import (
	"crypto/sha256"
	"maps"
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
		c = s.again(old)
	}
	i := s.choose(2, "file")
	if s.origin[nextPath(slot, 1-i)] != nil {
		s.reach("two staged keys")
	}
	if s.choose(4, "bare") == 3 {
		c = c.bare
	}
	s.tell("stage %s in %s", c.name, nextPath(slot, i))
	s.put(nextPath(slot, i), c)
}

// installStaged installs a staged key, if the operator thinks that he may.
func (s *simulation) installStaged(slot int) {
	for i := range 2 {
		path := nextPath(slot, i)
		c := s.origin[path]
		if c == nil {
			continue
		}
		if c.whole != nil {
			c = c.whole
		}
		if !s.may(c) {
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

// may tells whether the operator installs a certificate: the careful one asks every node.
func (s *simulation) may(c *cert) bool {
	if slices.ContainsFunc(s.nodes, func(n *node) bool { return n.hidden == empty }) {
		return false // not modelled: what is installed below a directory that is not mounted
	}
	if !s.careful {
		return true
	}
	for _, n := range s.nodes {
		if !n.safe(c) {
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
	s.slots[slot] = c
	s.leave(before)
	s.leaving = slices.DeleteFunc(s.leaving, func(d departure) bool { return d.cert == c })
	s.check()
	s.put(livePath(slot), c)
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
			if d.id[0] == slot%2 && s.may(d.cert) && s.readable() {
				s.reach("back to a replaced key")
				s.install(slot, d.cert)
				return
			}
		}
	case 1: // renewed without a new key
		if c != nil && s.may(s.again(c)) {
			s.reach("renewed with the same key")
			s.install(slot, s.again(c))
		}
	case 2: // a lineage moves to another directory
		if other := (slot + 2) % 4; other < 3 && c != nil && s.slots[other] == nil && s.may(c) {
			s.reach("lineage moved")
			s.install(other, c)
			s.remove(slot)
		}
	case 3: // a key is no longer in use
		if c != nil && s.choose(2, "really") == 1 {
			s.reach("lineage deleted")
			s.remove(slot)
		}
	case 4: // a staged key is given up
		for i := range 2 {
			if s.origin[nextPath(slot, i)] != nil {
				s.put(nextPath(slot, i), nil)
				return
			}
		}
	}
}

// readable tells whether every node can read every file, and will see what is installed before a Retired key can leave.
func (s *simulation) readable() bool {
	return !slices.ContainsFunc(s.nodes, func(n *node) bool {
		return n.hidden != fine || n.delay > n.p.Hold || slices.ContainsFunc(slices.Collect(maps.Values(n.files)), func(f *file) bool { return f.condition != fine })
	})
}

func (s *simulation) remove(slot int) {
	s.tell("remove %s", slotNames[slot])
	c := s.slots[slot]
	s.slots[slot] = nil
	s.leave(c)
	s.put(livePath(slot), nil)
}

// fault is a file, a root or a disk that fails, or works again.
func (n *node) fault() {
	s := n.sim
	paths := slices.Sorted(maps.Keys(n.files))
	what := s.choose(8, "fault")
	if what < 5 && n.awaitsReturn() {
		return
	}
	switch what {
	case 0, 1, 2:
		if len(paths) == 0 {
			return
		}
		f := n.files[paths[s.choose(len(paths), "path")]]
		if f.gone {
			return
		}
		if f.condition == fine && f.seen && n.records(f) {
			f.condition = 1 + s.choose(2, "how")
			s.reach("unreadable file")
		} else {
			f.condition, f.kept = fine, f.holds
		}
		s.tell("node %d: files %v, condition %d", n.name, paths, f.condition)
	case 3, 4:
		if n.hidden = (n.hidden + 1 + s.choose(2, "root")) % 3; n.hidden == empty && (!n.installed() || len(s.pending) > 0) {
			n.hidden = doubts // a directory that never held anything looks like an unmounted one
		}
		s.tell("node %d: root %d", n.name, n.hidden)
		if n.hidden == empty {
			s.reach("root vanished")
		}
		if n.hidden == fine {
			n.known = true
			for _, f := range n.files {
				n.clear(f)
			}
		}
	case 5, 6:
		n.fails = (n.fails + 1 + s.choose(2, "disk")) % 3
		s.tell("node %d: disk %d", n.name, n.fails)
	case 7: // somebody floods the staged keys
		for i := range 14 {
			s.made[0] = min(s.made[0]+1, mostMade-1)
			path := nextPath(0, 10+i)
			n.files[path] = &file{path: path, holds: keys().certs[[3]int{0, s.made[0], 0}]}
			n.files[path].kept = n.files[path].holds
		}
		s.reach("more keys than the limit")
		s.at(hour, n, func(n *node) {
			for i := range 14 {
				if f := n.files[nextPath(0, 10+i)]; f != nil {
					n.drop(f)
					delete(n.files, nextPath(0, 10+i))
				}
			}
			n.act()
		})
	}
	n.act()
}

// awaitsReturn tells whether a replaced key is in use again which the node has not seen yet: see what is not modelled.
func (n *node) awaitsReturn() bool {
	for slot, c := range n.sim.slots {
		if f := n.files[livePath(slot)]; c != nil && (f == nil || f.holds != c) && slices.ContainsFunc(n.timeline.Keys, func(k Key) bool {
			return same(k.Material, c.material) && !k.RetiredAt.IsZero()
		}) {
			return true
		}
	}
	return false
}

// records tells whether the ledger knows that the file holds what it holds, as far as that matters: see what is not modelled.
func (n *node) records(f *file) bool {
	return f.path[0] == 'n' || !n.failed && n.places()[f.path]
}

// installed tells whether the node knows of an installed key.
func (n *node) installed() bool {
	return slices.ContainsFunc(n.timeline.Keys, func(k Key) bool { return k.active() })
}

// clock is a step of the wall clock, a suspend, or time that only the disk of the node knows.
func (n *node) clock() {
	s := n.sim
	steps := []time.Duration{time.Second, time.Minute, hour, day, 60 * day, 3650 * day}
	switch s.choose(4, "clock") {
	case 0, 1:
		step := steps[s.choose(len(steps), "step")]
		if s.choose(2, "back") == 1 {
			step = -step
		}
		n.offset += step
		s.tell("node %d: clock %v", n.name, step)
		n.reachRetired("clock step while Retired")
	case 2:
		n.offset = 0
	case 3: // suspended: the monotonic clock stands still, and so do the timers
		if n.up {
			before, due := n.service, n.due
			n.up = false
			d := steps[s.choose(4, "suspend")]
			s.pass(d)
			if n.service, n.up = before, true; due > 0 {
				n.due = due + d
			}
			s.reach("suspended")
		}
	}
	n.act()
}

func (n *node) reachRetired(class string) {
	if slices.ContainsFunc(n.timeline.Keys, func(k Key) bool { return !k.RetiredAt.IsZero() }) {
		n.sim.reach(class)
	}
}

// restart is a crash or a stop, an outage, and another start; perhaps with another ledger.
func (n *node) restart() {
	s := n.sim
	switch s.choose(4, "end") {
	case 0: // at some step of what is done next
		n.fuse = 1 + s.choose(4, "fuse")
		s.tell("node %d: crash in %d", n.name, n.fuse)
		return
	case 1:
		n.beat = n.service // a clean stop
		n.crash(false)
	default:
		n.crash(true)
	}
	n.outage()
}

// outage is the time until the next start, and what may have become of the ledger.
func (n *node) outage() {
	s := n.sim
	n.up = false
	if n.unmodelled() {
		return
	}
	told := n.promises()
	s.pass([]time.Duration{0, time.Second, time.Minute, hour, 3 * day}[s.choose(5, "outage")])
	n.origin = intact
	if origin := restored + s.choose(8, "ledger") - 6; origin >= restored && n.mayLose() && n.mayForget(origin) {
		n.origin = origin
	}
	swept := s.choose(4, "swept") > 0
	s.tell("node %d starts with ledger %d, swept %v", n.name, n.origin, swept)
	switch n.origin {
	case restored:
		n.recorded, n.beat = n.copied.Clone(), n.copyBeat
		n.reachRetired("restored ledger while Retired")
	case lost:
		n.recorded, n.beat = Timeline{}, 0
		n.reachRetired("lost ledger while Retired")
		s.reach("lost ledger")
	}
	n.service = n.beat
	if n.origin != intact {
		n.unknown = true
		n.forgive()
	}
	if n.origin != restored {
		n.copied, n.copyBeat = n.recorded.Clone(), n.beat
	}
	n.known = swept
	n.boot(swept)
	n.excused = false
	if n.unknown {
		n.unknown = false
	} else {
		n.checkPromises(told)
	}
}

// unmodelled ends a sequence in which a crash follows on first records that could not be recorded.
func (n *node) unmodelled() bool {
	n.sim.over = n.sim.over || n.failed && len(n.recorded.Associations) == 0
	return n.sim.over
}

// mayLose tells whether nothing else is wrong: see what is not modelled.
func (n *node) mayLose() bool {
	for _, f := range n.files {
		if f.condition != fine {
			return false
		}
	}
	n.forget()
	ttl := time.Duration(n.p.TTL) * time.Second
	return n.hidden == fine && n.ttl <= ttl && !slices.ContainsFunc(n.caches, func(h held) bool { return h.ttl > ttl })
}

// mayForget tells whether the files and the other ledger tell all that is in use and wanted: see what is not modelled.
func (n *node) mayForget(origin int) bool {
	var found Timeline
	if origin == restored {
		found = n.copied
	}
	for _, c := range n.sim.slots {
		if c != nil && !slices.ContainsFunc(slices.Collect(maps.Values(n.files)), func(f *file) bool {
			return f.holds != nil && f.holds.material.Leaf.SPKI == c.material.Leaf.SPKI
		}) {
			return false
		}
	}
	return found.WithdrawnAt.IsZero() == n.recorded.WithdrawnAt.IsZero() && len(found.Keys) < maxKeys
}

// forgive takes out the keys that only the lost ledger knew: the stated exception of I6.
func (n *node) forgive() {
	s := n.sim
	s.leaving = slices.DeleteFunc(s.leaving, func(d departure) bool {
		return !n.recorded.Has(d.material)
	})
}

// promises are the associations that the node has told to be Ready.
func (n *node) promises() []dane.Association {
	var told []dane.Association
	for _, a := range n.timeline.Associations {
		if !a.ReadyAt.IsZero() {
			told = append(told, a.Association)
		}
	}
	return told
}

// checkPromises is I5: no crash takes back what was told.
func (n *node) checkPromises(told []dane.Association) {
	for _, a := range n.timeline.Associations {
		if n.up && a.ReadyAt.IsZero() && slices.Contains(told, a.Association) {
			n.sim.fail("I5: node %d had told that %s is Ready", n.name, nameOf(a.Association))
		}
	}
}

// word is what the operator does by tlsactl: publish.Act.
func (n *node) word() {
	s := n.sim
	if !n.up || !n.serving || n.fails == lies {
		return
	}
	t, o, now := n.base(), n.observe(n.base()), n.now()
	err := ErrNothing
	var class string
	switch s.choose(6, "word") {
	case 0, 1, 2:
		if len(t.Revoked) > 0 {
			class = "revocation undone"
			t, err = t.Unrevoke(t.Revoked[0].Target, n.p, now)
		} else if x, ok := n.target(); ok {
			class = "revoked"
			t, err = t.Revoke(o, x, now)
		}
	case 3:
		class = "withdrawn"
		t, err = t.Withdraw(now)
	case 4:
		class = "restored after withdraw"
		if n.knowsAll() {
			t, err = t.Unwithdraw()
		}
	case 5:
		class = "lineage withdrawn"
		if f := n.files[livePath(s.slot())]; f != nil && f.gone && !n.presents(place(f.path).Lineage) {
			t, err = t.WithdrawLineage(o, place(f.path).Lineage)
		}
	}
	if err != nil {
		return
	}
	s.tell("node %d: %s", n.name, class)
	d := Decide(t, n.observe(t), n.p, now)
	n.excused = class == "revoked" || class == "withdrawn"
	if !n.commit(d.Timeline) {
		n.excused = false
		return
	}
	if n.dies() {
		return
	}
	s.reach(class)
	n.accept(d)
	n.excused = false
	n.serve()
}

// presents tells whether a key of the lineage is in use, perhaps out of another.
func (n *node) presents(lineage string) bool {
	return slices.ContainsFunc(n.timeline.Keys, func(k Key) bool {
		return slices.ContainsFunc(k.Places, func(p Place) bool { return p.Lineage == lineage }) &&
			slices.ContainsFunc(n.sim.slots[:], func(c *cert) bool { return c != nil && c.material.Leaf.SPKI == k.Material.Leaf.SPKI })
	})
}

// knowsAll tells whether all keys in use have arrived: those that were installed while the name was withdrawn too.
func (n *node) knowsAll() bool {
	for _, c := range n.sim.slots {
		if c != nil && !n.timeline.Has(c.material) {
			return false
		}
	}
	return !slices.ContainsFunc(n.sim.leaving, func(d departure) bool { return !n.timeline.Has(d.material) })
}

// target chooses a key that nobody uses or will use, while nothing is hidden.
func (n *node) target() (Target, bool) {
	if !n.mayLose() {
		return Target{}, false
	}
	for _, k := range n.timeline.Keys {
		c := certOf(k.Material)
		used := func(other *cert) bool {
			return other != nil && other.material.Leaf.SPKI == c.material.Leaf.SPKI
		}
		if slices.ContainsFunc(n.sim.slots[:], used) ||
			slices.ContainsFunc(n.sim.leaving, func(d departure) bool { return used(d.cert) }) {
			continue
		}
		digest := sha256.Sum256([]byte(c.material.Leaf.SPKI))
		return Target{Data: string(digest[:]), Key: true}, true
	}
	return Target{}, false
}

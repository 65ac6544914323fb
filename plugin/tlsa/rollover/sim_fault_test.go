package rollover

import (
	"slices"
	"time"

	"github.com/coredns-tlsa/coredns-tlsa/plugin/tlsa/dane"
)

// fault is a file, a root or a disk that fails, or works again.
func (n *node) fault() {
	s := n.sim
	what := s.choose(8, "fault")
	if what < 5 && n.awaitsReturn() {
		return
	}
	switch what {
	case 0, 1, 2:
		if len(n.files) == 0 {
			return
		}
		f := n.files[s.choose(len(n.files), "path")]
		if f.gone {
			return
		}
		if f.condition == fine && f.seen && n.records(f) {
			f.condition = 1 + s.choose(2, "how")
			s.reach("unreadable file")
		} else {
			f.condition, f.kept = fine, f.holds
		}
		s.tell("node %d: files %v, condition %d", n.name, n.files, f.condition)
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
		for i := range flood {
			s.made[0] = min(s.made[0]+1, mostMade-1)
			n.files.set(newFile(paths().next[0][10+i], keys().certs[[3]int{0, s.made[0], 0}]))
		}
		s.reach("more keys than the limit")
		s.at(hour, n, func(n *node) {
			n.files = slices.DeleteFunc(n.files, func(f *file) bool {
				flooded := slices.Contains(paths().next[0][10:], f.path)
				if flooded {
					n.drop(f)
				}
				return flooded
			})
			n.act()
		})
	}
	n.act()
}

// awaitsReturn tells whether something is in use again which the ledger does not have there yet: see what is not modelled.
func (n *node) awaitsReturn() bool {
	for slot := range slotNames {
		if n.awaits(slot) {
			return true
		}
	}
	return false
}

func (n *node) awaits(slot int) bool {
	c := n.sim.slots[slot]
	return c != nil && n.sim.again[slot] && !n.stands(c, paths().live[slot])
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
	n.doubtful = n.doubtful || n.origin != intact
	swept := s.choose(4, "swept") > 0 || n.doubtful // nobody answers from a copy alone
	s.tell("node %d starts with ledger %d, swept %v", n.name, n.origin, swept)
	switch n.origin {
	case restored:
		n.recorded, n.beat = n.copied.Doubted(clocks(s.real+n.offset, n.copyBeat)), n.copyBeat
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
		n.copied, n.copyBeat = n.recorded, n.beat
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
		if c != nil && !n.offered(c) {
			return false
		}
	}
	return found.WithdrawnAt.IsZero() == n.recorded.WithdrawnAt.IsZero() && len(found.Keys) < maxKeys && n.hasRoom(found)
}

// offered tells whether the files have all associations of a certificate.
func (n *node) offered(c *cert) bool {
	return !slices.ContainsFunc(n.p.Combinations, func(wanted dane.Combination) bool {
		return !slices.ContainsFunc(n.files, func(f *file) bool {
			return f.holds != nil && f.holds.associations[wanted] == c.associations[wanted]
		})
	})
}

// hasRoom tells whether a ledger has the keys in use, or room for all that the files hold: it may be that they stand where one
// that it does not know is refused, staged or not (rule 7), though the ledger before had called it Ready.
func (n *node) hasRoom(found Timeline) bool {
	if !slices.ContainsFunc(n.sim.slots[:], func(c *cert) bool { return c != nil && !found.Has(c.material) }) {
		return true
	}
	var more []*cert
	for _, f := range n.files {
		if c := f.holds; c != nil && !found.Has(c.material) && !slices.Contains(more, c) {
			more = append(more, c)
		}
	}
	return len(found.Keys)+len(more) <= maxKeys
}

// forgive takes out the keys that only the lost ledger knew: the stated exception of I6.
func (n *node) forgive() {
	s := n.sim
	s.leaving = slices.DeleteFunc(s.leaving, func(d departure) bool {
		return !n.recorded.Has(d.material)
	})
}

// promises are the associations that the node has told to be Ready, without what was Retired and has left in the ledger.
func (n *node) promises() []dane.Association {
	var told []dane.Association
	for _, a := range n.timeline.Statuses(n.p, n.now()) {
		if a.Gated && (a.State != Retired || slices.Contains(n.recorded.RRset(), a.Association)) {
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

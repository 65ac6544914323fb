package rollover

import (
	"slices"
	"strings"
	"time"

	"github.com/coredns-tlsa/coredns-tlsa/plugin/tlsa/dane"
)

// A held answer may still be in a cache that obeys TTLs. Without records it is a denial.
type held struct {
	rrset []dane.Association
	since time.Duration // when it was replaced by another
	ttl   time.Duration
	until time.Duration
}

// A retirement is when a key was retired, by true time, and the largest TTL that a cache could count by then.
type retirement struct {
	real    time.Duration
	largest uint32
}

// An account is what the simulator itself knows of a node, by true time.
type account struct {
	visible  []dane.Association // what queries are answered with
	told     Answer             // the kind of it
	ttl      time.Duration      // of it
	served   bool               // it has answered at all
	had      bool               // it has had records
	caches   []held
	lastHeld map[*cert]time.Duration // when a file here last held it
	marks    map[*cert]retirement
	unsaid   []dane.Association // additions that were not recorded before the last start: the exception of rule 5
	excused  bool               // the operator has said what leaves now
	unknown  bool               // a lost ledger knew what is not known any more
}

// show tells the world what queries are answered with from now on.
func (n *node) show() {
	if !n.serving {
		return
	}
	s := n.sim
	ttl := time.Duration(n.p.TTL) * time.Second
	if n.served && n.told == n.answer && n.ttl == ttl && slices.Equal(n.visible, n.shown) {
		return
	}
	if n.served {
		n.checkGone()
		cached := n.ttl
		if n.told == None {
			cached = s.negative
		}
		if n.told != Unknown { // SERVFAIL proves nothing to nobody
			n.caches = append(n.caches, held{n.visible, s.real, cached, s.real + n.p.Propagation + cached})
		}
	}
	s.tell("node %d answers %v %v", n.name, records(n.shown), ttl)
	n.checkEmpty()
	n.served, n.visible, n.told, n.ttl = true, n.shown, n.answer, ttl
	n.had = len(n.shown) > 0
	s.check()
}

// checkEmpty is I2: who had records never denies them by itself.
func (n *node) checkEmpty() {
	pinned := !slices.ContainsFunc(n.visible, func(a dane.Association) bool { return a != stranger() }) // the operator has unpinned it
	if n.had && len(n.shown) == 0 && n.timeline.WithdrawnAt.IsZero() && !n.unknown && !pinned {
		n.sim.fail("I2: node %d had %v, and answers %v", n.name, n.visible, n.answer)
	}
	if len(n.shown) > 0 != (n.answer == Records) {
		n.sim.fail("I2: node %d answers %v with %v", n.name, n.answer, n.shown)
	}
}

// largest is the largest TTL that a cache may count by, by true time.
func (n *node) largest() uint32 {
	largest := n.p.TTL
	for _, h := range n.caches {
		if len(h.rrset) > 0 && n.sim.real < h.since+h.ttl {
			largest = max(largest, uint32(h.ttl/time.Second))
		}
	}
	return largest
}

// accountFor takes in a timeline that is recorded and in use.
func (n *node) accountFor() {
	for _, k := range n.timeline.Keys {
		if k.RetiredAt.IsZero() {
			delete(n.marks, certOf(k.Material))
		} else if n.offset != 0 {
			n.sim.reach("wrong clock while Retired")
		}
	}
	n.mark(n.timeline.Keys)
	n.checkReady()
}

// mark notes when keys were retired.
func (n *node) mark(keys []Key) {
	for _, k := range keys {
		c := certOf(k.Material)
		if _, marked := n.marks[c]; !marked && !k.RetiredAt.IsZero() {
			n.marks[c] = retirement{n.sim.real, n.largest()}
			n.sim.reach("retired")
			n.checkEvidence(c)
		}
	}
}

// remark notes what is written: what could not be recorded at once is retired anew, with the TTL of that moment.
func (n *node) remark(keys []Key) {
	for _, k := range keys {
		if !slices.ContainsFunc(n.timeline.Keys, func(told Key) bool { return same(told.Material, k.Material) && !told.RetiredAt.IsZero() }) {
			delete(n.marks, certOf(k.Material))
		}
	}
	n.mark(keys)
}

func certOf(m dane.Material) *cert { return keys().byLeaf[m.Leaf.SPKI+m.Leaf.SHA256] }

// checkEvidence is the other half of I3: no file that may be installed holds what is retired.
func (n *node) checkEvidence(c *cert) {
	for _, f := range n.files {
		if !f.staged() && f.holds == c && f.seen && n.hidden != empty {
			n.sim.fail("I3: node %d retired %s, which %s holds", n.name, c.name, f.path)
		}
	}
}

// checkReady is I4: what is Ready is in every answer that a cache may hold. For the first records of an owner a denial may
// still be held: who holds one asks for no key.
func (n *node) checkReady() {
	n.forget()
	for _, a := range n.timeline.Associations {
		if a.ReadyAt.IsZero() {
			continue
		}
		for _, h := range n.caches {
			if !slices.Contains(h.rrset, a.Association) && (len(h.rrset) > 0 || !a.First && h.ttl < time.Minute) {
				n.sim.fail("I4: node %d calls %s Ready, and a cache may hold %v until %v", n.name, nameOf(a.Association), records(h.rrset), h.until)
			}
		}
	}
}

func (n *node) forget() {
	n.caches = slices.DeleteFunc(n.caches, func(h held) bool { return h.until <= n.sim.real })
}

// checkGone is I3: what leaves an answer was due to leave, by true time.
func (n *node) checkGone() {
	if n.excused {
		return
	}
	for _, a := range n.visible {
		if slices.Contains(n.shown, a) || a == stranger() || slices.Contains(n.unsaid, a) {
			continue
		}
		if !slices.Contains(n.inForce(), a.Combination) { // I1 looks at what remains
			n.sim.reach("combination left")
			continue
		}
		for _, c := range keys().holders[a] {
			n.checkLeft(c, a)
		}
	}
}

func (n *node) checkLeft(c *cert, a dane.Association) {
	last, was := n.lastHeld[c]
	for _, f := range n.files {
		if staged := f.staged(); f.holds == c && !f.gone && (f.seen || staged) && !(staged && (n.unknown || n.read(f) != c)) {
			n.sim.fail("I3: %s left node %d, and %s holds it", nameOf(a), n.name, f.path)
		}
	}
	if !was || n.unknown {
		return
	}
	m, marked := n.marks[c]
	wait := max(n.p.Grace, n.p.Propagation+2*time.Duration(m.largest)*time.Second)
	switch {
	case n.sim.real-last < n.p.Grace:
		n.sim.fail("I3: %s left node %d %v after a file held it, and grace is %v", nameOf(a), n.name, n.sim.real-last, n.p.Grace)
	case marked && n.sim.real-m.real < wait:
		n.sim.fail("I3: %s left node %d %v after it was retired, and grace is %v", nameOf(a), n.name, n.sim.real-m.real, wait)
	}
	n.sim.reach("removed")
}

// inForce are the combinations of the last decision and, as long as the ledger has records in others, those.
func (n *node) inForce() []dane.Combination {
	if len(n.timeline.Associations) == 0 {
		return n.last.Timeline.Combinations
	}
	return slices.Concat(n.last.Timeline.Combinations, n.timeline.Combinations)
}

// checkSeen is rule 1: what a watched file holds is published as soon as it is seen.
func (n *node) checkSeen() {
	if !n.timeline.WithdrawnAt.IsZero() || slices.ContainsFunc(n.last.Problems, func(p Problem) bool { return p.Reason == TooManyKeys }) {
		return
	}
	for _, f := range n.files {
		c := n.read(f)
		if c == nil {
			continue
		}
		for _, k := range n.inForce() {
			if a, ok := c.associations[k]; ok && !slices.Contains(n.shown, a) {
				n.sim.fail("node %d does not publish %s of %s", n.name, nameOf(a), f.path)
			}
		}
	}
}

// check is I1: every RRset that a cache may hold matches every key that a server may present.
func (s *simulation) check() {
	s.leaving = slices.DeleteFunc(s.leaving, func(d departure) bool { return d.until <= s.real })
	if !s.careful && !s.strict || s.err != nil {
		return
	}
	for _, n := range s.nodes {
		n.forget()
		for _, c := range s.slots {
			n.checkPresented(c)
		}
		for _, d := range s.leaving {
			n.checkPresented(d.cert)
		}
	}
}

func (n *node) checkPresented(c *cert) {
	if c == nil {
		return
	}
	for _, h := range n.caches {
		if !c.matches(h.rrset) {
			n.sim.fail("I1: a cache has %v from node %d until %v, and a server presents %s", records(h.rrset), n.name, h.until, c.name)
		}
	}
	if !c.matches(n.visible) {
		n.sim.fail("I1: node %d answers %v, and a server presents %s", n.name, records(n.visible), c.name)
	}
}

// matches is what a client does: of each usage and selector only the strongest digest counts (RFC 7671 9). Who has a denial
// compares nothing.
func (c *cert) matches(rrset []dane.Association) bool {
	if len(rrset) == 0 {
		return true
	}
	for _, a := range rrset {
		if c.associations[a.Combination] == a && !slices.ContainsFunc(rrset, func(b dane.Association) bool {
			return a.Usage == b.Usage && a.Selector == b.Selector && a.MatchingType < b.MatchingType
		}) {
			return true
		}
	}
	return false
}

// rest lets every fault end, and wants that nothing stays that should go and nothing waits that should be Ready.
func (s *simulation) rest() {
	most := time.Duration(0)
	for _, n := range s.nodes {
		n.heal()
		most = max(most, n.p.Hold, n.p.Grace, n.p.Propagation+2*time.Duration(n.largest())*time.Second)
		if n.p.UntilExpiry {
			most = max(most, 30*day)
		}
	}
	for range 3 {
		s.pass(most + 2*hour)
		for _, n := range s.nodes {
			n.act()
		}
	}
	for _, n := range s.nodes {
		n.checkRest()
	}
}

// heal ends what is wrong with a node.
func (n *node) heal() {
	n.fails, n.hidden, n.fuse = works, fine, 0
	for _, f := range n.files {
		f.condition, f.kept = fine, f.holds
	}
	if !n.up && !n.unmodelled() {
		n.origin = intact
		n.boot(true)
	}
	n.known = true
	n.act()
}

func (n *node) checkRest() {
	waits := func(r Reason) bool {
		return slices.ContainsFunc(n.last.Problems, func(p Problem) bool { return p.Reason == r })
	}
	if n.sim.err != nil || n.sim.over || !n.timeline.WithdrawnAt.IsZero() {
		return
	}
	for _, a := range n.timeline.Associations {
		if a.ReadyAt.IsZero() {
			n.sim.fail("liveness: %s of node %d never became Ready: %+v", nameOf(a.Association), n.name, n.last)
		}
	}
	n.sim.reach("all Ready in the end")
	if waits(LastAssociation) || waits(NoSuccessor) || waits(SourceMissing) || waits(RemovalsFrozen) || n.p.UntilExpiry {
		return
	}
	for _, k := range n.timeline.Keys {
		if c := certOf(k.Material); !slices.ContainsFunc(n.files, func(f *file) bool { return f.holds == c }) {
			n.sim.fail("liveness: %s of node %d never left: %+v", c.name, n.name, k)
		}
	}
	n.sim.reach("all that was over has left in the end")
}

func nameOf(a dane.Association) string {
	for _, c := range keys().holders[a] {
		return c.name + "/" + a.Combination.String()
	}
	return a.String()
}

// records are named when they are printed.
type records []dane.Association

func (r records) String() string {
	var all []string
	for _, a := range r {
		all = append(all, nameOf(a))
	}
	return "[" + strings.Join(all, ", ") + "]"
}

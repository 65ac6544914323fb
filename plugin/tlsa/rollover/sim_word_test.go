package rollover

import (
	"crypto/sha256"
	"slices"
)

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
		if f := n.files.find(paths().live[s.slot()]); f != nil && f.gone && !n.presents(f.places[0].Lineage) {
			t, err = t.WithdrawLineage(o, f.places[0].Lineage)
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
	if n.awaitsReturn() {
		return false
	}
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

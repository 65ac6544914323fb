package publish

import (
	"encoding/hex"
	"maps"
	"slices"

	"github.com/coredns-tlsa/coredns-tlsa/plugin/tlsa/control"
	"github.com/coredns-tlsa/coredns-tlsa/plugin/tlsa/dane"
	"github.com/coredns-tlsa/coredns-tlsa/plugin/tlsa/rollover"
)

// associate computes the associations of one certificate or key.
type associate = func(dane.Combination) (dane.Association, error)

// safety joins what the owners say of a certificate (rule 2): the one that waits longest speaks.
func (p *Publisher) safety(owners []*owner, of func(*owner) associate, now rollover.Stamp) control.Safety {
	slices.SortFunc(owners, (*owner).compare)
	s := control.Safety{Safe: len(owners) > 0, Owners: []string{}}
	if !s.Safe {
		s.Why = "no name of the Corefile takes it"
	}
	var worst rollover.Safety
	for _, o := range owners {
		s.Owners = append(s.Owners, o.name())
		v := rollover.Safety{Why: "the name is not served here; see its problems"}
		if o.served() {
			v = o.timeline().Safe(of(o), o.policy, now)
		}
		if _, failed := p.failed[o]; failed && v.Safe { // nor may what cannot be recorded yet make it unsafe
			t := o.base()
			d := rollover.Decide(t, p.atlas.observe(o, t), o.policy, now)
			v = d.Timeline.Safe(of(o), o.policy, now)
		}
		if !v.Safe && (s.Safe || worst.Left > 0 && (v.Left == 0 || v.Left > worst.Left)) {
			s.Safe, s.HeldBy, s.Why, worst = false, o.name(), v.Why, v
		}
	}
	if worst.Left > 0 {
		s.SafeAt = after(now, worst.Left)
	}
	return s
}

// Safe judges a certificate of which the digests are known, for control. Where the certificate or its key is watched, or
// remembered, that says more than the digests.
func (p *Publisher) Safe(c control.Certificate) control.Safety {
	p.mu.Lock()
	defer p.mu.Unlock()
	owners, known := p.concerned(c)
	if p.store == nil || len(owners) == 0 {
		return control.Safety{Owners: []string{}}
	}
	return p.safety(owners, func(o *owner) associate {
		if m, ok := known[o]; ok {
			return m.Association
		}
		return digests(c)
	}, p.store.Now())
}

// concerned finds the owners of a certificate, and what is known of it there.
func (p *Publisher) concerned(c control.Certificate) (owners []*owner, known map[*owner]dane.Material) {
	spki := hex.EncodeToString([]byte(c.SPKI))
	found, known := map[*owner]bool{}, map[*owner]dane.Material{}
	meet := func(o *owner, m dane.Material) {
		if digest(m.Leaf.SPKI) != spki {
			return
		}
		_, again := known[o]
		found[o] = true
		if m.Leaf.SHA256 == c.SHA256 {
			known[o] = m
		} else if !again {
			known[o] = dane.Material{Leaf: dane.Fingerprint{SPKI: m.Leaf.SPKI, SHA256: c.SHA256}}
		}
	}
	for _, l := range p.atlas.lineages {
		for _, s := range l.sites {
			at, _ := s.seat(l.ID)
			for _, i := range s.seats[at].leaves {
				for _, o := range s.owners {
					meet(o, l.Leaves[i].Material)
				}
			}
		}
	}
	for _, o := range p.owners {
		for _, k := range o.timeline().Keys {
			meet(o, k.Material)
		}
		if len(o.written.From) == 0 && slices.ContainsFunc(c.Names, func(name string) bool { return dane.Covers(name, o.host) }) {
			found[o] = true
		}
	}
	return slices.Collect(maps.Keys(found)), known
}

// digests computes the associations that the digests alone tell.
func digests(c control.Certificate) associate {
	return func(k dane.Combination) (dane.Association, error) {
		a := dane.Association{Combination: k}
		leaf := k.MatchingType == dane.SHA256 && (k.Usage == dane.PKIXEE || k.Usage == dane.DANEEE)
		switch {
		case leaf && k.Selector == dane.SPKI:
			a.Data = c.SPKI
		case leaf && c.SHA256 != "":
			a.Data = c.SHA256
		default:
			return a, dane.ErrNoCertificate
		}
		return a, nil
	}
}

func digest(spki string) string {
	a, err := dane.Material{Leaf: dane.Fingerprint{SPKI: spki}}.Association(
		dane.Combination{Usage: dane.DANEEE, Selector: dane.SPKI, MatchingType: dane.SHA256})
	if err != nil {
		return ""
	}
	return hex.EncodeToString([]byte(a.Data))
}

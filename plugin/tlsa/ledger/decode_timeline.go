package ledger

import (
	"github.com/coredns-tlsa/coredns-tlsa/plugin/tlsa/dane"
	"github.com/coredns-tlsa/coredns-tlsa/plugin/tlsa/rollover"
)

func (r *reader) timeline() *rollover.Timeline {
	t := &rollover.Timeline{ObservedAt: r.stamp()}
	r.base = t.ObservedAt
	t.NoneSince = r.stamp()
	t.TTL = r.ttl()
	t.OldTTLs = list(r, func() rollover.TTLUse {
		return rollover.TTLUse{TTL: r.ttl(), Until: r.stamp()}
	})
	t.Combinations = list(r, r.combination)
	t.Keys = list(r, r.key)
	t.Fixed = r.fixed(t.Keys)
	t.Associations = list(r, func() rollover.Times {
		return rollover.Times{
			Association:  r.association(t.Keys),
			First:        r.flags(1)[0],
			PublishedAt:  r.stamp(),
			ReadyAt:      r.stamp(),
			PublishedTTL: r.ttl(),
		}
	})
	if r.err == nil && len(r.b) > 0 {
		if r.byte() != operatorPart {
			r.fail()
		}
		r.operator(t)
	}
	return t
}

func (r *reader) fixed(keys []rollover.Key) []rollover.Fixed {
	return list(r, func() rollover.Fixed {
		return rollover.Fixed{
			Association: r.association(keys),
			Zone:        r.flags(1)[0],
			RetiredAt:   r.stamp(),
			RetiredTTL:  r.ttl(),
		}
	})
}

func (r *reader) operator(t *rollover.Timeline) {
	t.WithdrawnAt = r.stamp()
	t.Revoked = list(r, func() rollover.Revocation {
		v := rollover.Revocation{Target: rollover.Target{Key: r.flags(1)[0], Data: r.text()}, At: r.stamp(), TTL: r.ttl()}
		v.Keys = list(r, r.key)
		v.Fixed = r.fixed(v.Keys)
		return v
	})
}

func (r *reader) combination() dane.Combination {
	n := r.byte()
	if n >= 24 {
		r.fail()
	}
	return dane.Combination{
		Usage:        dane.Usage(n / 6),
		Selector:     dane.Selector(n / 3 % 2),
		MatchingType: dane.MatchingType(n % 3),
	}
}

func (r *reader) association(keys []rollover.Key) dane.Association {
	c := r.combination()
	n := r.length(len(keys))
	if r.err != nil {
		return dane.Association{}
	}
	if n == 0 {
		return dane.Association{Combination: c, Data: r.text()}
	}
	return dane.Association{Combination: c, Data: derive(&keys[n-1].Material, c)}
}

func (r *reader) key() rollover.Key {
	f := r.flags(3)
	k := rollover.Key{Initial: f[0], Ungated: f[1], Frozen: f[2]}
	k.Material.Leaf = r.fingerprint()
	k.Material.Issuer = r.issuer()
	k.Material.NotAfter = r.wall(r.base.Wall)
	k.Lineage = r.text()
	var last rollover.Place
	k.Places = list(r, func() rollover.Place {
		f := r.flags(2)
		p := rollover.Place{Staged: f[0], Withdrawn: f[1]}
		p.Root = r.path(last.Root)
		p.Lineage = r.path(p.Root)
		p.File = r.path(p.Lineage)
		last = p
		return p
	})
	k.SeenAt = r.stamp()
	k.ActiveAt = r.stamp()
	k.RetiredAt = r.stamp()
	k.RetiredTTL = r.ttl()
	return k
}

func (r *reader) fingerprint() dane.Fingerprint {
	form := r.byte()
	f := dane.Fingerprint{SPKI: r.text()}
	switch form &^ der {
	case noDigests:
	case digests:
		f.SHA256 = string(r.take(32))
		f.SHA512 = string(r.take(64))
	case anyDigests:
		f.SHA256 = r.text()
		f.SHA512 = r.text()
	default:
		r.fail()
	}
	if form&der != 0 {
		f.DER = r.text()
	}
	return f
}

func (r *reader) issuer() dane.Fingerprint {
	switch r.byte() {
	case 0:
		return dane.Fingerprint{}
	case 1:
		id := issuerID{}
		copy(id[:], r.take(len(id)))
		if f, ok := r.issuers[id]; ok && r.err == nil {
			r.used = append(r.used, id)
			return f
		}
	}
	r.fail()
	return dane.Fingerprint{}
}

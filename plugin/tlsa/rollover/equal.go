package rollover

import "slices"

// Equal tells whether both say the same.
func (t *Timeline) Equal(u *Timeline) bool {
	return t == u || t.ObservedAt == u.ObservedAt && t.NoneSince == u.NoneSince && t.WithdrawnAt == u.WithdrawnAt && t.TTL == u.TTL &&
		slices.Equal(t.OldTTLs, u.OldTTLs) && slices.Equal(t.Combinations, u.Combinations) &&
		slices.EqualFunc(t.Keys, u.Keys, Key.equal) && slices.Equal(t.Fixed, u.Fixed) && slices.Equal(t.Associations, u.Associations) &&
		slices.EqualFunc(t.Revoked, u.Revoked, Revocation.equal)
}

func (k Key) equal(l Key) bool {
	return k.Material == l.Material && k.Lineage == l.Lineage && slices.Equal(k.Places, l.Places) &&
		k.SeenAt == l.SeenAt && k.ActiveAt == l.ActiveAt && k.RetiredAt == l.RetiredAt && k.RetiredTTL == l.RetiredTTL &&
		k.Initial == l.Initial && k.Ungated == l.Ungated && k.Frozen == l.Frozen
}

func (r Revocation) equal(s Revocation) bool {
	return r.Target == s.Target && r.At == s.At && r.TTL == s.TTL && slices.EqualFunc(r.Keys, s.Keys, Key.equal) && slices.Equal(r.Fixed, s.Fixed)
}

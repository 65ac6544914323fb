package rollover

import "slices"

// Unrecorded gives the keys of the decided timeline which t, the recorded one, lacks, or has as Retired although they have
// returned since. Until they can be recorded, the next decision starts from t.With(them): none of them is Retired, because that
// counts from when it is recorded.
func (t *Timeline) Unrecorded(decided []Key) []Key {
	var keys []Key
	for _, k := range decided {
		if slices.ContainsFunc(t.Keys, func(known Key) bool {
			return same(known.Material, k.Material) && (known.RetiredAt.IsZero() || known.RetiredAt == k.RetiredAt)
		}) {
			continue
		}
		k.RetiredAt, k.RetiredTTL = Stamp{}, 0
		keys = append(keys, k)
	}
	return keys
}

// With gives t with unrecorded keys in place of its own. An owner with keys has records, recorded or not, so that what comes
// next is not its first.
func (t Timeline) With(unrecorded []Key) Timeline {
	if len(unrecorded) == 0 {
		return t
	}
	keys := make([]Key, 0, len(t.Keys)+len(unrecorded))
	for _, k := range t.Keys {
		if !slices.ContainsFunc(unrecorded, func(u Key) bool { return same(u.Material, k.Material) }) {
			keys = append(keys, k)
		}
	}
	t.Keys, t.NoneSince = append(keys, unrecorded...), Stamp{}
	return t
}

package certdir

// A family is the lineages of a directory by key: most directories have one, others many.
type family struct {
	only *lineage
	more map[string]*lineage // all of them where there have been several
}

func (f *family) of(key string) *lineage {
	if f.only != nil && f.only.key == key {
		return f.only
	}
	return f.more[key]
}

func (f *family) add(l *lineage) {
	switch {
	case f.more != nil:
		f.more[l.key] = l
	case f.only == nil:
		f.only = l
	default:
		f.more = map[string]*lineage{f.only.key: f.only, l.key: l}
		f.only = nil
	}
}

func (f *family) drop(l *lineage) {
	if f.only == l {
		f.only = nil
	} else if delete(f.more, l.key); len(f.more) == 0 {
		f.more = nil
	}
}

func (f *family) empty() bool { return f.only == nil && len(f.more) == 0 }

// all iterates in no order; what is dropped meanwhile does not come.
func (f *family) all(yield func(*lineage) bool) {
	if f.only != nil && !yield(f.only) {
		return
	}
	for _, l := range f.more {
		if !yield(l) {
			return
		}
	}
}

package publish

// few is a set that most often has one member. The zero few is empty.
type few[T comparable] struct {
	one  T              // unless there are more
	more map[T]struct{} // all of them, where there have been several
}

func (f few[T]) with(x T) few[T] {
	var none T
	switch {
	case f.more == nil && (f.one == none || f.one == x):
		f.one = x
		return f
	case f.more == nil:
		f = few[T]{more: map[T]struct{}{f.one: {}}}
	}
	f.more[x] = struct{}{}
	return f
}

func (f few[T]) without(x T) few[T] {
	if f.more == nil && f.one == x {
		return few[T]{}
	}
	delete(f.more, x)
	return f
}

func (f few[T]) empty() bool {
	var none T
	return f.one == none && len(f.more) == 0
}

// all gives the members.
func (f few[T]) all(yield func(T) bool) {
	var none T
	if f.one != none && !yield(f.one) {
		return
	}
	for x := range f.more {
		if !yield(x) {
			return
		}
	}
}

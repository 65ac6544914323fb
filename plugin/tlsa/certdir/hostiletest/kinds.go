package hostiletest

import (
	"cmp"
	"slices"
)

// Kinds are all kinds, in a constant order.
func Kinds() []Kind {
	kinds := slices.Concat(textKinds(), layoutKinds(), derKinds(), meaningKinds())
	slices.SortFunc(kinds, func(a, b Kind) int { return cmp.Compare(a.Name, b.Name) })
	return kinds
}

// Layouts are the good files that a test keeps beside the bad ones.
func Layouts() []*Carrier { return append(layouts(), chainPEM, certDER, combined) }

// PutGood puts a good file of a subject in a layout.
func (l *Carrier) PutGood(c *Case, s *Subject) error { return l.put(c, l.good(c, s)) }

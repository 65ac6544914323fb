package main

import (
	"context"
	"slices"
	"strings"
	"time"

	"github.com/coredns-tlsa/coredns-tlsa/plugin/tlsa/dane"
)

// renewalLimit bounds the questions about a renewal with the same key, which no DNS outage may hold back.
const renewalLimit = 30 * time.Second

// isUnchanged tells that clients will see no difference: the staged certificate needs no record that the installed one does
// not need, and is matched wherever records are shown. The zone may have others than we were told of, such as 3 0 1, which
// change with each certificate. Where nobody answers, or shows any record, nothing speaks against the installation.
func (i *installation) isUnchanged(ctx context.Context, wishes []wish) bool {
	if !i.isInstalled(wishes) {
		return false
	}
	fresh := i.renewed()
	if len(fresh) == 0 {
		return true
	}
	flags := i.flags
	flags.state = ""
	w, err := flags.waiter(i.app, wishes, newReporter(i.app.stderr, i.app.now))
	if err != nil {
		return true // there is no resolver to ask
	}
	ctx, cancel := context.WithTimeout(ctx, renewalLimit)
	defer cancel()
	for _, wish := range wishes {
		for _, s := range w.look(ctx, wish.owner) {
			misses := func(c certified) bool { return !c.isMatched(s.rrset) }
			if s.broken == "" && len(s.rrset) > 0 && slices.ContainsFunc(fresh, misses) {
				i.app.talk("%s has other records: none that the new certificate matches is among %s, which %s shows. It is not installed "+
					"at once, though its key is the installed one: give %s",
					wish.owner, strings.Join(combinationsOf(s.rrset), ", "), s.point,
					`--as "`+strings.Join(combinationsOf(s.rrset), `" --as "`)+`"`)
				return false
			}
		}
	}
	return true
}

// combinationsOf are the combinations of an RRset, each once.
func combinationsOf(rrset []dane.Association) (out []string) {
	for _, a := range rrset {
		if c := a.Combination.String(); !slices.Contains(out, c) {
			out = append(out, c)
		}
	}
	return out
}

// A certified is a leaf with each issuer above it that the files hold.
type certified []dane.Material

// renewed are the staged leaves that are not installed with their issuer.
func (i *installation) renewed() (out []certified) {
	var installed []dane.Material
	for _, s := range i.to.subjects() {
		installed = append(installed, s.Material)
	}
	certs := i.from.certs()
	leaves := dane.Leaves(certs, nil)
	isLeaf := func(c *dane.Certificate) bool {
		return slices.ContainsFunc(leaves, func(l dane.Leaf) bool { return l.SHA256 == c.SHA256 })
	}
	above := slices.DeleteFunc(certs, isLeaf)
	for _, leaf := range leaves {
		if !slices.Contains(installed, leaf.Material()) {
			out = append(out, certifiedBy(leaf, above))
		}
	}
	return out
}

func certifiedBy(leaf dane.Leaf, above []*dane.Certificate) certified {
	p := certified{leaf.Material()}
	above = slices.Clone(above)
	for at := leaf.IssuedBy; at != nil; {
		above = slices.DeleteFunc(above, func(c *dane.Certificate) bool { return c.SHA256 == at.SHA256 })
		next := dane.Leaves([]*dane.Certificate{at}, above)
		if len(next) == 0 || next[0].IssuedBy == nil {
			break
		}
		at = next[0].IssuedBy
		p = append(p, dane.Material{Leaf: leaf.Fingerprint, Issuer: at.Fingerprint})
	}
	return p
}

// isMatched tells whether a client accepts the leaf by a record. Of each usage and selector it looks at the strongest digest
// alone, and at whole certificates and keys, which are none (RFC 7671 9).
func (p certified) isMatched(rrset []dane.Association) bool {
	return slices.ContainsFunc(rrset, func(a dane.Association) bool {
		isStronger := func(o dane.Association) bool {
			return o.Usage == a.Usage && o.Selector == a.Selector && o.MatchingType > a.MatchingType
		}
		if a.MatchingType != dane.Full && slices.ContainsFunc(rrset, isStronger) {
			return false
		}
		return slices.ContainsFunc(p, func(m dane.Material) bool {
			own, err := m.Association(a.Combination)
			return err == nil && own == a
		})
	})
}

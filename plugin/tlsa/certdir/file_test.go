package certdir

import (
	"slices"
	"testing"

	"github.com/coredns-tlsa/coredns-tlsa/plugin/tlsa/dane"
)

func TestFileKnowsEachLinkThatLedToIt(t *testing.T) {
	a, b, c := hop{"/a", "x"}, hop{"/b", "x"}, hop{"/b", "y"}
	lists := [][]hop{nil, {a}, {b}, {a, b}, {b, a}, {c, b}, {a, b, c}, {a, c, b}}
	w := New(Config{})
	for i, hops := range lists {
		l := &lineage{dir: &dir{root: &root{}}}
		look := func(hops []hop) status { return status{path: "/a.pem", hops: hops, bad: problem(Empty, "")} }
		f := w.gather(l, w.begun, []status{look(hops)}, &w.reader).files[0]
		if got := slices.Collect(f.hops); !slices.Equal(got, hops) {
			t.Errorf("%v for %v", got, hops)
		}
		for j, other := range lists {
			if st := look(other); f.is(&st, w.seed) != (i == j) {
				t.Errorf("%v and %v count as equal: %t", hops, other, i != j)
			}
		}
	}
}

func TestFilesShareOnlyEqualIssuers(t *testing.T) {
	w := New(Config{})
	a, b := &dane.Certificate{}, &dane.Certificate{}
	links := &moreFile{hops: []hop{{"/a", "x"}}}
	lists := [][]*dane.Certificate{{a}, {b}, {a, b}, {b, a}}
	for range 2 {
		for _, issuers := range lists {
			if m := w.more(nil, issuers); !slices.Equal(m.issuers, issuers) || m.hops != nil || m != w.more(nil, issuers) {
				t.Errorf("%+v", m)
			}
			if m := w.more(links, issuers); !slices.Equal(m.issuers, issuers) || !slices.Equal(m.hops, links.hops) || links.issuers != nil {
				t.Errorf("%+v behind a link", m)
			}
		}
	}
}

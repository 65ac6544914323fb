package publish

import (
	"fmt"
	"maps"
	"slices"
	"testing"

	"github.com/coredns-tlsa/coredns-tlsa/plugin/tlsa/certdir"

	"github.com/google/go-cmp/cmp"
)

func TestSurveyMapsAsThePublisherDoes(t *testing.T) {
	cfg := stars(star443, "_25._tcp.*.mx.example.org.")
	chosen := Owner{Name: "_465._tcp.else.example.org.", Host: "else.example.org.", From: []string{"two", "/certs/three", "nobody"}, Policy: policy()}
	picky := Owner{Name: "_993._tcp.*.example.org.", Host: "*.example.org.", From: []string{"two", "absent"}, Policy: policy()}
	cfg.Owners, cfg.Patterns = append(cfg.Owners, owner25(), chosen), append(cfg.Patterns, picky)
	for _, mixed := range []bool{false, true} {
		onStage(t, func(s *stage) {
			s.put("/certs", "mail.example.org", mailLeaf("a"), leaf("b", "1", "www.example.org", "else.where.test"))
			s.put("/certs", "two", leaf("c", "1", "two.example.org", "*.example.org"))
			s.put("/certs", "three", leaf("d", "1", "a.mx.example.org", "b.a.mx.example.org"))
			s.put("/certs", "four", leaf("e", "1", "*.mx.example.org"))
			s.put("/next", "mail.example.org", bareLeaf("f"))
			s.put("/next", "three", bareLeaf("g"))
			s.put("/next", "www.example.org", bareLeaf("h"))
			if mixed {
				root := *s.tree.roots["/certs"]
				root.MixedOwners = true
				s.tree.roots["/certs"] = &root
			}
			s.start(cfg)
			var found certdir.Changes
			for _, r := range s.tree.roots {
				found.Roots = append(found.Roots, r)
			}
			for _, id := range slices.Sorted(maps.Keys(s.tree.lineages)) {
				found.Lineages = append(found.Lineages, s.tree.lineages[id])
			}
			got, want := map[string][]string{}, map[string][]string{}
			strays := map[string][]string{}
			for _, share := range Survey(cfg, found) {
				for _, taken := range share.Taken {
					got[share.Name] = append(got[share.Name], fmt.Sprintf("%s %q", taken.Lineage.ID, taken.Leaf.Material.Leaf.SPKI))
				}
				if len(share.Strays) > 0 {
					strays[share.Name] = share.Strays
				}
			}
			for _, o := range s.p.owners {
				for _, l := range o.seats {
					for _, i := range l.leaves {
						want[o.name()] = append(want[o.name()], fmt.Sprintf("%s %q", l.ID, l.Leaves[i].Material.Leaf.SPKI))
					}
				}
			}
			if len(want) < 2 {
				t.Errorf("only %v", want)
			}
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("mixed %v (-publisher +survey):\n%s", mixed, diff)
			}
			if diff := cmp.Diff(map[string][]string{chosen.Name: {"nobody"}, picky.Name: {"absent"}}, strays); diff != "" {
				t.Errorf("strays (-want +got):\n%s", diff)
			}
		})
	}
}

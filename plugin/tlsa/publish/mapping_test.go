package publish

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/coredns-tlsa/coredns-tlsa/plugin/tlsa/certdir"
	"github.com/coredns-tlsa/coredns-tlsa/plugin/tlsa/rollover"
)

func synctestWait() { synctest.Wait() }

func TestCertificatesMapToOwnersByTheirNames(t *testing.T) {
	const web = "_443._tcp.www.example.org."
	owners := []Owner{owner25(), {Name: web, Host: "www.example.org.", Policy: policy()}}
	for claim, tc := range map[string]struct {
		leaf      certdir.Leaf
		mail, web bool
	}{
		"an exact name":                            {leaf("k", "1", "mail.example.org"), true, false},
		"two names":                                {leaf("k", "1", "mail.example.org", "www.example.org"), true, true},
		"a wildcard covers one label":              {leaf("k", "1", "*.example.org"), true, true},
		"a wildcard of the name above does not":    {leaf("k", "1", "*.org"), false, false},
		"a longer name with the same end does not": {leaf("k", "1", "notmail.example.org"), false, false},
		"a name above does not":                    {leaf("k", "1", "example.org"), false, false},
		"no name maps nowhere":                     {leaf("k", "1"), false, false},
	} {
		t.Run(claim, func(t *testing.T) {
			onStage(t, func(s *stage) {
				s.put("/certs", "some", tc.leaf)
				s.start(config(owners...))
				for owner, is := range map[string]bool{mail: tc.mail, web: tc.web} {
					if is {
						s.want(owner, "k")
					} else {
						s.want(owner)
					}
				}
			})
		})
	}
}

func TestFromTakesExactlyItsLineages(t *testing.T) {
	o := owner25()
	o.From = []string{"one", "/certs/two"}
	onStage(t, func(s *stage) {
		s.put("/certs", "one", leaf("a", "1"))
		s.put("/certs", "two", leaf("b", "1", "else.example.net"))
		s.put("/certs", "three", mailLeaf("c"))
		s.put("/next", "one", bareLeaf("d"))
		s.start(config(o))
		s.want(mail, "a", "b", "d")
	})
}

func TestBareKeyGoesWhereItsLineageGoesOrToTheHostItNames(t *testing.T) {
	onStage(t, func(s *stage) {
		s.put("/next", "site", bareLeaf("a"))
		s.put("/next", "mail.example.org", bareLeaf("b"))
		s.put("/next", "stray", bareLeaf("c"))
		s.start(config())
		s.want(mail, "b")
		if s.log.figures().Problems[UnmappedKey] != 2 {
			t.Errorf("problems %v, want two keys that nothing takes", s.log.figures().Problems)
		}
		s.put("/certs", "site", mailLeaf("live"))
		s.want(mail, "a", "b", "live")
	})
}

func TestRootOfSeveralUsersNeedsFrom(t *testing.T) {
	named := Owner{Name: "_465._tcp.mail.example.org.", Host: "mail.example.org.", From: []string{"mail"}, Policy: policy()}
	onStage(t, func(s *stage) {
		s.put("/certs", "mail", mailLeaf("k"))
		s.start(config(owner25(), named))
		s.want(mail, "k")
		mixed := *s.tree.roots["/certs"]
		mixed.MixedOwners = true
		s.tree.roots["/certs"] = &mixed
		s.put("/certs", "intruder", mailLeaf("evil"))
		s.after(72 * time.Hour)
		s.want(mail, "k")
		s.want(named.Name, "k")
		if s.log.figures().Problems[MixedOwners] != 1 || s.log.figures().Problems[rollover.SourceMissing] != 1 {
			t.Errorf("problems %v", s.log.figures().Problems)
		}
	})
}

func TestHalfOfARootGoneFreezesItsRemovals(t *testing.T) {
	for claim, tc := range map[string]struct {
		gone []string
		kept bool
	}{
		"one of three":       {[]string{"/certs/a"}, false},
		"two of three":       {[]string{"/certs/a", "/certs/b"}, true},
		"all, as an unmount": {[]string{"/certs/a", "/certs/b", "/certs/c"}, true},
	} {
		t.Run(claim, func(t *testing.T) {
			onStage(t, func(s *stage) {
				for _, name := range []string{"a", "b", "c"} {
					s.put("/certs", name, mailLeaf(name))
				}
				s.start(config())
				s.after(time.Hour)
				s.remove(tc.gone...)
				for range 5 {
					s.after(time.Minute)
					s.look()
				}
				s.after(49 * time.Hour)
				if tc.kept {
					s.want(mail, "a", "b", "c")
				} else {
					s.want(mail, "b", "c")
				}
			})
		})
	}
}

func TestUnmountBeforeTheStartFreezesToo(t *testing.T) {
	onStage(t, func(s *stage) {
		s.put("/certs", "a", mailLeaf("a"))
		s.put("/certs", "b", mailLeaf("b"))
		s.start(config())
		s.after(time.Hour)
		s.p.Stop()
		s.p = nil
		s.tree.unrun()
		delete(s.tree.lineages, "/certs/a")
		s.start(config())
		for range 5 {
			s.after(time.Minute)
			s.look()
		}
		s.after(72 * time.Hour)
		s.want(mail, "a", "b")
		if s.log.figures().Problems[rollover.RemovalsFrozen] != 1 {
			t.Errorf("problems %v", s.log.figures().Problems)
		}
		s.put("/certs", "a", mailLeaf("a"))
		if len(s.log.figures().Problems) != 0 {
			t.Errorf("after the return: problems %v", s.log.figures().Problems)
		}
	})
}

func TestUnreadRootAnswersSERVFAILUntilItIsRead(t *testing.T) {
	onStage(t, func(s *stage) {
		s.tree = newTree()
		s.tree.roots["/certs"].Problems = []rollover.Problem{{Reason: "missing-root", Text: "not there"}}
		s.start(config())
		if e, _ := s.p.Table().Lookup(mail); e.Set == nil || !e.Set.Unknown || s.p.Known() {
			t.Errorf("entry %+v, known %v", e, s.p.Known())
		}
		s.tree.roots["/certs"].Problems = nil
		s.look()
		s.want(mail)
		if !s.p.Known() {
			t.Error("not known, though every root has been read")
		}
		s.put("/certs", "mail", mailLeaf("k"))
		s.want(mail, "k")
	})
}

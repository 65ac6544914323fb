package publish

import (
	"testing"
	"time"
)

const netName = "_25._tcp.mail.example.net."

// twin prepares a publisher over a tree of its own with the same files.
func (s *stage) twin(cfg Config) *Publisher {
	s.t.Helper()
	lineages := s.tree.lineages
	s.tree = newTree()
	s.tree.lineages = lineages
	p, err := s.prepare(cfg)
	if err != nil {
		s.t.Fatal(err)
	}
	return p
}

func TestSlowStartOfTwoDirectivesKeepsBothTimelines(t *testing.T) {
	onStage(t, func(s *stage) {
		net := config(Owner{Name: netName, Host: "mail.example.net.", Policy: policy()})
		net.Zones = []string{"example.net."}
		s.put("/certs", "mail", mailLeaf("k"))
		s.put("/certs", "net", leaf("n1", "1", "mail.example.net"))
		run := func(slow time.Duration) (a, b *Publisher) {
			a, b = s.twin(config()), s.twin(net)
			s.after(slow)
			for _, p := range []*Publisher{a, b} {
				p.Start()
			}
			for _, p := range []*Publisher{a, b} {
				p.Inherit()
			}
			synctestWait()
			return a, b
		}
		a, b := run(0)
		s.after(3 * time.Hour)
		s.put("/certs", "net", leaf("n2", "1", "mail.example.net"))
		a.Stop()
		b.Stop()
		a, b = run(2 * giveUp)
		if timeline, _ := s.disk.stored(netName); len(timeline.Keys) != 2 {
			t.Errorf("the ledger has %d keys of %s, want the retired one too", len(timeline.Keys), netName)
		}
		s.p = b
		s.want(netName, "n1", "n2")
		a.Stop()
	})
}

func TestFailedReloadLeavesNoTimelineThatALaterOneBelieves(t *testing.T) {
	onStage(t, func(s *stage) {
		s.put("/certs", "mail", mailLeaf("k1"))
		s.start(config())
		s.after(100 * time.Hour)
		two := config()
		two.Zones = []string{"example.net.", "example.org."}
		old, oldTree := s.p, s.tree
		s.twin(two)
		AbortStarts()
		s.p, s.tree = old, oldTree
		s.put("/certs", "mail", mailLeaf("k2"))
		s.after(10 * time.Hour)
		s.put("/certs", "mail", mailLeaf("k3"))
		s.after(10 * time.Hour)
		s.want(mail, "k1", "k2", "k3")
		next := s.twin(two)
		old.Stop()
		s.p = next
		next.Start()
		next.Inherit()
		synctestWait()
		s.want(mail, "k1", "k2", "k3")
		if got := s.states(mail); got != "active, retired, retired" {
			t.Errorf("after the reload that worked: %s", got)
		}
	})
}

func TestStartAfterItWasGivenUpSeesTheDirectoriesAnew(t *testing.T) {
	onStage(t, func(s *stage) {
		for _, name := range []string{"a", "b", "c"} {
			s.put("/certs", name, mailLeaf(name))
		}
		p := s.twin(config())
		s.p = p
		s.after(2 * giveUp)
		delete(s.tree.lineages, "/certs/a")
		p.Start()
		p.Inherit()
		synctestWait()
		for range 5 {
			s.after(time.Minute)
			s.look()
		}
		s.after(49 * time.Hour)
		s.want(mail, "b", "c")
	})
}

// picky is a zone of which one name cannot be asked.
type picky struct {
	*zoneData
	bad, cut string
}

func (z picky) Look(owner string) ZoneView {
	v := z.zoneData.Look(owner)
	switch owner {
	case z.bad:
		return ZoneView{}
	case z.cut:
		v.Cut = "www.example.org."
	}
	return v
}

func TestNameThatCannotBeAskedBlindsNoOther(t *testing.T) {
	onStage(t, func(s *stage) {
		const web = "_443._tcp.www.example.org."
		s.put("/certs", "mail", mailLeaf("k"))
		p := New(config(owner25(), Owner{Name: web, Host: "www.example.org.", Policy: policy()}), picky{s.zone, mail, web}, s.log, s.log)
		p.open = func(string) (store, error) { return s.disk.open() }
		p.watch = watcherOf(s.tree)
		s.p = p
		if err := p.Prepare(); err != nil {
			t.Fatal(err)
		}
		p.Start()
		synctestWait()
		if e, ok := p.Table().Lookup(web); ok {
			t.Errorf("an owner below a cut is served: %+v", e)
		}
		s.want(mail, "k")
		if got := s.log.figures().Problems; got[BelowCut] != 1 || got[ZoneMissing] != 1 {
			t.Errorf("problems %v", got)
		}
	})
}

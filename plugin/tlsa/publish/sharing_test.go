package publish

import (
	"slices"
	"testing"
	"time"

	"github.com/coredns-tlsa/coredns-tlsa/plugin/tlsa/certdir"
	"github.com/coredns-tlsa/coredns-tlsa/plugin/tlsa/control"
	"github.com/coredns-tlsa/coredns-tlsa/plugin/tlsa/dane"
	"github.com/coredns-tlsa/coredns-tlsa/plugin/tlsa/rollover"
	"github.com/coredns-tlsa/coredns-tlsa/plugin/tlsa/zone"
)

const (
	www25  = "_25._tcp.www.example.org."
	www587 = "_587._tcp.www.example.org."
)

// siblings starts a publisher with three patterns, the last of which has a policy of its own, and a host that they serve.
func (s *stage) siblings() {
	cfg := stars(star443, "_25._tcp.*.example.org.", "_587._tcp.*.example.org.")
	last := &cfg.Patterns[slices.IndexFunc(cfg.Patterns, func(o Owner) bool { return o.Name == "_587._tcp.*.example.org." })]
	last.Policy.Combinations = []dane.Combination{{Usage: dane.DANEEE, Selector: dane.Cert, MatchingType: dane.SHA256}}
	s.enter("/certs", "www", leaf("old", "1", "www.example.org"))
	s.start(cfg)
}

func (s *stage) owner(name string) *owner {
	s.p.mu.Lock()
	defer s.p.mu.Unlock()
	return s.p.atlas.find(name)
}

func TestSiblingsShareATimelineOnlyWhereItIsTheSame(t *testing.T) {
	onStage(t, func(s *stage) {
		s.tree = newTree()
		s.siblings()
		s.after(3 * time.Hour)
		one, two, other := s.owner(www), s.owner(www25), s.owner(www587)
		if one.record != two.record || one.site != two.site {
			t.Error("equal owners of a host have timelines of their own")
		}
		if one.record == other.record {
			t.Error("an owner has the timeline of a sibling with another policy")
		}
		if one.record.open != nil {
			t.Error("the timeline of a settled owner is not packed")
		}
		if one.extra != nil {
			t.Errorf("an owner with nothing due has %+v", *one.extra)
		}
		before := *one.timeline()
		s.put("/certs", "www", leaf("new", "2", "www.example.org"))
		s.after(time.Minute)
		if _, err := s.p.Act(control.Action{Verb: control.Withdraw, Owner: www}, false); err != nil {
			t.Fatal(err)
		}
		s.after(time.Minute)
		if one.record == two.record || one.timeline().WithdrawnAt.IsZero() || !two.timeline().WithdrawnAt.IsZero() {
			t.Error("what the operator said of one owner was heard by its sibling")
		}
		if e, _ := s.p.Table().Lookup(www); e.Set.Len() != 0 {
			t.Error("a withdrawn owner has the answer of its sibling")
		}
		s.want(www25, "old", "new")
		if len(before.Keys) != 1 || !before.Keys[0].RetiredAt.IsZero() || before.Keys[0].Material.Leaf.SPKI != spki("old") {
			t.Error("a timeline that was shared has changed")
		}
	})
}

func TestHostsOfACertificateShareATimelineOnlyWhereItIsTheSame(t *testing.T) {
	const mail, web = "_443._tcp.mail.example.org.", "_443._tcp.www.example.org."
	share := func(s *stage) bool {
		s.p.mu.Lock()
		defer s.p.mu.Unlock()
		one, two := s.p.atlas.find(mail), s.p.atlas.find(web)
		return one.site != two.site && one.record == two.record
	}
	answers := func(s *stage, name string) *zone.Set {
		e, _ := s.p.Table().Lookup(name)
		return e.Set
	}
	onStage(t, func(s *stage) {
		s.tree = newTree()
		s.enter("/certs", "mail", leaf("old", "1", "mail.example.org", "www.example.org", "imap.example.org"))
		s.start(stars(star443))
		for _, when := range []string{"at once", "settled", "after a renewal", "after a restart"} {
			if !share(s) || answers(s, mail) != answers(s, web) {
				t.Errorf("%s: hosts of one certificate have timelines or answers of their own", when)
			}
			switch when {
			case "settled":
				s.put("/certs", "mail", leaf("new", "2", "mail.example.org", "www.example.org", "imap.example.org"))
				s.after(time.Minute)
			case "after a renewal":
				s.kill()
				s.start(stars(star443))
			default:
				s.after(3 * time.Hour)
			}
		}
		s.want(web, "new", "old")
		if _, err := s.p.Act(control.Action{Verb: control.Withdraw, Owner: web}, false); err != nil {
			t.Fatal(err)
		}
		s.after(time.Minute)
		if share(s) || answers(s, web).Len() != 0 {
			t.Error("a withdrawn owner has the timeline or the answer of another host")
		}
		s.want(mail, "new", "old")
	})
}

func TestAnswersOfARecordAreSharedOnlyWhereTheyAreTheSame(t *testing.T) {
	var r record
	set := func(ttl uint32) *zone.Set {
		return zone.NewSet([]dane.Association{{Combination: spki311, Data: "x"}}, ttl)
	}
	first, other := set(3600), set(60)
	for i, tc := range []struct{ set, want *zone.Set }{{first, first}, {set(3600), first}, {other, other}, {set(3600), first}} {
		if got := r.answer(tc.set); got != tc.want {
			t.Errorf("%d: %+v is not shared as it should be: %+v", i, tc.set, got)
		}
	}
}

func TestWhatWaitsTogetherIsReadyTogether(t *testing.T) {
	onStage(t, func(s *stage) {
		s.tree = newTree()
		s.siblings()
		one, two := s.owner(www), s.owner(www25)
		if one.extra == nil || two.extra == nil || one.extra.due != two.extra.due {
			t.Errorf("siblings wait for moments of their own: %+v %+v", one.extra, two.extra)
		}
	})
}

// TestPackedSaysAllThatWasWritten packs timelines that only seem to repeat what their lineage says.
func TestPackedSaysAllThatWasWritten(t *testing.T) {
	l := leaf("old", "1", "www.example.org")
	l.Files = []string{"/certs/www/cert.pem"}
	found := &certdir.Lineage{ID: "/certs/www", Name: "www", Root: "/certs", Leaves: []certdir.Leaf{l}}
	at := rollover.Stamp{Wall: time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC), Service: time.Second}
	a, err := l.Material.Association(spki311)
	if err != nil {
		t.Fatal(err)
	}
	for what, tc := range map[string]struct {
		change func(*rollover.Timeline)
		open   bool
	}{
		"what the lineage says":          {change: func(*rollover.Timeline) {}},
		"another name of the lineage":    {change: func(t *rollover.Timeline) { t.Keys[0].Lineage = "mail" }},
		"another file":                   {change: func(t *rollover.Timeline) { t.Keys[0].Places[0].File = "/certs/www/chain.pem" }},
		"a pin":                          {change: func(t *rollover.Timeline) { t.Associations[0].Data = "pinned" }},
		"no root":                        {change: func(t *rollover.Timeline) { t.Keys[0].Places[0].Root = "" }, open: true},
		"no name":                        {change: func(t *rollover.Timeline) { t.Keys[0].Lineage = "" }, open: true},
		"an association without data":    {change: func(t *rollover.Timeline) { t.Associations[0].Data = "" }, open: true},
		"a certificate that nobody has":  {change: func(t *rollover.Timeline) { t.Keys[0].Material.Leaf.SHA256 = "x" }, open: true},
		"a moment between milliseconds":  {change: func(t *rollover.Timeline) { t.ObservedAt.Wall = at.Wall.Add(1) }, open: true},
		"an issuer that the file lacks":  {change: func(t *rollover.Timeline) { t.Keys[0].Material.Issuer.SPKI = "x" }, open: true},
		"a combination that lacks a key": {change: func(t *rollover.Timeline) { t.Associations[0].Usage = dane.DANETA }},
	} {
		t.Run(what, func(t *testing.T) {
			line := &rollover.Timeline{
				ObservedAt: at, TTL: 3600, Combinations: []dane.Combination{spki311},
				Keys: []rollover.Key{{Material: l.Material, Lineage: "www", SeenAt: at, ActiveAt: at, Initial: true,
					Places: []rollover.Place{{Root: "/certs", Lineage: "/certs/www", File: "/certs/www/cert.pem"}}}},
				Associations: []rollover.Times{{Association: a, PublishedAt: at, ReadyAt: at}},
			}
			tc.change(line)
			before := line.Clone()
			host := &site{seats: []seat{{lineage: &lineage{Lineage: found}, leaves: []int{0}}}}
			o := &owner{site: host}
			o.share(o.pack(newRecord(line)))
			if (o.record.open != nil) != tc.open || !o.timeline().Equal(&before) || !line.Equal(&before) {
				t.Errorf("packed %v: %+v, want %+v", o.record.open == nil, o.timeline(), before)
			}
		})
	}
}

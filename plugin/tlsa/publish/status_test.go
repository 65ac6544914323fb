package publish

import (
	"encoding/hex"
	"encoding/json"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/coredns-tlsa/coredns-tlsa/plugin/tlsa/control"
	"github.com/coredns-tlsa/coredns-tlsa/plugin/tlsa/control/schematest"
	"github.com/coredns-tlsa/coredns-tlsa/plugin/tlsa/dane"
	"github.com/coredns-tlsa/coredns-tlsa/plugin/tlsa/rollover"
)

// status is the block's document, of which the schema must approve.
func (s *stage) status() control.BlockStatus {
	s.t.Helper()
	b := s.p.Status("")
	document, err := json.Marshal(control.Status{Version: control.Version, Software: "test", Now: second(time.Now()), Blocks: []control.BlockStatus{b}})
	if err != nil {
		s.t.Error(err)
	}
	schema, err := os.ReadFile("../control/status.schema.json")
	if err == nil {
		err = schematest.Check(schema, document)
	}
	if err != nil {
		s.t.Error(err)
	}
	return b
}

// line is an association in words.
func line(a control.Association) string {
	at := func(t *time.Time) string {
		if t == nil {
			return "-"
		}
		return t.Sub(time.Date(2000, 1, 1, 0, 0, 0, 0, time.UTC)).String()
	}
	places := []string{}
	for _, p := range a.Places {
		places = append(places, strings.TrimSpace(p.Kind+" "+p.File))
	}
	return fmt.Sprintf("%.8s %s since %s, gated %t, %s at %s, ungated %t until %s, %q, %s", a.Data, a.State, at(a.Since), a.Gated,
		a.NextState, at(a.NextAt), a.Ungated, at(a.UngatedUntil), a.Lineage, strings.Join(places, " and "))
}

func (s *stage) lines(want map[string]string) {
	s.t.Helper()
	owners := s.status().Owners
	if len(owners) != 1 || owners[0].Name != mail {
		s.t.Errorf("owners %+v", owners)
		return
	}
	var got, lines []string
	for _, a := range owners[0].Associations {
		got = append(got, line(a))
	}
	for key, text := range want {
		lines = append(lines, keyDigest(key)[:8]+" "+text)
	}
	slices.Sort(got)
	slices.Sort(lines)
	if !slices.Equal(got, lines) {
		s.t.Errorf("got\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(lines, "\n"))
	}
}

func TestStatusTellsEveryStateWithItsTimes(t *testing.T) {
	onStage(t, func(s *stage) {
		cfg := config()
		pin, _ := dane.Material{Leaf: dane.Fingerprint{SPKI: spki("pin")}}.Association(spki311)
		cfg.Owners[0].Policy.Pins = []dane.Association{pin}
		s.put("/certs", "mail", mailLeaf("old"))
		s.start(cfg)
		const installed = `"mail", installed /certs/mail/fullchain.pem`
		s.lines(map[string]string{
			"old": "active since 0s, gated false,  at -, ungated false until -, " + installed,
			"pin": `active since 0s, gated false,  at -, ungated false until -, "", pin`,
		})
		s.after(3 * time.Hour)
		s.put("/next", "mail", bareLeaf("next"))
		pinned := `active since 0s, gated true,  at -, ungated false until -, "", pin`
		s.lines(map[string]string{
			"old":  "active since 0s, gated true,  at -, ungated false until -, " + installed,
			"next": `published since 3h0m0s, gated false, ready at 5h0m0s, ungated false until -, "mail", staged /next/mail/fullchain.pem`,
			"pin":  pinned,
		})
		s.after(time.Hour)
		s.put("/certs", "mail", mailLeaf("young"))
		s.lines(map[string]string{
			"old":   `retired since 4h0m0s, gated true, removed at 52h0m0s, ungated false until -, "mail", `,
			"next":  `published since 3h0m0s, gated false, ready at 5h0m0s, ungated false until -, "mail", staged /next/mail/fullchain.pem`,
			"young": "active since 4h0m0s, gated false,  at -, ungated true until 6h0m0s, " + installed,
			"pin":   pinned,
		})
		s.after(time.Hour)
		b := s.status()
		if b.NextChange == nil || b.Hold != 7200 || b.Grace != 172800 || !b.Known || b.Clocks.Service != 5*3600 || b.LedgerOrigin != "intact" {
			t.Errorf("block: %+v", b)
		}
		if got := b.Owners[0].Associations; !slices.ContainsFunc(got, func(a control.Association) bool { return a.State == "ready" && a.Gated }) {
			t.Errorf("nothing is ready: %+v", got)
		}
		if one := s.p.Status("_1._tcp.other."); len(one.Owners) != 0 {
			t.Errorf("an owner that nobody has: %+v", one.Owners)
		}
	})
}

// TestTimeToWaitForIsNeverTooEarly: whoever waits for the second that is told has waited long enough.
func TestTimeToWaitForIsNeverTooEarly(t *testing.T) {
	now := rollover.Stamp{Wall: time.Date(2026, 11, 22, 12, 0, 0, 300e6, time.UTC)}
	for _, d := range []time.Duration{time.Millisecond, 700 * time.Millisecond, time.Second} {
		if got, due := after(now, d), now.Wall.Add(d); got.Before(due) || got.Sub(due) >= time.Second || got.Nanosecond() != 0 {
			t.Errorf("after %s it is %s, and %s is told", d, due, got)
		}
	}
}

func TestStatusOfTroubleFitsTheSchema(t *testing.T) {
	for claim, tc := range map[string]struct {
		trouble func(*stage)
		answer  string
		reason  rollover.Reason
	}{
		"nothing is there":       {func(s *stage) { s.remove("/certs/mail") }, control.AnswerRecords, rollover.SourceMissing},
		"the owner is withdrawn": {func(s *stage) { s.act(withdrawMail, "") }, control.AnswerWithdrawn, rollover.Withdrawn},
		"a zone with signatures": {func(s *stage) { s.zone.signed = true; s.zone.change(s.zone.view, 2) }, control.AnswerElsewhere, ZoneSigned},
		"an owner below a cut":   {func(s *stage) { s.zone.change(ZoneView{Known: true, Cut: "mail.example.org."}, 2) }, control.AnswerElsewhere, BelowCut},
		"a key is revoked":       {func(s *stage) { s.put("/certs", "mail", mailLeaf("b")); s.act(revoke("k"), "") }, control.AnswerRecords, ""},
		"a key is revoked by key": {func(s *stage) {
			s.put("/certs", "mail", mailLeaf("b"))
			s.act(control.Action{Verb: control.Revoke, SPKI: keyDigest("k")}, "")
		}, control.AnswerRecords, ""},
	} {
		t.Run(claim, func(t *testing.T) {
			onStage(t, func(s *stage) {
				s.put("/certs", "mail", mailLeaf("k"))
				s.start(config())
				s.after(3 * time.Hour)
				tc.trouble(s)
				s.after(2 * time.Minute)
				o := s.status().Owners[0]
				has := slices.ContainsFunc(o.Problems, func(p control.Problem) bool { return p.Reason == string(tc.reason) })
				if o.Answer != tc.answer || has != (tc.reason != "") || (len(o.Revoked) == 1) != strings.Contains(claim, "revoked") ||
					(o.WithdrawnSince != nil) != (tc.answer == control.AnswerWithdrawn) {
					t.Errorf("owner: %+v", o)
				}
			})
		})
	}
}

func TestStatusShowsOnlyWhatTheLedgerHas(t *testing.T) {
	onStage(t, func(s *stage) {
		s.put("/certs", "mail", mailLeaf("k"))
		s.start(config())
		s.after(3 * time.Hour)
		s.disk.fill(true)
		s.put("/next", "mail", bareLeaf("b"))
		b := s.status()
		if o := b.Owners[0]; len(o.Associations) != 2 || !slices.ContainsFunc(o.Associations, func(a control.Association) bool {
			return a.Unrecorded && a.State == "published" && !a.Gated && a.Data == keyDigest("b")
		}) {
			t.Errorf("owner: %+v", o)
		}
		if len(b.Problems) != 1 || b.Problems[0].Reason != string(LedgerFailing) {
			t.Errorf("problems of the block: %+v", b.Problems)
		}
		if got := s.leaf("/next/mail"); got.Safe {
			t.Errorf("safe though not recorded: %+v", got)
		}
		s.disk.fill(false)
		s.after(3 * time.Hour)
		if got := s.leaf("/next/mail"); !got.Safe {
			t.Errorf("not safe: %+v", got)
		}
	})
}

// leaf is the verdict on the only leaf of a lineage.
func (s *stage) leaf(id string) control.Leaf {
	s.t.Helper()
	for _, l := range s.status().Lineages {
		if l.ID == id && len(l.Leaves) == 1 {
			return l.Leaves[0]
		}
	}
	s.t.Errorf("no lineage %s", id)
	return control.Leaf{}
}

func TestCertificateIsSafeWhenEveryOwnerSaysSo(t *testing.T) {
	slow := Owner{Name: web, Host: "www.example.org.", Policy: policy()}
	slow.Policy.Hold = 5 * time.Hour
	onStage(t, func(s *stage) {
		s.put("/certs", "both", leaf("k", "1", "mail.example.org", "www.example.org"))
		s.put("/next", "both", leaf("b", "1", "mail.example.org", "www.example.org"))
		s.put("/next", "stranger", leaf("c", "1", "nobody.example.org"))
		s.start(config(owner25(), slow))
		sum, _ := hex.DecodeString(keyDigest("b"))
		asked := control.Certificate{SPKI: string(sum)}
		for _, at := range []struct {
			after time.Duration
			safe  bool
		}{{0, false}, {4 * time.Hour, false}, {time.Hour - time.Second, false}, {time.Second, true}} {
			s.after(at.after)
			for _, got := range []control.Safety{s.leaf("/next/both").Safety, s.p.Safe(asked)} {
				if got.Safe != at.safe || len(got.Owners) != 2 {
					t.Errorf("%s: %+v", time.Now(), got)
				}
				if !at.safe && (got.HeldBy != web || got.SafeAt == nil || !got.SafeAt.Equal(time.Date(2000, 1, 1, 5, 0, 0, 0, time.UTC))) {
					t.Errorf("%s: it is held up by %s until %v: %s", time.Now(), got.HeldBy, got.SafeAt, got.Why)
				}
			}
		}
		if got := s.leaf("/next/stranger"); got.Safe || got.SafeAt != nil || len(got.Owners) != 0 {
			t.Errorf("a certificate that no name takes: %+v", got)
		}
	})
}

func TestSafeByDigestFindsTheOwnersOfTheNames(t *testing.T) {
	onStage(t, func(s *stage) {
		s.put("/certs", "mail", mailLeaf("k"))
		s.put("/certs", "www", leaf("w", "1", "www.example.org"))
		s.put("/next", "mail", bareLeaf("b"))
		pinned := Owner{Name: "_1._tcp.pin.example.org.", Host: "pin.example.org.", Policy: policy()}
		pinned.Policy.Combinations = nil
		pin, _ := dane.Material{Leaf: dane.Fingerprint{SPKI: spki("pin")}}.Association(spki311)
		pinned.Policy.Pins = []dane.Association{pin}
		s.start(config(owner25(), pinned, Owner{Name: web, Host: "www.example.org.", Policy: policy()}))
		s.after(3 * time.Hour)
		of := func(key, sha256 string, names ...string) control.Certificate {
			sum, _ := hex.DecodeString(keyDigest(key))
			return control.Certificate{SPKI: string(sum), SHA256: sha256, Names: names}
		}
		another := strings.Repeat("x", 32)
		for claim, tc := range map[string]struct {
			cert   control.Certificate
			safe   bool
			owners int
		}{
			"the bare key":                             {of("b", ""), true, 1},
			"its certificate":                          {of("b", another), true, 1},
			"its certificate for another name too":     {of("b", another, "mail.example.org", "www.example.org"), false, 2},
			"its certificate with a wildcard":          {of("b", another, "*.example.org"), false, 3},
			"a key that nobody knows":                  {of("unknown", another), false, 0},
			"a key that nobody knows, for a name":      {of("unknown", another, "mail.example.org"), false, 1},
			"a pinned key, for its name":               {of("pin", another, "pin.example.org"), true, 1},
			"the installed certificate":                {of("k", mailLeaf("k").Material.Leaf.SHA256), true, 1},
			"another certificate of the installed key": {of("k", another), true, 1},
		} {
			if got := s.p.Safe(tc.cert); got.Safe != tc.safe || len(got.Owners) != tc.owners || !got.Safe && tc.owners > 0 && got.Why == "" {
				t.Errorf("%s: %+v", claim, got)
			}
		}
	})
}

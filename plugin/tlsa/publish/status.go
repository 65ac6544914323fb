package publish

import (
	"encoding/hex"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/coredns-tlsa/coredns-tlsa/plugin/tlsa/control"
	"github.com/coredns-tlsa/coredns-tlsa/plugin/tlsa/dane"
	"github.com/coredns-tlsa/coredns-tlsa/plugin/tlsa/rollover"
)

// Status describes the block as the ledger has it, for control.
func (p *Publisher) Status(name string) control.BlockStatus {
	p.mu.Lock()
	defer p.mu.Unlock()
	s := control.BlockStatus{
		Zones: p.cfg.Zones, View: p.cfg.View, Ledger: p.cfg.Ledger, Serving: p.serving && !p.paused && p.store != nil,
		Problems: []control.Problem{}, Owners: []control.OwnerStatus{}, Lineages: []control.Lineage{},
	}
	if p.store == nil { // not prepared, or stopped
		s.Clocks.Wall, s.LedgerOrigin = second(time.Now()), "memory"
		return s
	}
	now := p.store.Now()
	s.LedgerOrigin, s.Known = p.store.Origin().String(), p.atlas.known()
	s.Clocks = control.Clocks{Wall: second(now.Wall), Service: int64(now.Service / time.Second)}
	if all := slices.Concat(p.cfg.Owners, p.cfg.Patterns); len(all) > 0 {
		policy := all[0].Policy
		s.Hold, s.Grace, s.Propagation = seconds(policy.Hold), seconds(policy.Grace), seconds(policy.Propagation)
		s.UntilExpiry = policy.UntilExpiry
	}
	if len(p.queue) > 0 {
		s.NextChange = after(now, time.Until(p.queue[0].extra.due))
	}
	owners := p.owners
	if name != "" {
		owners = slices.DeleteFunc([]*owner{p.atlas.find(name)}, func(o *owner) bool { return o == nil })
	}
	for _, o := range owners {
		s.Owners = append(s.Owners, p.describe(o, now))
	}
	slices.SortFunc(s.Owners, func(a, b control.OwnerStatus) int { return strings.Compare(a.Name, b.Name) })
	for _, source := range slices.Sorted(maps.Keys(p.problems.bySource)) {
		if p.atlas.find(source) == nil {
			s.Problems = append(s.Problems, p.openAt(source)...)
		}
	}
	if name == "" {
		s.Lineages = p.lineages(now)
	}
	return s
}

// openAt gives the problems of a source.
func (p *Publisher) openAt(source string) []control.Problem {
	open := []control.Problem{}
	for _, o := range p.problems.bySource[source] {
		open = append(open, control.Problem{Reason: string(o.Reason), Text: o.Text, Source: named(o.Source), Since: second(o.Since)})
	}
	return open
}

// describe gives the state of one owner.
func (p *Publisher) describe(o *owner, now rollover.Stamp) control.OwnerStatus {
	s := control.OwnerStatus{
		Name: o.name(), Zone: o.zone, Answer: o.kind(), TTL: p.cfg.TTL,
		Hold: seconds(o.policy.Hold), Grace: seconds(o.policy.Grace), Propagation: seconds(o.policy.Propagation),
		Associations: []control.Association{}, Problems: p.openAt(o.name()), Revoked: []control.Revocation{},
		WithdrawnSince: instant(o.timeline().WithdrawnAt.Wall),
	}
	if o.pattern != nil {
		s.Pattern = o.pattern.Name
	}
	places := o.places()
	recorded := map[dane.Association]bool{}
	for _, st := range o.timeline().Statuses(o.policy, now) {
		recorded[st.Association] = true
		s.Associations = append(s.Associations, association(st, places[st.Association], now))
	}
	for _, a := range o.shown() {
		if !recorded[a] {
			unrecorded := association(rollover.Status{Association: a, Reason: "the ledger could not take it"}, nil, now)
			unrecorded.Unrecorded = true
			s.Associations = append(s.Associations, unrecorded)
		}
	}
	for i := range o.timeline().Revoked {
		r := &o.timeline().Revoked[i]
		v := control.Revocation{Since: second(r.At.Wall), Until: second(now.Wall.Add(r.Until(o.policy, now)))}
		if r.Key {
			v.SPKI = hex.EncodeToString([]byte(r.Data))
		} else {
			v.Data = hex.EncodeToString([]byte(r.Data))
		}
		s.Revoked = append(s.Revoked, v)
	}
	return s
}

// kind is the word for the owner's answer.
func (o *owner) kind() string {
	switch {
	case !o.served():
		return control.AnswerElsewhere
	case !o.timeline().WithdrawnAt.IsZero():
		return control.AnswerWithdrawn
	}
	return map[rollover.Answer]string{
		rollover.Unknown: control.AnswerUnknown, rollover.None: control.AnswerNone, rollover.Records: control.AnswerRecords,
	}[o.answer]
}

// association puts one into the document.
func association(st rollover.Status, places []control.Place, now rollover.Stamp) control.Association {
	a := control.Association{
		Usage: uint8(st.Usage), Selector: uint8(st.Selector), MatchingType: uint8(st.MatchingType),
		Data: hex.EncodeToString([]byte(st.Data)), State: st.State.String(), Since: instant(st.Since.Wall),
		Gated: st.Gated, Ungated: st.Ungated, Lineage: st.Lineage, Reason: st.Reason, Places: places,
	}
	if places == nil {
		a.Places = []control.Place{}
	}
	switch {
	case st.Left <= 0 || st.Since.IsZero():
	case st.Ungated:
		a.UngatedUntil = after(now, st.Left)
	case st.State == rollover.Published:
		a.NextState, a.NextAt = rollover.Ready.String(), after(now, st.Left)
	case st.State == rollover.Retired:
		a.NextState, a.NextAt = rollover.Removed.String(), after(now, st.Left)
	}
	return a
}

// places tells what needs each association now.
func (o *owner) places() map[dane.Association][]control.Place {
	places := map[dane.Association][]control.Place{}
	for _, k := range o.timeline().Keys {
		if !k.RetiredAt.IsZero() {
			continue
		}
		for _, c := range o.timeline().Combinations {
			a, err := k.Material.Association(c)
			if err != nil {
				continue
			}
			for _, p := range k.Places {
				kind := control.PlaceInstalled
				if p.Staged {
					kind = control.PlaceStaged
				}
				places[a] = append(places[a], control.Place{Kind: kind, File: p.File, Lineage: p.Lineage})
			}
		}
	}
	for _, f := range o.timeline().Fixed {
		kind := control.PlacePin
		if f.Zone {
			kind = control.PlaceZone
		}
		if f.RetiredAt.IsZero() {
			places[f.Association] = append(places[f.Association], control.Place{Kind: kind})
		}
	}
	return places
}

// lineages describes what the directories hold, and whether it is safe to install.
func (p *Publisher) lineages(now rollover.Stamp) []control.Lineage {
	all := []control.Lineage{}
	for _, id := range slices.Sorted(maps.Keys(p.atlas.lineages)) {
		l := p.atlas.lineages[id]
		entry := control.Lineage{ID: l.ID, Name: l.Name, Root: l.Root, Staged: l.Staged, Leaves: []control.Leaf{}}
		for i, leaf := range l.Leaves {
			var owners []*owner
			for _, s := range l.sites {
				if at, _ := s.seat(l.ID); slices.Contains(s.seats[at].leaves, i) {
					owners = append(owners, s.owners...)
				}
			}
			entry.Leaves = append(entry.Leaves, control.Leaf{
				SPKI: digest(leaf.Material.Leaf.SPKI), SHA256: hex.EncodeToString([]byte(leaf.Material.Leaf.SHA256)),
				Algorithm: leaf.Algorithm, NotAfter: instant(leaf.Material.NotAfter), Files: slices.Sorted(slices.Values(leaf.Files)),
				Safety: p.safety(owners, func(*owner) associate { return leaf.Material.Association }, now),
			})
		}
		all = append(all, entry)
	}
	return all
}

func seconds(d time.Duration) int64 { return int64(d / time.Second) }

func second(t time.Time) time.Time { return t.UTC().Truncate(time.Second) }

// instant is nil for no moment.
func instant(t time.Time) *time.Time {
	if t.IsZero() {
		return nil
	}
	t = second(t)
	return &t
}

// after is the end of the second in which d has passed, so that whoever waits for it has waited long enough.
func after(now rollover.Stamp, d time.Duration) *time.Time {
	t := second(now.Wall.Add(d + time.Second - 1))
	return &t
}

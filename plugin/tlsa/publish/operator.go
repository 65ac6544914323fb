package publish

import (
	"encoding/hex"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/coredns-tlsa/coredns-tlsa/plugin/tlsa/control"
	"github.com/coredns-tlsa/coredns-tlsa/plugin/tlsa/dane"
	"github.com/coredns-tlsa/coredns-tlsa/plugin/tlsa/rollover"
)

// word is what the operator says of one owner: the timeline to decide from.
type word func(o *owner, t rollover.Timeline, obs rollover.Observation, now rollover.Stamp) (rollover.Timeline, error)

// Act does what the operator wants (rule 8), or tells only whether it would be done: everything at every owner of the block
// that it concerns, or nothing. It shows only what the ledger has. The error is a *control.Error.
func (p *Publisher) Act(a control.Action, only bool) ([]control.Done, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if !p.serving || p.paused || p.store == nil {
		return nil, &control.Error{Code: control.CodeStarting, Text: "the block is being started or replaced; ask again in a moment"}
	}
	if p.blind {
		return nil, &control.Error{Code: control.CodeStarting, Text: "the directories are still being read for the first time; ask again in a moment"}
	}
	owners, says, err := p.understand(&a)
	if err != nil {
		return nil, err
	}
	now := p.store.Now()
	decisions, err := p.weigh(owners, says, now)
	if err != nil || only {
		return nil, err
	}
	changes := map[string]*rollover.Timeline{}
	for i := range decisions {
		changes[decisions[i].owner.name()] = &decisions[i].Timeline
	}
	if err := p.store.Commit(p.block, changes); err != nil {
		p.recorded(err)
		return nil, &control.Error{Code: control.CodeLedger,
			Text: fmt.Sprintf("nothing was done, because the ledger %s cannot be written: %v", p.cfg.Ledger, err)}
	}
	if a.Verb == control.Withdraw {
		delete(p.atlas.lost, a.Lineage)
	}
	done := p.conclude(a, decisions, now)
	select {
	case p.poke <- struct{}{}:
	default:
	}
	return done, nil
}

// understand finds the owners that an action is about, and what is said of them. A lineage is given its identity.
func (p *Publisher) understand(a *control.Action) ([]*owner, word, error) {
	owners := p.owners
	if a.Owner != "" {
		o := p.atlas.find(a.Owner)
		if o == nil {
			return nil, nil, &control.Error{Code: control.CodeNothing, Text: fmt.Sprintf("no block has the owner %.300q", a.Owner)}
		}
		owners = []*owner{o}
	}
	data, err := hex.DecodeString(a.Data + a.SPKI)
	if err != nil {
		return nil, nil, &control.Error{Code: control.CodeRequest, Text: fmt.Sprintf("%.80q is not hexadecimal", a.Data+a.SPKI)}
	}
	target := rollover.Target{Data: string(data), Key: a.SPKI != ""}
	if a.Lineage != "" {
		if a.Lineage, err = p.lineageOf(a.Lineage); err != nil {
			return nil, nil, err
		}
	}
	switch restore := a.Verb == control.Restore; {
	case len(data) > 0 && restore:
		return owners, func(o *owner, t rollover.Timeline, _ rollover.Observation, now rollover.Stamp) (rollover.Timeline, error) {
			return t.Unrevoke(target, o.policy, now)
		}, nil
	case len(data) > 0:
		return owners, func(_ *owner, t rollover.Timeline, obs rollover.Observation, now rollover.Stamp) (rollover.Timeline, error) {
			return t.Revoke(obs, target, now)
		}, nil
	case a.Lineage != "" && restore:
		return owners, func(_ *owner, t rollover.Timeline, _ rollover.Observation, _ rollover.Stamp) (rollover.Timeline, error) {
			return t.UnwithdrawLineage(a.Lineage)
		}, nil
	case a.Lineage != "":
		return owners, func(_ *owner, t rollover.Timeline, obs rollover.Observation, _ rollover.Stamp) (rollover.Timeline, error) {
			return t.WithdrawLineage(obs, a.Lineage)
		}, nil
	case restore:
		return owners, func(_ *owner, t rollover.Timeline, _ rollover.Observation, _ rollover.Stamp) (rollover.Timeline, error) {
			return t.Unwithdraw()
		}, nil
	}
	return owners, func(_ *owner, t rollover.Timeline, _ rollover.Observation, now rollover.Stamp) (rollover.Timeline, error) {
		return t.Withdraw(now)
	}, nil
}

// lineageOf finds the identity of a lineage that timelines know and that is not there, by its identity or name.
func (p *Publisher) lineageOf(name string) (string, error) {
	ids := map[string]bool{}
	for _, o := range p.owners {
		for _, k := range o.timeline().Keys {
			for _, place := range k.Places {
				if place.Lineage == name || k.Lineage == name {
					ids[place.Lineage] = true
				}
			}
		}
	}
	if ids[name] {
		ids = map[string]bool{name: true}
	}
	gone := maps.Clone(ids)
	maps.DeleteFunc(gone, func(id string, _ bool) bool { return p.atlas.lineages[id] != nil })
	switch {
	case len(ids) == 0:
		return "", &control.Error{Code: control.CodeNothing, Text: fmt.Sprintf("no owner has records from a lineage %.300q", name)}
	case len(gone) == 0:
		return "", &control.Error{Code: control.CodeRefused,
			Text: fmt.Sprintf("lineage %.300q has not vanished; remove its files first", name)}
	case len(gone) > 1:
		return "", &control.Error{Code: control.CodeRefused,
			Text: fmt.Sprintf("several lineages are called %.300q; name one of them: %s",
				name, strings.Join(slices.Sorted(maps.Keys(gone)), ", "))}
	}
	for id := range gone {
		name = id
	}
	return name, nil
}

// weigh decides the owners anew by what is said of them. An owner with nothing of the kind is left out.
func (p *Publisher) weigh(owners []*owner, says word, now rollover.Stamp) ([]decided, error) {
	var decisions []decided
	var refusals []string
	nothing := error(rollover.ErrNothing)
	for _, o := range owners {
		t := o.base()
		t, err := says(o, t, p.atlas.observe(o, t), now)
		switch {
		case errors.Is(err, rollover.ErrNothing):
			nothing = err
		case errors.Is(err, rollover.ErrLast):
			refusals = append(refusals, fmt.Sprintf("%s: it %v; withdraw the name if it is to have no records", o.name(), err))
		case err != nil:
			refusals = append(refusals, fmt.Sprintf("%s: it %v", o.name(), err))
		default:
			decisions = append(decisions, decided{owner: o, Decision: rollover.Decide(t, p.atlas.observe(o, t), o.policy, now)})
		}
	}
	switch {
	case len(refusals) > 0:
		return nil, &control.Error{Code: control.CodeRefused, Text: strings.Join(refusals, "; ")}
	case len(decisions) > 0:
		return decisions, nil
	case len(owners) == 1:
		return nil, &control.Error{Code: control.CodeNothing, Text: fmt.Sprintf("%s: %v", owners[0].name(), nothing)}
	}
	return nil, &control.Error{Code: control.CodeNothing, Text: fmt.Sprintf("no owner has it: %v", nothing)}
}

// conclude shows what has been recorded, and tells of it.
func (p *Publisher) conclude(a control.Action, decisions []decided, now rollover.Stamp) []control.Done {
	var done []control.Done
	var touched []*owner
	slices.SortFunc(decisions, func(d, e decided) int { return d.owner.compare(e.owner) })
	for i := range decisions {
		d, o := &decisions[i], decisions[i].owner
		one := o.done(a, d.Decision, now)
		p.log.Infof("%s: %s", o.name(), one.Text)
		done = append(done, one)
		touched = append(touched, o)
		// It is on disk: what follows only shows it. The line above has told what left.
		d.Changed = false
		o.alter(func(e *odd) { e.adopted = false })
		d.Transitions = slices.DeleteFunc(d.Transitions, func(t rollover.Transition) bool { return t.State == rollover.Removed })
	}
	p.settle(decisions, now)
	p.serve(touched)
	p.report()
	return done
}

// done tells what an action means for the owner, whose timeline is still that of before.
func (o *owner) done(a control.Action, d rollover.Decision, now rollover.Stamp) control.Done {
	cached := o.timeline().LargestTTL() + o.policy.Propagation
	which := difference(o.timeline().RRset(), d.RRset)
	if a.Verb == control.Restore {
		which, cached = difference(d.RRset, o.timeline().RRset()), o.policy.Hold
	}
	one := control.Done{Owner: o.name(), Zone: o.zone, CachedUntil: after(now, cached)}
	switch {
	case a.Verb == control.Revoke:
		for i := range d.Timeline.Revoked {
			one.UndoUntil = after(now, d.Timeline.Revoked[i].Until(o.policy, now)) // the one just made is the last
		}
		one.Text = fmt.Sprintf("the operator has revoked %s; caches may hold it until %s; it can be restored until %s",
			which, one.CachedUntil.Format(time.RFC3339), one.UndoUntil.Format(time.RFC3339))
	case a.Lineage != "" && a.Verb == control.Withdraw:
		left := o.lastRemoval(d, now)
		one.CachedUntil, one.UndoUntil = after(now, left+cached), after(now, left)
		one.Text = fmt.Sprintf("the operator gives up lineage %s: what it alone needed leaves, caches may hold it until %s; "+
			"it can be restored until %s", a.Lineage, one.CachedUntil.Format(time.RFC3339), one.UndoUntil.Format(time.RFC3339))
	case a.Lineage != "":
		one.CachedUntil = nil
		one.Text = fmt.Sprintf("the operator waits for lineage %s again, so its records stay", a.Lineage)
	case a.Verb == control.Withdraw:
		one.Text = fmt.Sprintf("the operator has withdrawn the name with %s; caches may hold it until %s; "+
			"it can be restored at any time", which, one.CachedUntil.Format(time.RFC3339))
	default:
		one.Text = fmt.Sprintf("the operator has restored %s; caches may lack it until %s", which, one.CachedUntil.Format(time.RFC3339))
	}
	return one
}

// lastRemoval is how long until the last of what is retired leaves.
func (o *owner) lastRemoval(d rollover.Decision, now rollover.Stamp) time.Duration {
	var last time.Duration
	for _, s := range d.Timeline.Statuses(o.policy, now) {
		if s.State == rollover.Retired {
			last = max(last, s.Left)
		}
	}
	return last
}

// A set of associations is named in a sentence.
type set []dane.Association

// String names them, or says that there is none.
func (s set) String() string {
	if len(s) == 0 {
		return "no record"
	}
	words := make([]string, 0, len(s))
	for _, a := range s {
		words = append(words, a.String())
	}
	return strings.Join(words, ", ")
}

// difference is what a has and b has not.
func difference(a, b []dane.Association) set {
	return slices.DeleteFunc(slices.Clone(a), func(x dane.Association) bool { return slices.Contains(b, x) })
}

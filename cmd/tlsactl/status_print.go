package main

import (
	"cmp"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/coredns-tlsa/coredns-tlsa/plugin/tlsa/control"
)

// columns is the width that text is made for.
const columns = 100

// A statusPage is the status as text.
type statusPage struct {
	page
	socket *socketFlag
	now    time.Time // the server's
}

// fold writes text at an indent, in lines of at most so many columns, all but the first a little further in. Words are never
// cut, because they are names.
func (p *page) fold(indent int, text string) {
	line := strings.Repeat(" ", indent)
	empty := len(line)
	for word := range strings.FieldsSeq(text) {
		switch width := utf8.RuneCountInString(line) + 1 + utf8.RuneCountInString(word); {
		case len(line) == empty:
			line += word
		case width > columns:
			p.line("%s", line)
			line = strings.Repeat(" ", indent+2) + word
			empty = indent + 2
		default:
			line += " " + word
		}
	}
	p.line("%s", line)
}

// act writes a command for the operator, whole.
func (p *page) act(indent int, command string) {
	p.line("%s> %s", strings.Repeat(" ", indent), command)
}

func (p *statusPage) block(b control.BlockStatus, one bool) {
	if p.Len() > 0 {
		p.line("")
	}
	p.fold(0, heading(b))
	p.problems(2, b.Problems, b, nil)
	owners := slices.Clone(b.Owners)
	slices.SortStableFunc(owners, func(a, b control.OwnerStatus) int { return cmp.Compare(a.Pattern, b.Pattern) })
	pattern := ""
	for _, o := range owners {
		if o.Pattern != pattern {
			pattern = o.Pattern
			n := 0
			for _, other := range owners {
				if other.Pattern == pattern {
					n++
				}
			}
			p.line("")
			p.fold(0, fmt.Sprintf("By the pattern %s, %d:", pattern, n))
		}
		p.line("")
		p.owner(b, o)
	}
	if len(owners) == 0 {
		p.line("No owners.")
	}
	if !one {
		p.staged(b)
	}
}

// heading is one block in a sentence.
func heading(b control.BlockStatus) string {
	var parts []string
	if b.View != "" {
		parts = append(parts, "view "+b.View)
	}
	if !b.Serving {
		parts = append(parts, "starting or being replaced")
	}
	if b.Ledger == "" {
		parts = append(parts, "timeline in memory only")
	} else {
		parts = append(parts, fmt.Sprintf("ledger %s %s", b.Ledger, b.LedgerOrigin))
	}
	if !b.Known {
		parts = append(parts, "not every directory has been read yet")
	}
	if b.NextChange != nil {
		parts = append(parts, "next change "+utc(*b.NextChange))
	}
	return strings.Join(b.Zones, " ") + ": " + strings.Join(parts, ", ")
}

func (p *statusPage) owner(b control.BlockStatus, o control.OwnerStatus) {
	p.fold(0, o.Name+answers[o.Answer])
	for _, a := range o.Associations {
		p.association(b, a)
	}
	for _, r := range o.Revoked {
		args := []string{o.Name, r.Data}
		if r.SPKI != "" {
			args = []string{"--spki", r.SPKI}
		}
		p.fold(2, fmt.Sprintf("revoked by the operator since %s; until %s this brings it back:", utc(r.Since), utc(r.Until)))
		p.act(4, p.socket.again("restore", args...))
	}
	p.problems(2, o.Problems, b, &o)
}

// answers is what an owner's heading adds for each kind of answer but records.
var answers = map[string]string{
	control.AnswerNone:      ": no certificate, so its query is denied",
	control.AnswerUnknown:   ": nothing is known yet, so its query fails (SERVFAIL)",
	control.AnswerWithdrawn: ": withdrawn by the operator, so its query is denied",
	control.AnswerElsewhere: ": not answered by tlsa",
}

func (p *statusPage) association(b control.BlockStatus, a control.Association) {
	line := fmt.Sprintf("%d %d %d %.16s  %-9s", a.Usage, a.Selector, a.MatchingType, a.Data, a.State)
	if a.Since != nil {
		line += "  since " + utc(*a.Since)
	}
	if a.NextAt != nil {
		line += fmt.Sprintf(", %s at %s", a.NextState, utc(*a.NextAt))
	}
	p.line("  %s", line)
	p.fold(6, p.sentence(a))
	if command := p.command(b, a); command != "" {
		p.act(6, command)
	}
}

// sentence says what an association's state means to the operator.
func (p *statusPage) sentence(a control.Association) string {
	reason := a.Reason
	if a.Lineage != "" {
		reason = "lineage " + a.Lineage + ", " + reason
	}
	switch {
	case a.Unrecorded:
		reason += ": it is published, but not Ready before the ledger has it"
	case a.Ungated && a.UngatedUntil != nil:
		reason += fmt.Sprintf(": it was installed too early, and clients may fail until %s (%s)",
			utc(*a.UngatedUntil), p.left(*a.UngatedUntil))
	case a.Ungated:
		reason += ": it was installed too early, and clients may fail"
	case a.State == "published" && a.NextAt != nil:
		reason += fmt.Sprintf(": not safe to install yet, caches may lack it (%s)", p.left(*a.NextAt))
	case a.State == "ready":
		reason += ": every cache has it, it is safe to install"
	case a.State == "retired" && a.NextAt != nil:
		reason += fmt.Sprintf(": every server must have let go of the key before it leaves (%s)", p.left(*a.NextAt))
	case a.State == "retired":
		reason += ": it stays for now"
	}
	return reason
}

// left is the time until t in words.
func (p *statusPage) left(t time.Time) string {
	if d := t.Sub(p.now).Round(time.Second); d > 0 {
		return "in " + d.String()
	}
	return "any moment"
}

// command is what to do with a staged key, if a certificate came with it.
func (p *statusPage) command(b control.BlockStatus, a control.Association) string {
	if a.State != "published" && a.State != "ready" {
		return ""
	}
	for _, place := range a.Places {
		l := staged(b, place)
		switch {
		case l == nil:
		case a.State == "published":
			return p.socket.again("wait", place.File)
		default:
			return p.install(b, *l, place.File)
		}
	}
	return ""
}

// staged finds the staged lineage with a certificate that a place is of.
func staged(b control.BlockStatus, place control.Place) *control.Lineage {
	for i, l := range b.Lineages {
		if l.Staged && l.ID == place.Lineage && slices.ContainsFunc(l.Leaves, func(leaf control.Leaf) bool {
			return leaf.SHA256 != "" && slices.Contains(leaf.Files, place.File)
		}) {
			return &b.Lineages[i]
		}
	}
	return nil
}

// install is the command that puts a staged lineage over the installed one of the same name; empty where there is none.
func (p *statusPage) install(b control.BlockStatus, from control.Lineage, file string) string {
	for _, to := range b.Lineages {
		if to.Staged || to.Name != from.Name || len(to.Leaves) == 0 || len(to.Leaves[0].Files) == 0 {
			continue
		}
		old := to.Leaves[0].Files[0]
		if filepath.Base(filepath.Dir(file)) == from.Name && filepath.Base(filepath.Dir(old)) == to.Name {
			return p.socket.again("install", filepath.Dir(file), filepath.Dir(old))
		}
		return p.socket.again("install", file, old)
	}
	return ""
}

// problems lists problems; o is nil for those of a block.
func (p *statusPage) problems(indent int, ps []control.Problem, b control.BlockStatus, o *control.OwnerStatus) {
	for _, problem := range ps {
		source := ""
		if o == nil {
			source = problem.Source + ": "
		}
		p.fold(indent, fmt.Sprintf("! %s since %s: %s%s", problem.Reason, utc(problem.Since), source, problem.Text))
		if o == nil {
			continue
		}
		switch problem.Reason {
		case "withdrawn":
			p.act(indent+4, p.socket.again("restore", o.Name))
		case "removals-frozen", "no-successor", "source-missing":
			for _, id := range vanished(b, *o) {
				p.act(indent+4, p.socket.again("withdraw", "--lineage", id)+"   # only if it will not return")
			}
		}
	}
}

// vanished are the lineages that keep records of an owner and are not there.
func vanished(b control.BlockStatus, o control.OwnerStatus) []string {
	var ids []string
	for _, a := range o.Associations {
		for _, place := range a.Places {
			isThere := slices.ContainsFunc(b.Lineages, func(l control.Lineage) bool { return l.ID == place.Lineage })
			if place.Lineage != "" && !isThere && !slices.Contains(ids, place.Lineage) {
				ids = append(ids, place.Lineage)
			}
		}
	}
	return ids
}

// staged lists what waits to be installed.
func (p *statusPage) staged(b control.BlockStatus) {
	titled := false
	for _, l := range b.Lineages {
		for _, leaf := range l.Leaves {
			if !l.Staged || len(leaf.Files) == 0 {
				continue
			}
			if !titled {
				p.line("")
				p.line("Staged:")
				titled = true
			}
			switch {
			case leaf.Safe:
				p.fold(2, fmt.Sprintf("%s (%s): safe to install", l.Name, leaf.Files[0]))
				if command := p.install(b, l, leaf.Files[0]); command != "" && leaf.SHA256 != "" {
					p.act(6, command)
				}
			case leaf.SafeAt != nil:
				p.fold(2, fmt.Sprintf("%s (%s): safe to install at %s (%s), for %s", l.Name, leaf.Files[0], utc(*leaf.SafeAt),
					p.left(*leaf.SafeAt), leaf.HeldBy))
			default:
				p.fold(2, fmt.Sprintf("%s (%s): not safe to install: %s", l.Name, leaf.Files[0], held(leaf.Safety)))
			}
		}
	}
}

// held says what a certificate lacks, and where.
func held(s control.Safety) string {
	if s.HeldBy == "" {
		return s.Why
	}
	return s.HeldBy + ": " + s.Why
}

func utc(t time.Time) string { return t.UTC().Format(time.RFC3339) }

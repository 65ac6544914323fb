package doctor

import (
	"cmp"
	"fmt"
	"slices"
	"time"
)

// A Severity tells how bad a finding is.
type Severity string

// The severities, the worst first.
const (
	Error   Severity = "error"   // the server will not start, or clients will fail or do without DANE
	Warning Severity = "warning" // it works now, and will not after the next renewal, restart or mistake
	Hint    Severity = "hint"    // nothing is wrong: what to know or to do in time
)

// A Finding is one thing to act on.
type Finding struct {
	// Code names the kind of finding; it never changes its meaning.
	Code     string   `json:"code"`
	Severity Severity `json:"severity"`
	// Place is FILE:LINE of a Corefile, or a path.
	Place string `json:"place"`
	// What is wrong, why that matters, and the line or command that mends it.
	What string `json:"what"`
	Why  string `json:"why,omitempty"`
	Fix  string `json:"fix,omitempty"`
}

// A Server is one server block as the server would run it.
type Server struct {
	Place string   `json:"place"`
	Zones []string `json:"zones"`
	// Plugins are its directives in the order in which a query meets them, whatever the order of the lines.
	Plugins []string `json:"plugins"`
}

// A Report is all that was found. Version 1.
type Report struct {
	Version  int       `json:"version"`
	Corefile string    `json:"corefile,omitempty"`
	At       time.Time `json:"at"`
	Servers  []Server  `json:"servers"`
	// Names and Certificates count what was looked at: owners, and distinct leaf certificates.
	Names        int       `json:"names"`
	Certificates int       `json:"certificates"`
	Findings     []Finding `json:"findings"`
}

// Wrong tells whether there is more than hints.
func (r *Report) Wrong() bool {
	return slices.ContainsFunc(r.Findings, func(f Finding) bool { return f.Severity != Hint })
}

// mostAlike bounds the findings of one code: ten thousand certificates that expire are one mistake.
const mostAlike = 20

// sorted puts findings in order, the worst first, each once, and no more than mostAlike of a kind.
func sorted(all []Finding) []Finding {
	rank := map[Severity]int{Error: 0, Warning: 1, Hint: 2}
	slices.SortStableFunc(all, func(a, b Finding) int {
		return cmp.Or(cmp.Compare(rank[a.Severity], rank[b.Severity]), cmp.Compare(a.Code, b.Code), cmp.Compare(a.Place, b.Place),
			cmp.Compare(a.What, b.What))
	})
	all = slices.Compact(all)
	out, count := make([]Finding, 0, len(all)), map[string]int{}
	for _, f := range all {
		if count[f.Code]++; count[f.Code] <= mostAlike {
			out = append(out, f)
		}
	}
	for i := range out {
		if n := count[out[i].Code]; n > mostAlike && (i+1 == len(out) || out[i+1].Code != out[i].Code) {
			out[i].What += fmt.Sprintf(" (and %d more of this kind)", n-mostAlike)
		}
	}
	return out
}

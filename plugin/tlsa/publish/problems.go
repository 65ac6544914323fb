package publish

import (
	"slices"
	"time"

	"github.com/coredns-tlsa/coredns-tlsa/plugin/tlsa/rollover"
)

// An OpenProblem is a problem with where it was found and since when it holds.
type OpenProblem struct {
	rollover.Problem
	// Source is the owner, or the lineage's directory and name, or the root; empty for the block.
	Source string
	Since  time.Time
}

// problems keeps what is open, by source, and logs what comes and goes.
type problems struct {
	log      Logger
	bySource map[string][]OpenProblem
	counts   map[rollover.Reason]int
}

func newProblems(log Logger) *problems {
	return &problems{log: log, bySource: map[string][]OpenProblem{}, counts: map[rollover.Reason]int{}}
}

// set makes ps what is open at source. A problem is logged when it comes, not each time it is found again.
func (p *problems) set(source string, ps []rollover.Problem) {
	old := p.bySource[source]
	if len(old) == 0 && len(ps) == 0 {
		return
	}
	var open []OpenProblem
	for _, problem := range ps {
		if slices.ContainsFunc(open, func(o OpenProblem) bool { return o.Problem == problem }) {
			continue
		}
		i := slices.IndexFunc(old, func(o OpenProblem) bool { return o.Problem == problem })
		if i >= 0 {
			open = append(open, old[i])
			continue
		}
		open = append(open, OpenProblem{Problem: problem, Source: source, Since: time.Now().UTC().Truncate(time.Second)})
		p.counts[problem.Reason]++
		p.log.Warningf("%s: %s: %s", named(source), problem.Reason, problem.Text)
	}
	for _, o := range old {
		if slices.ContainsFunc(open, func(n OpenProblem) bool { return n.Problem == o.Problem }) {
			continue
		}
		if p.counts[o.Reason]--; p.counts[o.Reason] == 0 {
			delete(p.counts, o.Reason)
		}
		if !slices.ContainsFunc(open, func(n OpenProblem) bool { return n.Reason == o.Reason }) {
			p.log.Infof("%s: %s is over", named(source), o.Reason)
		}
	}
	p.bySource[source] = open
	if len(open) == 0 {
		delete(p.bySource, source)
	}
}

func named(source string) string {
	if source == "" {
		return "ledger"
	}
	return source
}

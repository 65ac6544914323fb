package publish

import (
	"fmt"
	"maps"
	"slices"
	"strings"
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
	meter    Meter
	bySource map[string][]OpenProblem
	counts   map[rollover.Reason]int
	said     map[utterance]*saying
}

// An utterance is what may be logged once in a while: one reason at one source.
type utterance struct {
	source string
	reason rollover.Reason
}

type saying struct {
	at     time.Time
	unsaid int // times it came again since
}

// sayAgain is how long a reason at one source is not logged again: a file that flaps must not fill the disk.
const sayAgain = 10 * time.Minute

func newProblems(log Logger, meter Meter) *problems {
	return &problems{
		log: log, meter: meter, bySource: map[string][]OpenProblem{}, counts: map[rollover.Reason]int{}, said: map[utterance]*saying{},
	}
}

// set makes ps what is open at source. A problem is logged when it comes, not each time it is found again.
func (p *problems) set(source string, ps []rollover.Problem) {
	old := p.bySource[source]
	if len(old) == 0 && len(ps) == 0 {
		return
	}
	var open []OpenProblem
	for _, problem := range ps {
		same := func(o OpenProblem) bool { return o.Problem == problem }
		if slices.ContainsFunc(open, same) {
			continue
		}
		if i := slices.IndexFunc(old, same); i >= 0 {
			open = append(open, old[i])
			continue
		}
		open = append(open, OpenProblem{Problem: problem, Source: source, Since: time.Now().UTC().Truncate(time.Second)})
		p.counts[problem.Reason]++
		p.meter.Problem(problem.Reason)
		p.say(source, problem)
	}
	p.end(source, old, open)
	p.bySource[source] = open
	if len(open) == 0 {
		delete(p.bySource, source)
	}
}

// end counts and tells what is no longer open.
func (p *problems) end(source string, old, open []OpenProblem) {
	for _, o := range old {
		if slices.ContainsFunc(open, func(n OpenProblem) bool { return n.Problem == o.Problem }) {
			continue
		}
		if p.counts[o.Reason]--; p.counts[o.Reason] == 0 {
			delete(p.counts, o.Reason)
		}
		still := slices.ContainsFunc(open, func(n OpenProblem) bool { return n.Reason == o.Reason })
		if s := p.said[utterance{source, o.Reason}]; !still && (s == nil || s.unsaid == 0) {
			p.log.Infof("%s: %s is over", named(source), o.Reason)
		}
	}
}

// say logs a problem, unless the same reason was logged for the source a short while ago.
func (p *problems) say(source string, problem rollover.Problem) {
	key, now := utterance{source, problem.Reason}, time.Now()
	s := p.said[key]
	if s != nil && now.Sub(s.at) < sayAgain {
		s.unsaid++
		return
	}
	again := ""
	if s != nil && s.unsaid > 0 {
		again = fmt.Sprintf(" (came %d times more since %s)", s.unsaid, s.at.UTC().Format(time.RFC3339))
	}
	p.log.Warningf("%s: %s: %s%s", named(source), problem.Reason, problem.Text, again)
	p.said[key] = &saying{at: now}
}

// tidy forgets what may be logged again anyway.
func (p *problems) tidy() {
	maps.DeleteFunc(p.said, func(_ utterance, s *saying) bool { return time.Since(s.at) >= 2*sayAgain })
}

// rootSource begins the source of a root's problems, whose path may be that of a lineage too.
const rootSource = "root "

// patternSource begins the source of a pattern's problems, which may have the name of an owner of a wildcard SAN.
const patternSource = "pattern "

func named(source string) string {
	if source == "" {
		return "ledger"
	}
	return strings.TrimPrefix(strings.TrimPrefix(source, rootSource), patternSource)
}

package rollover

import "time"

// LeaveIn is how long after now an owner is still due its records when nothing has needed it since a moment: its grace, and
// with UntilExpiry the life of its certificates, on both clocks. Zero or less: it may go. Decide itself never takes an owner's
// last association; this is for the hosts that came from `*` (rule 3).
func (t *Timeline) LeaveIn(p Policy, since, now Stamp) time.Duration {
	grace := p.graceFor(t.largestTTL())
	for _, k := range t.Keys {
		if p.UntilExpiry && !k.Material.NotAfter.IsZero() {
			grace = max(grace, k.Material.NotAfter.Sub(since.Wall))
		}
	}
	return since.Left(grace, now)
}

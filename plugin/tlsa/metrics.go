package tlsa

import (
	"maps"
	"strings"
	"sync"
	"time"

	"github.com/coredns/coredns/plugin"

	"github.com/coredns-tlsa/coredns-tlsa/plugin/tlsa/certdir"
	"github.com/coredns-tlsa/coredns-tlsa/plugin/tlsa/publish"
	"github.com/coredns-tlsa/coredns-tlsa/plugin/tlsa/rollover"

	"github.com/miekg/dns"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promauto"
)

func gauge(name, help string, labels ...string) *prometheus.GaugeVec {
	return promauto.NewGaugeVec(prometheus.GaugeOpts{
		Namespace: plugin.Namespace, Subsystem: pluginName, Name: name, Help: help,
	}, append([]string{"zone", "view"}, labels...))
}

func counter(name, help string, labels ...string) *prometheus.CounterVec {
	return promauto.NewCounterVec(prometheus.CounterOpts{
		Namespace: plugin.Namespace, Subsystem: pluginName, Name: name, Help: help,
	}, append([]string{"zone", "view"}, labels...))
}

// The label values come from the Corefile and from closed sets, never from a query or a file.
var (
	associations  = gauge("associations", "Published TLSA associations by state.", "state")
	ungated       = gauge("ungated", "Associations in use before every cache has them: clients may fail.")
	nextChange    = gauge("next_change_timestamp_seconds", "When the next change of an RRset is due by itself, 0 if none is.")
	openProblems  = gauge("problems", "Open problems by reason.", "reason")
	frozen        = gauge("frozen_lineages", "Lineages that vanished with half of their root: their removals wait.")
	records       = gauge("records", "Size of an owner's RRset.", "owner")
	readyAt       = gauge("ready_timestamp_seconds", "When all associations of an owner will be Ready, 0 if they are.", "owner")
	nextRemoval   = gauge("next_removal_timestamp_seconds", "When the next association of an owner leaves, 0 if none does.", "owner")
	notAfter      = gauge("certificate_not_after_timestamp_seconds", "When the first installed certificate of an owner expires.", "owner")
	hosts         = gauge("hosts", "Hosts that the certificates have brought to a `*` owner.", "owner")
	ignoredNames  = gauge("ignored_names", "Names in certificates that a `*` owner may take, outside the zones.")
	lastSweep     = gauge("last_sweep_timestamp_seconds", "When the last sweep of the directories ended.")
	sweepSeconds  = gauge("sweep_duration_seconds", "How long the last sweep took.")
	sweepFiles    = gauge("sweep_files", "Files and links that the last sweep looked at.")
	lastEvent     = gauge("last_event_timestamp_seconds", "When the last file system event came, 0 if none has.")
	watches       = gauge("watches", "Directories and files that are watched for events.")
	pollingRoots  = gauge("polling_roots", "Watched paths of which only sweeps find every change.")
	detached      = gauge("detached_mounts", "Files and directories whose mount is detached and will never change again.")
	unannounced   = counter("sweep_unannounced_total", "Changes that a sweep found and no event had announced.")
	overflows     = counter("watch_overflows_total", "Times that events were lost because too many came.")
	watchFailures = counter("watch_failures_total", "Event instances and watches that the system refused.")
	problemsTotal = counter("problems_total", "Problems that have come, by reason.", "reason")
	ledgerErrors  = counter("ledger_write_errors_total", "Commits to the ledger that failed.")
	clockJumps    = counter("clock_jumps_total", "Steps of the wall clock by more than a minute.")
	responses     = counter("responses_total", "Answers and denials of ours, by response code.", "rcode")
)

// meter writes the figures of one block.
type meter struct {
	zone, view string
	reasons    map[rollover.Reason]struct{} // those that have been set once
	owners     map[string]struct{}
	swept      certdir.Figures // as last counted
	serving    bool            // the instance is up: one that is prepared leaves the gauges to the one before
	served     served          // for the queries of the block
}

func newMeter(c publish.Config) *meter {
	m := &meter{zone: strings.Join(c.Zones, " "), view: c.View, reasons: map[rollover.Reason]struct{}{}, owners: map[string]struct{}{}}
	ledgerErrors.WithLabelValues(m.zone, m.view)
	clockJumps.WithLabelValues(m.zone, m.view)
	m.served.ok = responses.WithLabelValues(m.zone, m.view, dns.RcodeToString[dns.RcodeSuccess])
	m.served.none = responses.WithLabelValues(m.zone, m.view, dns.RcodeToString[dns.RcodeNameError])
	m.served.failed = responses.WithLabelValues(m.zone, m.view, dns.RcodeToString[dns.RcodeServerFailure])
	return m
}

// board holds the figures of every serving block, because directives with the same zones and view share their series.
var board = struct {
	mu      sync.Mutex // guards figures
	figures map[*meter]publish.Figures
}{figures: map[*meter]publish.Figures{}}

// Update implements publish.Meter.
func (m *meter) Update(f publish.Figures) {
	if !m.serving {
		return
	}
	f.States, f.Problems = maps.Clone(f.States), maps.Clone(f.Problems)
	board.mu.Lock()
	defer board.mu.Unlock()
	board.figures[m] = f
	m.addSweep(f.Sweep)
	m.set(m.sum())
}

// sum adds up the figures of the blocks with m's zone and view. board.mu is held.
func (m *meter) sum() publish.Figures {
	all := publish.Figures{States: map[rollover.State]int{}, Problems: map[rollover.Reason]int{}}
	for o, f := range board.figures {
		if o.zone != m.zone || o.view != m.view {
			continue
		}
		for s, n := range f.States {
			all.States[s] += n
		}
		for r, n := range f.Problems {
			all.Problems[r] += n
		}
		all.Ungated += f.Ungated
		all.Frozen += f.Frozen
		all.Ignored += f.Ignored
		all.Sweep = joinSweeps(all.Sweep, f.Sweep)
		if all.Next.IsZero() || !f.Next.IsZero() && f.Next.Before(all.Next) {
			all.Next = f.Next
		}
	}
	return all
}

// joinSweeps adds up counts, and takes the older sweep and the newer event.
func joinSweeps(a, b certdir.Figures) certdir.Figures {
	b.Files, b.Watches, b.Polling, b.Detached = a.Files+b.Files, a.Watches+b.Watches, a.Polling+b.Polling, a.Detached+b.Detached
	b.Took = max(a.Took, b.Took)
	if b.At.IsZero() || !a.At.IsZero() && a.At.Before(b.At) {
		b.At = a.At
	}
	if a.LastEvent.After(b.LastEvent) {
		b.LastEvent = a.LastEvent
	}
	return b
}

func (m *meter) set(f publish.Figures) {
	for s := range rollover.Removed {
		associations.WithLabelValues(m.zone, m.view, s.String()).Set(float64(f.States[s]))
	}
	ungated.WithLabelValues(m.zone, m.view).Set(float64(f.Ungated))
	nextChange.WithLabelValues(m.zone, m.view).Set(seconds(f.Next))
	frozen.WithLabelValues(m.zone, m.view).Set(float64(f.Frozen))
	ignoredNames.WithLabelValues(m.zone, m.view).Set(float64(f.Ignored))
	for reason := range f.Problems {
		m.reasons[reason] = struct{}{}
	}
	for reason := range m.reasons {
		openProblems.WithLabelValues(m.zone, m.view, string(reason)).Set(float64(f.Problems[reason]))
	}
	m.setSweep(f.Sweep)
}

func (m *meter) setSweep(f certdir.Figures) {
	lastSweep.WithLabelValues(m.zone, m.view).Set(seconds(f.At))
	sweepSeconds.WithLabelValues(m.zone, m.view).Set(f.Took.Seconds())
	sweepFiles.WithLabelValues(m.zone, m.view).Set(float64(f.Files))
	lastEvent.WithLabelValues(m.zone, m.view).Set(seconds(f.LastEvent))
	watches.WithLabelValues(m.zone, m.view).Set(float64(f.Watches))
	pollingRoots.WithLabelValues(m.zone, m.view).Set(float64(f.Polling))
	detached.WithLabelValues(m.zone, m.view).Set(float64(f.Detached))
}

// addSweep counts what is new in f, which itself counts since the watcher began.
func (m *meter) addSweep(f certdir.Figures) {
	if f.At.Equal(m.swept.At) {
		return
	}
	unannounced.WithLabelValues(m.zone, m.view).Add(float64(f.Unannounced))
	overflows.WithLabelValues(m.zone, m.view).Add(float64(f.Overflows - m.swept.Overflows))
	watchFailures.WithLabelValues(m.zone, m.view).Add(float64(f.Failures - m.swept.Failures))
	m.swept = f
}

// Owner implements publish.Meter.
func (m *meter) Owner(name string, f publish.OwnerFigures) {
	if !m.serving {
		return
	}
	m.owners[name] = struct{}{}
	records.WithLabelValues(m.zone, m.view, name).Set(float64(f.Records))
	readyAt.WithLabelValues(m.zone, m.view, name).Set(seconds(f.Ready))
	nextRemoval.WithLabelValues(m.zone, m.view, name).Set(seconds(f.Removal))
	notAfter.WithLabelValues(m.zone, m.view, name).Set(seconds(f.NotAfter))
	if strings.Contains(name, "*") {
		hosts.WithLabelValues(m.zone, m.view, name).Set(float64(f.Hosts))
	}
}

// Problem implements publish.Meter.
func (m *meter) Problem(r rollover.Reason) {
	problemsTotal.WithLabelValues(m.zone, m.view, string(r)).Inc()
}

// LedgerError implements publish.Meter.
func (m *meter) LedgerError() { ledgerErrors.WithLabelValues(m.zone, m.view).Inc() }

// ClockJump implements publish.Meter.
func (m *meter) ClockJump() { clockJumps.WithLabelValues(m.zone, m.view).Inc() }

// begin is called when the instance starts to serve, end when it has stopped. Neither leaves a figure of before.
func (m *meter) begin() { m.serving = true }

func (m *meter) end() {
	m.serving = false
	board.mu.Lock()
	defer board.mu.Unlock()
	delete(board.figures, m)
	mine := prometheus.Labels{"zone": m.zone, "view": m.view}
	for name := range m.owners {
		for _, g := range []*prometheus.GaugeVec{records, hosts, readyAt, nextRemoval, notAfter} {
			g.DeleteLabelValues(m.zone, m.view, name) // a partial match would look at all others
		}
	}
	for o := range board.figures {
		if o.zone == m.zone && o.view == m.view {
			m.set(m.sum())
			return
		}
	}
	for _, g := range []*prometheus.GaugeVec{
		associations, ungated, nextChange, openProblems, frozen, ignoredNames,
		lastSweep, sweepSeconds, sweepFiles, lastEvent, watches, pollingRoots, detached,
	} {
		g.DeletePartialMatch(mine)
	}
}

func seconds(t time.Time) float64 {
	if t.IsZero() {
		return 0
	}
	return float64(t.UnixMilli()) / 1000
}

// served counts the responses of one block. Its counters are looked up once, not for each query.
type served struct{ ok, none, failed prometheus.Counter }

// count is for an answer or denial of ours.
func (s served) count(rcode int) {
	if rcode == dns.RcodeNameError {
		s.none.Inc()
	} else {
		s.ok.Inc()
	}
}

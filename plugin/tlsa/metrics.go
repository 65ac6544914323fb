package tlsa

import (
	"strings"

	"github.com/coredns/coredns/plugin"

	"github.com/coredns-tlsa/coredns-tlsa/plugin/tlsa/publish"
	"github.com/coredns-tlsa/coredns-tlsa/plugin/tlsa/rollover"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promauto"
)

func gauge(name, help string, labels ...string) *prometheus.GaugeVec {
	return promauto.NewGaugeVec(prometheus.GaugeOpts{
		Namespace: plugin.Namespace, Subsystem: pluginName, Name: name, Help: help,
	}, append([]string{"zone", "view"}, labels...))
}

// The label values come from the Corefile and from closed sets, never from a query or a file.
var (
	associations = gauge("associations", "Published TLSA associations by state.", "state")
	ungated      = gauge("ungated", "Associations in use before every cache has them: clients may fail.")
	nextChange   = gauge("next_change_timestamp_seconds", "When the next change of an RRset is due by itself, 0 if none is.")
	openProblems = gauge("problems", "Open problems by reason.", "reason")
	ledgerErrors = promauto.NewCounterVec(prometheus.CounterOpts{
		Namespace: plugin.Namespace, Subsystem: pluginName, Name: "ledger_write_errors_total",
		Help: "Commits to the ledger that failed.",
	}, []string{"zone", "view"})
)

// meter writes the figures of one block.
type meter struct {
	zone, view string
	reasons    map[rollover.Reason]struct{} // those that have been set once
	serving    bool                         // the instance is up: one that is prepared leaves the figures to the one before
}

func newMeter(c publish.Config) *meter {
	m := &meter{zone: strings.Join(c.Zones, " "), view: c.View, reasons: map[rollover.Reason]struct{}{}}
	ledgerErrors.WithLabelValues(m.zone, m.view).Add(0)
	return m
}

// Update implements publish.Meter.
func (m *meter) Update(f publish.Figures) {
	if !m.serving {
		return
	}
	for s := range rollover.Removed {
		associations.WithLabelValues(m.zone, m.view, s.String()).Set(float64(f.States[s]))
	}
	ungated.WithLabelValues(m.zone, m.view).Set(float64(f.Ungated))
	next := 0.0
	if !f.Next.IsZero() {
		next = float64(f.Next.UnixMilli()) / 1000
	}
	nextChange.WithLabelValues(m.zone, m.view).Set(next)
	for reason := range f.Problems {
		m.reasons[reason] = struct{}{}
	}
	for reason := range m.reasons {
		openProblems.WithLabelValues(m.zone, m.view, string(reason)).Set(float64(f.Problems[reason]))
	}
}

// begin is called when the instance starts to serve, end when it has stopped. Neither leaves a figure of before.
func (m *meter) begin() {
	m.clear()
	m.serving = true
}

func (m *meter) end() {
	m.serving = false
	m.clear()
}

func (m *meter) clear() {
	for _, g := range []*prometheus.GaugeVec{associations, ungated, nextChange, openProblems} {
		g.DeletePartialMatch(prometheus.Labels{"zone": m.zone, "view": m.view})
	}
}

// LedgerError implements publish.Meter.
func (m *meter) LedgerError() { ledgerErrors.WithLabelValues(m.zone, m.view).Inc() }

package main

import (
	"fmt"
	"io"
	"slices"
	"strings"
	"time"
	"unicode"

	"github.com/coredns-tlsa/coredns-tlsa/cmd/tlsactl/internal/probe"
)

// harmless takes out of a line what strangers may have put there to fool a terminal.
func harmless(line string) string {
	return strings.Map(func(r rune) rune {
		if !unicode.IsPrint(r) {
			return '\uFFFD'
		}
		return r
	}, line)
}

// A page is text for people, line by line.
type page struct{ strings.Builder }

func (p *page) line(format string, args ...any) {
	p.WriteString(harmless(fmt.Sprintf(format, args...)))
	p.WriteByte('\n')
}

// writeText prints one block for each host and address, and one sentence for each finding.
func writeText(w io.Writer, r *probe.Report) error {
	var p page
	p.line("%s: %s", r.Target, r.Outcome)
	p.findings("  ", r.Findings)
	for _, h := range r.Hosts {
		p.host(h)
	}
	_, err := io.WriteString(w, p.String())
	return err
}

func (p *page) host(h probe.Host) {
	preference := ""
	if h.Preference != nil {
		preference = fmt.Sprintf(", preference %d", *h.Preference)
	}
	before := ""
	if h.Protocol != "none" {
		before = ", " + h.Protocol
	}
	p.line("")
	p.line("%s:%d%s%s: %s", h.Name, h.Port, before, preference, h.Outcome)
	p.findings("  ", h.Findings)
	if h.Owner != "" {
		p.line("  %s", h.Owner)
	}
	for _, record := range h.Records {
		reason := ""
		if record.Reason != "" {
			reason = ": " + record.Reason
		}
		p.line("    %s  %s%s", record, record.State, reason)
	}
	for _, a := range h.Addresses {
		p.address(a)
	}
}

func (p *page) address(a probe.Address) {
	p.line("  %s: %s", a.Address, a.Outcome)
	p.findings("    ", a.Findings)
	for _, x := range a.Probes {
		p.line("    %-5s  %s", x.Keys, strings.Join(shown(x), ", "))
	}
	var said []probe.Finding
	for _, x := range a.Probes { // the same certificate gives the same sentences
		for _, f := range x.Findings {
			if !slices.Contains(said, f) {
				said = append(said, f)
			}
		}
	}
	p.findings("    ", said)
}

// shown is one handshake in a line.
func shown(x probe.Probe) []string {
	parts := []string{strings.ReplaceAll(string(x.Outcome), "-", " ")}
	if x.Matched != nil {
		parts = append(parts, x.Matched.Record)
	}
	if x.TLS != "" {
		parts = append(parts, x.TLS)
	}
	if len(x.Chain) > 0 {
		leaf := x.Chain[0]
		parts = append(parts, fmt.Sprintf("%s until %s", leaf.Key, leaf.NotAfter.Format(time.RFC3339)))
	}
	return parts
}

func (p *page) findings(indent string, fs []probe.Finding) {
	for _, f := range fs {
		p.line("%s%s", indent, sentence(f))
	}
}

// sentence is a finding with its word and its source.
func sentence(f probe.Finding) string {
	head := string(f.Level)
	if f.Result != "" {
		head += " " + f.Result
	}
	text := head + ": " + f.Text
	if f.RFC != "" {
		text += " (" + f.RFC + ")"
	}
	return text
}

// writeNagios prints the status line with performance data, then every error and warning.
func writeNagios(w io.Writer, r *probe.Report, code int) error {
	addresses, failed := 0, 0
	for _, h := range r.Hosts {
		for _, a := range h.Addresses {
			addresses++
			if a.Outcome != probe.Match {
				failed++
			}
		}
	}
	var errors, others []string
	for where, f := range r.All() {
		s := strings.ReplaceAll(where+": "+sentence(f), "|", "/")
		switch {
		case f.Level == probe.Error && !slices.Contains(errors, s):
			errors = append(errors, s)
		case f.Level == probe.Warning && !slices.Contains(others, s):
			others = append(others, s)
		}
	}
	first := fmt.Sprintf("%s: all %d addresses match", r.Target, addresses)
	if len(errors) > 0 {
		first, errors = errors[0], errors[1:]
	}
	var p page
	status := [...]string{"OK", "WARNING", "CRITICAL", "UNKNOWN"}[code]
	p.line("DANE %s - %s|addresses=%d;;;0 failed=%d;;0;0", status, first, addresses, failed)
	for _, s := range append(errors, others...) {
		p.line("%s", s)
	}
	_, err := io.WriteString(w, p.String())
	return err
}

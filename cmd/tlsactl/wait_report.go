package main

import (
	"fmt"
	"io"
	"os"
	"time"

	"golang.org/x/term"
)

// A reporter shows the progress of a wait: on a terminal one line that is drawn again, elsewhere a line for each change. It
// uses no colour, so NO_COLOR has nothing to switch off.
type reporter struct {
	w     io.Writer
	width int // columns of the terminal; 0: none
	now   func() time.Time
	last  string
}

func newReporter(w io.Writer, now func() time.Time) *reporter {
	r := &reporter{w: w, now: now}
	if f, ok := w.(*os.File); ok && term.IsTerminal(int(f.Fd())) {
		r.width = 80
		if width, _, err := term.GetSize(int(f.Fd())); err == nil && width > 0 {
			r.width = width
		}
	}
	return r
}

// tick is how often the line is drawn.
func (r *reporter) tick() time.Duration {
	if r.width == 0 {
		return 0
	}
	return time.Second
}

func (r *reporter) show(v verdict) {
	if r.width == 0 {
		if v.reason != r.last {
			fmt.Fprintf(r.w, "waiting: %s\n", v.reason)
		}
		r.last = v.reason
		return
	}
	line := "waiting: " + v.reason
	if left := v.at.Sub(r.now()); !v.at.IsZero() && left > 0 {
		line = fmt.Sprintf("safe in %s: %s", left.Round(time.Second), v.reason)
	}
	fmt.Fprintf(r.w, "\r\x1b[K%s", cut(line, r.width-1))
	r.last = line
}

// cut shortens a line to so many characters.
func cut(line string, width int) string {
	runes := []rune(line)
	if len(runes) <= width {
		return line
	}
	return string(runes[:width])
}

// done ends the line of a terminal.
func (r *reporter) done() {
	if r.width > 0 && r.last != "" {
		fmt.Fprint(r.w, "\r\x1b[K")
	}
}

// A verdictJSON is the outcome of a wait, version 1.
type verdictJSON struct {
	Version int            `json:"version"`
	Verdict string         `json:"verdict"`
	Exit    int            `json:"exit"`
	Reason  string         `json:"reason"`
	SafeAt  *time.Time     `json:"safe_at,omitempty"`
	Wanted  []wishJSON     `json:"wanted"`
	Hold    map[string]int `json:"hold_seconds"`
	// By tells for each owner whose word its time is: the control socket's, or counted from what the servers show.
	By      map[string]string `json:"safe_by"`
	Servers []serverJSON      `json:"servers"`
}

type serverJSON struct {
	point
	Status status     `json:"status"`
	Why    string     `json:"why,omitempty"`
	Since  *time.Time `json:"since,omitempty"`
}

func (w *waiter) document(v verdict) verdictJSON {
	doc := verdictJSON{
		Version: 1, Verdict: v.word, Exit: v.code(), Reason: v.reason,
		SafeAt: timeOrNil(v.at), Wanted: describe(w.tracker.wishes), Hold: make(map[string]int), By: w.sources,
	}
	for _, wish := range w.tracker.wishes {
		doc.Hold[wish.owner] = int(w.tracker.hold(wish.owner, w.hold).Seconds())
	}
	for _, p := range w.tracker.points() {
		tr := w.tracker.tracks[p]
		doc.Servers = append(doc.Servers, serverJSON{p, tr.status, tr.why, timeOrNil(tr.since)})
	}
	return doc
}

func timeOrNil(t time.Time) *time.Time {
	if t.IsZero() {
		return nil
	}
	t = t.UTC().Round(0)
	return &t
}

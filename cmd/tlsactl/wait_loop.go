package main

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"
)

// The words of a verdict.
const (
	verdictSafe        = "safe"
	verdictNotYet      = "not-yet"
	verdictNotSecure   = "not-secure"
	verdictUnreachable = "unreachable"
	verdictSuperseded  = "superseded"
)

// A verdict is what is known after a round of questions.
type verdict struct {
	word   string
	reason string
	// at is when it is safe, as far as is known now; zero while a server has not shown everything.
	at time.Time
}

// code is the exit code.
func (v verdict) code() int {
	switch v.word {
	case verdictSafe:
		return exitDone
	case verdictNotSecure:
		return exitNotSecure
	case verdictUnreachable:
		return exitUnreachable
	case verdictSuperseded:
		return exitSuperseded
	default:
		return exitNotYet
	}
}

// parallel is how many servers are asked at a time.
const parallel = 16

// A waiter asks until a verdict is final.
type waiter struct {
	x        exchanger
	now      func() time.Time
	finder   *finder
	tracker  *tracker
	hold     *time.Duration // instead of the computed one
	every    time.Duration  // between rounds
	atMost   time.Duration
	reread   func() ([]wish, error) // what the file wants now; nil if it cannot change
	consult  func() error           // opens advice before the first round; nil: there is none
	advice   advice                 // nil: none
	sources  map[string]string      // whose word the time of each owner is
	save     func() error
	progress func(verdict)
	tick     time.Duration // between calls of progress; 0: once a round
	talk     func(format string, args ...any)
	warned   string // the last warning about the file
	// complaint is the last one about the control socket.
	complaint string
}

// wait gives the final verdict; the error is that of ctx or of the state file.
func (w *waiter) wait(ctx context.Context) (verdict, error) {
	if w.consult != nil {
		if err := w.consult(); err != nil {
			return verdict{}, err
		}
	}
	end := w.now().Add(w.atMost)
	for {
		start := w.now()
		v := w.round(ctx, start)
		if err := ctx.Err(); err != nil {
			return v, err
		}
		if err := w.save(); err != nil {
			return v, fmt.Errorf("state file: %w", err)
		}
		isOver := !w.now().Before(end)
		if isOver || v.word == verdictSafe || v.word == verdictNotSecure || v.word == verdictSuperseded {
			return v, nil
		}
		w.progress(v)
		next := start.Add(w.every)
		if !v.at.IsZero() && v.at.After(start) && v.at.Before(next) {
			next = v.at
		}
		if next.After(end) {
			next = end
		}
		if err := w.pause(ctx, next, v); err != nil {
			return v, err
		}
	}
}

// pause waits until a time, and keeps who watches up to date.
func (w *waiter) pause(ctx context.Context, until time.Time, v verdict) error {
	for {
		left := until.Sub(w.now())
		if left <= 0 {
			return nil
		}
		if w.tick > 0 {
			left = min(left, w.tick)
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(left):
		}
		if w.tick > 0 {
			w.progress(v)
		}
	}
}

// round asks every server of every owner once and judges what is known since then. start is before the first question, so
// that a verdict of "safe" rests on answers that are not older than it.
func (w *waiter) round(ctx context.Context, start time.Time) verdict {
	if w.isSuperseded() {
		return verdict{word: verdictSuperseded, reason: "the file holds another key now: it must be waited for anew"}
	}
	var all []sighting
	for _, wish := range w.tracker.wishes {
		all = append(all, w.look(ctx, wish.owner)...)
	}
	if owner := w.tracker.adopt(all); owner != "" {
		return verdict{word: verdictSuperseded, reason: owner + " has a record that it had not when waiting began"}
	}
	w.tracker.observe(all)
	return w.judge(ctx, start)
}

// isSuperseded reads the file again. While it cannot be read, what it held stands: it may be being written.
func (w *waiter) isSuperseded() bool {
	if w.reread == nil {
		return false
	}
	wishes, err := w.reread()
	if err != nil {
		if text := err.Error(); text != w.warned {
			w.talk("warning: %v: waiting for what it held before", err)
			w.warned = text
		}
		return false
	}
	return !sameWishes(describe(wishes), describe(w.tracker.wishes))
}

// look asks every server of an owner, and of the names that its CNAMEs lead to.
func (w *waiter) look(ctx context.Context, owner string) []sighting {
	var out []sighting
	names := []string{owner}
	for i := 0; i < len(names); i++ {
		if i > maxAliases {
			return append(out, sighting{point: point{Owner: owner, Name: names[i]}, at: w.now(), broken: "too many CNAMEs"})
		}
		servers, err := w.finder.servers(ctx, names[i])
		if err != nil {
			// Without servers there is one point without an address, which keeps the owner from being safe.
			out = append(out, sighting{point: point{Owner: owner, Name: names[i]}, at: w.now(), broken: err.Error()})
			continue
		}
		for _, s := range w.lookAt(ctx, owner, names[i], servers) {
			out = append(out, s)
			// A server that is silent still shows what it did: its CNAME is followed as before.
			if s.broken != "" {
				s.alias = w.tracker.tracks[s.point].alias
			}
			if s.alias != "" && !slices.Contains(names, s.alias) {
				names = append(names, s.alias)
			}
		}
	}
	return out
}

func (w *waiter) lookAt(ctx context.Context, owner, name string, servers []string) []sighting {
	out := make([]sighting, len(servers))
	var wg sync.WaitGroup
	slots := make(chan struct{}, parallel)
	for i, server := range servers {
		slots <- struct{}{}
		wg.Go(func() {
			out[i] = look(ctx, w.x, w.now, point{owner, name, server})
			<-slots
		})
	}
	wg.Wait()
	return out
}

// judge tells what follows from the tracks.
func (w *waiter) judge(ctx context.Context, start time.Time) verdict {
	v := verdict{word: verdictNotYet}
	held := ""
	for _, wish := range w.tracker.wishes {
		at, ok, why := w.ready(ctx, wish)
		if !ok {
			v.at = time.Time{}
			break
		}
		held = cmp.Or(held, why)
		if at.After(v.at) {
			v.at = at
		}
	}
	points := w.tracker.points()
	if len(points) > 0 {
		first := w.tracker.tracks[points[0]]
		reason := strings.TrimPrefix(fmt.Sprintf("%s: %s", points[0], first.why), ": ")
		switch first.status {
		case unsigned:
			return verdict{verdictNotSecure, reason + "; clients will not use it (--insecure waits all the same)", v.at}
		case silent:
			return verdict{verdictUnreachable, reason, v.at}
		case lacks:
			return verdict{verdictNotYet, reason, time.Time{}}
		}
	}
	if owner := w.tracker.circle(); owner != "" {
		return verdict{verdictNotYet, "the CNAMEs of " + owner + " lead to each other and to no record", time.Time{}}
	}
	at, why := w.elsewhere(ctx)
	if held = cmp.Or(held, why); held != "" {
		return verdict{verdictNotYet, held, time.Time{}}
	}
	if !v.at.IsZero() && at.After(v.at) {
		v.at = at
	}
	// With --hold 0 one look is enough.
	isOnce := w.hold != nil && *w.hold == 0
	if !v.at.IsZero() && (isOnce || !start.Before(v.at)) {
		v.word = verdictSafe
		v.reason = "every server shows it, and every cache has it since " + stamp(v.at) + w.source()
		return v
	}
	v.reason = "every server shows it; caches may lack it until " + stamp(v.at) + w.source()
	return v
}

// stamp writes a time up to the second that is not before it.
func stamp(t time.Time) string {
	return t.Add(time.Second - 1).Truncate(time.Second).UTC().Format(time.RFC3339)
}

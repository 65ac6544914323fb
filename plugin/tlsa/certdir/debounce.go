package certdir

import (
	"container/heap"
	"time"
)

// A mark says that something is to be looked at, and when: a *lineage, a *dir or a *root.
type mark struct {
	what        any
	first, last time.Time // of the changes that it stands for; zero for a retry
	due         time.Time
	seen        uint64 // the digest of what a sweep or the last look saw there; zero if an event was the last to be noted
	silent      bool   // a sweep found the change, and no event has told of it
	index       int
}

// marks are the dirty marks, soonest first. Events, sweeps and retries all end here: one code path.
type marks struct {
	quiet, most time.Duration
	of          map[any]*mark
	queue       []*mark
}

func (m *marks) Len() int           { return len(m.queue) }
func (m *marks) Less(i, j int) bool { return m.queue[i].due.Before(m.queue[j].due) }
func (m *marks) Swap(i, j int) {
	m.queue[i], m.queue[j] = m.queue[j], m.queue[i]
	m.queue[i].index, m.queue[j].index = i, j
}

func (m *marks) Push(x any) {
	e := x.(*mark)
	e.index = len(m.queue)
	m.queue = append(m.queue, e)
}

func (m *marks) Pop() any {
	last := len(m.queue) - 1
	e := m.queue[last]
	m.queue[last] = nil
	m.queue = m.queue[:last]
	return e
}

// touch notes a change: the look comes quiet after the last one, and at most `most` after the first.
func (m *marks) touch(what any, now time.Time) *mark {
	e := m.of[what]
	if e == nil {
		e = &mark{what: what}
		m.of[what] = e
		heap.Push(m, e)
	}
	if e.first.IsZero() {
		e.first = now
	}
	e.last, e.seen, e.silent = now, 0, false
	e.due = now.Add(m.quiet)
	if latest := e.first.Add(m.most); latest.Before(e.due) {
		e.due = latest
	}
	heap.Fix(m, e.index)
	return e
}

// again asks for a look at a given time, unless one is to come anyhow.
func (m *marks) again(what any, due time.Time, seen uint64) {
	if m.of[what] == nil {
		e := &mark{what: what, due: due, seen: seen}
		m.of[what] = e
		heap.Push(m, e)
	}
}

// drop forgets what no longer exists.
func (m *marks) drop(what any) {
	if e := m.of[what]; e != nil {
		heap.Remove(m, e.index)
		delete(m.of, what)
	}
}

// pop gives the next mark that is due, nil if there is none.
func (m *marks) pop(now time.Time) *mark {
	if len(m.queue) == 0 || m.queue[0].due.After(now) {
		return nil
	}
	e := heap.Pop(m).(*mark)
	delete(m.of, e.what)
	return e
}

// next tells when the next mark is due.
func (m *marks) next() (due time.Time, ok bool) {
	if len(m.queue) == 0 {
		return due, false
	}
	return m.queue[0].due, true
}

package publish

import (
	"container/heap"
	"slices"
	"time"
)

// queue is a heap of the owners that wait for a moment, soonest first.
type queue []*owner

func (q queue) Len() int           { return len(q) }
func (q queue) Less(i, j int) bool { return q[i].extra.due.Before(q[j].extra.due) }
func (q queue) Swap(i, j int) {
	q[i], q[j] = q[j], q[i]
	q[i].extra.index, q[j].extra.index = i, j
}

// Push is for container/heap only.
func (q *queue) Push(x any) {
	o := x.(*owner)
	o.extra.index = len(*q)
	*q = append(*q, o)
}

// Pop is for container/heap only.
func (q *queue) Pop() any {
	old := *q
	o := old[len(old)-1]
	old[len(old)-1] = nil
	*q = old[:len(old)-1]
	o.extra.index = -1
	return o
}

// schedule makes o due some time after now, or never for 0. What is decided together has one now, so that it stays together.
func (q *queue) schedule(o *owner, now time.Time, after time.Duration) {
	if after <= 0 {
		if o.extra != nil && o.extra.index >= 0 {
			heap.Remove(q, o.extra.index)
		}
		o.trim()
		return
	}
	e := o.more()
	if e.due = now.Add(after); e.index >= 0 {
		heap.Fix(q, e.index)
	} else {
		heap.Push(q, o)
	}
}

// ripe takes out the owners that are due.
func (q *queue) ripe(now time.Time) []*owner {
	var ripe []*owner
	for len(*q) > 0 && !(*q)[0].extra.due.After(now) {
		ripe = append(ripe, heap.Pop(q).(*owner))
	}
	if len(*q) < cap(*q)/4 {
		*q = slices.Clone(*q) // all owners wait after a first start, and hardly any later
	}
	return ripe
}

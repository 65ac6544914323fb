package certdir

import (
	"runtime"
	"sync"
	"sync/atomic"
)

// To read files and check signatures is most of the work of a first sweep, and each lineage's is its own. So helpers do it
// for the lineages behind the one whose turn it is; what is found is taken in by the one goroutine that walks, in the order
// of the walk. What is handed out is the same as without helpers.
const (
	aheadLineages = 64
	aheadSize     = 8 << 20 // bounds the files of those lineages together, but for a lone lineage
	aheadFew      = 8
)

// A line is what waits for its turn.
type line struct {
	s       *scan
	turns   []*turn // the next one first
	size    int64   // of the files that they stand for
	todo    chan *turn
	helpers sync.WaitGroup
}

// A turn is a lineage to be taken in.
type turn struct {
	lineage *lineage
	list    []status
	size    int64
	claimed atomic.Bool // somebody reads the lineage
	read    chan *gathered
}

// read puts a lineage in the line.
func (q *line) read(l *lineage, list []status) {
	t := &turn{lineage: l, list: list, read: make(chan *gathered, 1)}
	for i := range list {
		t.size += list[i].size
	}
	for len(q.turns) > 0 && (len(q.turns) >= aheadLineages || q.size+t.size > aheadSize) {
		q.next()
	}
	q.size += t.size
	q.turns = append(q.turns, t)
	switch {
	case q.todo != nil:
		q.offer(t)
	case len(q.turns) >= q.s.w.few:
		q.start()
	}
}

// offer gives a turn to the helpers, unless they have enough to do.
func (q *line) offer(t *turn) {
	select {
	case q.todo <- t:
	default:
	}
}

func (q *line) start() {
	q.todo = make(chan *turn, aheadLineages)
	for _, t := range q.turns {
		q.offer(t)
	}
	for range runtime.GOMAXPROCS(0) {
		r := q.s.w.reader.twin()
		q.helpers.Go(func() {
			for t := range q.todo {
				if !q.s.stopped() && t.claimed.CompareAndSwap(false, true) {
					t.read <- q.s.w.gather(t.lineage, q.s.now, t.list, r)
				}
			}
		})
	}
}

// next takes the first turn. What nobody has begun to read is read now.
func (q *line) next() {
	t := q.turns[0]
	q.turns[0] = nil
	q.turns = q.turns[1:]
	q.size -= t.size
	if t.claimed.CompareAndSwap(false, true) {
		t.read <- q.s.w.gather(t.lineage, q.s.now, t.list, &q.s.w.reader)
	}
	q.s.adopt(t.lineage, t.list, <-t.read)
}

// end takes what is left, nothing if the scan was stopped.
func (q *line) end() {
	for len(q.turns) > 0 && !q.s.stopped() {
		q.next()
	}
	if q.todo != nil {
		close(q.todo)
		q.helpers.Wait()
	}
}

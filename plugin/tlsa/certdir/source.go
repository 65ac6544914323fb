package certdir

import (
	"errors"
	"sync"
	"time"

	"github.com/fsnotify/fsnotify"
)

// A source tells of changes in directories. Events are hints: whatever they say, the files are looked at again.
type source interface {
	Add(path string) error
	Remove(path string) error
	Events() <-chan fsnotify.Event
	Errors() <-chan error
	// Close closes both channels.
	Close() error
}

type notifier struct{ *fsnotify.Watcher }

func (n notifier) Events() <-chan fsnotify.Event { return n.Watcher.Events }
func (n notifier) Errors() <-chan error          { return n.Watcher.Errors }

func openNotifier() (source, error) {
	w, err := fsnotify.NewWatcher()
	if err != nil {
		return nil, err
	}
	return notifier{w}, nil
}

// maxHeard bounds the paths that wait for the watcher: beyond it a sweep is cheaper than to look at each.
const maxHeard = 100_000

// A collector drains a source into a set of paths. It does no I/O, so that the kernel's queue does not overflow while
// files are read (W7).
type collector struct {
	wake chan struct{} // holds one token while there is something to take
	done chan struct{}

	mu    sync.Mutex // guards what follows
	paths map[string]struct{}
	lost  bool // events were lost: only a sweep helps

	// For Figures.
	last                time.Time
	overflows, failures uint64
}

func collect(src source) *collector {
	c := &collector{wake: make(chan struct{}, 1), done: make(chan struct{}), paths: make(map[string]struct{})}
	go c.run(src.Events(), src.Errors())
	return c
}

func (c *collector) run(events <-chan fsnotify.Event, errs <-chan error) {
	defer close(c.done)
	for events != nil || errs != nil {
		select {
		case e, ok := <-events:
			if !ok {
				events = nil
				continue
			}
			c.add(e.Name) // every operation alike: a chmod may be the only sign that a file became readable (W10)
		case err, ok := <-errs:
			if !ok {
				errs = nil
				continue
			}
			c.fail(err)
		}
	}
}

// add notes a path.
func (c *collector) add(path string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.last = time.Now()
	switch {
	case c.lost:
	case len(c.paths) >= maxHeard:
		c.overflows++
		c.lose()
	default:
		c.paths[path] = struct{}{}
	}
	c.ring()
}

// fail notes that events were lost, or may have been.
func (c *collector) fail(err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if errors.Is(err, fsnotify.ErrEventOverflow) {
		c.overflows++
	} else {
		c.failures++
	}
	c.lose()
	c.ring()
}

func (c *collector) lose() {
	c.lost = true
	clear(c.paths)
}

func (c *collector) ring() {
	select {
	case c.wake <- struct{}{}:
	default:
	}
}

// take hands over what was heard since the last call.
func (c *collector) take() (paths map[string]struct{}, lost bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	paths, lost = c.paths, c.lost
	c.paths, c.lost = make(map[string]struct{}), false
	return paths, lost
}

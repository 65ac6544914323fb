package certdir

import "time"

// Figures are what there is to count about one whole sweep and the watcher so far.
type Figures struct {
	// At is when the sweep ended, Took how long it was.
	At   time.Time
	Took time.Duration
	// Files is the number of files and links that it looked at.
	Files int
	// Unannounced is the number of lineages, since the figures before these, of which a sweep found that they had changed
	// though their root had events and none came even later. It counts when the change is read.
	Unannounced int
	// Watches is the number of directories and files that are watched now.
	Watches int
	// Polling is the number of roots of which events do not tell everything (Root.Polling).
	Polling int
	// Detached is the number of files and directories whose mounts are detached (problem DetachedMount).
	Detached int
	// Overflows counts, since Run began, how often events were lost because too many came; every one leads to a sweep.
	Overflows uint64
	// Failures counts, since Run began, event instances and watches that the system refused, and errors of an instance.
	Failures uint64
	// LastEvent is when the last event came; zero if none came yet.
	LastEvent time.Time
}

// figures closes a whole sweep. heard is nil where there are no events.
func (s *scan) figures(heard *collector) *Figures {
	now := time.Now()
	f := &Figures{
		At: now, Took: now.Sub(s.now), Files: s.files, Unannounced: s.w.unannounced,
		Watches: len(s.w.watches.byID), Detached: len(s.detached), Failures: s.w.watches.failed,
	}
	s.w.unannounced = 0
	for _, r := range s.roots {
		if r.Polling {
			f.Polling++
		}
	}
	if heard != nil {
		heard.mu.Lock()
		defer heard.mu.Unlock()
		f.Overflows, f.LastEvent = heard.overflows, heard.last
		f.Failures += heard.failures
	}
	return f
}

package certdir

import (
	"hash/maphash"
	"slices"
	"weak"

	"github.com/coredns-tlsa/coredns-tlsa/plugin/tlsa/dane"
)

// A file is what there is to remember of the last look. There may be a million.
type file struct {
	name    string
	print   uint64 // of its status
	end     hop    // the last of the hops of its status; zero if it is no link
	more    *moreFile
	role    role
	sure    bool
	ignored bool // neither sure to be a certificate nor ever one
}

// moreFile is the same for many files, which share one; nil for those that have nothing of it.
type moreFile struct {
	hops    []hop               // of its status, but for the end
	issuers []*dane.Certificate // those of its certificates that are no leaves, shared with all who hold them
}

func (f *file) issuers() []*dane.Certificate {
	if f == nil || f.more == nil {
		return nil
	}
	return f.more.issuers
}

// hops iterates over the hops of its status.
func (f *file) hops(yield func(hop) bool) {
	if f.more != nil {
		for _, h := range f.more.hops {
			if !yield(h) {
				return
			}
		}
	}
	if f.end != (hop{}) {
		yield(f.end)
	}
}

// leads tells whether the hops are those of its status.
func (f *file) leads(hops []hop) bool {
	n := 0
	for h := range f.hops {
		if n == len(hops) || hops[n] != h {
			return false
		}
		n++
	}
	return n == len(hops)
}

// is tells whether nothing happened to a file: its path leads where it led, to what was there.
func (f *file) is(st *status, seed maphash.Seed) bool {
	return f.name == st.name() && f.leads(st.hops) && f.print == st.print(seed)
}

// real is the path that a sound file was read from.
func (f *file) real(d *dir) string {
	if f.end == (hop{}) {
		return join(d.real, f.name)
	}
	return f.end.path()
}

// with is m with issuers.
func (m *moreFile) with(issuers []*dane.Certificate) *moreFile {
	next := &moreFile{issuers: issuers}
	if m != nil {
		next.hops = m.hops
	}
	return next
}

// more is m with a copy of issuers, or what another file has of that.
func (w *Watcher) more(m *moreFile, issuers []*dane.Certificate) *moreFile {
	if m != nil {
		return m.with(slices.Clone(issuers))
	}
	for _, known := range w.mores {
		if known != nil && slices.Equal(known.issuers, issuers) {
			return known
		}
	}
	w.newest = (w.newest + 1) % len(w.mores)
	w.mores[w.newest] = m.with(slices.Clone(issuers))
	return w.mores[w.newest]
}

// intern gives the copy of a certificate that is shared already, if there is one.
func (w *Watcher) intern(c *dane.Certificate) *dane.Certificate {
	if shared := w.issuers[c.SHA256].Value(); shared != nil {
		return shared
	}
	return c
}

func (w *Watcher) share(c *dane.Certificate) *dane.Certificate {
	shared := w.intern(c)
	if shared == c {
		w.issuers[c.SHA256] = weak.Make(c)
	}
	return shared
}

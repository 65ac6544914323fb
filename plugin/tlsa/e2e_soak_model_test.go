package tlsa

import (
	"crypto/ecdsa"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"
)

// A model is what a soak may meet in answers: a few rules about files and Corefiles, written without a look at the rollover.
type model struct {
	mu       sync.Mutex // guards all but anchor
	anchor   string     // the issuer under 2 1 1
	spans    []*span    // in order; the last two overlap during a reload
	reloads  int        // odd while one goes on
	lineages map[string]*files
}

// A span is the time in which a Corefile may have been in force.
type span struct {
	variant
	began, loaded, ended time.Time // loaded and ended are zero until then
}

// files are those of a lineage, and the keys that they ever had.
type files struct {
	owners []string
	held   map[string]*kept // by file
	keys   []*kept
}

// kept is a key as its digests, with the moments that matter.
type kept struct {
	private            *ecdsa.PrivateKey
	narrow, wide       string    // under 3 1 1 and 3 1 2
	placed, seen, left time.Time // seen: in an answer of every owner while no reload went on; left: no file has it
	deleted            bool      // left without a successor in its place, which takes three sweeps to be believed
}

// reloading begins a reload, which will fail if the variant has a fault; the function returned ends it.
func (m *model) reloading(v variant) (done func()) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.reloads++
	next := &span{variant: v, began: time.Now()}
	if v.fault == "" {
		m.spans = append(m.spans, next)
	}
	return func() {
		m.mu.Lock()
		defer m.mu.Unlock()
		m.reloads++
		if n := len(m.spans); v.fault == "" {
			next.loaded = time.Now()
			if n > 1 {
				m.spans[n-2].ended = time.Now()
			}
		}
	}
}

// since gives the Corefiles that may have been in force at some moment from then on.
func (m *model) since(then time.Time) []*span {
	at := slices.IndexFunc(m.spans, func(s *span) bool { return s.ended.IsZero() || s.ended.After(then) })
	return m.spans[at:]
}

// all tells whether every Corefile that may have been in force from then on is such.
func (m *model) all(then time.Time, such func(variant) bool) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	return !slices.ContainsFunc(m.since(then), func(s *span) bool { return !such(s.variant) })
}

// peace is a number that stays the same while no reload goes on; false during one.
func (m *model) peace() (int, bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.reloads, m.reloads%2 == 0
}

// put says that a file will have the key from now on; nil: it will be removed. It must be called before that happens.
func (f *files) put(file string, k *kept) {
	before := f.held[file]
	if f.held[file] = k; k == nil {
		delete(f.held, file)
	} else {
		k.left = time.Time{}
		if !slices.Contains(f.keys, k) {
			k.placed = time.Now()
			f.keys = append(f.keys, k)
		}
	}
	for _, held := range f.held {
		if held == before {
			return
		}
	}
	if before != nil {
		before.left, before.deleted = time.Now(), k == nil
	}
}

// owed tells whether the key must still be published: a file has it, or grace has not passed since.
func (m *model) owed(k *kept, now time.Time) bool {
	if k.left.IsZero() {
		return true
	}
	least := m.since(k.left)[0].grace
	for _, s := range m.since(k.left) {
		least = min(least, s.grace)
	}
	return now.Before(k.left.Add(least))
}

// overdue tells whether the key should have been removed long ago.
func (m *model) overdue(k *kept, now time.Time) bool {
	return !k.left.IsZero() && !k.deleted && now.After(k.left.Add(grace+4*time.Second+10*notice))
}

// check judges an owner's set that came as an answer to what was asked at a moment, now or before.
func (m *model) check(owner string, set []string, asked time.Time) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	now := time.Now()
	in := m.since(asked)
	f := m.of(owner)
	if err := m.shape(f, in, owner, set); err != nil {
		return err
	}
	for _, k := range f.keys {
		if !k.seen.IsZero() && !k.seen.After(asked) && m.owed(k, now) && !k.among(set) {
			return fmt.Errorf("%s was published, is owed (left %s ago) and is not in %q", k.narrow, now.Sub(k.left), set)
		}
		if m.overdue(k, now) && k.among(set) {
			return fmt.Errorf("%s, replaced %s ago, is in %q", k.narrow, now.Sub(k.left), set)
		}
	}
	return nil
}

// checkInside judges an answer of the view, whose timelines are its own: they begin when its first Corefile is loaded.
func (m *model) checkInside(owner string, set []string, asked time.Time) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	now := time.Now()
	in := m.since(asked)
	f := m.of(owner)
	if err := m.shape(f, in, owner, set); err != nil {
		return err
	}
	for _, k := range f.keys {
		known := k.placed.Before(in[0].began) && (k.left.IsZero() || !in[0].loaded.IsZero() && k.left.After(in[0].loaded))
		if known && m.owed(k, now) && !k.among(set) {
			return fmt.Errorf("%s was there when the view was loaded and is not in %q", k.narrow, set)
		}
	}
	return nil
}

// shape checks what does not depend on the moment: every key is published under every combination that the set has, and
// those of the Corefile are among them; the issuer and the pin are there; nothing else is.
func (m *model) shape(f *files, in []*span, owner string, set []string) error {
	by := map[string][]string{}
	for _, text := range set {
		by[text[:5]] = append(by[text[:5]], text)
	}
	for _, c := range in[0].combinations(owner) {
		if !slices.ContainsFunc(in, func(s *span) bool { return !slices.Contains(s.combinations(owner), c) }) && len(by[c]) == 0 {
			return fmt.Errorf("%s is missing in %q", c, set)
		}
	}
	keys := 0
	for _, k := range f.keys {
		if k.among(set) {
			keys++
			if len(by["3 1 1"]) > 0 && !slices.Contains(set, k.narrow) || len(by["3 1 2"]) > 0 && !slices.Contains(set, k.wide) {
				return fmt.Errorf("%s is not under every combination of %q", k.narrow, set)
			}
		}
	}
	pin := slices.Contains(set, pinned)
	has := func(s *span) bool { return s.pin && strings.HasPrefix(owner, "_25.") }
	lacks := func(s *span) bool { return !has(s) }
	switch {
	case len(by["3 1 1"]) > 0 && len(by["3 1 1"]) != keys, len(by["3 1 2"]) > 0 && len(by["3 1 2"]) != keys:
		return fmt.Errorf("a key of nobody in %q", set)
	case keys == 0:
		return fmt.Errorf("no key in %q", set)
	case len(by["2 1 1"]) > 0 && !slices.Equal(by["2 1 1"], []string{m.anchor}):
		return fmt.Errorf("the issuer is %s, not as in %q", m.anchor, set)
	case pin && !slices.ContainsFunc(in, has):
		return fmt.Errorf("the pin is gone from the Corefile, but in %q", set)
	case !pin && !slices.ContainsFunc(in, lacks):
		return fmt.Errorf("the pin is not in %q", set)
	}
	return nil
}

func (k *kept) among(set []string) bool {
	return slices.Contains(set, k.narrow) || slices.Contains(set, k.wide)
}

func (m *model) of(owner string) *files {
	for _, f := range m.lineages {
		if slices.Contains(f.owners, owner) {
			return f
		}
	}
	return nil
}

// current are the owner's records under 3 1 1 once all is at rest.
func (m *model) current(owner string) []string {
	m.mu.Lock()
	defer m.mu.Unlock()
	var set []string
	for _, k := range m.of(owner).held {
		if !slices.Contains(set, k.narrow) {
			set = append(set, k.narrow)
		}
	}
	return set
}

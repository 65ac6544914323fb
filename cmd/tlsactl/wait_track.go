package main

import (
	"fmt"
	"slices"
	"time"

	"github.com/coredns-tlsa/coredns-tlsa/plugin/tlsa/dane"
)

// A wish is what must be published at an owner before an installation.
type wish struct {
	owner string
	// associations must all be in the RRset.
	associations []dane.Association
	// subjects are the keys they are of; none where the user named only the owner.
	subjects []subject
}

// A status tells what a point shows.
type status string

const (
	shows    status = "shows"    // the whole wish, or a CNAME to where it is
	lacks    status = "lacks"    // not the whole wish
	unsigned status = "unsigned" // an answer without a valid signature
	silent   status = "silent"   // no answer that counts
)

// judge compares a sighting with the wish of its owner; why is a half-sentence about the server, empty where it shows.
func judge(s sighting, w wish, insecure bool) (st status, why string) {
	switch {
	case s.broken != "":
		return silent, s.broken
	case !s.trust && !insecure:
		return unsigned, "its answer for " + s.Name + " has no valid signature"
	case s.alias != "":
		return shows, ""
	case len(s.rrset) == 0:
		return lacks, "it has no TLSA records at " + s.Name
	case len(w.associations) == 0:
		return lacks, "not every server has answered yet"
	}
	for _, a := range w.associations {
		if !slices.Contains(s.rrset, a) {
			return lacks, fmt.Sprintf("it lacks %s at %s", a, s.Name)
		}
		if d, ok := hiddenBy(a.Combination, w.subjects, s.rrset); ok {
			return lacks, fmt.Sprintf("it has %s at %s for other keys only, which clients prefer to %s", d, s.Name, a.Combination)
		}
	}
	return shows, ""
}

// hiddenBy finds a combination of the RRset with a stronger digest that not every key has: a client uses the strongest
// one of each usage and selector alone (RFC 7671 9).
func hiddenBy(c dane.Combination, subjects []subject, rrset []dane.Association) (dane.Combination, bool) {
	for _, other := range rrset {
		d := other.Combination
		if d.Usage != c.Usage || d.Selector != c.Selector || c.MatchingType == dane.Full || d.MatchingType <= c.MatchingType {
			continue
		}
		for _, s := range subjects {
			if a, err := s.Association(d); err != nil || !slices.Contains(rrset, a) {
				return d, true
			}
		}
	}
	return dane.Combination{}, false
}

// A track is what is known of one point.
type track struct {
	status status
	why    string
	since  time.Time // of its first sighting of the whole wish after the last one without; zero if it lacks it
	lacked time.Time // of its last sighting without the whole wish; zero: there was none
	alias  string
}

// A tracker holds what the servers have shown so far. It has no clock: every time is that of a sighting.
type tracker struct {
	wishes   []wish
	insecure bool
	tracks   map[point]track
	// without and with are the largest TTLs of RRsets without and with the wish, by owner.
	without, with map[string]time.Duration
	// left is until when a server or a CNAME that went away may have lacked the whole wish, by owner: it was last heard of then,
	// or showed the wish from then on. Caches may have what it said just before.
	left map[string]time.Time
	// news is when something was last seen for the first time and had the whole wish, by owner: it may have lacked it until
	// then, under a TTL that nobody has seen.
	news map[string]time.Time
}

func newTracker(wishes []wish, insecure bool) *tracker {
	return &tracker{
		wishes: wishes, insecure: insecure, tracks: make(map[point]track),
		without: make(map[string]time.Duration), with: make(map[string]time.Duration),
		left: make(map[string]time.Time), news: make(map[string]time.Time),
	}
}

func (t *tracker) wish(owner string) *wish {
	return &t.wishes[slices.IndexFunc(t.wishes, func(w wish) bool { return w.owner == owner })]
}

// observe takes one round: a sighting for every point there is. A server that is silent keeps its time, because what it
// said before and says after is all that can be known; one that shows anything else loses it.
func (t *tracker) observe(round []sighting) {
	next := make(map[point]track, len(round))
	lost := make(map[string]string)      // owners whose servers were not found this time, and why
	latest := make(map[string]time.Time) // sighting of each owner
	for _, s := range round {
		if s.at.After(latest[s.Owner]) {
			latest[s.Owner] = s.at
		}
		if s.Server == "" {
			lost[s.Owner] = s.broken
		}
		next[s.point] = t.follow(s)
	}
	t.depart(next, lost, latest)
	t.tracks = next
}

// follow takes one sighting.
func (t *tracker) follow(s sighting) track {
	old := t.tracks[s.point]
	status, why := judge(s, *t.wish(s.Owner), t.insecure)
	now := track{status: status, why: why, lacked: old.lacked}
	if now.lacked.After(s.at) {
		now.lacked = s.at
	}
	switch status {
	case shows:
		now.since, now.alias = s.at, s.alias
		if !old.since.IsZero() && old.since.Before(s.at) {
			now.since = old.since
		}
		if old.since.IsZero() && old.lacked.IsZero() {
			t.news[s.Owner] = later(t.news[s.Owner], s.at)
		}
		t.with[s.Owner] = max(t.with[s.Owner], s.ttl)
	case silent:
		now.since, now.alias = old.since, old.alias
	default:
		t.without[s.Owner] = max(t.without[s.Owner], s.ttl)
		if len(t.wish(s.Owner).associations) > 0 {
			now.lacked = s.at
		}
	}
	return now
}

// depart deals with the points that are no longer there: what they showed may be in caches.
func (t *tracker) depart(next map[point]track, lost map[string]string, latest map[string]time.Time) {
	for p, old := range t.tracks {
		if _, stays := next[p]; stays || p.Server == "" {
			continue
		}
		if why, isLost := lost[p.Owner]; isLost {
			old.status, old.why = silent, why
			next[p] = old
		} else if old.since.IsZero() {
			t.left[p.Owner] = latest[p.Owner]
		} else if old.lacked.IsZero() {
			t.news[p.Owner] = later(t.news[p.Owner], old.since)
		} else {
			t.left[p.Owner] = later(t.left[p.Owner], old.since)
		}
	}
}

// adopt makes the wish of an owner without a certificate: all that its servers show, once every one of them has answered.
// It tells the owner that shows something new since then.
func (t *tracker) adopt(round []sighting) (superseded string) {
	for i := range t.wishes {
		w := &t.wishes[i]
		if len(w.subjects) > 0 {
			continue
		}
		var all []dane.Association
		whole := true
		for _, s := range round {
			if s.Owner == w.owner {
				all = append(all, s.rrset...)
				whole = whole && s.broken == ""
			}
		}
		all = dane.Canonical(all)
		isNew := func(a dane.Association) bool { return !slices.Contains(w.associations, a) }
		switch {
		case len(w.associations) > 0 && slices.ContainsFunc(all, isNew):
			return w.owner
		case len(w.associations) == 0 && whole:
			w.associations = all
		}
	}
	return ""
}

// hold is how long an owner must be seen whole (RFC 7671 8.1): caches may have what was served just before, under the
// largest TTL, and applications what they looked up just before that ended.
func (t *tracker) hold(owner string, override *time.Duration) time.Duration {
	if override != nil {
		return *override
	}
	ttl := t.without[owner]
	if ttl == 0 {
		ttl = t.with[owner]
	}
	return margin(ttl)
}

func margin(ttl time.Duration) time.Duration { return max(2*ttl, ttl+5*time.Minute) }

// leftUntil is until when a cache may hold what something said without the wish that went away; zero where nothing did. A
// CNAME that has moved is held for its own TTL, which was seen with whatever it leads to now.
func (t *tracker) leftUntil(owner string, override *time.Duration) time.Time {
	return t.heldUntil(owner, t.left[owner], override)
}

// heldUntil is until when a cache may hold what was said at a time, under the largest TTL of all; zero if the time is.
func (t *tracker) heldUntil(owner string, at time.Time, override *time.Duration) time.Time {
	switch {
	case at.IsZero():
		return at
	case override != nil:
		return at.Add(*override)
	}
	return at.Add(margin(max(t.without[owner], t.with[owner])))
}

// ready tells when an owner is safe, counted from its slowest server; false while one has not shown the whole wish.
func (t *tracker) ready(owner string, override *time.Duration) (time.Time, bool) {
	var last time.Time
	for p, tr := range t.tracks {
		if p.Owner != owner {
			continue
		}
		if tr.since.IsZero() {
			return time.Time{}, false
		}
		if tr.since.After(last) {
			last = tr.since
		}
	}
	gone := later(t.left[owner], t.news[owner])
	return later(last.Add(t.hold(owner, override)), t.heldUntil(owner, gone, override)), !last.IsZero()
}

// lackedUntil is until when a cache may hold an RRset without the wish that a server was seen with; zero where none was. It
// counts from when that server showed the wish: until then it may have lacked it whenever somebody else asked.
func (t *tracker) lackedUntil(owner string, override *time.Duration) time.Time {
	var last time.Time
	for p, tr := range t.tracks {
		if p.Owner == owner && !tr.lacked.IsZero() && tr.since.After(last) {
			last = tr.since
		}
	}
	if !last.IsZero() {
		last = last.Add(t.hold(owner, override))
	}
	return later(last, t.leftUntil(owner, override))
}

func later(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}

// circle tells an owner of which every server has a CNAME and none a record; empty if there is none.
func (t *tracker) circle() string {
	for _, w := range t.wishes {
		ends := func(p point) bool { return p.Owner == w.owner && t.tracks[p].alias == "" }
		if !slices.ContainsFunc(t.points(), ends) {
			return w.owner
		}
	}
	return ""
}

// subjects are the keys of the wishes, each once.
func (t *tracker) subjects() (all []subject) {
	for _, w := range t.wishes {
		for _, s := range w.subjects {
			if !slices.ContainsFunc(all, func(o subject) bool { return o.Material == s.Material }) {
				all = append(all, s)
			}
		}
	}
	return all
}

// points gives the points in a fixed order, the ones that keep us waiting first.
func (t *tracker) points() []point {
	var out []point
	for p := range t.tracks {
		out = append(out, p)
	}
	slices.SortFunc(out, func(a, b point) int {
		return compareAll(order(t.tracks[a].status)-order(t.tracks[b].status), a.Owner, b.Owner, a.Name, b.Name, a.Server, b.Server)
	})
	return out
}

func order(s status) int { return slices.Index([]status{unsigned, silent, lacks, shows}, s) }

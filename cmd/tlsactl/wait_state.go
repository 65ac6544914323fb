package main

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"slices"
	"time"

	"github.com/coredns-tlsa/coredns-tlsa/plugin/tlsa/dane"
)

// stateVersion is that of the state file; others are set aside unread.
const stateVersion = 1

type stateJSON struct {
	Version int              `json:"version"`
	Start   momentJSON       `json:"start"` // of the run that wrote it; its times are by the wall clock of then
	Wishes  []wishJSON       `json:"wishes"`
	Points  []pointJSON      `json:"points"`
	Without map[string]int64 `json:"ttl_without"` // seconds
	With    map[string]int64 `json:"ttl_with"`    // seconds
	// Left is when something went away without having shown the wish, by owner.
	Left map[string]time.Time `json:"left,omitempty"`
}

type wishJSON struct {
	Owner   string   `json:"owner"`
	Adopted bool     `json:"adopted,omitempty"` // taken from DNS, not from a certificate
	Records []string `json:"records"`
}

type pointJSON struct {
	point
	Since  time.Time `json:"since,omitzero"`
	Lacked time.Time `json:"lacked,omitzero"`
	Alias  string    `json:"alias,omitempty"`
}

func describe(wishes []wish) []wishJSON {
	var out []wishJSON
	for _, w := range wishes {
		j := wishJSON{Owner: w.owner, Adopted: len(w.subjects) == 0}
		for _, a := range w.associations {
			j.Records = append(j.Records, fmt.Sprintf("%s %x", a.Combination, a.Data))
		}
		out = append(out, j)
	}
	slices.SortFunc(out, func(a, b wishJSON) int { return cmp.Compare(a.Owner, b.Owner) })
	return out
}

func sameWishes(a, b []wishJSON) bool {
	return slices.EqualFunc(a, b, func(a, b wishJSON) bool {
		return a.Owner == b.Owner && a.Adopted == b.Adopted && slices.Equal(a.Records, b.Records)
	})
}

func (t *tracker) encode(start moment) ([]byte, error) {
	doc := stateJSON{
		Version: stateVersion, Start: momentJSON{start.wall.UTC().Round(0), start.boot, start.up.Seconds()},
		Wishes: describe(t.wishes), Without: inSeconds(t.without), With: inSeconds(t.with),
	}
	for owner, at := range t.left {
		if doc.Left == nil {
			doc.Left = make(map[string]time.Time)
		}
		doc.Left[owner] = start.inFrame(at)
	}
	for p, tr := range t.tracks {
		doc.Points = append(doc.Points, pointJSON{p, start.inFrame(tr.since), start.inFrame(tr.lacked), tr.alias})
	}
	slices.SortFunc(doc.Points, func(a, b pointJSON) int {
		return compareAll(0, a.Owner, b.Owner, a.Name, b.Name, a.Server, b.Server)
	})
	data, err := json.MarshalIndent(doc, "", "  ")
	return append(data, '\n'), err
}

// compareAll gives first unless it is 0, else compares the strings two by two.
func compareAll(first int, pairs ...string) int {
	for i := 0; i < len(pairs) && first == 0; i += 2 {
		first = cmp.Compare(pairs[i], pairs[i+1])
	}
	return first
}

func inSeconds(m map[string]time.Duration) map[string]int64 {
	out := make(map[string]int64)
	for k, v := range m {
		out[k] = int64(v / time.Second)
	}
	return out
}

// errState: a state file that is damaged or of another version.
var errState = errors.New("not a state file of this version")

// restore takes over what an earlier run saw. Nothing is taken from a file about other keys: false. Times that lie in
// the future are for observe, which counts from the next sighting then, and a wall clock that was set forward since is seen by
// the other one: a wrong clock may cost time, never safety.
func (t *tracker) restore(data []byte, now moment) (bool, error) {
	var doc stateJSON
	if err := json.Unmarshal(data, &doc); err != nil {
		return false, fmt.Errorf("%w: %w", errState, err)
	}
	if doc.Version != stateVersion {
		return false, fmt.Errorf("%w: version %d", errState, doc.Version)
	}
	adopted, err := t.readopted(doc.Wishes)
	if err != nil {
		return false, err
	}
	if !sameWishes(describe(adopted), doc.Wishes) {
		return false, nil
	}
	t.wishes = adopted
	jumped := now.jumped(doc.Start)
	moved := func(at time.Time) time.Time {
		if at.IsZero() {
			return at
		}
		return now.wall.Add(at.Add(jumped).Sub(now.wall)) // from here on by the monotonic clock
	}
	for owner, at := range doc.Left {
		// One of the future is of a wrong clock, and is moved to now as those of servers are.
		if t.left[owner] = moved(at); t.left[owner].After(now.wall) {
			t.left[owner] = now.wall
		}
	}
	for _, p := range doc.Points {
		p.Since, p.Lacked = moved(p.Since), moved(p.Lacked)
		t.tracks[p.point] = track{status: silent, why: "it has not been asked yet", since: p.Since, lacked: p.Lacked, alias: p.Alias}
	}
	for owner, ttl := range doc.Without {
		t.without[owner] = time.Duration(ttl) * time.Second
	}
	for owner, ttl := range doc.With {
		t.with[owner] = time.Duration(ttl) * time.Second
	}
	return true, nil
}

// readopted gives our wishes, with those that came from DNS filled from the file.
func (t *tracker) readopted(stored []wishJSON) ([]wish, error) {
	out := slices.Clone(t.wishes)
	for i := range out {
		at := slices.IndexFunc(stored, func(j wishJSON) bool { return j.Owner == out[i].owner && j.Adopted })
		if at < 0 || len(out[i].subjects) > 0 {
			continue
		}
		for _, record := range stored[at].Records {
			var u, s, m, digits string
			if _, err := fmt.Sscan(record, &u, &s, &m, &digits); err != nil {
				return nil, fmt.Errorf("%w: record %q: %w", errState, record, err)
			}
			c, err := dane.ParseCombination(u, s, m)
			if err != nil {
				return nil, fmt.Errorf("%w: record %q: %w", errState, record, err)
			}
			d, err := dane.ParseData(c, digits)
			if err != nil {
				return nil, fmt.Errorf("%w: record %q: %w", errState, record, err)
			}
			out[i].associations = append(out[i].associations, dane.Association{Combination: c, Data: d})
		}
	}
	return out, nil
}

// loadState reads the state file, if there is one. What cannot be used is set aside whole, and counting begins anew.
func (a *app) loadState(path string, t *tracker, now moment) error {
	data, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fail(exitUsage, "state file: %w", err)
	}
	taken, err := t.restore(data, now)
	switch {
	case errors.Is(err, errState):
		aside := path + ".unreadable"
		a.talk("state file %s: %v: moved to %s, counting begins anew", path, err, aside)
		return os.Rename(path, aside)
	case err != nil:
		return err
	case !taken:
		a.talk("state file %s is about other keys: counting begins anew", path)
	}
	return nil
}

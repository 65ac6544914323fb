package corefile

import (
	"errors"
	"fmt"
	"math"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"
)

const day = 24 * time.Hour

// one gives the single argument of an option; what says what it is.
func (s statement) one(what string) (string, error) {
	switch {
	case len(s.args) == 0 || s.args[0] == "":
		return "", s.errorf("missing %s: write one", what)
	case len(s.args) > 1:
		return "", s.errorf("%q is one argument too many: write one %s", s.args[1], what)
	}
	return s.args[0], nil
}

// duration reads the option's only argument into d.
func (s statement) duration(d *time.Duration, least, most time.Duration) error {
	raw, err := s.one("duration")
	if err != nil {
		return err
	}
	v, err := parseDuration(raw)
	if err == nil {
		err = within(v, least, most)
	}
	if err != nil {
		return s.errorf("%q %w", raw, err)
	}
	*d = v
	return nil
}

func within(d, least, most time.Duration) error {
	switch {
	case d < 0:
		return fmt.Errorf("is negative: write at least %s", least)
	case d%time.Second != 0 && d != math.MaxInt64:
		return errors.New("has a fraction of a second: write whole seconds")
	case d < least:
		return fmt.Errorf("is too short: write at least %s", least)
	case d > most:
		return fmt.Errorf("is too long: write at most %s", most)
	}
	return nil
}

// parseDuration reads a duration as Go writes it, with days in front where wanted, or a plain number of seconds. One too
// long for a time.Duration is the longest there is.
func parseDuration(s string) (time.Duration, error) {
	if n, err := strconv.ParseInt(s, 10, 64); err == nil || errors.Is(err, strconv.ErrRange) {
		return scale(n, time.Second), nil
	}
	var days time.Duration
	if count, rest, found := strings.Cut(s, "d"); found {
		n, err := strconv.ParseUint(count, 10, 31)
		if err != nil {
			return 0, errDuration
		}
		if days = scale(int64(n), day); rest == "" {
			return days, nil
		}
		if s = rest; rest[0] == '-' || rest[0] == '+' {
			return 0, errDuration
		}
	}
	d, err := time.ParseDuration(s)
	switch {
	case err != nil:
		return 0, errDuration
	case days > math.MaxInt64-max(d, 0):
		return math.MaxInt64, nil
	}
	return days + d, nil
}

var errDuration = errors.New("is not a duration: write it like 90s, 5m, 1h30m, 2d or 1d12h, or as a number of seconds")

// scale is n units, or the nearest that a time.Duration can hold.
func scale(n int64, unit time.Duration) time.Duration {
	switch most := math.MaxInt64 / int64(unit); {
	case n > most:
		return math.MaxInt64
	case n < -most:
		return math.MinInt64
	}
	return time.Duration(n) * unit
}

func (b *builder) ttl(s statement) error {
	var d time.Duration
	if err := s.duration(&d, time.Second, 7*day); err != nil {
		return err
	}
	b.TTL = uint32(d / time.Second)
	return nil
}

func (b *builder) grace(s statement) error {
	if slices.Equal(s.args, []string{"notafter"}) {
		b.policy.UntilExpiry = true
		return nil
	}
	return s.duration(&b.policy.Grace, time.Second, 10*365*day)
}

func (b *builder) ledger(s statement) error {
	raw, err := s.one("file")
	if err != nil || raw == "none" {
		return err
	}
	if strings.HasSuffix(raw, "/") {
		return s.errorf("%q is a directory: write a file in it", raw)
	}
	b.Ledger, err = b.absolute(raw)
	if err != nil {
		return s.errorf("%q %w", raw, err)
	}
	return nil
}

// roots reads the paths that are to be watched.
func (b *builder) roots(s statement, to *[]string) error {
	if len(s.args) == 0 {
		return s.errorf("missing path: write the directories, globs or files to watch")
	}
	for _, raw := range s.args {
		path, err := b.parseRoot(raw)
		if err != nil {
			return s.errorf("%q %w", raw, err)
		}
		if slices.Contains(b.Certs, path) || slices.Contains(b.Next, path) {
			return s.errorf("%q stands twice among certs and next: remove one", raw)
		}
		*to = append(*to, path)
	}
	return nil
}

// parseRoot checks a path or glob without looking whether anything is there.
func (b *builder) parseRoot(raw string) (string, error) {
	switch _, err := filepath.Match(raw, ""); {
	case raw == "":
		return "", errors.New("is an empty path: write one, or set the environment variable that it comes from")
	case err != nil:
		return "", errors.New(`is no valid glob: close its "[", or write a backslash before it`)
	case strings.Contains(raw, "**"):
		return "", errors.New(`holds "**": a glob does not descend, write one "*" for each level`)
	}
	return b.absolute(raw)
}

// absolute makes a path absolute: below *root*, or below the working directory.
func (b *builder) absolute(path string) (string, error) {
	if strings.ContainsRune(path, 0) {
		return "", errors.New("holds a zero octet: no path does")
	}
	if !filepath.IsAbs(path) {
		path = filepath.Join(b.root, path)
	}
	return filepath.Abs(path)
}

// distance is the number of letters to change, add, remove or swap with their neighbour to get from a to b.
func distance(a, b string) int {
	before, row := make([]int, len(b)+1), make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		next := make([]int, len(b)+1)
		next[0] = i + 1
		for j := range len(b) {
			cost := 1
			if a[i] == b[j] {
				cost = 0
			}
			next[j+1] = min(row[j]+cost, row[j+1]+1, next[j]+1)
			if i > 0 && j > 0 && a[i] == b[j-1] && a[i-1] == b[j] {
				next[j+1] = min(next[j+1], before[j-1]+1)
			}
		}
		before, row = row, next
	}
	return row[len(b)]
}

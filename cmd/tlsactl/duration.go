package main

import (
	"fmt"
	"strconv"
	"strings"
	"time"
)

// A duration is a flag in Go's form, in days ("2d"), or a plain number of seconds.
type duration struct {
	time.Duration
	set bool
}

func (d *duration) Set(s string) error {
	v, err := parseDuration(s)
	if err != nil {
		return err
	}
	d.Duration, d.set = v, true
	return nil
}

func (d *duration) String() string {
	if d.Duration == 0 && !d.set {
		return ""
	}
	return d.Duration.String()
}

func (*duration) Type() string { return "duration" }

func parseDuration(s string) (time.Duration, error) {
	const most = 10 * 365 * 24 * time.Hour
	text, unit := s, time.Second
	if days, ok := strings.CutSuffix(s, "d"); ok {
		text, unit = days, 24*time.Hour
	}
	v, err := time.ParseDuration(s)
	if n, numErr := strconv.ParseUint(text, 10, 31); numErr == nil {
		v, err = most+1, nil
		if n <= uint64(most/unit) {
			v = time.Duration(n) * unit
		}
	}
	if err != nil || v < 0 || v > most {
		return 0, fmt.Errorf("%q: want a duration such as 90s, 2h30m or 2d, at most 10 years", s)
	}
	return v, nil
}

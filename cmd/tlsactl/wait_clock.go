package main

import (
	"os"
	"strconv"
	"strings"
	"time"
)

// A moment is one instant by two clocks: the wall clock, which may be set, and the time since boot, which nobody sets and
// which goes on while the host sleeps.
type moment struct {
	wall time.Time
	boot string        // identity of the boot; empty where the system has none, and up means nothing
	up   time.Duration // since boot
}

// momentJSON is a moment in the state file.
type momentJSON struct {
	Wall   time.Time `json:"wall"`
	Boot   string    `json:"boot_id"`
	Uptime float64   `json:"uptime_seconds"`
}

// jumped is by how much the wall clock was set forward between an earlier moment and this one. It is never negative: a clock
// that was set back has lost time, which costs waiting and no safety.
func (m moment) jumped(since momentJSON) time.Duration {
	if m.boot == "" || m.boot != since.Boot {
		return 0
	}
	up := max(m.up-time.Duration(since.Uptime*float64(time.Second)), 0)
	return max(m.wall.Sub(since.Wall)-up, 0)
}

// inFrame is the time t, by the wall clock as it went on from m without being set; or as it is, where that is later.
func (m moment) inFrame(t time.Time) time.Time {
	if t.IsZero() {
		return t
	}
	framed := m.wall.Round(0).Add(t.Sub(m.wall)) // by the monotonic clock, where both have it
	if wall := t.Round(0); wall.After(framed) {
		return wall.UTC()
	}
	return framed.UTC()
}

// sinceBoot reads the clock that Linux counts from boot. Other systems have no file, and their wall clock must do.
func sinceBoot() (boot string, up time.Duration) {
	id, err := os.ReadFile("/proc/sys/kernel/random/boot_id")
	if err != nil {
		return "", 0
	}
	data, err := os.ReadFile("/proc/uptime") // seconds with two decimals, as of CLOCK_BOOTTIME
	if err != nil {
		return "", 0
	}
	first, _, _ := strings.Cut(string(data), " ")
	seconds, err := strconv.ParseFloat(first, 64)
	if err != nil {
		return "", 0
	}
	return strings.TrimSpace(string(id)), time.Duration(seconds * float64(time.Second))
}

// moment is now.
func (a *app) moment() moment {
	m := moment{wall: a.now()}
	m.boot, m.up = a.sinceBoot()
	return m
}

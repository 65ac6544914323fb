package main

import (
	"bytes"
	"path/filepath"
	"runtime"
	"testing"
	"testing/synctest"
	"time"
)

// Two runs an hour of true time apart, while something happens to the wall clock or the host.
func TestClockThatIsSetForwardShortensNothing(t *testing.T) {
	const (
		hour = time.Hour
		boot = "a0c1"
	)
	for claim, row := range map[string]struct {
		jump  time.Duration // of the wall clock, between the runs
		boots [2]string
		slept time.Duration // how much less the second run's clock since boot has counted
		code  int
	}{
		"nothing happens":                               {0, [2]string{boot, boot}, 0, exitNotYet},
		"the wall clock goes forward by a day":          {24 * hour, [2]string{boot, boot}, 0, exitNotYet},
		"the host starts anew: the wall clock must do":  {24 * hour, [2]string{boot, "b1d2"}, 0, exitDone},
		"there is no clock but the wall's":              {24 * hour, [2]string{}, 0, exitDone},
		"a container starts anew, with a younger clock": {24 * hour, [2]string{boot, boot}, 2 * hour, exitNotYet},
	} {
		t.Run(claim, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r := newRollover(t)
				r.ns[0].set(mailOwner, r.both()...)
				r.ns[1].set(mailOwner, r.both()...)
				state := filepath.Join(t.TempDir(), "state")
				start := time.Now()
				up := 100 * time.Hour
				run := func(n int) int {
					var out, talk bytes.Buffer
					a := newTestApp(nil, &out, &talk, r.world)
					if n > 0 {
						a.now = func() time.Time { return time.Now().Add(row.jump) }
					}
					a.sinceBoot = func() (string, time.Duration) {
						return row.boots[n], up + time.Since(start) - time.Duration(n)*row.slept
					}
					return a.run(t.Context(), []string{"wait", "--server", "192.0.2.1", "--server", "192.0.2.2", "--at-most", "0", "--state", state, r.file})
				}
				if code := run(0); code != exitNotYet {
					t.Fatalf("exit %d", code)
				}
				time.Sleep(hour)
				for _, ns := range r.ns { // their signatures are valid by either clock
					ns.change(func() { ns.ahead = row.jump })
				}
				if code := run(1); code != row.code {
					t.Errorf("an hour later: exit %d, want %d", code, row.code)
				}
				time.Sleep(2 * hour)
				if code := run(1); row.slept == 0 && code != exitDone {
					t.Errorf("three hours later: exit %d", code)
				}
			})
		})
	}
}

func TestBootClockOfLinux(t *testing.T) {
	boot, up := sinceBoot()
	if again, later := sinceBoot(); runtime.GOOS == "linux" && (len(boot) != 36 || again != boot || up <= 0 || later < up) {
		t.Errorf("%q %s, then %q %s", boot, up, again, later)
	}
}

// A time that is stored is never earlier than it was, whatever was done to the wall clock while the program ran.
func TestStoredTimesAreOfOneClock(t *testing.T) {
	start := time.Now()
	m := moment{wall: start}
	later := start.Add(time.Hour)
	for claim, row := range map[string]struct{ at, want time.Time }{
		"both clocks agree":      {later, later},
		"only a wall clock":      {later.Round(0), later},
		"the host slept an hour": {later.Round(0).Add(time.Hour), later.Add(time.Hour)},
		"never":                  {time.Time{}, time.Time{}},
	} {
		if got := m.inFrame(row.at); !got.Equal(row.want) || got.String() != got.Round(0).String() {
			t.Errorf("%s: %s, want %s", claim, got, row.want)
		}
	}
}

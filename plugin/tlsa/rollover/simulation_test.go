package rollover

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"pgregory.net/rapid"
)

// mostEvents bounds what happens in one sequence besides what is due by itself.
const mostEvents = 24

// fewest sequences are lived by a plain `go test`.
const fewest = 1000

// choices are the generators for choose, by the largest choice.
var choices = func() (all [mostEvents + 1]*rapid.Generator[int]) {
	for n := range all {
		all[n] = rapid.IntRange(0, n)
	}
	return all
}()

// explore runs -rapid.checks random sequences of an operator; rapid shrinks one that fails.
func explore(t *testing.T, careful bool) {
	rapid.Check(t, func(rt *rapid.T) {
		s := newSimulation(careful, func(n int, label string) int { return choices[n-1].Draw(rt, label) })
		if err := s.run(s.choose(mostEvents, "events")); err != nil {
			rt.Fatalf("%v", err)
		}
	})
}

// numbered is the sequence of a number; the operator waits in the even ones.
func numbered(number uint64) *simulation {
	random := rand.New(rand.NewPCG(number, 7671))
	return newSimulation(number%2 == 0, func(n int, _ string) int { return random.IntN(n) })
}

// number is what an environment variable says, or the preset.
func number(t *testing.T, variable string, preset uint64) uint64 {
	t.Helper()
	text := os.Getenv(variable)
	if text == "" {
		return preset
	}
	n, err := strconv.ParseUint(text, 10, 64)
	if err != nil {
		t.Fatalf("%s: %v", variable, err)
	}
	return n
}

// TestNumberedSimulations is I1 to I6 of an operator who waits, and I2 to I6 of one who does not: what he installs is
// published as soon as it is seen. It lives the sequences from SIMULATE_FROM on, SIMULATIONS many, for at most
// SIMULATE_MINUTES, SIMULATE_WORKERS at once; that is the soak too. They are always the same. It also counts what they reach, because what is never met
// proves nothing. SIMULATE_ONE tells one of them, and SIMULATE_RANDOM looks for others.
func TestNumberedSimulations(t *testing.T) {
	if os.Getenv("SIMULATE_RANDOM") != "" {
		t.Run("waits", func(t *testing.T) { explore(t, true) })
		t.Run("does not wait", func(t *testing.T) { explore(t, false) })
		return
	}
	if os.Getenv("SIMULATE_ONE") != "" {
		tellOne(t, number(t, "SIMULATE_ONE", 0))
		return
	}
	from, count := number(t, "SIMULATE_FROM", 0), number(t, "SIMULATIONS", fewest)
	end := time.Now().Add(time.Duration(number(t, "SIMULATE_MINUTES", 600)) * time.Minute)
	reached := map[string]int{}
	var mu sync.Mutex // guards the rest
	next, failures := from, 0
	take := func() (uint64, bool) {
		mu.Lock()
		defer mu.Unlock()
		if next >= from+count || next%1000 == 0 && time.Now().After(end) {
			return 0, false
		}
		next++
		return next - 1, true
	}
	var workers sync.WaitGroup
	for range number(t, "SIMULATE_WORKERS", 2) {
		workers.Go(func() {
			mine := map[string]int{}
			for n, ok := take(); ok; n, ok = take() {
				s := numbered(n)
				s.reach = func(class string) { mine[class]++ }
				if err := s.run(s.choose(mostEvents, "events")); err != nil {
					mu.Lock()
					failures++
					t.Errorf("sequence %d: %v", n, err)
					mu.Unlock()
				}
			}
			mu.Lock()
			defer mu.Unlock()
			for class, n := range mine {
				reached[class] += n
			}
		})
	}
	workers.Wait()
	t.Logf("simulated from %d to %d: %d failures; reached %v", from, next, failures, reached)
	if next-from < fewest {
		return
	}
	for i, class := range classes {
		if rare := i >= len(classes)-5; reached[class] == 0 && (!rare || count >= 50_000) {
			t.Errorf("no sequence has reached %q", class)
		}
	}
	for class := range reached {
		if !slices.Contains(classes, class) {
			t.Errorf("%q is not in classes", class)
		}
	}
}

// classes are what the fewest sequences must have met, the last five of them only a soak.
var classes = strings.Split(strings.ReplaceAll(`retired, removed, combination left, all Ready in the end, all that was over has left in the end,
installed from next, two staged keys, renewed with the same key, lineage moved, lineage deleted, more keys than the limit,
unreadable file, root vanished, addition that cannot be recorded, crash between commit and answer, clock step while Retired,
wrong clock while Retired, suspended, lost ledger, lost ledger while Retired, reload, reload given up, TTL lowered, revoked,
withdrawn, back to a replaced key, restored ledger while Retired, revocation undone, restored after withdraw, lineage withdrawn`, "\n", " "), ", ")

func tellOne(t *testing.T, n uint64) {
	t.Helper()
	s := numbered(n)
	s.tell = func(format string, args ...any) { t.Log(s.real, fmt.Sprintf(format, args...)) }
	if err := s.run(s.choose(mostEvents, "events")); err != nil {
		t.Error(err)
	}
}

// TestSimulatorFindsAnOperatorWhoDoesNotWait shows that the simulator can fail: the same sequences, looked at as if he waited.
func TestSimulatorFindsAnOperatorWhoDoesNotWait(t *testing.T) {
	broken := map[string]int{}
	for n := range uint64(300) {
		s := numbered(2*n + 1)
		s.strict = true
		if err := s.run(mostEvents); err != nil {
			broken["I1"] += strings.Count(err.Error(), "I1")
		}
	}
	if got := slices.Sorted(maps.Values(broken)); len(got) == 0 || got[0] < 30 {
		t.Errorf("got %v broken sequences of 300 where nobody waits", broken)
	}
}

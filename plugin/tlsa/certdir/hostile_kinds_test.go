package certdir

import (
	"context"
	"os"
	"runtime"
	"strings"
	"sync"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/coredns-tlsa/coredns-tlsa/plugin/tlsa/certdir/hostiletest"
)

// What one directory may cost: its files are small, but for those at the limit of 1 MiB, and one buffer takes them all.
const (
	mostAllocated = 24 << 20
	mostChecked   = 80 << 20 // garbage of a thousand checks of signatures
	mostReadTwice = 4 << 10  // files in doubt are read again, but not by a sweep that sees them unchanged
)

// A gauge counts what a Watcher reads and opens.
type gauge struct {
	mu     sync.Mutex
	octets int
	opens  []string
}

func gauged(w *Watcher) *gauge {
	g := &gauge{}
	w.reader.open = func(path string, flags int) (int, error) {
		g.mu.Lock()
		defer g.mu.Unlock()
		if flags&unix.O_DIRECTORY == 0 {
			g.opens = append(g.opens, path)
		}
		return openDisk(path, flags)
	}
	w.reader.read = func(fd int, buf []byte) (int, error) {
		n, err := unix.Read(fd, buf)
		g.mu.Lock()
		defer g.mu.Unlock()
		g.octets += max(n, 0)
		return n, err
	}
	return g
}

// TestHostileKindsCostLittle counts octets, because time depends on the machine.
func TestHostileKindsCostLittle(t *testing.T) {
	world := hostiletest.NewWorld()
	for _, k := range hostiletest.Kinds() {
		dir := t.TempDir()
		c := hostiletest.NewCase(world, "bad.example.org", "example.org", dir+"/certs", dir+"/next")
		ok(t, os.MkdirAll(c.Certs, 0o755))
		ok(t, os.MkdirAll(c.Next, 0o755))
		ok(t, k.Drop(c))
		w := New(Config{Certs: []string{c.Certs}, Next: []string{c.Next}, Rescan: rescan, Quiet: quiet, MaxQuiet: maxQuiet})
		g := gauged(w)
		first, files := sweepCost(w)
		garbage := uint64(mostAllocated)
		if k.Checked {
			garbage = mostChecked
		}
		if most := files * (maxSize + 1); g.octets > most || first > garbage {
			t.Errorf("%s: %d octets read of %d files, %d allocated", k.Name, g.octets, files, first)
		}
		if k.Skipped && g.octets > 0 {
			t.Errorf("%s: %d octets read of %q", k.Name, g.octets, g.opens)
		}
		for _, path := range g.opens {
			if st, err := lstat(path); err != nil || !st.isRegular() && !strings.HasPrefix(path, "/proc/") {
				t.Errorf("%s: %s has been opened, mode %o, %v", k.Name, path, st.mode, err)
			}
		}
		if strings.Trim(string(w.reader.buf), "\x00") != "" {
			t.Errorf("%s: the buffer is not wiped", k.Name)
		}
		g.octets = 0
		if again, _ := sweepCost(w); g.octets > mostReadTwice || again > mostAllocated {
			t.Errorf("%s: the second sweep reads %d octets and allocates %d", k.Name, g.octets, again)
		}
	}
}

// sweepCost sweeps, and gives the octets allocated meanwhile and the number of files.
func sweepCost(w *Watcher) (allocated uint64, files int) {
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	c := w.Sweep(context.Background())
	runtime.ReadMemStats(&after)
	return after.TotalAlloc - before.TotalAlloc, c.Sweep.Files
}

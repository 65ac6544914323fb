package certdir

import (
	"context"
	"fmt"
	"math/rand/v2"
	"path/filepath"
	"reflect"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"unsafe"

	"golang.org/x/sys/unix"
)

// orchard makes a flat directory and one like certbot's of n lineages each, and returns how many there are.
func orchard(t *testing.T, p *pki, base string, n int) int {
	for i := range n {
		name := fmt.Sprintf("h%03d", i)
		c := p.issue(name)
		certbot(t, base, name, 1, c, p.chain)
		write(t, base+"/live/f"+name+".pem", c.fullchain)
	}
	return 2 * n
}

func TestReadingAheadHandsOutTheSame(t *testing.T) {
	base, err := filepath.EvalSymlinks(t.TempDir())
	ok(t, err)
	p, seed := newPKI(t), rand.Uint64()
	c := &chaos{t: t, base: base, pki: p, r: rand.New(rand.NewPCG(seed, 0))}
	for range 150 {
		c.act()
	}
	orchard(t, p, base, 40)
	sweep := func(few int, keepDER bool) Changes {
		w := New(Config{
			Certs: []string{base + "/live", base + "/flat", base + "/hop", base + "/linked"}, Next: []string{base + "/archive/h1"},
			Rescan: rescan, Quiet: quiet, MaxQuiet: maxQuiet, KeepDER: keepDER,
		})
		w.few = few
		found := w.Sweep(context.Background())
		found.Sweep = nil // tells the time
		return found
	}
	for _, keepDER := range []bool{false, true} {
		shared := map[*byte]bool{nil: true}
		ahead, alone := sweep(2, keepDER), sweep(1<<60, keepDER)
		for _, l := range ahead.Lineages {
			for _, leaf := range l.Leaves {
				shared[unsafe.StringData(leaf.Material.Issuer.SHA512)] = true
			}
		}
		if len(shared) != 2 { // none, and the one of all
			t.Errorf("the issuer of all is kept %d times", len(shared)-1)
		}
		if !reflect.DeepEqual(ahead, alone) {
			t.Errorf("seed %d: read ahead: %+v\none after another: %+v", seed, ahead, alone)
		}
	}
}

// A forest is a scan in which the first file does not answer.
type forest struct {
	*scan
	all    int
	opened atomic.Int64
	answer chan struct{}
	ended  chan struct{}
}

func plant(t *testing.T, ctx context.Context, early func()) *forest {
	base, err := filepath.EvalSymlinks(t.TempDir())
	ok(t, err)
	f := &forest{all: orchard(t, newPKI(t), base, 2*aheadLineages), answer: make(chan struct{}), ended: make(chan struct{})}
	w := New(Config{Certs: []string{base + "/live"}, NoEvents: true, Rescan: rescan, Quiet: quiet, MaxQuiet: maxQuiet})
	w.reader.open = func(path string, flags int) (int, error) {
		if flags&unix.O_DIRECTORY == 0 && f.opened.Add(1) == 1 {
			early()
			<-f.answer
		}
		return openDisk(path, flags)
	}
	f.scan = w.scan(ctx)
	f.atOnce = true
	go func() { defer close(f.ended); f.sweep() }()
	synctest.Wait()
	return f
}

func (f *forest) hasEnded() bool {
	synctest.Wait()
	select {
	case <-f.ended:
		return true
	default:
		return false
	}
}

func TestReadingAheadIsBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := plant(t, t.Context(), func() {})
		if n := len(f.line.turns); n > aheadLineages || f.opened.Load() < 2 {
			t.Errorf("%d lineages wait while the first one is read, %d files have been opened", n, f.opened.Load())
		}
		close(f.answer)
		if <-f.ended; len(f.found) != f.all || !f.roots[0].Complete {
			t.Errorf("%d of %d lineages, %+v", len(f.found), f.all, f.roots)
		}
	})
}

func TestReadingAheadEndsWithItsContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		f := plant(t, ctx, cancel)
		if f.hasEnded() {
			t.Error("the scan has ended while a file of it is read")
		}
		before := f.opened.Load()
		close(f.answer)
		<-f.ended
		if n := f.opened.Load() - before; n > 8 || len(f.found) == f.all || len(f.roots) > 0 {
			t.Errorf("%d files opened after the end, %d lineages and %d roots found", n, len(f.found), len(f.roots))
		}
		if c := f.w.Sweep(context.Background()); len(c.Lineages)+len(f.found) != f.all || !c.Roots[0].Complete {
			t.Errorf("%d lineages of %d found before the end, %d after it", len(f.found), f.all, len(c.Lineages))
		}
	})
}

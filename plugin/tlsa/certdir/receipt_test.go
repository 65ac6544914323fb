package certdir

import (
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/sys/unix"
)

// A twin is one of two watchers of a tree, of which one sweeps lightly.
type twin struct {
	*live
	w    *Watcher
	read int // directories
}

func newTwin(t *testing.T, p *pki, base string, events bool, many int) *twin {
	w := New(Config{
		Certs: []string{base + "/live", base + "/flat", base + "/hop", base + "/linked"}, NoEvents: !events,
		Rescan: time.Minute, Quiet: quiet, MaxQuiet: maxQuiet,
	})
	w.many, w.rested = many, -100*365*24*time.Hour // the bubble's time is long before that of the files
	w.openSource = newFake().open                  // no event ever tells of anything
	w.disk.mounts = func() map[string]bool { return map[string]bool{"/": true} }
	tw := &twin{w: w}
	w.reader.open = func(path string, flags int) (int, error) {
		if flags&unix.O_DIRECTORY != 0 {
			tw.read++
		}
		return openDisk(path, flags)
	}
	v := newView(p, base)
	v.apply(w.Sweep(context.Background()))
	tw.live = start(t, w, v)
	return tw
}

func (tw *twin) state(base string) string {
	text := tw.String()
	for _, root := range []string{"/live", "/flat", "/hop", "/linked"} {
		text += "\n" + root + ": " + tw.root(base+root)
	}
	return text
}

// TestLightSweepsFindWhatWholeOnesFind changes a tree at random; no event tells of it.
func TestLightSweepsFindWhatWholeOnesFind(t *testing.T) {
	for _, events := range []bool{true, false} {
		t.Run(fmt.Sprintf("events %v", events), func(t *testing.T) {
			base, err := filepath.EvalSymlinks(t.TempDir())
			ok(t, err)
			synctest.Test(t, func(t *testing.T) {
				seed := rand.Uint64()
				c := &chaos{t: t, base: base, pki: newPKI(t), r: rand.New(rand.NewPCG(seed, 0))}
				for range 40 {
					c.act()
				}
				light, whole := newTwin(t, c.pki, base, events, 0), newTwin(t, c.pki, base, events, 1<<60)
				for n := range 150 {
					what := c.act()
					advance((filesEvery + 1) * time.Minute * 12 / 10)
					synctest.Wait()
					if got, want := light.state(base), whole.state(base); got != want {
						t.Fatalf("seed %d, step %d: after %q light sweeps find\n%s\nand whole ones\n%s", seed, n, what, got, want)
					}
				}
				if light.read*10 > whole.read*9 {
					t.Errorf("light sweeps have read %d directories, whole ones %d", light.read, whole.read)
				}
				light.stop()
				whole.stop()
			})
		})
	}
}

// chaos changes a tree: certbot's under live and archive, one directory of files, and one whose links lead through others.
type chaos struct {
	t     *testing.T
	base  string
	pki   *pki
	r     *rand.Rand
	n     int
	moved bool
}

func (c *chaos) act() string {
	c.n++
	host := fmt.Sprintf("h%d", c.r.IntN(12))
	leaf := c.pki.issue(fmt.Sprintf("%s-%d", host, c.n), host+".example.org").fullchain
	live, archive := c.base+"/live/"+host, c.base+"/archive/"+host
	flat := c.base + "/flat/" + host + ".pem"
	acts := []struct {
		what string
		do   func()
	}{
		{"all anew", func() {
			_ = os.RemoveAll(live)
			_ = os.RemoveAll(archive)
			write(c.t, archive+"/cert1.pem", leaf)
			link(c.t, "../../archive/"+host+"/cert1.pem", live+"/cert.pem")
			replace(c.t, flat, leaf)
		}},
		{"a renewal", func() {
			name := fmt.Sprintf("fullchain%d.pem", c.n)
			write(c.t, archive+"/"+name, leaf)
			link(c.t, "../../archive/"+host+"/"+name, live+"/fullchain.pem")
		}},
		{"a write in place", func() { c.overwrite(live+"/fullchain.pem", leaf) }},
		{"a lineage removed", func() { _ = os.RemoveAll(live) }},
		{"an archive removed", func() { _ = os.RemoveAll(archive) }},
		{"an archive moved", func() { _ = os.Rename(archive, archive+fmt.Sprint(c.n)) }},
		{"a lineage moved", func() { _ = os.Rename(live, c.base+"/live/g"+fmt.Sprint(c.n)) }},
		{"a certificate beside", func() { write(c.t, flat, leaf) }},
		{"a certificate replaced", func() { replace(c.t, flat, leaf) }},
		{"a certificate removed", func() { _ = os.Remove(flat) }},
		{"a file cut", func() { c.overwrite(flat, leaf[:len(leaf)/3]) }},
		{"no certificate any more", func() { c.overwrite(flat, "nothing") }},
		{"a link to another lineage", func() { link(c.t, "../../archive/h0/fullchain1.pem", live+"/cert.pem") }},
		{"writable by anyone", func() { _ = os.Chmod(c.r2(live, archive, flat), 0o777) }},
		{"a directory of a group", func() { _ = os.Chmod(live, 0o775) }},
		{"a link on the way", func() { c.hop(leaf) }},
		{"another owner", func() { _ = os.Chown(flat, 4242, -1) }}, // which root alone can do
		{"a root elsewhere", func() {
			tree := fmt.Sprintf("tree%d", c.n%2)
			for _, name := range []string{host, "h0"} {
				if _, err := os.Lstat(c.base + "/" + tree + "/" + name); err != nil {
					write(c.t, c.base+"/"+tree+"/"+name+"/cert.pem", leaf)
				}
			}
			link(c.t, tree, c.base+"/linked")
		}},
		{"a key", func() { write(c.t, live+"/privkey.pem", "secret") }},
		{"a deep directory", func() { write(c.t, live+"/1/2/3/4/5/cert.pem", leaf) }},
	}
	a := acts[max(0, c.r.IntN(len(acts)+6)-6)]
	a.do()
	return a.what + " at " + host
}

func (c *chaos) r2(paths ...string) string { return paths[c.r.IntN(len(paths))] }

// overwrite writes to a file that exists, so that no directory changes.
func (c *chaos) overwrite(path, text string) {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_TRUNC, 0)
	if err != nil {
		return
	}
	_, err = f.WriteString(text)
	ok(c.t, err)
	ok(c.t, f.Close())
}

// hop swaps the link in the middle of the way from hop/x.pem to its file.
func (c *chaos) hop(leaf string) {
	version := fmt.Sprintf("v%d", c.n%2)
	write(c.t, c.base+"/versions/"+version+"/x.pem", leaf)
	link(c.t, version, c.base+"/versions/current")
	if _, err := os.Lstat(c.base + "/hop/x.pem"); err != nil {
		link(c.t, "../versions/current/x.pem", c.base+"/hop/x.pem")
	}
}

// What has just changed may change again without a trace in the times.
func TestFreshDirectoriesAreReadAgain(t *testing.T) {
	dir := t.TempDir()
	p := newPKI(t)
	write(t, dir+"/a/cert.pem", p.issue("a").fullchain)
	w := New(Config{Certs: []string{dir}, NoEvents: true, Rescan: time.Minute})
	w.many = 0
	w.Sweep(context.Background())
	for path, d := range w.roots[0].tops[dir].subs {
		if d.receipt != nil {
			t.Errorf("%s changed a moment ago and has a receipt", path)
		}
	}
	old := time.Now().Add(-time.Hour)
	w.rested = -time.Hour
	w.Sweep(context.Background())
	if r := w.roots[0].tops[dir].subs["a"].receipt; r == nil || r.files != 1 || r.entries != 1 {
		t.Errorf("the receipt of a directory with one file, %s old: %+v", time.Since(old), r)
	}
}

// Light sweeps read nothing again, and keep the watches.
func TestLightSweepsReadNothing(t *testing.T) {
	base, err := filepath.EvalSymlinks(t.TempDir())
	ok(t, err)
	p := newPKI(t)
	write(t, base+"/archive/a/cert1.pem", p.issue("a").fullchain)
	link(t, "../../archive/a/cert1.pem", base+"/live/a/cert.pem")
	w := New(Config{Certs: []string{base + "/live"}, Rescan: time.Minute, Quiet: quiet, MaxQuiet: maxQuiet})
	w.many, w.rested = 0, -time.Hour
	f := newFake()
	w.openSource = f.open
	w.Sweep(context.Background())
	read := 0
	w.reader.open = func(path string, flags int) (int, error) {
		read++
		return openDisk(path, flags)
	}
	r := runner{w: w, ctx: t.Context(), apply: func(Changes) {}}
	defer r.disconnect()
	if r.sweep(true); f.count(base+"/live/a") == 0 || f.count(base+"/archive/a") == 0 {
		t.Error("the first sweep with events has not watched everything")
	}
	for range wholeEvery + 1 {
		r.sweep(true)
	}
	if read > 6 {
		t.Errorf("%d directories read in %d sweeps of two", read, wholeEvery+2)
	}
	for _, path := range []string{"/live/a", "/archive/a"} {
		if n := f.count(base + path); n < wholeEvery/armEvery || n > wholeEvery/armEvery+3 || f.removed(base+path) > 0 {
			t.Errorf("%s was asserted %d times and removed %d times in %d sweeps", strings.TrimPrefix(path, "/"), n, f.removed(base+path), wholeEvery+2)
		}
	}
	w.watches.drop(w.watches.byPath[base+"/archive/a"])
	if r.sweep(true); f.count(base+"/archive/a") == 0 {
		t.Error("a light sweep goes by a watch that was dropped")
	}
}

// An eager source changes a file just before its directory is watched for the first time.
type eager struct {
	*fake
	change map[string]func()
}

func (e *eager) Add(path string) error {
	if change := e.change[path]; change != nil {
		delete(e.change, path)
		change()
	}
	return e.fake.Add(path)
}

// The sweep that begins to watch a tree finds what was changed until then, though it reads nothing again (W4).
func TestWhatChangesBeforeItIsWatchedIsFound(t *testing.T) {
	p := newPKI(t)
	for what, change := range map[string]func(base string){
		"a file written to in place": func(base string) { write(t, base+"/archive/a/cert1.pem", p.issue("b").fullchain) },
		"a file replaced":            func(base string) { replace(t, base+"/archive/a/cert1.pem", p.issue("b").fullchain) },
		"another file linked":        func(base string) { link(t, "../../archive/b/cert1.pem", base+"/live/a/cert.pem") },
		"a directory moved": func(base string) {
			ok(t, os.Rename(base+"/archive/a", base+"/archive/c"))
			ok(t, os.Rename(base+"/archive/b", base+"/archive/a"))
		},
	} {
		for _, dir := range []string{"/live/a", "/archive/a"} {
			base, err := filepath.EvalSymlinks(t.TempDir())
			ok(t, err)
			for _, name := range []string{"a", "b"} {
				write(t, base+"/archive/"+name+"/cert1.pem", p.issue(name).fullchain)
				link(t, "../../archive/"+name+"/cert1.pem", base+"/live/"+name+"/cert.pem")
			}
			w := New(Config{Certs: []string{base + "/live"}, Rescan: time.Minute, Quiet: quiet, MaxQuiet: maxQuiet})
			w.many, w.rested = 0, -time.Hour
			w.Sweep(context.Background())
			f := newFake()
			w.openSource = func() (source, error) {
				return &eager{f, map[string]func(){base + dir: func() { change(base) }}}, nil
			}
			r := runner{w: w, ctx: t.Context(), apply: func(Changes) {}}
			if r.sweep(false); len(w.marks.queue) == 0 || f.count(base+"/live/b") == 0 {
				t.Errorf("%s before %s is watched: nothing is to be looked at", what, dir)
			}
			r.disconnect()
		}
	}
}

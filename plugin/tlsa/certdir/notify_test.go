package certdir

import (
	"context"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"
)

// quick is a watcher of dir/certs with real events and no sweeps worth waiting for.
func quick(t *testing.T) (w *Watcher, v *view, dir string) {
	base := t.TempDir()
	dir = base + "/certs"
	ok(t, os.Mkdir(dir, 0o755))
	w = New(Config{Certs: []string{dir}, Rescan: time.Hour, Quiet: 20 * time.Millisecond, MaxQuiet: time.Second})
	return w, newView(newPKI(t), base), dir
}

// inotify counts this process's inotify instances and the watches in them; both zero where there is no /proc.
func inotify(t *testing.T) (instances, watches int) {
	entries, _ := os.ReadDir("/proc/self/fd")
	for _, e := range entries {
		if to, _ := os.Readlink("/proc/self/fd/" + e.Name()); to != "anon_inode:inotify" {
			continue
		}
		instances++
		text, _ := os.ReadFile("/proc/self/fdinfo/" + e.Name())
		watches += strings.Count(string(text), "inotify wd:")
	}
	return instances, watches
}

func TestAHundredRunsLeaveNothingBehind(t *testing.T) {
	w, v, dir := quick(t)
	write(t, dir+"/a.pem", v.pki.issue("a1").fullchain)
	before, _ := inotify(t)
	for range 100 {
		ctx, cancel := context.WithCancel(t.Context())
		w.Run(ctx, func(Changes) { cancel() })
	}
	if after, _ := inotify(t); after != before {
		t.Errorf("%d inotify instances, before %d", after, before)
	}
}

func TestRetargetedDirectoriesLeakNoWatch(t *testing.T) {
	w, v, dir := quick(t)
	for _, name := range []string{"one", "two"} {
		write(t, v.base+"/"+name+"/tls.crt", v.pki.issue(name).fullchain)
	}
	link(t, "../one", dir+"/a")
	src, err := openNotifier()
	ok(t, err)
	drained := collect(src)
	w.watches = newWatches(src)
	defer func() { w.watches.close(); <-drained.done }()
	var first int
	for n := range 500 {
		link(t, "../"+[]string{"one", "two"}[n%2], dir+"/a")
		ok(t, os.RemoveAll(dir+"/b"))
		write(t, dir+"/b/tls.crt", v.pki.chain)
		w.Sweep(context.Background())
		if _, watches := inotify(t); n == 0 {
			first = watches
		} else if watches != first {
			t.Fatalf("round %d: %d watches, at first %d", n, watches, first)
		}
	}
}

func TestDirectoriesMadeWithAllTheirFilesAreNeverMissed(t *testing.T) {
	t.Parallel()
	w, v, dir := quick(t)
	l := start(t, w, v)
	l.await(t, l.armed, "armed")
	c := v.pki.issue("a1")
	for n := range 500 {
		into := fmt.Sprintf("%s/d%03d", dir, n)
		write(t, into+"/privkey.pem", c.key)
		write(t, into+"/cert.pem", c.cert)
		write(t, into+"/chain.pem", v.pki.chain)
		write(t, into+"/fullchain.pem", c.fullchain)
	}
	l.await(t, func() string { return fmt.Sprint(strings.Count(l.String(), "; a1 cert.pem fullchain.pem")) }, "500")
}

// A directory that takes another's place may even get its inode number: only a fresh watch hears of what happens in it.
func TestDirectoryMadeAnewIsHeardAgain(t *testing.T) {
	t.Parallel()
	w, v, dir := quick(t)
	write(t, dir+"/x/a.pem", v.pki.issue("a0").fullchain)
	l := start(t, w, v)
	l.await(t, l.armed, "armed")
	for n := range 10 {
		ok(t, os.RemoveAll(dir+"/x"))
		label := fmt.Sprint("a", 2*n+1)
		write(t, dir+"/x/a.pem", v.pki.issue(label).fullchain)
		l.await(t, l.String, "certs/x/a; "+label+" a.pem")
		label = fmt.Sprint("a", 2*n+2)
		replace(t, dir+"/x/a.pem", v.pki.issue(label).fullchain)
		l.await(t, l.String, "certs/x/a; "+label+" a.pem")
	}
}

func TestStopInTheMiddleOfAStormIsPrompt(t *testing.T) {
	w, v, dir := quick(t)
	l := start(t, w, v)
	l.await(t, l.armed, "armed")
	for n := range 500 {
		write(t, fmt.Sprintf("%s/%d.pem", dir, n), v.pki.chain)
	}
	l.stop()
}

func TestWatchesLeaveHalfForOthers(t *testing.T) {
	w, v, dir := quick(t)
	for _, name := range []string{"1", "2", "3"} {
		write(t, dir+"/"+name+"/a.pem", v.pki.issue(name).fullchain)
	}
	src := newFake()
	w.watches = newWatches(src)
	w.watches.most = 2
	v.apply(w.Sweep(context.Background()))
	if got := v.rootLine(dir); len(src.added) != 2 || got != "complete=true mixed=false watch-limit" {
		t.Error(len(src.added), got)
	}
}

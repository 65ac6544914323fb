//go:build referee

package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

// nobody runs the server without root's powers.
func nobody() []string {
	return []string{"setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"}
}

func (tr *trouble) disown() {
	tr.uid = 65534
	tr.execute("chown", "-R", "65534:65534", tr.dir)
	tr.execute("chmod", "755", tr.dir)
}

// mount puts a file system at a place of the rig until the test ends.
func (tr *trouble) mount(args ...string) {
	tr.t.Helper()
	at := args[len(args)-1]
	tr.execute("mount", args...)
	tr.t.Cleanup(func() { _ = unix.Unmount(at, unix.MNT_DETACH) })
}

// bound replaces a directory by a mount of another one.
func bound(place string) func(*trouble) {
	return func(tr *trouble) {
		tr.must(os.Rename(tr.path(place), tr.path("store")))
		tr.must(os.Mkdir(tr.path(place), 0o755))
		tr.mount("--bind", tr.path("store"), tr.path(place))
	}
}

func unmounted(place string) func(*trouble) func() {
	return func(tr *trouble) func() {
		tr.must(unix.Unmount(tr.path(place), unix.MNT_DETACH))
		return func() { tr.mount("--bind", tr.path("store"), tr.path(place)) }
	}
}

// moved takes something away, and brings it back.
func moved(place string) func(*trouble) func() {
	return func(tr *trouble) func() {
		tr.must(os.Rename(tr.path(place), tr.path("away")))
		return func() {
			tr.must(os.RemoveAll(tr.path(place)))
			tr.must(os.Rename(tr.path("away"), tr.path(place)))
		}
	}
}

// mode takes the permissions of something away, and gives them back.
func mode(place string, bad os.FileMode) func(*trouble) func() {
	return func(tr *trouble) func() {
		info, err := os.Stat(tr.path(place))
		tr.must(err)
		tr.must(os.Chmod(tr.path(place), bad))
		return func() { tr.must(os.Chmod(tr.path(place), info.Mode())) }
	}
}

// instead puts something else in the place of the certificate; the renewal comes later and replaces it.
func instead(do func(tr *trouble, path string)) func(*trouble) func() {
	return func(tr *trouble) func() {
		path := tr.path(liveFile)
		tr.must(os.Remove(path))
		do(tr, path)
		return func() { tr.must(os.RemoveAll(path)) }
	}
}

func text(content string) func(*trouble, string) {
	return func(tr *trouble, path string) { write(tr.t, path, content) }
}

// placeFaults are what happens to directories and files of certificates.
func placeFaults() map[string]fault {
	gone := func(place string) func(*trouble) func() {
		return func(tr *trouble) func() {
			tr.must(os.RemoveAll(tr.path(place)))
			return func() { tr.place("live", "web", tr.web) }
		}
	}
	own := (*trouble).disown
	return map[string]fault{
		"the certificates' directory is deleted":            {begin: gone("live"), reason: "missing-root", later: true},
		"the certificates' directory is moved":              {begin: moved("live"), reason: "missing-root", later: true},
		"the lineage's directory is deleted":                {begin: gone(liveDir), reason: "source-missing", later: true},
		"the lineage's directory is moved":                  {begin: moved(liveDir), reason: "source-missing", later: true},
		"the certificates are unmounted":                    {prepare: bound("live"), begin: unmounted("live"), reason: "removals-frozen", later: true},
		"the certificates' directory is unreadable":         {prefix: nobody(), prepare: own, begin: mode("live", 0), reason: "unreadable"},
		"the lineage's directory is unreadable":             {prefix: nobody(), prepare: own, begin: mode(liveDir, 0), reason: "unreadable"},
		"the certificate is unreadable":                     {prefix: nobody(), prepare: own, begin: mode(liveFile, 0), reason: "unreadable", later: true},
		"the certificates' directory is everybody's":        {begin: mode("live", 0o777), reason: "writable-directory"},
		"the lineage's directory is everybody's":            {begin: mode(liveDir, 0o777), reason: "writable-directory"},
		"the certificate is everybody's":                    {begin: mode(liveFile, 0o666), reason: "writable-file", later: true},
		"the certificate is empty":                          {begin: instead(text("")), reason: "empty", later: true},
		"the certificate is something else":                 {begin: instead(text("hello\n")), reason: "malformed", later: true},
		"the certificate is half a one":                     {begin: instead(func(tr *trouble, p string) { write(tr.t, p, tr.after.pem[:300]) }), reason: "truncated", later: true},
		"the certificate is too large":                      {begin: instead(text(strings.Repeat("# nothing\n", 1<<20))), reason: "too-large", later: true},
		"the certificate is a pipe":                         {begin: instead(func(tr *trouble, p string) { tr.must(unix.Mkfifo(p, 0o644)) }), reason: "not-regular", later: true},
		"the certificate is a link to itself":               {begin: instead(func(tr *trouble, p string) { tr.must(os.Symlink(p, p)) }), reason: "unreadable", later: true},
		"the certificate is a link to nowhere":              {begin: instead(func(tr *trouble, p string) { tr.must(os.Symlink("nowhere", p)) }), reason: "unreadable", later: true},
		"the certificates' directory is a file":             {begin: filed("live"), reason: "removals-frozen", later: true},
		"a hundred thousand events of other files":          {begin: crowd, published: true},
		"the server may open no more files":                 {begin: descriptorsGone, reason: "unreadable", mute: true},
		"no instance of inotify":                            {prefix: noInotify("instances"), begin: inotifyBack("instances"), reason: "watch-limit", published: true},
		"no watch of inotify":                               {prefix: noInotify("watches"), begin: inotifyBack("watches"), reason: "watch-limit", published: true},
		"a Corefile with an error":                          {begin: corefile("tlsa {", "tlsa {\n graze 1s"), published: true},
		"a Corefile with a stray brace":                     {begin: corefile("tlsa {", "tlsa { {"), published: true},
		"a Corefile with an unknown plugin":                 {begin: corefile("errors", "horrors"), published: true},
		"a Corefile without the key":                        {begin: corefile(demoKey, "Kelsewhere"), published: true},
		"a Corefile with a ledger that cannot be":           {begin: corefile("state/ledger", "nowhere/ledger"), published: true},
		"a Corefile with a status address that is nobody's": {begin: corefile("control control", "status 192.0.2.1:53\n control control"), published: true},
		"a Corefile with an address that is nobody's":       {begin: corefile("bind ", "bind 192.0.2.1 "), published: true},
		"a Corefile that is gone": {begin: func(tr *trouble) func() {
			tr.must(os.Rename(tr.conf, tr.conf+".away"))
			tr.signal(syscall.SIGUSR1)
			return func() { tr.must(os.Rename(tr.conf+".away", tr.conf)); tr.reloads() }
		}, published: true},
		"a storm of SIGHUP":                          {begin: storm(500, syscall.SIGHUP), published: true},
		"a storm of SIGUSR1":                         {begin: storm(40, syscall.SIGUSR1), published: true, loud: true},
		"a storm of signals":                         {begin: storm(300, syscall.SIGHUP, syscall.SIGWINCH, syscall.SIGURG, syscall.SIGCHLD, syscall.SIGPIPE, syscall.SIGUSR1), published: true, loud: true},
		"SIGUSR2, which cannot take over the ledger": {begin: upgrade, published: true},
		"a reload to another live tree":              {begin: otherTree, published: true, loud: true},
	}
}

// ledgerPlaces are what happens to the ledger's directory.
func ledgerPlaces() map[string]fault {
	const failing = "ledger-failing"
	own := (*trouble).disown
	foreign := func(tr *trouble) func() {
		end := moved(filepath.Join("state", "ledger"))(tr)
		write(tr.t, tr.path("state", "ledger"), "something else")
		return end
	}
	small := func(tr *trouble) {
		tr.mount("-t", "tmpfs", "-o", "size=1m", "rig", tr.path("state"))
		// A ledger goes on in the pages that it has: only with more owners than one page holds a renewal needs another.
		more := ""
		for port := range 60 {
			more += fmt.Sprintf(" _%d._tcp.mail", 1000+port)
		}
		write(tr.t, tr.conf, strings.Replace(read(tr.t, tr.conf), " _465._tcp.mail", " _465._tcp.mail"+more, 1))
	}
	return map[string]fault{
		"the ledger is deleted":                        {begin: deleted(filepath.Join("state", "ledger")), published: true},
		"the ledger and its copy are deleted":          {begin: deleted(filepath.Join("state", "ledger"), filepath.Join("state", "ledger.bak")), published: true},
		"the ledger's directory is deleted":            {begin: deleted("state"), reason: failing, published: true},
		"the ledger's directory is moved":              {begin: moved("state"), reason: failing, published: true},
		"the ledger's directory is unmounted":          {prepare: bound("state"), begin: unmounted("state"), published: true},
		"the ledger is another file":                   {begin: foreign, reason: failing, published: true},
		"the ledger is deleted where none can be made": {prefix: nobody(), prepare: own, begin: lockedOut, reason: failing, published: true},
		"the ledger's disk is full":                    {prepare: small, begin: filled, reason: failing, published: true},
		"the ledger's disk is full at a reload":        {prepare: small, begin: filledAndReloaded, published: true, loud: true},
	}
}

func deleted(places ...string) func(*trouble) func() {
	return func(tr *trouble) func() {
		for _, p := range places {
			tr.must(os.RemoveAll(tr.path(p)))
		}
		return func() { tr.must(os.MkdirAll(tr.path("state"), 0o755)) }
	}
}

func lockedOut(tr *trouble) func() {
	end := mode("state", 0o555)
	tr.must(os.Remove(tr.path("state", "ledger")))
	return end(tr)
}

// filled leaves not one page.
func filled(tr *trouble) func() {
	f, err := os.Create(tr.path("state", "filler"))
	tr.must(err)
	for err == nil {
		_, err = f.Write(make([]byte, 4096))
	}
	tr.must(f.Close())
	return func() { tr.must(os.Remove(tr.path("state", "filler"))) }
}

func filledAndReloaded(tr *trouble) func() {
	end := filled(tr)
	tr.signal(syscall.SIGUSR1)
	return end
}

func filed(place string) func(*trouble) func() {
	return func(tr *trouble) func() {
		end := moved(place)(tr)
		write(tr.t, tr.path(place), "a file")
		return end
	}
}

// crowd makes more events than the queue of inotify holds.
func crowd(tr *trouble) func() {
	for n := range 50000 {
		path := tr.path("live", fmt.Sprintf("crowd%d.tmp", n%10))
		tr.must(os.WriteFile(path, nil, 0o644))
		tr.must(os.Remove(path))
	}
	return func() {}
}

// descriptorsGone lets the server keep what it has open, and open nothing more.
func descriptorsGone(tr *trouble) func() {
	pid := tr.cmd.Process.Pid
	var was unix.Rlimit
	now := unix.Rlimit{Cur: 3}
	tr.must(unix.Prlimit(pid, unix.RLIMIT_NOFILE, nil, &was))
	now.Max = was.Max
	tr.must(unix.Prlimit(pid, unix.RLIMIT_NOFILE, &now, nil))
	return func() { tr.must(unix.Prlimit(pid, unix.RLIMIT_NOFILE, &was, nil)) }
}

// noInotify runs the server in a user namespace whose limit is 0: that of the system is not touched.
func noInotify(what string) []string {
	return []string{"unshare", "-U", "-r", "sh", "-c", "echo 0 >/proc/sys/user/max_inotify_" + what + ` && exec "$0" "$@"`}
}

func inotifyBack(what string) func(*trouble) func() {
	return func(tr *trouble) func() {
		return func() {
			tr.execute("nsenter", "-U", "-t", strconv.Itoa(tr.cmd.Process.Pid), "--preserve-credentials",
				"sh", "-c", "echo 128 >/proc/sys/user/max_inotify_"+what)
		}
	}
}

// corefile reloads to a Corefile that cannot be started, and at the end to the old one.
func corefile(was, is string) func(*trouble) func() {
	return func(tr *trouble) func() {
		good := read(tr.t, tr.conf)
		bad := strings.Replace(good, was, is, 1)
		if bad == good {
			tr.t.Fatalf("no %q in the Corefile", was)
		}
		write(tr.t, tr.conf, bad)
		tr.signal(syscall.SIGUSR1)
		poll(tr.t, "the refusal", func() (bool, string) {
			return strings.Contains(tr.log.String(), "[ERROR] SIGUSR1"), tr.log.String()
		})
		return func() {
			write(tr.t, tr.conf, good)
			tr.reloads()
		}
	}
}

// reloads waits for a reload that must succeed.
func (tr *trouble) reloads() {
	tr.t.Helper()
	before := strings.Count(tr.log.String(), "Reloading complete")
	tr.signal(syscall.SIGUSR1)
	poll(tr.t, "the reload", func() (bool, string) {
		return strings.Count(tr.log.String(), "Reloading complete") > before, tr.log.String()
	})
}

// otherTree reloads to a copy of the directory with the certificates, and back.
func otherTree(tr *trouble) func() {
	good := read(tr.t, tr.conf)
	tr.execute("cp", "-r", tr.path("live"), tr.path("live2"))
	write(tr.t, tr.conf, strings.Replace(good, "certs live", "certs live live2", 1))
	tr.reloads()
	return func() {
		write(tr.t, tr.conf, good)
		tr.reloads()
	}
}

// storm sends signals as fast as it can.
func storm(n int, signals ...syscall.Signal) func(*trouble) func() {
	return func(tr *trouble) func() {
		for i := range n {
			tr.signal(signals[i%len(signals)])
		}
		return func() {}
	}
}

// upgrade starts a second process of CoreDNS, which gives up after ten seconds.
func upgrade(tr *trouble) func() {
	tr.signal(syscall.SIGUSR2)
	return func() {
		poll(tr.t, "the refusal", func() (bool, string) {
			return strings.Contains(tr.log.String(), "[ERROR] SIGUSR2"), tr.log.String()
		})
	}
}

func TestDirectoriesFilesLimitsAndSignals(t *testing.T) {
	t.Parallel()
	suffering(t, placeFaults())
}

func TestTheLedgersDirectory(t *testing.T) {
	t.Parallel()
	suffering(t, ledgerPlaces())
}

func TestStormOfSIGTERMEndsOnceAndInOrder(t *testing.T) {
	t.Parallel()
	tr := &trouble{rig: newRig(t, killGrace, "")}
	c := newCert(t)
	tr.place("live", "mail", c)
	tr.place("live", "web", newWebCert(t))
	for range 5 {
		tr.startAs()
		tr.has(c)
		for range 100 {
			if tr.cmd.Process.Signal(syscall.SIGTERM) != nil {
				break
			}
		}
		if err := tr.cmd.Wait(); err != nil {
			t.Fatalf("SIGTERM: %v\n%s", err, tr.log)
		}
		tr.cmd = nil
	}
	tr.startAs()
	tr.settled(c)
	if s := tr.status(); s.Blocks[0].LedgerOrigin != "intact" {
		t.Errorf("the ledger is %s", s.Blocks[0].LedgerOrigin)
	}
}

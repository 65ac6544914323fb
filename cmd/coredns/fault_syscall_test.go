//go:build referee

package main

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
)

// An injection makes system calls of the running server fail, by strace.
type injection struct {
	calls, errno string
	paths        []string // below the rig's directory; none: all calls
}

// inject lets strace attach, and gives the function that lets it go again.
func inject(all ...injection) func(*trouble) func() {
	return func(tr *trouble) func() {
		tr.t.Helper()
		out := tr.path("strace")
		args := []string{"-f", "-p", strconv.Itoa(tr.cmd.Process.Pid), "-o", out}
		var calls, paths []string
		for _, i := range all {
			calls = append(calls, i.calls)
			args = append(args, "-e", "inject="+i.calls+":error="+i.errno)
			paths = append(paths, i.paths...)
		}
		slices.Sort(paths)
		for _, p := range slices.Compact(paths) {
			args = append(args, "-P", tr.path(p))
		}
		strace := exec.Command("strace", append(args, "-e", "trace="+strings.Join(calls, ","))...)
		log := &journal{}
		strace.Stderr = log
		tr.must(strace.Start())
		tr.t.Cleanup(func() { _ = strace.Process.Kill(); _ = strace.Wait() })
		poll(tr.t, "strace", func() (bool, string) { return strings.Contains(log.String(), "attached"), log.String() })
		tr.injected = func() int {
			data, _ := os.ReadFile(out) // not there yet: none
			return bytes.Count(data, []byte("(INJECTED)"))
		}
		return func() {
			_ = strace.Process.Signal(syscall.SIGINT)
			_ = strace.Wait()
			if tr.injected() == 0 {
				tr.t.Errorf("no system call failed:\n%s", log)
			}
		}
	}
}

// Where the certificates lie, and the directories above them.
var (
	liveFile = filepath.Join("live", "mail", "fullchain.pem")
	liveDir  = filepath.Join("live", "mail")
)

// ledgerInjections are failures of what the ledger does. A failed fdatasync makes it write a new file.
func ledgerInjections() map[string]fault {
	faults := map[string]fault{}
	add := func(claim, reason string, until int, all ...injection) {
		faults[claim] = fault{begin: inject(all...), reason: reason, until: until, published: true}
	}
	for _, errno := range []string{"EIO", "ENOSPC", "EROFS", "EDQUOT"} {
		for _, call := range []string{"fdatasync", "pwrite64"} {
			add(call+" fails with "+errno, "ledger-failing", 0, injection{calls: call, errno: errno})
		}
	}
	for _, call := range []string{"fdatasync", "pwrite64"} {
		for until, times := range map[int]string{1: "once", 3: "some times"} {
			add(fmt.Sprintf("%s fails %s", call, times), "ledger-failing", until, injection{calls: call, errno: "EIO"})
		}
	}
	bad := injection{calls: "fdatasync", errno: "EIO"}
	for call, errnos := range map[string][]string{
		"renameat": {"EIO", "EROFS", "EACCES", "ENOSPC", "EDQUOT"}, "fsync": {"EIO", "ENOSPC"}, "flock": {"ENOLCK"},
	} {
		for _, errno := range errnos {
			add("fdatasync, and a new ledger's "+call+" with "+errno, "ledger-failing", 0, bad, injection{calls: call, errno: errno})
		}
	}
	state := []string{"state", filepath.Join("state", "ledger"), filepath.Join("state", "ledger.new"), filepath.Join("state", "ledger.bak")}
	for _, errno := range []string{"EMFILE", "EACCES", "EROFS", "ENFILE"} {
		add("fdatasync, and openat with "+errno, "ledger-failing", 0, bad, injection{"openat", errno, state})
	}
	for _, errno := range []string{"EIO", "EACCES", "ESTALE"} {
		add("fdatasync, and newfstatat with "+errno, "ledger-failing", 0, bad, injection{"newfstatat", errno, state})
	}
	// A mount with a file open for writing cannot be made read-only; a file system that met an error is: then all of these fail.
	var readOnly []injection
	for _, call := range []string{"pwrite64", "fdatasync", "fsync", "ftruncate", "fallocate", "renameat", "unlinkat"} {
		readOnly = append(readOnly, injection{call, "EROFS", state})
	}
	add("all that writes to a file system which is read-only now", "ledger-failing", 0, readOnly...)
	return faults
}

// directoryInjections are failures of what reads and watches the certificates.
func directoryInjections() map[string]fault {
	faults := map[string]fault{}
	add := func(call, errno, path, reason string) {
		faults[fmt.Sprintf("%s of %s with %s", call, filepath.Base(path), errno)] =
			fault{begin: inject(injection{call, errno, []string{path}}), reason: reason}
	}
	for _, errno := range []string{"EIO", "EACCES", "EMFILE", "ENOMEM"} {
		add("openat", errno, liveFile, "unreadable")
		add("openat", errno, liveDir, "unreadable")
		add("openat", errno, "live", "unreadable")
	}
	for _, errno := range []string{"EIO", "EACCES", "ESTALE"} {
		add("newfstatat", errno, liveFile, "unreadable")
		add("newfstatat", errno, liveDir, "unreadable")
		add("newfstatat", errno, "live", "unreadable")
		add("getdents64", errno, liveDir, "unreadable")
		add("getdents64", errno, "live", "unreadable")
	}
	for _, errno := range []string{"EIO", "ESTALE"} {
		add("read", errno, liveFile, "unreadable")
	}
	for _, errno := range []string{"ENOSPC", "ENOMEM"} {
		faults["inotify_add_watch with "+errno] =
			fault{begin: inject(injection{calls: "inotify_add_watch", errno: errno}), reason: "watch-limit", published: true}
	}
	return faults
}

func TestFailingSystemCallsOfTheLedger(t *testing.T) {
	t.Parallel()
	suffering(t, ledgerInjections())
}

func TestFailingSystemCallsOfTheDirectories(t *testing.T) {
	t.Parallel()
	suffering(t, directoryInjections())
}

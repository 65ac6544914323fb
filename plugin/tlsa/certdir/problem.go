package certdir

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"unicode"

	"golang.org/x/sys/unix"

	"github.com/coredns-tlsa/coredns-tlsa/plugin/tlsa/rollover"
)

// The reasons of this package's problems. Those marked (file) put a file in Doubt, those marked (root) stand in a Root;
// of these, those marked with a star leave it incomplete.
const (
	Unreadable        rollover.Reason = "unreadable"         // (file, root*) permissions, I/O error, a link that leads nowhere
	Malformed         rollover.Reason = "malformed"          // (file) no certificate can be read from it
	Truncated         rollover.Reason = "truncated"          // (file) it ends too early
	Empty             rollover.Reason = "empty"              // (file)
	TooLarge          rollover.Reason = "too-large"          // (file)
	NotRegular        rollover.Reason = "not-regular"        // (file) a directory, pipe, socket or device
	Unstable          rollover.Reason = "unstable"           // (file) it changes while it is read
	Replaced          rollover.Reason = "no-certificate"     // (file) it held a certificate, and now something else
	WritableFile      rollover.Reason = "writable-file"      // (file) mode o+w
	WritableDirectory rollover.Reason = "writable-directory" // (file, root*) mode o+w
	GroupWritable     rollover.Reason = "group-writable"     // (root) a warning: it is read all the same
	MissingRoot       rollover.Reason = "missing-root"       // (file, root*)
	TooManyEntries    rollover.Reason = "too-many-entries"   // (root*)
	TooDeep           rollover.Reason = "too-deep"           // (root) directories below are not read
	DetachedMount     rollover.Reason = "detached-mount"     // (file, root*) its mount's source was removed: it can no longer change
	WatchLimit        rollover.Reason = "watch-limit"        // (root) changes are found by sweeps only
)

// show makes a path fit for a log line: as it is, or quoted where something in it could be taken for more than a path.
func show(path string) string {
	odd := func(r rune) bool { return !unicode.IsPrint(r) || r == '"' || r == unicode.ReplacementChar }
	if strings.ContainsFunc(path, odd) {
		return strconv.Quote(path)
	}
	return path
}

func problem(reason rollover.Reason, format string, args ...any) *rollover.Problem {
	return &rollover.Problem{Reason: reason, Text: fmt.Sprintf(format, args...)}
}

// unreadable explains why a path cannot be read: for want of permission, who may and who we are.
func unreadable(path string, err error) *rollover.Problem {
	if pathError, ok := errors.AsType[*fs.PathError](err); ok {
		err = pathError.Err
	}
	switch {
	case errors.Is(err, fs.ErrPermission):
		what, st := blocked(path)
		return problem(Unreadable, "cannot read %s: permission denied by %s (mode %04o, owner %d:%d, this process runs as %d:%d): "+
			"let that user or group read it", show(path), show(what), st.mode&0o7777, st.uid, st.gid, os.Geteuid(), os.Getegid())
	case errors.Is(err, fs.ErrNotExist):
		return problem(Unreadable, "cannot read %s: it is a link that leads nowhere: mend or remove it", show(path))
	case errors.Is(err, unix.ELOOP):
		return problem(Unreadable, "cannot read %s: its links lead in a circle or over more than %d hops: mend or remove it", show(path), maxHops)
	}
	return problem(Unreadable, "cannot read %s: %v: mend the file or its file system", show(path), err)
}

// blocked finds what refuses: path itself, or the deepest directory above it that can still be looked at.
func blocked(path string) (string, info) {
	for {
		st, err := lstat(path)
		if err == nil || path == filepath.Dir(path) {
			return path, st
		}
		path = filepath.Dir(path)
	}
}

func writableDirectory(path string) *rollover.Problem {
	return problem(WritableDirectory, "%s is not read: anyone may write to it and so add keys to DNS: chmod o-w it", show(path))
}

func detachedMount(path string) *rollover.Problem {
	return problem(DetachedMount, "%s is a mount whose source was removed or replaced, so it can no longer change: mount it again, "+
		"and the directory above it rather than a file, so that replacements are seen", show(path))
}

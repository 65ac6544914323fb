package certdir

import (
	"math/rand/v2"
	"os"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// A disk is what the watcher asks the system about files and mounts; tests put faults and mounts in between.
type disk struct {
	lstat  func(path string) (info, error)
	volume func(path string) volume
	// mounts are the paths at which something is mounted now; none where the system does not tell.
	mounts func() map[string]bool
}

func newDisk() disk { return disk{lstat: lstat, volume: volumeOf, mounts: mountPoints} }

// A volume is the file system that a path lies on; all false where the system does not tell.
type volume struct {
	readOnly bool
	remote   bool // others write to it, and no event tells of it (W24)
	fuse     bool
}

func volumeOf(path string) volume {
	var st unix.Statfs_t
	for {
		switch err := unix.Statfs(path, &st); err {
		case nil:
			return volume{readOnly: st.Flags&readOnlyFlag != 0, remote: isRemote(&st), fuse: isFUSE(&st)}
		case unix.EINTR:
		default:
			return volume{}
		}
	}
}

func mountPoints() map[string]bool {
	text, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		return nil
	}
	return parseMounts(string(text))
}

// parseMounts reads the mount points out of proc_pid_mountinfo(5): the fifth field, white space in it escaped in octal.
func parseMounts(text string) map[string]bool {
	points := make(map[string]bool)
	for line := range strings.Lines(text) {
		if fields := strings.Fields(line); len(fields) > 4 {
			points[unescape(fields[4])] = true
		}
	}
	return points
}

func unescape(field string) string {
	var b strings.Builder
	for {
		before, after, found := strings.Cut(field, `\`)
		b.WriteString(before)
		if !found {
			return b.String()
		}
		if n, err := strconv.ParseUint(after[:min(3, len(after))], 8, 8); err == nil {
			b.WriteByte(byte(n))
			after = after[3:]
		} else {
			b.WriteByte('\\')
		}
		field = after
	}
}

// isMount tells whether something is mounted at exactly that path, asking once a scan.
func (s *scan) isMount(path string) bool {
	if s.mounts == nil {
		if s.mounts = s.w.disk.mounts(); s.mounts == nil {
			s.mounts = map[string]bool{}
		}
	}
	return s.mounts[path]
}

// openToAll tells whether anyone may write to path, which is st: nobody can on a read-only mount, whatever the mode says,
// as in a Kubernetes Secret.
func (k *disk) openToAll(path string, st info) bool {
	return st.openToAll() && !k.volume(path).readOnly
}

// isDetached tells of a mount whose source was removed (W9): the one way in which something with a path can have no name.
// Some user-space file systems know no link counts at all.
func (k *disk) isDetached(path string, st info) bool { return st.nameless && !k.volume(path).fuse }

// onVolume notes on what file system a root's directory or file lies, asking once for each device.
func (s *scan) onVolume(r *root, path string, dev uint64) {
	if r.survey == nil {
		return
	}
	remote, known := s.remote[dev]
	if !known {
		remote = s.w.disk.volume(path).remote
		s.remote[dev] = remote
	}
	r.survey.remote = r.survey.remote || remote
}

// remotePoll is the least time between two looks at a root of which no event tells, and half of the longest.
const remotePoll = 15 * time.Second

// pollAgain has a root on a remote file system looked at before the next sweep, unless that is as costly as it is slow.
func (s *scan) pollAgain(r *root, took time.Duration) {
	next := max(remotePoll+rand.N(remotePoll), 10*took)
	if r.remote && next < s.w.cfg.Rescan {
		s.w.marks.again(r, time.Now().Add(next), 0)
	}
}

package main

import (
	"fmt"
	"os"
	"path"
	"path/filepath"
	"strings"
)

// heldDirectory gives an error where somebody holds the directory itself and not its name, and so would stay with the old files
// after an exchange: a container that has it mounted, or a process that works in it. It knows what the system tells this
// user; proc is Linux's /proc, and elsewhere there is none.
func heldDirectory(proc, dir string) error {
	info, err := os.Stat(dir)
	if err != nil {
		return err
	}
	if here, err := os.Stat("."); err == nil && os.SameFile(info, here) {
		return fmt.Errorf("tlsactl was started in %s", dir)
	}
	place, err := placeOf(proc, dir)
	if err != nil {
		return nil //nolint:nilerr // without /proc nothing more is known, and the exchange itself refuses a mount point
	}
	processes, err := filepath.Glob(filepath.Join(proc, "[0-9]*"))
	if err != nil {
		return err
	}
	seen := make(map[string]bool)
	for _, p := range processes {
		for _, link := range []string{"cwd", "root"} {
			if at, err := os.Stat(filepath.Join(p, link)); err == nil && os.SameFile(info, at) {
				return fmt.Errorf("process %s works in %s", filepath.Base(p), dir)
			}
		}
		space, err := os.Readlink(filepath.Join(p, "ns", "mnt"))
		if err == nil && seen[space] {
			continue
		}
		seen[space] = true
		mounts, err := readMounts(filepath.Join(p, "mountinfo"))
		if err != nil {
			continue // the process has ended
		}
		for _, m := range mounts {
			if m.device == place.device && m.root == place.root {
				return fmt.Errorf("process %s sees %s mounted at %s", filepath.Base(p), dir, m.point)
			}
		}
	}
	return nil
}

// A mount is one line of /proc/PID/mountinfo (proc_pid_mountinfo(5)).
type mount struct {
	device string
	root   string // what is mounted, within its file system
	point  string // where
}

func readMounts(file string) (out []mount, err error) {
	data, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	unescape := strings.NewReplacer(`\040`, " ", `\011`, "\t", `\012`, "\n", `\134`, `\`)
	for line := range strings.Lines(string(data)) {
		if f := strings.Fields(line); len(f) > 4 {
			out = append(out, mount{device: f[2], root: unescape.Replace(f[3]), point: unescape.Replace(f[4])})
		}
	}
	return out, nil
}

// placeOf finds a directory within its file system: the mount that it lies in, with its path there as the root.
func placeOf(proc, dir string) (place mount, err error) {
	mounts, err := readMounts(filepath.Join(proc, "self", "mountinfo"))
	if err != nil {
		return place, err
	}
	if dir, err = filepath.EvalSymlinks(dir); err != nil {
		return place, err
	}
	for _, m := range mounts {
		rest, below := strings.CutPrefix(dir+"/", strings.TrimSuffix(m.point, "/")+"/")
		// Of two mounts at one point the later one is seen.
		if below && len(m.point) >= len(place.point) {
			place = mount{device: m.device, root: path.Join(m.root, rest), point: m.point}
		}
	}
	return place, nil
}

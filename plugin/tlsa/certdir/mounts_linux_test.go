//go:build referee

package certdir

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// The kernel as referee: what real mounts do. Each test runs in a mount namespace of its own, which needs root.

const inside = "CERTDIR_IN_MOUNT_NAMESPACE"

// mounted runs a test in a process with its own mounts, a tmpfs at dir among them.
func mounted(t *testing.T, test func(t *testing.T, w *Watcher, v *view, base, dir string)) {
	t.Helper()
	if os.Getenv(inside) == "" {
		cmd := exec.Command(os.Args[0], "-test.run=^"+t.Name()+"$", "-test.count=1", "-test.v")
		cmd.Env = append(os.Environ(), inside+"=1")
		cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWNS}
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("%v\n%s", err, out)
		}
		return
	}
	ok(t, unix.Mount("none", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""))
	base := t.TempDir()
	ok(t, unix.Mount("tmpfs", base, "tmpfs", 0, "mode=755"))
	t.Cleanup(func() { _ = unix.Unmount(base, unix.MNT_DETACH) })
	dir := base + "/certs"
	ok(t, os.Mkdir(dir, 0o755))
	w := New(Config{Certs: []string{dir}, Rescan: time.Hour, Quiet: 20 * time.Millisecond, MaxQuiet: time.Second})
	test(t, w, newView(newPKI(t), base), base, dir)
}

func bind(t *testing.T, from, to string) {
	t.Helper()
	ok(t, unix.Mount(from, to, "", unix.MS_BIND, ""))
	t.Cleanup(func() { _ = unix.Unmount(to, unix.MNT_DETACH) })
}

// W2: one file is mounted, and its source rewritten in place: only a watch on the file itself tells of that.
func TestRewrittenSourceOfAMountedFileIsHeard(t *testing.T) {
	mounted(t, func(t *testing.T, w *Watcher, v *view, base, dir string) {
		write(t, base+"/source.pem", v.pki.issue("a1").fullchain)
		write(t, dir+"/a.pem", "")
		bind(t, base+"/source.pem", dir+"/a.pem")
		l := start(t, w, v)
		l.await(t, l.String, "certs/a; a1 a.pem")
		for n := 2; n < 5; n++ {
			label := fmt.Sprint("a", n)
			write(t, base+"/source.pem", v.pki.issue(label).fullchain)
			l.await(t, l.String, "certs/a; "+label+" a.pem")
		}
	})
}

// W8: unmounted, mounted again, mounted over, of which the kernel tells nothing: the sweep finds it, and arms it anew.
func TestMountsThatComeAndGoAreArmedAnew(t *testing.T) {
	mounted(t, func(t *testing.T, w *Watcher, v *view, base, dir string) {
		w.cfg.Rescan = 200 * time.Millisecond
		ok(t, os.Mkdir(dir+"/x", 0o755))
		l := start(t, w, v)
		for n := range 3 {
			ok(t, unix.Mount("tmpfs", dir+"/x", "tmpfs", 0, "mode=755")) // from the second time on over the first
			label := fmt.Sprint("a", 2*n)
			write(t, dir+"/x/a.pem", v.pki.issue(label).fullchain)
			l.await(t, l.String, "certs/x/a; "+label+" a.pem")
		}
		for range 2 {
			ok(t, unix.Unmount(dir+"/x", 0))
		}
		l.await(t, l.String, "certs/x/a; a0 a.pem")
		l.stop()
		w.cfg.Rescan = time.Hour
		l = start(t, w, v)
		l.await(t, l.armed, "armed")
		write(t, dir+"/x/a.pem", v.pki.issue("last").fullchain)
		l.await(t, l.String, "certs/x/a; last a.pem")
		ok(t, unix.Unmount(dir+"/x", 0))
	})
}

// W9: what is mounted is removed at its source, a file and a directory.
func TestRemovedSourceOfAMountIsNamed(t *testing.T) {
	mounted(t, func(t *testing.T, w *Watcher, v *view, base, dir string) {
		write(t, base+"/..1/a.pem", v.pki.issue("a1").fullchain)
		write(t, base+"/..1/b/b.pem", v.pki.issue("b1").fullchain)
		write(t, dir+"/a.pem", "")
		ok(t, os.Mkdir(dir+"/b", 0o755))
		bind(t, base+"/..1/a.pem", dir+"/a.pem")
		bind(t, base+"/..1/b", dir+"/b")
		v.apply(w.Sweep(context.Background()))
		want := "certs/a; a1 a.pem; doubt a.pem detached-mount\ncerts/b/b; b1 b.pem"
		ok(t, os.Remove(base+"/..1/a.pem"))
		v.apply(w.Sweep(context.Background()))
		if got := v.String(); got != want {
			t.Error(got)
		}
		ok(t, os.RemoveAll(base+"/..1"))
		c := w.Sweep(context.Background())
		v.apply(c)
		if got := v.String(); got != want+"; doubt b.pem detached-mount" || c.Sweep.Detached != 2 {
			t.Error(got, c.Sweep.Detached)
		}
	})
}

// W24: an overlay whose lower layer is written to tells nothing; it is found to be one to poll, and the sweep finds the change.
func TestLowerLayerOfAnOverlayIsPolled(t *testing.T) {
	mounted(t, func(t *testing.T, w *Watcher, v *view, base, dir string) {
		for _, name := range []string{"lower", "upper", "work"} {
			ok(t, os.Mkdir(base+"/"+name, 0o755))
		}
		write(t, base+"/lower/a.pem", v.pki.issue("a1").fullchain)
		ok(t, unix.Mount("overlay", dir, "overlay", 0, "lowerdir="+base+"/lower,upperdir="+base+"/upper,workdir="+base+"/work"))
		v.apply(w.Sweep(context.Background()))
		if !v.roots[dir].Polling || !volumeOf(dir).remote || volumeOf(base).remote {
			t.Error("an overlay is taken for a local file system, or a tmpfs for a remote one")
		}
		write(t, base+"/lower/a.pem", v.pki.issue("a2").fullchain)
		v.apply(w.Sweep(context.Background()))
		if got := v.String(); got != "certs/a; a2 a.pem" {
			t.Error(got)
		}
		ok(t, unix.Unmount(dir, 0))
	})
}

// Rule 4.4: an unmounted root is an empty directory: its lineages are gone, together, which is for the publisher to judge.
func TestUnmountedVolumeIsReportedWhole(t *testing.T) {
	mounted(t, func(t *testing.T, w *Watcher, v *view, _, dir string) {
		ok(t, unix.Mount("tmpfs", dir, "tmpfs", 0, "mode=755"))
		for n := range 10 {
			write(t, fmt.Sprintf("%s/%d.pem", dir, n+10), v.pki.issue("a").fullchain)
		}
		v.apply(w.Sweep(context.Background()))
		ok(t, unix.Unmount(dir, 0))
		c := w.Sweep(context.Background())
		if len(v.lineages) != 10 || len(c.Lineages) != 10 || len(c.Roots) != 1 || !c.Roots[0].Complete {
			t.Errorf("%+v", c)
		}
	})
}

// What is mounted over a good certificate, or made in its place, and is none: nobody opens it, and the certificate stays.
func TestDevicesAndMountsInACertificatesPlaceLoseNothing(t *testing.T) {
	device := func(mode uint32, major, minor uint32) func(t *testing.T, base, path string) {
		return func(t *testing.T, _, path string) {
			ok(t, os.Remove(path))
			ok(t, unix.Mknod(path, mode|0o644, int(unix.Mkdev(major, minor))))
		}
	}
	places := map[string]struct {
		make func(t *testing.T, base, path string)
		want string
	}{
		"a device of zeros":        {device(unix.S_IFCHR, 1, 5), "; doubt a.pem not-regular"},
		"a terminal":               {device(unix.S_IFCHR, 5, 0), "; doubt a.pem not-regular"},
		"a device that never was":  {device(unix.S_IFCHR, 250, 99), "; doubt a.pem not-regular"},
		"a disk":                   {device(unix.S_IFBLK, 7, 0), "; doubt a.pem not-regular"},
		"a watchdog, to be opened": {device(unix.S_IFCHR, 10, 130), "; doubt a.pem not-regular"},
		"a device mounted":         {func(t *testing.T, _, path string) { bind(t, "/dev/zero", path) }, "; doubt a.pem not-regular"},
		"an empty file mounted":    {func(t *testing.T, base, path string) { write(t, base+"/empty", ""); bind(t, base+"/empty", path) }, "; doubt a.pem empty"},
		"a pipe mounted": {func(t *testing.T, base, path string) {
			ok(t, unix.Mkfifo(base+"/pipe", 0o644))
			bind(t, base+"/pipe", path)
		}, "; doubt a.pem not-regular"},
		"a file of anybody mounted": {func(t *testing.T, base, path string) {
			write(t, base+"/any", "x")
			ok(t, os.Chmod(base+"/any", 0o666))
			bind(t, base+"/any", path)
		}, "; doubt a.pem writable-file"},
	}
	mounted(t, func(t *testing.T, w *Watcher, v *view, base, dir string) {
		w.reader.open = func(path string, flags int) (int, error) {
			if st, err := lstat(path); err == nil && !st.isRegular() && flags&unix.O_DIRECTORY == 0 {
				t.Errorf("%s is opened, mode %o", path, st.mode)
			}
			return openDisk(path, flags)
		}
		for name, place := range places {
			t.Run(name, func(t *testing.T) {
				path := dir + "/x/a.pem"
				write(t, path, v.pki.issue("a1").fullchain)
				v.apply(w.Sweep(context.Background()))
				base := t.TempDir()
				place.make(t, base, path)
				v.apply(w.Sweep(context.Background()))
				if got, want := v.String(), "certs/x/a; a1 a.pem"+place.want; got != want {
					t.Errorf("got %s\nwant %s", got, want)
				}
				_ = unix.Unmount(path, unix.MNT_DETACH)
				ok(t, os.Remove(path))
			})
		}
		// A file system over the directory hides the file, and has a pipe where it was.
		write(t, dir+"/x/a.pem", v.pki.issue("a1").fullchain)
		v.apply(w.Sweep(context.Background()))
		ok(t, unix.Mount("tmpfs", dir+"/x", "tmpfs", 0, "mode=755"))
		ok(t, unix.Mkfifo(dir+"/x/a.pem", 0o644))
		v.apply(w.Sweep(context.Background()))
		if got, want := v.String(), "certs/x/a; a1 a.pem; doubt a.pem not-regular"; got != want {
			t.Errorf("under a file system: got %s\nwant %s", got, want)
		}
		ok(t, unix.Unmount(dir+"/x", 0))
		// The root itself mounted below itself ends, and names nothing twice.
		ok(t, os.Mkdir(dir+"/y", 0o755))
		bind(t, dir, dir+"/y")
		v.apply(w.Sweep(context.Background()))
		if got, want := v.String(), "certs/x/a; a1 a.pem"; got != want {
			t.Errorf("a root in itself: got %s\nwant %s", got, want)
		}
	})
}

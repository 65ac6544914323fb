package certdir

import (
	"context"
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/fsnotify/fsnotify"
	"golang.org/x/sys/unix"

	"github.com/coredns-tlsa/coredns-tlsa/plugin/tlsa/rollover"
)

// sweepOf makes the files of a directory, sweeps it, and gives what was found and what its root says.
func sweepOf(t *testing.T, make func(dir string, p *pki)) (*Watcher, *view, string) {
	t.Helper()
	dir := t.TempDir()
	p := newPKI(t)
	ok(t, os.Mkdir(dir+"/certs", 0o755))
	make(dir+"/certs", p)
	w, v := New(Config{Certs: []string{dir + "/certs"}, Rescan: rescan, Quiet: quiet, MaxQuiet: maxQuiet}), newView(p, dir)
	v.apply(w.Sweep(context.Background()))
	return w, v, v.rootLine(dir + "/certs")
}

func TestHostileFilesAreNamedAndNeverRead(t *testing.T) {
	for name, c := range map[string]struct {
		make func(t *testing.T, dir string)
		want string
	}{
		"a pipe":                 {func(t *testing.T, dir string) { ok(t, unix.Mkfifo(dir+"/a.pem", 0o644)) }, "certs/a; doubt a.pem not-regular"},
		"a device behind a link": {func(t *testing.T, dir string) { link(t, "/dev/zero", dir+"/a.pem") }, "certs/a; doubt a.pem not-regular"},
		"a pipe without a name that promises anything": {func(t *testing.T, dir string) { ok(t, unix.Mkfifo(dir+"/a", 0o644)) }, ""},
		"links in a circle": {func(t *testing.T, dir string) {
			link(t, "b.pem", dir+"/a.pem")
			link(t, "a.pem", dir+"/b.pem")
		}, "certs/a; doubt a.pem unreadable\ncerts/b; doubt b.pem unreadable"},
		"10 GiB of nothing": {func(t *testing.T, dir string) {
			write(t, dir+"/a.pem", "")
			ok(t, os.Truncate(dir+"/a.pem", 10<<30))
		}, "certs/a; doubt a.pem too-large"},
		"one octet too many":             {func(t *testing.T, dir string) { write(t, dir+"/a.pem", strings.Repeat("\n", maxSize+1)) }, "certs/a; doubt a.pem too-large"},
		"an empty file":                  {func(t *testing.T, dir string) { write(t, dir+"/a.pem", "") }, "certs/a; doubt a.pem empty"},
		"garbage":                        {func(t *testing.T, dir string) { write(t, dir+"/a.crt", "\x00\x01garbage") }, "certs/a; doubt a.crt malformed"},
		"garbage that promised nothing":  {func(t *testing.T, dir string) { write(t, dir+"/notes", "buy milk") }, ""},
		"anyone may write to it":         {func(t *testing.T, dir string) { write(t, dir+"/a.pem", "x"); ok(t, os.Chmod(dir+"/a.pem", 0o666)) }, "certs/a; doubt a.pem writable-file"},
		"a link to a writable directory": {writableTarget, "certs/a; doubt a.pem writable-directory"},
	} {
		t.Run(name, func(t *testing.T) {
			_, v, _ := sweepOf(t, func(dir string, _ *pki) { c.make(t, dir) })
			if got := v.String(); got != c.want {
				t.Errorf("got:\n%s\nwant:\n%s", got, c.want)
			}
		})
	}
}

// What opening a device does cannot be taken back, so the comparison that follows would come too late.
func TestFileThatBecomesALinkIsNotOpened(t *testing.T) {
	dir := t.TempDir()
	path := dir + "/a.pem"
	write(t, path, "x")
	st, err := lstat(path)
	ok(t, err)
	write(t, dir+"/device", "x")
	ok(t, os.Remove(path))
	link(t, "device", path)
	r := newReader()
	r.open = func(path string, flags int) (int, error) {
		fd, err := openDisk(path, flags)
		if err == nil {
			t.Error("it is opened")
		}
		return fd, err
	}
	if _, why := r.content(path, path, st); reasonOf(why) != Unstable {
		t.Error(why)
	}
	if r.canOpen(path) {
		t.Error("a private key is opened")
	}
}

func writableTarget(t *testing.T, dir string) {
	ok(t, os.Mkdir(dir+"/../open", 0o755))
	ok(t, os.Chmod(dir+"/../open", 0o1777)) // a sticky bit keeps nobody from adding a file
	write(t, dir+"/../open/a.pem", "x")
	link(t, "../open/a.pem", dir+"/a.pem")
}

func TestDirectoryLinksInACircleEnd(t *testing.T) {
	_, v, root := sweepOf(t, func(dir string, p *pki) {
		write(t, dir+"/x/a.pem", p.issue("a1").fullchain)
		link(t, "..", dir+"/x/up")
		link(t, ".", dir+"/x/here")
	})
	if got := v.String(); got != "certs/x/a; a1 a.pem" || root != "complete=true mixed=false" {
		t.Error(got, root)
	}
}

func TestOddNamesAreEscapedInTexts(t *testing.T) {
	name := strings.Repeat("n", 240) + "\n\x1b[31m.pem"
	_, v, _ := sweepOf(t, func(dir string, p *pki) { write(t, dir+"/"+name, "x") })
	if len(v.lineages) != 1 {
		t.Fatal(v)
	}
	for _, l := range v.lineages {
		for _, f := range l.Files {
			text := f.Doubt.Text
			if !strings.HasSuffix(f.Path, name) || strings.ContainsAny(text, "\n\x1b") || !strings.Contains(text, `\n\x1b[31m.pem`) {
				t.Errorf("%q", text)
			}
		}
	}
}

func TestForeignKeysAndChallengesAreNoLeaves(t *testing.T) {
	_, v, _ := sweepOf(t, func(dir string, p *pki) {
		write(t, dir+"/accounts/acme/directory/1/private_key.pem", p.issue("x").key)
		write(t, dir+"/account_key.pem", p.issue("x").key)
		write(t, dir+"/acme_account+key", p.issue("x").key)
		write(t, dir+"/alpn-certs/a.crt.pem", p.issue("challenge").cert)
		write(t, dir+"/challenge.pem", p.issue("challenge").fullchain)
		write(t, dir+"/renewal/a.pem", p.issue("x").fullchain)
		write(t, dir+"/backups/a/1/cert.pem", p.issue("x").fullchain)
		write(t, dir+"/a/ca.crt", p.chain)
		write(t, dir+"/a/tls.crt", p.issue("a1").cert)
		write(t, dir+"/a/key.pub", p.issue("x").public)
		write(t, dir+"/a/new.csr", p.issue("x").csr)
		write(t, dir+"/b.issuer.crt", p.chain)
		write(t, dir+"/b.crt", p.issue("b1").cert)
		write(t, dir+"/b_ecc.crt", p.issue("b2").fullchain)
	})
	want := "certs/a/a; a1 unissued tls.crt\ncerts/b; b1 b.crt\ncerts/b_ecc; b2 b_ecc.crt\ncerts/challenge"
	if got := v.String(); got != want {
		t.Errorf("got:\n%s\nwant:\n%s", got, want)
	}
	if name := v.lineages[v.base+"/certs/b_ecc"].Name; name != "b" {
		t.Error(name)
	}
}

func TestPrivateKeysAreNamedButNeverKept(t *testing.T) {
	base := t.TempDir()
	p := newPKI(t)
	c := p.issue("a1")
	write(t, base+"/a/privkey.pem", c.key)
	write(t, base+"/b.pem", c.key+c.fullchain)
	w := New(Config{Certs: []string{base}, Rescan: rescan, Quiet: quiet, MaxQuiet: maxQuiet})
	read, written, err := os.Pipe()
	ok(t, err)
	defer read.Close()
	defer written.Close()
	w.reader.open = func(path string, flags int) (int, error) {
		if strings.HasSuffix(path, "privkey.pem") {
			return unix.Dup(int(written.Fd())) // cannot be read from
		}
		return openDisk(path, flags)
	}
	v := newView(p, base)
	v.apply(w.Sweep(context.Background()))
	if got := v.String(); got != "a/a\nb; a1 b.pem" {
		t.Error(got)
	}
	if got := v.lineages[base+"/a/a"].PrivateKey + v.lineages[base+"/b"].PrivateKey; got != base+"/a/privkey.pem"+base+"/b.pem" {
		t.Error(got)
	}
	canary := strings.Split(c.key, "\n")[1]
	if dump := fmt.Sprintf("%+v", v.lineages[base+"/b"]); strings.Contains(dump, canary) || strings.Contains(string(w.reader.buf), canary) {
		t.Error("a private key is kept")
	}
	if strings.Trim(string(w.reader.buf), "\x00") != "" {
		t.Error("the buffer is not wiped")
	}
}

// The first case works for root too, who may read whatever the mode says.
func TestUnreadableFileKeepsItsLeafAndSaysWhy(t *testing.T) {
	play(t, func(s *stage) { write(t, s.dir+"/a.pem", s.pki.issue("a1").fullchain) }, func(s *stage) {
		s.fail("a.pem", unix.EACCES)
		ok(t, os.Chmod(s.dir+"/a.pem", 0))
		s.event("a.pem", fsnotify.Chmod)
		s.pass(quiet)
		s.want("certs/a; a1 a.pem; doubt a.pem unreadable")
		text := s.view.lineages[s.dir+"/a"].Files[0].Doubt.Text
		for _, part := range []string{s.dir + "/a.pem", "mode 0000", fmt.Sprintf("owner %d:", os.Getuid()), "let that user"} {
			if !strings.Contains(text, part) {
				t.Errorf("%q does not say %q", text, part)
			}
		}
		s.fail("", nil)
		ok(t, os.Chmod(s.dir+"/a.pem", 0o644))
		s.event("a.pem", fsnotify.Chmod)
		s.pass(quiet)
		s.want("certs/a; a1 a.pem")
	})
}

func TestModesKeepAnOrdinaryUserOut(t *testing.T) {
	modes := map[string]os.FileMode{"/x/a.pem": 0, "/x": 0}
	if os.Geteuid() == 0 {
		clear(modes) // nothing keeps root out
	}
	for path, mode := range modes {
		dir := ""
		w, v, _ := sweepOf(t, func(d string, p *pki) { dir = d; write(t, d+"/x/a.pem", p.issue("a1").fullchain) })
		ok(t, os.Chmod(dir+path, mode))
		v.apply(w.Sweep(context.Background()))
		ok(t, os.Chmod(dir+path, 0o755))
		if got := v.String(); got != "certs/x/a; a1 a.pem; doubt a.pem unreadable" {
			t.Errorf("%s: %s", path, got)
		}
	}
}

// Files of /proc, and of some user-space file systems, hold more or less than their size says; and a read may be short.
func TestFileIsWholeOnlyWithAsManyOctetsAsItsSizeSays(t *testing.T) {
	path := t.TempDir() + "/a.pem"
	c := newPKI(t).issue("a1")
	write(t, path, c.fullchain)
	st, err := lstat(path)
	ok(t, err)
	for size, want := range map[int64]rollover.Reason{
		int64(len(c.fullchain)): "", int64(len(c.cert)): Unstable, int64(len(c.fullchain)) + 1: Unstable, 0: Unstable, maxSize: Unstable,
	} {
		told := st
		told.size = size
		r := newReader()
		r.fstat = func(int) (info, error) { return told, nil }
		r.lstat = func(string) (info, error) { return told, nil }
		for _, most := range []int{1, len(c.fullchain) / 2, maxSize} {
			r.read = func(fd int, buf []byte) (int, error) { return unix.Read(fd, buf[:min(len(buf), most)]) }
			if _, why := r.content(path, path, told); reasonOf(why) != want {
				t.Errorf("a size of %d for %d octets, read %d at a time: %v", size, st.size, most, why)
			}
		}
	}
}

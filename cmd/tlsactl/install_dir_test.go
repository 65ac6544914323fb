package main

import (
	"bytes"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// here installs in this process. at is called before each step; change may change the world before it begins.
func (s *site) here(at func(step string), change func(*app), flags ...string) (code int, talk string) {
	s.t.Helper()
	var errs bytes.Buffer
	a := newTestApp(strings.NewReader(""), &bytes.Buffer{}, &errs, network{})
	if at != nil {
		a.atStep = at
	}
	if change != nil {
		change(a)
	}
	args := append([]string{"install", "--server", s.dns.addr, "--hold", "0"}, flags...)
	code = a.run(s.t.Context(), append(args, filepath.Join(s.dir, "staged"), s.path("installed")))
	return code, errs.String()
}

func (s *site) path(parts ...string) string {
	return filepath.Join(append([]string{s.dir}, parts...)...)
}

func (s *site) put(text string, parts ...string) {
	s.t.Helper()
	path := s.path(parts...)
	must(s.t, 0, os.MkdirAll(filepath.Dir(path), 0o755))
	must(s.t, 0, os.WriteFile(path, []byte(text), 0o640))
}

func (s *site) stat(parts ...string) *syscall.Stat_t {
	s.t.Helper()
	info, err := os.Lstat(s.path(parts...))
	return must(s.t, info, err).Sys().(*syscall.Stat_t)
}

// What is not of the lineage stays the very file it was, and so does what the directory says of who may use it.
func TestAnExchangeKeepsTheOtherFilesAndTheDirectorysRights(t *testing.T) {
	s := newSite(t, asDirectory)
	dir := s.path("installed")
	s.put("parameters", "installed", "dh.txt")
	must(t, 0, os.Chtimes(s.path("installed", "dh.txt"), time.Unix(1e9, 0), time.Unix(1e9, 0)))
	must(t, 0, os.Symlink("../elsewhere", s.path("installed", "link")))
	must(t, 0, os.Chmod(dir, 0o750|fs.ModeSetgid))
	must(t, 0, os.Lchown(dir, 12, 34))
	must(t, 0, unix.Setxattr(dir, "user.tlsactl", []byte("mark"), 0))
	was, file := s.stat("installed"), s.stat("installed", "dh.txt")
	if code, talk := s.here(nil, nil); code != 0 || s.read("installed", "cert.pem") == nil || talk != "" {
		t.Fatalf("exit %d: %s", code, talk)
	}
	is, kept := s.stat("installed"), s.stat("installed", "dh.txt")
	info, err := os.Stat(s.path("installed", "dh.txt"))
	if is.Ino == was.Ino {
		t.Error("the directory was not exchanged")
	}
	if is.Mode != was.Mode || is.Uid != 12 || is.Gid != 34 {
		t.Errorf("the directory has mode %o, owner %d:%d", is.Mode, is.Uid, is.Gid)
	}
	if mark, err := attribute(dir, "user.tlsactl"); err != nil || string(mark) != "mark" {
		t.Errorf("the directory's attribute is %q, %v", mark, err)
	}
	if kept.Ino != file.Ino || kept.Nlink != 1 || must(t, info, err).ModTime().Unix() != 1e9 {
		t.Errorf("another file: inode %d, was %d; %d names; time %d", kept.Ino, file.Ino, kept.Nlink, info.ModTime().Unix())
	}
	if to, err := os.Readlink(s.path("installed", "link")); err != nil || to != "../elsewhere" {
		t.Errorf("a link: %q, %v", to, err)
	}
}

// meddle is another program at work in a directory: it adds, replaces, appends to, and removes.
func (s *site) meddle(dir string) {
	s.t.Helper()
	s.put("added", dir, "added.txt")
	s.put("inside", dir, "sub", "inside.txt")
	s.put("older", dir, "t")
	must(s.t, 0, os.Rename(s.path(dir, "t"), s.path(dir, "younger.txt")))
	s.put("second", dir, "t")
	must(s.t, 0, os.Rename(s.path(dir, "t"), s.path(dir, "replaced.txt")))
	must(s.t, 0, os.Remove(s.path(dir, "removed.txt")))
	f, err := os.OpenFile(s.path(dir, "appended.txt"), os.O_APPEND|os.O_WRONLY, 0)
	_, err2 := must(s.t, f, err).WriteString(" more")
	must(s.t, 0, err2)
	must(s.t, 0, f.Close())
}

func (s *site) wantMeddled() {
	s.t.Helper()
	for name, want := range map[string]string{
		"added.txt": "added", "sub/inside.txt": "inside", "replaced.txt": "second", "appended.txt": "first more", "still.txt": "first",
	} {
		if got := string(s.read("installed", name)); got != want {
			s.t.Errorf("%s holds %q, want %q", name, got, want)
		}
	}
	if s.read("installed", "removed.txt") != nil {
		s.t.Error("what was removed is back")
	}
}

func (s *site) strangers() {
	for _, name := range []string{"replaced.txt", "removed.txt", "appended.txt", "still.txt", "younger.txt"} {
		s.put("first", "installed", name)
	}
}

func TestWhatOthersWriteBeforeTheExchangeIsCarriedOver(t *testing.T) {
	for claim, crash := range map[string]bool{"in one run": false, "after a crash": true} {
		t.Run(claim, func(t *testing.T) {
			s := newSite(t, asDirectory)
			s.strangers()
			at := func(step string) {
				switch {
				case step == "exchange":
					s.meddle("installed")
				case step == "carry" && crash:
					panic("the end")
				}
			}
			func() {
				defer func() { _ = recover() }()
				s.here(at, nil)
			}()
			if crash {
				// Who comes after the crash has the last word.
				s.put("younger", "installed", "t")
				must(t, 0, os.Rename(s.path("installed", "t"), s.path("installed", "younger.txt")))
				code, talk := s.here(nil, nil)
				if code != 0 {
					t.Errorf("the next run: exit %d: %s", code, talk)
				}
			}
			s.wantMeddled()
			if got, want := string(s.read("installed", "younger.txt")), map[bool]string{false: "older", true: "younger"}[crash]; got != want {
				t.Errorf("of two that were written the %s one stays", got)
			}
			if !bytes.Equal(s.read("installed", "cert.pem"), s.new["cert.pem"]) {
				t.Error("the certificate is the old one")
			}
			if left := s.rubbish(); len(left) > 0 {
				t.Error("left behind:", left)
			}
		})
	}
}

// The command that refuses the new files may have written others.
func TestWhatOthersWriteBeforeTheWayBackIsCarriedBack(t *testing.T) {
	s := newSite(t, asDirectory)
	s.strangers()
	at := func(step string) {
		if step == "return" {
			s.meddle("installed")
			s.put("first", "installed", "removed.txt")
		}
		if step == "undone" && s.read("installed", "added.txt") == nil {
			t.Error("the command runs before the files of others are back")
		}
	}
	run := "cmp -s " + s.path("installed", "cert.pem") + " " + s.path("staged", "cert.pem") + " && exit 1; true"
	if code, talk := s.here(at, nil, "--run", run); code != exitUnsafe || !strings.Contains(talk, "the old files are back") {
		t.Errorf("exit %d: %s", code, talk)
	}
	must(t, 0, os.Remove(s.path("installed", "removed.txt")))
	s.wantMeddled()
	if !bytes.Equal(s.read("installed", "cert.pem"), s.old["cert.pem"]) || s.read("installed", "combined.pem") != nil {
		t.Error("the old set is not back")
	}
}

// fakeProc is a /proc with one foreign process, which sees directories as the lines of its mountinfo say.
func (s *site) fakeProc(mounts string, cwd string) func(*app) {
	own := "20 1 8:1 /fs / rw - ext4 x rw\n"
	s.put(own, "proc", "self", "mountinfo")
	s.put(own+mounts, "proc", "7", "mountinfo")
	if cwd != "" {
		must(s.t, 0, os.Symlink(cwd, s.path("proc", "7", "cwd")))
	}
	return func(a *app) { a.proc = s.path("proc") }
}

func TestADirectoryThatCannotBeExchangedIsReplacedFileByFile(t *testing.T) {
	for claim, row := range map[string]struct {
		prepare func(*site) func(*app)
		why     string // empty: it is exchanged
	}{
		"nothing against it": {func(*site) func(*app) { return nil }, ""},
		"the system has no exchange": {func(*site) func(*app) {
			return func(a *app) { a.exchange = func(string, string) error { return unix.EINVAL } }
		}, "invalid argument"},
		"a directory in it": {func(s *site) func(*app) { s.put("x", "installed", "sub", "x"); return nil }, "sub is a directory"},
		"a container has it mounted": {func(s *site) func(*app) {
			return s.fakeProc("9 1 8:1 /fs"+s.path("installed")+" /certs rw - ext4 x rw\n", "")
		}, "process 7 sees"},
		"a container has one above it": {func(s *site) func(*app) { return s.fakeProc("9 1 8:1 /fs"+s.dir+" /certs rw - ext4 x rw\n", "") }, ""},
		"the same path elsewhere": {func(s *site) func(*app) {
			return s.fakeProc("9 1 8:2 /fs"+s.path("installed")+" /certs rw - ext4 x rw\n", "")
		}, ""},
		"a process works in it": {func(s *site) func(*app) { return s.fakeProc("", s.path("installed")) }, "process 7 works in"},
		"tlsactl works in it":   {func(s *site) func(*app) { s.t.Chdir(s.path("installed")); return nil }, "tlsactl was started in"},
		"no place beside it":    {func(s *site) func(*app) { s.put("x", ".tlsactl-install.installed.d"); return nil }, ""},
	} {
		t.Run(claim, func(t *testing.T) {
			s := newSite(t, asDirectory)
			change := row.prepare(s)
			was := s.stat("installed").Ino
			code, talk := s.here(nil, change)
			if code != 0 || !bytes.Equal(s.read("installed", "cert.pem"), s.new["cert.pem"]) {
				t.Fatalf("exit %d: %s", code, talk)
			}
			if exchanged := s.stat("installed").Ino != was; exchanged != (row.why == "") {
				t.Errorf("the directory was exchanged: %v", exchanged)
			}
			if row.why == "" && talk != "" || row.why != "" && (!strings.Contains(talk, row.why) || !strings.Contains(talk, "one by one")) {
				t.Errorf("it says %q, want %q", talk, row.why)
			}
			if left := s.rubbish(); len(left) > 0 {
				t.Error("left behind:", left)
			}
		})
	}
}

// Names with spaces and backslashes are escaped in mountinfo.
func TestMountsWithBlanksAreFound(t *testing.T) {
	s := newSite(t, asDirectory)
	odd := s.path(`a b\c`)
	must(t, 0, os.Mkdir(odd, 0o755))
	escaped := strings.NewReplacer(" ", `\040`, `\`, `\134`).Replace(odd)
	s.fakeProc("9 1 8:1 /fs"+escaped+" /certs rw - ext4 x rw\n", "")
	if err := heldDirectory(s.path("proc"), odd); err == nil || !strings.Contains(err.Error(), "process 7 sees") {
		t.Errorf("got %v", err)
	}
	if err := heldDirectory("/proc", s.path("installed")); err != nil {
		t.Errorf("with the true /proc: %v", err)
	}
}

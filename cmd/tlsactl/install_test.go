package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/miekg/dns"
)

const mailOwner = "_25._tcp.mail.example.org."

// A site is a service with an old certificate installed and a new one staged, both published.
type site struct {
	t        *testing.T
	dir      string
	dns      server
	old, new map[string][]byte
	env      []string
}

func newSite(t *testing.T, shape shape) *site {
	t.Helper()
	s := &site{t: t, dir: t.TempDir(), dns: serve(t, &authority{apex: "example.org.", ttl: time.Hour, signed: true})}
	s.old, s.new = newLineage(t, "mail.example.org", newKey(t)), newLineage(t, "mail.example.org", newKey(t))
	s.new["combined.pem"] = bytes.Join([][]byte{s.new["fullchain.pem"], s.new["privkey.pem"]}, nil)
	installed := "installed"
	if shape == asLink {
		installed = "versions/one"
		if err := os.Symlink("versions/one", filepath.Join(s.dir, "installed")); err != nil {
			t.Fatal(err)
		}
	}
	s.write(installed, s.old)
	s.write("staged", s.new)
	s.dns.set(mailOwner, append(recordsOf(t, mailOwner, s.old["cert.pem"]), recordsOf(t, mailOwner, s.new["cert.pem"])...)...)
	return s
}

func (s *site) write(dir string, files map[string][]byte) {
	s.t.Helper()
	dir = filepath.Join(s.dir, dir)
	if err := os.MkdirAll(dir, 0o755); err != nil {
		s.t.Fatal(err)
	}
	for name, data := range files {
		if err := os.WriteFile(filepath.Join(dir, name), data, 0o600); err != nil {
			s.t.Fatal(err)
		}
	}
}

// install runs tlsactl as a process of its own that stops at a step; 0: at none.
func (s *site) install(stop int, flags ...string) (killed bool, err error) {
	s.t.Helper()
	bin, err := os.Executable()
	if err != nil {
		s.t.Fatal(err)
	}
	args := append([]string{"install", "--server", s.dns.addr, "--hold", "0"}, flags...)
	cmd := exec.CommandContext(s.t.Context(), bin, append(args, "staged", "installed")...)
	cmd.Args[0] = "tlsactl"
	cmd.Dir = s.dir
	cmd.Env = append(os.Environ(), stopEnv+"="+strconv.Itoa(stop))
	cmd.Env = append(cmd.Env, s.env...)
	out, err := cmd.CombinedOutput()
	if exit, ok := errors.AsType[*exec.ExitError](err); ok {
		if exit.Sys().(syscall.WaitStatus).Signal() == syscall.SIGKILL {
			return true, nil
		}
		return false, fmt.Errorf("%w: %s", err, out)
	}
	return false, err
}

// holds tells which set is installed: "old", "new", or "mixed".
func (s *site) holds() string {
	same := func(want map[string][]byte) bool {
		entries, err := os.ReadDir(filepath.Join(s.dir, "installed"))
		if err != nil {
			return false
		}
		n := 0
		for _, e := range entries {
			if strings.HasPrefix(e.Name(), ".") {
				continue
			}
			n++
			if !bytes.Equal(s.read("installed", e.Name()), want[e.Name()]) {
				return false
			}
		}
		return n == len(want)
	}
	switch {
	case same(s.old):
		return "old"
	case same(s.new):
		return "new"
	}
	return "mixed"
}

func (s *site) read(parts ...string) []byte {
	data, err := os.ReadFile(filepath.Join(append([]string{s.dir}, parts...)...))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		s.t.Fatal(err)
	}
	return data
}

// rubbish are files of ours that should be gone: all but the lock, and new directories that no link leads to.
func (s *site) rubbish() (out []string) {
	target, _ := os.Readlink(filepath.Join(s.dir, "installed"))
	versions, _ := os.ReadDir(filepath.Join(s.dir, "versions"))
	for _, v := range versions {
		if base := v.Name(); base != "one" && base != filepath.Base(target) {
			out = append(out, base)
		}
	}
	_ = filepath.WalkDir(s.dir, func(path string, _ fs.DirEntry, err error) error {
		if base := filepath.Base(path); err == nil && strings.HasPrefix(base, ".tlsactl") && base != linkMark && !strings.HasSuffix(base, ".lock") {
			out = append(out, path)
		}
		return err
	})
	return out
}

// certbot's live directory holds links; they are replaced, and come back as links.
func TestLinksToFilesComeBackAsLinks(t *testing.T) {
	s := newSite(t, asDirectory)
	s.write("archive", s.old)
	for name := range s.old {
		path := filepath.Join(s.dir, "installed", name)
		if err := os.Remove(path); err != nil {
			t.Fatal(err)
		}
		if err := os.Symlink("../archive/"+name, path); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := s.install(0, "--run", "! cmp -s installed/cert.pem staged/cert.pem"); err == nil || !strings.Contains(err.Error(), "the old files are back") {
		t.Errorf("a command that fails: %v", err)
	}
	if target, err := os.Readlink(filepath.Join(s.dir, "installed", "cert.pem")); err != nil || target != "../archive/cert.pem" {
		t.Errorf("the link says %q, %v", target, err)
	}
	if _, err := s.install(0); err != nil || s.holds() != "new" || !bytes.Equal(s.read("archive", "cert.pem"), s.old["cert.pem"]) {
		t.Errorf("%v: the files are %s, and the archive must be as it was", err, s.holds())
	}
}

func TestDamagedStagedFileBringsTheOldOnesBack(t *testing.T) {
	s := oneByOne.site(t)
	for stop := 1; s.holds() != "mixed"; stop++ {
		s = oneByOne.site(t)
		if killed, err := s.install(stop); err != nil || !killed {
			t.Fatal("no step leaves a mix:", err)
		}
	}
	staged, err := filepath.Glob(filepath.Join(s.dir, "installed", ".tlsactl-install.d", "new", "*"))
	if err != nil || len(staged) == 0 {
		t.Fatal("nothing is staged", err)
	}
	if err := os.WriteFile(staged[0], []byte("cut"), 0o600); err != nil {
		t.Fatal(err)
	}
	s.dns.set(mailOwner) // so that the next run only cleans up
	if _, err := s.install(0); err == nil {
		t.Error("the next run installed what is not published")
	}
	if got := s.holds(); got != "old" {
		t.Errorf("the files are %s", got)
	}
}

func TestWhatCannotBeStagedChangesNothing(t *testing.T) {
	s := newSite(t, asLink)
	if err := os.Mkdir(filepath.Join(s.dir, "versions", "one", "private"), 0o700); err != nil {
		t.Fatal(err)
	}
	if _, err := s.install(0); err == nil || !strings.Contains(err.Error(), "nothing was installed: ") {
		t.Errorf("a lineage with a directory in it: %v", err)
	}
	entries, err := os.ReadDir(filepath.Join(s.dir, "versions"))
	if must(t, entries, err); len(entries) != 1 || !bytes.Equal(s.read("installed", "cert.pem"), s.old["cert.pem"]) {
		t.Errorf("something changed: %v", entries)
	}
	if s.read(".tlsactl-install.installed") != nil {
		t.Error("a journal is left")
	}
}

func TestSecondRunIsKeptOutByTheLock(t *testing.T) {
	s := newSite(t, asDirectory)
	unlock, err := lock(filepath.Join(s.dir, "installed", ".tlsactl-install.lock"))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := s.install(0); err == nil || !strings.Contains(err.Error(), "another tlsactl install is at work") {
		t.Errorf("with the lock held: %v", err)
	}
	if s.holds() != "old" {
		t.Error("a run without the lock changed files")
	}
	unlock()
	if _, err := s.install(0); err != nil || s.holds() != "new" {
		t.Errorf("after the lock was free: %v", err)
	}
}

func TestJournalOfAnotherVersionStopsEverything(t *testing.T) {
	s := newSite(t, asDirectory)
	s.write("installed", map[string][]byte{".tlsactl-install": []byte(`{"version": 2, "phase": "move"}`)})
	if _, err := s.install(0); err == nil || !strings.Contains(err.Error(), "version 2 is not known") {
		t.Errorf("got %v", err)
	}
}

// A change of FROM between the verdict and the copy would install what nobody judged.
func TestWhatWasJudgedIsWhatIsInstalled(t *testing.T) {
	s := newSite(t, asDirectory)
	t.Chdir(s.dir)
	other := newLineage(t, "mail.example.org", newKey(t))
	x := exchangerFunc(func(ctx context.Context, q *dns.Msg, transport, addr string) (*dns.Msg, error) {
		s.write("staged", other)
		return network{}.exchange(ctx, q, transport, addr)
	})
	code, _, stderr := tlsactl(t, x, "install", "--server", s.dns.addr, "--hold", "0", "staged", "installed")
	if code != exitSuperseded || s.holds() != "old" {
		t.Errorf("exit %d, the files are %s: %s", code, s.holds(), stderr)
	}
}

type exchangerFunc func(ctx context.Context, q *dns.Msg, transport, addr string) (*dns.Msg, error)

func (f exchangerFunc) exchange(ctx context.Context, q *dns.Msg, transport, addr string) (*dns.Msg, error) {
	return f(ctx, q, transport, addr)
}

func TestKeysAreNeverMoreOpenThanTheOldOnes(t *testing.T) {
	files := newLineage(t, "mail.example.org", newKey(t))
	dir := t.TempDir()
	for name, row := range map[string]struct {
		file    string
		oldFile string // what the old file held; empty: no old file
		oldMode fs.FileMode
		want    fs.FileMode
	}{
		"a new key":                                     {"privkey.pem", "", 0, 0o600},
		"a new certificate":                             {"cert.pem", "", 0, 0o644},
		"a key over a key that a group reads":           {"privkey.pem", "privkey.pem", 0o640, 0o640},
		"a key over a certificate that everybody reads": {"privkey.pem", "cert.pem", 0o644, 0o600},
		"a certificate over one of mode 600":            {"cert.pem", "cert.pem", 0o600, 0o600},
		"a certificate over one that everybody reads":   {"cert.pem", "cert.pem", 0o644, 0o644},
	} {
		t.Run(name, func(t *testing.T) {
			parent, err := os.Stat(dir)
			must(t, parent, err)
			m := &member{name: row.file, data: files[row.file], sum: digest(files[row.file])}
			h, err := (&source{}).parse(bytes.Clone(m.data))
			m.holding = must(t, h, err)
			var old *member
			if row.oldFile != "" {
				path := filepath.Join(t.TempDir(), row.oldFile)
				if err := os.WriteFile(path, files[row.oldFile], 0o600); err != nil {
					t.Fatal(err)
				}
				if err := os.Chmod(path, row.oldMode); err != nil {
					t.Fatal(err)
				}
				l, err := readLineage(path)
				old = must(t, l, err).files[""]
			}
			path := filepath.Join(t.TempDir(), row.file)
			if err := writeMember(path, m, old, parent); err != nil {
				t.Fatal(err)
			}
			info, err := os.Stat(path)
			if got := must(t, info, err).Mode().Perm(); got != row.want {
				t.Errorf("mode %o, want %o", got, row.want)
			}
		})
	}
}

// lineageOf writes files into a directory and reads them.
func lineageOf(t *testing.T, files map[string][]byte) *lineage {
	t.Helper()
	dir := t.TempDir()
	for name, data := range files {
		if err := os.WriteFile(filepath.Join(dir, name), data, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	l, err := readLineage(dir)
	return must(t, l, err)
}

func TestOnlyACertificateWithItsKeyFits(t *testing.T) {
	const name = "mail.example.org"
	keyA, keyB := newKey(t), newKey(t)
	a, b := newLineage(t, name, keyA), newLineage(t, name, keyB)
	again := newLineage(t, name, keyA) // another certificate of the key of a
	pick := func(set map[string][]byte, names ...string) map[string][]byte {
		out := make(map[string][]byte)
		for _, n := range names {
			out[n] = set[n]
		}
		return out
	}
	with := func(set map[string][]byte, name string, data []byte) map[string][]byte {
		out := maps.Clone(set)
		out[name] = data
		return out
	}
	for claim, row := range map[string]struct {
		from, to map[string][]byte
		want     string // part of the error; empty: it fits
	}{
		"a whole set over another":              {a, b, ""},
		"a whole set over nothing":              {a, nil, ""},
		"RSA beside ECDSA: two pairs":           {with(with(a, "b.pem", b["cert.pem"]), "b.key", b["privkey.pem"]), nil, ""},
		"a renewal of the installed key":        {pick(again, "cert.pem", "fullchain.pem"), pick(a, "privkey.pem", "chain.pem"), ""},
		"DH parameters beside it":               {with(a, "dh.pem", []byte("-----BEGIN DH PARAMETERS-----\nAAAA\n-----END DH PARAMETERS-----\n")), b, ""},
		"dehydrated's dated files and next key": {with(with(a, "privkey-1700000000.pem", b["privkey.pem"]), "privkey.roll.pem", b["privkey.pem"]), nil, ""},
		"the key of another certificate":        {with(a, "privkey.pem", b["privkey.pem"]), nil, "does not fit"},
		"a key too many":                        {with(a, "other.key", b["privkey.pem"]), nil, "does not fit"},
		"no key at all":                         {pick(a, "cert.pem"), nil, "does not fit its key"},
		"no certificate":                        {pick(a, "privkey.pem"), nil, "no certificate of a server"},
		"two certificates of one key":           {with(a, "fullchain.pem", again["fullchain.pem"]), nil, "half written"},
		"a file cut in the middle":              {with(a, "fullchain.pem", a["fullchain.pem"][:500]), nil, "truncated"},
		"an installed file that would stay":     {pick(a, "cert.pem", "privkey.pem"), b, "older certificate"},
		"an installed key that would stay":      {a, with(pick(b, "cert.pem"), "old.key", b["privkey.pem"]), "older certificate or key"},
		"an installed certificate of this key":  {a, with(a, "mail.pem", again["cert.pem"]), "older certificate"},
	} {
		t.Run(claim, func(t *testing.T) {
			err := checkFit(lineageOf(t, row.from), lineageOf(t, row.to))
			switch {
			case row.want == "" && err != nil:
				t.Error(err)
			case row.want != "" && (err == nil || !strings.Contains(err.Error(), row.want) || exitCode(err) != exitUnsafe):
				t.Errorf("got %v, want %q", err, row.want)
			}
		})
	}
}

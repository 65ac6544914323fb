package doctor

import (
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

func TestModeBitsDecideWhoMayRead(t *testing.T) {
	w := newWorld(t)
	w.write("d/f", "x")
	info, err := os.Stat(w.path("d/f"))
	w.must(err)
	owner := info.Sys().(*syscall.Stat_t)
	member := &User{Name: "member", UID: 54321, GIDs: []uint32{owner.Gid}}
	for sentence, row := range map[string]struct {
		user      *User
		dir, file os.FileMode
		stopped   string
	}{
		"a stranger by the last bits":             {stranger, 0o755, 0o604, ""},
		"a stranger without them":                 {stranger, 0o755, 0o640, "d/f"},
		"a stranger before the file":              {stranger, 0o750, 0o644, "d"},
		"a member by the group's":                 {member, 0o750, 0o640, ""},
		"a member not by the others'":             {member, 0o755, 0o604, "d/f"},
		"search of a directory, not reading it":   {stranger, 0o711, 0o644, ""},
		"reading a directory is not searching it": {stranger, 0o744, 0o644, "d"},
	} {
		t.Run(sentence, func(t *testing.T) {
			w.chmod("d", row.dir)
			w.chmod("d/f", row.file)
			b := row.user.stops(w.path("d/f"), toRead)
			got := ""
			if b != nil {
				got = strings.TrimPrefix(b.path, w.dir+"/")
			}
			if got != row.stopped {
				t.Errorf("stopped at %q, want %q", got, row.stopped)
			}
		})
	}
	w.chmod("d", 0o755)
	w.chmod("d/f", 0o044)
	self := &User{UID: owner.Uid}
	if owner.Uid == 0 {
		if b := self.stops(w.path("d/f"), toRead); b != nil {
			t.Errorf("root is stopped by %v", b)
		}
		self = stranger
		w.must(os.Chown(w.path("d/f"), int(self.UID), -1))
	}
	if b := self.stops(w.path("d/f"), toRead); b == nil {
		t.Error("the bits of the others count for the owner")
	}
}

func TestEveryDirectoryOfALinkIsSearched(t *testing.T) {
	w := newWorld(t)
	w.write("archive/f", "x")
	w.link("../archive/f", "live/f")
	for _, dir := range []string{"live", "archive"} {
		w.chmod(dir, 0o700)
		if b := stranger.stops(w.path("live/f"), toRead); b == nil || b.path != w.path(dir) {
			t.Errorf("stopped by %v, want %s", b, dir)
		}
		w.chmod(dir, 0o755)
	}
}

func TestAccessControlListCounts(t *testing.T) {
	entry := func(tag, bits uint16, id uint32) aclEntry { return aclEntry{tag, bits, id} }
	member := &User{UID: 5, GIDs: []uint32{7}}
	for sentence, row := range map[string]struct {
		user *User
		list []aclEntry
		want uint32
	}{
		"a user by name":                  {stranger, []aclEntry{entry(aclUser, 5, 54321), entry(aclMask, 7, 0)}, 5},
		"no more than the mask":           {stranger, []aclEntry{entry(aclUser, 7, 54321), entry(aclMask, 4, 0)}, 4},
		"another user's entry is another": {stranger, []aclEntry{entry(aclUser, 7, 1)}, 1},
		"a group by name":                 {member, []aclEntry{entry(aclGroup, 4, 7)}, 4},
		"the owning group":                {member, []aclEntry{entry(aclGroupMine, 4, 0), entry(aclGroup, 1, 7)}, 5},
		"a group that denies":             {member, []aclEntry{entry(aclGroup, 0, 7)}, 0},
		"a user entry before groups":      {member, []aclEntry{entry(aclUser, 0, 5), entry(aclGroup, 7, 7)}, 0},
	} {
		t.Run(sentence, func(t *testing.T) {
			if got := row.user.granted(row.list, 7, 1); got != row.want {
				t.Errorf("granted %o, want %o", got, row.want)
			}
		})
	}
}

func TestUserIsANameOrANumber(t *testing.T) {
	for text, want := range map[string]User{
		"54321":       {UID: 54321},
		"54321:12":    {UID: 54321, GIDs: []uint32{12}},
		"0":           {UID: 0},
		"no-such-one": {},
	} {
		u, err := LookupUser(text)
		switch {
		case text == "no-such-one":
			if err == nil || !strings.Contains(err.Error(), "UID:GID") {
				t.Errorf("%s: %v, %v", text, u, err)
			}
		case err != nil || u.UID != want.UID || want.GIDs != nil && (len(u.GIDs) != 1 || u.GIDs[0] != want.GIDs[0]):
			t.Errorf("%s: %+v, %v", text, u, err)
		}
	}
}

func TestNothingThatIsReadCanBlockOrFloodDoctor(t *testing.T) {
	for sentence, plant := range map[string]func(w *world){
		"a pipe as a zone file": func(w *world) {
			w.must(os.Remove(w.path("db.example.org")))
			w.must(unix.Mkfifo(w.path("db.example.org"), 0o644))
		},
		"a directory as a zone file": func(w *world) {
			w.must(os.Remove(w.path("db.example.org")))
			w.must(os.Mkdir(w.path("db.example.org"), 0o755))
		},
		"a pipe as a key": func(w *world) {
			w.must(os.Remove(w.path("Kexample.org.+013+00001.private")))
			w.must(unix.Mkfifo(w.path("Kexample.org.+013+00001.private"), 0o644))
		},
		"a pipe as a certificate": func(w *world) {
			w.must(os.Remove(w.path("certs/mail.example.org/fullchain.pem")))
			w.must(unix.Mkfifo(w.path("certs/mail.example.org/fullchain.pem"), 0o644))
		},
		"a key file without end": func(w *world) {
			w.must(os.Truncate(w.path("Kexample.org.+013+00001.key"), 1<<40))
		},
	} {
		t.Run(sentence, func(t *testing.T) {
			w := newWorld(t)
			plant(w)
			if r := w.examine(); !r.Wrong() {
				t.Error("nothing is wrong")
			}
		})
	}
	w := newWorld(t)
	w.must(unix.Mkfifo(w.path("pipe"), 0o644))
	if _, err := Examine(Options{Corefile: w.path("pipe"), At: now}); err == nil || !strings.Contains(err.Error(), "no regular file") {
		t.Errorf("a pipe as Corefile: %v", err)
	}
}

func TestLookingChangesNothing(t *testing.T) {
	w := newWorld(t)
	w.examine()
	before := snapshot(w)
	w.examine()
	delete(before, "Corefile")
	after := snapshot(w)
	delete(after, "Corefile") // which the test itself writes
	for path, info := range after {
		if before[path] == nil || !before[path].ModTime().Equal(info.ModTime()) || before[path].Size() != info.Size() {
			t.Errorf("%s has changed", path)
		}
		delete(before, path)
	}
	if len(before) > 0 {
		t.Errorf("gone: %v", before)
	}
}

func snapshot(w *world) map[string]os.FileInfo {
	found := map[string]os.FileInfo{}
	w.must(filepath.Walk(w.dir, func(path string, info os.FileInfo, err error) error {
		if path != w.dir {
			found[strings.TrimPrefix(path, w.dir+"/")] = info
		}
		return err
	}))
	return found
}

func TestManyFindingsOfAKindAreOneAndANumber(t *testing.T) {
	var all []Finding
	for i := range 3 * mostAlike {
		all = append(all, Finding{Code: "expired", Severity: Warning, Place: strings.Repeat("x", i)}, Finding{Code: "a", Severity: Hint})
	}
	got := sorted(all)
	if len(got) != mostAlike+1 || !strings.Contains(got[mostAlike-1].What, "40 more of this kind") || got[mostAlike].Code != "a" {
		t.Errorf("%d findings, the last of its kind: %+v", len(got), got[mostAlike-1])
	}
}

package main

import (
	"bytes"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

// Of the directories that installations made for a link, the one in use and the one before it stay, and nothing else of
// them; what was made by hand, or for another link, is left alone.
func TestALinkKeepsItsLastDirectoryOnly(t *testing.T) {
	s := newSite(t, asLink)
	must(t, 0, os.Mkdir(s.path("other"), 0o755))
	must(t, 0, os.Symlink("../versions/one", s.path("other", "installed")))
	must(t, 0, os.Remove(s.path("staged", "combined.pem")))
	now := time.Now()
	install := func(link string) string {
		t.Helper()
		now = now.Add(time.Minute)
		s.write("staged", newLineage(t, "mail.example.org", newKey(t)))
		s.dns.set(mailOwner, append(recordsOf(t, mailOwner, s.read("staged", "cert.pem")), recordsOf(t, mailOwner, s.read(link, "cert.pem"))...)...)
		var talk bytes.Buffer
		a := newTestApp(strings.NewReader(""), &bytes.Buffer{}, &talk, network{})
		a.now = func() time.Time { return now }
		if code := a.run(t.Context(), []string{"install", "--server", s.dns.addr, "--hold", "0", s.path("staged"), s.path(link)}); code != 0 {
			t.Fatalf("exit %d: %s", code, &talk)
		}
		target, err := os.Readlink(s.path(link))
		return filepath.Base(must(t, target, err))
	}
	foreign := install("other/installed")
	var made []string
	for range 4 {
		made = append(made, install("installed"))
	}
	var got []string
	entries, err := os.ReadDir(s.path("versions"))
	for _, e := range must(t, entries, err) {
		got = append(got, e.Name())
	}
	want := []string{made[2], made[3], foreign, "one"}
	if slices.Sort(want); !slices.Equal(got, want) {
		t.Errorf("there are %q, want %q", got, want)
	}
}

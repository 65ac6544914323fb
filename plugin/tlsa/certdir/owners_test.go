package certdir

import (
	"context"
	"os"
	"testing"
	"time"
)

// A file of another user is noticed with the event that names it, not only by the next sweep: until then the names in its
// certificate would be believed.
func TestFileOfAStrangerIsNoticedBetweenSweeps(t *testing.T) {
	play(t, func(s *stage) { write(t, s.dir+"/a.pem", s.pki.issue("a1").fullchain) }, func(s *stage) {
		if got := s.root(s.dir); got != "complete=true mixed=false" {
			t.Fatal(got)
		}
		s.says(func(st info) (info, error) { st.uid++; return st, nil }, s.dir+"/evil.pem")
		write(t, s.dir+"/evil.pem", s.pki.issue("e1").fullchain)
		s.learn("evil.pem")
		if got := s.root(s.dir); got != "complete=true mixed=true" {
			t.Error(got)
		}
		s.figures()
		if got := s.root(s.dir); got != "complete=true mixed=true" {
			t.Error("after a sweep: ", got)
		}
	})
}

// The first file of an empty root says who its user is.
func TestFirstFilesOfAnEmptyRootAreComparedToo(t *testing.T) {
	play(t, func(s *stage) { ok(t, os.MkdirAll(s.dir, 0o755)) }, func(s *stage) {
		write(t, s.dir+"/a.pem", s.pki.issue("a1").fullchain)
		s.learn("a.pem")
		s.says(func(st info) (info, error) { st.uid++; return st, nil }, s.dir+"/evil.pem")
		write(t, s.dir+"/evil.pem", s.pki.issue("e1").fullchain)
		s.learn("evil.pem")
		if got := s.root(s.dir); got != "complete=true mixed=true" {
			t.Error(got)
		}
	})
}

// A name without an ending promises nothing, but what it held before the start is remembered elsewhere.
func TestKnownFileInDoubtAtTheStartIsTold(t *testing.T) {
	for claim, known := range map[string]bool{"known": true, "unknown": false} {
		t.Run(claim, func(t *testing.T) {
			dir := t.TempDir()
			write(t, dir+"/mail", newPKI(t).issue("a1").fullchain[:200])
			cfg := Config{Certs: []string{dir}, Rescan: time.Minute, NoEvents: true}
			if known {
				cfg.Known = map[string]bool{dir + "/mail": true}
			}
			told := false
			for _, l := range New(cfg).Sweep(context.Background()).Lineages {
				f, _ := l.File(dir + "/mail")
				told = told || f.Doubt != nil
			}
			if told != known {
				t.Errorf("told in doubt: %v", told)
			}
		})
	}
}

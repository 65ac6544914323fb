package certdir

import (
	"context"
	"crypto/rand"
	"crypto/x509"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

func TestUnreadableDirectoryPutsItsFilesInDoubt(t *testing.T) {
	for _, name := range []string{"", "x"} {
		play(t, func(s *stage) {
			write(t, s.dir+"/a.pem", s.pki.issue("a1").fullchain)
			write(t, s.dir+"/x/y/b.pem", s.pki.issue("b1").fullchain)
		}, func(s *stage) {
			s.fail(name, unix.EACCES)
			s.pass(2 * rescan)
			want := "certs/a; a1 a.pem"
			if name == "" {
				want += "; doubt a.pem unreadable"
			}
			s.want(want + "\ncerts/x/y/b; b1 b.pem; doubt b.pem unreadable")
			if got := s.root(s.dir); got != "complete=false mixed=false unreadable" {
				t.Error(got)
			}
			s.fail(name, nil)
			s.pass(2 * rescan)
			s.want("certs/a; a1 a.pem\ncerts/x/y/b; b1 b.pem")
		})
	}
}

func TestRootsSayWhatKeepsThemFromBeingComplete(t *testing.T) {
	for name, c := range map[string]struct {
		make func(dir string, p *pki)
		want string
	}{
		"an empty directory":       {func(string, *pki) {}, "complete=true mixed=false"},
		"no directory":             {func(dir string, _ *pki) { ok(t, os.Remove(dir)) }, "complete=false mixed=false missing-root"},
		"anyone may write to it":   {func(dir string, _ *pki) { ok(t, os.Chmod(dir, 0o1777)) }, "complete=false mixed=false writable-directory"},
		"anyone may write below":   {func(dir string, _ *pki) { mode(t, dir+"/x", 0o777) }, "complete=false mixed=false writable-directory"},
		"anyone may write above":   {func(dir string, _ *pki) { ok(t, os.Chmod(dir+"/..", 0o777)) }, "complete=true mixed=false"},
		"a group may write to it":  {func(dir string, _ *pki) { ok(t, os.Chmod(dir, 0o775)) }, "complete=true mixed=false group-writable"},
		"a level too deep":         {func(dir string, _ *pki) { ok(t, os.MkdirAll(dir+"/1/2/3/4/5", 0o755)) }, "complete=true mixed=false too-deep"},
		"a link that leads astray": {func(dir string, _ *pki) { ok(t, os.Remove(dir)); link(t, "nowhere", dir) }, "complete=false mixed=false missing-root"},
		"a circle of links":        {func(dir string, _ *pki) { ok(t, os.Remove(dir)); link(t, "certs", dir) }, "complete=false mixed=false unreadable"},
	} {
		t.Run(name, func(t *testing.T) {
			if _, _, got := sweepOf(t, c.make); got != c.want {
				t.Errorf("got %s, want %s", got, c.want)
			}
		})
	}
}

func mode(t *testing.T, dir string, mode os.FileMode) {
	ok(t, os.Mkdir(dir, 0o755))
	ok(t, os.Chmod(dir, mode))
}

func TestLevelsAreReadToTheFourth(t *testing.T) {
	_, v, _ := sweepOf(t, func(dir string, p *pki) {
		write(t, dir+"/1/2/3/4/a.pem", p.issue("a1").fullchain)
		write(t, dir+"/1/2/3/4/5/b.pem", p.issue("b1").fullchain)
	})
	if got := v.String(); got != "certs/1/2/3/4/a; a1 a.pem" {
		t.Error(got)
	}
}

func TestTooManyEntriesTakeNothingAway(t *testing.T) {
	w, v, _ := sweepOf(t, func(dir string, p *pki) {
		for i := range 10 {
			write(t, fmt.Sprintf("%s/%d/a.pem", dir, i), p.issue("a1").fullchain)
		}
	})
	before := v.String()
	w.maxEntries = 12
	v.apply(w.Sweep(context.Background()))
	if got := v.String(); got != before {
		t.Errorf("got:\n%s\nwant:\n%s", got, before)
	}
	if got := v.rootLine(v.base + "/certs"); !strings.HasPrefix(got, "complete=false mixed=false too-many-entries") {
		t.Error(got)
	}
}

func TestOnlyCompleteSweepsCount(t *testing.T) {
	w, v, _ := sweepOf(t, func(dir string, p *pki) { write(t, dir+"/a.pem", p.issue("a1").fullchain) })
	dir := v.base + "/certs"
	count := func(want uint64) {
		t.Helper()
		v.apply(w.Sweep(context.Background()))
		if got := v.roots[dir].Sweeps; got != want {
			t.Errorf("%d sweeps, want %d", got, want)
		}
	}
	count(2)
	ok(t, os.Chmod(dir, 0o757))
	count(2)
	ok(t, os.Chmod(dir, 0o755))
	count(3)
	ok(t, os.Rename(dir, dir+"2"))
	count(3)
	ok(t, os.Rename(dir+"2", dir))
	count(4)
}

func TestUnmountedRootIsAnEmptyDirectory(t *testing.T) {
	w, v, _ := sweepOf(t, func(dir string, p *pki) { write(t, dir+"/x/a.pem", p.issue("a1").fullchain) })
	ok(t, os.RemoveAll(v.base+"/certs/x"))
	v.apply(w.Sweep(context.Background()))
	if got := v.String() + v.rootLine(v.base+"/certs"); got != "complete=true mixed=false" {
		t.Error(got)
	}
	if len(w.byID)+len(w.marks.of) != 0 || len(w.listeners) != 1 { // the root itself
		t.Error("something is remembered of what is gone")
	}
}

func TestSeveralOwnersMakeARootMixed(t *testing.T) {
	owners := []int{1}
	if os.Geteuid() != 0 {
		owners = nil // only root can give files away
	}
	for _, owner := range owners {
		_, _, got := sweepOf(t, func(dir string, p *pki) {
			write(t, dir+"/a.pem", p.issue("a1").fullchain)
			write(t, dir+"/../b.pem", p.issue("b1").fullchain)
			ok(t, os.Chown(dir+"/../b.pem", owner, 0))
			link(t, "../b.pem", dir+"/b.pem")
		})
		if got != "complete=true mixed=true" {
			t.Error(got)
		}
	}
}

func TestRoleSetAtTheRootIsNamedByIt(t *testing.T) {
	base := t.TempDir()
	p := newPKI(t)
	certbot(t, base, "a.example.org", 1, p.issue("a1"), p.chain)
	dir := base + "/live/a.example.org"
	for path, want := range map[string][2]string{
		dir:                              {"a.example.org", dir},
		dir + "/fullchain.pem":           {"a.example.org", dir},
		base + "/live/*":                 {"a.example.org", dir},
		base + "/l*/*.org/fullchain.p?m": {"a.example.org", dir},
	} {
		found := New(Config{Certs: []string{path}, Rescan: rescan}).Sweep(context.Background()).Lineages
		if len(found) != 1 || found[0].Name != want[0] || found[0].Dir != want[1] || found[0].Root != path || len(found[0].Leaves) != 1 {
			t.Errorf("%s: %+v", path, found)
		}
	}
}

func TestOneFileUnderTwoRootsIsTwoLineages(t *testing.T) {
	base := t.TempDir()
	p := newPKI(t)
	certbot(t, base, "a", 1, p.issue("a1"), p.chain)
	w := New(Config{Certs: []string{base + "/live/a/cert.pem", base + "/live/a/fullchain.pem"}, Rescan: rescan})
	found := w.Sweep(context.Background()).Lineages
	if len(found) != 2 || found[0].ID == found[1].ID || found[0].Name != found[1].Name {
		t.Errorf("%+v", found)
	}
}

func TestKeepDERKeepsWholeCertificates(t *testing.T) {
	base := t.TempDir()
	p := newPKI(t)
	for _, name := range []string{"a", "b"} {
		write(t, base+"/"+name+".pem", p.issue(name).fullchain)
	}
	for _, keep := range []bool{false, true} {
		for _, l := range New(Config{Certs: []string{base}, Rescan: rescan, KeepDER: keep}).Sweep(context.Background()).Lineages {
			m := l.Leaves[0].Material
			if (m.Leaf.DER != "") != keep || (m.Issuer.DER != "") != keep {
				t.Errorf("keep %v: %+v", keep, m)
			}
		}
	}
}

// A chain file that holds another CA of the same name and key identifier is no reason for an association with that CA.
func TestSignaturesTellTheIssuerWhereOneIsWanted(t *testing.T) {
	base := t.TempDir()
	p, impostor := newPKI(t), newPKI(t)
	p.ca.SubjectKeyId, impostor.ca.SubjectKeyId = []byte("same"), []byte("same")
	der, err := x509.CreateCertificate(rand.Reader, impostor.ca, impostor.ca, impostor.key.Public(), impostor.key)
	ok(t, err)
	write(t, base+"/mail.pem", p.issue("mail").cert+toPEM("CERTIFICATE", der))
	for _, wanted := range []bool{false, true} {
		l := New(Config{Certs: []string{base}, Rescan: rescan, Issuers: wanted}).Sweep(context.Background()).Lineages[0]
		likely := slices.ContainsFunc(l.Leaves, func(l Leaf) bool { return l.Material.Issuer.SPKI != "" })
		if likely == wanted {
			t.Errorf("issuers wanted: %t, found: %t", wanted, likely)
		}
	}
}

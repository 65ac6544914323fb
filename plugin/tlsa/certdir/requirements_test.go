package certdir

import (
	"crypto/ecdsa"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"errors"
	"fmt"
	"math/big"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/fsnotify/fsnotify"
	"golang.org/x/sys/unix"
)

// The scenarios that certdirs.md 4 asks for, by number, where no test nearer to the code has them.

// both runs a test with events, which it then tells of by s.event, and without.
func both(t *testing.T, prepare, test func(s *stage)) {
	t.Helper()
	t.Run("events on", func(t *testing.T) { play(t, prepare, test) })
	t.Run("events off", func(t *testing.T) {
		play(t, func(s *stage) { s.w.cfg.NoEvents = true; prepare(s) }, test)
	})
}

// learn tells of a change where there are events, else waits for a sweep; then it waits for quiet.
func (s *stage) learn(name string) {
	if s.w.cfg.NoEvents {
		s.figures()
	} else {
		s.event(name, fsnotify.Write)
	}
	s.pass(quiet)
}

// W2: a file that is mounted by itself is watched itself, on whatever device it is.
func TestMountedFileIsWatchedItself(t *testing.T) {
	play(t, func(s *stage) {
		write(t, s.dir+"/a.pem", s.pki.issue("a1").fullchain)
		write(t, s.dir+"/b.pem", s.pki.issue("b1").fullchain)
		s.mounts = map[string]bool{s.dir + "/a.pem": true}
	}, func(s *stage) {
		if s.fake.count(s.dir+"/a.pem") == 0 || s.fake.count(s.dir+"/b.pem") != 0 {
			t.Error(s.fake.added)
		}
		write(t, s.dir+"/a.pem", s.pki.issue("a2").fullchain)
		s.event("a.pem", fsnotify.Write)
		s.pass(quiet)
		s.want("certs/a; a2 a.pem\ncerts/b; b1 b.pem")
	})
}

// W5: two paths to one directory, then one of them leads elsewhere: both trees are still heard of.
func TestAliasThatIsRetargetedLeavesBothTreesHeard(t *testing.T) {
	w, v, dir := quick(t)
	write(t, v.base+"/one/tls.crt", v.pki.issue("o1").fullchain)
	write(t, v.base+"/two/tls.crt", v.pki.issue("t1").fullchain)
	link(t, "../one", dir+"/a")
	link(t, "../one", dir+"/b")
	l := start(t, w, v)
	l.await(t, l.String, "certs/a/a; o1 tls.crt\ncerts/b/b; o1 tls.crt")
	link(t, "../two", dir+"/b")
	l.await(t, l.String, "certs/a/a; o1 tls.crt\ncerts/b/b; t1 tls.crt")
	replace(t, v.base+"/one/tls.crt", v.pki.issue("o2").fullchain)
	l.await(t, l.String, "certs/a/a; o2 tls.crt\ncerts/b/b; t1 tls.crt")
	replace(t, v.base+"/two/tls.crt", v.pki.issue("t2").fullchain)
	l.await(t, l.String, "certs/a/a; o2 tls.crt\ncerts/b/b; t2 tls.crt")
}

// A stalled source is one that nobody reads from until it is let go, so that the kernel's queue overflows.
type stalled struct {
	source
	events chan fsnotify.Event
	let    chan struct{}
}

func (s *stalled) Events() <-chan fsnotify.Event { return s.events }

func (s *stalled) pump() {
	defer close(s.events)
	<-s.let
	for e := range s.source.Events() {
		s.events <- e
	}
}

// W7: more events than the kernel keeps; then a sweep finds all of it, and what comes later is heard again.
func TestOverflowOfTheKernelsQueueLosesNothing(t *testing.T) {
	t.Parallel()
	w, v, dir := quick(t)
	w.lostGap = 100 * time.Millisecond
	let := make(chan struct{})
	w.openSource = func() (source, error) {
		src, err := openNotifier()
		s := &stalled{src, make(chan fsnotify.Event), let}
		go s.pump()
		return s, err
	}
	l := start(t, w, v)
	l.await(t, l.armed, "armed")
	data := []byte(v.pki.issue("a1").fullchain)
	const files = 8500 // each is created and written to
	for n := range files {
		ok(t, os.WriteFile(fmt.Sprintf("%s/%d.pem", dir, n+1e6), data, 0o644))
	}
	close(let)
	l.await(t, func() string { return fmt.Sprint(l.count()) }, fmt.Sprint(files))
	write(t, dir+"/canary.pem", v.pki.issue("canary").fullchain)
	l.await(t, func() string { return fmt.Sprint(l.count()) }, fmt.Sprint(files+1))
}

// W8: a directory above is renamed and made anew, of which no event tells: the sweep arms what stands there now.
func TestTreeMadeAnewIsArmedAnew(t *testing.T) {
	play(t, func(s *stage) { write(t, s.dir+"/x/a.pem", s.pki.issue("a1").fullchain) }, func(s *stage) {
		ok(t, os.Rename(s.dir, s.dir+".bak"))
		write(t, s.dir+"/x/a.pem", s.pki.issue("a2").fullchain)
		s.figures()
		s.pass(quiet)
		s.want("certs/x/a; a2 a.pem")
		for _, path := range []string{s.dir, s.dir + "/x"} {
			if s.fake.removed(path) == 0 || s.fake.count(path) == 0 {
				t.Errorf("%s is not armed anew", path)
			}
		}
	})
}

// W9: a file whose mount is detached is still read; what its root or directory held stands.
func TestDetachedMountKeepsTheLastGood(t *testing.T) {
	for at, want := range map[string]string{
		"/x/a.pem": "certs/x/a; a1 a.pem; doubt a.pem detached-mount",
		"/x":       "certs/x/a; a1 a.pem; doubt a.pem detached-mount",
		"":         "certs/x/a; a1 a.pem; doubt a.pem detached-mount",
	} {
		both(t, func(s *stage) { write(t, s.dir+"/x/a.pem", s.pki.issue("a1").fullchain) }, func(s *stage) {
			s.says(detached, s.dir+at)
			if at != "/x/a.pem" {
				ok(t, os.Remove(s.dir+"/x/a.pem")) // a directory is emptied before it is removed
			} else {
				ok(t, os.Chmod(s.dir+"/x/a.pem", 0o640))
			}
			s.learn("x/a.pem")
			s.want(want)
			if f := s.figures(); f.Detached != 1 {
				t.Errorf("%q: %d detached", at, f.Detached)
			}
			s.want(want)
			s.says(nil)
			write(t, s.dir+"/x/a.pem", s.pki.issue("a2").fullchain)
			s.learn("x/a.pem")
			s.figures()
			s.pass(quiet)
			s.want("certs/x/a; a2 a.pem")
		})
	}
}

// Some user-space file systems count no links at all.
func TestFileSystemWithoutLinkCountsIsNotDetached(t *testing.T) {
	play(t, func(s *stage) {
		write(t, s.dir+"/a.pem", s.pki.issue("a1").fullchain)
		s.volumes = map[string]volume{s.dir: {fuse: true}, s.dir + "/a.pem": {fuse: true}}
		s.says(detached, s.dir, s.dir+"/a.pem")
	}, func(s *stage) {
		s.want("certs/a; a1 a.pem")
		if got := s.root(s.dir); got != "complete=true mixed=false" || s.figures().Detached != 0 {
			t.Error(got)
		}
	})
}

// W12: 65 octets at a time, each of them a long pause, and a longer one behind the leaf: never a wrong leaf, never one
// without the issuer that it had.
func TestSlowCopyIsNeverTakenForTheWhole(t *testing.T) {
	both(t, func(s *stage) {
		s.w.cfg.Rescan = 5 * time.Second
		write(t, s.dir+"/a.pem", s.pki.issue("a1").fullchain)
	}, func(s *stage) {
		c := s.pki.issue("a2").fullchain
		leaf := len(s.pki.again("a2").cert)
		grow := func(to int) {
			write(t, s.dir+"/a.pem", c[:to])
			s.learn("a.pem")
			if got := s.String(); to < len(c) && !strings.HasPrefix(got, "certs/a; a1 a.pem") {
				t.Fatalf("after %d octets, the leaf has %d: %s", to, leaf, got)
			}
		}
		for to := 0; to < leaf; to += 65 {
			grow(to)
		}
		grow(leaf)
		s.pass(maxQuiet / 4)
		s.want("certs/a; a1 a.pem; doubt a.pem truncated")
		grow(len(c))
		s.pass(lastRetry)
		s.want("certs/a; a2 a.pem")
	})
}

// A leaf that stays without its issuers is taken as it is.
func TestLeafIsTakenWithoutItsIssuersAfterAWhile(t *testing.T) {
	both(t, func(s *stage) { write(t, s.dir+"/a.pem", s.pki.issue("a1").fullchain) }, func(s *stage) {
		write(t, s.dir+"/a.pem", s.pki.issue("a2").cert)
		s.learn("a.pem")
		s.want("certs/a; a1 a.pem; doubt a.pem truncated")
		s.pass(2 * maxQuiet)
		s.want("certs/a; a2 unissued a.pem")
	})
}

// W13: whatever opening, or looking at, a file, its directory or its root says: the last good leaf stands, and recovers.
func TestEveryErrorKeepsTheLastGoodLeaf(t *testing.T) {
	t.Parallel()
	for _, errno := range []unix.Errno{unix.EACCES, unix.EIO, unix.ESTALE, unix.ENOTCONN} {
		for _, name := range []string{"x/a.pem", "x", ""} {
			both(t, func(s *stage) { write(t, s.dir+"/x/a.pem", s.pki.issue("a1").fullchain) }, func(s *stage) {
				path := filepath.Join(s.dir, name)
				for how, fail := range map[string]func(error){
					"opening": func(err error) { s.fail(name, err) },
					"looking": func(err error) {
						s.says(nil)
						if err != nil {
							s.says(func(st info) (info, error) { return info{}, err }, path)
						}
					},
				} {
					label := fmt.Sprint("after ", how)
					good, _, _ := strings.Cut(s.String(), "; doubt")
					fail(errno)
					write(t, s.dir+"/x/a.pem", s.pki.issue(label).fullchain)
					s.learn("x/a.pem")
					s.figures()
					if got := s.String(); got != good+"; doubt a.pem unreadable" && got != "certs/x/a; "+label+" a.pem; doubt a.pem unreadable" {
						t.Errorf("%v, %s %q: %s", errno, how, name, got)
					}
					if !errors.Is(errno, unix.EACCES) && strings.Contains(s.root(s.dir), "complete=true") != (name == "x/a.pem") {
						t.Errorf("%v, %s %q: %s", errno, how, name, s.root(s.dir))
					}
					fail(nil)
					s.figures()
					s.pass(lastRetry)
					s.want("certs/x/a; " + label + " a.pem")
				}
			})
		}
	}
}

// W14: the key alone is replaced, as acme.sh and getssl do before an order that may fail.
func TestKeyReplacedAloneTakesNothingAway(t *testing.T) {
	both(t, func(s *stage) { acmesh(t, s.dir+"/a", "a", s.pki.issue("a1"), s.pki.chain) }, func(s *stage) {
		write(t, s.dir+"/a/a.key", s.pki.issue("n1").key)
		s.learn("a/a.key")
		s.pass(rescan)
		s.want("certs/a/a; a1 a.cer fullchain.cer")
	})
}

// W15: certbot deletes one lineage of a hundred: it is gone, and nothing else is.
func TestOneLineageOfAHundredIsDeleted(t *testing.T) {
	t.Parallel()
	both(t, func(s *stage) {
		c := s.pki.issue("a1")
		for n := range 100 {
			certbot(t, s.dir, fmt.Sprint("h", n), 1, c, s.pki.chain)
		}
	}, func(s *stage) {
		ok(t, os.RemoveAll(s.dir+"/live/h7"))
		ok(t, os.RemoveAll(s.dir+"/archive/h7"))
		s.learn("live/h7")
		s.pass(quiet)
		if got := strings.Split(s.String(), "\n"); len(got) != 99 || strings.Contains(s.String(), "live/h7/") || strings.Contains(s.String(), "doubt") {
			t.Error(len(got))
		}
		ok(t, os.RemoveAll(s.dir))
		s.figures()
		s.pass(2 * quiet)
		if got := strings.Count(s.String(), "doubt fullchain.pem missing-root"); got != 99 {
			t.Error(got)
		}
	})
}

// W17, W18: every odd certificate that Go refuses, in one directory with rubbish: each is known, and only the rubbish is in doubt.
func TestOddCertificatesAreKnownAndRubbishHarmsOnlyItself(t *testing.T) {
	odd, err := filepath.Glob("../dane/testdata/*.pem")
	ok(t, err)
	_, v, _ := sweepOf(t, func(dir string, p *pki) {
		for _, path := range odd {
			data, err := os.ReadFile(path)
			ok(t, err)
			write(t, dir+"/"+filepath.Base(path), string(data))
		}
		at(t, dir, "rubbish.pem", "rubbish", "README", "x", "bom.pem", "\xef\xbb\xbf"+p.issue("x").cert, "dh.pem", parameters, "good.pem", p.issue("g1").fullchain,
			"crlf.pem", strings.ReplaceAll(p.issue("g2").fullchain, "\n", "\r\n"), "text.pem", "Subject: me\n"+p.issue("g3").fullchain)
	})
	var got []string
	for _, l := range v.lineages {
		doubt := ""
		for _, f := range l.Files {
			if f.Doubt != nil {
				doubt = " doubt"
			}
		}
		got = append(got, fmt.Sprint(l.Name, len(l.Leaves), doubt))
	}
	want := "bom0 doubt brainpool1 compressed1 crlf1 ed4481 explicit1 good1 rsa-pss1 rubbish0 doubt secp256k11 text1 trusted1"
	// Chains and the public halves of others are files of the same lineages, or hold no leaf.
	if text := sortedWithout(got, "-chain", "-public", "-request", "README"); text != want {
		t.Errorf("got:\n%s\nwant:\n%s", text, want)
	}
}

// W19: a self-signed certificate that calls itself a CA is a leaf; a lone ca.crt is none.
func TestSelfSignedLeafIsALeafAndALoneAnchorIsNone(t *testing.T) {
	_, v, _ := sweepOf(t, func(dir string, p *pki) {
		at(t, dir, "self.pem", p.selfSigned("self"), "x/ca.crt", p.chain, "y/chain.pem", p.chain)
	})
	if got := v.String(); got != "certs/self; self unissued self.pem\ncerts/y/y" {
		t.Error(got)
	}
}

func (p *pki) selfSigned(label string) string {
	key := newKey(p.t)
	template := &x509.Certificate{
		SerialNumber: big.NewInt(7), Subject: pkix.Name{CommonName: label}, DNSNames: []string{label}, IsCA: true, BasicConstraintsValid: true,
		NotBefore: time.Unix(1e9, 0), NotAfter: time.Unix(3e9, 0),
	}
	return p.sign(template, key, label)
}

func (p *pki) sign(template *x509.Certificate, key *ecdsa.PrivateKey, label string) string {
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	ok(p.t, err)
	p.know(der, label)
	return toPEM("CERTIFICATE", der)
}

// W25: the tree is made five minutes after the start; its nearest ancestor is watched and tells of it.
func TestRootThatComesLateIsHeardOf(t *testing.T) {
	play(t, func(s *stage) { s.w.cfg.Certs[0] += "/deep/er"; s.w.roots[0].clean += "/deep/er" }, func(s *stage) {
		s.pass(5 * time.Minute)
		base := filepath.Dir(s.dir)
		if s.fake.count(base) == 0 || s.view.roots[s.dir].Problems[0].Reason != MissingRoot {
			t.Error(s.fake.added)
		}
		write(t, s.dir+"/deep/er/a.pem", s.pki.issue("a1").fullchain)
		s.fake.events <- fsnotify.Event{Name: s.dir, Op: fsnotify.Create}
		synctest.Wait()
		s.pass(2 * quiet)
		s.want("certs/deep/er/a; a1 a.pem")
	})
}

// Texts of problems are logged when they change: a file that flaps, and one that grows, say the same each time.
func TestFlappingFileSaysTheSameEachTime(t *testing.T) {
	texts := map[string]bool{}
	play(t, func(s *stage) { write(t, s.dir+"/a.pem", s.pki.issue("a1").fullchain) }, func(s *stage) {
		damaged := toPEM("CERTIFICATE", []byte("\x30\x03\x02\x01\x00"))
		for n := range 20 {
			write(t, s.dir+"/a.pem", strings.Repeat(s.pki.chain, n%3)+strings.Repeat(damaged, 1+n%4))
			s.learn("a.pem")
			texts[s.view.lineages[s.dir+"/a"].Files[0].Doubt.Text] = true
			write(t, s.dir+"/a.pem", s.pki.again("a1").fullchain)
			s.learn("a.pem")
			s.want("certs/a; a1 a.pem")
		}
	})
	if len(texts) != 1 {
		t.Errorf("%v", texts)
	}
}

func sortedWithout(list []string, parts ...string) string {
	list = slices.DeleteFunc(list, func(s string) bool {
		return slices.ContainsFunc(parts, func(part string) bool { return strings.Contains(s, part) })
	})
	slices.Sort(list)
	return strings.Join(list, " ")
}

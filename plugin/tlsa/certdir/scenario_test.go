package certdir

import (
	"context"
	"maps"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// A scenario is what a producer does, step by step, and what must be known after each step.
type scenario struct {
	roots []string // below the test's directory; default "certs"
	next  []string
	steps []step
}

type step struct {
	do   func(t *testing.T, p *pki, dir string)
	want string
}

func scenarios() map[string]scenario {
	all := fileScenarios()
	for _, more := range []map[string]scenario{linkScenarios(), doubtScenarios(), rootScenarios(), clientTrees(), serverTrees(), mountedTrees()} {
		maps.Copy(all, more)
	}
	return all
}

func fileScenarios() map[string]scenario {
	return map[string]scenario{
		"a file is renamed over another": {steps: []step{
			{func(t *testing.T, p *pki, dir string) {
				write(t, dir+"/certs/a.pem", p.issue("a1").fullchain)
				write(t, dir+"/certs/b.pem", p.issue("b1").fullchain)
			}, "certs/a; a1 a.pem\ncerts/b; b1 b.pem"},
			{func(t *testing.T, p *pki, dir string) { replace(t, dir+"/certs/a.pem", p.issue("a2").fullchain) },
				"certs/a; a2 a.pem\ncerts/b; b1 b.pem"},
		}},
		"a file is rewritten in place": {steps: []step{
			{func(t *testing.T, p *pki, dir string) { write(t, dir+"/certs/a.crt", p.issue("a1").cert) }, "certs/a; a1 unissued a.crt"},
			{func(t *testing.T, p *pki, dir string) { write(t, dir+"/certs/a.crt", p.issue("a2").fullchain) }, "certs/a; a2 a.crt"},
		}},
		"a file keeps its size and times": {steps: []step{
			{func(t *testing.T, p *pki, dir string) { write(t, dir+"/certs/a.pem", padded(p.issue("a1"))) }, "certs/a; a1 a.pem"},
			{func(t *testing.T, p *pki, dir string) {
				before, err := os.Stat(dir + "/certs/a.pem")
				ok(t, err)
				write(t, dir+"/certs/a.pem", padded(p.issue("a2")))
				ok(t, os.Chtimes(dir+"/certs/a.pem", before.ModTime(), before.ModTime()))
			}, "certs/a; a2 a.pem"},
		}},
		"circles and depths come up later": {steps: []step{
			{func(t *testing.T, p *pki, dir string) { write(t, dir+"/certs/x/a.pem", p.issue("a1").fullchain) }, "certs/x/a; a1 a.pem"},
			{func(t *testing.T, p *pki, dir string) {
				link(t, "..", dir+"/certs/x/up")
				write(t, dir+"/certs/1/2/3/4/5/deep.pem", p.issue("b1").fullchain)
				write(t, dir+"/certs/1/2/3/4/b.pem", p.issue("b1").fullchain)
			}, "certs/1/2/3/4/b; b1 b.pem\ncerts/x/a; a1 a.pem"},
			{func(t *testing.T, p *pki, dir string) {
				write(t, dir+"/certs/1/2/3/4/6/deep.pem", p.issue("b2").fullchain)
				replace(t, dir+"/certs/1/2/3/4/b.pem", p.issue("b2").fullchain)
			}, "certs/1/2/3/4/b; b2 b.pem\ncerts/x/a; a1 a.pem"},
		}},
		"a file is removed": {steps: []step{
			{func(t *testing.T, p *pki, dir string) {
				c := p.issue("a1")
				write(t, dir+"/certs/a/cert.pem", c.cert)
				write(t, dir+"/certs/a/fullchain.pem", c.fullchain)
			}, "certs/a/a; a1 cert.pem fullchain.pem"},
			{func(t *testing.T, p *pki, dir string) { ok(t, os.Remove(dir+"/certs/a/fullchain.pem")) }, "certs/a/a; a1 unissued cert.pem"},
			{func(t *testing.T, p *pki, dir string) { ok(t, os.Remove(dir+"/certs/a/cert.pem")) }, ""},
		}},
	}
}

func linkScenarios() map[string]scenario {
	return map[string]scenario{
		"certbot renews and deletes": {roots: []string{"live"}, steps: []step{
			{func(t *testing.T, p *pki, dir string) { certbot(t, dir, "a", 1, p.issue("a1"), p.chain) }, "live/a/a; a1 cert.pem fullchain.pem"},
			{func(t *testing.T, p *pki, dir string) { certbot(t, dir, "a", 2, p.issue("a2"), p.chain) }, "live/a/a; a2 cert.pem fullchain.pem"},
			{func(t *testing.T, p *pki, dir string) { certbot(t, dir, "b", 1, p.issue("b1"), p.chain) },
				"live/a/a; a2 cert.pem fullchain.pem\nlive/b/b; b1 cert.pem fullchain.pem"},
			{func(t *testing.T, p *pki, dir string) {
				ok(t, os.RemoveAll(dir+"/live/a"))
				ok(t, os.RemoveAll(dir+"/archive/a"))
			}, "live/b/b; b1 cert.pem fullchain.pem"},
		}},
		"only one of certbot's links is swapped yet": {roots: []string{"live"}, steps: []step{
			{func(t *testing.T, p *pki, dir string) { certbot(t, dir, "a", 1, p.issue("a1"), p.chain) }, "live/a/a; a1 cert.pem fullchain.pem"},
			{func(t *testing.T, p *pki, dir string) {
				c := p.issue("a2")
				write(t, dir+"/archive/a/cert2.pem", c.cert)
				write(t, dir+"/archive/a/fullchain2.pem", c.fullchain)
				certbotLink(t, dir, "a", "cert", 2)
			}, "live/a/a; a1 fullchain.pem; a2 cert.pem"},
			{func(t *testing.T, p *pki, dir string) { ok(t, os.Remove(dir+"/live/a/fullchain.pem")) }, "live/a/a; a2 cert.pem"},
			{func(t *testing.T, p *pki, dir string) { certbotLink(t, dir, "a", "fullchain", 2) }, "live/a/a; a2 cert.pem fullchain.pem"},
		}},
		"somebody writes through a link": {roots: []string{"live"}, steps: []step{
			{func(t *testing.T, p *pki, dir string) { certbot(t, dir, "a", 1, p.issue("a1"), p.chain) }, "live/a/a; a1 cert.pem fullchain.pem"},
			{func(t *testing.T, p *pki, dir string) {
				c := p.issue("a2")
				write(t, dir+"/archive/a/cert1.pem", c.cert)
				write(t, dir+"/archive/a/fullchain1.pem", c.fullchain)
			}, "live/a/a; a2 cert.pem fullchain.pem"},
		}},
		"a Secret is swapped three times": {roots: []string{"tls"}, steps: []step{
			{func(t *testing.T, p *pki, dir string) { secret(t, p, dir, 1) }, "tls/tls; k1 tls.crt"},
			{func(t *testing.T, p *pki, dir string) { secret(t, p, dir, 2) }, "tls/tls; k2 tls.crt"},
			{func(t *testing.T, p *pki, dir string) { secret(t, p, dir, 3) }, "tls/tls; k3 tls.crt"},
			{func(t *testing.T, p *pki, dir string) { secret(t, p, dir, 4) }, "tls/tls; k4 tls.crt"},
		}},
		"a directory appears with all its files": {steps: []step{
			{func(t *testing.T, p *pki, dir string) { ok(t, os.MkdirAll(dir+"/certs", 0o755)) }, ""},
			{func(t *testing.T, p *pki, dir string) {
				c := p.issue("a1")
				write(t, dir+"/certs/x/y/a/cert.pem", c.cert)
				write(t, dir+"/certs/x/y/a/chain.pem", p.chain)
				write(t, dir+"/certs/x/y/a/fullchain.pem", c.fullchain)
				write(t, dir+"/certs/x/y/a/privkey.pem", c.key)
			}, "certs/x/y/a/a; a1 cert.pem fullchain.pem"},
		}},
		"a link is retargeted at each of three levels": {steps: []step{
			{func(t *testing.T, p *pki, dir string) {
				for _, v := range []string{"v1", "v2", "v3", "v4"} {
					write(t, dir+"/"+v+"/c.pem", p.issue(v).fullchain)
				}
				link(t, dir+"/v1", dir+"/l3/current")
				link(t, "../l3/current/c.pem", dir+"/l2/c.pem")
				link(t, dir+"/l2/c.pem", dir+"/l1/c.pem")
				link(t, "../l1/c.pem", dir+"/certs/a.pem")
			}, "certs/a; v1 a.pem"},
			{func(t *testing.T, p *pki, dir string) { link(t, dir+"/v2", dir+"/l3/current") }, "certs/a; v2 a.pem"},
			{func(t *testing.T, p *pki, dir string) { link(t, "../v3/c.pem", dir+"/l2/c.pem") }, "certs/a; v3 a.pem"},
			{func(t *testing.T, p *pki, dir string) { link(t, "../v4/c.pem", dir+"/l1/c.pem") }, "certs/a; v4 a.pem"},
			{func(t *testing.T, p *pki, dir string) { replace(t, dir+"/v4/c.pem", p.issue("v5").fullchain) }, "certs/a; v5 a.pem"},
		}},
		"a link to a directory is retargeted": {steps: []step{
			{func(t *testing.T, p *pki, dir string) {
				write(t, dir+"/v1/tls.crt", p.issue("v1").fullchain)
				write(t, dir+"/v2/tls.crt", p.issue("v2").fullchain)
				link(t, dir+"/v1", dir+"/current")
				link(t, "../current", dir+"/certs/a")
			}, "certs/a/a; v1 tls.crt"},
			{func(t *testing.T, p *pki, dir string) { link(t, dir+"/v2", dir+"/current") }, "certs/a/a; v2 tls.crt"},
			{func(t *testing.T, p *pki, dir string) { ok(t, os.Remove(dir+"/current")) }, "certs/a/a; v2 tls.crt; doubt tls.crt unreadable"},
			{func(t *testing.T, p *pki, dir string) { link(t, dir+"/v1", dir+"/current") }, "certs/a/a; v1 tls.crt"},
		}},
	}
}

func doubtScenarios() map[string]scenario {
	return map[string]scenario{
		"a file falls in doubt and recovers": {steps: []step{
			{func(t *testing.T, p *pki, dir string) { write(t, dir+"/certs/a.pem", p.issue("a1").fullchain) }, "certs/a; a1 a.pem"},
			{func(t *testing.T, p *pki, dir string) { write(t, dir+"/certs/a.pem", "") }, "certs/a; a1 a.pem; doubt a.pem empty"},
			{func(t *testing.T, p *pki, dir string) { write(t, dir+"/certs/a.pem", "no certificate") }, "certs/a; a1 a.pem; doubt a.pem malformed"},
			{func(t *testing.T, p *pki, dir string) { write(t, dir+"/certs/a.pem", p.issue("x").fullchain[:900]) }, "certs/a; a1 a.pem; doubt a.pem truncated"},
			{func(t *testing.T, p *pki, dir string) { write(t, dir+"/certs/a.pem", p.issue("x").key) }, "certs/a; a1 a.pem; doubt a.pem no-certificate"},
			{func(t *testing.T, p *pki, dir string) { ok(t, os.Truncate(dir+"/certs/a.pem", 10<<30)) }, "certs/a; a1 a.pem; doubt a.pem too-large"},
			{func(t *testing.T, p *pki, dir string) { link(t, "nowhere", dir+"/certs/a.pem") }, "certs/a; a1 a.pem; doubt a.pem unreadable"},
			{func(t *testing.T, p *pki, dir string) { link(t, "a.pem", dir+"/certs/a.pem") }, "certs/a; a1 a.pem; doubt a.pem unreadable"},
			{func(t *testing.T, p *pki, dir string) { link(t, "/dev/zero", dir+"/certs/a.pem") }, "certs/a; a1 a.pem; doubt a.pem not-regular"},
			{func(t *testing.T, p *pki, dir string) {
				ok(t, os.Remove(dir+"/certs/a.pem"))
				ok(t, os.Mkdir(dir+"/certs/a.pem", 0o755))
			}, "certs/a; a1 a.pem; doubt a.pem not-regular"},
			{func(t *testing.T, p *pki, dir string) {
				ok(t, os.Remove(dir+"/certs/a.pem"))
				write(t, dir+"/certs/a.pem", p.issue("a2").fullchain)
			}, "certs/a; a2 a.pem"},
			{func(t *testing.T, p *pki, dir string) { ok(t, os.Chmod(dir+"/certs/a.pem", 0o646)) }, "certs/a; a2 a.pem; doubt a.pem writable-file"},
			{func(t *testing.T, p *pki, dir string) { ok(t, os.Chmod(dir+"/certs/a.pem", 0o644)) }, "certs/a; a2 a.pem"},
		}},
		"a chain file falls in doubt": {steps: []step{
			{func(t *testing.T, p *pki, dir string) {
				write(t, dir+"/certs/a/cert.pem", p.issue("a1").cert)
				write(t, dir+"/certs/a/chain.pem", p.chain)
			}, "certs/a/a; a1 cert.pem"},
			{func(t *testing.T, p *pki, dir string) { write(t, dir+"/certs/a/chain.pem", "") }, "certs/a/a; a1 cert.pem; doubt chain.pem empty"},
			{func(t *testing.T, p *pki, dir string) { write(t, dir+"/certs/a/cert.pem", p.issue("a2").cert) },
				"certs/a/a; a2 cert.pem; doubt chain.pem empty"},
		}},
		"anyone may write to a directory for a while": {steps: []step{
			{func(t *testing.T, p *pki, dir string) { write(t, dir+"/certs/a/tls.crt", p.issue("a1").fullchain) }, "certs/a/a; a1 tls.crt"},
			{func(t *testing.T, p *pki, dir string) {
				ok(t, os.Chmod(dir+"/certs/a", 0o757))
				write(t, dir+"/certs/a/tls.crt", p.issue("evil").fullchain)
			}, "certs/a/a; a1 tls.crt; doubt tls.crt writable-directory"},
			{func(t *testing.T, p *pki, dir string) { ok(t, os.Chmod(dir+"/certs/a", 0o755)) }, "certs/a/a; evil tls.crt"},
		}},
		"anyone may write where a link leads": {steps: []step{
			{func(t *testing.T, p *pki, dir string) {
				write(t, dir+"/target/c.pem", p.issue("a1").fullchain)
				link(t, "../target/c.pem", dir+"/certs/a.pem")
			}, "certs/a; a1 a.pem"},
			{func(t *testing.T, p *pki, dir string) { ok(t, os.Chmod(dir+"/target", 0o777)) }, "certs/a; a1 a.pem; doubt a.pem writable-directory"},
		}},
	}
}

func rootScenarios() map[string]scenario {
	return map[string]scenario{
		"a root comes late": {steps: []step{
			{func(t *testing.T, p *pki, dir string) {}, ""},
			{func(t *testing.T, p *pki, dir string) { write(t, dir+"/certs/a.pem", p.issue("a1").fullchain) }, "certs/a; a1 a.pem"},
		}},
		"a root vanishes and returns": {steps: []step{
			{func(t *testing.T, p *pki, dir string) { write(t, dir+"/certs/a/b.pem", p.issue("a1").fullchain) }, "certs/a/b; a1 b.pem"},
			{func(t *testing.T, p *pki, dir string) { ok(t, os.Rename(dir+"/certs", dir+"/away")) }, "certs/a/b; a1 b.pem; doubt b.pem missing-root"},
			{func(t *testing.T, p *pki, dir string) { ok(t, os.Rename(dir+"/away", dir+"/certs")) }, "certs/a/b; a1 b.pem"},
			{func(t *testing.T, p *pki, dir string) { ok(t, os.RemoveAll(dir+"/certs")) }, "certs/a/b; a1 b.pem; doubt b.pem missing-root"},
			{func(t *testing.T, p *pki, dir string) { write(t, dir+"/certs/a/b.pem", p.issue("a2").fullchain) }, "certs/a/b; a2 b.pem"},
		}},
		"a single file is the root": {roots: []string{"certs/site.pem"}, steps: []step{
			{func(t *testing.T, p *pki, dir string) {
				write(t, dir+"/certs/site.pem", p.issue("a1").fullchain)
				write(t, dir+"/certs/other.pem", p.issue("o1").fullchain)
			}, "certs/site; a1 site.pem"},
			{func(t *testing.T, p *pki, dir string) { replace(t, dir+"/certs/site.pem", p.issue("a2").fullchain) }, "certs/site; a2 site.pem"},
			{func(t *testing.T, p *pki, dir string) { ok(t, os.Remove(dir+"/certs/site.pem")) }, "certs/site; a2 site.pem; doubt site.pem missing-root"},
			{func(t *testing.T, p *pki, dir string) { write(t, dir+"/certs/site.pem", p.issue("a3").fullchain) }, "certs/site; a3 site.pem"},
		}},
		"a glob is the root": {roots: []string{"certs/*/tls.crt"}, steps: []step{
			{func(t *testing.T, p *pki, dir string) { write(t, dir+"/certs/a/tls.crt", p.issue("a1").fullchain) }, "certs/a/a; a1 tls.crt"},
			{func(t *testing.T, p *pki, dir string) { write(t, dir+"/certs/b/tls.crt", p.issue("b1").fullchain) },
				"certs/a/a; a1 tls.crt\ncerts/b/b; b1 tls.crt"},
			{func(t *testing.T, p *pki, dir string) { replace(t, dir+"/certs/a/tls.crt", p.issue("a2").fullchain) },
				"certs/a/a; a2 tls.crt\ncerts/b/b; b1 tls.crt"},
			{func(t *testing.T, p *pki, dir string) { ok(t, os.RemoveAll(dir+"/certs/a")) }, "certs/b/b; b1 tls.crt"},
			{func(t *testing.T, p *pki, dir string) { ok(t, os.RemoveAll(dir+"/certs/b")) }, "certs/b/b; b1 tls.crt; doubt tls.crt missing-root"},
		}},
		"a staged key gets its certificate": {next: []string{"next"}, steps: []step{
			{func(t *testing.T, p *pki, dir string) {
				c := p.issue("n1")
				write(t, dir+"/certs/a.pem", p.issue("a1").fullchain)
				write(t, dir+"/certs/a.csr", c.csr)
				write(t, dir+"/next/a.pub.pem", c.public)
			}, "certs/a; a1 a.pem\nnext/a; key of n1 a.pub.pem"},
			{func(t *testing.T, p *pki, dir string) { write(t, dir+"/next/a.crt", p.issue("n2").fullchain) },
				"certs/a; a1 a.pem\nnext/a; key of n1 a.pub.pem; n2 a.crt"},
		}},
		"a root lies inside another": {next: []string{"certs/next"}, steps: []step{
			{func(t *testing.T, p *pki, dir string) {
				write(t, dir+"/certs/a.pem", p.issue("a1").fullchain)
				write(t, dir+"/certs/next/a.csr", p.issue("n1").csr)
				write(t, dir+"/certs/next/b.pem", p.issue("n2").fullchain)
			}, "certs/a; a1 a.pem\ncerts/next/a; key of n1 a.csr\ncerts/next/b; n2 b.pem"},
			{func(t *testing.T, p *pki, dir string) { ok(t, os.RemoveAll(dir+"/certs/next")) },
				"certs/a; a1 a.pem\ncerts/next/a; key of n1 a.csr; doubt a.csr missing-root\ncerts/next/b; n2 b.pem; doubt b.pem missing-root"},
		}},
	}
}

func padded(c issued) string { return c.fullchain + strings.Repeat("\n", 4000-len(c.fullchain)) }

func secret(t *testing.T, p *pki, dir string, n int) {
	c := p.issue("k" + string(rune('0'+n)))
	kubernetes(t, dir+"/tls", n, map[string]string{"tls.crt": c.fullchain, "tls.key": c.key, "ca.crt": p.chain})
}

func run(t *testing.T, s scenario, play func(t *testing.T, dir string, cfg Config, p *pki, s scenario)) {
	dir, err := filepath.EvalSymlinks(t.TempDir())
	ok(t, err)
	if s.roots == nil {
		s.roots = []string{"certs"}
	}
	// Quiet is what a step takes at most, as to remove a directory with what is in it, on a busy machine too.
	cfg := Config{Rescan: time.Hour, Quiet: 200 * time.Millisecond, MaxQuiet: 2 * time.Second}
	for _, r := range s.roots {
		cfg.Certs = append(cfg.Certs, dir+"/"+r)
	}
	for _, r := range s.next {
		cfg.Next = append(cfg.Next, dir+"/"+r)
	}
	play(t, dir, cfg, newPKI(t), s)
}

func TestEventsAloneFindEveryChange(t *testing.T) {
	t.Parallel()
	for name, s := range scenarios() {
		t.Run(name, func(t *testing.T) {
			t.Parallel() // most of it is waiting
			run(t, s, func(t *testing.T, dir string, cfg Config, p *pki, s scenario) {
				w, v := New(cfg), newView(p, dir)
				s.steps[0].do(t, p, dir)
				v.apply(w.Sweep(context.Background()))
				l := start(t, w, v)
				for _, step := range s.steps[1:] {
					l.await(t, l.armed, "armed")
					step.do(t, p, dir)
					l.await(t, l.String, step.want)
				}
			})
		})
	}
}

func TestSweepsAloneFindEveryChange(t *testing.T) {
	t.Parallel()
	for name, s := range scenarios() {
		t.Run(name, func(t *testing.T) {
			run(t, s, func(t *testing.T, dir string, cfg Config, p *pki, s scenario) {
				synctest.Test(t, func(t *testing.T) {
					cfg.NoEvents = true
					w, v := New(cfg), newView(p, dir)
					l := start(t, w, v)
					synctest.Wait()
					for i, step := range s.steps {
						step.do(t, p, dir)
						advance(3 * cfg.Rescan / 2)
						synctest.Wait()
						if got := l.String(); got != step.want {
							t.Errorf("after step %d\ngot:\n%s\nwant:\n%s", i, got, step.want)
						}
					}
					l.stop()
				})
			})
		})
	}
}

func TestOneSweepTellsTheSameAsAWatcher(t *testing.T) {
	t.Parallel()
	for name, s := range scenarios() {
		t.Run(name, func(t *testing.T) {
			run(t, s, func(t *testing.T, dir string, cfg Config, p *pki, s scenario) {
				w, v := New(cfg), newView(p, dir)
				for i, step := range s.steps {
					step.do(t, p, dir)
					v.apply(w.Sweep(context.Background()))
					if got := v.String(); got != step.want {
						t.Errorf("after step %d\ngot:\n%s\nwant:\n%s", i, got, step.want)
					}
				}
			})
		})
	}
}

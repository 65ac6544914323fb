package main

import (
	"bytes"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/miekg/dns"

	"github.com/coredns-tlsa/coredns-tlsa/plugin/tlsa/dane"
)

// A rollover is a zone with two servers, an old certificate that both show and a new one that waits, in a bubble of time.
type rollover struct {
	t        *testing.T
	world    *world
	ns       [2]*authority
	old, new []dns.RR
	file     string
	start    time.Time
}

func newRollover(t *testing.T) *rollover {
	t.Helper()
	r := &rollover{t: t, world: &world{}, file: filepath.Join(t.TempDir(), "new.pem"), start: time.Now()}
	r.old = recordsOf(t, mailOwner, newLineage(t, "mail.example.org", newKey(t))["cert.pem"])
	staged := newLineage(t, "mail.example.org", newKey(t))["cert.pem"]
	r.new = recordsOf(t, mailOwner, staged)
	r.stage(staged)
	for i := range r.ns {
		r.ns[i] = &authority{apex: "example.org.", ttl: time.Hour, signed: true}
		r.ns[i].set(mailOwner, r.old...)
		r.world.put(fmt.Sprintf("192.0.2.%d:53", i+1), r.ns[i])
	}
	return r
}

func (r *rollover) stage(cert []byte) {
	if err := os.WriteFile(r.file, cert, 0o600); err != nil {
		r.t.Fatal(err)
	}
}

func (r *rollover) both() []dns.RR { return append(append([]dns.RR{}, r.old...), r.new...) }

// at does something in time for the round at d after the start.
func (r *rollover) at(d time.Duration, f func()) {
	time.AfterFunc(time.Until(r.start.Add(d-time.Second)), f)
}

// outcome is how a run of wait ends, and when, counted from the start.
type outcome struct {
	code           int
	after          time.Duration
	stdout, stderr string
}

func (r *rollover) wait(flags ...string) outcome {
	r.t.Helper()
	return r.run(append(flags, "--server", "192.0.2.1", "--server", "192.0.2.2", r.file)...)
}

func (r *rollover) run(args ...string) outcome {
	r.t.Helper()
	code, stdout, stderr := tlsactl(r.t, r.world, append([]string{"wait"}, args...)...)
	return outcome{code, time.Since(r.start), stdout, stderr}
}

func (o outcome) want(t *testing.T, code int, after time.Duration, stderr string) {
	t.Helper()
	if o.code != code || o.after != after || !strings.Contains(o.stderr, stderr) {
		t.Errorf("exit %d after %s, want %d after %s and %q\n%s%s", o.code, o.after, code, after, stderr, o.stdout, o.stderr)
	}
}

func TestCountsFromTheSlowestServerAndOnlyForward(t *testing.T) {
	for claim, row := range map[string]struct {
		flags  []string
		happen func(r *rollover)
		code   int
		after  time.Duration
		stderr string
	}{
		"both show it at once: two TTLs": {
			happen: func(r *rollover) { r.ns[0].set(mailOwner, r.both()...); r.ns[1].set(mailOwner, r.both()...) },
			after:  2 * time.Hour,
		},
		"the second one ten minutes later": {
			happen: func(r *rollover) {
				r.ns[0].set(mailOwner, r.both()...)
				r.at(10*time.Minute, func() { r.ns[1].set(mailOwner, r.both()...) })
			},
			after: 2*time.Hour + 10*time.Minute, stderr: "waiting: 192.0.2.2:53: it lacks 3 1 1",
		},
		"a server that loses it begins anew": {
			happen: func(r *rollover) {
				r.ns[0].set(mailOwner, r.both()...)
				r.ns[1].set(mailOwner, r.both()...)
				r.at(time.Hour, func() { r.ns[0].set(mailOwner, r.old...) })
				r.at(time.Hour+time.Minute, func() { r.ns[0].set(mailOwner, r.both()...) })
			},
			after: 3*time.Hour + time.Minute,
		},
		"a server that is silent for a while keeps its time": {
			happen: func(r *rollover) {
				r.ns[0].set(mailOwner, r.both()...)
				r.ns[1].set(mailOwner, r.both()...)
				r.at(time.Hour, func() { r.world.put("192.0.2.2:53", nil) })
				r.at(time.Hour+10*time.Minute, func() { r.world.put("192.0.2.2:53", r.ns[1]) })
			},
			after: 2 * time.Hour, stderr: "192.0.2.2:53: connection refused",
		},
		"it is not safe while a server is silent": {
			happen: func(r *rollover) {
				r.ns[0].set(mailOwner, r.both()...)
				r.ns[1].set(mailOwner, r.both()...)
				r.at(time.Hour, func() { r.world.put("192.0.2.2:53", nil) })
				r.at(3*time.Hour, func() { r.world.put("192.0.2.2:53", r.ns[1]) })
			},
			after: 3 * time.Hour,
		},
		"the TTL without the key counts, not a lower one with it": {
			happen: func(r *rollover) {
				r.at(time.Minute, func() {
					for _, ns := range r.ns {
						ns.set(mailOwner, r.both()...)
						ns.change(func() { ns.ttl = time.Minute })
					}
				})
			},
			after: 2*time.Hour + time.Minute,
		},
		"a short TTL: five minutes more than one": {
			happen: func(r *rollover) {
				for _, ns := range r.ns {
					ns.change(func() { ns.ttl = time.Minute })
					ns.set(mailOwner, r.both()...)
				}
			},
			after: 6 * time.Minute,
		},
		"--hold instead": {
			flags:  []string{"--hold", "45m"},
			happen: func(r *rollover) { r.ns[0].set(mailOwner, r.both()...); r.ns[1].set(mailOwner, r.both()...) },
			after:  45 * time.Minute,
		},
		"the time is over": {
			flags:  []string{"--at-most", "1h"},
			happen: func(r *rollover) { r.ns[0].set(mailOwner, r.both()...); r.ns[1].set(mailOwner, r.both()...) },
			code:   exitNotYet, after: time.Hour, stderr: "not-yet: every server shows it; caches may lack it until",
		},
		"the time is over and a server never answered": {
			flags: []string{"--at-most", "1h"},
			happen: func(r *rollover) {
				r.ns[0].set(mailOwner, r.both()...)
				r.world.put("192.0.2.2:53", nil)
			},
			code: exitUnreachable, after: time.Hour, stderr: "unreachable: 192.0.2.2:53: connection refused",
		},
		"a server loses its signatures": {
			happen: func(r *rollover) {
				r.ns[0].set(mailOwner, r.both()...)
				r.ns[1].set(mailOwner, r.both()...)
				r.at(time.Hour, func() { r.ns[1].sign(false) })
			},
			code: exitNotSecure, after: time.Hour, stderr: "not-secure: 192.0.2.2:53",
		},
		"signatures out of date are none": {
			happen: func(r *rollover) { r.ns[1].change(func() { r.ns[1].expired = true }) },
			code:   exitNotSecure, stderr: "no valid signature",
		},
		"an answer from a cache does not count": {
			flags: []string{"--at-most", "3h"},
			happen: func(r *rollover) {
				r.ns[0].set(mailOwner, r.both()...)
				r.ns[1].set(mailOwner, r.both()...)
				r.ns[1].change(func() { r.ns[1].lame = true })
			},
			code: exitUnreachable, after: 3 * time.Hour, stderr: "without authority",
		},
		"the file holds another key": {
			happen: func(r *rollover) {
				r.at(time.Hour, func() { r.stage(newLineage(r.t, "mail.example.org", newKey(r.t))["cert.pem"]) })
			},
			code: exitSuperseded, after: time.Hour, stderr: "superseded: the file holds another key now",
		},
		"the file is cut for a while": {
			happen: func(r *rollover) {
				whole, err := os.ReadFile(r.file)
				must(r.t, whole, err)
				r.ns[0].set(mailOwner, r.both()...)
				r.ns[1].set(mailOwner, r.both()...)
				r.at(10*time.Minute, func() { r.stage(whole[:300]) })
				r.at(time.Hour, func() { r.stage(whole) })
			},
			after: 2 * time.Hour, stderr: "waiting for what it held before",
		},
	} {
		t.Run(claim, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r := newRollover(t)
				row.happen(r)
				synctest.Wait()
				r.wait(row.flags...).want(t, row.code, row.after, row.stderr)
			})
		})
	}
}

func TestRestartedWaitGoesOnCounting(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRollover(t)
		state := filepath.Join(t.TempDir(), "state")
		r.ns[0].set(mailOwner, r.both()...)
		r.wait("--state", state, "--at-most", "20m").want(t, exitNotYet, 20*time.Minute, "192.0.2.2:53: it lacks")
		r.ns[1].set(mailOwner, r.both()...)
		r.wait("--state", state, "--at-most", "40m").want(t, exitNotYet, time.Hour, "caches may lack it")
		// The TTL that the RRset had without the key is remembered, though nothing shows it any more.
		for _, ns := range r.ns {
			ns.change(func() { ns.ttl = time.Minute })
		}
		r.wait("--state", state).want(t, exitDone, 2*time.Hour+20*time.Minute, "")
	})
}

// A state file written by a clock that was ahead must not shorten anything.
func TestTimesOfTheFutureInTheStateAreNow(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRollover(t)
		r.ns[0].set(mailOwner, r.both()...)
		r.ns[1].set(mailOwner, r.both()...)
		state := filepath.Join(t.TempDir(), "state")
		r.wait("--state", state, "--at-most", "0").want(t, exitNotYet, 0, "")
		data, err := os.ReadFile(state)
		ahead := bytes.ReplaceAll(must(t, data, err), []byte(`"since": "2000`), []byte(`"since": "2099`))
		if bytes.Equal(ahead, data) {
			t.Fatalf("nothing to change in %s", data)
		}
		if err := os.WriteFile(state, ahead, 0o600); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Hour)
		r.wait("--state", state).want(t, exitDone, 3*time.Hour, "")
	})
}

// A client that knows the stronger digest ignores ours (RFC 7671 9).
func TestStrongerDigestOfOtherKeysHidesOurs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRollover(t)
		strong := func(file []byte) dns.RR {
			content, err := dane.Parse(file)
			a, err2 := must(t, content, err).Certificates[0].Fingerprint, error(nil)
			association, err2 := dane.Material{Leaf: a}.Association(dane.Combination{Usage: 3, Selector: 1, MatchingType: 2})
			return must(t, association, err2).TLSA(mailOwner, 0)
		}
		theirs := strong(newLineage(t, "mail.example.org", newKey(t))["cert.pem"])
		for _, ns := range r.ns {
			ns.set(mailOwner, append(r.both(), theirs)...)
		}
		r.wait("--at-most", "0").want(t, exitNotYet, 0, "it has 3 1 2 at _25._tcp.mail.example.org. for other keys only")
		staged, err := os.ReadFile(r.file)
		ours := strong(must(t, staged, err))
		for _, ns := range r.ns {
			ns.set(mailOwner, append(r.both(), theirs, ours)...)
		}
		r.wait("--at-most", "0").want(t, exitNotYet, 0, "caches may lack it")
	})
}

func TestEveryOwnerIsWaitedFor(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRollover(t)
		const submissions = "_465._tcp.mail.example.org."
		r.ns[0].set(mailOwner, r.both()...)
		r.ns[1].set(mailOwner, r.both()...)
		r.at(30*time.Minute, func() { r.ns[0].set(submissions, r.new...); r.ns[1].set(submissions, r.new...) })
		r.wait("--owner", "mail.example.org", "--port", "25", "--port", "465").
			want(t, exitDone, 2*time.Hour+30*time.Minute, "no TLSA records at "+submissions)
	})
}

func TestOwnerAloneWaitsForWhatIsThere(t *testing.T) {
	servers := []string{"--server", "192.0.2.1", "--server", "192.0.2.2"}
	synctest.Test(t, func(t *testing.T) {
		r := newRollover(t)
		r.ns[0].set(mailOwner, r.both()...)
		r.at(10*time.Minute, func() { r.ns[1].set(mailOwner, r.both()...) })
		state := filepath.Join(t.TempDir(), "state")
		args := append(servers, "--state", state)
		r.run(append(args, "--at-most", "1h", mailOwner)...).want(t, exitNotYet, time.Hour, "192.0.2.2:53: it lacks 3 1 1")
		r.run(append(args, mailOwner)...).want(t, exitDone, 2*time.Hour+10*time.Minute, "")
	})
	synctest.Test(t, func(t *testing.T) {
		r := newRollover(t)
		r.at(time.Hour, func() { r.ns[1].set(mailOwner, r.both()...) })
		r.run(append(servers, mailOwner)...).want(t, exitSuperseded, time.Hour, "has a record that it had not")
	})
}

// The delegated mode: the owner is a CNAME into another zone with a server of its own, and both are asked.
func TestAliasIsFollowedToTheServersOfItsZone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRollover(t)
		const target = "customer._dane.example.net."
		alias := &dns.CNAME{Hdr: dns.RR_Header{Rrtype: dns.TypeCNAME}, Target: target}
		r.ns[0].set(mailOwner, alias)
		r.ns[1].set(mailOwner, alias)
		other := &authority{apex: "example.net.", ttl: 30 * time.Minute, signed: true}
		other.set(target, r.old...)
		r.world.put("198.51.100.1:53", other)
		r.world.put("[2001:db8::1]:53", other)
		r.world.put("203.0.113.53:53", resolver(map[string][]string{
			"example.org.": {"192.0.2.1", "192.0.2.2"}, "example.net.": {"198.51.100.1", "2001:db8::1"},
		}, map[string]string{mailOwner: target}))
		r.at(10*time.Minute, func() { other.set(target, r.both()...) })
		// The CNAMEs' TTL of one hour is the largest, and they may be as new as they look.
		o := r.run("--resolver", "203.0.113.53", "-o", "json", r.file)
		o.want(t, exitDone, 2*time.Hour, "198.51.100.1:53 (for "+target+"): it lacks")
		for _, server := range []string{"192.0.2.1:53", "192.0.2.2:53", "198.51.100.1:53", "[2001:db8::1]:53"} {
			if !strings.Contains(o.stdout, `"server": "`+server+`"`) {
				t.Errorf("%s was not asked: %s", server, o.stdout)
			}
		}
		r.run("--resolver", "203.0.113.53", "-4", "--at-most", "0", "-o", "json", r.file).want(t, exitNotYet, 2*time.Hour, "")
	})
}

func TestServerThatComesLaterIsWaitedForToo(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRollover(t)
		r.ns[0].set(mailOwner, r.both()...)
		r.ns[1].set(mailOwner, r.both()...)
		r.world.put("203.0.113.53:53", resolver(map[string][]string{"example.org.": {"192.0.2.1"}}, nil))
		r.at(time.Hour, func() {
			r.world.put("203.0.113.53:53", resolver(map[string][]string{"example.org.": {"192.0.2.1", "192.0.2.2"}}, nil))
		})
		r.at(90*time.Minute, func() { r.world.put("203.0.113.53:53", nil) }) // its list stays
		r.run("--resolver", "203.0.113.53", r.file).want(t, exitDone, 3*time.Hour, "")
	})
}

// A resolver that fails for one run of many must not make the next one begin anew.
func TestServersThatAreNotFoundKeepTheirTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRollover(t)
		r.ns[0].set(mailOwner, r.both()...)
		r.ns[1].set(mailOwner, r.both()...)
		good := resolver(map[string][]string{"example.org.": {"192.0.2.1", "192.0.2.2"}}, nil)
		r.world.put("203.0.113.53:53", good)
		once := []string{"--resolver", "203.0.113.53", "--state", filepath.Join(t.TempDir(), "state"), "--at-most", "0", r.file}
		r.run(once...).want(t, exitNotYet, 0, "")
		time.Sleep(time.Hour)
		r.world.put("203.0.113.53:53", nil)
		r.run(once...).want(t, exitUnreachable, time.Hour, "cannot find the servers")
		time.Sleep(time.Hour)
		r.run(once...).want(t, exitUnreachable, 2*time.Hour, "cannot find the servers")
		r.world.put("203.0.113.53:53", good)
		r.run(once...).want(t, exitDone, 2*time.Hour, "")
	})
}

// resolver is the authority over everything that finding servers needs: zones with the addresses of their servers.
func resolver(zones map[string][]string, aliases map[string]string) *authority {
	z := &authority{apex: ".", ttl: time.Hour}
	for name, addresses := range zones {
		ns := "ns." + name
		z.cuts = append(z.cuts, name)
		z.set(name, &dns.SOA{Hdr: dns.RR_Header{Rrtype: dns.TypeSOA}, Ns: ns, Mbox: "m."}, &dns.NS{Hdr: dns.RR_Header{Rrtype: dns.TypeNS}, Ns: ns})
		var rrs []dns.RR
		for _, a := range addresses {
			ip := net.ParseIP(a)
			if ip.To4() != nil {
				rrs = append(rrs, &dns.A{Hdr: dns.RR_Header{Rrtype: dns.TypeA}, A: ip})
			} else {
				rrs = append(rrs, &dns.AAAA{Hdr: dns.RR_Header{Rrtype: dns.TypeAAAA}, AAAA: ip})
			}
		}
		z.set(ns, rrs...)
	}
	for name, target := range aliases {
		z.set(name, &dns.CNAME{Hdr: dns.RR_Header{Rrtype: dns.TypeCNAME}, Target: target})
	}
	return z
}

func TestProgressIsOneLineForEachChange(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRollover(t)
		r.ns[0].set(mailOwner, r.both()...)
		r.at(10*time.Minute, func() { r.ns[1].set(mailOwner, r.both()...) })
		if o := r.wait(); strings.Count(o.stderr, "\n") != 2 || strings.ContainsAny(o.stderr, "\r\x1b") {
			t.Errorf("two changes in two hours, and this was said:\n%s", o.stderr)
		}
	})
}

func TestTerminalGetsOneLineWithTheTimeLeft(t *testing.T) {
	var out bytes.Buffer
	now := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	r := &reporter{w: &out, width: 40, now: func() time.Time { return now }}
	r.show(verdict{word: verdictNotYet, reason: "every server shows it; caches may lack it until 2026", at: now.Add(90 * time.Minute)})
	r.show(verdict{word: verdictUnreachable, reason: "192.0.2.1:53: timeout"})
	r.done()
	want := "\r\x1b[Ksafe in 1h30m0s: every server shows it;" + "\r\x1b[Kwaiting: 192.0.2.1:53: timeout" + "\r\x1b[K"
	if got := out.String(); got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}

package main

import (
	"bytes"
	"context"
	"errors"
	"io"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/coredns-tlsa/coredns-tlsa/plugin/tlsa/control"
	"github.com/coredns-tlsa/coredns-tlsa/plugin/tlsa/dane"
)

// adviser is a control socket that knows when an owner, or a certificate at all of its owners, is ready.
type adviser struct {
	owner, cert counsel
	err         error
}

func (a adviser) ready(context.Context, string, []dane.Association) (counsel, error) {
	return a.owner, a.err
}
func (a adviser) safe(context.Context, subject) (counsel, error) { return a.cert, a.err }

func TestAdviceOfTheServer(t *testing.T) {
	at := func(d time.Duration) func(start time.Time) adviser {
		return func(start time.Time) adviser { return adviser{owner: counsel{known: true, from: start.Add(d)}} }
	}
	const no = 90 * time.Minute // --at-most
	for claim, row := range map[string]struct {
		shown time.Duration // when the second server shows it
		tell  func(start time.Time) adviser
		after time.Duration
		code  int
		says  string
	}{
		"it was published long ago": {0, at(-time.Minute), 0, 0, "(says the control socket)"},
		"it will be ready soon":     {0, at(7 * time.Minute), 7 * time.Minute, 0, "(says the control socket)"},
		"every server must show it": {100 * time.Hour, at(-time.Hour), no, exitNotYet, "192.0.2.2:53: it lacks"},
		"a server that was seen without it counts, whatever the advice": {20 * time.Minute, at(0), no, exitNotYet,
			"caches may lack it until 2000-01-01T02:20:00Z"},
		"it does not know the owner": {0, func(time.Time) adviser { return adviser{} }, no, exitNotYet, "(counted here, because the control socket"},
		"it fails": {0, func(time.Time) adviser { return adviser{err: errors.New("gone")} }, no, exitNotYet,
			"warning: control socket: gone; counting from what the servers show"},
		"it says no": {0, func(time.Time) adviser { return adviser{owner: counsel{known: true, why: "it does not publish it"}} },
			no, exitNotYet, "the DNS server says of " + mailOwner + ": it does not publish it"},
		"the certificate is for another owner that waits": {0, func(start time.Time) adviser {
			a := at(0)(start)
			a.cert = counsel{known: true, from: start.Add(time.Hour)}
			return a
		}, time.Hour, 0, "safe: "},
		"the certificate is for another owner that lacks it": {0, func(start time.Time) adviser {
			a := at(0)(start)
			a.cert = counsel{known: true, at: "_443._tcp.mail.example.org.", why: "it is not published"}
			return a
		}, no, exitNotYet, "the DNS server says of _443._tcp.mail.example.org., which the certificate is for too: it is not published"},
		"what it cannot compute at our owner is known by the records": {0, func(start time.Time) adviser {
			a := at(0)(start)
			a.cert = counsel{known: true, at: mailOwner, why: "2 1 1 cannot be computed"}
			return a
		}, 0, 0, "safe: "},
	} {
		t.Run(claim, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r := newRollover(t)
				r.ns[0].set(mailOwner, r.both()...)
				r.at(row.shown, func() { r.ns[1].set(mailOwner, r.both()...) })
				synctest.Wait()
				var out, talk bytes.Buffer
				a := newTestApp(nil, &out, &talk, r.world)
				a.dialAdvice = func(string) (advice, error) { return row.tell(r.start), nil }
				code := a.run(t.Context(), []string{"wait", "--control", "x", "--server", "192.0.2.1", "--server", "192.0.2.2", "--at-most", "90m", r.file})
				outcome{code, time.Since(r.start), out.String(), talk.String() + out.String()}.want(t, row.code, row.after, row.says)
				if n := strings.Count(talk.String(), "warning"); n > 1 {
					t.Errorf("%d warnings", n)
				}
			})
		})
	}
}

func TestWhatAServerLackedIsRememberedAgainstTheAdvice(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRollover(t)
		r.ns[0].set(mailOwner, r.both()...)
		state := filepath.Join(t.TempDir(), "state")
		run := func() int {
			a := newTestApp(nil, io.Discard, io.Discard, r.world)
			a.dialAdvice = func(string) (advice, error) { return adviser{owner: counsel{known: true, from: r.start}}, nil }
			return a.run(t.Context(), []string{"wait", "--control", "x", "--server", "192.0.2.1", "--server", "192.0.2.2",
				"--at-most", "0", "--state", state, r.file})
		}
		if code := run(); code != exitNotYet {
			t.Errorf("a server lacks it: exit %d", code)
		}
		r.ns[1].set(mailOwner, r.both()...)
		time.Sleep(10 * time.Minute)
		if code := run(); code != exitNotYet {
			t.Errorf("ten minutes after a server lacked it: exit %d", code)
		}
		time.Sleep(120 * time.Minute)
		if code := run(); code != exitDone {
			t.Errorf("two hours after the server showed it: exit %d", code)
		}
	})
}

func TestSocketThatDoesNotAnswer(t *testing.T) {
	for claim, row := range map[string]struct {
		env   string
		flags []string
		code  int
		says  string
	}{
		"the flag's is an error":                            {"", []string{"--control", "nowhere/s"}, exitUnreachable, "control nowhere/s: "},
		"the environment's is a warning, and counting goes": {"nowhere/s", nil, exitNotYet, "warning: TLSACTL_CONTROL: control nowhere/s: "},
		"the flag's goes before the environment's":          {"elsewhere/s", []string{"--control", "nowhere/s"}, exitUnreachable, "control nowhere/s: "},
		"--hold is for counting":                            {"nowhere/s", []string{"--hold", "2h"}, exitNotYet, "tlsactl wait: not-yet"},
		"--hold and --control":                              {"", []string{"--hold", "2h", "--control", "nowhere/s"}, exitUsage, "drop one"},
	} {
		t.Run(claim, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r := newRollover(t)
				r.ns[0].set(mailOwner, r.both()...)
				r.ns[1].set(mailOwner, r.both()...)
				var out, talk bytes.Buffer
				a := newTestApp(nil, &out, &talk, r.world)
				a.getenv = func(name string) string { return map[string]string{controlEnv: row.env}[name] }
				code := a.run(t.Context(), append([]string{"wait", "--server", "192.0.2.1", "--server", "192.0.2.2", "--at-most", "0", r.file}, row.flags...))
				outcome{code, time.Since(r.start), out.String(), talk.String()}.want(t, row.code, 0, row.says)
				if strings.Count(talk.String(), "\n") > 3 {
					t.Errorf("it says too much:\n%s", talk.String())
				}
			})
		})
	}
}

// What the socket says of one association.
func TestReadinessByTheDocument(t *testing.T) {
	now := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	since, next := now.Add(-time.Hour), now.Add(time.Hour)
	wanted := dane.Association{Combination: dane.Combination{Usage: 3, Selector: 1, MatchingType: 1}, Data: strings.Repeat("\xab", 32)}
	for claim, row := range map[string]struct {
		change func(o *control.OwnerStatus, a *control.Association)
		from   time.Time
		why    string
	}{
		"ready": {func(_ *control.OwnerStatus, a *control.Association) {
			a.State, a.Since, a.Gated = "ready", &since, true
		}, since, ""},
		"published":                  {func(_ *control.OwnerStatus, a *control.Association) { a.NextState, a.NextAt = "ready", &next }, next, ""},
		"published by a slow clock":  {func(_ *control.OwnerStatus, _ *control.Association) {}, time.Time{}, "cannot tell yet"},
		"in use":                     {func(_ *control.OwnerStatus, a *control.Association) { a.State, a.Gated = "active", true }, now, ""},
		"in use since the beginning": {func(_ *control.OwnerStatus, a *control.Association) { a.State = "active" }, now, ""},
		"in use too early": {func(_ *control.OwnerStatus, a *control.Association) {
			a.State, a.Ungated, a.UngatedUntil = "active", true, &next
		}, next, ""},
		"retired after all had it": {func(_ *control.OwnerStatus, a *control.Association) {
			a.State, a.Gated, a.NextState, a.NextAt = "retired", true, "removed", &next
		}, now, ""},
		"retired before": {func(_ *control.OwnerStatus, a *control.Association) {
			a.State, a.NextState, a.NextAt = "retired", "removed", &next
		}, time.Time{}, "cannot tell yet"},
		"unrecorded": {func(_ *control.OwnerStatus, a *control.Association) { a.Unrecorded, a.Gated = true, true }, time.Time{}, "ledger"},
		"another usage": {func(_ *control.OwnerStatus, a *control.Association) { a.Usage, a.Gated = 1, true }, time.Time{},
			"it does not publish 3 1 1 ab"},
		"withdrawn": {func(o *control.OwnerStatus, a *control.Association) {
			o.Answer, a.Gated = control.AnswerWithdrawn, true
		}, time.Time{},
			"it does not publish"},
	} {
		o := control.OwnerStatus{Answer: control.AnswerRecords, Associations: []control.Association{{
			Usage: 3, Selector: 1, MatchingType: 1, Data: strings.Repeat("ab", 32), State: "published",
		}}}
		row.change(&o, &o.Associations[0])
		if from, why := readiness(o, wanted, now); !from.Equal(row.from) || why == "" != (row.why == "") || !strings.Contains(why, row.why) {
			t.Errorf("%s: %s, %q; want %s, %q", claim, from, why, row.from, row.why)
		}
	}
}

// The slowest view speaks, and a block that hands the name on does not.
func TestEveryViewMustBeReady(t *testing.T) {
	wanted := dane.Association{Combination: dane.Combination{Usage: 3, Selector: 1, MatchingType: 1}, Data: strings.Repeat("\xab", 32)}
	since, next := time.Now().Add(-time.Hour).Truncate(time.Second), time.Now().Add(time.Hour).Truncate(time.Second)
	ready := blockOf(mailOwner, control.Association{State: "ready", Gated: true, Since: &since})
	young := blockOf(mailOwner, control.Association{State: "published", NextState: "ready", NextAt: &next})
	lacks, elsewhere := blockOf(mailOwner), blockOf(mailOwner)
	elsewhere.status.Owners[0].Answer = control.AnswerElsewhere
	for claim, row := range map[string]struct {
		blocks []*fakeBlock
		want   counsel
	}{
		"both ready":         {[]*fakeBlock{ready, ready}, counsel{known: true, from: since, at: mailOwner}},
		"the other is young": {[]*fakeBlock{ready, young}, counsel{known: true, from: next, at: mailOwner}},
		"one is young":       {[]*fakeBlock{young, ready}, counsel{known: true, from: next, at: mailOwner}},
		"one lacks it":       {[]*fakeBlock{ready, lacks}, counsel{known: true, at: mailOwner, why: "it does not publish 3 1 1 abababababababab"}},
		"one is no judge":    {[]*fakeBlock{ready, elsewhere}, counsel{known: true, from: since, at: mailOwner}},
		"none is":            {[]*fakeBlock{elsewhere}, counsel{at: mailOwner}},
		"nobody knows it":    {[]*fakeBlock{blockOf("_443._tcp.mail.example.org.")}, counsel{}},
	} {
		a, err := dialAdvice(serveControl(t, filepath.Join(socketDir(t), "s"), row.blocks...))
		must(t, a, err)
		got, err := a.ready(t.Context(), mailOwner, []dane.Association{wanted})
		if err != nil || got.known != row.want.known || !got.from.Equal(row.want.from) || got.why != row.want.why {
			t.Errorf("%s: %+v, %v; want %+v", claim, got, err, row.want)
		}
	}
}

package main

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/miekg/dns"

	"github.com/coredns-tlsa/coredns-tlsa/plugin/tlsa/dane"
)

// recordOf is one record of a lineage, such as 3 0 1.
func recordOf(t *testing.T, files map[string][]byte, combination string) dns.RR {
	t.Helper()
	h, err := (&source{}).parse(bytes.Clone(files["fullchain.pem"]))
	leaf := dane.Leaves(must(t, h, err).certs, nil)[0]
	var u, s, m string
	if _, err := fmt.Sscan(combination, &u, &s, &m); err != nil {
		t.Fatal(err)
	}
	c, err := dane.ParseCombination(u, s, m)
	a, err2 := leaf.Material().Association(must(t, c, err))
	return must(t, a, err2).TLSA(mailOwner, 0)
}

// A renewal with the same key is installed at once unless what the zone has would no longer match.
func TestRenewalWithTheSameKeyIsInstalledAtOnceWhereItIsMatched(t *testing.T) {
	key := newKey(t)
	old, renewed := newLineage(t, "mail.example.org", key), newLineage(t, "mail.example.org", key)
	other := newLineage(t, "mail.example.org", newKey(t))
	touched := map[string][]byte{"fullchain.pem": append([]byte("again\n"), old["fullchain.pem"]...)}
	of := func(files map[string][]byte, combinations ...string) (out []dns.RR) {
		for _, c := range combinations {
			out = append(out, recordOf(t, files, c))
		}
		return out
	}
	another := recordOf(t, other, "3 1 1").(*dns.TLSA) // of an issuer that no file holds
	another.Usage = 2
	for claim, row := range map[string]struct {
		staged map[string][]byte // nil: renewed
		// first and second are what the two servers show; silent ones are not there.
		first, second []dns.RR
		silent        bool // the second server
		alias         bool // the owner is a CNAME of where the records are
		stderr        string
	}{
		"no records":                             {},
		"the record of the key":                  {first: of(old, "3 1 1"), second: of(old, "3 1 1")},
		"a record of the old certificate":        {first: of(old, "3 0 1"), second: of(old, "3 0 1"), stderr: `give --as "3 0 1"`},
		"one of each certificate":                {first: append(of(old, "3 0 1"), of(renewed, "3 0 1")...)},
		"one of the old one, and one of the key": {first: of(old, "3 0 1", "3 1 1")},
		"another issuer's":                       {first: []dns.RR{another}, stderr: `give --as "2 1 1"`},
		"the issuer's":                           {first: of(old, "2 1 1")},
		"the whole issuer":                       {first: of(old, "2 0 0")},
		"the old certificate and the issuer":     {first: of(old, "3 0 1", "2 0 1")},
		"two that do not match":                  {first: append(of(old, "3 0 1"), another), stderr: `give --as "2 1 1" --as "3 0 1"`},
		"a stronger digest of another key":       {first: append(of(old, "3 1 1"), of(other, "3 1 2")...), stderr: "3 1 1, 3 1 2"},
		"a weaker digest of another key":         {first: append(of(old, "3 1 2"), of(other, "3 1 1")...)},
		"a digest of another key, and the key":   {first: append(of(old, "3 1 0"), of(other, "3 1 2")...)},
		"the second server alone":                {first: of(old, "3 1 1"), second: of(old, "3 0 1"), stderr: "192.0.2.2:53 shows"},
		"one server is silent":                   {first: of(old, "3 1 1"), silent: true},
		"one is silent, and one does not match":  {first: of(old, "3 0 1"), silent: true, stderr: "192.0.2.1:53 shows"},
		"behind a CNAME":                         {first: of(old, "3 0 1"), second: of(old, "3 0 1"), alias: true, stderr: `give --as "3 0 1"`},
		"the same certificate in another file":   {staged: touched, first: of(other, "3 0 1")},
	} {
		t.Run(claim, func(t *testing.T) {
			w := &world{}
			for addr, rrs := range map[string][]dns.RR{"192.0.2.1:53": row.first, "192.0.2.2:53": row.second} {
				z := &authority{apex: "example.org.", ttl: time.Hour, signed: true}
				z.set(mailOwner, rrs...)
				if row.alias {
					z.set("x._dane.example.org.", rrs...)
					z.set(mailOwner, &dns.CNAME{Hdr: dns.RR_Header{Rrtype: dns.TypeCNAME}, Target: "x._dane.example.org."})
				}
				if !row.silent || addr != "192.0.2.2:53" {
					w.put(addr, z)
				}
			}
			if row.staged == nil {
				row.staged = renewed
			}
			s := &site{t: t, dir: t.TempDir(), old: old, new: row.staged}
			s.write("installed", old)
			s.write("staged", row.staged)
			args := []string{"install", "--server", "192.0.2.1", "--server", "192.0.2.2", filepath.Join(s.dir, "staged"), filepath.Join(s.dir, "installed")}
			code, _, stderr := tlsactl(t, w, args...)
			if row.stderr == "" {
				if code != exitDone || stderr != "" || !bytes.Equal(s.read("installed", "fullchain.pem"), row.staged["fullchain.pem"]) {
					t.Errorf("exit %d: %s", code, stderr)
				}
				return
			}
			if want := map[bool]int{true: exitUnreachable, false: exitNotYet}[row.silent]; code != want || s.holds() != "old" || !strings.Contains(stderr, row.stderr) {
				t.Errorf("exit %d, want %d, the files are %s, and %q is to be said:\n%s", code, want, s.holds(), row.stderr, stderr)
			}
		})
	}
}

// An outage of DNS, of whatever kind, holds no renewal back for long.
func TestRenewalWithTheSameKeyIsInstalledWithoutDNS(t *testing.T) {
	key := newKey(t)
	const names = "a.example.org,b.example.org,c.example.org,d.example.org,e.example.org,f.example.org"
	for claim, x := range map[string]exchanger{
		"nobody is there": &world{},
		"nobody answers": exchangerFunc(func(ctx context.Context, _ *dns.Msg, _, _ string) (*dns.Msg, error) {
			<-ctx.Done()
			return nil, ctx.Err()
		}),
	} {
		for _, flags := range [][]string{nil, {"--server", "192.0.2.1"}} {
			t.Run(fmt.Sprint(claim, flags), func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					s := &site{t: t, dir: t.TempDir(), old: newLineage(t, names, key), new: newLineage(t, names, key)}
					s.write("installed", s.old)
					s.write("staged", s.new)
					start := time.Now()
					args := append([]string{"install"}, flags...)
					code, _, stderr := tlsactl(t, x, append(args, filepath.Join(s.dir, "staged"), filepath.Join(s.dir, "installed"))...)
					if took := time.Since(start); code != exitDone || s.holds() != "new" || took > renewalLimit {
						t.Errorf("exit %d after %s, the files are %s: %s", code, took, s.holds(), stderr)
					}
				})
			})
		}
	}
}

// What --dry-run says is what install does.
func TestExplanationOfARenewalAsksToo(t *testing.T) {
	key := newKey(t)
	s := &site{t: t, dir: t.TempDir(), old: newLineage(t, "mail.example.org", key), new: newLineage(t, "mail.example.org", key)}
	s.write("installed", s.old)
	s.write("staged", s.new)
	z := &authority{apex: "example.org.", ttl: time.Hour, signed: true}
	w := &world{}
	w.put("192.0.2.1:53", z)
	for combination, want := range map[string]string{"3 1 1": " at once: ", "3 0 1": " when it is safe; not-yet now: "} {
		z.set(mailOwner, recordOf(t, s.old, combination))
		v := &installVerb{app: newTestApp(nil, io.Discard, io.Discard, w), flags: waitFlags{servers: []string{"192.0.2.1:53"}}}
		v.flags.every.Duration = time.Second
		var said string
		err := v.explain(t.Context(), filepath.Join(s.dir, "staged"), filepath.Join(s.dir, "installed"), func(format string, args ...any) {
			said += fmt.Sprintf(format, args...)
		})
		if err != nil || !strings.Contains(said, want) {
			t.Errorf("with %s: %v: %s", combination, err, said)
		}
	}
}

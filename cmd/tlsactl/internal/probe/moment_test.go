package probe

import (
	"strings"
	"testing"
	"time"

	"github.com/coredns-tlsa/coredns-tlsa/plugin/tlsa/dane"
)

// at checks a server of the tests as of a moment.
func at(t *testing.T, moment time.Time, f Forecast, chains string, rrs ...string) *Report {
	t.Helper()
	z := &zones{rrs: append(rrs, host+". A 192.0.2.1")}
	return Check(t.Context(), parse(t, host+":443", false), Options{
		Resolver: &DNS{Addrs: []string{z.serve(t)}, Timeout: patient},
		Dial:     internet{"192.0.2.1:443": serving(chains)}.dialer(t), At: moment, Roots: rootPool(), Timeout: patient, Forecast: f,
	})
}

func TestCertificatesAreJudgedAsOfAMoment(t *testing.T) {
	owner := "_443._tcp." + host + ". TLSA "
	end := pki()["expired"].parsed.NotAfter
	for moment, want := range map[time.Time]Outcome{end.Add(-time.Hour): Match, end: Match, end.Add(time.Second): Mismatch, now: Mismatch} {
		if r := at(t, moment, nil, "expired int", owner+rdata(t, "2 1 1 int")); r.Outcome != want {
			t.Errorf("usage 2 at %s: %s", moment, describe(r))
		}
		if r := at(t, moment, nil, "expired int", owner+rdata(t, "3 1 1 expired")); r.Outcome != Match {
			t.Errorf("usage 3 at %s: %s", moment, describe(r))
		}
	}
	start := pki()["future"].parsed.NotBefore
	for moment, want := range map[time.Time]Outcome{start.Add(-time.Second): Mismatch, start: Match} {
		if r := at(t, moment, nil, "future int", owner+rdata(t, "2 1 1 int")); r.Outcome != want {
			t.Errorf("from %s on: %s", moment, describe(r))
		}
	}
}

func TestSignaturesThatEndBeforeTheMomentAreNoted(t *testing.T) {
	const sig = "_443._tcp." + host + ". RRSIG TLSA 13 5 300 20260701000000 20260501000000 1 example.org. AAAA"
	rr := "_443._tcp." + host + ". TLSA " + rdata(t, "3 1 1 leaf")
	for moment, want := range map[time.Time]bool{now: false, now.AddDate(0, 2, 0): true} {
		r := at(t, moment, nil, "leaf int", rr, sig)
		if got := strings.Contains(describe(r), "end at 2026-07-01T00:00:00Z"); got != want || r.Outcome != Match {
			t.Errorf("at %s: %s", moment, describe(r))
		}
	}
}

// plan withdraws one association at a moment.
type plan struct {
	data  string
	since time.Time
}

func (p plan) Withdrawn(owner string, a dane.Association, at time.Time) bool {
	return owner == "_443._tcp."+host+"." && a.Data == p.data && !at.Before(p.since)
}

type planAt struct {
	plan
	owner string
}

func (p planAt) Withdrawn(owner string, a dane.Association, _ time.Time) bool {
	return owner == p.owner && a.Data == p.data
}

// The DNS server that has the records knows them by the name that the alias leads to.
func TestAForecastIsAskedBehindAnAlias(t *testing.T) {
	const target = "x._dane." + host + "."
	f := planAt{plan{data: dataOf("leaf")}, target}
	rrs := []string{"_443._tcp." + host + ". CNAME " + target, target + " TLSA " + rdata(t, "3 1 1 leaf")}
	if r := at(t, now, nil, "leaf int", rrs...); r.Outcome != Match {
		t.Errorf("without a forecast: %s", describe(r))
	}
	if r := at(t, now, f, "leaf int", rrs...); r.Outcome != Mismatch {
		t.Errorf("with one: %s", describe(r))
	}
}

func TestAForecastTakesRecordsAway(t *testing.T) {
	f := plan{dataOf("leaf"), now.Add(time.Hour)}
	rrs := []string{"_443._tcp." + host + ". TLSA " + rdata(t, "3 1 1 leaf"), "_443._tcp." + host + ". TLSA " + rdata(t, "3 1 1 next")}
	for moment, want := range map[time.Time]Outcome{now: Match, now.Add(time.Hour): Mismatch} {
		if r := at(t, moment, f, "leaf int", rrs...); r.Outcome != want {
			t.Errorf("at %s: %s", moment, describe(r))
		}
	}
	if r := at(t, now.Add(time.Hour), f, "next int", rrs...); r.Outcome != Match {
		t.Errorf("the key that stays: %s", describe(r))
	}
}

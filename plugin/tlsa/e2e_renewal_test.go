package tlsa

import (
	"fmt"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/coredns-tlsa/coredns-tlsa/plugin/tlsa/rollover"

	"github.com/miekg/dns"
)

func TestReplacedCertificateStaysPublishedForGrace(t *testing.T) {
	t.Parallel()
	n := 0
	for claim, way := range ways() {
		n++
		zone := fmt.Sprintf("replaced%d.test.", n)
		t.Run(claim, func(t *testing.T) {
			t.Parallel()
			s := newSite(t, zone)
			old, young := newKey(t), newKey(t)
			way.first(s, s.chain(old))
			s.start()
			s.expect(record(t, old))
			before := time.Now()
			way.next(s, s.chain(young))
			s.overlaps(before, record(t, old), record(t, young))
		})
	}
}

// overlaps polls through a rollover that began on disk after the given time: old, then both, then young alone, and that not
// before grace has passed.
func (s *site) overlaps(before time.Time, old, young string) {
	s.Helper()
	phases := [][]string{{old}, {old, young}, {young}}
	phase := 0
	until(s, notice+grace, "old, both, new", func() bool {
		set := s.published(s.owner)
		now := phase
		for now < len(phases) && !slices.Equal(set, slices.Sorted(slices.Values(phases[now]))) {
			now++
		}
		if now == len(phases) || now > phase+1 {
			s.Fatalf("%s after the change %q follows phase %d of %q", time.Since(before), set, phase, phases)
		}
		if lived := time.Since(before); now == 2 && lived < grace {
			s.Fatalf("the old record is gone after %s, before grace", lived)
		}
		if now == 1 && phase == 0 {
			s.Logf("both after %s", time.Since(before))
		}
		phase = now
		return phase == 2
	})
}

func TestStagedKeyIsReadyBeforeItIsInstalled(t *testing.T) {
	t.Parallel()
	for kind, file := range map[string]string{"certificate": "next/mail.pem", "key": "next/mail.staged-%s.test.pub", "request": "next/mail.csr"} {
		t.Run(kind, func(t *testing.T) {
			t.Parallel()
			s := newSite(t, fmt.Sprintf("staged-%s.test.", kind))
			old, young := newKey(t), newKey(t)
			s.write(place, s.chain(old))
			s.start()
			host := strings.TrimSuffix(s.host, ".")
			contents := map[string]string{
				"certificate": s.chain(young), "key": encoded("PUBLIC KEY", publicDER(t, young)), "request": signingRequest(t, young, host),
			}[kind]
			if strings.Contains(file, "%s") {
				file = fmt.Sprintf(file, kind)
			}
			staged := time.Now()
			s.install(file, contents)
			s.becomes(notice, record(t, old), record(t, young))
			until(t, hold, "ready", func() bool { return s.state(rollover.Ready) == 1 })
			if after := time.Since(staged); after < hold {
				t.Errorf("ready %s after it was staged: before hold", after)
			}
			if len(s.log(s.owner+": 3 1 1", "every cache has it")) == 0 {
				t.Error("no line of the log says that it is ready")
			}
			before := time.Now()
			s.install(place, s.chain(young))
			until(t, notice+grace, "only the new key", func() bool {
				if n := s.ungated(); n != 0 {
					t.Fatalf("%d ungated", n)
				}
				return s.serves(s.owner, record(t, young))
			})
			if lived := time.Since(before); lived < grace {
				t.Errorf("the old record is gone after %s, before grace", lived)
			}
			if lines := s.log("UNGATED"); len(lines) > 0 {
				t.Errorf("the log says %q", lines)
			}
		})
	}
}

func TestUnannouncedKeyIsUngatedUntilHold(t *testing.T) {
	t.Parallel()
	s := newSite(t, "ungated.test.")
	old, young := newKey(t), newKey(t)
	s.write(place, s.chain(old))
	s.start()
	before := time.Now()
	s.install(place, s.chain(young))
	until(t, notice, "one ungated", func() bool { return s.ungated() == 1 })
	s.expect(slices.Sorted(slices.Values([]string{record(t, old), record(t, young)}))...)
	lines := s.log(s.owner, "UNGATED")
	if len(lines) != 1 || !strings.Contains(lines[0], "[WARNING]") {
		t.Fatalf("the log says %q", lines)
	}
	stamp := regexp.MustCompile(`clients may fail until (\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ)`).FindStringSubmatch(lines[0])
	if stamp == nil {
		t.Fatalf("no time in %q", lines[0])
	}
	end, err := time.Parse(time.RFC3339, stamp[1])
	if err != nil || end.Before(before.Add(hold-time.Second)) || end.After(time.Now().Add(hold)) {
		t.Errorf("clients may fail until %s (%v), seen from %s", end, err, before)
	}
	until(t, hold, "none ungated", func() bool { return s.ungated() == 0 })
	if lasted := time.Since(before); lasted < hold {
		t.Errorf("no longer ungated after %s: before hold", lasted)
	}
}

func TestFirstStartOfAnExistingSiteIsNotUngated(t *testing.T) {
	t.Parallel()
	s := newSite(t, "existing.test.")
	a, b := newKey(t), newKey(t)
	s.write(place, s.chain(a))
	s.write("certs/second/fullchain.pem", s.chain(b))
	s.start()
	during(t, hold+rescan, func() {
		s.expect(record(t, a), record(t, b))
		if n := s.ungated(); n != 0 {
			t.Errorf("%d ungated", n)
		}
	})
	if n := s.state(rollover.Active); n != 2 {
		t.Errorf("%d active", n)
	}
	if lines := s.log("UNGATED"); len(lines) > 0 {
		t.Errorf("the log says %q", lines)
	}
}

func TestSameKeyRenewedChangesNothingUnder311(t *testing.T) {
	t.Parallel()
	s := newSite(t, "samekey.test.")
	s.options = strings.Replace(s.options, "name _25._tcp.mail\n", "name _25._tcp.mail\nname _465._tcp.mail as 3 0 1\n", 1)
	key, other := newKey(t), "_465._tcp.mail."+s.zone
	s.write(place, s.chain(key))
	s.start()
	first := s.ask(s.owner, dns.TypeTLSA, false).Answer
	whole := s.published(other)
	if len(whole) != 1 {
		t.Fatalf("3 0 1 has %q", whole)
	}
	until(t, hold, "settled", func() bool { return len(s.log("known to every cache")) == 2 })
	told := len(s.log(s.owner))
	unchanged := func() {
		if now := s.ask(s.owner, dns.TypeTLSA, false).Answer; fmt.Sprint(now) != fmt.Sprint(first) {
			t.Fatalf("%v became %v", first, now)
		}
	}
	before := time.Now()
	s.install(place, s.chain(key))
	until(t, notice, "3 0 1 has both", func() bool {
		unchanged()
		return len(s.published(other)) == 2
	})
	until(t, grace, "3 0 1 has the new one", func() bool {
		unchanged()
		set := s.published(other)
		return len(set) == 1 && set[0] != whole[0]
	})
	if lived := time.Since(before); lived < grace {
		t.Errorf("the old record of 3 0 1 is gone after %s, before grace", lived)
	}
	if lines := s.log(s.owner); len(lines) != told {
		t.Errorf("the log goes on: %q", lines[told:])
	}
	if s.state(rollover.Active) != 2 || s.ungated() != 0 {
		t.Errorf("%d active, %d ungated", s.state(rollover.Active), s.ungated())
	}
}

package tlsa

import (
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/miekg/dns"
)

// newStarSite is a site with `_443._tcp.*`, over a zone with more hosts.
func newStarSite(t *testing.T, zone string) *site {
	t.Helper()
	s := newSite(t, zone)
	s.write("db", fmt.Sprintf(siteZone, zone)+"web IN A 192.0.2.26\n")
	s.options = strings.Replace(s.options, "name _25._tcp.mail\n", "name _443._tcp.* _25._tcp.mail\n", 1)
	return s
}

// signed gives the owner's records, which must be signed as all of them.
func (s *site) signed(owner string) (records []string) {
	s.Helper()
	r := s.ask(owner, dns.TypeTLSA, true)
	set, err := rrset(r, owner)
	s.must(err)
	s.must(validated(r, s.signer))
	return set
}

// deniesHost checks that a name is denied, with proof.
func (s *site) deniesHost(name string, qtype uint16) {
	s.Helper()
	r := s.ask(name, qtype, true)
	if err := validated(r, s.signer); err != nil || len(r.Answer) > 0 {
		s.Errorf("%s: %v\n%s", name, err, r)
	}
}

func TestStarFollowsItsCertificates(t *testing.T) {
	t.Parallel()
	s := newStarSite(t, "star.test.")
	s.before = "cache\n" + s.before
	for _, name := range []string{"mail", "two", "three"} {
		s.write("certs/"+name+"/fullchain.pem", s.issuer.chain(t, newKey(t), name+".star.test", "elsewhere.test"))
	}
	s.start()
	owner := "_443._tcp.new.deep.star.test."
	s.deniesHost(owner, dns.TypeTLSA) // *cache* must not keep it
	key, next := newKey(t), newKey(t)
	s.install("certs/new/fullchain.pem", s.issuer.chain(t, key, "new.deep.star.test"))
	until(t, notice, "the new host", func() bool { return len(s.ask(owner, dns.TypeTLSA, false).Answer) > 0 })
	if set := s.signed(owner); len(set) != 1 || set[0] != record(t, key) {
		t.Errorf("published is %q", set)
	}
	s.deniesHost("_443._tcp.ghost.star.test.", dns.TypeTLSA)
	s.deniesHost("_tcp.new.deep.star.test.", dns.TypeA)
	s.install("certs/new/fullchain.pem", s.issuer.chain(t, next, "new.deep.star.test"))
	until(t, notice, "both keys", func() bool { return s.serves(owner, record(t, key), record(t, next)) })
	until(t, hold+grace, "the successor alone", func() bool { return s.serves(owner, record(t, next)) })
	hosts := func() float64 { return gauges(t, "coredns_tlsa_hosts", s.zone, "owner")["_443._tcp.*.star.test."] }
	until(t, rescan, "four hosts", func() bool { return hosts() == 4 })
	if n := gauges(t, "coredns_tlsa_ignored_names", s.zone, "view")[""]; n != 1 {
		t.Errorf("%v names are ignored", n)
	}
	for name := range gauges(t, "coredns_tlsa_records", s.zone, "owner") {
		if !strings.HasPrefix(name, "_443._tcp.*.") && !strings.HasPrefix(name, "_25._tcp.mail.") {
			t.Errorf("a series of %s, which only a certificate names", name)
		}
	}
	s.must(os.RemoveAll(s.path("certs/new")))
	before := time.Now()
	until(t, 3*rescan+grace, "the host has left", func() bool { return len(s.ask(owner, dns.TypeTLSA, false).Answer) == 0 })
	if lived := time.Since(before); lived < grace {
		t.Errorf("it has left after %s, before grace", lived)
	}
	if r := s.ask("new.deep.star.test.", dns.TypeA, false); r.Rcode != dns.RcodeNameError {
		t.Errorf("its host is\n%s", r)
	}
	until(t, notice, "three hosts", func() bool { return hosts() == 3 })
	if left := s.timeline(owner, ""); left != nil {
		t.Errorf("the ledger has %v", left)
	}
	if lines := s.log(owner, "has left"); len(lines) != 1 {
		t.Errorf("the log: %q", lines)
	}
}

func TestNameThatAStarTakesOverFromAPartOfTheZoneKeepsItsKeys(t *testing.T) {
	t.Parallel()
	s := newStarSite(t, "starpart.test.")
	s.owner = "_443._tcp.mail.starpart.test."
	s.options = strings.Replace(s.options, "grace 3s", "grace 1h", 1)
	part := strings.NewReplacer("tlsa {", "tlsa mail.starpart.test {", "name _443._tcp.* _25._tcp.mail\n", "name "+s.owner+"\n").Replace(s.corefile())
	old, young := newKey(t), newKey(t)
	s.write(place, s.chain(old))
	s.text = part
	s.start()
	s.install(place, s.chain(young))
	s.becomes(notice, record(t, old), record(t, young))
	for _, text := range []string{"", part} { // to the star and back
		s.text = text
		s.reload()
		s.expect(record(t, old), record(t, young))
	}
}

func TestStarSurvivesRestartAndReload(t *testing.T) {
	t.Parallel()
	s := newStarSite(t, "starstart.test.")
	exact, wild, next := newKey(t), newKey(t), newKey(t)
	s.write(place, s.chain(exact))
	s.write("certs/any/fullchain.pem", s.issuer.chain(t, wild, "*.starstart.test"))
	s.start()
	mail, web := "_443._tcp.mail.starstart.test.", "_443._tcp.web.starstart.test."
	check := func(keys ...string) {
		t.Helper()
		if got := s.signed(web); len(got) != 1 || got[0] != record(t, wild) {
			t.Errorf("the wildcard gives %q", got)
		}
		if !s.serves(mail, append(keys, record(t, wild))...) {
			t.Errorf("%s has %q", mail, s.published(mail))
		}
	}
	check(record(t, exact))
	s.reload()
	check(record(t, exact))
	s.stop()
	s.must(os.Rename(s.path("certs"), s.path("away")))
	s.start()
	check(record(t, exact))
	s.must(os.Rename(s.path("away"), s.path("certs")))
	s.options = strings.Replace(s.options, "grace 3s", "grace 1h", 1)
	s.reload()
	s.install(place, s.chain(next))
	until(t, notice, "the renewed key", func() bool { return len(s.published(mail)) == 3 })
	s.reload()
	check(record(t, exact), record(t, next))
	s.options = strings.Replace(s.options, "name _443._tcp.* ", "name ", 1)
	s.reload()
	s.deniesHost(mail, dns.TypeTLSA)
	s.deniesHost(web, dns.TypeTLSA)
	if s.timeline(mail, "") != nil || s.timeline("_443._tcp.*.starstart.test.", "") != nil {
		t.Error("the ledger still has the hosts of a pattern that is gone")
	}
	until(t, notice, "both are withdrawn", func() bool { return len(s.log("withdrawn")) == 2 })
}

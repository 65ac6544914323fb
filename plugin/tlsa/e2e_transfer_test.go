package tlsa

import (
	"fmt"
	"net"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/coredns-tlsa/coredns-tlsa/plugin/tlsa/publish"

	"github.com/miekg/dns"
)

// transferred lets everybody have the site's zone, and counts on every secondary to have it at once.
func (s *site) transferred() {
	s.before += "transfer {\nto *\n}\n"
	s.options += "propagation 0s\n"
}

// xfr transfers the zone, from a serial on or, with 0, as a whole. It gives what came, SOAs included.
func (s *site) xfr(zone string, from uint32) ([]dns.RR, error) {
	m := new(dns.Msg)
	if m.SetAxfr(zone); from > 0 {
		m.SetIxfr(zone, from, "ns."+zone, "hostmaster."+zone)
	}
	envelopes, err := new(dns.Transfer).In(m, s.tcp)
	if err != nil {
		return nil, err
	}
	var all []dns.RR
	for e := range envelopes {
		if e.Error != nil {
			err = e.Error
		}
		all = append(all, e.RR...)
	}
	return all, err
}

// axfr gives the zone's serial and its other records as text, in order.
func (s *site) axfr(zone string) (uint32, []string) {
	s.Helper()
	rrs, err := s.xfr(zone, 0)
	s.must(err)
	first, ok := rrs[0].(*dns.SOA)
	last, again := rrs[len(rrs)-1].(*dns.SOA)
	if !ok || !again || len(rrs) < 2 || first.String() != last.String() || first.Hdr.Name != zone {
		s.Fatalf("a transfer starts and ends with the SOA, not so %v", rrs)
	}
	var text []string
	for _, rr := range rrs[1 : len(rrs)-1] {
		text = append(text, strings.Join(strings.Fields(rr.String()), " "))
	}
	slices.Sort(text)
	return first.Serial, text
}

// digests are the TLSA records in a transfer, of an owner.
func digests(text []string, owner string) []string {
	var found []string
	for _, line := range text {
		if data, ok := strings.CutPrefix(line, owner+" 1 IN TLSA "); ok {
			found = append(found, data)
		}
	}
	return found
}

const fileSerial = 2026010101

func TestTransferHasOurRecordsUnderTheSerialOfEveryAnswer(t *testing.T) {
	t.Parallel()
	s := newSite(t, "transfer.test.")
	s.write("db", fmt.Sprintf(siteZone, s.zone)+"*.wild IN A 192.0.2.7\nsub IN NS ns.elsewhere.test.\n_25._tcp.mail IN TLSA 3 1 1 "+strings.Repeat("ab", 32)+"\n")
	s.options += "name _443._tcp.a.wild _25._tcp.mail.sub from mail\n"
	s.before = "cache\n" + s.before // which must not keep an old SOA
	s.transferred()
	key := newKey(t)
	s.write(place, s.chain(key))
	s.start()
	s.becomes(notice, record(t, key), "3 1 1 "+strings.Repeat("ab", 32))
	serial, text := s.axfr(s.zone)
	if part := serial - fileSerial; part < uint32(time.Since(publishEpoch)/time.Second)-60 || part > 1<<31 {
		t.Errorf("the serial %d is the file's and %d", serial, part)
	}
	if got := digests(text, s.owner); len(got) != 2 {
		t.Errorf("at the owner is %q", got)
	}
	for _, line := range []string{"mail.transfer.test. 3600 IN A 192.0.2.25", "a.wild.transfer.test. 3600 IN A 192.0.2.7", "*.wild.transfer.test. 3600 IN A 192.0.2.7",
		"_443._tcp.a.wild.transfer.test. 1 IN TLSA " + record(t, key), "sub.transfer.test. 3600 IN NS ns.elsewhere.test."} {
		if !slices.Contains(text, line) {
			t.Errorf("%q is not in\n%s", line, strings.Join(text, "\n"))
		}
	}
	if got := digests(text, "_25._tcp.mail.sub."+s.zone); len(got) > 0 {
		t.Errorf("below the cut is %q", got)
	}
	for range 2 { // *cache* has the answers then, if it has them
		for _, q := range []struct {
			name  string
			qtype uint16
		}{
			{"", dns.TypeSOA}, {"", dns.TypeMX}, {"mail.", dns.TypeMX}, {"_tcp.mail.", dns.TypeA}, {"_25._tcp.mail.", dns.TypeA},
			{"wild.", dns.TypeA}, {"nobody.", dns.TypeA}, {"_26._tcp.mail.", dns.TypeTLSA},
		} {
			for _, do := range []bool{false, true} {
				r := s.ask(q.name+s.zone, q.qtype, do)
				found := 0
				for _, rr := range slices.Concat(r.Answer, r.Ns) {
					if soa, ok := rr.(*dns.SOA); ok {
						found++
						if soa.Serial != serial {
							t.Errorf("%s %s has serial %d, transfers %d", q.name, dns.TypeToString[q.qtype], soa.Serial, serial)
						}
					}
				}
				if found != 1 {
					t.Errorf("%d SOAs in\n%s", found, r)
				}
				if err := validated(r, s.signer); do && err != nil {
					t.Error(err)
				}
			}
		}
		s.install(place, s.chain(newKey(t)))
		before := serial
		until(t, notice, "a newer serial", func() bool { return newer(s.soa().Serial, before) })
		until(t, notice+hold+grace, "rest", func() bool {
			set := s.published(s.owner) // first: what comes after it has its serial
			before, serial = serial, s.soa().Serial
			return serial == before && len(set) == 2
		})
		if got, _ := s.axfr(s.zone); got != serial {
			t.Errorf("the SOA has %d, transfers %d", serial, got)
		}
	}
}

// TestZoneAroundOursIsNotCached: *cache* would keep the SOA, and change the TTLs of a transfer.
func TestZoneAroundOursIsNotCached(t *testing.T) {
	t.Parallel()
	s := newSite(t, "around.test.")
	s.before = "cache\n" + s.before
	s.transferred()
	s.write(place, s.chain(newKey(t)))
	s.text = strings.NewReplacer("tlsa {", "tlsa mail.around.test {", "name _25._tcp.mail\n", "name _25._tcp.mail.around.test.\n").Replace(s.corefile())
	s.start()
	before := s.soa().Serial
	if _, text := s.axfr(s.zone); len(digests(text, s.owner)) != 1 { // under its TTL
		t.Errorf("the transfer has\n%s", strings.Join(text, "\n"))
	}
	s.install(place, s.chain(newKey(t)))
	until(t, notice, "a newer serial", func() bool { return newer(s.soa().Serial, before) })
}

// publishEpoch is where the clock's share of a serial begins.
var publishEpoch = time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)

func TestWithoutTransferTheSOAIsTheZonesOwn(t *testing.T) {
	t.Parallel()
	s := newSite(t, "untouched.test.")
	s.write(place, s.chain(newKey(t)))
	s.start()
	if soa := s.soa(); soa.Serial != fileSerial {
		t.Errorf("the SOA is %s", soa)
	}
	if _, err := s.xfr(s.zone, 0); err == nil {
		t.Error("the zone was transferred")
	}
}

func TestIncrementalTransferIsWholeOrNothing(t *testing.T) {
	t.Parallel()
	s := newSite(t, "ixfr.test.")
	s.transferred()
	s.write(place, s.chain(newKey(t)))
	s.start()
	serial, text := s.axfr(s.zone)
	for claim, tc := range map[string]struct {
		from uint32
		want int
	}{
		"the same serial": {serial, 1}, "a newer one": {serial + 1, 1}, "one far ahead": {serial + 1<<30, 1},
		"the one before": {serial - 1, len(text) + 2}, "the file's": {fileSerial, len(text) + 2},
		"one from beyond the end of the circle": {serial - 1<<30, len(text) + 2},
	} {
		rrs, err := s.xfr(s.zone, tc.from)
		if err != nil || len(rrs) != tc.want {
			t.Errorf("%s: %d records, %v, want %d", claim, len(rrs), err, tc.want)
		}
		if soa, ok := rrs[0].(*dns.SOA); !ok || soa.Serial != serial {
			t.Errorf("%s: it begins with %s", claim, rrs[0])
		}
	}
}

func TestZoneThatIsNotOursIsTransferredUntouched(t *testing.T) {
	t.Parallel()
	s := newSite(t, "foreign.test.")
	s.write("db", s.presigned())
	s.before = ""
	s.transferred()
	s.after = "file db foreign.test.\nfile other other.foreign.test.\n"
	s.write(place, s.chain(newKey(t)))
	s.start()
	until(t, notice, "zone-signed", func() bool { return s.problem(publish.ZoneSigned) == 1 })
	serial, text := s.axfr(s.zone)
	if serial != fileSerial || len(digests(text, s.owner)) > 0 || !strings.Contains(strings.Join(text, "\n"), "RRSIG SOA") {
		t.Errorf("a signed zone came as %d\n%s", serial, strings.Join(text, "\n"))
	}
	if serial, _ := s.axfr("other." + s.zone); serial != fileSerial {
		t.Errorf("a zone without owners came as %d", serial)
	}
	for _, zone := range []string{s.zone, "other." + s.zone} {
		for _, do := range []bool{false, true} {
			r := s.ask(zone, dns.TypeSOA, do)
			if r.Answer[0].(*dns.SOA).Serial != fileSerial {
				t.Errorf("its SOA is %s", r.Answer[0])
			}
		}
	}
}

func TestZoneWithAnOwnerOfWhichNothingIsKnownIsNotTransferred(t *testing.T) {
	t.Parallel()
	s := newSite(t, "unknown.test.")
	s.transferred()
	s.must(os.RemoveAll(s.path("certs")))
	s.start()
	if rrs, err := s.xfr(s.zone, 0); err == nil {
		t.Errorf("a secondary would deny what it has: %v", rrs)
	}
	key := newKey(t)
	s.write("coming/mail/fullchain.pem", s.chain(key))
	s.must(os.Rename(s.path("coming"), s.path("certs"))) // never empty, which would be an answer too
	until(t, notice, "an answer", func() bool { return s.ask(s.owner, dns.TypeTLSA, false).Rcode == dns.RcodeSuccess })
	if _, text := s.axfr(s.zone); len(digests(text, s.owner)) != 1 {
		t.Errorf("then it has\n%s", strings.Join(text, "\n"))
	}
}

func TestZoneOfAuthorityIsTransferred(t *testing.T) {
	t.Parallel()
	s := newSite(t, "_dane.handed.test.")
	s.options = strings.Replace(s.options, "name _25._tcp.mail\n", "name customer from mail\n", 1)
	s.authority("authority ns1.elsewhere.test.")
	s.transferred()
	s.owner = "customer." + s.zone
	key := newKey(t)
	s.write(place, s.chain(key))
	s.start()
	serial, text := s.axfr(s.zone)
	want := []string{s.owner + " 1 IN TLSA " + record(t, key), s.zone + " 3600 IN NS ns1.elsewhere.test."}
	slices.Sort(want)
	if !slices.Equal(text, want) || s.soa().Serial != serial {
		t.Errorf("as %d, while the SOA is %s:\n%s", serial, s.soa(), strings.Join(text, "\n"))
	}
	if rrs, err := s.xfr(s.zone, serial); err != nil || len(rrs) != 1 {
		t.Errorf("nothing is new, but it gives %v %v", rrs, err)
	}
}

func TestSerialRisesOverRestartReloadAndALostLedger(t *testing.T) {
	t.Parallel()
	s := newSite(t, "rises.test.")
	s.transferred()
	s.write(place, s.chain(newKey(t)))
	s.start()
	before, _ := s.axfr(s.zone)
	rises := func(how string) {
		t.Helper()
		serial, _ := s.axfr(s.zone)
		if !newer(serial, before) || s.soa().Serial != serial {
			t.Errorf("after %s the serial is %d, it was %d, and the SOA is %s", how, serial, before, s.soa())
		}
		before = serial
	}
	s.reload()
	rises("a reload")
	s.options += "name _465._tcp.mail\n"
	s.reload()
	rises("a reload with another name")
	s.stop()
	s.start()
	rises("a restart")
	s.stop()
	for _, name := range []string{"tlsa.ledger", "tlsa.ledger.bak"} {
		s.must(os.Remove(s.path(name)))
	}
	s.start()
	rises("the loss of the ledger")
	s.write("db", strings.Replace(fmt.Sprintf(siteZone, s.zone), "2026010101", "2026010102", 1))
	s.reload()
	rises("a change of the file")
}

// TestEveryTransferIsOneMomentOfTheZone renews many certificates while others transfer the zone.
func TestEveryTransferIsOneMomentOfTheZone(t *testing.T) {
	t.Parallel()
	const lineages = 10
	renewals := number(t, "TRANSFER_CHANGES", 100)
	s := newSite(t, "moments.test.")
	s.transferred()
	for i := range lineages {
		s.options += fmt.Sprintf("name _%d._tcp.mail from m%d\n", 1000+i, i)
		s.write(fmt.Sprintf("certs/m%d/fullchain.pem", i), s.chain(newKey(t)))
	}
	s.options = strings.Replace(s.options, "name _25._tcp.mail\n", "", 1)
	s.start()
	stop := make(chan struct{})
	var asking sync.WaitGroup
	var mu sync.Mutex
	contents := map[uint32]string{}
	for range 3 {
		asking.Go(func() {
			last, was := uint32(0), ""
			for n := 0; ; n++ {
				select {
				case <-stop:
					return
				case <-time.After(time.Duration(n%7) * 3 * time.Millisecond):
				}
				serial, text := s.axfr(s.zone)
				is := strings.Join(text, "\n")
				mu.Lock()
				if known, again := contents[serial]; again && known != is {
					t.Errorf("two contents have the serial %d:\n%s\nand\n%s", serial, known, is)
				}
				contents[serial] = is
				mu.Unlock()
				if last != 0 && serial != last && !newer(serial, last) || is != was && last != 0 && serial == last {
					t.Errorf("the serial went from %d to %d", last, serial)
				}
				last, was = serial, is
			}
		})
	}
	changes := time.NewTicker(60 * time.Millisecond)
	defer changes.Stop()
	const enough = 30 // contents
	seen := func() int {
		mu.Lock()
		defer mu.Unlock()
		return len(contents)
	}
	for i := 0; i < renewals || i < 10*renewals && seen() < enough; i++ {
		<-changes.C
		s.install(fmt.Sprintf("certs/m%d/fullchain.pem", i%lineages), s.chain(newKey(t)))
	}
	until(t, notice, "all is told", func() bool { return len(s.log("is removed", "_1009._tcp")) > 0 })
	close(stop)
	asking.Wait()
	if len(contents) < enough {
		t.Errorf("only %d contents were seen", len(contents))
	}
	t.Logf("%d contents", len(contents))
}

// listen counts the NOTIFYs for zones that reach the port, and takes them.
func listen(t *testing.T, zone string) (address string, count func() int) {
	t.Helper()
	conn, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var mu sync.Mutex
	n := 0
	server := &dns.Server{PacketConn: conn, Handler: dns.HandlerFunc(func(w dns.ResponseWriter, r *dns.Msg) {
		mu.Lock()
		if r.Opcode == dns.OpcodeNotify && r.Question[0].Name == zone {
			n++
		}
		mu.Unlock()
		m := new(dns.Msg)
		_ = w.WriteMsg(m.SetReply(r))
	}), MsgAcceptFunc: func(dns.Header) dns.MsgAcceptAction { return dns.MsgAccept }}
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = server.ActivateAndServe()
	}()
	t.Cleanup(func() {
		conn.Close()
		<-done
	})
	return conn.LocalAddr().String(), func() int {
		mu.Lock()
		defer mu.Unlock()
		return n
	}
}

func TestSecondariesAreNotifiedOfEveryChangeOfOurs(t *testing.T) {
	t.Parallel()
	s := newSite(t, "notified.test.")
	address, count := listen(t, s.zone)
	dead, err := net.ListenPacket("udp", "127.0.0.1:0") // takes everything and never answers
	s.must(err)
	defer dead.Close()
	s.before += "transfer {\nto " + address + " " + dead.LocalAddr().String() + "\n}\n"
	s.after = "auto {\ndirectory zones\nreload 1h\n}\n" // which sends nothing while its zone stays
	s.mkdir("zones")
	s.write("zones/db.notified.test", fmt.Sprintf(siteZone, s.zone))
	key := newKey(t)
	s.write(place, s.chain(key))
	s.start()
	failures := func() []string { return captured.about(s.begun, s.zone+": not every secondary") }
	until(t, 2*notice, "a log line of the secondary that does not answer", func() bool { return len(failures()) > 0 })
	if count() < 2 {
		t.Errorf("%d at the start: one by *auto* and one by us", count())
	}
	for range 2 {
		at := count()
		before, _ := s.axfr(s.zone)
		s.install(place, s.chain(newKey(t)))
		until(t, 2*notice, "one after a change", func() bool { return count() > at })
		if serial, _ := s.axfr(s.zone); !newer(serial, before) {
			t.Errorf("nothing is new: %d, %d", before, serial)
		}
	}
	if len(failures()) > 1 {
		t.Errorf("logged are %q", failures())
	}
}

// TestHiddenPrimaryOnAnotherPort is not parallel: others could take the ports between the choice and the start.
func TestHiddenPrimaryOnAnotherPort(t *testing.T) {
	s := newSite(t, "primary.test.")
	address, count := listen(t, s.zone)
	ports := freePorts(t, 2)
	dnssec := s.before
	s.port, s.before = ports[1], "transfer {\nto "+address+"\n}\n"
	s.more = s.corefile()
	s.port, s.before = ports[0], dnssec
	key := newKey(t)
	s.write(place, s.chain(key))
	s.start()
	in := s.instance.Storage[instanceKey{}].(*instance)
	if len(in.units) != 1 || !in.units[0].block.FollowSOA {
		t.Fatalf("%d publishers, of which the first waits for secondaries: %v", len(in.units), in.units[0].block.FollowSOA)
	}
	until(t, notice, "a NOTIFY", func() bool { return count() > 0 })
	for port, transferred := range map[string]bool{ports[0]: false, ports[1]: true} {
		s.udp, s.tcp = "127.0.0.1:"+port, "127.0.0.1:"+port
		if soa := s.soa(); transferred != (soa.Serial != fileSerial) {
			t.Errorf("port %s: the SOA is %s", port, soa)
		}
		rrs, err := s.xfr(s.zone, 0)
		if transferred != (err == nil) {
			t.Errorf("port %s: %d records, %v", port, len(rrs), err)
		}
	}
	s.udp, s.tcp = "127.0.0.1:"+ports[1], "127.0.0.1:"+ports[1]
	at := count()
	s.install(place, s.chain(newKey(t)))
	until(t, notice, "another NOTIFY and both keys", func() bool {
		_, text := s.axfr(s.zone)
		return count() > at && len(digests(text, s.owner)) == 2
	})
}

func TestZoneWithHostsThatNobodyKnowsYetIsNotTransferred(t *testing.T) {
	t.Parallel()
	s := newSite(t, "unsure.test.")
	s.options = strings.Replace(s.options, "certs certs\n", "certs certs later\n", 1) + "name _443._tcp.*\n"
	s.transferred()
	key := newKey(t)
	s.write(place, s.chain(key))
	s.start()
	s.becomes(notice, record(t, key))
	if rrs, err := s.xfr(s.zone, 0); err == nil {
		t.Errorf("a secondary would deny the hosts of a directory that is not there yet: %d records", len(rrs))
	}
	s.mkdir("later")
	until(t, rescan, "a transfer", func() bool {
		rrs, err := s.xfr(s.zone, 0)
		return err == nil && len(rrs) > 0
	})
}

func TestTransferHasTheHostsOfAWildcardCertificate(t *testing.T) {
	t.Parallel()
	s := newSite(t, "wildxfr.test.")
	s.options += "name _443._tcp.*\n"
	s.transferred()
	key := newKey(t)
	s.write(place, s.issuer.chain(t, key, "mail.wildxfr.test", "*.wildxfr.test"))
	s.start()
	s.becomes(notice, record(t, key))
	first, text := s.axfr(s.zone)
	for _, host := range []string{"ns.", "mail."} {
		if got := digests(text, "_443._tcp."+host+s.zone); !slices.Equal(got, []string{record(t, key)}) {
			t.Errorf("%s has %q in\n%s", host, got, strings.Join(text, "\n"))
		}
		until(t, notice, "the same in an answer", func() bool { return s.serves("_443._tcp."+host+s.zone, record(t, key)) })
	}
	other := newKey(t)
	s.install(place, s.issuer.chain(t, other, "mail.wildxfr.test", "*.wildxfr.test"))
	until(t, notice, "both keys", func() bool { return s.serves("_443._tcp.ns."+s.zone, record(t, key), record(t, other)) })
	second, text := s.axfr(s.zone)
	if got := digests(text, "_443._tcp.ns."+s.zone); len(got) != 2 || !newer(second, first) {
		t.Errorf("serial %d after %d, with %q", second, first, got)
	}
}

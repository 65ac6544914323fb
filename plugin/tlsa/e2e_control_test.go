package tlsa

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/coredns-tlsa/coredns-tlsa/plugin/tlsa/control"
	"github.com/coredns-tlsa/coredns-tlsa/plugin/tlsa/control/schematest"
	"github.com/coredns-tlsa/coredns-tlsa/plugin/tlsa/rollover"

	"github.com/miekg/dns"
)

// controlled is a site with a control socket, in a directory whose name is short enough.
func controlled(t *testing.T, zone string) (s *site, socket string) {
	t.Helper()
	dir, err := os.MkdirTemp("", "tlsa") //nolint:usetesting // a test's own directory has too long a path for a socket
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	s = newSite(t, zone)
	socket = filepath.Join(dir, "s")
	s.options = strings.NewReplacer("grace 3s", "grace 20s").Replace(s.options) + "control " + socket + "\n"
	return s, socket
}

func (s *site) client(socket string) *control.Client {
	s.Helper()
	c, err := control.Dial(socket)
	s.must(err)
	return c
}

// told is the document, of which the schema must approve.
func (s *site) told(socket string) *control.Status {
	s.Helper()
	status, err := s.client(socket).Status(s.Context(), "")
	s.must(err)
	body, err := json.Marshal(status)
	s.must(err)
	s.must(schematest.Check([]byte(text(s.T, "control/status.schema.json")), body))
	return status
}

// digestOf gives the data of "3 1 1 hex".
func digestOf(record string) string { return record[strings.LastIndex(record, " ")+1:] }

func TestControlSocketTellsWhatDNSAnswers(t *testing.T) {
	t.Parallel()
	s, socket := controlled(t, "told.test.")
	installed, staged := newKey(t), newKey(t)
	s.write(place, s.chain(installed))
	s.start()
	s.write("next/mail.pem", s.chain(staged))
	s.becomes(notice, record(t, installed), record(t, staged))
	b := s.told(socket).Blocks[0]
	var told []string
	for _, a := range b.Owners[0].Associations {
		told = append(told, fmt.Sprintf("%d %d %d %s", a.Usage, a.Selector, a.MatchingType, a.Data))
	}
	s.expect(told...)
	if b.Zones[0] != s.zone || b.Ledger == "" || !b.Serving || b.Hold != 2 || b.Grace != 20 || len(b.Lineages) != 2 {
		t.Errorf("block: %+v", b)
	}
	safe := func() *control.Safety {
		got, err := s.client(socket).Safe(t.Context(), control.Certificate{
			SPKI: unhex(t, digestOf(record(t, staged))), Names: []string{strings.TrimSuffix(s.host, ".")}})
		s.must(err)
		return got
	}
	if got := safe(); got.Safe || got.HeldBy != s.owner || got.SafeAt == nil {
		t.Errorf("just staged: %+v", got)
	}
	until(t, hold, "safe", func() bool { return safe().Safe })
	if n := s.state(rollover.Ready); n != 1 {
		t.Errorf("safe though %d are ready", n)
	}
	for name, info := range map[string]os.FileMode{socket: os.ModeSocket | 0o660} {
		if got, err := os.Lstat(name); err != nil || got.Mode() != info {
			t.Errorf("%v, %v", got, err)
		}
	}
}

func unhex(t *testing.T, s string) string {
	t.Helper()
	var raw []byte
	if _, err := fmt.Sscanf(s, "%x", &raw); err != nil {
		t.Fatal(err)
	}
	return string(raw)
}

func TestRevokedKeyIsOutOfDNSAtOnce(t *testing.T) {
	t.Parallel()
	s, socket := controlled(t, "revoked.test.")
	old, young := newKey(t), newKey(t)
	s.write(place, s.chain(old))
	s.start()
	s.install(place, s.chain(young))
	s.becomes(notice, record(t, old), record(t, young))
	revoke := control.Action{Verb: control.Revoke, Owner: s.owner, Data: digestOf(record(t, old))}
	done, err := s.client(socket).Act(t.Context(), revoke)
	s.must(err)
	s.expect(record(t, young)) // the very next answer
	if len(done) != 1 || done[0].CachedUntil == nil || len(s.log("the operator has revoked", done[0].CachedUntil.Format(time.RFC3339))) != 1 {
		t.Errorf("done %+v, and the log has %q", done, s.log("operator"))
	}
	s.stop()
	s.start()
	s.expect(record(t, young))
	revoke.Verb = control.Restore
	_, err = s.client(socket).Act(t.Context(), revoke)
	s.must(err)
	s.expect(record(t, old), record(t, young))
	var refused *control.Error
	_, err = s.client(socket).Act(t.Context(), control.Action{Verb: control.Revoke, SPKI: digestOf(record(t, young))})
	if !errors.As(err, &refused) || refused.Code != control.CodeRefused || !strings.Contains(refused.Text, place) {
		t.Errorf("the installed key: %v", err)
	}
}

func TestWithdrawnNameIsProvablyEmpty(t *testing.T) {
	t.Parallel()
	s, socket := controlled(t, "withdrawn.test.")
	key := newKey(t)
	s.write(place, s.chain(key))
	s.start()
	s.expect(record(t, key))
	withdraw := control.Action{Verb: control.Withdraw, Owner: s.owner}
	_, err := s.client(socket).Act(t.Context(), withdraw)
	s.must(err)
	denied := func() {
		t.Helper()
		r := s.ask(s.owner, dns.TypeTLSA, true)
		if r.Rcode != dns.RcodeSuccess || len(r.Answer) != 0 {
			t.Fatalf("not denied:\n%s", r)
		}
		s.must(validated(r, s.signer))
	}
	denied()
	s.reload()
	denied()
	if got := s.told(socket).Blocks[0].Owners[0]; got.Answer != control.AnswerWithdrawn || s.problem(rollover.Withdrawn) != 1 {
		t.Errorf("owner %+v, problems %q", got, s.openProblems())
	}
	withdraw.Verb = control.Restore
	_, err = s.client(socket).Act(t.Context(), withdraw)
	s.must(err)
	s.expect(record(t, key))
}

// TestControlSocketAnswersThroughReloads counts goroutines, so nothing runs beside it.
func TestControlSocketAnswersThroughReloads(t *testing.T) {
	s, socket := controlled(t, "through.test.")
	s.options += "status 127.0.0.1:0\n"
	s.write(place, s.chain(newKey(t)))
	s.start()
	goroutines, watchers := settled(t)
	address := s.statusAddress()
	stop, client := make(chan struct{}), s.client(socket)
	plain := http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	answers := 0
	var asking sync.WaitGroup
	asking.Go(func() {
		for ; ; answers++ {
			select {
			case <-stop:
				return
			default:
			}
			status, err := client.Status(context.Background(), s.owner)
			if err != nil || len(status.Blocks) != 1 || len(status.Blocks[0].Owners[0].Associations) != 1 {
				t.Errorf("lost: %+v, %v", status, err)
				return
			}
			reply, err := plain.Get("http://" + address + "/v1/status")
			if err != nil {
				t.Errorf("lost: %v", err)
				return
			}
			reply.Body.Close()
		}
	})
	good, after := s.options, s.after
	for i := range 90 {
		switch s.options, s.after = good, after; i % 3 {
		case 0:
			s.reload()
			continue
		case 1:
			s.options += "graze 1s\n"
		case 2:
			s.after = failing + "\n" + after
		}
		if err := s.tryReload(); err == nil {
			t.Error("the reload did not fail")
		}
	}
	close(stop)
	asking.Wait()
	t.Logf("%d answers during 30 reloads and 60 that failed", answers)
	flat(t, goroutines, watchers)
	if got := s.statusAddress(); got != address {
		t.Errorf("the status is at %s, and was at %s", got, address)
	}
	s.stop()
	flat(t, 0, 0)
	if _, err := os.Lstat(socket); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the socket is left: %v", err)
	}
	if _, err := net.DialTimeout("tcp", address, time.Second); err == nil {
		t.Error("the status address is still open")
	}
}

// statusAddress is where the log says that the status is.
func (s *site) statusAddress() string {
	s.Helper()
	lines := captured.about(s.begun, "127.0.0.1:", ": status of tlsa")
	if len(lines) == 0 {
		s.Fatal("the log does not tell the status address")
	}
	words := strings.Fields(lines[len(lines)-1])
	return strings.TrimSuffix(words[slices.Index(words, "status")-1], ":")
}

func TestBlocksWithOneSocketShareItAndOthersAreApart(t *testing.T) {
	t.Parallel()
	s, socket := controlled(t, "shared.test.")
	block := func(zone, socket string) string {
		s.write(zone+"db", fmt.Sprintf(siteZone, zone))
		return fmt.Sprintf("%s:0 {\nbind 127.0.0.1\nroot %s\ntlsa {\ncerts certs\nname _25._tcp.mail\nledger tlsa.ledger\ncontrol %s\n}\nfile %sdb\n}\n",
			zone, s.dir, socket, zone)
	}
	s.more = block("other.shared.test.", socket) + block("apart.shared.test.", socket+"2")
	s.write(place, s.chain(newKey(t)))
	s.start()
	for path, want := range map[string]string{socket: "other.shared.test. shared.test.", socket + "2": "apart.shared.test."} {
		var zones []string
		for _, b := range s.told(path).Blocks {
			zones = append(zones, b.Zones...)
		}
		slices.Sort(zones)
		if got := strings.Join(zones, " "); got != want {
			t.Errorf("%s has %s, want %s", path, got, want)
		}
	}
}

func TestPathOfTheSocketThatIsTakenFailsTheStart(t *testing.T) {
	s, socket := controlled(t, "taken.test.")
	s.write(place, s.chain(newKey(t)))
	s.must(os.WriteFile(socket, []byte("kept"), 0o600))
	for range 2 {
		if err := s.tryStart(); err == nil || !strings.Contains(err.Error(), "something else than a socket") || !strings.Contains(err.Error(), "Corefile:") {
			t.Fatalf("got %v", err)
		}
	}
	flat(t, 0, 0)
	if text(t, socket) != "kept" {
		t.Error("the file was changed")
	}
	s.must(os.Remove(socket))
	s.start()
	s.told(socket)
	s.options = strings.ReplaceAll(s.options, socket, s.path("certs")+"/../nowhere/s")
	if err := s.tryReload(); err == nil {
		t.Error("the reload did not fail")
	}
	s.told(socket)
}

//go:build referee

package main

import (
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/miekg/dns"
)

// latency is how long a certificate may be installed before the server has to publish it: the quiet period, and time for
// a busy machine.
const latency = 2 * time.Second

// An install is one certificate that a client has put in place: its digest, and when the client began and was done.
type install struct {
	digest      string
	begun, done time.Time
}

// A spell is a time in which every sample of an owner was the same.
type spell struct {
	from, to time.Time
	digests  []string
	err      error
}

// samples are what one server said, asked again and again until the test ends.
type samples struct {
	mu     sync.Mutex // guards spells
	spells map[string][]spell

	stop, done chan struct{}
	once       sync.Once
}

// sample asks a server for each of owners all the time. TCP, because a hundred records are too many for a datagram.
func sample(t *testing.T, s *server, owners ...string) *samples {
	t.Helper()
	all := &samples{spells: make(map[string][]spell), stop: make(chan struct{}), done: make(chan struct{})}
	go func() {
		defer close(all.done)
		tick := time.NewTicker(20 * time.Millisecond)
		defer tick.Stop()
		line := &line{addr: "127.0.0.1:" + s.port}
		defer line.close()
		for {
			for _, owner := range owners {
				digests, err := line.ask(owner)
				all.add(owner, digests, err)
			}
			select {
			case <-all.stop:
				return
			case <-tick.C:
			}
		}
	}()
	t.Cleanup(all.end)
	return all
}

// end stops the sampling and waits for its last sample.
func (all *samples) end() {
	all.once.Do(func() { close(all.stop) })
	<-all.done
}

func (all *samples) add(owner string, digests []string, err error) {
	now := time.Now()
	all.mu.Lock()
	defer all.mu.Unlock()
	spells := all.spells[owner]
	if n := len(spells); n > 0 && (err == nil) == (spells[n-1].err == nil) && slices.Equal(spells[n-1].digests, digests) {
		spells[n-1].to = now
		return
	}
	all.spells[owner] = append(spells, spell{from: now, to: now, digests: digests, err: err})
}

// last gives the latest sample of an owner.
func (all *samples) last(owner string) ([]string, error) {
	all.mu.Lock()
	defer all.mu.Unlock()
	if n := len(all.spells[owner]); n > 0 {
		s := all.spells[owner][n-1]
		return s.digests, s.err
	}
	return nil, fmt.Errorf("not sampled yet")
}

// settles waits until the samples of an owner satisfy done, and gives the time of that.
func (all *samples) settles(t *testing.T, what, owner string, done func([]string) bool) {
	t.Helper()
	poll(t, what, func() (bool, string) {
		got, err := all.last(owner)
		return err == nil && done(got), fmt.Sprint(brief(got), " ", err)
	})
}

// A line is a TCP connection to a server, made again when it breaks.
type line struct {
	addr string
	conn *dns.Conn
}

func (l *line) close() {
	if l.conn != nil {
		l.conn.Close()
	}
	l.conn = nil
}

// ask gives the digests of the whole signed RRset; none and no error where the server says there are none.
func (l *line) ask(owner string) ([]string, error) {
	m := new(dns.Msg)
	m.SetQuestion(owner, dns.TypeTLSA)
	m.SetEdns0(4096, true)
	c := dns.Client{Net: "tcp", Timeout: 10 * time.Second}
	var r *dns.Msg
	var err error
	for range 2 { // the server closes a connection that was idle
		if l.conn == nil {
			if l.conn, err = c.Dial(l.addr); err != nil {
				continue
			}
		}
		if r, _, err = c.ExchangeWithConn(m, l.conn); err == nil {
			break
		}
		l.close()
	}
	if err != nil {
		return nil, err
	}
	return readSet(r)
}

// readSet takes a reply apart: every record has to be 3 1 1, signed and authoritative.
func readSet(r *dns.Msg) ([]string, error) {
	if r.Rcode != dns.RcodeSuccess || !r.Authoritative || r.Truncated {
		return nil, fmt.Errorf("rcode %s, AA %v, TC %v", dns.RcodeToString[r.Rcode], r.Authoritative, r.Truncated)
	}
	var digests []string
	signed := false
	for _, rr := range r.Answer {
		switch rr := rr.(type) {
		case *dns.TLSA:
			if rr.Usage != 3 || rr.Selector != 1 || rr.MatchingType != 1 {
				return nil, fmt.Errorf("record %s", rr)
			}
			digests = append(digests, rr.Certificate)
		case *dns.RRSIG:
			signed = true
		}
	}
	if len(digests) > 0 && !signed {
		return nil, fmt.Errorf("%d records without a signature", len(digests))
	}
	slices.Sort(digests)
	return digests, nil
}

// judge holds what was served against what was installed, and gives every fault. For grace after its replacement began, a
// key that was installed longer than the latency must be there. Nothing but installed keys may, none before its time.
func judge(spells []spell, installs []install, grace time.Duration) []string {
	var faults []string
	fault := func(s spell, format string, args ...any) {
		faults = append(faults, fmt.Sprintf("%s to %s: ", s.from.Format("15:04:05.000"), s.to.Format("15:04:05.000"))+
			fmt.Sprintf(format, args...)+": "+brief(s.digests))
	}
	begun := make(map[string]time.Time)
	for _, in := range slices.Backward(installs) {
		begun[in.digest] = in.begun
	}
	for _, s := range spells {
		if s.err != nil {
			fault(s, "%v", s.err)
			continue
		}
		for _, d := range s.digests {
			if at, ok := begun[d]; !ok {
				fault(s, "%s was never installed", d)
			} else if s.from.Before(at) {
				fault(s, "%.8s was not yet installed", d)
			}
		}
		for i, in := range installs {
			until := replaced(installs[i:]).Add(grace)
			from := in.done.Add(latency)
			if from.Before(until) && !from.After(s.to) && s.from.Before(until) && !slices.Contains(s.digests, in.digest) {
				fault(s, "%.8s is missing, installed at %s", in.digest, in.done.Format("15:04:05.000"))
			}
		}
	}
	return faults
}

// replaced tells when the client began to replace the first key of installs; far off if it never did.
func replaced(installs []install) time.Time {
	for _, in := range installs {
		if in.digest != installs[0].digest {
			return in.begun
		}
	}
	return installs[0].begun.Add(24 * time.Hour)
}

// outOfOrder gives the sets that are no unbroken run of the keys in the order in which they were installed.
func outOfOrder(spells []spell, installs []install) []string {
	var faults []string
	order := distinct(installs)
	for _, s := range spells {
		var at []int
		for _, d := range s.digests {
			at = append(at, slices.Index(order, d))
		}
		slices.Sort(at)
		if n := len(at); n > 0 && at[n-1]-at[0] != n-1 {
			faults = append(faults, fmt.Sprintf("%s: the keys number %v", s.from.Format("15:04:05.000"), at))
		}
	}
	return faults
}

// distinct gives the digests in the order in which they came.
func distinct(installs []install) []string {
	var all []string
	for _, in := range installs {
		if !slices.Contains(all, in.digest) {
			all = append(all, in.digest)
		}
	}
	return all
}

func brief(digests []string) string {
	short := make([]string, len(digests))
	for i, d := range digests {
		short[i] = fmt.Sprintf("%.8s", d)
	}
	return fmt.Sprintf("%d [%s]", len(digests), strings.Join(short, " "))
}

// faultless fails the test with the faults of an owner, the first ten of them.
func (all *samples) faultless(t *testing.T, owner string, installs []install, grace time.Duration, ordered bool) {
	t.Helper()
	all.mu.Lock()
	defer all.mu.Unlock()
	spells := all.spells[owner]
	faults := judge(spells, installs, grace)
	if ordered {
		faults = append(faults, outOfOrder(spells, installs)...)
	}
	for _, f := range faults[:min(10, len(faults))] {
		t.Errorf("%s %s", owner, f)
	}
	if len(faults) > 10 {
		t.Errorf("%s: %d more faults", owner, len(faults)-10)
	}
}

func TestTheJudgeOfSamplesIsNotBlind(t *testing.T) {
	at := func(s float64) time.Time { return time.Unix(1000, 0).Add(time.Duration(s * float64(time.Second))) }
	installs := []install{{"a", at(0), at(1)}, {"b", at(10), at(11)}, {"c", at(20), at(21)}}
	seen := func(from, to float64, digests ...string) spell {
		return spell{from: at(from), to: at(to), digests: digests}
	}
	cases := map[string]struct {
		spells []spell
		faults int
	}{
		"as it should be": {[]spell{
			seen(1, 10.5, "a"), seen(10.6, 15, "a", "b"), seen(15.1, 20.4, "b"), seen(20.5, 25, "b", "c"), seen(25.1, 30, "c"),
		}, 0},
		"a new key within the latency is no must": {[]spell{seen(1, 12.9, "a")}, 0},
		"a new key that never comes":              {[]spell{seen(1, 13.1, "a")}, 1},
		"an old key that goes before grace":       {[]spell{seen(13, 13.5, "b")}, 1},
		"an old key that goes after grace":        {[]spell{seen(14, 14.5, "b")}, 0},
		"a key before its time":                   {[]spell{seen(5, 9, "a", "b")}, 1},
		"a stranger":                              {[]spell{seen(5, 9, "a", "x")}, 1},
		"an empty set":                            {[]spell{seen(5, 5)}, 1},
		"an error":                                {[]spell{{from: at(5), to: at(5), err: fmt.Errorf("SERVFAIL")}}, 1},
		"the first certificate is still missing":  {[]spell{seen(1, 2)}, 0},
	}
	for what, c := range cases {
		if got := judge(c.spells, installs, 4*time.Second); len(got) != c.faults {
			t.Errorf("%s: %d faults, want %d: %q", what, len(got), c.faults, got)
		}
	}
	if got := outOfOrder([]spell{seen(0, 1, "a", "b"), seen(0, 1, "a", "c"), seen(0, 1, "c", "b")}, installs); len(got) != 1 {
		t.Errorf("out of order: %q, want one", got)
	}
}

package tlsa

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"math/rand/v2"
	"os"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/coredns/caddy"

	"github.com/miekg/dns"
)

// number is what an environment variable says, or the preset.
func number(t *testing.T, variable string, preset int) int {
	t.Helper()
	text := os.Getenv(variable)
	if text == "" {
		return preset
	}
	n, err := strconv.Atoi(text)
	if err != nil {
		t.Fatalf("%s: %v", variable, err)
	}
	return n
}

// insideSize is the EDNS buffer size by which a query chooses the view.
const insideSize = 1400

// A soak is a site whose Corefile, certificates and secondaries never rest.
type soak struct {
	*site
	*model
	seed  uint64
	ports []string
	taken string
	done  chan struct{}
	busy  sync.WaitGroup

	changing map[string]*sync.Mutex // by lineage: held during a change
	contents sync.Map               // of transfers, by serial

	answers, inside, udpAgain, tcpAgain, transferred, refused, changes, slowest atomic.Int64
}

func newSoak(t *testing.T) *soak {
	t.Helper()
	s := &soak{site: newSite(t, "soak.test."), ports: freePorts(t, 2), taken: occupied(t), done: make(chan struct{})}
	s.seed = uint64(number(t, "RELOADS_SEED", 7671))
	s.write("db", fmt.Sprintf(siteZone, s.zone)+"web IN A 192.0.2.80\n")
	s.write("other", fmt.Sprintf(siteZone, "other."+s.zone))
	sum := sha256.Sum256(s.issuer.cert.RawSubjectPublicKeyInfo)
	s.model = &model{anchor: "2 1 1 " + hex.EncodeToString(sum[:]), lineages: map[string]*files{
		"mail": {owners: []string{"_25._tcp.mail.soak.test.", "_465._tcp.mail.soak.test."}, held: map[string]*kept{}},
		"web":  {owners: []string{"_443._tcp.web.soak.test."}, held: map[string]*kept{}},
	}}
	s.changing = map[string]*sync.Mutex{"mail": {}, "web": {}}
	for lineage := range s.lineages {
		s.place(lineage, "certs", s.fresh())
	}
	return s
}

// fresh is a new key.
func (s *soak) fresh() *kept {
	s.Helper()
	key := newKey(s)
	return &kept{private: key, narrow: record(s, key), wide: wide(s, key)}
}

// place puts a certificate for the key into a root; nil removes the file.
func (s *soak) place(lineage, root string, k *kept) {
	s.Helper()
	file := root + "/" + lineage + "/fullchain.pem"
	s.mu.Lock()
	s.lineages[lineage].put(root, k)
	s.mu.Unlock()
	if k == nil {
		s.must(os.Remove(s.path(file)))
		return
	}
	s.install(file, s.issuer.chain(s, k.private, lineage+".soak.test"))
}

// reloadTo makes the server have a Corefile, or try to, and checks that it fails where it must.
func (s *soak) reloadTo(v variant) {
	s.Helper()
	s.text = v.text(s.site, s.ports, s.taken)
	done := s.reloading(v)
	defer done()
	var err error
	if s.instance == nil {
		err = s.tryStart()
	} else {
		err = s.tryReload()
	}
	if (err != nil) != (v.fault != "") {
		s.Fatalf("seed %d, fault %q, but: %v in\n%s", s.seed, v.fault, err, s.text)
	}
}

// query asks with DO once, over UDP or TCP, as a client does that gives up early and asks again.
func (s *soak) query(network, port, owner string, size uint16) (*dns.Msg, error) {
	m := new(dns.Msg)
	m.SetQuestion(owner, dns.TypeTLSA)
	m.SetEdns0(size, true)
	client := dns.Client{Net: network, Timeout: 2 * time.Second}
	var err error
	for range 6 {
		var r *dns.Msg
		r, _, err = client.Exchange(m, "127.0.0.1:"+port)
		switch {
		case err == nil && !r.Truncated:
			return r, nil
		case err == nil:
			client.Net = "tcp"
		case client.Net == "tcp":
			s.tcpAgain.Add(1)
		default:
			s.udpAgain.Add(1)
		}
	}
	return nil, fmt.Errorf("%s over %s: %w", owner, network, err)
}

// asking queries the core owners in turn: at the first port, in its view and at the second, where they are.
func (s *soak) asking(n int) {
	owners := slices.Concat(s.lineages["mail"].owners, s.lineages["web"].owners)
	for ; s.again(time.Duration(2+n%3) * time.Millisecond); n++ {
		network, owner, asked := []string{"udp", "udp", "tcp"}[n%3], owners[n/3%len(owners)], time.Now()
		port, size, signed := s.ports[0], uint16(4096), true
		switch n % 5 {
		case 3:
			size = insideSize
		case 4:
			port, signed = s.ports[1], false
		}
		r, err := s.query(network, port, owner, size)
		if n%5 == 4 {
			if !s.all(asked, func(v variant) bool { return v.primary }) {
				continue
			}
			signed = s.all(asked, func(v variant) bool { return v.signed })
		}
		var set []string
		if err == nil {
			set, err = rrset(r, owner)
		}
		if err == nil && signed {
			err = validated(r, s.signer)
		}
		switch {
		case err != nil:
		case n%5 != 3 || s.all(asked, func(v variant) bool { return !v.view }):
			s.answers.Add(1)
			err = s.check(owner, set, asked)
		case s.all(asked, func(v variant) bool { return v.view }):
			s.inside.Add(1)
			err = s.checkInside(owner, set, asked)
		}
		if err != nil {
			s.Errorf("seed %d, port %d, %s over %s with %d octets, asked %s ago: %v", s.seed, slices.Index(s.ports, port),
				owner, network, size, time.Since(asked), err)
		}
	}
}

// again waits, and tells whether the soak goes on.
func (s *soak) again(pause time.Duration) bool {
	select {
	case <-s.done:
		return false
	case <-time.After(pause):
		return !s.Failed()
	}
}

// transferring is a secondary of a port: it transfers at random moments, as a whole or from what it has.
func (s *soak) transferring(n int, r *rand.Rand) {
	at, last := site{T: s.T, tcp: "127.0.0.1:" + s.ports[n%2]}, uint32(0)
	lets := func(v variant) bool { return n%2 == 0 && v.transfer || n%2 == 1 && v.primary }
	for s.again(time.Duration(r.IntN(40)) * time.Millisecond) {
		asked, before := time.Now(), uint32(0)
		if r.IntN(3) == 0 {
			before = last
		}
		began, peace := s.peace()
		rrs, err := at.xfr(s.zone, before)
		ended, _ := s.peace()
		if err != nil || len(rrs) == 0 {
			s.refused.Add(1)
			if peace && began == ended && s.all(asked, lets) {
				s.Errorf("seed %d: a transfer while no reload went on: %v", s.seed, err)
			}
			continue
		}
		s.transferred.Add(1)
		serial := rrs[0].(*dns.SOA).Serial
		if last != 0 && serial != last && !newer(serial, last) {
			s.Errorf("seed %d: the serial fell from %d to %d", s.seed, last, serial)
		}
		last = serial
		if len(rrs) > 1 {
			s.checkTransfer(rrs, asked)
		} else if serial != before {
			s.Errorf("seed %d: nothing is new after %d, but the serial is %d", s.seed, before, serial)
		}
	}
}

// checkTransfer judges the core owners in a whole transfer, and what others got under its serial.
func (s *soak) checkTransfer(rrs []dns.RR, asked time.Time) {
	sets := map[string][]string{}
	var text []string
	for _, rr := range rrs[1 : len(rrs)-1] {
		text = append(text, rr.String())
		if tlsa, ok := rr.(*dns.TLSA); ok {
			sets[tlsa.Hdr.Name] = append(sets[tlsa.Hdr.Name],
				fmt.Sprintf("%d %d %d %s", tlsa.Usage, tlsa.Selector, tlsa.MatchingType, tlsa.Certificate))
		}
	}
	slices.Sort(text)
	serial, is := rrs[0].(*dns.SOA).Serial, strings.Join(text, "\n")
	if known, again := s.contents.LoadOrStore(serial, is); again && known != is {
		s.Errorf("seed %d: two contents have the serial %d:\n%s\nand\n%s", s.seed, serial, known, is)
	}
	for _, f := range s.lineages {
		for _, owner := range f.owners {
			if err := s.check(owner, sets[owner], asked); err != nil {
				s.Errorf("seed %d: in the transfer of %d, %s: %v", s.seed, serial, owner, err)
			}
		}
	}
}

// change renews a lineage once, in one of the ways that clients have, and waits until that is published.
func (s *soak) change(lineage string, r *rand.Rand) {
	s.changing[lineage].Lock()
	defer s.changing[lineage].Unlock()
	f := s.lineages[lineage]
	until(s, 5*time.Second, "fewer keys of "+lineage, func() bool { return s.Failed() || s.keysOwed(f) < 8 })
	s.mu.Lock()
	staged, installed := f.held["next"], f.held["certs"]
	s.mu.Unlock()
	s.changes.Add(1)
	k := s.fresh()
	switch way := r.IntN(6); {
	case way < 2:
		s.place(lineage, "certs", k)
	case way == 2: // renewed with the same key
		s.place(lineage, "certs", installed)
		return
	case staged == nil || way == 3:
		s.place(lineage, "next", k)
	case staged != installed:
		s.place(lineage, "certs", staged)
		return
	default: // what was staged is installed
		s.place(lineage, "next", nil)
		return
	}
	before := time.Now()
	until(s, notice, "the new key of "+lineage, func() bool { return s.Failed() || s.shows(f, k) })
	for took := int64(time.Since(before)); took > s.slowest.Load(); {
		s.slowest.Store(took)
	}
}

func (s *soak) keysOwed(f *files) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	n, now := 0, time.Now()
	for _, k := range f.keys {
		if s.owed(k, now) {
			n++
		}
	}
	return n
}

// shows tells whether every owner of the lineage has the key while no reload goes on. From then on it is owed.
func (s *soak) shows(f *files, k *kept) bool {
	began, peace := s.peace()
	for _, owner := range f.owners {
		r, err := s.query("udp", s.ports[0], owner, 4096)
		if err != nil {
			return false
		}
		if set, err := rrset(r, owner); err != nil || !k.among(set) {
			return false
		}
	}
	if ended, _ := s.peace(); !peace || began != ended {
		return false
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	k.seen = time.Now()
	return true
}

// goroutines counts all but those that *dnssec* and *file* leave behind whenever a start fails after theirs.
func goroutines() int {
	n := 0
	buf := make([]byte, 1<<22)
	for stack := range bytes.SplitSeq(buf[:runtime.Stack(buf, true)], []byte("\n\n")) {
		if !bytes.Contains(stack, []byte("dnssec.periodicClean")) && !bytes.Contains(stack, []byte("file.(*Zone).Reload")) {
			n++
		}
	}
	return n
}

// descriptors counts the open files of this process; 0 where there is no /proc.
func descriptors() int {
	fds, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		return 0
	}
	return len(fds)
}

// TestRandomReloadsLoseNothing is not parallel: it counts goroutines and open files, and its ports must stay its own.
func TestRandomReloadsLoseNothing(t *testing.T) {
	s := newSoak(t)
	reloads := number(t, "RELOADS", 100)
	random := func(n uint64) *rand.Rand { return rand.New(rand.NewPCG(s.seed, n)) }
	t.Logf("seed %d, %d reloads", s.seed, reloads)
	s.reloadTo(plainVariant())
	for _, f := range s.lineages {
		until(t, notice, "the first keys", func() bool { return s.shows(f, f.keys[0]) })
	}
	ours, watchers := settled(t)
	all, open := goroutines(), descriptors()
	for n := range 4 {
		s.busy.Go(func() { s.asking(n) })
	}
	for n := range 4 {
		s.busy.Go(func() { s.transferring(n, random(uint64(100+n))) })
	}
	for n, lineage := range []string{"mail", "web"} {
		s.busy.Go(func() {
			for r := random(uint64(200 + n)); s.again(time.Duration(200+r.IntN(600)) * time.Millisecond); {
				s.change(lineage, r)
			}
		})
	}
	faults := s.reloadAtRandom(reloads, random(1))
	close(s.done)
	s.busy.Wait()
	s.reloadTo(plainVariant())
	t.Logf("%d Corefiles, %d of them faulty; %d answers, %d of the view, asked again %d by UDP and %d by TCP; "+
		"%d transfers of %d contents, %d refused; %d changes, the slowest published after %s",
		reloads, faults, s.answers.Load(), s.inside.Load(), s.udpAgain.Load(), s.tcpAgain.Load(),
		s.transferred.Load(), s.serials(), s.refused.Load(), s.changes.Load(), time.Duration(s.slowest.Load()))
	s.rests()
	flat(t, ours, watchers)
	until(t, time.Second, "as many goroutines and open files as before", func() bool {
		return goroutines() <= all && descriptors() <= open
	})
}

// reloadAtRandom tells how many of the Corefiles were faulty. After each second of those nothing reloads until a change of
// then is published: the server before goes on.
func (s *soak) reloadAtRandom(reloads int, r *rand.Rand) (faults int) {
	for n := range reloads {
		if !s.again(time.Duration(r.IntN(150)) * time.Millisecond) {
			return faults
		}
		v := draw(r)
		s.reloadTo(v)
		if v.fault == "" {
			continue
		}
		if faults++; faults%2 == 0 {
			s.change([]string{"mail", "web"}[n%2], r)
		}
	}
	return faults
}

func (s *soak) serials() int {
	n := 0
	s.contents.Range(func(any, any) bool { n++; return true })
	return n
}

// rests checks the end: the core has what the files have, the ledger too, and nothing of the log is an error.
func (s *soak) rests() {
	s.Helper()
	s.udp = "127.0.0.1:" + s.ports[0]
	for _, lineage := range []string{"mail", "web"} {
		for _, owner := range s.lineages[lineage].owners {
			until(s, 2*notice+grace, owner+" at rest", func() bool { return s.serves(owner, s.current(owner)...) })
			var recorded []string
			for _, a := range s.timeline(owner, "").RRset() {
				recorded = append(recorded, fmt.Sprintf("%s %x", a.Combination, a.Data))
			}
			if !s.serves(owner, recorded...) {
				s.Errorf("the ledger has %q of %s, served is %q", recorded, owner, s.published(owner))
			}
		}
	}
	if n := len(caddy.Instances()); n != 1 {
		s.Errorf("%d instances", n)
	}
	if lines := s.log("panic"); len(lines) > 0 {
		s.Errorf("the log says %q", lines)
	}
}

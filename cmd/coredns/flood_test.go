//go:build referee

package main

import (
	"encoding/binary"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/miekg/dns"
)

const (
	// floodRate bounds what is sent, in packets a second.
	floodRate = 3000
	// floodGrowth bounds what the server may hold more, after the caches of CoreDNS are warm.
	floodGrowth = 8 << 20
)

// A flood is what a server gets that nobody wants, and beside it a client who wants an answer.
type flood struct {
	*rig
	toll *toll
	seed uint64
}

// packet gives what is sent next: half of it are no queries.
func packet(r *rand.Rand) []byte {
	label := func() string { return strconv.FormatUint(r.Uint64(), 36) }
	owners := []string{owner, "_443._tcp.web.example.org.", "mail.example.org.", "_tcp.mail.example.org.", "example.org."}
	m := new(dns.Msg)
	m.SetQuestion(label()+"."+owners[r.IntN(len(owners))], dns.TypeTLSA)
	m.SetEdns0(4096, true)
	switch r.IntN(10) {
	case 0: // noise
		b := make([]byte, r.IntN(600))
		for i := range b {
			b[i] = byte(r.Uint32())
		}
		return b
	case 1: // any type, at what exists
		m.Question[0].Name, m.Question[0].Qtype = owners[r.IntN(len(owners))], uint16(r.Uint32())
	case 2:
		m.Question[0].Name, m.Question[0].Qtype = owners[r.IntN(len(owners))], dns.TypeANY
	case 3:
		m.Question[0].Qclass = uint16(r.Uint32())
	case 4:
		m.Opcode = r.IntN(16)
	case 5: // a buffer too small for anything
		m.Extra = nil
		m.SetEdns0(uint16(r.IntN(64)), true)
		m.Question[0].Name = owner
	case 6:
		m.Question = append(m.Question, m.Question[0])
	}
	b, err := m.Pack()
	if err != nil {
		return nil
	}
	switch r.IntN(8) {
	case 0: // cut short
		b = b[:r.IntN(len(b))]
	case 1: // damaged
		b[r.IntN(len(b))] ^= byte(1 << r.IntN(8))
	}
	return b
}

// datagrams sends packets at a rate, and takes what comes back from the socket.
func (f *flood) datagrams(n uint64, rate int, stop <-chan struct{}) {
	r := rand.New(rand.NewPCG(f.seed, n))
	conn, err := net.Dial("udp", f.addr)
	if err != nil {
		f.t.Error(err)
		return
	}
	defer conn.Close()
	go func() { _, _ = io.Copy(io.Discard, conn) }() // until it is closed
	for {
		for range rate / 100 {
			_, _ = conn.Write(packet(r)) // a refusal counts as sent
		}
		f.toll.add("packets", rate/100)
		select {
		case <-stop:
			return
		case <-time.After(10 * time.Millisecond):
		}
	}
}

// streams open a connection that says nothing, says one octet a second, or asks a lot and never reads; again and again.
func (f *flood) streams(way int, stop <-chan struct{}) {
	m := new(dns.Msg)
	m.SetQuestion(owner, dns.TypeTLSA)
	m.SetEdns0(4096, true)
	query, err := m.Pack()
	if err != nil {
		f.t.Error(err)
		return
	}
	query = append(binary.BigEndian.AppendUint16(nil, uint16(len(query))), query...)
	for {
		conn, err := net.DialTimeout("tcp", f.addr, time.Second)
		if err == nil {
			f.toll.add("connections", 1)
			f.stream(conn, way, query, stop)
			conn.Close()
		}
		select {
		case <-stop:
			return
		case <-time.After(50 * time.Millisecond):
		}
	}
}

func (f *flood) stream(conn net.Conn, way int, query []byte, stop <-chan struct{}) {
	end := time.After(5 * time.Second)
	pause := map[int]time.Duration{0: 5 * time.Second, 1: time.Second, 2: 20 * time.Millisecond}[way]
	for n := 0; ; n++ {
		_ = conn.SetWriteDeadline(time.Now().Add(100 * time.Millisecond))
		var err error
		switch way {
		case 1:
			_, err = conn.Write(query[n%len(query) : n%len(query)+1])
		case 2:
			_, err = conn.Write(query)
		}
		if err != nil {
			return
		}
		select {
		case <-stop:
			return
		case <-end:
			return
		case <-time.After(pause):
		}
	}
}

// probeTries is more than a client does: on a busy machine the server's socket overflows by what is poured in, and loses some.
const probeTries = 6

// probe asks every few milliseconds and gives the median of the times that an answer took. Every question is answered.
func (f *flood) probe(d time.Duration) (median time.Duration) {
	var took []time.Duration
	for end := time.Now().Add(d); time.Now().Before(end); {
		var silence, fault error
		for range probeTries {
			began := time.Now()
			if _, fault, silence = f.ask(owner, 2*time.Second); silence == nil {
				took = append(took, time.Since(began))
				break
			}
			f.toll.add("asked again", 1)
		}
		if silence != nil || fault != nil {
			f.toll.add("faults", 1)
			f.t.Errorf("a probe fails: %v %v", silence, fault)
		}
		<-time.After(5 * time.Millisecond)
	}
	f.toll.add("probes", len(took))
	slices.Sort(took)
	return took[len(took)/2]
}

// A load is what a server holds.
type load struct{ rss, goroutines, descriptors int }

var metricLine = regexp.MustCompile(`(?m)^go_goroutines (\d+)$`)

func (f *flood) load() load {
	f.t.Helper()
	proc := fmt.Sprintf("/proc/%d/", f.cmd.Process.Pid)
	var l load
	var err error
	for line := range strings.Lines(read(f.t, proc+"status")) {
		if rest, ok := strings.CutPrefix(line, "VmRSS:"); ok {
			l.rss, err = strconv.Atoi(strings.Fields(rest)[0])
			l.rss <<= 10
		}
	}
	fds, errFDs := os.ReadDir(proc + "fd")
	l.descriptors = len(fds)
	host, _, _ := net.SplitHostPort(f.addr)
	resp, errGet := http.Get("http://" + host + ":9153/metrics")
	if err != nil || errFDs != nil || errGet != nil {
		f.t.Fatal(err, errFDs, errGet)
	}
	defer resp.Body.Close()
	http.DefaultClient.CloseIdleConnections()
	body, err := io.ReadAll(resp.Body)
	if found := metricLine.FindSubmatch(body); err == nil && found != nil {
		l.goroutines, err = strconv.Atoi(string(found[1]))
	}
	if err != nil || l.goroutines == 0 {
		f.t.Fatalf("no goroutines: %v\n%s", err, body)
	}
	return l
}

// pour lets everything flow for a time, and gives the median of the probes.
func (f *flood) pour(d time.Duration) time.Duration {
	stop := make(chan struct{})
	var all sync.WaitGroup
	for n := range 3 {
		all.Go(func() { f.datagrams(uint64(n), floodRate/3, stop) })
	}
	for n := range 60 {
		all.Go(func() { f.streams(n%3, stop) })
	}
	defer all.Wait()
	defer close(stop)
	return f.probe(d)
}

func newFlood(t *testing.T, seed uint64, sum *toll) *flood {
	t.Helper()
	f := &flood{rig: newRig(t, time.Minute, ""), toll: sum, seed: seed}
	f.place("live", "mail", newCert(t))
	f.place("live", "web", newWebCert(t))
	return f
}

// back waits until goroutines and open files are as many as before.
func (f *flood) back(before load) load {
	f.t.Helper()
	var now load
	poll(f.t, "as many goroutines and open files as before", func() (bool, string) {
		now = f.load()
		return now.goroutines <= before.goroutines+2 && now.descriptors <= before.descriptors+2, fmt.Sprintf("%+v, before %+v", now, before)
	})
	return now
}

func TestFloodLeavesAnswersAndMemoryAlone(t *testing.T) {
	t.Parallel()
	l := newLengthy(t, "FLOOD", 30)
	f := newFlood(t, l.Seed, &l.toll)
	f.start()
	if _, fault := f.first(owner); fault != nil {
		t.Fatal(fault)
	}
	calm := f.probe(3 * time.Second)
	idle := f.load()
	f.pour(15 * time.Second) // until CoreDNS has filled its caches of signatures
	warm := f.back(idle)
	flooded := f.pour(time.Duration(l.target) * time.Second)
	after := f.back(idle)
	t.Logf("the median of a probe is %s, flooded %s, %.1f times as much; RSS %d KiB idle, %d warm, %d after",
		calm, flooded, float64(flooded)/float64(calm), idle.rss>>10, warm.rss>>10, after.rss>>10)
	l.add("KiB more", max(0, after.rss-warm.rss)>>10)
	if after.rss-warm.rss > floodGrowth {
		l.add("faults", 1)
		t.Errorf("RSS grew by %d KiB", (after.rss-warm.rss)>>10)
	}
	if log := f.log.String(); strings.Contains(log, "panic") {
		l.add("faults", 1)
		t.Errorf("a panic:\n%s", log)
	}
	l.end(t)
}

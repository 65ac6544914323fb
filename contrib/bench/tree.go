package main

import (
	"flag"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/miekg/dns"
)

// A site is a certbot tree and the server that answers for it.
type site struct {
	bench
	certbot
	port, pprof string
	pid         int
}

// tree measures what many lineages cost: starts, sweeps, renewals.
func tree() error {
	var s site
	flag.IntVar(&s.lineages, "lineages", 100_000, "how many lineages there are")
	bulk := flag.Int("bulk", 10_000, "how many certificates are replaced at once")
	renewals := flag.Int("renewals", 20, "how many are renewed one by one")
	sweeps := flag.Int("sweeps", 8, "how many sweeps are measured")
	dir := flag.String("dir", "", "where the tree is made")
	flag.Parse()
	var err error
	if s.dir, err = os.MkdirTemp(*dir, "bench"); err != nil {
		return err
	}
	s.closeWhenInterrupted()
	defer s.close()
	if text, err := os.ReadFile("/proc/sys/fs/inotify/max_user_watches"); err == nil {
		if most, err := strconv.Atoi(strings.TrimSpace(string(text))); err == nil && most < 5*s.lineages {
			return fmt.Errorf("fs.inotify.max_user_watches is %d, of which a server uses half, and two are needed for each lineage: "+
				"raise it to %d, or not every renewal is found before the next sweep", most, 5*s.lineages)
		}
	}
	fmt.Printf("making %d lineages\n", s.lineages)
	if err := s.make(s.dir); err != nil {
		return err
	}
	s.server = filepath.Join(s.dir, "coredns")
	if err := s.command("go", "build", "-o", s.server, "./cmd/coredns"); err != nil {
		return err
	}
	apex := "$ORIGIN example.org.\n$TTL 3600\n@ IN SOA ns hostmaster 1 7200 3600 1209600 3600\n@ IN NS ns\nns IN A 127.0.0.1\n"
	if err := os.WriteFile(filepath.Join(s.dir, "zone"), []byte(apex), 0o600); err != nil {
		return err
	}
	const never = "1h"
	for _, step := range []func() error{
		func() error { return s.start("cold start", never) },
		s.heap,
		func() error { return s.renew(*renewals) },
		func() error { return s.replace(*bulk) },
		s.ledger,
		func() error { s.stop(); return s.start("warm restart", "10s") },
		func() error { return s.idle(*sweeps, 10*time.Second) },
	} {
		if err := step(); err != nil {
			return err
		}
	}
	return nil
}

// start tells how long it takes from the start of the process to the first answer, and to that of the last owner.
func (s *site) start(what, rescan string) (err error) {
	if s.port, err = freePort(); err != nil {
		return err
	}
	if s.pprof, err = freePort(); err != nil {
		return err
	}
	corefile := fmt.Sprintf(`example.org:%s {
    bind 127.0.0.1
    pprof 127.0.0.1:%s
    tlsa {
        certs %s/live
        name _25._tcp.*
        ledger %s/tlsa.ledger
        rescan %s
    }
    file %s/zone
}
`, s.port, s.pprof, s.dir, s.dir, rescan, s.dir)
	begun := time.Now()
	if err := s.daemon("tlsa", corefile, s.server, "-conf"); err != nil {
		return err
	}
	s.pid = s.running[0].Process.Pid
	for {
		if got, err := s.ask(s.lineages - 1); err == nil && strings.Contains(got, s.digests[s.lineages-1]) {
			break
		}
		if time.Since(begun) > 5*time.Minute {
			log, _ := os.ReadFile(filepath.Join(s.dir, "tlsa.log"))
			return fmt.Errorf("no answer; the server said: %.2000s", log)
		}
		time.Sleep(10 * time.Millisecond)
	}
	first := time.Since(begun)
	wrong := s.askAll()
	all := time.Since(begun)
	cpu, wall, err := s.settle(begun)
	if err != nil {
		return err
	}
	fmt.Printf("%s: first answer after %.2f s, every owner asked after %.2f s, %d of them wrong; idle after %.1f s and %.1f s of CPU\n",
		what, first.Seconds(), all.Seconds(), wrong, wall.Seconds(), cpu.Seconds())
	return nil
}

// ask gives the data of an owner's record.
func (s *site) ask(n int) (string, error) {
	m := new(dns.Msg)
	m.SetQuestion(owner(n), dns.TypeTLSA)
	r, err := dns.Exchange(m, "127.0.0.1:"+s.port)
	if err != nil {
		return "", err
	}
	var all []string
	for _, rr := range r.Answer {
		if rr, ok := rr.(*dns.TLSA); ok {
			all = append(all, rr.Certificate)
		}
	}
	return strings.Join(all, " "), nil
}

// askAll asks for every owner and counts the wrong answers.
func (s *site) askAll() int64 {
	var wg sync.WaitGroup
	var wrong, next atomic.Int64
	for range 8 {
		wg.Go(func() {
			for n := int(next.Add(1)) - 1; n < s.lineages; n = int(next.Add(1)) - 1 {
				if got, err := s.ask(n); err != nil || !strings.Contains(got, s.digests[n]) {
					wrong.Add(1)
				}
			}
		})
	}
	wg.Wait()
	return wrong.Load()
}

// settle waits until the server has nothing to do, and gives the CPU time that it had used then and the wall time since begun.
func (s *site) settle(begun time.Time) (cpu, wall time.Duration, err error) {
	before, err := cpuTime(s.pid)
	for err == nil {
		wall = time.Since(begun)
		time.Sleep(time.Second)
		if cpu, err = cpuTime(s.pid); cpu-before <= 20*time.Millisecond {
			return before, wall, err
		}
		before = cpu
	}
	return 0, 0, err
}

// cpuTime is what a process has used; the kernel counts it in hundredths of a second.
func cpuTime(pid int) (time.Duration, error) {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return 0, err
	}
	_, rest, _ := strings.Cut(string(text), ") ")
	fields := strings.Fields(rest)
	var ticks int64
	for _, i := range []int{11, 12} { // utime and stime
		n, err := strconv.ParseInt(fields[i], 10, 64)
		if err != nil {
			return 0, err
		}
		ticks += n
	}
	return time.Duration(ticks) * 10 * time.Millisecond, nil
}

var heapAlloc = regexp.MustCompile(`# HeapAlloc = ([0-9]+)`)

func (s *site) heap() error {
	var octets int
	for range 2 { // what the first collection finalises, the second one frees
		r, err := http.Get("http://127.0.0.1:" + s.pprof + "/debug/pprof/heap?gc=1&debug=1")
		if err != nil {
			return err
		}
		text, err := io.ReadAll(r.Body)
		if err := r.Body.Close(); err != nil {
			return err
		}
		if err != nil {
			return err
		}
		m := heapAlloc.FindSubmatch(text)
		if m == nil {
			return fmt.Errorf("pprof says\n%.300s", text)
		}
		if octets, err = strconv.Atoi(string(m[1])); err != nil {
			return err
		}
	}
	fmt.Printf("heap: %.1f MiB, %d octets a lineage of four files with its owner\n", float64(octets)/(1<<20), octets/s.lineages)
	return nil
}

func (s *site) ledger() error {
	info, err := os.Stat(filepath.Join(s.dir, "tlsa.ledger"))
	if err != nil {
		return err
	}
	fmt.Printf("ledger: %.1f MiB, %d octets a live association\n", float64(info.Size())/(1<<20), int(info.Size())/(s.lineages+s.renewed))
	return nil
}

// idle tells what sweeps of unchanged lineages cost.
func (s *site) idle(count int, rescan time.Duration) error {
	before, err := cpuTime(s.pid)
	if err != nil {
		return err
	}
	time.Sleep(time.Duration(count) * rescan)
	after, err := cpuTime(s.pid)
	if err != nil {
		return err
	}
	fmt.Printf("%d sweeps of unchanged lineages: %.0f ms of CPU each, everything else included\n", count, float64((after-before).Milliseconds())/float64(count))
	return nil
}

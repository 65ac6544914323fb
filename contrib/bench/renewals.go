package main

import (
	"fmt"
	"strings"
	"time"
)

// renew renews single certificates and tells how soon each is answered and what it costs.
func (s *site) renew(count int) error {
	var walls, cpus []float64
	for i := range count {
		n := i * 7919 % s.lineages
		before, err := cpuTime(s.pid)
		if err != nil {
			return err
		}
		old := s.digests[n]
		begun, err := s.replaceOne(n)
		if err != nil {
			return err
		}
		for got := ""; !strings.Contains(got, s.digests[n]) || !strings.Contains(got, old); time.Sleep(20 * time.Millisecond) {
			if got, err = s.ask(n); err != nil {
				return err
			}
		}
		walls = append(walls, time.Since(begun).Seconds())
		time.Sleep(time.Second)
		after, err := cpuTime(s.pid)
		if err != nil {
			return err
		}
		cpus = append(cpus, float64((after - before).Milliseconds()))
	}
	_, wall, most := quartiles(walls)
	_, cpu, mostCPU := quartiles(cpus)
	fmt.Printf("one certificate renewed, %d times: both keys answered %.2f s after the rename (a quarter after more than %.2f s), %.0f ms of CPU (%.0f ms), the questions for it included\n",
		count, wall, most, cpu, mostCPU)
	return nil
}

// replace replaces many certificates at once while other owners are asked for.
func (s *site) replace(count int) error {
	count = min(count, s.lineages/2)
	quiet, _, err := s.probe(count, func() error { time.Sleep(10 * time.Second); return nil })
	if err != nil {
		return err
	}
	if err := s.prepareRenewals(count); err != nil {
		return err
	}
	before, err := cpuTime(s.pid)
	if err != nil {
		return err
	}
	var took, writing time.Duration
	busy, wrong, err := s.probe(count, func() error {
		took, writing, err = s.activateAll(count)
		return err
	})
	if err != nil {
		return err
	}
	after, err := cpuTime(s.pid)
	if err != nil {
		return err
	}
	fmt.Printf("%d certificates replaced at once (%.1f s of renames): all answered after %.1f s and %.1f s of CPU; "+
		"other owners, asked every 2 ms: median %.0f us, %.0f us before (%.2f), %d wrong\n",
		count, writing.Seconds(), took.Seconds(), (after - before).Seconds(), busy, quiet, busy/quiet, wrong)
	return nil
}

// activateAll puts the first certificates in use, and tells how long it took until all are answered, and to rename them.
func (s *site) activateAll(count int) (took, writing time.Duration, err error) {
	begun := time.Now()
	for n := range count {
		if err := s.activate(n); err != nil {
			return 0, 0, err
		}
	}
	writing = time.Since(begun)
	for n := range count {
		for {
			got, err := s.ask(n)
			if err != nil {
				return 0, 0, err
			}
			if strings.Contains(got, s.digests[n]) {
				break
			}
			time.Sleep(20 * time.Millisecond)
		}
	}
	return time.Since(begun), writing, nil
}

// probe asks for all owners but the first ones, one every 2 ms, until f ends; median is in microseconds.
func (s *site) probe(first int, f func() error) (median float64, wrong int, err error) {
	stop, done := make(chan struct{}), make(chan struct{})
	var took []float64
	go func() {
		defer close(done)
		for i := 0; ; i++ {
			select {
			case <-stop:
				return
			case <-time.After(2 * time.Millisecond):
			}
			n := s.lineages - 1 - i%(s.lineages-first)
			begun := time.Now()
			if got, err := s.ask(n); err != nil || !strings.Contains(got, s.digests[n]) {
				wrong++
			}
			took = append(took, float64(time.Since(begun).Microseconds()))
		}
	}()
	err = f()
	close(stop)
	<-done
	if len(took) > 0 {
		_, median, _ = quartiles(took)
	}
	return median, wrong, err
}

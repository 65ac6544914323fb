// Command bench measures whole servers side by side with dnsperf: coredns with tlsa, the same program with *file*, *whoami*
// and *template*, NSD, and Knot DNS signing online. All answer from the same two cores as the load, one after the other in
// every round, since single rounds vary by a third on shared machines; only medians and the ratios within a round count.
//
// It needs dnsperf, nsd, knot and bind9-utils (Debian packages). Usage, in the repository:
//
//	go run ./contrib/bench [-rounds 20] [-slice 1s] [-owners 100000] [-only REGEXP]
//	go run ./contrib/bench tree [-lineages 100000] [-bulk 10000] [-renewals 20] [-sweeps 8] [-dir DIR]
//	go run ./contrib/bench growth [-sizes 1000,10000,100000] [-svg FILE]
//
// The first prints a table of servers for each row and the ratios to ours. The second makes a certbot tree and measures the
// server on it: starts, heap, renewals one by one and many at once, ledger, sweeps. The third runs the Go benchmarks that have a
// size, prints how their costs grow with it, and draws that.
package main

import (
	"flag"
	"fmt"
	"os"
	"os/signal"
	"regexp"
	"time"
)

func main() {
	run := servers
	if len(os.Args) > 1 {
		if other := map[string]func() error{"growth": growth, "tree": tree}[os.Args[1]]; other != nil {
			os.Args = append(os.Args[:1], os.Args[2:]...)
			run = other
		}
	}
	if err := run(); err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

func (b *bench) closeWhenInterrupted() {
	interrupted := make(chan os.Signal, 1)
	signal.Notify(interrupted, os.Interrupt)
	go func() {
		<-interrupted
		b.close()
		os.Exit(1)
	}()
}

// servers measures every row.
func servers() error {
	var b bench
	flag.IntVar(&b.rounds, "rounds", 20, "how many times every server is measured")
	flag.DurationVar(&b.slice, "slice", time.Second, "how long at a time")
	flag.IntVar(&b.owners, "owners", 100_000, "how many owners there are")
	only := flag.String("only", "", "the rows to measure")
	flag.Parse()
	pattern, err := regexp.Compile(*only)
	if err != nil {
		return err
	}
	if b.dir, err = os.MkdirTemp("", "bench"); err != nil {
		return err
	}
	b.closeWhenInterrupted()
	defer b.close()
	if err := b.prepare(); err != nil {
		return err
	}
	for _, r := range b.rows() {
		if pattern.MatchString(r.title) {
			if err := b.measure(os.Stdout, r); err != nil {
				return fmt.Errorf("%s: %w", r.title, err)
			}
		}
	}
	return nil
}

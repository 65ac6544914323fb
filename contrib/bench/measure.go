package main

import (
	"fmt"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"text/tabwriter"

	"github.com/miekg/dns"
)

// measure asks the servers of a row in turn and prints what they did.
func (b *bench) measure(out io.Writer, r row) error {
	defer b.stop()
	questions := filepath.Join(b.dir, "questions")
	if err := os.WriteFile(questions, []byte(strings.Join(r.queries, "\n")+"\n"), 0o600); err != nil {
		return err
	}
	names := []string{r.ours}
	for _, o := range r.others {
		names = append(names, o.server)
	}
	ports, rates := map[string]string{}, map[string][]float64{}
	for _, name := range names {
		port, err := b.launch(name)
		if err != nil {
			return err
		}
		ports[name] = port
		if err := b.warm(name, port, r); err != nil {
			return err
		}
	}
	for round := range b.rounds {
		for i := range names {
			name := names[(i+round)%len(names)] // nobody is always the first
			rate, err := b.dnsperf(ports[name], questions, r.do, "-l", strconv.FormatFloat(b.slice.Seconds(), 'f', -1, 64))
			if err != nil {
				return fmt.Errorf("%s: %w", name, err)
			}
			rates[name] = append(rates[name], rate)
		}
	}
	r.print(out, names, rates)
	return nil
}

// warm checks that a server gives the right answers, and has it answer each question once before it is measured.
func (b *bench) warm(name, port string, r row) error {
	for _, q := range r.queries[:min(len(r.queries), 20)] {
		asked, kind, _ := strings.Cut(q, " ")
		m := new(dns.Msg)
		m.SetQuestion(asked, dns.StringToType[kind])
		if r.do {
			m.SetEdns0(1232, true)
		}
		reply, err := dns.Exchange(m, "127.0.0.1:"+port)
		if err != nil {
			return err
		}
		if reply.Truncated || name != "whoami" && !r.want.in(reply) {
			return fmt.Errorf("%s: %s is answered by\n%s", name, q, reply)
		}
	}
	_, err := b.dnsperf(port, filepath.Join(b.dir, "questions"), r.do, "-n", "1")
	return err
}

func (w want) in(m *dns.Msg) bool {
	return m.Rcode == w.rcode && len(m.Answer) >= w.answers && len(m.Ns) >= w.authority
}

var (
	rate = regexp.MustCompile(`Queries per second: +([0-9.]+)`)
	lost = regexp.MustCompile(`Queries lost: +([0-9]+)`)
)

// dnsperf gives the queries per second that a server answers.
func (b *bench) dnsperf(port, questions string, do bool, how ...string) (float64, error) {
	argv := append([]string{"dnsperf", "-s", "127.0.0.1", "-p", port, "-d", questions, "-c", "4", "-T", "1"}, how...)
	if do {
		argv = append(argv, "-D")
	}
	text, err := b.output(argv...)
	if err != nil {
		return 0, err
	}
	if m := lost.FindStringSubmatch(text); m == nil || m[1] != "0" {
		return 0, fmt.Errorf("queries were lost:\n%s", text)
	}
	m := rate.FindStringSubmatch(text)
	if m == nil {
		return 0, fmt.Errorf("dnsperf says\n%s", text)
	}
	return strconv.ParseFloat(m[1], 64)
}

// print tells the medians, and the ratios within a round with the middle half of them.
func (r row) print(out io.Writer, names []string, rates map[string][]float64) {
	fmt.Fprintf(out, "\n%s (%d rounds)\n", r.title, len(rates[r.ours]))
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	for _, name := range names {
		low, mid, high := quartiles(rates[name])
		fmt.Fprintf(w, "  %s\t%.0f/s\t(%.0f to %.0f)", name, mid, low, high)
		if name != r.ours {
			low, mid, high := quartiles(over(rates[r.ours], rates[name]))
			fmt.Fprintf(w, "\tours: %.2f of it\t(%.2f to %.2f)", mid, low, high)
			if target := r.others[slices.Index(names, name)-1].target; target > 0 {
				fmt.Fprintf(w, "\ttarget %.2f: %s", target, map[bool]string{true: "reached", false: "MISSED"}[mid >= target])
			}
		}
		fmt.Fprintln(w)
	}
	_ = w.Flush()
}

func over(a, b []float64) []float64 {
	out := make([]float64, len(a))
	for i := range a {
		out[i] = a[i] / b[i]
	}
	return out
}

// quartiles gives the median and the bounds of the middle half.
func quartiles(values []float64) (low, mid, high float64) {
	v := slices.Sorted(slices.Values(values))
	at := func(q int) float64 {
		n := q * (len(v) - 1)
		i := n / 4
		if i+1 == len(v) {
			return v[i]
		}
		return v[i] + float64(n%4)/4*(v[i+1]-v[i])
	}
	return at(1), at(2), at(3)
}

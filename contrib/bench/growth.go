package main

import (
	"bufio"
	"flag"
	"fmt"
	"math"
	"os"
	"os/exec"
	"regexp"
	"strconv"
	"strings"
	"text/tabwriter"
)

// A cost is one figure of a Go benchmark whose last part is a number of owners or lineages.
type cost struct {
	title     string
	pkg       string
	benchmark string
	unit      string // as the benchmark prints it
	times     string // how long or how often it runs, as -benchtime takes it
}

var costs = []cost{
	{"look-up of an owner", "zone", "Lookup", "ns/op", "1s"},
	{"a host of * comes and goes", "publish", "HostOfAPattern", "ns/op", "200x"},
	{"heap for each owner of *, ten on a certificate", "publish", "HeapOfPatterns", "heap-B/owner", "1x"},
	{"the same without what is known of their files", "publish", "HeapOfPatterns", "alone-B/owner", "1x"},
	{"heap for each owner of *, four on a certificate", "publish", "HeapOfPatterns", "lone-B/owner", "1x"},
	{"that without what is known of their files", "publish", "HeapOfPatterns", "lone-alone-B/owner", "1x"},
	{"heap for each further owner of a host", "publish", "HeapOfPatterns", "heap-B/further-owner", "1x"},
	{"a lineage is renewed, CPU to read it", "certdir", "RenewalAmongLineages", "cpu-us/renewal", "50x"},
	{"commit of one owner, p50", "ledger", "CommitOfOneOwner", "p50-µs", "300x"},
	{"commit of one owner, p99", "ledger", "CommitOfOneOwner", "p99-µs", "300x"},
	{"sweep of what has not changed, CPU", "certdir", "SweepOfUnchangedLineages", "light-cpu-s", "1x"},
	{"the same, every file", "certdir", "SweepOfUnchangedLineages", "whole-cpu-s", "1x"},
	{"start without a ledger", "publish", "Site", "cold-ms", "1x"},
	{"start with a ledger", "publish", "Site", "warm-ms", "1x"},
	{"gauges of all owners, set and taken back", "", "OwnersGauges", "ns/op", "1x"},
	{"heap for each lineage", "publish", "Site", "heap-B/lineage", "1x"},
	{"ledger for each lineage", "publish", "Site", "ledger-B/lineage", "1x"},
}

// growth prints how costs grow, and draws it.
func growth() error {
	sizes := flag.String("sizes", "1000,10000,100000,1000000", "numbers of owners or lineages; not every benchmark has all of them")
	drawing := flag.String("svg", "", "a file to draw the growth into")
	flag.Parse()
	wanted := strings.Split(*sizes, ",")
	found := map[string]map[string]map[string]float64{} // by benchmark, size and unit
	for _, c := range costs {
		if found[c.benchmark] == nil {
			f, err := c.run(wanted)
			if err != nil {
				return err
			}
			found[c.benchmark] = f
		}
	}
	w := tabwriter.NewWriter(os.Stdout, 0, 0, 1, ' ', 0)
	fmt.Fprintf(w, "| Cost\t| %s\t|\n|%s\n", strings.Join(wanted, "\t| "), strings.Repeat(" ---\t|", len(wanted)+1))
	for _, c := range costs {
		fmt.Fprintf(w, "| %s", c.title)
		for _, size := range wanted {
			fmt.Fprintf(w, "\t| %s", c.show(found[c.benchmark][size]))
		}
		fmt.Fprintf(w, "\t|\n")
	}
	if err := w.Flush(); err != nil || *drawing == "" {
		return err
	}
	return os.WriteFile(*drawing, []byte(draw(wanted, found)), 0o644)
}

// result is a line of a Go benchmark.
var result = regexp.MustCompile(`^Benchmark\w+/(\d+)-?\d*\s+\d+\s+(.*)$`)

// run gives the figures of a benchmark by size and unit.
func (c cost) run(sizes []string) (map[string]map[string]float64, error) {
	pattern := fmt.Sprintf("^Benchmark%s$/^(%s)$", c.benchmark, strings.Join(sizes, "|"))
	cmd := exec.Command("go", "test", "-run", "^$", "-bench", pattern, "-benchtime", c.times, "-timeout", "1h", "./plugin/tlsa/"+c.pkg)
	cmd.Stderr = os.Stderr
	text, err := cmd.Output()
	if err != nil {
		return nil, fmt.Errorf("%s: %w\n%s", cmd, err, text)
	}
	found := map[string]map[string]float64{}
	for lines := bufio.NewScanner(strings.NewReader(string(text))); lines.Scan(); {
		m := result.FindStringSubmatch(lines.Text())
		if m == nil {
			continue
		}
		found[m[1]] = map[string]float64{}
		for fields := strings.Fields(m[2]); len(fields) > 1; fields = fields[2:] {
			value, err := strconv.ParseFloat(fields[0], 64)
			if err != nil {
				return nil, fmt.Errorf("%s: %w", lines.Text(), err)
			}
			found[m[1]][fields[1]] = value
		}
	}
	if len(found) == 0 {
		return nil, fmt.Errorf("%s printed no figure:\n%s", cmd, text)
	}
	return found, nil
}

// show writes a figure in the unit in which it is small.
func (c cost) show(figures map[string]float64) string {
	v, ok := figures[c.unit]
	if !ok {
		return "-"
	}
	seconds := map[string]float64{"ns/op": 1e-9, "p50-µs": 1e-6, "cpu-us/renewal": 1e-6, "p99-µs": 1e-6, "light-cpu-s": 1, "whole-cpu-s": 1, "cold-ms": 1e-3, "warm-ms": 1e-3}[c.unit]
	if seconds == 0 {
		return fmt.Sprintf("%.0f B", v)
	}
	for _, u := range []struct {
		least float64
		name  string
	}{{1, "s"}, {1e-3, "ms"}, {1e-6, "µs"}} {
		if v*seconds >= u.least {
			return strconv.FormatFloat(v*seconds/u.least, 'g', 3, 64) + " " + u.name
		}
	}
	return fmt.Sprintf("%.0f ns", v*seconds*1e9)
}

const width, height, left, bottom = 900.0, 440.0, 60.0, 40.0

// draw makes a plot of every cost as a multiple of what it is at the smallest size that it was measured at, both axes by powers of ten: what is flat
// does not depend on the number, and what rises to the corner grows with it.
func draw(sizes []string, found map[string]map[string]map[string]float64) string {
	number := func(s string) float64 { v, _ := strconv.ParseFloat(s, 64); return v }
	first, last := number(sizes[0]), number(sizes[len(sizes)-1])
	decades := math.Log10(last / first)
	plot := width - left - 320
	x := func(size float64) float64 { return left + plot*math.Log10(size/first)/decades }
	y := func(ratio float64) float64 {
		return height - bottom - (height-2*bottom)*(math.Log10(max(ratio, 0.1))+1)/(decades+1)
	}
	var s strings.Builder
	fmt.Fprintf(&s, `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 %.0f %.0f" font-family="sans-serif" font-size="12">`+"\n", width, height)
	fmt.Fprintf(&s, "<title>Costs as multiples of those at %s owners</title>\n<rect width=\"100%%\" height=\"100%%\" fill=\"white\"/>\n", sizes[0])
	for _, size := range sizes {
		fmt.Fprintf(&s, `<path d="M%.1[1]f %.1[2]fV%.1[3]f" stroke="#ddd"/><text x="%.1[1]f" y="%.1[4]f" text-anchor="middle">%[5]s</text>`+"\n",
			x(number(size)), y(0.1), y(last/first), height-bottom+18, size)
	}
	for ratio := 0.1; ratio <= last/first*1.01; ratio *= 10 {
		fmt.Fprintf(&s, `<path d="M%.1f %.1fH%.1f" stroke="#ddd"/><text x="%.1f" y="%.1f" text-anchor="end">%gx</text>`+"\n",
			left, y(ratio), left+plot, left-6, y(ratio)+4, ratio)
	}
	for at, c := range costs {
		color := fmt.Sprintf("hsl(%d 70%% 40%%)", at*360/len(costs))
		var points []string
		base := 0.0 // at the smallest size that was measured
		for _, size := range sizes {
			v := found[c.benchmark][size][c.unit]
			if base == 0 {
				base = v
			}
			if v > 0 {
				points = append(points, fmt.Sprintf("%.1f,%.1f", x(number(size)), y(v/base)))
			}
		}
		fmt.Fprintf(&s, `<polyline points="%s" fill="none" stroke="%s" stroke-width="2"/>`+"\n", strings.Join(points, " "), color)
		fmt.Fprintf(&s, `<text x="%.1f" y="%.1f" fill="%s">%s</text>`+"\n", left+plot+20, bottom+10+20*float64(at), color, c.title)
	}
	s.WriteString("</svg>\n")
	return s.String()
}

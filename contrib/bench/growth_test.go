package main

import (
	"encoding/xml"
	"errors"
	"io"
	"strings"
	"testing"
)

func TestDrawingIsXML(t *testing.T) {
	figures := func(v float64) map[string]float64 { return map[string]float64{"ns/op": v} }
	text := draw([]string{"1000", "10000", "100000"}, map[string]map[string]map[string]float64{
		"Lookup":         {"1000": figures(70), "10000": figures(700)},
		"HostOfAPattern": {"10000": figures(50), "100000": figures(500)},
	})
	d := xml.NewDecoder(strings.NewReader(text))
	for {
		_, err := d.Token()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			t.Fatalf("%v\n%s", err, text)
		}
	}
	for _, points := range []string{"60.0,280.0 320.0,160.0", "320.0,280.0 580.0,160.0"} {
		if !strings.Contains(text, `points="`+points+`"`) || strings.Contains(text, "%!") {
			t.Errorf("ten times the cost at ten times the size does not lead from 1x to 10x by %s:\n%s", points, text)
		}
	}
}

func TestFigureOfABenchmarkIsRead(t *testing.T) {
	m := result.FindStringSubmatch("BenchmarkSite/10000-2   \t       1\t5900123456 ns/op\t      5900 cold-ms\t      7192 heap-B/lineage")
	if m == nil || m[1] != "10000" || !strings.HasPrefix(m[2], "5900123456 ns/op") {
		t.Errorf("%q", m)
	}
	for figure, want := range map[cost]string{
		{unit: "cold-ms"}: "5.9 s", {unit: "heap-B/lineage"}: "7192 B", {unit: "p50-µs"}: "-",
	} {
		if got := figure.show(map[string]float64{"cold-ms": 5900, "heap-B/lineage": 7192}); got != want {
			t.Errorf("%s: %s, want %s", figure.unit, got, want)
		}
	}
}

func TestQuartiles(t *testing.T) {
	if low, mid, high := quartiles([]float64{5, 1, 4, 2, 3}); low != 2 || mid != 3 || high != 4 {
		t.Error(low, mid, high)
	}
	if _, mid, _ := quartiles([]float64{1, 2}); mid != 1.5 {
		t.Error(mid)
	}
}

package tlsa

import (
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/coredns-tlsa/coredns-tlsa/plugin/tlsa/certdir"

	"github.com/miekg/dns"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil/promlint"
	dto "github.com/prometheus/client_model/go"
)

// demo is where the documentation's certificates, key and zone are.
const demo = "../../testdata/demo"

func text(t *testing.T, path string) string {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

var fence = regexp.MustCompile("(?ms)^(```|~~~) *([a-z]*)$\n(.*?)^(```|~~~)$")

// corefilesIn gives the Corefiles of a page: fences that say so, and those without a word that hold a server block.
func corefilesIn(page string) []string {
	var found []string
	for _, m := range fence.FindAllStringSubmatch(page, -1) {
		server := regexp.MustCompile(`(?m)\A[a-z_.:0-9]+ \{$`).MatchString(m[3]) && strings.Contains(m[3], "\n    tlsa {")
		if m[2] == "corefile" || m[2] == "" && server {
			found = append(found, m[3])
		}
	}
	return found
}

// prepared is a directory as the examples expect it. Absolute paths of an example lead there too.
func prepared(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "tlsa") //nolint:usetesting // a test's own directory has too long a path for a socket
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	for _, below := range []string{".", "testdata/demo", "etc/coredns", "var/lib/coredns"} {
		if err := os.CopyFS(filepath.Join(dir, below), os.DirFS(demo)); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.CopyFS(filepath.Join(dir, "var/lib/dane-certs"), os.DirFS(demo+"/certs")); err != nil {
		t.Fatal(err)
	}
	return dir
}

// movable makes an example run in any directory, on any port.
func movable(corefile, dir string) string {
	first, rest, _ := strings.Cut(corefile, " {\n")
	lines := strings.Split(first, "\n")
	zone, _, _ := strings.Cut(lines[len(lines)-1], ":")
	rest = regexp.MustCompile(`(?m)^\s*bind .*$`).ReplaceAllString(rest, "")
	rest = regexp.MustCompile(`(\s)(/etc/|/var/)`).ReplaceAllString(rest, "${1}"+dir+"${2}")
	rest = regexp.MustCompile(`(?m)^(\s*status\s+):\d+$`).ReplaceAllString(rest, "${1}:0")
	rest = strings.ReplaceAll(rest, "Kexample.org.+013+12345", "Kexample.org.+013+06643")
	return fmt.Sprintf("%s:0 {\nbind 127.0.0.1\nroot %s\n%s", zone, dir, rest)
}

func TestEveryCorefileOfTheDocumentationServes(t *testing.T) {
	pages := map[string][]string{
		"plugin/tlsa/README.md":  corefilesIn(text(t, "README.md")),
		"../../README.md":        corefilesIn(text(t, "../../README.md")),
		"../../Corefile.example": {text(t, "../../Corefile.example")},
	}
	keys, err := os.Open(demo + "/Kexample.org.+013+06643.key")
	if err != nil {
		t.Fatal(err)
	}
	defer keys.Close()
	signer, err := dns.ReadRR(keys, keys.Name())
	if err != nil {
		t.Fatal(err)
	}
	for _, page := range slices.Sorted(maps.Keys(pages)) {
		if len(pages[page]) == 0 {
			t.Errorf("%s has no Corefile", page)
		}
		for i, corefile := range pages[page] {
			t.Run(fmt.Sprintf("%s %d", strings.TrimLeft(page, "./"), i), func(t *testing.T) {
				s := &site{T: t, zone: "example.org.", signer: signer.(*dns.DNSKEY), dir: prepared(t)}
				t.Cleanup(s.stop)
				s.text = movable(corefile, s.dir)
				if zone, _, _ := strings.Cut(corefile, ":"); strings.Contains(corefile, "file K"+zone+".+") && zone != "example.org" {
					s.zone = zone + "."
					s.signer = s.newSigner(regexp.MustCompile(`key file (\S+)`).FindStringSubmatch(corefile)[1])
				}
				s.start()
				answered := false
				for _, owner := range regexp.MustCompile(`(?m)^\s*name\s+(\S+)`).FindAllStringSubmatch(corefile, -1) {
					name := strings.Replace(owner[1], "*", "mail", 1) // which the demo's certificate names
					if !strings.HasSuffix(name, ".") {
						name += "." + s.zone
					}
					r := s.ask(name, dns.TypeTLSA, true)
					if !strings.Contains(corefile, "dnssec {") {
						answered = answered || len(r.Answer) > 0
						continue
					}
					if err := validated(r, s.signer); err != nil {
						t.Errorf("%s: %v", name, err)
					}
					answered = answered || len(r.Answer) > 1
				}
				if strings.Contains(corefile, "dnssec {") {
					if n := s.nsecOf("mail."+s.zone, dns.TypeDS); slices.Contains(n.TypeBitMap, dns.TypeNS) {
						t.Error("its denials are not guarded")
					}
				}
				if !answered && strings.Contains(corefile, "name ") {
					t.Error("no name of the example has a record")
				}
			})
		}
	}
}

// TestReadmeListsTheMetrics compares the README's section with what a server exports, and lints that.
func TestReadmeListsTheMetrics(t *testing.T) {
	t.Parallel()
	s := newSite(t, "metrics.test.")
	s.options += "name _443._tcp.*\n"
	s.write(place, s.chain(newKey(t)))
	s.write("certs/other/fullchain.pem", "")
	s.start()
	until(t, notice, "a problem", func() bool { return s.problem(certdir.Empty) == 1 })
	until(t, rescan, "a host", func() bool { return gauges(t, "coredns_tlsa_hosts", s.zone, "view")[""] == 1 })
	families, err := prometheus.DefaultGatherer.Gather()
	s.must(err)
	families = slices.DeleteFunc(families, func(f *dto.MetricFamily) bool { return !strings.HasPrefix(f.GetName(), "coredns_tlsa_") })
	faults, err := promlint.NewWithMetricFamilies(families).Lint()
	if err != nil || len(faults) > 0 {
		t.Errorf("lint: %v %v", faults, err)
	}
	exported := map[string]string{}
	for _, f := range families {
		var labels []string
		for _, l := range f.GetMetric()[0].GetLabel() {
			labels = append(labels, l.GetName())
		}
		exported[f.GetName()] = strings.Join(slices.Sorted(slices.Values(labels)), " ")
	}
	_, section, _ := strings.Cut(text(t, "README.md"), "\n## Metrics\n")
	section, _, _ = strings.Cut(section, "\n## ")
	listed := map[string]string{}
	for _, m := range regexp.MustCompile("(?m)^\\* `([a-z_]+)\\{([a-z, ]*)\\}`").FindAllStringSubmatch(section, -1) {
		listed[m[1]] = strings.Join(slices.Sorted(slices.Values(strings.Split(m[2], ", "))), " ")
	}
	if !maps.Equal(exported, listed) {
		t.Errorf("exported are %q, README.md has %q", exported, listed)
	}
}

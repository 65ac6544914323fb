package main

import (
	"bytes"
	"cmp"
	"encoding/json"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/spf13/pflag"

	"github.com/coredns-tlsa/coredns-tlsa/cmd/tlsactl/internal/doctor"
)

// guarded writes a Corefile in which nothing is wrong.
func guarded(t *testing.T, dir string) {
	t.Helper()
	text := "example.org {\n root " + dir + "\n dnssec {\n key file Kexample.org.+013+06643\n }\n tlsa\n file db.example.org\n}\n"
	if err := os.CopyFS(dir, os.DirFS("../../testdata/demo")); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "Corefile"), []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
}

func TestExamplesOfDoctorRun(t *testing.T) {
	dir := t.TempDir()
	guarded(t, dir)
	n := 0
	for example := range strings.Lines(doctorExample) {
		n++
		example = strings.NewReplacer("/etc/coredns", dir, "--corefile Corefile", "--corefile "+dir+"/Corefile",
			"/etc/letsencrypt", dir, "--user coredns", "--user "+strconv.Itoa(os.Getuid())).Replace(example)
		code, out, talk := tlsactl(t, nil, words(example)[1:]...)
		if code != exitDone {
			t.Errorf("%sexit %d\n%s%s", example, code, out, talk)
		}
	}
	if n < 3 {
		t.Errorf("%d examples", n)
	}
}

func TestJSONOfDoctorHasEveryMemberAndNoNull(t *testing.T) {
	dir := t.TempDir()
	guarded(t, dir)
	code, out, _ := tlsactl(t, nil, "doctor", "--corefile", filepath.Join(dir, "Corefile"), "-o", "json")
	var doc map[string]any
	if err := json.Unmarshal([]byte(out), &doc); err != nil || code != exitDone {
		t.Fatalf("exit %d, %v\n%s", code, err, out)
	}
	for _, member := range []string{"version", "corefile", "at", "servers", "names", "certificates", "findings"} {
		if doc[member] == nil {
			t.Errorf("no %s in\n%s", member, out)
		}
	}
	server := doc["servers"].([]any)[0].(map[string]any)
	if got := server["plugins"].([]any); !slices.Equal(got, []any{"root", "dnssec", "tlsa", "file"}) {
		t.Errorf("plugins %v, not in the order of the server", got)
	}
}

// Names of files and of certificates are strangers' text.
func TestTextOfDoctorFoolsNoTerminal(t *testing.T) {
	r := &doctor.Report{Findings: []doctor.Finding{{Code: "c", Severity: doctor.Error, Place: "a\x1b[2Jb", What: "x\ny", Fix: "\u202e"}}}
	var out bytes.Buffer
	if err := writeDoctorText(&out, r); err != nil {
		t.Fatal(err)
	}
	if strings.ContainsAny(out.String(), "\x1b\u202e") || strings.Count(out.String(), "\n") != 4 {
		t.Errorf("%q", out.String())
	}
}

type brokenPipe struct{ io.Writer }

func (brokenPipe) Write([]byte) (int, error) { return 0, io.ErrClosedPipe }

func TestReportThatCannotBePrintedFails(t *testing.T) {
	dir := t.TempDir()
	guarded(t, dir)
	for _, output := range []string{"text", "json"} {
		a := newTestApp(nil, brokenPipe{}, io.Discard, nil)
		if code := a.run(t.Context(), []string{"doctor", "--corefile", filepath.Join(dir, "Corefile"), "-o", output}); code != exitUnsafe {
			t.Errorf("%s: exit %d", output, code)
		}
	}
}

// What doctor tells an operator to write is a command that works: every flag is one of the hook, and none is missing.
func TestDoctorNamesHooksThatAreThere(t *testing.T) {
	source := readText(t, "internal/doctor/client.go")
	command := regexp.MustCompile(`"tlsactl hook " \+ name \+ "( [^"]+)"`).FindStringSubmatch(source)
	names := regexp.MustCompile(`hook\("([^"]+)"\)`).FindAllStringSubmatch(source, -1)
	if command == nil || len(names) != len(hookClients) {
		t.Fatalf("doctor names %d hooks, as %q; there are %d", len(names), command, len(hookClients))
	}
	for _, name := range names {
		v := newTestApp(nil, nil, nil, nil).newHook(clientNamed(name[1]))
		flags := pflag.NewFlagSet("", pflag.ContinueOnError)
		v.register(flags)
		if err := cmp.Or(flags.Parse(strings.Fields(command[1])), v.check()); err != nil || v.client == nil {
			t.Errorf("%s: %v", name[1], err)
		}
	}
}

package main

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// TestReadmeDemonstrationShowsWhatItPrints runs the README's first minutes in a copy of the demonstration: the example
// Corefile on another port, and the shell line that stages a renewal.
func TestReadmeDemonstrationShowsWhatItPrints(t *testing.T) {
	t.Parallel()
	readme := read(t, "../../README.md")
	dir := t.TempDir()
	if err := os.CopyFS(filepath.Join(dir, "testdata", "demo"), os.DirFS("../../testdata/demo")); err != nil {
		t.Fatal(err)
	}
	for _, written := range []string{"next/*.pem", "run/*.ledger*"} { // by someone who has tried it here
		names, err := filepath.Glob(filepath.Join(dir, "testdata", "demo", written))
		if err != nil {
			t.Fatal(err)
		}
		for _, name := range names {
			if err := os.Remove(name); err != nil {
				t.Fatal(err)
			}
		}
	}
	corefile := read(t, "../../Corefile.example")
	if strings.Count(corefile, ":1053") != 1 {
		t.Fatal("the example has another port than the README's dig")
	}
	s := newServer(t, dir, strings.Replace(corefile, ":1053", ":PORT", 1))
	s.start()
	printed := regexp.MustCompile(`(?m)^3 1 1 ([0-9A-F]{64})$`).FindAllStringSubmatch(readme, -1)
	if len(printed) != 3 {
		t.Fatalf("the README prints %d digests, want one and then two", len(printed))
	}
	var digests []string
	for _, m := range printed {
		digests = append(digests, strings.ToLower(m[1]))
	}
	if got := s.first(owner); !slices.Equal(got, digests[:1]) {
		t.Fatalf("the first answer is %q, the README says %q", got, digests[:1])
	}
	line := regexp.MustCompile(`(?m)^cp [^;\n]+`).FindString(readme)
	cmd := exec.Command("sh", "-c", line)
	cmd.Dir = dir
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%s: %v\n%s", line, err, out)
	}
	want := slices.Sorted(slices.Values(digests[1:]))
	poll(t, "both digests", func() (bool, string) {
		got, err := s.ask(owner)
		return slices.Equal(got, want), fmt.Sprint(got, err)
	})
}

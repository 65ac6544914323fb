// Command seeded plants the bugs of bugs.txt, one at a time, and runs the tests that must catch each.
//
// Nothing is written to the tree: go test reads the changed file by its -overlay flag. The program fails where a bug is not
// caught, does not build, or no longer applies, and where the tests fail without a bug.
//
// Usage: go run ./contrib/seeded [--all] [WORD]
//
// With --all each bug meets all tests of its package, not only those that are named. With a WORD only bugs whose description
// or file has it are planted.
package main

import (
	"bytes"
	_ "embed"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"time"
)

//go:embed bugs.txt
var text string

// A bug is one stanza of bugs.txt.
type bug struct {
	words    string // what is wrong
	file     string // relative to the repository
	old, new string // old stands in file exactly once
	in       string // the package whose tests catch it
	tests    string // a regular expression for those that do
}

func main() {
	all := flag.Bool("all", false, "run all tests of the package")
	flag.Parse()
	if err := run(*all, flag.Arg(0)); err != nil {
		fmt.Fprintln(os.Stderr, "FAIL:", err)
		os.Exit(1)
	}
}

func run(all bool, word string) error {
	start := time.Now()
	bugs, err := read(text)
	if err != nil {
		return err
	}
	bugs = slices.DeleteFunc(bugs, func(b bug) bool { return !strings.Contains(b.words+b.file, word) })
	if all {
		for i := range bugs {
			bugs[i].tests = "."
		}
	}
	if err := sound(bugs); err != nil {
		return err
	}
	errs := inPairs(bugs, func(b bug) error {
		by, err := b.plant()
		if err != nil {
			return fmt.Errorf("%s (%s): %w", b.words, b.file, err)
		}
		fmt.Printf("caught by %-70s %s\n", by, b.words)
		return nil
	})
	fmt.Printf("%d bugs in %s\n", len(bugs), time.Since(start).Round(time.Second))
	return errs
}

// read takes bugs.txt apart.
func read(text string) ([]bug, error) {
	var bugs []bug
	for stanza := range strings.SplitSeq(text, "\n\n") {
		var b bug
		fields := map[string]*string{"bug": &b.words, "file": &b.file, "old": &b.old, "new": &b.new, "in": &b.in, "tests": &b.tests}
		for line := range strings.SplitSeq(strings.Trim(stanza, "\n"), "\n") {
			if line == "" || strings.HasPrefix(line, "#") {
				continue
			}
			name, value, _ := strings.Cut(line, ":")
			if fields[name] == nil {
				return nil, fmt.Errorf("bugs.txt: %q is no field", name)
			}
			*fields[name] = strings.ReplaceAll(strings.TrimPrefix(value, " "), `\n`, "\n")
		}
		if b == (bug{}) {
			continue
		}
		if b.words == "" || b.file == "" || b.old == "" || b.old == b.new || b.tests == "" {
			return nil, fmt.Errorf("bugs.txt: a stanza lacks something: %+v", b)
		}
		if b.in == "" {
			b.in = filepath.Dir(b.file)
		}
		bugs = append(bugs, b)
	}
	return bugs, nil
}

// sound runs the tests of the bugs without any bug.
func sound(bugs []bug) error {
	tests := map[string][]string{}
	for _, b := range bugs {
		tests[b.in] = append(tests[b.in], b.tests)
	}
	var clean []bug
	for in, names := range tests {
		clean = append(clean, bug{in: in, tests: strings.Join(names, "|")})
	}
	return inPairs(clean, func(b bug) error {
		if out, err := b.test(); err != nil {
			return fmt.Errorf("%s: its tests fail without a bug: %w\n%s", b.in, err, out)
		}
		return nil
	})
}

// inPairs does two at a time: more is no faster, because go test builds with all processors.
func inPairs(bugs []bug, do func(bug) error) error {
	var wg sync.WaitGroup
	errs := make([]error, len(bugs))
	slots := make(chan struct{}, 2)
	for i, b := range bugs {
		slots <- struct{}{}
		wg.Go(func() {
			errs[i] = do(b)
			<-slots
		})
	}
	wg.Wait()
	return errors.Join(errs...)
}

var (
	errApply  = errors.New("NO LONGER APPLIES")
	errBuild  = errors.New("DOES NOT BUILD, so it is no bug")
	errCaught = errors.New("NOT CAUGHT")

	failed = regexp.MustCompile(`(?m)^--- FAIL: (\S+)`)
	panics = regexp.MustCompile(`(?m)^(?:panic|fatal error): .*`)
)

// plant runs the tests with the bug and tells which one caught it.
//
// Errors: errApply, errBuild, errCaught.
func (b bug) plant() (by string, err error) {
	source, err := os.ReadFile(b.file)
	if err != nil {
		return "", fmt.Errorf("%w: %w", errApply, err)
	}
	if n := bytes.Count(source, []byte(b.old)); n != 1 {
		return "", fmt.Errorf("%w: %q stands %d times in the file, mend bugs.txt", errApply, b.old, n)
	}
	dir, err := os.MkdirTemp("", "seeded")
	if err != nil {
		return "", err
	}
	defer os.RemoveAll(dir)
	file, err := filepath.Abs(b.file)
	if err != nil {
		return "", err
	}
	planted, overlay := filepath.Join(dir, filepath.Base(file)), filepath.Join(dir, "overlay.json")
	replace, err := json.Marshal(map[string]map[string]string{"Replace": {file: planted}})
	err = errors.Join(err,
		os.WriteFile(planted, bytes.Replace(source, []byte(b.old), []byte(b.new), 1), 0o600),
		os.WriteFile(overlay, replace, 0o600))
	if err != nil {
		return "", err
	}
	out, err := b.test("-overlay=" + overlay)
	switch {
	case err == nil:
		return "", errCaught
	case bytes.Contains(out, []byte("[build failed]")), bytes.Contains(out, []byte("[setup failed]")):
		return "", fmt.Errorf("%w:\n%s", errBuild, out)
	}
	if m := failed.FindSubmatch(out); m != nil {
		return string(m[1]), nil
	}
	if m := panics.Find(out); m != nil {
		return string(m), nil
	}
	return "", fmt.Errorf("%w: go test fails otherwise: %w\n%s", errCaught, err, out)
}

func (b bug) test(flags ...string) ([]byte, error) {
	args := append([]string{"test", "-count=1", "-failfast", "-vet=off", "-timeout=5m", "-run=" + b.tests}, flags...)
	return exec.Command("go", append(args, "./"+b.in)...).CombinedOutput()
}

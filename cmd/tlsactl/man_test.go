package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/spf13/pflag"
)

func TestEveryVerbHasItsManualPage(t *testing.T) {
	dir := t.TempDir()
	if code, stdout, stderr := tlsactl(t, nil, "man", dir); code != 0 || stdout != "" {
		t.Fatalf("exit %d: %s%s", code, stdout, stderr)
	}
	root := newTestApp(nil, nil, nil, nil).command()
	pages := root.Commands()
	for _, cmd := range root.Commands() {
		pages = append(pages, cmd.Commands()...)
	}
	for _, cmd := range pages {
		data, err := os.ReadFile(filepath.Join(dir, manName(cmd)+".1"))
		page := string(must(t, data, err))
		for _, want := range []string{".SH NAME", ".SH SYNOPSIS", ".SH DESCRIPTION", ".SH OPTIONS", ".SH EXAMPLES", ".SH SEE ALSO", "tlsactl(1)"} {
			if !strings.Contains(page, want) && !strings.Contains(page, want[:3]+` "`+want[4:]+`"`) {
				t.Errorf("%s: no %s", cmd.Name(), want)
			}
		}
		cmd.Flags().VisitAll(func(f *pflag.Flag) {
			if !strings.Contains(page, `\fB`+escape("--"+f.Name)+`\fR`) {
				t.Errorf("%s: nothing about --%s", cmd.Name(), f.Name)
			}
		})
	}
	data, err := os.ReadFile(filepath.Join(dir, "tlsactl.1"))
	if page := string(must(t, data, err)); !strings.Contains(page, `.B "wait"`) || strings.Contains(page, "completion") {
		t.Errorf("the page of the program:\n%s", page)
	}
}

func TestTextIsNoRequestOfRoff(t *testing.T) {
	r := &roff{}
	r.text(".so /etc/passwd\n'quoted\nC:\\x --flag\n  .indented")
	r.macro("B", `a "b" -c`)
	want := "\\&.so /etc/passwd\n\\&'quoted\nC:\\ex \\-\\-flag\n\\&.indented\n.B \"a \\(dqb\\(dq \\-c\"\n"
	if r.String() != want {
		t.Errorf("got %q, want %q", r.String(), want)
	}
}

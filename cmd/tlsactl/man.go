package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/coredns-tlsa/coredns-tlsa/cmd/tlsactl/internal/starttls"
	"github.com/coredns-tlsa/coredns-tlsa/plugin/tlsa/control"
)

const manHelp = `man writes a manual page for tlsactl and for each verb into the directory DIR, from the same text as
--help. The pages have today's date, or that of $SOURCE_DATE_EPOCH in seconds since 1970.`

func (a *app) manCommand() *cobra.Command {
	return &cobra.Command{
		Use:     "man DIR",
		Short:   "Write the manual pages",
		Long:    manHelp + "\n\n" + exitHelp,
		Example: "  tlsactl man . && man -l tlsactl-wait.1",
		Args:    exactly(1, "one DIR"),
		RunE:    func(cmd *cobra.Command, args []string) error { return a.man(cmd.Root(), args[0]) },
	}
}

func (a *app) man(root *cobra.Command, dir string) error {
	date := a.now().UTC()
	if text := a.getenv("SOURCE_DATE_EPOCH"); text != "" {
		seconds, err := strconv.ParseInt(text, 10, 64)
		if err != nil {
			return fail(exitUsage, "SOURCE_DATE_EPOCH %q: want seconds since 1970", text)
		}
		date = time.Unix(seconds, 0).UTC()
	}
	pages := []*cobra.Command{root}
	for _, cmd := range root.Commands() {
		if cmd.IsAvailableCommand() && cmd.Name() != "completion" { // that one is cobra's, and explains itself
			pages = append(append(pages, cmd), cmd.Commands()...)
		}
	}
	for _, cmd := range pages {
		if err := os.WriteFile(filepath.Join(dir, manName(cmd)+".1"), manPage(cmd, pages, date), 0o644); err != nil {
			return fail(exitUsage, "%w: name a directory that is there, for you to write", err)
		}
	}
	return nil
}

func manName(cmd *cobra.Command) string { return strings.ReplaceAll(cmd.CommandPath(), " ", "-") }

// roff is a manual page in the language of man(7).
type roff struct{ strings.Builder }

// macro writes a request; arguments are quoted.
func (r *roff) macro(name string, args ...string) {
	r.WriteString("." + name)
	for _, arg := range args {
		r.WriteString(` "` + strings.ReplaceAll(escape(arg), `"`, `\(dq`) + `"`)
	}
	r.WriteByte('\n')
}

// text writes lines, none of which is taken for a request.
func (r *roff) text(text string) {
	for line := range strings.Lines(strings.TrimSpace(text)) {
		line = strings.TrimSpace(line)
		if strings.HasPrefix(line, ".") || strings.HasPrefix(line, "'") {
			r.WriteString(`\&`)
		}
		r.WriteString(escape(line) + "\n")
	}
}

// escape keeps backslashes, and makes every hyphen one that can be copied into a shell.
func escape(text string) string {
	return strings.NewReplacer(`\`, `\e`, "-", `\-`).Replace(text)
}

// manPage writes the page of a command; all are those that have one.
func manPage(cmd *cobra.Command, all []*cobra.Command, date time.Time) []byte {
	r := &roff{}
	fmt.Fprintf(r, ".TH %s 1 %s \"tlsactl %s\"\n", strings.ToUpper(manName(cmd)), date.Format(time.DateOnly), control.Software())
	r.macro("SH", "NAME")
	r.text(manName(cmd) + " - " + cmd.Short)
	r.macro("SH", "SYNOPSIS")
	r.macro("B", cmd.CommandPath())
	r.text(strings.TrimPrefix(cmd.UseLine(), cmd.CommandPath()))
	r.macro("SH", "DESCRIPTION")
	for i, paragraph := range strings.Split(cmd.Long, "\n\n") {
		if i > 0 {
			r.macro("PP")
		}
		r.text(paragraph)
	}
	if cmd.HasSubCommands() {
		r.verbs(cmd, all)
	}
	if cmd.HasParent() {
		r.options(cmd.NonInheritedFlags())
	}
	if cmd.Example != "" {
		r.macro("SH", "EXAMPLES")
		r.macro("nf")
		r.text(cmd.Example)
		r.macro("fi")
	}
	r.macro("SH", "SEE ALSO")
	var others []string
	for _, other := range all {
		if other != cmd {
			others = append(others, manName(other)+"(1)")
		}
	}
	r.text(strings.Join(others, ", "))
	return []byte(r.String())
}

func (r *roff) verbs(root *cobra.Command, all []*cobra.Command) {
	r.macro("SH", "COMMANDS")
	for _, cmd := range all {
		if cmd.Parent() == root {
			r.macro("TP")
			r.macro("B", cmd.Name())
			r.text(cmd.Short)
		}
	}
}

func (r *roff) options(flags *pflag.FlagSet) {
	r.macro("SH", "OPTIONS")
	flags.VisitAll(func(f *pflag.Flag) {
		value, usage := pflag.UnquoteUsage(f)
		r.macro("TP")
		line := `\fB` + escape("--"+f.Name) + `\fR`
		if f.Shorthand != "" {
			line = `\fB` + escape("-"+f.Shorthand) + `\fR, ` + line
		}
		if value != "" {
			line += ` \fI` + escape(value) + `\fR`
		}
		r.WriteString(line + "\n")
		switch f.DefValue {
		case "", "false", "[]", "0", "0s":
		default:
			usage += fmt.Sprintf(" (default %s)", f.DefValue)
		}
		r.text(usage)
	})
}

// suggest makes shells complete the words of flags that have few.
func suggest(cmd *cobra.Command) {
	cmd.Flags().VisitAll(func(f *pflag.Flag) {
		var words []string
		if c, ok := f.Value.(*choice); ok {
			words = c.allowed
		}
		if f.Name == "starttls" {
			words = starttls.Names()
		}
		if words != nil {
			_ = cmd.RegisterFlagCompletionFunc(f.Name, cobra.FixedCompletions(words, cobra.ShellCompDirectiveNoFileComp)) // once each
		}
	})
}

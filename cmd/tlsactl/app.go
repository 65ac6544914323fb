package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
	"golang.org/x/term"

	"github.com/coredns-tlsa/coredns-tlsa/cmd/tlsactl/internal/probe"
)

// An app is what the verbs see of the world.
type app struct {
	stdin          io.Reader
	stdout, stderr io.Writer
	getenv         func(string) string
	now            func() time.Time
	dns            exchanger
	resolvers      func() ([]string, error)                                          // of the system, with their ports
	dial           func(ctx context.Context, network, addr string) (net.Conn, error) // for --from and check
	// dialAdvice opens the control socket of a DNS server.
	dialAdvice func(path string) (advice, error)
	sinceBoot  func() (boot string, up time.Duration) // a clock that nobody sets; empty: there is none
	terminal   func() bool                            // a person can be asked
	// atStep is called before each step of an installation; tests stop there.
	atStep func(step string)
	// exchange makes two directories change places in one step.
	exchange func(a, b string) error
	proc     string // Linux's directory of processes
}

// run is the whole program: it gives the exit code.
func run(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	a := &app{
		stdin: os.Stdin, stdout: stdout, stderr: stderr, getenv: os.Getenv, now: time.Now,
		dns: network{}, resolvers: systemResolvers, dial: new(net.Dialer).DialContext, atStep: func(string) {},
		sinceBoot: sinceBoot, dialAdvice: dialAdvice, terminal: isTerminal, exchange: exchange, proc: "/proc",
	}
	return a.run(ctx, args)
}

func systemResolvers() ([]string, error) { return probe.SystemResolvers("/etc/resolv.conf") }

func (a *app) run(ctx context.Context, args []string) int {
	root := a.command()
	root.SetArgs(args)
	root.SetIn(a.stdin)
	root.SetOut(a.stdout)
	root.SetErr(a.stderr)
	root.InitDefaultCompletionCmd()
	if cmd, _, err := root.Find([]string{"completion"}); err == nil {
		refuseOtherShells(cmd)
	}
	verb, err := root.ExecuteContextC(ctx)
	if err == nil {
		return exitDone
	}
	code := exitCode(err)
	a.talk("%s: %v", verb.CommandPath(), err)
	if code == exitUsage {
		fmt.Fprintf(a.stderr, "Run '%s --help' for flags and examples.\n", verb.CommandPath())
	}
	return code
}

func (a *app) command() *cobra.Command {
	root := &cobra.Command{
		Use:   "tlsactl",
		Short: "TLSA records: print them, wait for them, install certificates by them",
		Long: "tlsactl prints TLSA records, installs certificates only when every cache has them, checks live services,\n" +
			"and speaks to the DNS server over its control socket.\n\n" + exitHelp,
		SilenceErrors: true,
		SilenceUsage:  true,
		Args:          cobra.ArbitraryArgs,
		RunE: func(cmd *cobra.Command, args []string) error {
			if len(args) == 0 {
				return cmd.Help()
			}
			hint := ""
			if near := cmd.SuggestionsFor(args[0]); len(near) > 0 {
				hint = ": did you mean " + strings.Join(near, " or ") + "?"
			}
			return fail(exitUsage, "unknown command %q%s", args[0], hint)
		},
		SuggestionsMinimumDistance: 2,
	}
	root.AddCommand(
		a.recordsCommand(), a.pubkeyCommand(), a.waitCommand(), a.installCommand(), a.hookCommand(), a.checkCommand(), a.statusCommand(),
		a.doctorCommand(),
	)
	root.AddCommand(a.actCommands()...)
	root.AddCommand(a.manCommand())
	for _, cmd := range root.Commands() {
		suggest(cmd)
		for _, sub := range cmd.Commands() {
			suggest(sub)
		}
	}
	root.SetFlagErrorFunc(flagError)
	return root
}

// refuseOtherShells makes an unknown shell an error, where cobra would print its help in place of the script.
func refuseOtherShells(cmd *cobra.Command) {
	cmd.Args = cobra.ArbitraryArgs
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		if len(args) == 0 {
			return cmd.Help()
		}
		return fail(exitUsage, "there is no completion for %q here: want bash, fish, powershell or zsh", args[0])
	}
}

// exactly is cobra.ExactArgs with our exit code.
func exactly(n int, names string) cobra.PositionalArgs {
	return func(_ *cobra.Command, args []string) error {
		if len(args) != n {
			return fail(exitUsage, "want %s, got %d arguments", names, len(args))
		}
		return nil
	}
}

// flagError adds the flag that may have been meant.
func flagError(cmd *cobra.Command, err error) error {
	if unknown, ok := errors.AsType[*pflag.NotExistError](err); ok {
		best, least := "", 3
		cmd.Flags().VisitAll(func(f *pflag.Flag) {
			if d := distance(unknown.GetSpecifiedName(), f.Name); d < least {
				best, least = f.Name, d
			}
		})
		if best != "" {
			return fail(exitUsage, "%w: did you mean --%s?", err, best)
		}
	}
	return fail(exitUsage, "%w", err)
}

// distance is the number of letters to add, drop or change to turn a into b (Levenshtein).
func distance(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			cost := diagonal
			if a[i] != b[j] {
				cost = 1 + min(diagonal, row[j], row[j+1])
			}
			diagonal, row[j+1] = row[j+1], cost
		}
	}
	return row[len(b)]
}

// talk prints one line for the person who watches; several errors have a line each.
func (a *app) talk(format string, args ...any) {
	for line := range strings.SplitSeq(fmt.Sprintf(format, args...), "\n") {
		fmt.Fprintln(a.stderr, harmless(line))
	}
}

// isTerminal tells that a person can be asked.
func isTerminal() bool {
	return term.IsTerminal(int(os.Stdin.Fd())) && term.IsTerminal(int(os.Stderr.Fd()))
}

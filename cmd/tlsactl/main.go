// Command tlsactl is the operator's tool for DANE: it checks what clients see of a live service (RFC 7671, RFC 7672).
//
// Data goes to stdout, talk to stderr.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"

	"github.com/spf13/cobra"
)

// The exit codes, the same for every verb.
const (
	exitDone        = 0 // done, safe, or a match
	exitUnsafe      = 1 // a mismatch, unsafe, or a step that failed
	exitUsage       = 2 // a flag, an argument, or a file it names cannot be used
	exitNotSecure   = 4 // the answer is not signed
	exitUnreachable = 5 // a server cannot be asked
)

// A failure is an error with its exit code.
type failure struct {
	code int
	err  error
}

func (f *failure) Error() string { return f.err.Error() }
func (f *failure) Unwrap() error { return f.err }

// fail makes a failure; format is that of fmt.Errorf.
func fail(code int, format string, args ...any) error {
	return &failure{code, fmt.Errorf(format, args...)}
}

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	code := run(ctx, os.Args[1:], os.Stdout, os.Stderr)
	stop()
	os.Exit(code)
}

// run is the whole program: it gives the exit code.
func run(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	root := &cobra.Command{Use: "tlsactl", Short: "Check what DANE clients see", SilenceErrors: true, SilenceUsage: true}
	root.AddCommand(newCheck())
	root.SetArgs(args)
	root.SetOut(stdout)
	root.SetErr(stderr)
	root.SetFlagErrorFunc(func(_ *cobra.Command, err error) error { return fail(exitUsage, "%w", err) })
	verb, err := root.ExecuteContextC(ctx)
	if err == nil {
		return exitDone
	}
	fmt.Fprintf(stderr, "%s: %v\n", verb.CommandPath(), err)
	if f, ok := errors.AsType[*failure](err); ok {
		return f.code
	}
	return exitUsage
}

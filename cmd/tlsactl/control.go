package main

import (
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"strings"

	"github.com/spf13/pflag"

	"github.com/coredns-tlsa/coredns-tlsa/plugin/tlsa/control"
)

// controlEnv names the control socket where --control does not.
const controlEnv = "TLSACTL_CONTROL"

const controlUsage = "control socket of the DNS server at `PATH` (default $" + controlEnv + ")"

// A socketFlag is the choice of a control socket.
type socketFlag struct{ path string }

func (s *socketFlag) register(flags *pflag.FlagSet) {
	flags.StringVar(&s.path, "control", "", controlUsage)
}

// client dials the socket; not to name one is an error of usage.
func (s *socketFlag) client(a *app) (*control.Client, error) {
	path := cmp.Or(s.path, a.getenv(controlEnv))
	if path == "" {
		return nil, fail(exitUsage, "which server? Name its control socket with --control PATH or in %s", controlEnv)
	}
	return dialControl(path)
}

// again is a command for the operator to type, of the same server.
func (s *socketFlag) again(verb string, args ...string) string {
	words := []string{"tlsactl", verb}
	if s.path != "" {
		words = append(words, "--control", quote(s.path))
	}
	for _, arg := range args {
		words = append(words, quote(arg))
	}
	return strings.Join(words, " ")
}

// quote writes a word as a shell reads it.
func quote(word string) string {
	const plain = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-./:=@%+,"
	if word != "" && strings.Trim(word, plain) == "" {
		return word
	}
	if harmless(word) != word {
		// As bash, zsh and POSIX.1-2024 read it: the bytes themselves would do their work on the terminal.
		var b strings.Builder
		for i := range len(word) {
			fmt.Fprintf(&b, `\%03o`, word[i])
		}
		return "$'" + b.String() + "'"
	}
	return "'" + strings.ReplaceAll(word, "'", `'\''`) + "'"
}

func dialControl(path string) (*control.Client, error) {
	c, err := control.Dial(path)
	switch {
	case errors.Is(err, fs.ErrPermission):
		return nil, fail(exitUnreachable, "control %s: %w: only the user and the group of the DNS server may use it", path, err)
	case err != nil:
		return nil, fail(exitUnreachable, "control %s: %w: does the server run, and does its Corefile say `control %s`?",
			path, err, path)
	}
	return c, nil
}

// controlFailure gives an error of the control client its exit code. What the server says may quote names of files.
func controlFailure(err error) error {
	e, ok := errors.AsType[*control.Error](err)
	if !ok {
		return fail(exitUnreachable, "%w", err)
	}
	code := exitUnsafe
	switch e.Code {
	case control.CodeStarting:
		code = exitNotYet
	case control.CodeRequest:
		code = exitUsage
	}
	return fail(code, "%s", harmless(e.Code+": "+e.Text))
}

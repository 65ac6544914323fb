package main

import (
	"errors"
	"fmt"
)

// The exit codes, the same for every verb.
const (
	exitDone        = 0 // done, safe, or a match
	exitUnsafe      = 1 // a mismatch, unsafe, or a step that failed
	exitUsage       = 2 // a flag, an argument, or a file it names cannot be used
	exitNotYet      = 3 // not yet: try again, or the time is over
	exitNotSecure   = 4 // the answer is not signed
	exitUnreachable = 5 // a server cannot be asked
	exitSuperseded  = 6 // a newer key has taken the place of the one that was asked about
)

const exitHelp = `Exit codes: 0 done or safe, 1 mismatch, unsafe or failed, 2 usage, 3 not yet, 4 not secure,
5 unreachable, 6 superseded by a newer key.`

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

// exitCode gives the code of an error; what has none failed on the way.
func exitCode(err error) int {
	if err == nil {
		return exitDone
	}
	if f, ok := errors.AsType[*failure](err); ok {
		return f.code
	}
	return exitUnsafe
}

// Command tlsactl is the operator's tool for DANE: it prints the TLSA records of a certificate or key, waits until a new
// certificate is safe to install, and installs it (RFC 6698, RFC 7671 8.1).
//
// It asks DNS and never needs the DNS server's disk. Private keys are decoded for their public half only, never logged and
// never sent anywhere. Data goes to stdout, talk to stderr; the exit codes are in exit.go.
package main

import (
	"context"
	"os"
	"os/signal"
	"syscall"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	code := run(ctx, os.Args[1:], os.Stdout, os.Stderr)
	stop()
	os.Exit(code)
}

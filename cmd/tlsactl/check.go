package main

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/coredns-tlsa/coredns-tlsa/cmd/tlsactl/internal/probe"
	"github.com/coredns-tlsa/coredns-tlsa/cmd/tlsactl/internal/starttls"
)

const checkHelp = `check looks at a live service as a DANE client does: it asks a validating resolver for addresses and TLSA records, connects
to every address, and compares. A name without port is a mail domain: its MX hosts are checked (RFC 7672), or the name itself
if it has none. HOST:PORT is one host (RFC 7671), _SERVICE._tcp.DOMAIN the hosts of its SRV records (RFC 7673).

Each address is asked three times: for any certificate, for RSA only and for ECDSA only. The last two use TLS 1.2, because
this program cannot choose the signature algorithms of TLS 1.3; it says so where a server has 1.3 only.

The resolver must validate, and the way to it must be safe: its AD bit is believed. With usage 3 neither names nor dates of a
certificate count; with the others they do, as of --at. What the DNS server plans to remove by then is left out where its control
socket is named.

Exit codes: 0 match everywhere, 1 mismatch, 2 usage, 4 not secure: DANE does not apply, 5 unreachable. With -o nagios: 0 match,
1 not secure, 2 mismatch, 3 unreachable or usage.`

const checkExample = `  tlsactl check example.org
  tlsactl check mail.example.org:25
  tlsactl check --resolver 127.0.0.1:53 -o json www.example.org:443
  tlsactl check --at +30d _imaps._tcp.example.org`

// overall bounds one check, whatever the servers do.
const overall = 5 * time.Minute

// checkFlags are as they were written.
type checkFlags struct {
	app                                   *app
	resolver, at, output, protocol, roots string
	control                               string
	mx                                    bool
	timeout                               time.Duration
}

func (a *app) checkCommand() *cobra.Command {
	f := checkFlags{app: a}
	cmd := &cobra.Command{
		Use:     "check [--resolver ADDR:PORT] [--mx] [--at TIME] [-o text|json|nagios] HOST[:PORT] | DOMAIN",
		Short:   "See a live service as a DANE client does",
		Long:    checkHelp,
		Example: checkExample,
		RunE: func(cmd *cobra.Command, args []string) error {
			t, o, err := f.read(args)
			switch {
			case err != nil && f.output == "nagios":
				fmt.Fprintf(a.stdout, "DANE UNKNOWN - %s\n", harmless(err.Error()))
				return &failure{nagiosUnknown, err}
			case err != nil:
				return &failure{exitUsage, err}
			}
			if o.Forecast, err = f.forecast(cmd.Context()); err != nil {
				if f.output == "nagios" {
					fmt.Fprintf(a.stdout, "DANE UNKNOWN - %s\n", harmless(err.Error()))
					return &failure{nagiosUnknown, err}
				}
				return err
			}
			ctx, cancel := context.WithTimeout(cmd.Context(), overall)
			defer cancel()
			return f.print(a.stdout, probe.Check(ctx, t, o))
		},
	}
	flags := cmd.Flags()
	flags.StringVar(&f.resolver, "resolver", "", "ask the validating resolver at `ADDR:PORT` instead of the system's")
	flags.BoolVar(&f.mx, "mx", false, "DOMAIN:25 is a mail domain too: check its MX hosts")
	flags.StringVar(&f.at, "at", "", "judge certificates as of `TIME`: 2026-12-31, 2026-12-31T12:00:00Z, or +30d from now")
	flags.StringVar(&f.control, "control", "", "with --at, leave out what the DNS server at the control socket `PATH` will have removed by then\n"+
		"(default $"+controlEnv+")")
	flags.StringVarP(&f.output, "output", "o", "text", "text, json or nagios")
	flags.StringVar(&f.protocol, "starttls", "", "speak `PROTOCOL` before TLS whatever the port: "+strings.Join(starttls.Names(), ", "))
	flags.StringVar(&f.roots, "roots", "", "for usages 0 and 1, trust the certificates in `FILE` (PEM) instead of the system's")
	flags.DurationVar(&f.timeout, "timeout", 15*time.Second, "give up one connection after this time")
	return cmd
}

// read makes sense of flags and arguments. Its errors are those of usage.
func (f *checkFlags) read(args []string) (t probe.Target, o probe.Options, err error) {
	if !slices.Contains([]string{"text", "json", "nagios"}, f.output) {
		return t, o, fmt.Errorf("unknown output %q: want text, json or nagios", f.output)
	}
	if len(args) != 1 {
		return t, o, fmt.Errorf("want one HOST:PORT, DOMAIN or _SERVICE._tcp.DOMAIN, got %d arguments", len(args))
	}
	if f.timeout <= 0 {
		return t, o, fmt.Errorf("--timeout %s: want more than 0, such as 15s", f.timeout)
	}
	if t, err = probe.ParseTarget(args[0], f.mx, f.protocol); err != nil {
		return t, o, err
	}
	o = probe.Options{Dial: f.app.dial, Timeout: f.timeout}
	if o.At, err = momentOf(f.at, f.app.now()); err != nil {
		return t, o, err
	}
	if o.Roots, err = rootsOf(f.roots); err != nil {
		return t, o, err
	}
	o.Resolver, err = f.dns()
	return t, o, err
}

// dns gives the resolver, and warns of one that is far away.
func (f *checkFlags) dns() (*probe.DNS, error) {
	const tryFor = 5 * time.Second
	var addrs []string
	if f.resolver != "" {
		addr, err := netip.ParseAddrPort(f.resolver)
		if err != nil {
			ip, err := netip.ParseAddr(f.resolver)
			if err != nil {
				return nil, fmt.Errorf("--resolver %q: want ADDR:PORT, 127.0.0.1:53 or [::1]:53", f.resolver)
			}
			addr = netip.AddrPortFrom(ip, 53)
		}
		addrs = []string{addr.String()}
	} else {
		var err error
		if addrs, err = f.app.resolvers(); err != nil {
			return nil, err
		}
	}
	for _, a := range addrs {
		if addr, err := netip.ParseAddrPort(a); (err != nil || !addr.Addr().IsLoopback()) && f.output != "nagios" {
			f.app.talk("The resolver %s is not on this host: its AD bit can be forged on the way (RFC 4035 4.9.3).", a)
		}
	}
	return &probe.DNS{Addrs: addrs, Timeout: tryFor, Exchange: f.app.dns.exchange}, nil
}

// momentOf reads --at.
func momentOf(text string, now time.Time) (time.Time, error) {
	if text == "" {
		return now.UTC(), nil
	}
	if later, ok := strings.CutPrefix(text, "+"); ok {
		if d, err := parseDuration(later); err == nil {
			return now.Add(d).UTC(), nil
		}
	}
	for _, form := range []string{time.RFC3339, time.DateOnly} {
		if t, err := time.Parse(form, text); err == nil {
			return t.UTC(), nil
		}
	}
	return time.Time{}, fmt.Errorf("--at %q: want 2026-12-31, 2026-12-31T12:00:00Z, or +720h", text)
}

// rootsOf reads --roots; nil stands for the system's.
func rootsOf(file string) (*x509.CertPool, error) {
	if file == "" {
		return nil, nil
	}
	data, err := os.ReadFile(file)
	if err != nil {
		return nil, fmt.Errorf("--roots: %w: name a file of CA certificates in PEM, for you to read", err)
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(data) {
		return nil, fmt.Errorf("--roots %s: no certificate in PEM in it: name a file of CA certificates", file)
	}
	return pool, nil
}

// checkExit is what every outcome means to scripts; the second number is that for Nagios.
var checkExit = map[probe.Outcome][2]int{
	probe.Match:       {exitDone, 0},
	probe.NotSecure:   {exitNotSecure, 1},
	probe.Mismatch:    {exitUnsafe, 2},
	probe.Unreachable: {exitUnreachable, nagiosUnknown},
}

const nagiosUnknown = 3

// print writes the report and gives the exit code as an error.
func (f *checkFlags) print(w io.Writer, r *probe.Report) error {
	exit, ok := checkExit[r.Outcome]
	if !ok {
		return fmt.Errorf("check of %s without an outcome %q", r.Target, r.Outcome)
	}
	code := exit[0]
	var err error
	switch f.output {
	case "json":
		err = writeJSON(w, r)
	case "nagios":
		code, err = exit[1], writeNagios(w, r, exit[1])
	default:
		err = writeText(w, r)
	}
	if err != nil {
		return fmt.Errorf("print the report: %w", err)
	}
	if code != 0 {
		return &failure{code, errors.New(r.Target + ": " + string(r.Outcome))}
	}
	return nil
}

package main

import (
	"cmp"
	"context"
	"strings"
	"time"

	"github.com/spf13/cobra"
)

type recordsVerb struct {
	app       *app
	naming    naming
	combining combining
	source    source
	fetching  fetching
	ttl       duration
	output    choice
}

const recordsHelp = `records prints the TLSA records of a certificate, chain, certificate request, public key, private
key or PKCS#12 file, in PEM or DER; "-" is standard input. With --from it prints those of a running
server, for all of its keys.

Owners are _25._tcp.SAN for each SAN unless --owner says otherwise; with --from, _PORT._tcp.HOST.
Combinations with usage 0 or 2 need the issuer in the chain. -o nsupdate adds records and deletes
none, because those published may be in use.`

const recordsExample = `  tlsactl records fullchain.pem
  tlsactl records --owner mail.example.org --port 25 --port 465 privkey.pem
  tlsactl records --as "3 1 1" --as "2 1 1" -o json fullchain.pem
  tlsactl records --from mail.example.org:25 --starttls smtp`

func (a *app) recordsCommand() *cobra.Command {
	v := &recordsVerb{app: a, fetching: fetching{dial: a.dial}}
	cmd := &cobra.Command{
		Use:     "records [flags] FILE|-",
		Short:   "Print the TLSA records of a certificate, a key, or a running server",
		Long:    recordsHelp + "\n\n" + exitHelp,
		Example: recordsExample,
		Args: func(cmd *cobra.Command, args []string) error {
			if v.fetching.from != "" {
				return exactly(0, "no FILE beside --from")(cmd, args)
			}
			return exactly(1, "one FILE, or - for standard input")(cmd, args)
		},
		RunE: func(cmd *cobra.Command, args []string) error { return v.run(cmd.Context(), args) },
	}
	flags := cmd.Flags()
	v.naming.register(flags)
	v.combining.register(flags)
	v.source.register(flags)
	v.fetching.register(flags)
	v.ttl = duration{Duration: time.Hour}
	flags.Var(&v.ttl, "ttl", "TTL of the records")
	v.output = choice{"zone", []string{"zone", "json", "rfc3597", "nsupdate"}}
	flags.VarP(&v.output, "output", "o", "output format: "+strings.Join(v.output.allowed, ", "))
	return cmd
}

func (v *recordsVerb) run(ctx context.Context, args []string) error {
	if v.ttl.Seconds() > 1<<31-1 || v.ttl.Duration%time.Second != 0 {
		return fail(exitUsage, "--ttl %s: want whole seconds, at most 2147483647 (RFC 2181 8)", v.ttl.Duration)
	}
	if err := v.fetching.check(); err != nil {
		return err
	}
	r, err := newRequest(&v.naming, &v.combining)
	if err != nil {
		return err
	}
	subjects, err := v.subjects(ctx, args, &r)
	if err != nil {
		return err
	}
	sets, warnings, err := r.rrsets(subjects)
	if err != nil {
		return fail(exitCode(err), "%s: %w", show(cmp.Or(v.fetching.from, strings.Join(args, ""))), err)
	}
	for _, w := range warnings {
		v.app.talk("warning: %s", w)
	}
	return formats()[v.output.value](v.app.stdout, sets, uint32(v.ttl.Seconds()))
}

func (v *recordsVerb) subjects(ctx context.Context, args []string, r *request) ([]subject, error) {
	if v.fetching.from == "" {
		return v.app.readSubjects(&v.source, args[0])
	}
	subjects, hidden, err := v.fetching.chains(ctx)
	if err != nil {
		return nil, err
	}
	if hidden {
		v.app.talk("warning: %s does not speak TLS 1.2: if it has a second certificate with another kind of key, that is not shown",
			v.fetching.from)
	}
	if owner := v.fetching.owner(); len(r.owners) == 0 && len(v.naming.ports) == 0 && owner != "" {
		name, err := parseOwner(owner)
		if err != nil {
			return nil, fail(exitUsage, "--from %s: %w: use --owner", v.fetching.from, err)
		}
		r.owners = []string{name}
	}
	return subjects, nil
}

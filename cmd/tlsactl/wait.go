package main

import (
	"bytes"
	"context"
	"net"
	"os"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

// waitFlags are those of wait, which install has too but for the source.
type waitFlags struct {
	naming         naming
	combining      combining
	source         source
	servers        []string
	resolver       string
	only4, only6   bool
	hold           duration
	atMost, every  duration
	state, control string
	insecure       bool
	output         choice
}

func (f *waitFlags) register(flags *pflag.FlagSet) {
	f.naming.register(flags)
	f.combining.register(flags)
	flags.StringArrayVar(&f.servers, "server", nil, "ask this server, `ADDR:PORT`, instead of all of the zone's; repeatable")
	flags.StringVar(&f.resolver, "resolver", "", "find the zone's servers by the resolver at `ADDR:PORT` (default: the system's)")
	flags.BoolVarP(&f.only4, "ipv4", "4", false, "ask servers over IPv4 only")
	flags.BoolVarP(&f.only6, "ipv6", "6", false, "ask servers over IPv6 only")
	flags.Var(&f.hold, "hold", "how long every server must have shown the key (default max(2*TTL, TTL+5m))")
	f.atMost.Duration = 72 * time.Hour
	flags.Var(&f.atMost, "at-most", "give up after this time; 0 asks once")
	f.every.Duration = 30 * time.Second
	flags.Var(&f.every, "every", "time between rounds of questions")
	flags.StringVar(&f.state, "state", "", "keep what was seen in `FILE`, so that a later run goes on")
	flags.BoolVar(&f.insecure, "insecure", false, "accept answers without a signature")
	flags.StringVar(&f.control, "control", "", "believe the DNS server at the control socket `PATH` since when caches have what it\n"+
		"publishes (default $"+controlEnv+")")
	f.output = choice{"text", []string{"text", "json"}}
	flags.VarP(&f.output, "output", "o", "output format: text, json")
}

func (f *waitFlags) check() error {
	switch {
	case f.only4 && f.only6:
		return fail(exitUsage, "-4 and -6 together leave no server to ask: give one of them")
	case len(f.servers) > 0 && (f.resolver != "" || f.only4 || f.only6):
		return fail(exitUsage, "--server names the servers: --resolver, -4 and -6 are for finding them")
	case f.control != "" && f.hold.set:
		return fail(exitUsage, "--hold is for counting from what the servers show, --control for the DNS server's own count: drop one")
	case f.every.Duration <= 0:
		return fail(exitUsage, "--every must be more than 0, such as 30s")
	}
	for i, s := range f.servers {
		addr, err := defaultPort(s)
		if err != nil {
			return fail(exitUsage, "--server %w", err)
		}
		f.servers[i] = addr
	}
	if f.resolver != "" {
		addr, err := defaultPort(f.resolver)
		if err != nil {
			return fail(exitUsage, "--resolver %w", err)
		}
		f.resolver = addr
	}
	return nil
}

// waiter makes the waiter of these flags for wishes.
func (f *waitFlags) waiter(a *app, wishes []wish, r *reporter) (*waiter, error) {
	find := &finder{x: a.dns, now: a.now, fixed: unique(f.servers), resolvers: []string{f.resolver}}
	if f.only4 || f.only6 {
		find.family = func(ip net.IP) bool { return (ip.To4() != nil) == f.only4 }
	}
	if f.resolver == "" && len(f.servers) == 0 {
		var err error
		if find.resolvers, err = a.resolvers(); err != nil {
			return nil, fail(exitUsage, "%w, or the servers with --server", err)
		}
	}
	w := &waiter{
		x: a.dns, now: a.now, finder: find, tracker: newTracker(wishes, f.insecure), every: f.every.Duration,
		atMost: f.atMost.Duration, progress: r.show, tick: r.tick(), talk: a.talk, save: func() error { return nil },
		sources: make(map[string]string),
	}
	if f.hold.set {
		w.hold = &f.hold.Duration
	}
	w.consult = func() error { return f.consult(a, w) }
	return w, f.keep(a, w)
}

// keep loads the state file and has it written after each round that changed something.
func (f *waitFlags) keep(a *app, w *waiter) error {
	if f.state == "" {
		return nil
	}
	start := a.moment()
	if err := a.loadState(f.state, w.tracker, start); err != nil {
		return err
	}
	var last []byte
	w.save = func() error {
		data, err := w.tracker.encode(start)
		if err != nil || bytes.Equal(data, last) {
			return err
		}
		last = data
		return writeAtomic(f.state, data, 0o644)
	}
	return nil
}

// verdict waits and makes the exit of it.
func (f *waitFlags) verdict(ctx context.Context, w *waiter, r *reporter) (verdict, error) {
	v, err := w.wait(ctx)
	r.done()
	if err != nil {
		return v, err
	}
	if v.word == verdictSafe {
		return v, nil
	}
	return v, fail(v.code(), "%s: %s", v.word, v.reason)
}

const waitHelp = `wait returns when the certificate or key in FILE is safe to install: when every address of every
server of the zone has shown its TLSA records long enough for every cache to have them. It counts
from the slowest server, and anew where a server stops showing them, or goes away without. Owners are _25._tcp.SAN unless
--owner says otherwise.

With an OWNER instead of a file it waits for all that its servers publish there now.

It ends with 3 when --at-most is over, with 5 if a server could not be asked then, at once with 4
when an answer is not signed, and with 6 when FILE holds another key or OWNER another record than at
the start.

With --control the DNS server's own count goes before that: a key that it published hours ago is safe at
once. Every server must show the records all the same, one that was seen without them counts from when it
shows them, and what the DNS server calls unsafe, at any name of the certificate, is not safe. If the socket does not
answer, that is 5; if $TLSACTL_CONTROL names it, a warning, and wait counts by itself.

With --state a later run goes on counting; what happened in between is judged by what the servers
show before and after.`

const waitExample = `  tlsactl wait --state mail.state fullchain.pem && cp fullchain.pem privkey.pem /etc/ssl/mail/
  tlsactl wait --owner mail.example.org --port 25 --port 465 --at-most 4h privkey.pem
  tlsactl wait --server 192.0.2.1:53 --server 192.0.2.2:53 _25._tcp.mail.example.org`

func (a *app) waitCommand() *cobra.Command {
	f := &waitFlags{}
	cmd := &cobra.Command{
		Use:     "wait [flags] FILE|OWNER",
		Short:   "Wait until a certificate is safe to install",
		Long:    waitHelp + "\n\n" + exitHelp,
		Example: waitExample,
		Args:    exactly(1, "one FILE or OWNER"),
		RunE:    func(cmd *cobra.Command, args []string) error { return a.wait(cmd.Context(), f, args[0]) },
	}
	f.register(cmd.Flags())
	f.source.register(cmd.Flags())
	return cmd
}

func (a *app) wait(ctx context.Context, f *waitFlags, arg string) error {
	if err := f.check(); err != nil {
		return err
	}
	wishes, reread, err := a.wishes(f, arg)
	if err != nil {
		return err
	}
	r := newReporter(a.stderr, a.now)
	w, err := f.waiter(a, wishes, r)
	if err != nil {
		return err
	}
	w.reread = reread
	v, err := f.verdict(ctx, w, r)
	if v.word == "" || ctx.Err() != nil {
		return err
	}
	if f.output.value == "json" {
		if jsonErr := writeJSON(a.stdout, w.document(v)); jsonErr != nil {
			return jsonErr
		}
	} else if err == nil {
		return writeLine(a.stdout, v.word+": "+v.reason)
	}
	return err
}

// wishes gives what arg is about, and how to read it again.
func (a *app) wishes(f *waitFlags, arg string) ([]wish, func() ([]wish, error), error) {
	r, err := newRequest(&f.naming, &f.combining)
	if err != nil {
		return nil, nil, err
	}
	if _, statErr := os.Stat(arg); statErr != nil && isOwner(arg) && !strings.Contains(arg, "/") {
		if len(r.owners) > 0 || len(f.combining.as) > 0 || len(f.naming.ports) > 0 {
			return nil, nil, fail(exitUsage, "--owner, --port and --as are for files: OWNER %s is waited for as it is", arg)
		}
		owner, err := parseOwner(arg)
		if err != nil {
			return nil, nil, fail(exitUsage, "%s: %w", arg, err)
		}
		return []wish{{owner: owner}}, nil, nil
	}
	read := func() ([]wish, error) {
		subjects, err := a.readSubjects(&f.source, arg)
		if err != nil {
			return nil, err
		}
		wishes, err := r.wishes(subjects, nil)
		if err != nil {
			return nil, fail(exitCode(err), "%s: %w", show(arg), err)
		}
		return wishes, nil
	}
	if arg == "-" {
		wishes, err := read()
		return wishes, nil, err
	}
	wishes, err := read()
	return wishes, read, err
}

// wishes computes what must be published; warn may be nil.
func (r request) wishes(subjects []subject, warn func(format string, args ...any)) ([]wish, error) {
	sets, warnings, err := r.rrsets(subjects)
	if err != nil {
		return nil, err
	}
	if warn != nil {
		for _, text := range warnings {
			warn("warning: %s", text)
		}
	}
	var out []wish
	for _, set := range sets {
		out = append(out, wish(set))
	}
	return out, nil
}

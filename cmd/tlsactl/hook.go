package main

import (
	"cmp"
	"context"
	"path/filepath"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

// A hookVerb is one run of hook: the flags of one lineage.
type hookVerb struct {
	client  *client
	install installVerb
	next    string
	certs   string
	to      string
	push    string
	state   string
	resume  bool
	dryRun  bool
}

const hookHelp = `The hook writes the certificates of the lineage, no key, to --next/NAME.pem, which the DNS server
watches as next, and returns. --resume, from cron or a systemd timer, needs no flags but --next: it
does for each lineage, of whatever client, what its hook said, until it is installed, as install does
it: to --install/NAME, with certbot's names of files, then --run. It may run any number of times, and
after any crash the next run finishes; one with nothing to do says nothing. A renewal while another
one waits takes its place and waits in its turn; one with the same key is installed at once. The
client's own next key, if it has one, is published by its public half in --next/NAME.pub.

--combined makes one file of key and chain, --install/NAME.pem, which no server can read half
replaced: best for Postfix (smtpd_tls_chain_files). --certs keeps a copy without keys of what is
installed, for a DNS server that may not read --install or is elsewhere; --push is run after each
change of --next and --certs, to bring them there. No private key is written anywhere else.

What the hook said is kept in --state, one directory for each lineage. To change it, run the hook
again: AGAIN
To forget a lineage, remove its directory there, then its files in --next.`

const hookExample = `  tlsactl hook CLIENT --next /var/lib/dane/next --resume
  tlsactl hook CLIENT --next /var/lib/dane/next --resume --dry-run`

func (a *app) hookCommand() *cobra.Command {
	var names, examples []string
	cmd := &cobra.Command{
		Use:   "hook",
		Short: "The commands for the hooks of ACME clients",
		Args:  cobra.ArbitraryArgs,
	}
	for _, c := range hookClients {
		names = append(names, c.name)
		examples = append(examples, "  tlsactl hook "+c.name+" --help")
		cmd.AddCommand(a.hookClientCommand(&c))
	}
	listed := strings.Join(names[:len(names)-1], ", ") + " or " + names[len(names)-1]
	cmd.Long = "hook has a command for each ACME client whose hooks it serves: " + listed + ".\n\n" + exitHelp
	cmd.Example = strings.Join(examples, "\n")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		if len(args) == 0 {
			return cmd.Help()
		}
		return fail(exitUsage, "there is no hook for %q here: want %s", args[0], listed)
	}
	return cmd
}

func (a *app) hookClientCommand(c *client) *cobra.Command {
	v := a.newHook(c)
	cmd := &cobra.Command{
		Use:     strings.TrimSpace(c.name + " [flags] " + c.args),
		Short:   c.name + "'s hook: stage a renewed certificate, install it when it is safe",
		Long:    c.help + "\n\n" + strings.ReplaceAll(hookHelp, "AGAIN", c.again) + "\n\n" + exitHelp,
		Example: c.example + "\n" + strings.ReplaceAll(hookExample, "CLIENT", c.name),
		Args:    exactly(0, "flags only"),
		RunE:    func(cmd *cobra.Command, args []string) error { return v.serve(cmd.Context(), cmd.Flags(), args) },
	}
	v.register(cmd.Flags())
	if c.args != "" {
		cmd.Args = cobra.ArbitraryArgs
		cmd.Flags().SetInterspersed(false) // what follows is the client's, such as a token that begins with a hyphen
	}
	return cmd
}

func (a *app) newHook(c *client) *hookVerb { return &hookVerb{client: c, install: installVerb{app: a}} }

func (v *hookVerb) register(flags *pflag.FlagSet) {
	v.install.flags.register(flags)
	flags.Lookup("state").Usage = "keep what is to be done in `DIR` (default: that of --next with .hook at its end)"
	flags.StringVar(&v.next, "next", "", "write the certificates that wait, without keys, into `DIR`")
	flags.StringVar(&v.to, "install", "", "install the lineage NAME as `DIR`/NAME")
	flags.StringVar(&v.certs, "certs", "", "write the installed certificates, without keys, into `DIR`")
	flags.StringVar(&v.push, "push", "", "`CMD` for sh -c after changes in --next and --certs")
	flags.StringVar(&v.install.run, "run", "", "`CMD` for sh -c when the files are in place")
	flags.BoolVar(&v.install.combined, "combined", false, "install one file of key and chain, NAME.pem")
	flags.BoolVar(&v.install.wait, "wait", false, "wait until it is safe, for --at-most; the client waits as long")
	flags.BoolVar(&v.resume, "resume", false, "go on with every lineage of --state")
	flags.BoolVar(&v.dryRun, "dry-run", false, "say what would be done, and do nothing")
}

// serve is the client's hook, or the run that finishes what earlier ones began.
func (v *hookVerb) serve(ctx context.Context, flags *pflag.FlagSet, args []string) error {
	v.state, v.install.flags.state = v.install.flags.state, ""
	if v.state == "" && v.next != "" {
		v.state = filepath.Clean(v.next) + ".hook"
	}
	if v.resume {
		if err := v.checkResume(flags); err != nil {
			return err
		}
		return v.resumeAll(ctx)
	}
	j, badJob := v.client.read(v.install.app.getenv, args)
	if j == nil && badJob == nil {
		return nil
	}
	if err := cmp.Or(v.check(), badJob); err != nil {
		return err
	}
	j.say(v.client, flags)
	h := v.handover(j, filepath.Join(v.state, j.name()))
	if v.dryRun {
		return h.explain(ctx)
	}
	if err := h.checkPlaces(); err != nil {
		return err
	}
	if err := h.begin(ctx); err != nil {
		return err
	}
	err := h.run(ctx)
	if exitCode(err) == exitNotYet && !v.install.wait {
		v.install.app.talk("%s is staged: %v; tlsactl hook %s --state %s --resume installs it", j.name(), err, v.client.name, v.state)
		return nil
	}
	return err
}

// check judges the flags of a hook. Cron has another working directory than the client, so paths are absolute.
func (v *hookVerb) check() error {
	for _, p := range []struct{ flag, path string }{
		{"next", v.next}, {"install", v.to}, {"certs", v.certs}, {"state", v.state}, {"control", v.install.flags.control},
	} {
		switch {
		case p.path == "" && (p.flag == "next" || p.flag == "install"):
			return fail(exitUsage, "--%s DIR is missing: name it, see --help", p.flag)
		case p.path != "" && !filepath.IsAbs(p.path):
			return fail(exitUsage, "--%s %q: want an absolute path, because --resume runs elsewhere", p.flag, p.path)
		}
	}
	if next := filepath.Clean(v.next); next == filepath.Clean(v.to) || v.certs != "" && next == filepath.Clean(v.certs) {
		return fail(exitUsage, "--next %s: it is for what waits alone: name another directory than --install and --certs", v.next)
	}
	return v.install.flags.check()
}

// checkResume judges the flags of --resume, which are few: the lineages have their own.
func (v *hookVerb) checkResume(flags *pflag.FlagSet) error {
	if v.state == "" {
		return fail(exitUsage, "--resume: name the directory of what is to be done by --next or --state")
	}
	var err error
	flags.Visit(func(f *pflag.Flag) {
		if !slices.Contains([]string{"resume", "dry-run", "next", "state"}, f.Name) {
			err = fail(exitUsage, "--%s is for the hook itself: --resume does what the hook of each lineage said", f.Name)
		}
	})
	return err
}

package main

import (
	"context"
	"path/filepath"
	"slices"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

// A hookVerb is one run of hook: the flags of one lineage.
type hookVerb struct {
	install installVerb
	next    string
	certs   string
	to      string
	push    string
	state   string
	resume  bool
	dryRun  bool
}

const hookCertbotHelp = `hook certbot is for certbot's --deploy-hook. certbot's live directory is then not what the server
reads and not in the plugin's certs: a renewed lineage waits there until it is safe to install.

The deploy hook writes the certificates of the lineage, no key, to --next/NAME.pem, which the DNS
server watches as next, and returns. --resume, from cron or a systemd timer, needs no flags but
--next: it does for each lineage what its hook said, until it is installed, as install does it: from
certbot's live/NAME to --install/NAME, then --run. It may run any number of times, and after any
crash the next run finishes; one with nothing to do says nothing. A renewal while another one waits
takes its place and waits in its turn; one with the same key is installed at once.

--combined makes one file of key and chain, --install/NAME.pem, which no server can read half
replaced: best for Postfix (smtpd_tls_chain_files). --certs keeps a copy without keys of what is
installed, for a DNS server that may not read --install or is elsewhere; --push is run after each
change of --next and --certs, to bring them there. No private key is written anywhere else.

What the hook said is kept in --state, one directory for each lineage. To change it, run the hook
again: RENEWED_LINEAGE=/etc/letsencrypt/live/NAME tlsactl hook certbot ... To forget a lineage,
remove its directory there, then its file in --next.`

const hookCertbotExample = `  certbot certonly ... --deploy-hook "tlsactl hook certbot --next /var/lib/dane-next \
      --install /etc/postfix/tls --combined --run 'postfix reload'"
  tlsactl hook certbot --next /var/lib/dane-next --resume
  tlsactl hook certbot --next /var/lib/dane-next --resume --dry-run`

func (a *app) hookCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:     "hook",
		Short:   "The commands for the hooks of ACME clients",
		Long:    "hook has a command for each ACME client whose hooks it serves.\n\n" + exitHelp,
		Example: "  tlsactl hook certbot --help",
		Args:    cobra.ArbitraryArgs,
		RunE: func(cmd *cobra.Command, args []string) error {
			if len(args) == 0 {
				return cmd.Help()
			}
			return fail(exitUsage, "there is no hook for %q here: want certbot", args[0])
		},
	}
	cmd.AddCommand(a.hookCertbotCommand())
	return cmd
}

func (a *app) hookCertbotCommand() *cobra.Command {
	v := a.newHook()
	cmd := &cobra.Command{
		Use:     "certbot [flags]",
		Short:   "certbot's deploy hook: stage a renewed certificate, install it when it is safe",
		Long:    hookCertbotHelp + "\n\n" + exitHelp,
		Example: hookCertbotExample,
		Args:    exactly(0, "flags only"),
		RunE:    func(cmd *cobra.Command, _ []string) error { return v.certbot(cmd.Context(), cmd.Flags()) },
	}
	v.register(cmd.Flags())
	return cmd
}

func (a *app) newHook() *hookVerb { return &hookVerb{install: installVerb{app: a}} }

func (v *hookVerb) register(flags *pflag.FlagSet) {
	v.install.flags.register(flags)
	flags.Lookup("state").Usage = "keep what is to be done in `DIR` (default: that of --next with .hook at its end)"
	flags.StringVar(&v.next, "next", "", "write the certificates that wait, without keys, into `DIR`")
	flags.StringVar(&v.to, "install", "", "install the lineage NAME as `DIR`/NAME")
	flags.StringVar(&v.certs, "certs", "", "write the installed certificates, without keys, into `DIR`")
	flags.StringVar(&v.push, "push", "", "`CMD` for sh -c after changes in --next and --certs")
	flags.StringVar(&v.install.run, "run", "", "`CMD` for sh -c when the files are in place")
	flags.BoolVar(&v.install.combined, "combined", false, "install one file of key and chain, NAME.pem")
	flags.BoolVar(&v.install.wait, "wait", false, "wait until it is safe, for --at-most; certbot waits as long")
	flags.BoolVar(&v.resume, "resume", false, "go on with every lineage of --state")
	flags.BoolVar(&v.dryRun, "dry-run", false, "say what would be done, and do nothing")
}

// certbot is the deploy hook, or the run that finishes what earlier ones began.
func (v *hookVerb) certbot(ctx context.Context, flags *pflag.FlagSet) error {
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
	if err := v.check(); err != nil {
		return err
	}
	lineage := v.install.app.getenv("RENEWED_LINEAGE")
	if lineage == "" {
		return fail(exitUsage, "RENEWED_LINEAGE is not set: certbot sets it for a deploy hook; to run the hook by hand, set it to "+
			"the lineage, such as /etc/letsencrypt/live/mail.example.org; --resume goes on with what is staged")
	}
	j, err := newJob(lineage, flags)
	if err != nil {
		return err
	}
	h := &handover{hookVerb: v, job: j, dir: filepath.Join(v.state, j.name())}
	if v.dryRun {
		return h.explain(ctx)
	}
	if err := h.checkPlaces(); err != nil {
		return err
	}
	if err := h.begin(ctx); err != nil {
		return err
	}
	err = h.run(ctx)
	if exitCode(err) == exitNotYet && !v.install.wait {
		v.install.app.talk("%s is staged: %v; tlsactl hook certbot --state %s --resume installs it", j.name(), err, v.state)
		return nil
	}
	return err
}

// check judges the flags of a deploy hook. Cron has another working directory than certbot, so paths are absolute.
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

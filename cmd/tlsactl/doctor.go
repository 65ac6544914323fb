package main

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/coredns-tlsa/coredns-tlsa/cmd/tlsactl/internal/doctor"
)

const doctorHelp = `doctor reads a Corefile, and the certificate directories, zone files and keys that it names, and says what will go wrong
before it does: what keeps the server from starting, names without certificates, renewals that nobody has announced, too
little time between renewal and expiry, files that the server's user cannot read. It runs where the server runs, in the
directory in which that is started. It only reads; it starts nothing, opens no ledger and decodes no private key.

Directories after the flags are lineages or homes of ACME clients, such as /etc/letsencrypt. They are examined too; where
the watched directories hold copies of their certificates, doctor learns from them how these are renewed.

An error is wrong now, a warning will be after the next renewal, restart or mistake, and a hint is good to know.

Exit codes: 0 nothing but hints, 1 something is wrong, 2 usage, or the Corefile cannot be read.`

const doctorExample = `  tlsactl doctor --corefile /etc/coredns/Corefile
  tlsactl doctor --corefile /etc/coredns/Corefile --user coredns /etc/letsencrypt
  tlsactl doctor --corefile Corefile --at +720h -o json`

// A doctorVerb is the verb with its flags as they were written.
type doctorVerb struct {
	*app
	corefile, at, user, output string
}

func (a *app) doctorCommand() *cobra.Command {
	v := &doctorVerb{app: a}
	cmd := &cobra.Command{
		Use:     "doctor [--corefile FILE] [--user USER] [--at TIME] [-o text|json] [LINEAGE-OR-CLIENT-DIR...]",
		Short:   "Say what will go wrong with a Corefile and its certificates",
		Long:    doctorHelp,
		Example: doctorExample,
		Args:    cobra.ArbitraryArgs,
		RunE:    v.run,
	}
	flags := cmd.Flags()
	flags.StringVar(&v.corefile, "corefile", "Corefile", "read the Corefile `FILE`")
	flags.StringVar(&v.user, "user", "", "judge permissions for `USER`, who the server runs as: a name, or UID:GID")
	flags.StringVar(&v.at, "at", "", "judge dates as of `TIME`: 2026-12-31, 2026-12-31T12:00:00Z, or +720h from now")
	flags.StringVarP(&v.output, "output", "o", "text", "text or json")
	return cmd
}

func (v *doctorVerb) run(cmd *cobra.Command, args []string) error {
	o := doctor.Options{Corefile: v.corefile, Dirs: args}
	var err error
	if !slices.Contains([]string{"text", "json"}, v.output) {
		return fail(exitUsage, "unknown output %q: want text or json", v.output)
	}
	if o.At, err = momentOf(v.at, v.now()); err != nil {
		return fail(exitUsage, "%w", err)
	}
	if v.user != "" {
		if o.User, err = doctor.LookupUser(v.user); err != nil {
			return fail(exitUsage, "--user: %w", err)
		}
	}
	for _, dir := range args {
		if _, err := os.Stat(dir); err != nil {
			return fail(exitUsage, "%w: name a directory that is there, for you to read", err)
		}
	}
	r, err := doctor.Examine(o)
	if errors.Is(err, fs.ErrNotExist) && len(args) > 0 && !cmd.Flags().Changed("corefile") {
		o.Corefile = ""
		r, err = doctor.Examine(o)
	}
	if err != nil {
		return fail(exitUsage, "%w: name the server's Corefile with --corefile", err)
	}
	write := writeDoctorText
	if v.output == "json" {
		write = writeDoctorJSON
	}
	if err := write(v.stdout, r); err != nil {
		return fmt.Errorf("print the report: %w", err)
	}
	if r.Wrong() {
		return fail(exitUnsafe, "something is wrong: see the findings")
	}
	return nil
}

func writeDoctorJSON(w io.Writer, r *doctor.Report) error { return writeJSON(w, r) }

// writeDoctorText prints the server blocks, a paragraph for each finding, and a line that counts them.
func writeDoctorText(w io.Writer, r *doctor.Report) error {
	var p page
	for _, s := range r.Servers {
		p.line("%s %s: %s", s.Place, strings.Join(s.Zones, " "), strings.Join(s.Plugins, ", "))
	}
	count := map[doctor.Severity]int{}
	for _, f := range r.Findings {
		count[f.Severity]++
		if p.Len() > 0 {
			p.line("")
		}
		p.line("%s: %s: %s (%s)", f.Place, f.Severity, f.What, f.Code)
		if f.Why != "" {
			p.line("  why: %s", f.Why)
		}
		if f.Fix != "" {
			p.line("  fix: %s", f.Fix)
		}
	}
	if p.Len() > 0 {
		p.line("")
	}
	p.line("Names: %d. Certificates: %d. Errors: %d. Warnings: %d. Hints: %d.",
		r.Names, r.Certificates, count[doctor.Error], count[doctor.Warning], count[doctor.Hint])
	_, err := io.WriteString(w, p.String())
	return err
}

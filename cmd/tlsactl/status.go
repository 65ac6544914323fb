package main

import (
	"context"
	"io"
	"slices"

	"github.com/spf13/cobra"

	"github.com/coredns-tlsa/coredns-tlsa/plugin/tlsa/control"
)

type statusVerb struct {
	app    *app
	socket socketFlag
	output choice
}

const statusHelp = `status shows what the DNS server publishes and why: for every owner its associations with their state,
since when, what is next and when; the problems; and what is staged, with the time from which it is
safe to install. Where a person must act, the line after ">" is the command.

States: published (some cache may lack it), ready (every cache has it, or holds nothing), active (an
installed certificate needs it), retired (nothing needs it any more; it leaves at the time shown).

The socket is the one that the Corefile names with control, here --control or $TLSACTL_CONTROL.
-o json prints the server's own document, versioned and described by a schema, as it is. An owner
that the server does not have is exit code 1; problems are no failure of this command.`

const statusExample = `  tlsactl status
  tlsactl status _25._tcp.mail.example.org
  tlsactl status -o json`

func (a *app) statusCommand() *cobra.Command {
	v := &statusVerb{app: a}
	cmd := &cobra.Command{
		Use:     "status [flags] [OWNER]",
		Short:   "Show what the DNS server publishes, what is next, and what needs you",
		Long:    statusHelp + "\n\n" + exitHelp,
		Example: statusExample,
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) > 1 {
				return fail(exitUsage, "want one OWNER or none, got %d arguments", len(args))
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, args []string) error { return v.run(cmd.Context(), args) },
	}
	v.socket.register(cmd.Flags())
	v.output = choice{"text", []string{"text", "json"}}
	cmd.Flags().VarP(&v.output, "output", "o", "output format: text, json")
	return cmd
}

func (v *statusVerb) run(ctx context.Context, args []string) error {
	owner := ""
	if len(args) == 1 {
		var err error
		if owner, err = parseOwner(args[0]); err != nil {
			return fail(exitUsage, "%s: %w", args[0], err)
		}
	}
	c, err := v.socket.client(v.app)
	if err != nil {
		return err
	}
	if v.output.value == "json" {
		document, err := c.Document(ctx, owner)
		if err != nil {
			return controlFailure(err)
		}
		return writeDocument(v.app.stdout, document)
	}
	// The lineages, which tell what has vanished and what can be installed, are in the whole document only.
	s, err := c.Status(ctx, "")
	if err != nil {
		return controlFailure(err)
	}
	if owner != "" {
		if s.Blocks = only(s.Blocks, owner); len(s.Blocks) == 0 {
			return fail(exitUnsafe, "no block has the owner %q: `%s` lists those there are", owner, v.socket.again("status"))
		}
	}
	p := &statusPage{socket: &v.socket, now: s.Now}
	for _, b := range s.Blocks {
		p.block(b, owner != "")
	}
	_, err = io.WriteString(v.app.stdout, p.String())
	return err
}

// only keeps the blocks that have an owner, and of their owners that one.
func only(all []control.BlockStatus, owner string) (blocks []control.BlockStatus) {
	for _, b := range all {
		i := slices.IndexFunc(b.Owners, func(o control.OwnerStatus) bool { return o.Name == owner })
		if i >= 0 {
			b.Owners = b.Owners[i : i+1]
			blocks = append(blocks, b)
		}
	}
	return blocks
}

package main

import (
	"bufio"
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/coredns-tlsa/coredns-tlsa/plugin/tlsa/control"
	"github.com/coredns-tlsa/coredns-tlsa/plugin/tlsa/dane"
)

// An actVerb is revoke, withdraw or restore.
type actVerb struct {
	app           *app
	verb          control.Verb
	socket        socketFlag
	source        source
	spki, lineage string
	yes           bool
	output        choice
}

const actHelp = `It is in the ledger before it shows, and done at every name that it concerns or at none. On a terminal
it asks first; anywhere else it wants --yes, so that no script does it by accident. Exit code 0 means
that the server has said what it did; 1 that it refused, or has nothing of the kind; 3 that it is
starting: ask again.`

const revokeHelp = `revoke drops a key from the answers of the DNS server now, as after a compromise. DIGEST is certificate
association data in hexadecimal; its first 16 digits, as status shows them, are enough where they name
one record. With --spki the key goes at every name: HEX is the SHA2-256 digest of its public key, FILE
a certificate, request, public or private key.

The server refuses while a watched file, a pin or the zone holds the key, and when a name would be left
without records. Caches keep what they have for the time that is printed.`

const revokeExample = `  tlsactl revoke --yes _25._tcp.mail.example.org d80338f5c2bae0f3
  tlsactl revoke --yes --spki staged/mail/privkey.pem`

const withdrawHelp = `withdraw answers a name of the Corefile without records until it is restored: clients use TLS without
DANE there. With --lineage it gives up a lineage that has vanished from the watched directories: what
it alone needed leaves, after the grace time. NAME is the lineage's name or, of several, its path.`

const withdrawExample = `  tlsactl withdraw --yes _25._tcp.mail.example.org
  tlsactl withdraw --yes --lineage mail`

const restoreHelp = `restore undoes revoke and withdraw, with the same arguments, as long as the server can: until the time
that they print. It only adds records, so it never asks.`

const restoreExample = `  tlsactl restore _25._tcp.mail.example.org d80338f5c2bae0f3
  tlsactl restore --lineage mail`

func (a *app) actCommands() []*cobra.Command {
	return []*cobra.Command{
		a.actCommand(control.Revoke, "OWNER DIGEST | --spki HEX|FILE", "Drop a key from the answers now",
			revokeHelp+"\n\n"+actHelp, revokeExample),
		a.actCommand(control.Withdraw, "OWNER | --lineage NAME",
			"Answer a name without records, or give up a lineage that has vanished", withdrawHelp+"\n\n"+actHelp, withdrawExample),
		a.actCommand(control.Restore, "OWNER [DIGEST] | --spki HEX|FILE | --lineage NAME", "Undo revoke or withdraw",
			restoreHelp, restoreExample),
	}
}

func (a *app) actCommand(verb control.Verb, args, short, long, example string) *cobra.Command {
	v := &actVerb{app: a, verb: verb}
	cmd := &cobra.Command{
		Use: string(verb) + " [flags] " + args, Short: short, Long: long + "\n\n" + exitHelp, Example: example,
		Args: func(_ *cobra.Command, given []string) error { return v.checkArgs(given, args) },
		RunE: func(cmd *cobra.Command, args []string) error { return v.run(cmd.Context(), args) },
	}
	flags := cmd.Flags()
	v.socket.register(flags)
	if verb != control.Withdraw {
		flags.StringVar(&v.spki, "spki", "", "the key with this digest, or the one in a file, at every name: `HEX|FILE`")
		v.source.register(flags)
	}
	if verb != control.Revoke {
		flags.StringVar(&v.lineage, "lineage", "", "the lineage `NAME`, at every name")
	}
	flags.BoolVar(&v.yes, "yes", verb == control.Restore, "do not ask")
	v.output = choice{"text", []string{"text", "json"}}
	flags.VarP(&v.output, "output", "o", "output format: text, json")
	return cmd
}

// checkArgs wants one of the forms.
func (v *actVerb) checkArgs(args []string, forms string) error {
	form := [3]bool{len(args) > 0, v.spki != "", v.lineage != ""}
	fits := form == [3]bool{true, false, false} || form == [3]bool{false, true, false} || form == [3]bool{false, false, true}
	switch v.verb {
	case control.Revoke:
		fits = fits && (len(args) == 0 || len(args) == 2)
	case control.Withdraw:
		fits = fits && len(args) < 2
	default:
		fits = fits && len(args) < 3
	}
	if !fits {
		return fail(exitUsage, "want %s", forms)
	}
	return nil
}

func (v *actVerb) run(ctx context.Context, args []string) error {
	a, err := v.action(args)
	if err != nil {
		return err
	}
	if !v.yes && !v.app.terminal() {
		return fail(exitUsage, "this is no terminal to ask at: with --yes it is done without a question")
	}
	c, err := v.socket.client(v.app)
	if err != nil {
		return err
	}
	if a.Data != "" {
		if a.Data, err = whole(ctx, c, a); err != nil {
			return err
		}
	}
	if !v.yes {
		if err := v.ask(ctx, a); err != nil {
			return err
		}
	}
	done, err := c.Act(ctx, a)
	switch {
	case errors.Is(err, control.ErrUnreachable):
		return fail(exitUnreachable, "%w; whether it was done, `%s` tells", err, v.socket.again("status"))
	case err != nil:
		return controlFailure(err)
	case len(done) == 0:
		return fail(exitUnsafe, "the server did nothing, and did not say why: `%s` shows what it has", v.socket.again("status"))
	}
	return v.report(a, done)
}

// action is what the arguments say.
func (v *actVerb) action(args []string) (control.Action, error) {
	a := control.Action{Verb: v.verb, Lineage: v.lineage}
	var err error
	if len(args) > 0 {
		if a.Owner, err = parseOwner(args[0]); err != nil {
			return a, fail(exitUsage, "%s: %w", args[0], err)
		}
	}
	if len(args) > 1 {
		a.Data = strings.ToLower(args[1])
		if a.Data == "" || strings.Trim(a.Data, "0123456789abcdef") != "" {
			return a, fail(exitUsage, "digest %q: want hexadecimal digits, as `tlsactl status` shows them", args[1])
		}
	}
	if v.spki != "" {
		a.SPKI, err = v.digest()
	}
	return a, err
}

// digest is that of --spki.
func (v *actVerb) digest() (string, error) {
	if raw, err := hex.DecodeString(v.spki); err == nil && len(raw) == 32 {
		return strings.ToLower(v.spki), nil
	}
	subjects, err := v.app.readSubjects(&v.source, v.spki)
	if err != nil {
		return "", fail(exitUsage, "--spki: neither 64 hexadecimal digits nor a file with a key: %w", err)
	}
	if len(subjects) != 1 {
		return "", fail(exitUsage, "--spki %s: it holds %d keys; name one by its digest, which `tlsactl records` prints",
			v.spki, len(subjects))
	}
	spki, err := spkiDigest(subjects[0])
	return hex.EncodeToString([]byte(spki)), err
}

// spkiDigest is the raw SHA2-256 digest of a key's SubjectPublicKeyInfo.
func spkiDigest(s subject) (string, error) {
	a, err := s.Association(dane.Combination{Usage: dane.DANEEE, Selector: dane.SPKI, MatchingType: dane.SHA256})
	return a.Data, err
}

// shortest is how many digits of a digest may stand for it.
const shortest = 16

// whole completes the first digits of a digest from what the owner has, or what was revoked there.
func whole(ctx context.Context, c *control.Client, a control.Action) (string, error) {
	s, err := c.Status(ctx, a.Owner)
	if err != nil {
		return "", controlFailure(err)
	}
	var found []string
	for _, b := range s.Blocks {
		for _, o := range b.Owners {
			for _, as := range o.Associations {
				found = append(found, as.Data)
			}
			for _, r := range o.Revoked {
				found = append(found, r.Data)
			}
		}
	}
	if slices.Contains(found, a.Data) {
		return a.Data, nil
	}
	found = slices.DeleteFunc(found, func(data string) bool { return len(a.Data) < shortest || !strings.HasPrefix(data, a.Data) })
	slices.Sort(found)
	switch found = slices.Compact(found); len(found) {
	case 0:
		return "", fail(exitUnsafe, "%s has no record with %s; write the whole digest, or its first %d digits or more",
			a.Owner, a.Data, shortest)
	case 1:
		return found[0], nil
	}
	return "", fail(exitUnsafe, "%d records of %s start with %s; write more digits", len(found), a.Owner, a.Data)
}

// ask says what will happen and wants a yes.
func (v *actVerb) ask(ctx context.Context, a control.Action) error {
	var p page
	p.fold(0, fmt.Sprintf("%s: %s.", v.verb, consequence(a)))
	fmt.Fprintf(v.app.stderr, "%sGo on? [y/N] ", p.String())
	answer := make(chan string, 1)
	go func() {
		line, _ := bufio.NewReader(v.app.stdin).ReadString('\n')
		answer <- strings.ToLower(strings.TrimSpace(line))
	}()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case word := <-answer:
		if word == "y" || word == "yes" {
			return nil
		}
	}
	return fail(exitUnsafe, "nothing was done, because the answer was not yes")
}

// consequence is what will happen, in words.
func consequence(a control.Action) string {
	const refused = "; clients refuse a server that still uses it"
	switch {
	case a.SPKI != "":
		return "the key " + a.SPKI + " leaves the answers of every name now" + refused
	case a.Data != "":
		return "the key of " + a.Data + " leaves the answers of " + a.Owner + " now" + refused
	case a.Lineage != "":
		return "lineage " + a.Lineage + " is given up, and what it alone needs leaves after the grace time" + refused
	}
	return a.Owner + " is answered without records now, and clients use TLS without DANE there"
}

// report tells what was done at every owner, and how to undo it.
func (v *actVerb) report(a control.Action, done []control.Done) error {
	if v.output.value == "json" {
		return writeJSON(v.app.stdout, struct {
			Version int            `json:"version"`
			Done    []control.Done `json:"done"`
		}{control.Version, done})
	}
	var p page
	for _, d := range done {
		p.line("%s", d.Owner)
		p.fold(2, d.Text)
		if d.CachedUntil != nil {
			p.line("  caches differ until %s", utc(*d.CachedUntil))
		}
		if d.UndoUntil != nil {
			p.line("  undo possible until %s", utc(*d.UndoUntil))
		}
	}
	if v.verb != control.Restore {
		p.line("To undo it:")
		p.act(2, v.socket.again("restore", undo(a)...))
	}
	return writeLine(v.app.stdout, strings.TrimSuffix(p.String(), "\n"))
}

// undo are the arguments of restore.
func undo(a control.Action) []string {
	switch {
	case a.SPKI != "":
		return []string{"--spki", a.SPKI}
	case a.Lineage != "":
		return []string{"--lineage", a.Lineage}
	case a.Data != "":
		return []string{a.Owner, a.Data}
	}
	return []string{a.Owner}
}

package main

import (
	"cmp"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"

	"github.com/spf13/cobra"

	"github.com/coredns-tlsa/coredns-tlsa/plugin/tlsa/dane"
)

type installVerb struct {
	app   *app
	flags waitFlags
	wait  bool
	run   string
	// combined makes one file of the key and the chain in FROM.
	combined bool
	files    map[string]string // FROM's files by our names for them; nil: they have those names
}

const installHelp = `install copies the files of a staged certificate over the installed ones, if it is safe: see wait,
whose flags it has. FROM and TO are directories with files of the same names, or single files, or
base names: certs/mail stands for certs/mail.crt, certs/mail.key and so on. Where TO is a symbolic
link to a directory, a new hidden directory is made beside that and the link is swapped; of those
made before, the last one stays. A directory of your own that the link led to stays as well: remove it
when nothing uses it, because a key in a directory that the DNS server watches stays published. With
--combined, TO is one file of FROM/privkey.pem and FROM/fullchain.pem, which no server can read half
replaced.

A directory TO is exchanged in one step for a new one, which has the other files of the old one too,
so that a crash leaves the old files or the new ones. It cannot be where its parent may not be
written, where it is a mount point, is mounted elsewhere (in a container) or holds a directory, where
a process works in it, and on file systems without such a step: then, and for base names, the files
are renamed one by one, it says so, and what a crash left mixed the next run completes. Who holds the
directory itself open has to open it again by its name.

Without --wait it asks once and keeps what it saw beside TO, so that it can be run from cron: 0 also
when there is nothing to do, 3 while it is not safe yet. A certificate whose records are those of
the installed one, as after a renewal with the same key, is installed at once.

--run is given to sh -c after the files are in place, with TO as $TLSACTL_LINEAGE. If it fails while
the old key is still published, the old files come back, it runs again, and the exit code is 1.`

const installExample = `  tlsactl install --run 'postfix reload' staged/mail installed/mail
  tlsactl install --wait --at-most 6h --owner _25._tcp.mail.example.org staged/mail.pem installed/mail.pem`

func (a *app) installCommand() *cobra.Command {
	v := &installVerb{app: a}
	cmd := &cobra.Command{
		Use:     "install [flags] FROM TO",
		Short:   "Install a certificate once it is safe",
		Long:    installHelp + "\n\n" + exitHelp,
		Example: installExample,
		Args:    exactly(2, "FROM and TO"),
		RunE:    func(cmd *cobra.Command, args []string) error { return v.install(cmd.Context(), args[0], args[1]) },
	}
	v.flags.register(cmd.Flags())
	cmd.Flags().BoolVar(&v.wait, "wait", false, "wait until it is safe, for --at-most")
	cmd.Flags().StringVar(&v.run, "run", "", "`CMD` for sh -c when the files are in place")
	cmd.Flags().BoolVar(&v.combined, "combined", false, "install one file of FROM's privkey.pem and fullchain.pem")
	return cmd
}

// An installation is the work at one TO.
type installation struct {
	*installVerb
	from, to *lineage
	// work is the name of our own files, which have it with a suffix: the lock, the state and, where the files are replaced
	// one by one, the staging directory.
	work string
	// beside is work where that is next to TO.
	beside string
	// journal is the path of the journal: work, or beside where a whole directory is exchanged.
	journal string
	request request
	// waiter and verdict are for the report; nil where DNS was not asked.
	waiter  *waiter
	verdict verdict
}

func (v *installVerb) install(ctx context.Context, fromPath, toPath string) error {
	if err := v.flags.check(); err != nil {
		return err
	}
	r, err := newRequest(&v.flags.naming, &v.flags.combining)
	if err != nil {
		return err
	}
	i := &installation{installVerb: v, request: r}
	if err := i.locate(fromPath, toPath); err != nil {
		return err
	}
	unlock, err := lock(i.work + ".lock")
	if err != nil {
		return err
	}
	defer unlock()
	if err := i.recover(ctx); err != nil {
		return err
	}
	// Another run may have been at work until the lock was ours.
	if err := i.read(fromPath, toPath); err != nil {
		return err
	}
	defer func() { i.from.wipe(); i.to.wipe() }()
	return i.proceed(ctx)
}

// locate finds the shapes of FROM and TO and the place for our own files.
func (i *installation) locate(fromPath, toPath string) error {
	if err := i.read(fromPath, toPath); err != nil {
		return err
	}
	i.from.wipe()
	i.to.wipe()
	i.settle()
	return nil
}

// settle names our own files, from the path and shape of TO.
func (i *installation) settle() {
	i.beside = filepath.Join(filepath.Dir(i.to.path), ".tlsactl-install."+filepath.Base(i.to.path))
	i.work = i.beside
	if i.to.shape == asDirectory {
		i.work = filepath.Join(i.to.path, ".tlsactl-install")
	}
	if i.flags.state == "" {
		i.flags.state = i.work + ".state"
	}
}

// readFrom reads FROM, and makes one file of it where that is wanted.
func (v *installVerb) readFrom(path string) (*lineage, error) {
	l, err := readNamed(path, v.files)
	if err != nil || !v.combined || l.shape == asNothing {
		return l, err
	}
	return l.combined()
}

func (i *installation) read(fromPath, toPath string) error {
	var err error
	if i.from, err = i.readFrom(fromPath); err != nil {
		return fail(exitUsage, "%w", err)
	}
	if i.from.shape == asNothing {
		return fail(exitUsage, "%s: there is neither a directory nor a file nor a file of this base name: name what is staged", fromPath)
	}
	if toPath, err = filepath.Abs(toPath); err != nil {
		return err
	}
	if i.to, err = readLineage(toPath); err != nil {
		return fail(exitUsage, "%w: TO, or the directory it is to lie in, must be there, for you to read", err)
	}
	isDir := i.from.shape == asDirectory || i.from.shape == asLink
	switch i.to.shape {
	case asNothing:
		i.to.shape = i.from.shape
		if isDir {
			if err := os.Mkdir(toPath, 0o755); err != nil {
				return fail(exitUsage, "%w", err)
			}
			i.to, err = readLineage(toPath)
		}
		return err
	case asDirectory, asLink:
		if isDir {
			return nil
		}
	case i.from.shape:
		return nil
	}
	return fail(exitUsage, "%s is a %s and %s is a %s: give two of the same kind", fromPath, i.from.shape, toPath, i.to.shape)
}

// proceed judges and installs; nothing of an earlier run is left to do.
func (i *installation) proceed(ctx context.Context) error {
	if len(changedRoles(i.from, i.to)) == 0 {
		return cmp.Or(removeSynced(i.work+".state"), i.report("nothing to do"))
	}
	if err := checkFit(i.from, i.to); err != nil {
		return err
	}
	// A wait takes hours: no private key stays in memory for it.
	judged := i.from
	i.from.wipe()
	i.to.wipe()
	if err := i.judge(ctx); err != nil {
		if i.waiter != nil && i.flags.output.value == "json" {
			return cmp.Or(err, i.report("refused"))
		}
		return err
	}
	// What was judged is what will be installed, over what is there by now.
	if err := i.read(i.from.path, i.to.path); err != nil {
		return err
	}
	if !judged.sameBytes(i.from) || !i.from.sameBytes(judged) {
		return fail(exitSuperseded, "%s has changed since it was judged: run again", i.from.path)
	}
	if err := checkFit(i.from, i.to); err != nil {
		return err
	}
	if err := i.replace(ctx); err != nil {
		return err
	}
	return i.report("installed")
}

// judge waits, or asks once, unless DNS has nothing to do with the change.
func (i *installation) judge(ctx context.Context) error {
	wishes, err := i.request.wishes(i.from.subjects(), i.app.talk)
	if err != nil {
		return fail(exitCode(err), "%s: %w", i.from.path, err)
	}
	if i.isInstalled(wishes) {
		return nil
	}
	r := newReporter(i.app.stderr, i.app.now)
	flags := i.flags
	if !i.wait {
		flags.atMost.Duration = 0
	}
	if i.waiter, err = flags.waiter(i.app, wishes, r); err != nil {
		return err
	}
	i.waiter.reread = func() ([]wish, error) {
		again, err := i.readFrom(i.from.path)
		if err != nil {
			return nil, err
		}
		defer again.wipe()
		if err := checkFit(again, i.to); err != nil {
			return nil, err
		}
		return i.request.wishes(again.subjects(), nil)
	}
	if !i.wait {
		i.waiter.progress = func(verdict) {} // the exit says it
	}
	i.verdict, err = flags.verdict(ctx, i.waiter, r)
	return err
}

// isInstalled tells that the installed certificate already needs every record that the staged one needs: clients see no
// difference.
func (i *installation) isInstalled(wishes []wish) bool {
	installed, err := i.installed()
	if err != nil {
		return false
	}
	for _, w := range wishes {
		covered := slices.ContainsFunc(installed, func(o wish) bool {
			return o.owner == w.owner && !slices.ContainsFunc(w.associations, func(a dane.Association) bool {
				return !slices.Contains(o.associations, a)
			})
		})
		if !covered {
			return false
		}
	}
	return true
}

// installed is what the installed certificate needs; an error where there is none.
func (i *installation) installed() ([]wish, error) {
	subjects := i.to.subjects()
	if len(subjects) == 0 {
		return nil, fmt.Errorf("%s: no certificate", i.to.path)
	}
	return i.request.wishes(subjects, nil)
}

package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"time"
)

// perform makes one swap, with its journal at path.
func (i *installation) perform(ctx context.Context, j *journal, path string) error {
	i.journal = path
	i.equip(j)
	if err := j.write(path, phaseStage); err != nil {
		if j.Dir != nil {
			return fmt.Errorf("%w: %w", errNoExchange, err)
		}
		return err
	}
	i.app.atStep("begin")
	s, err := j.swap()
	if err != nil {
		return err
	}
	if err := s.stage(i.from, i.to); errors.Is(err, errNoExchange) {
		return cmp.Or(i.discard(s), err)
	} else if err != nil {
		return errors.Join(fmt.Errorf("nothing was installed: %w", err), i.discard(s))
	}
	i.app.atStep("staged")
	if err := j.write(path, phaseMove); err != nil {
		return err
	}
	return i.finish(ctx, j, s)
}

// equip gives a swap what no journal holds.
func (i *installation) equip(j *journal) {
	switch {
	case j.Dir != nil:
		j.Dir.atStep, j.Dir.exchange, j.Dir.proc = i.app.atStep, i.app.exchange, i.app.proc
	case j.Files != nil:
		j.Files.atStep = i.app.atStep
	case j.Link != nil:
		j.Link.atStep = i.app.atStep
	}
}

// discard forgets an installation that changed nothing yet.
func (i *installation) discard(s swap) error {
	if err := s.discard(); err != nil {
		return err
	}
	return removeSynced(i.journal)
}

// recover takes up what an earlier run left: what was whole on disk is completed, else the old files come back.
func (i *installation) recover(ctx context.Context) error {
	paths := []string{i.work}
	if i.beside != i.work {
		paths = append(paths, i.beside)
	}
	for _, path := range paths {
		i.journal = path
		if err := i.resume(ctx); err != nil {
			return err
		}
	}
	return nil
}

// resume takes up what one journal tells of.
func (i *installation) resume(ctx context.Context) error {
	j, err := readJournal(i.journal)
	if err != nil {
		return err
	}
	if j == nil {
		return os.RemoveAll(i.journal + ".d") // of a run that was interrupted after its end
	}
	i.equip(j)
	s, err := j.swap()
	if err != nil {
		return fmt.Errorf("journal %s: %w", i.journal, err)
	}
	switch {
	case j.Phase == phaseStage:
		i.app.talk("an earlier run was interrupted before it changed anything: beginning anew")
		return i.discard(s)
	case j.Phase == phaseUndo, j.Phase == phaseMove && !s.isWhole():
		i.app.talk("an earlier run was interrupted: the old files come back")
		return i.undo(ctx, j, s)
	}
	i.app.talk("an earlier run was interrupted: completing it")
	if err := i.finish(ctx, j, s); !errors.Is(err, errNoExchange) {
		return err
	}
	return nil // nothing has changed: this run begins anew
}

// finish moves the new files, which are whole on disk, and runs the command. Every step may be repeated.
func (i *installation) finish(ctx context.Context, j *journal, s swap) error {
	if j.Phase == phaseMove {
		if err := s.apply(); errors.Is(err, errNoExchange) {
			return cmp.Or(i.discard(s), err)
		} else if err != nil {
			return err
		}
		i.app.atStep("moved")
		if err := j.write(i.journal, phaseRun); err != nil {
			return err
		}
	}
	i.app.atStep("run")
	if err := i.command(ctx); err != nil {
		return i.failed(ctx, j, s, err)
	}
	i.app.atStep("ran")
	return i.close(s)
}

// close forgets the installation, the journal first: without one, what is left is rubbish.
func (i *installation) close(s swap) error {
	if err := removeSynced(i.journal); err != nil {
		return err
	}
	i.app.atStep("closed")
	return cmp.Or(s.clean(), removeSynced(i.work+".state"))
}

// command runs what --run says, for this lineage.
func (i *installation) command(ctx context.Context) error {
	if i.run == "" {
		return nil
	}
	cmd := exec.CommandContext(ctx, "/bin/sh", "-c", i.run)
	cmd.Env = append(os.Environ(), "TLSACTL_LINEAGE="+i.to.path)
	cmd.Stdout, cmd.Stderr = i.app.stderr, i.app.stderr
	if err := cmd.Run(); err != nil {
		return fmt.Errorf("--run %q: %w", i.run, err)
	}
	return nil
}

// failed decides after a command that failed: back to the old files where the old key is still published, else the new ones
// stay, and the next run tries the command again.
func (i *installation) failed(ctx context.Context, j *journal, s swap, cause error) error {
	if err := i.oldIsPublished(ctx, s); err != nil {
		return fail(exitUnsafe, "%w; the new files stay, because %w; the next run tries the command again", cause, err)
	}
	if err := i.undo(ctx, j, s); err != nil {
		return fail(exitUnsafe, "%w; then the old files came back: %w", cause, err)
	}
	return fail(exitUnsafe, "%w; the old files are back, and the command has run again", cause)
}

// undo puts the old files in place and runs the command for them.
func (i *installation) undo(ctx context.Context, j *journal, s swap) error {
	if err := j.write(i.journal, phaseUndo); err != nil {
		return err
	}
	i.app.atStep("undo")
	if err := s.revert(); err != nil {
		return err
	}
	i.app.atStep("undone")
	err := i.command(ctx)
	// Whatever it says now, the old files are what it has: nothing else is left to try.
	return cmp.Or(removeSynced(i.journal), s.clean(), err)
}

// oldIsPublished asks every server once for the records of the old certificate: nil if all of them show them.
func (i *installation) oldIsPublished(ctx context.Context, s swap) error {
	old, err := s.replaced()
	if err != nil {
		return err
	}
	wishes, err := i.request.wishes(old, nil)
	if err != nil {
		return err
	}
	flags := i.flags
	flags.state, flags.atMost.Duration = "", 0
	w, err := flags.waiter(i.app, wishes, newReporter(i.app.stderr, i.app.now))
	if err != nil {
		return err
	}
	v := w.round(ctx, i.app.now())
	for _, p := range w.tracker.points() {
		if w.tracker.tracks[p].status != shows {
			return fmt.Errorf("the old key is not published everywhere: %s", v.reason)
		}
	}
	return nil
}

// report says what was done: quietly where there was nothing to do.
func (i *installation) report(result string) error {
	if i.flags.output.value != "json" {
		if result == "installed" {
			return writeLine(i.app.stdout, "installed: "+i.from.path+" in "+i.to.path)
		}
		return nil
	}
	doc := struct {
		Version int          `json:"version"`
		Result  string       `json:"result"`
		From    string       `json:"from"`
		To      string       `json:"to"`
		Wait    *verdictJSON `json:"wait,omitempty"`
		At      time.Time    `json:"at"`
	}{Version: 1, Result: result, From: i.from.path, To: i.to.path, At: i.app.now().UTC().Truncate(time.Second)}
	if i.waiter != nil {
		verdict := i.waiter.document(i.verdict)
		doc.Wait = &verdict
	}
	return writeJSON(i.app.stdout, doc)
}

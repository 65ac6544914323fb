package main

import "context"

// explain says what install would do. It asks DNS once, and writes nothing.
func (v *installVerb) explain(ctx context.Context, fromPath, toPath string, say func(format string, args ...any)) error {
	if err := v.flags.check(); err != nil {
		return err
	}
	r, err := newRequest(&v.flags.naming, &v.flags.combining)
	if err != nil {
		return err
	}
	i := &installation{installVerb: v, request: r}
	if i.from, err = i.readFrom(fromPath); err != nil {
		return fail(exitUsage, "%w", err)
	}
	defer i.from.wipe()
	if i.to, err = readLineage(toPath); err != nil {
		return fail(exitUsage, "%w", err)
	}
	defer i.to.wipe()
	i.settle()
	wishes, err := r.wishes(i.from.subjects(), v.app.talk)
	if err != nil {
		return fail(exitCode(err), "%s: %w", fromPath, err)
	}
	when := "at once: its records are those of the installed certificate"
	if !i.isUnchanged(ctx, wishes) {
		if when, err = i.outlook(ctx, wishes); err != nil {
			return err
		}
	}
	say("would install %s in %s %s", fromPath, toPath, when)
	if v.run != "" {
		say("would run then: %s", v.run)
	}
	return nil
}

// outlook tells when an installation will be safe, as far as one round of questions shows.
func (i *installation) outlook(ctx context.Context, wishes []wish) (string, error) {
	w, err := i.flags.waiter(i.app, wishes, newReporter(i.app.stderr, i.app.now))
	if err != nil {
		return "", err
	}
	v := w.round(ctx, i.app.now())
	if v.word == verdictSafe {
		return "at once: " + v.reason, nil
	}
	return "when it is safe; " + v.word + " now: " + v.reason, nil
}

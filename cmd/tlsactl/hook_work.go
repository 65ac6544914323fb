package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
)

// A handover is the work at one lineage. Every step may be repeated: what is to be done follows from the files alone.
type handover struct {
	*hookVerb
	job *job
	dir string // of the job
}

func (h *handover) to() string {
	name := h.job.name()
	if h.install.combined {
		name += ".pem"
	}
	return filepath.Join(h.hookVerb.to, name)
}

func (h *handover) staged() string { return filepath.Join(h.next, h.job.name()+".pem") }
func (h *handover) copied() string { return filepath.Join(h.certs, h.job.name()+".pem") }

// run stages what certbot has, installs it if it is safe, and takes it from --next when it is installed.
func (h *handover) run(ctx context.Context) error {
	// certbot may renew again meanwhile: that one is staged in its place then, and judged anew.
	for tries := 0; ; tries++ {
		if err := h.publish(ctx); err != nil {
			return err
		}
		h.atStep("published")
		v := h.install // a copy: an installation sets flags of its own
		err := v.install(ctx, h.job.Lineage, h.to())
		if exitCode(err) == exitSuperseded && tries < 3 {
			continue
		}
		if err != nil {
			return err
		}
		h.atStep("installed")
		return h.publish(ctx)
	}
}

func (h *handover) atStep(step string) { h.install.app.atStep(step) }

// publish makes --certs hold what is installed, and --next what waits, if anything does.
func (h *handover) publish(ctx context.Context) error {
	unlock, err := h.lock(ctx)
	if err != nil {
		return err
	}
	defer unlock()
	p, err := h.plan()
	if err != nil {
		return err
	}
	if p.installed != nil {
		if err := publish(h.copied(), p.installed); err != nil {
			return fail(exitUsage, "--certs: %w", err)
		}
		h.atStep("copied")
	}
	if p.waits {
		if err := publish(h.staged(), p.public); err != nil {
			return fail(exitUsage, "--next: %w", err)
		}
		h.atStep("staged")
		return h.pushChanges(ctx)
	}
	// The DNS server has to know what is installed before it no longer sees that it waited.
	if err := h.pushChanges(ctx); err != nil {
		return err
	}
	h.atStep("unstage")
	if err := removeSynced(h.staged()); err != nil {
		return err
	}
	return h.pushChanges(ctx)
}

// A plan is what the files of a lineage ask for.
type plan struct {
	waits     bool   // certbot has what is not installed
	public    []byte // the certificates that certbot has
	installed []byte // the certificates that are installed; nil where no copy is wanted, or nothing is installed
	changes   []string
}

func (h *handover) plan() (*plan, error) {
	if err := h.checkPlaces(); err != nil {
		return nil, err
	}
	from, err := h.install.readFrom(h.job.Lineage)
	if err != nil {
		return nil, fail(exitUsage, "%w", err)
	}
	defer from.wipe()
	to, err := readLineage(h.to())
	if err != nil {
		return nil, fail(exitUsage, "%w", err)
	}
	defer to.wipe()
	if err := checkFit(from, to); err != nil {
		return nil, fmt.Errorf("%w (while certbot is at work there, the next --resume finds it whole)", err)
	}
	p := &plan{public: from.public(), changes: changedRoles(from, to)}
	p.waits = len(p.changes) > 0
	if h.certs != "" {
		p.installed = to.public()
	}
	return p, nil
}

// checkPlaces says what is missing before anything else stumbles over it.
func (h *handover) checkPlaces() error {
	live, err := os.Stat(h.job.Lineage)
	if err != nil {
		return fail(exitUsage, "%w: certbot has no such lineage (any more): to forget it, remove %s, then %s", err, h.dir, h.staged())
	}
	for _, p := range []struct{ flag, path string }{{"next", h.next}, {"install", h.hookVerb.to}, {"certs", h.certs}} {
		if p.path == "" {
			continue
		}
		if _, err := os.Stat(p.path); err != nil {
			return fail(exitUsage, "--%s: %w: make the directory, for root to write", p.flag, err)
		}
	}
	if to, err := os.Stat(h.to()); err == nil && os.SameFile(live, to) {
		return fail(exitUsage, "--install %s is certbot's own directory, where nothing can wait: let the server read another one",
			h.hookVerb.to)
	}
	return nil
}

// pushChanges runs --push unless what it would bring away is there already.
func (h *handover) pushChanges(ctx context.Context) error {
	if h.push == "" {
		return nil
	}
	now := []byte(h.push + "\n")
	for _, path := range []string{h.staged(), h.copied()} {
		data, err := os.ReadFile(path)
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
		now = append(now, digest(data)+"\n"...)
	}
	record := filepath.Join(h.dir, "pushed")
	if before, err := os.ReadFile(record); err == nil && bytes.Equal(before, now) {
		return nil
	}
	h.atStep("push")
	cmd := exec.CommandContext(ctx, "sh", "-c", h.push)
	cmd.Stdout, cmd.Stderr = h.install.app.stderr, h.install.app.stderr
	if err := cmd.Run(); err != nil {
		return fmt.Errorf("--push %q: %w: the DNS server does not know the change yet; the next --resume tries again", h.push, err)
	}
	h.atStep("pushed")
	return writeAtomic(record, now, 0o600)
}

// explain is --dry-run.
func (h *handover) explain(ctx context.Context) error {
	p, err := h.plan()
	if err != nil {
		return err
	}
	out := h.install.app.stdout
	say := func(format string, args ...any) { fmt.Fprintf(out, h.job.name()+": "+format+"\n", args...) }
	if !p.waits {
		say("nothing to do: %s has what certbot has", h.to())
		return nil
	}
	say("would write %s, certificates without keys, and remove it after the installation", h.staged())
	if h.certs != "" {
		say("would write %s, what is installed then", h.copied())
	}
	if h.push != "" {
		say("would run after each of them: %s", h.push)
	}
	v := h.install
	return v.explain(ctx, h.job.Lineage, h.to(), say)
}

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
	"slices"
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

func (h *handover) staged() string  { return filepath.Join(h.next, h.job.name()+".pem") }
func (h *handover) nextKey() string { return filepath.Join(h.next, h.job.name()+".pub") }
func (h *handover) copied() string  { return filepath.Join(h.certs, h.job.name()+".pem") }

func (v *hookVerb) handover(j *job, dir string) *handover {
	v.install.files = j.Files
	return &handover{hookVerb: v, job: j, dir: dir}
}

// run stages what the client has, installs it if it is safe, and takes it from --next when it is installed.
func (h *handover) run(ctx context.Context) error {
	// The client may renew again meanwhile: that one is staged in its place then, and judged anew.
	for tries := 0; ; tries++ {
		p, err := h.publish(ctx)
		if err != nil || p.ahead {
			return err
		}
		h.atStep("published")
		v := h.install // a copy: an installation sets flags of its own
		err = v.install(ctx, h.job.Lineage, h.to())
		if exitCode(err) == exitSuperseded && tries < 3 {
			continue
		}
		if err != nil {
			return err
		}
		h.atStep("installed")
		_, err = h.publish(ctx)
		return err
	}
}

func (h *handover) atStep(step string) { h.install.app.atStep(step) }

// publish makes --certs hold what is installed, and --next what waits, if anything does, and the client's next key.
func (h *handover) publish(ctx context.Context) (*plan, error) {
	unlock, err := h.lock(ctx)
	if err != nil {
		return nil, err
	}
	defer unlock()
	p, err := h.plan()
	if err != nil {
		return nil, err
	}
	if p.installed != nil {
		if err := publish(h.copied(), p.installed); err != nil {
			return nil, fail(exitUsage, "--certs: %w", err)
		}
		h.atStep("copied")
	}
	if p.waits {
		if err := publish(h.staged(), p.public); err != nil {
			return nil, fail(exitUsage, "--next: %w", err)
		}
		h.atStep("staged")
	}
	// A next key whose certificate has come is staged by that now, so that its file may hold the key after it.
	if err := h.publishNext(p); err != nil {
		return nil, err
	}
	// The DNS server has to know what is installed before it no longer sees that it waited.
	if err := h.pushChanges(ctx); err != nil || p.waits {
		return p, err
	}
	h.atStep("unstage")
	if err := removeSynced(h.staged()); err != nil {
		return nil, err
	}
	return p, h.pushChanges(ctx)
}

// publishNext makes the file of the next key what the plan wants; a key that cannot be read changes nothing.
func (h *handover) publishNext(p *plan) error {
	switch {
	case h.job.Next == "":
		return nil
	case p.nextBad != nil:
		h.install.app.talk("%s: the next key is not published: %v", h.job.name(), p.nextBad)
		return nil
	case len(p.next) == 0:
		return removeSynced(h.nextKey())
	}
	if err := publish(h.nextKey(), p.next); err != nil {
		return fail(exitUsage, "--next: %w", err)
	}
	h.atStep("next key")
	return nil
}

// A plan is what the files of a lineage ask for.
type plan struct {
	waits     bool   // the client has what is not installed
	public    []byte // the certificates that the client has
	installed []byte // the certificates that are installed; nil where no copy is wanted, or nothing is installed
	// ahead: the client's key is that of a certificate to come, and its certificate is the installed one.
	ahead   bool
	next    []byte // the public halves of the client's keys that have no certificate yet
	nextBad error  // why they are not known
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
	p := &plan{public: from.public(), ahead: isAhead(from, to)}
	if !p.ahead {
		if err := checkFit(from, to); err != nil {
			return nil, fmt.Errorf("%w (while %s is at work there, the next --resume finds it whole)", err, h.client.name)
		}
		p.waits = len(changedRoles(from, to)) > 0
	}
	if h.certs != "" {
		p.installed = to.public()
	}
	if h.job.Next != "" {
		p.next, p.nextBad = nextKeys(from, h.job.Next)
	}
	return p, nil
}

// checkPlaces says what is missing before anything else stumbles over it.
func (h *handover) checkPlaces() error {
	dir := filepath.Dir(h.job.Files[fullFile])
	own, err := os.Stat(dir)
	if err == nil {
		_, err = os.Stat(h.job.Lineage)
	}
	if err != nil {
		left := h.staged()
		if h.job.Next != "" {
			left += " and " + h.nextKey()
		}
		return fail(exitUsage, "%w: %s has no such lineage (any more): to forget it, remove %s, then %s", err, h.client.name, h.dir, left)
	}
	var places []fs.FileInfo
	for _, p := range []struct{ flag, path string }{{"install", h.hookVerb.to}, {"next", h.next}, {"certs", h.certs}} {
		if p.path == "" {
			continue
		}
		info, err := os.Stat(p.path)
		if err != nil {
			return fail(exitUsage, "--%s: %w: make the directory, for root to write", p.flag, err)
		}
		to, err := os.Stat(h.to())
		if os.SameFile(own, info) || p.flag == "install" && err == nil && os.SameFile(own, to) {
			return fail(exitUsage, "--%s %s is %s's own directory, where nothing can wait: let the server read another one",
				p.flag, p.path, h.client.name)
		}
		// What is written there without keys has the name of the file that the server reads.
		if slices.ContainsFunc(places, func(other fs.FileInfo) bool { return os.SameFile(other, info) }) {
			return fail(exitUsage, "--%s %s: --install is for the server alone, and --next for what waits alone: name three directories",
				p.flag, p.path)
		}
		places = append(places, info)
	}
	return nil
}

// pushChanges runs --push unless what it would bring away is there already.
func (h *handover) pushChanges(ctx context.Context) error {
	if h.push == "" {
		return nil
	}
	now := []byte(h.push + "\n")
	paths := []string{h.staged(), h.copied()}
	if h.job.Next != "" {
		paths = append(paths, h.nextKey())
	}
	for _, path := range paths {
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
	cmd := exec.CommandContext(ctx, "/bin/sh", "-c", h.push)
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
	if h.job.Next != "" && p.nextBad == nil {
		h.explainNext(p, say)
	}
	if !p.waits {
		say("nothing to install: %s has what %s has", h.to(), h.client.name)
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

func (h *handover) explainNext(p *plan, say func(format string, args ...any)) {
	now, err := os.ReadFile(h.nextKey())
	switch {
	case len(p.next) == 0 && err == nil:
		say("would remove %s: there is no next key", h.nextKey())
	case !bytes.Equal(now, p.next):
		say("would write %s, the public half of the next key", h.nextKey())
	}
}

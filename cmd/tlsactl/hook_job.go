package main

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/spf13/pflag"
)

// jobVersion is that of a job file; others are refused, and left as they are.
const jobVersion = 1

// A job is what the hook of a lineage said. It stays when the lineage is installed: each --resume compares the two again, so
// that a renewal whose hook was killed is found as well. The state directory has a directory for each, with the files
//
//	job.json  the job
//	pushed    the digest of what --push has brought away
//	lock      held while --next and --certs are written
type job struct {
	Version int    `json:"version"`
	Client  string `json:"client"`
	Lineage string `json:"lineage"` // the client's directory of the lineage, or lego's NAME.crt
	// Files are the client's files by our names for them.
	Files map[string]string `json:"files"`
	Next  string            `json:"next,omitempty"` // the client's next key; empty: it never has one
	Flags []string          `json:"flags"`
}

const jobFile = "job.json"

// name is that of the lineage in the client, and of its files.
func (j *job) name() string { return strings.TrimSuffix(filepath.Base(j.Lineage), ".crt") }

// say completes what the client has said by what the flags of its hook say.
func (j *job) say(c *client, flags *pflag.FlagSet) {
	j.Version, j.Client = jobVersion, c.name
	flags.Visit(func(f *pflag.Flag) {
		if slices.Contains([]string{"state", "wait", "dry-run"}, f.Name) {
			return
		}
		values := []string{f.Value.String()}
		if list, ok := f.Value.(pflag.SliceValue); ok {
			values = list.GetSlice()
		}
		for _, value := range values {
			j.Flags = append(j.Flags, "--"+f.Name+"="+value)
		}
	})
}

// readJob gives nil where there is none.
func readJob(dir string) (*job, error) {
	path := filepath.Join(dir, jobFile)
	data, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	j := &job{}
	if err := json.Unmarshal(data, j); err != nil {
		return nil, fmt.Errorf("%s: %w: run the hook of this lineage again, it writes a new one", path, err)
	}
	if j.Version != jobVersion {
		return nil, fmt.Errorf("%s: version %d is not known here: use the tlsactl that wrote it", path, j.Version)
	}
	if clientNamed(j.Client) == nil || j.Files[fullFile] == "" {
		return nil, fmt.Errorf("%s: it names no client and files: run the hook of this lineage again, it writes a new one", path)
	}
	return j, nil
}

// begin makes the job last, so that from here on --resume finishes it.
func (h *handover) begin(ctx context.Context) error {
	if err := os.MkdirAll(h.dir, 0o700); err != nil {
		return fail(exitUsage, "--state: %w: name a directory that can be made", err)
	}
	unlock, err := h.lock(ctx)
	if err != nil {
		return err
	}
	defer unlock()
	// A damaged one, or one of another version, makes room for ours.
	if old, err := readJob(h.dir); err == nil && old != nil && old.Lineage != h.job.Lineage {
		return fail(exitUsage, "%s is of the lineage %s, and %s has the same name: give it another --state and other directories",
			h.dir, old.Lineage, h.job.Lineage)
	}
	data, err := json.MarshalIndent(h.job, "", "  ")
	if err != nil {
		return err
	}
	if err := writeAtomic(filepath.Join(h.dir, jobFile), append(data, '\n'), 0o600); err != nil {
		return err
	}
	// The directory's own name, and that of the one around it, have to last too.
	h.atStep("job")
	return cmp.Or(syncDir(h.state), syncDir(filepath.Dir(h.state)))
}

// lock waits until no other run writes for this lineage: none does for longer than a push takes.
func (h *handover) lock(ctx context.Context) (unlock func(), err error) {
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	for {
		unlock, err := lock(filepath.Join(h.dir, "lock"))
		if exitCode(err) != exitNotYet {
			return unlock, err
		}
		select {
		case <-ctx.Done():
			return nil, err
		case <-time.After(50 * time.Millisecond):
		}
	}
}

// resumeAll goes on with every lineage; the failure of one does not keep the others.
func (v *hookVerb) resumeAll(ctx context.Context) error {
	entries, err := os.ReadDir(v.state)
	if err != nil {
		return fail(exitUsage, "%w: no hook has run with this directory, or what it said is lost: run it for each lineage, %s", err, v.client.again)
	}
	var failed []error
	for _, e := range entries {
		if err := v.resumeOne(ctx, filepath.Join(v.state, e.Name())); err != nil && ctx.Err() == nil {
			failed = append(failed, fail(exitCode(err), "%s: %w", e.Name(), err))
		}
	}
	if err := ctx.Err(); err != nil || len(failed) == 0 {
		return err
	}
	// What only takes its time is the least of them.
	code := exitNotYet
	if i := slices.IndexFunc(failed, func(err error) bool { return exitCode(err) != exitNotYet }); i >= 0 {
		code = exitCode(failed[i])
	}
	return fail(code, "%w", errors.Join(failed...))
}

func (v *hookVerb) resumeOne(ctx context.Context, dir string) error {
	j, err := readJob(dir)
	if err != nil || j == nil {
		return err // without a job its hook was killed before anything was done
	}
	again := v.install.app.newHook(clientNamed(j.Client))
	flags := pflag.NewFlagSet("hook "+j.Client, pflag.ContinueOnError)
	again.register(flags)
	if err := cmp.Or(flags.Parse(j.Flags), again.check()); err != nil {
		return fmt.Errorf("%s: %w: run the hook of this lineage again, it writes a new one", filepath.Join(dir, jobFile), err)
	}
	h := again.handover(j, dir)
	if v.dryRun {
		return h.explain(ctx)
	}
	return h.run(ctx)
}

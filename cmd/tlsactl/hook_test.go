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
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/miekg/dns"
)

// A renewal is a mail server with an old certificate, and certbot's lineage with a new one, which the hook knows already: it
// ran when the two were the same.
type renewal struct {
	t        *testing.T
	dir      string
	dns      server
	old, new map[string][]byte
	flags    []string
}

func newRenewal(t *testing.T, flags ...string) *renewal {
	t.Helper()
	r := &renewal{t: t, dir: t.TempDir(), dns: serve(t, &authority{apex: "example.org.", ttl: time.Hour, signed: true})}
	r.old, r.new = newLineage(t, "mail.example.org", newKey(t)), newLineage(t, "mail.example.org", newKey(t))
	for _, dir := range []string{"next", "certs", "installed/mail"} {
		must(t, 0, os.MkdirAll(filepath.Join(r.dir, dir), 0o755))
	}
	r.flags = append([]string{"--install", r.path("installed"), "--certs", r.path("certs"), "--server", r.dns.addr, "--hold", "0",
		"--run", "echo ran >> " + r.path("log")}, flags...)
	for name, data := range r.old {
		must(t, 0, os.WriteFile(r.path("installed", "mail", name), data, 0o600))
	}
	r.renew(r.old)
	if _, err := r.hook(0); err != nil {
		t.Fatal(err)
	}
	r.renew(r.new)
	r.publish(r.old, r.new)
	return r
}

func (r *renewal) path(parts ...string) string {
	return filepath.Join(append([]string{r.dir}, parts...)...)
}

func (r *renewal) renew(files map[string][]byte) {
	r.t.Helper()
	must(r.t, 0, os.MkdirAll(r.path("live", "mail"), 0o755))
	for name, data := range files {
		must(r.t, 0, os.WriteFile(r.path("live", "mail", name), data, 0o600))
	}
}

func (r *renewal) publish(all ...map[string][]byte) {
	var file []byte
	for _, files := range all {
		file = append(file, files["cert.pem"]...)
	}
	r.dns.set(mailOwner, recordsOf(r.t, mailOwner, file)...)
}

// hook runs as certbot runs it, and stops at a step; 0: at none.
func (r *renewal) hook(stop int) (killed bool, err error) {
	return r.run(stop, append([]string{"hook", "certbot", "--next", r.path("next")}, r.flags...)...)
}

func (r *renewal) resume(stop int) (killed bool, err error) {
	return r.run(stop, "hook", "certbot", "--next", r.path("next"), "--resume")
}

func (r *renewal) run(stop int, args ...string) (killed bool, err error) {
	r.t.Helper()
	bin, err := os.Executable()
	cmd := exec.CommandContext(r.t.Context(), must(r.t, bin, err), args...)
	cmd.Args[0] = "tlsactl"
	// A program with the race detector sleeps for a second at its end, if it is not told otherwise.
	cmd.Env = append(os.Environ(), fmt.Sprintf("%s=%d", stopEnv, stop), "RENEWED_LINEAGE="+r.path("live", "mail"),
		"GORACE=atexit_sleep_ms=0")
	out, err := cmd.CombinedOutput()
	if exit, ok := errors.AsType[*exec.ExitError](err); ok {
		if exit.Sys().(syscall.WaitStatus).Signal() == syscall.SIGKILL {
			return true, nil
		}
		return false, fmt.Errorf("%w: %s", err, out)
	}
	return false, err
}

func (r *renewal) read(parts ...string) []byte {
	data, err := os.ReadFile(r.path(parts...))
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return must(r.t, data, err)
}

// The DNS server sees the files at every step where the hook can die: of what the mail server may present, and of what it will
// present, one of --next and --certs has the certificate.
func TestHookKilledAtAnyStepIsFinishedByTheNextRun(t *testing.T) {
	for claim, flags := range map[string][]string{"a directory": nil, "one file": {"--combined"}, "with a push": {"--push", "true"}} {
		for _, verb := range []string{"hook", "resume"} {
			t.Run(claim+" by "+verb, func(t *testing.T) {
				t.Parallel()
				steps := killEverywhere(t, verb, flags)
				t.Logf("%d steps", steps)
				if steps < 13 {
					t.Errorf("%d steps were tried, want at least 13", steps)
				}
			})
		}
	}
}

func killEverywhere(t *testing.T, verb string, flags []string) (steps int) {
	for stop := 1; ; stop++ {
		r := newRenewal(t, flags...)
		run := map[string]func(int) (bool, error){"hook": r.hook, "resume": r.resume}[verb]
		killed, err := run(stop)
		if err != nil {
			t.Fatal(err)
		}
		seen := bytes.Join([][]byte{r.read("next", "mail.pem"), r.read("certs", "mail.pem")}, nil)
		if r.presents(r.new) && !bytes.Contains(seen, r.new["cert.pem"]) {
			t.Errorf("step %d: the new key is installed, and the DNS server sees it nowhere", stop)
		}
		if !killed {
			return stop - 1
		}
		if bytes.Contains(seen, []byte("PRIVATE")) {
			t.Errorf("step %d: a private key where the DNS server reads", stop)
		}
		if _, err := r.resume(0); err != nil {
			t.Errorf("step %d: the next run: %v", stop, err)
		}
		if !r.presents(r.new) || r.read("next", "mail.pem") != nil ||
			!bytes.Equal(r.read("certs", "mail.pem"), r.new["fullchain.pem"]) {
			t.Errorf("step %d: the next run did not finish", stop)
		}
		if len(r.read("log")) == 0 {
			t.Errorf("step %d: the command never ran", stop)
		}
		if _, err := r.resume(0); err != nil || strings.Count(string(r.read("log")), "ran") > 2 {
			t.Errorf("step %d: a run with nothing to do: %v, %s", stop, err, r.read("log"))
		}
	}
}

// presents tells whether a server that starts now could present the key of files.
func (r *renewal) presents(files map[string][]byte) bool {
	return bytes.Contains(r.read("installed", "mail.pem"), files["privkey.pem"]) ||
		bytes.Equal(r.read("installed", "mail", "privkey.pem"), files["privkey.pem"])
}

// A renewal during the wait takes the place of the one that waits: its key was never seen by any cache.
func TestRenewalDuringTheWaitIsStagedAndJudgedAnew(t *testing.T) {
	r := newRenewal(t)
	r.publish(r.old)
	if _, err := r.resume(0); exitOf(err) != exitNotYet {
		t.Fatalf("not published: %v", err)
	}
	newest := newLineage(t, "mail.example.org", newKey(t))
	r.renew(newest)
	r.publish(r.old, r.new)
	if _, err := r.resume(0); exitOf(err) != exitNotYet || r.presents(newest) || r.presents(r.new) {
		t.Errorf("the newest key is not published, and yet: %v", err)
	}
	if staged := r.read("next", "mail.pem"); !bytes.Equal(staged, newest["fullchain.pem"]) {
		t.Errorf("staged is not the newest: %s", staged)
	}
	r.publish(r.old, newest)
	if _, err := r.resume(0); err != nil || !r.presents(newest) {
		t.Errorf("published: %v", err)
	}
}

// A renewal between the verdict and the copy: what was judged is gone, and the newer one is staged and judged at once.
func TestRenewalDuringTheInstallationIsTakenUpAtOnce(t *testing.T) {
	r := newRenewal(t)
	newest := newLineage(t, "mail.example.org", newKey(t))
	r.publish(r.old, r.new, newest)
	asked := 0
	x := exchangerFunc(func(ctx context.Context, q *dns.Msg, transport, addr string) (*dns.Msg, error) {
		if asked++; asked == 1 {
			r.renew(newest)
		}
		return network{}.exchange(ctx, q, transport, addr)
	})
	code, _, stderr := tlsactl(t, x, "hook", "certbot", "--next", r.path("next"), "--resume")
	if code != exitDone || asked != 2 || !r.presents(newest) {
		t.Errorf("exit %d after %d questions: %s", code, asked, stderr)
	}
}

// Cron's runs and certbot's may overlap: one works, the others leave it to it.
func TestRunsSideBySideInstallOnce(t *testing.T) {
	r := newRenewal(t)
	errs := make(chan error, 12)
	for i := range cap(errs) {
		run := []func(int) (bool, error){r.resume, r.hook}[i%2]
		go func() {
			_, err := run(0)
			errs <- err
		}()
	}
	for range cap(errs) {
		if err := <-errs; err != nil && exitOf(err) != exitNotYet {
			t.Error(err)
		}
	}
	if _, err := r.resume(0); err != nil || !r.presents(r.new) || r.read("next", "mail.pem") != nil {
		t.Errorf("afterwards: %v", err)
	}
	if ran := strings.Count(string(r.read("log")), "ran"); ran != 1 {
		t.Errorf("the command ran %d times", ran)
	}
}

// Amid a renewal certbot's directory has files of two certificates.
func TestHalfRenewedLineageIsLeftAlone(t *testing.T) {
	r := newRenewal(t)
	must(t, 0, os.WriteFile(r.path("live", "mail", "privkey.pem"), r.old["privkey.pem"], 0o600))
	if _, err := r.resume(0); exitOf(err) != exitUnsafe || !strings.Contains(err.Error(), "the next --resume finds it whole") {
		t.Errorf("got %v", err)
	}
	if !r.presents(r.old) || r.read("next", "mail.pem") != nil {
		t.Error("something changed")
	}
	r.renew(r.new)
	if _, err := r.resume(0); err != nil || !r.presents(r.new) {
		t.Errorf("when it is whole: %v", err)
	}
}

func TestDamagedJobIsWrittenAnewByTheHook(t *testing.T) {
	r := newRenewal(t)
	for _, text := range []string{"", "{", `{"version": 2}`, `{"version": 1, "lineage": "/x", "flags": ["--none"]}`} {
		must(t, 0, os.WriteFile(r.path("next.hook", "mail", jobFile), []byte(text), 0o600))
		if _, err := r.resume(0); exitOf(err) != exitUnsafe || !strings.Contains(err.Error(), jobFile) {
			t.Errorf("%q: %v", text, err)
		}
	}
	must(t, 0, os.WriteFile(r.path("next.hook", "mail", jobFile), nil, 0o600))
	if _, err := r.hook(0); err != nil || !r.presents(r.new) {
		t.Errorf("the hook itself: %v", err)
	}
}

// exitOf is the exit code that an error of run holds.
func exitOf(err error) int {
	if exit, ok := errors.AsType[*exec.ExitError](err); ok {
		return exit.ExitCode()
	}
	return exitDone
}

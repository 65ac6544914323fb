package ledger

import (
	"bufio"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"strings"
	"syscall"
	"testing"
)

// programs are what tests run as other processes; each gets the ledger's path and gives its exit code.
func programs() map[string]func(string) int {
	return map[string]func(string) int{"commit": commitUntilKilled, "limit": commitUnderALimit}
}

func program(t *testing.T, name, path string) *exec.Cmd {
	t.Helper()
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), exe)
	cmd.Env = append(os.Environ(), "LEDGER_TEST_PROGRAM="+name, "LEDGER_TEST_FILE="+path)
	cmd.Stderr = os.Stderr
	return cmd
}

// commitUntilKilled says which owners it was told are durable.
func commitUntilKilled(path string) int {
	s, err := Open(path)
	for i := 0; err == nil; i++ {
		if err = s.Commit("a", owners(i, i+1)); err == nil {
			_, err = fmt.Println(i)
		}
	}
	fmt.Fprintln(os.Stderr, err)
	return 1
}

func TestWhatCommitReturnedForSurvivesAKill(t *testing.T) {
	path := ledgerPath(t)
	told := 0
	for round := range 5 {
		cmd := program(t, "commit", path)
		out, err := cmd.StdoutPipe()
		if err != nil || cmd.Start() != nil {
			t.Fatal(err)
		}
		lines := bufio.NewScanner(out)
		for n := 0; lines.Scan(); n++ {
			if n == 7*(round+1) {
				if round == 0 { // the file is in use
					if f, err := os.Open(path); err != nil || !errors.Is(lock(f), syscall.EWOULDBLOCK) || f.Close() != nil {
						t.Error("the other process does not hold the lock")
					}
				}
				_ = cmd.Process.Kill()
			}
			var i int
			if _, err := fmt.Sscan(lines.Text(), &i); err != nil {
				t.Fatal(err)
			}
			told = max(told, i+1)
		}
		_ = cmd.Wait() // killed
		s := open(t, path)
		if s.Origin() != Intact {
			t.Fatalf("round %d: %v %s", round, s.Origin(), s.Notice())
		}
		got, err := s.Load("a")
		if err != nil {
			t.Fatal(err)
		}
		for i := range told {
			if got[ownerOf(i)] == nil {
				t.Fatalf("owner %d of %d is gone", i, told)
			}
		}
		closeStore(t, s)
	}
	if told < 35 {
		t.Errorf("only %d commits", told)
	}
}

// commitUnderALimit stands for a full disk: the file may not grow for a while.
func commitUnderALimit(path string) int {
	signal.Ignore(syscall.SIGXFSZ)
	var old syscall.Rlimit
	s, err := Open(path)
	if err == nil {
		err = errors.Join(s.Commit("a", owners(0, 100)), syscall.Getrlimit(syscall.RLIMIT_FSIZE, &old))
	}
	if err != nil {
		return say("before: %v", err)
	}
	info, err := os.Stat(path)
	if err != nil {
		return say("%v", err)
	}
	limit := old
	limit.Cur = uint64(info.Size())
	if err := syscall.Setrlimit(syscall.RLIMIT_FSIZE, &limit); err != nil {
		return say("limit: %v", err)
	}
	for range 3 {
		if err := s.Commit("a", owners(100, 1000)); err == nil {
			return say("a commit beyond the limit: no error")
		}
		if got, err := s.Load("a"); err != nil || len(got) != 100 {
			return say("while failing: %d owners, %v", len(got), err)
		}
	}
	if err := s.Heartbeat(); err != nil {
		return say("what fits: %v", err)
	}
	limit.Cur = 1 << 12
	if err := syscall.Setrlimit(syscall.RLIMIT_FSIZE, &limit); err != nil {
		return say("limit: %v", err)
	}
	if err := errors.Join(s.Heartbeat(), s.Backup()); err == nil {
		return say("beyond the limit: no error")
	}
	if err := errors.Join(syscall.Setrlimit(syscall.RLIMIT_FSIZE, &old), s.Commit("a", owners(100, 1000)), s.Backup(), s.Close()); err != nil {
		return say("after: %v", err)
	}
	return 0
}

func say(format string, args ...any) int {
	fmt.Fprintf(os.Stderr, format+"\n", args...)
	return 1
}

func TestFullDiskFailsCommitsUntilThereIsRoom(t *testing.T) {
	path := ledgerPath(t)
	if err := program(t, "limit", path).Run(); err != nil {
		t.Fatal(err)
	}
	s := open(t, path)
	if s.Origin() != Intact {
		t.Error(s.Origin())
	}
	expect(t, s, "a", owners(0, 1000))
	closeStore(t, s)
	for _, name := range names(t, strings.TrimSuffix(path, "/tlsa.ledger")) {
		if strings.HasSuffix(name, newSuffix) {
			t.Errorf("left behind: %s", name)
		}
	}
}

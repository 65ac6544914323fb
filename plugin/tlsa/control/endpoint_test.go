package control

import (
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"
)

func TestSocketIsForOwnerAndGroup(t *testing.T) {
	_, path := served(t, &fake{owner: "_25._tcp.a."})
	info, err := os.Lstat(path)
	if err != nil || info.Mode() != os.ModeSocket|0o660 {
		t.Errorf("%v, %v", info.Mode(), err)
	}
	left, err := os.ReadDir(filepath.Dir(path))
	if err != nil || len(left) != 1 {
		t.Errorf("beside the socket there is more: %v, %v", left, err)
	}
}

// Whoever connects before the mode is right stays connected.
func TestSocketIsNeverForEverybody(t *testing.T) {
	before := syscall.Umask(0)
	l, err := bind(filepath.Join(socketDir(t), "s"))
	syscall.Umask(before)
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	info, err := os.Lstat(l.Addr().String())
	if err != nil || runtime.GOOS == "linux" && info.Mode().Perm()&0o007 != 0 {
		t.Errorf("it begins as %v, %v", info.Mode(), err)
	}
}

func TestStopTakesTheSocketAway(t *testing.T) {
	path := filepath.Join(socketDir(t), "s")
	u := claimed(t, path, &fake{owner: "a."})
	if err := u.Serve(); err != nil {
		t.Fatal(err)
	}
	if u.Address() != path {
		t.Errorf("it listens at %s", u.Address())
	}
	u.Close()
	u.Close()
	if _, err := os.Lstat(path); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the socket is still there: %v", err)
	}
	if _, err := Dial(path); !errors.Is(err, ErrUnreachable) {
		t.Errorf("dialling gives %v", err)
	}
	if len(endpoints.open) != 0 {
		t.Errorf("endpoints are left: %v", endpoints.open)
	}
}

func TestStopLeavesTheSocketOfAnother(t *testing.T) {
	path := filepath.Join(socketDir(t), "s")
	u := claimed(t, path)
	if err := u.Serve(); err != nil {
		t.Fatal(err)
	}
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	l, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	u.Close()
	if _, err := os.Lstat(path); err != nil {
		t.Error("the socket of another process is gone")
	}
}

// TestHelperProcess is not a test: it serves a socket until it is killed.
func TestHelperProcess(t *testing.T) {
	path := os.Getenv("TLSA_TEST_SOCKET")
	if path == "" {
		return
	}
	u, err := ClaimSocket(path, func(string) {})
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(u.Serve())
	select {}
}

// another serves a socket in another process; killed ends that without a word.
func another(t *testing.T, path string) (pid int, killed func()) {
	t.Helper()
	cmd := exec.Command(os.Args[0], "-test.run=^TestHelperProcess$")
	cmd.Env = append(os.Environ(), "TLSA_TEST_SOCKET="+path)
	out, err := cmd.StdoutPipe()
	if err == nil {
		err = cmd.Start()
	}
	if err != nil {
		t.Fatal(err)
	}
	killed = sync.OnceFunc(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	})
	t.Cleanup(killed)
	line := make([]byte, 100)
	n, err := out.Read(line)
	if err != nil || !strings.HasPrefix(string(line[:n]), "<nil>") {
		t.Fatalf("the other process says %q, %v", line[:n], err)
	}
	return cmd.Process.Pid, killed
}

func TestLivingSocketIsLeftAloneAndAStaleOneReplaced(t *testing.T) {
	path := filepath.Join(socketDir(t), "s")
	pid, kill := another(t, path)
	_, err := ClaimSocket(path, warnings(t))
	if err == nil || !strings.Contains(err.Error(), fmt.Sprintf("control %s: process %d serves this socket", path, pid)) {
		t.Fatalf("a living socket: %v", err)
	}
	dialed(t, path)
	kill()
	if _, err := os.Lstat(path); err != nil {
		t.Fatal(err)
	}
	if err := claimed(t, path).Serve(); err != nil {
		t.Fatal(err)
	}
	dialed(t, path)
}

func TestPlaceThatIsNotSafeIsRefused(t *testing.T) {
	for claim, tc := range map[string]struct {
		make func(dir, path string) error
		want string
	}{
		"a file":                     {func(_, path string) error { return os.WriteFile(path, []byte("kept"), 0o600) }, "something else than a socket"},
		"a directory":                {func(_, path string) error { return os.Mkdir(path, 0o700) }, "something else than a socket"},
		"a pipe":                     {func(_, path string) error { return syscall.Mkfifo(path, 0o600) }, "something else than a socket"},
		"a link":                     {func(dir, path string) error { return os.Symlink(filepath.Join(dir, "elsewhere"), path) }, "something else than a socket"},
		"a directory for all":        {func(dir, _ string) error { return os.Chmod(dir, 0o777) }, "run chmod o-w"},
		"a sticky directory for all": {func(dir, _ string) error { return os.Chmod(dir, 0o777|os.ModeSticky) }, "run chmod o-w"},
		"no directory":               {func(dir, _ string) error { return os.Remove(dir) }, "create it"},
	} {
		t.Run(claim, func(t *testing.T) {
			dir := socketDir(t)
			path := filepath.Join(dir, "s")
			if err := tc.make(dir, path); err != nil {
				t.Fatal(err)
			}
			before, _ := os.Lstat(path)
			if _, err := ClaimSocket(path, warnings(t)); err == nil || !strings.Contains(err.Error(), tc.want) || !strings.Contains(err.Error(), path) {
				t.Errorf("got %v", err)
			}
			if after, _ := os.Lstat(path); before != nil && (after == nil || !os.SameFile(before, after)) {
				t.Error("it was touched")
			}
			if s := (socket{path}); before != nil {
				if l, _, err := s.listen(); err == nil {
					l.Close()
					t.Error("it was replaced")
				}
			}
		})
	}
	if _, err := ClaimSocket(filepath.Join(socketDir(t), strings.Repeat("s", MaxPath)), warnings(t)); err == nil {
		t.Error("a path that is too long was claimed")
	}
}

// TestReloadLeavesNoMomentWithoutAnAnswer passes one socket through a hundred instances while others ask.
func TestReloadLeavesNoMomentWithoutAnAnswer(t *testing.T) {
	path := filepath.Join(socketDir(t), "s")
	use := claimed(t, path, &fake{owner: "_25._tcp.a."})
	if err := use.Serve(); err != nil {
		t.Fatal(err)
	}
	c := dialed(t, path)
	stop := make(chan struct{})
	var asking sync.WaitGroup
	for range 4 {
		asking.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
				}
				s, err := c.Status(t.Context(), "")
				if err != nil || len(s.Blocks) != 1 {
					t.Errorf("%+v, %v", s, err)
					return
				}
			}
		})
	}
	for range 100 {
		next := claimed(t, path, &fake{owner: "_25._tcp.a."})
		use.Close()
		if err := next.Serve(); err != nil {
			t.Fatal(err)
		}
		use = next
	}
	close(stop)
	asking.Wait()
}

func TestTheInstanceThatServesAnswers(t *testing.T) {
	path := filepath.Join(socketDir(t), "s")
	owner := func() string {
		s, err := dialed(t, path).Status(t.Context(), "")
		if err != nil || len(s.Blocks) != 1 {
			t.Fatalf("%+v, %v", s, err)
		}
		return s.Blocks[0].Owners[0].Name
	}
	old := claimed(t, path, &fake{owner: "old."})
	if err := old.Serve(); err != nil {
		t.Fatal(err)
	}
	failed := claimed(t, path, &fake{owner: "failed."})
	if got := owner(); got != "old." {
		t.Errorf("while another starts, %s answers", got)
	}
	failed.Close()
	young := claimed(t, path, &fake{owner: "young."})
	old.Close()
	if got := owner(); got != "young." {
		t.Errorf("between the two, %s answers", got)
	}
	if err := young.Serve(); err != nil {
		t.Fatal(err)
	}
	if got := owner(); got != "young." {
		t.Errorf("then %s answers", got)
	}
}

func TestOneSocketByTwoNamesIsOne(t *testing.T) {
	dir := socketDir(t)
	link := filepath.Join(socketDir(t), "link")
	if err := os.Symlink(dir, link); err != nil {
		t.Fatal(err)
	}
	a := claimed(t, filepath.Join(dir, "s"), &fake{owner: "a."})
	if err := a.Serve(); err != nil {
		t.Fatal(err)
	}
	b := claimed(t, filepath.Join(link, "s"), &fake{owner: "b."})
	if err := b.Serve(); err != nil {
		t.Fatal(err)
	}
	if s, err := dialed(t, filepath.Join(dir, "s")).Status(t.Context(), ""); err != nil || len(s.Blocks) != 2 {
		t.Errorf("%+v, %v", s, err)
	}
}

// TestClaimThatNobodyUsesIsGivenUp: of a start that fails nobody is told, and the socket must not outlive its server then.
func TestClaimThatNobodyUsesIsGivenUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		use := func() *Use {
			u, err := claim(nowhere{}, true, warnings(t))
			if err != nil {
				t.Fatal(err)
			}
			return u
		}
		serving, abandoned := use(), use()
		if err := serving.Serve(); err == nil { // it listens nowhere
			t.Error("no error")
		}
		<-time.After(giveUp + time.Second)
		synctest.Wait()
		if got := serving.endpoint.uses; len(got) != 1 || got[0] != serving {
			t.Errorf("%d uses are left", len(got))
		}
		if err := abandoned.Serve(); err == nil || len(serving.endpoint.uses) != 2 { // a slow start goes on
			t.Errorf("%v, %d uses", err, len(serving.endpoint.uses))
		}
		abandoned.Close()
		serving.Close()
		if len(endpoints.open) != 0 {
			t.Errorf("endpoints are left: %v", endpoints.open)
		}
	})
}

// nowhere is a place where nothing can listen.
type nowhere struct{}

func (nowhere) String() string                        { return "nowhere" }
func (nowhere) check() error                          { return nil }
func (nowhere) listen() (net.Listener, func(), error) { return nil, nil, errors.New("nowhere") }

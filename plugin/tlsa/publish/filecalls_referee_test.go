//go:build referee && linux && amd64

package publish

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"unsafe"
)

// bbolt takes no file of ours to write to, so its calls are seen where all are: between the process and the kernel. A test runs
// itself as a child under ptrace. A seccomp filter stops the child at the calls that change files and at no others. The child
// tells where it is by writing to markFD, in order with the rest.
const (
	markFD      = 3
	childRole   = "TLSA_CRASH_CHILD"
	childDir    = "TLSA_CRASH_DIR"
	retAllow    = 0x7fff0000
	retTrace    = 0x7ff00000
	stopSeccomp = 7 // PTRACE_EVENT_SECCOMP
	optSeccomp  = 1 << stopSeccomp
	optExitKill = 1 << 20
	noThread    = 0x20000000 // __WNOTHREAD: only the children of this thread
)

// The system calls that change files, for amd64. Those named "" are not expected, and fail the test where they concern a ledger.
func traced() map[uint64]string {
	return map[uint64]string{
		1: "write", 18: "pwrite64", 74: "fsync", 75: "fdatasync", 77: "ftruncate", 264: "renameat", 263: "unlinkat", 257: "openat",
		3: "close", 2: "", 20: "", 26: "", 40: "", 76: "", 82: "", 85: "", 86: "", 87: "", 265: "", 275: "", 277: "", 285: "", 296: "",
		316: "", 326: "", 328: "",
	}
}

// filterCalls makes the calls of traced stop this process from now on.
func filterCalls() error {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	numbers := traced()
	program := []syscall.SockFilter{{Code: 0x20, K: 0}} // load the call's number
	left := len(numbers)
	for n := range numbers {
		program = append(program, syscall.SockFilter{Code: 0x15, Jt: uint8(left), K: uint32(n)}) // equal: to the last line
		left--
	}
	program = append(program, syscall.SockFilter{Code: 0x06, K: retAllow}, syscall.SockFilter{Code: 0x06, K: retTrace})
	filter := syscall.SockFprog{Len: uint16(len(program)), Filter: &program[0]}
	const prctl, noNewPrivileges, seccomp, setFilter, allThreads = 157, 38, 317, 1, 1
	if _, _, err := syscall.RawSyscall6(prctl, noNewPrivileges, 1, 0, 0, 0, 0); err != 0 {
		return err
	}
	if _, _, err := syscall.RawSyscall(seccomp, setFilter, allThreads, uintptr(unsafe.Pointer(&filter))); err != 0 {
		return err
	}
	return nil
}

// A fileCall is one call that concerned a file of the traced directory, or a mark of the child.
type fileCall struct {
	name     string // of the system call; "mark"
	file, to string // names in the directory; "." is the directory itself
	open     int    // the open file, by number
	create   bool
	writable bool
	off      int64 // of a write; the size of a truncation
	data     []byte
	failed   syscall.Errno // what the child was told
	effect   effect
}

// effect is what an injected fault leaves of a call.
type effect int

const (
	whole effect = iota
	half         // of a write
	none
)

// A fault is what to do to one call.
type fault struct {
	errno  syscall.Errno
	effect effect
}

// A tracer runs one child.
type tracer struct {
	dir    string
	inject func(*fileCall) *fault // nil result: the call goes on
	seen   func(*fileCall)        // each call when it has ended, each mark

	pid   int
	mem   *os.File
	fds   map[int]*openFile
	opens int
	calls map[int]*pendingCall // by thread
}

type openFile struct {
	number int
	name   string
	pos    int64
}

type pendingCall struct {
	call  *fileCall
	fault *fault
	regs  syscall.PtraceRegs
}

// runChild runs this test again as a child with a role, and gives what it said if it failed.
func (tr *tracer) runChild(t *testing.T, role string, env ...string) error {
	t.Helper()
	out, err := os.Create(filepath.Join(t.TempDir(), "output"))
	if err != nil {
		return err
	}
	defer func() { _ = out.Close() }()
	runtime.LockOSThread() // ptrace knows one thread only
	defer runtime.UnlockOSThread()
	null, err := os.OpenFile(os.DevNull, os.O_RDWR, 0)
	if err != nil {
		return err
	}
	defer func() { _ = null.Close() }()
	top, _, _ := strings.Cut(t.Name(), "/")
	p, err := os.StartProcess("/proc/self/exe", []string{os.Args[0], "-test.run=^" + top + "$", "-test.count=1", "-test.timeout=6h"},
		&os.ProcAttr{
			Env:   append(os.Environ(), append(env, childRole+"="+role, childDir+"="+tr.dir)...),
			Files: []*os.File{null, out, out, null},
			Sys:   &syscall.SysProcAttr{Ptrace: true},
		})
	if err != nil {
		return err
	}
	tr.pid = p.Pid
	if err = tr.trace(); err == nil {
		return nil
	}
	_ = p.Kill() // it may have ended
	said, _ := os.ReadFile(out.Name())
	return fmt.Errorf("child %s: %w\n%s", role, err, said)
}

func (tr *tracer) trace() error {
	tr.fds, tr.calls = map[int]*openFile{}, map[int]*pendingCall{}
	var status syscall.WaitStatus
	if _, err := syscall.Wait4(tr.pid, &status, 0, nil); err != nil {
		return err
	}
	options := syscall.PTRACE_O_TRACESYSGOOD | syscall.PTRACE_O_TRACECLONE | optSeccomp | optExitKill
	if err := syscall.PtraceSetOptions(tr.pid, options); err != nil {
		return err
	}
	var err error
	if tr.mem, err = os.Open(fmt.Sprintf("/proc/%d/mem", tr.pid)); err != nil {
		return err
	}
	defer func() { _ = tr.mem.Close() }()
	if err := syscall.PtraceCont(tr.pid, 0); err != nil {
		return err
	}
	for {
		thread, err := syscall.Wait4(-1, &status, syscall.WALL|noThread, nil)
		switch {
		case errors.Is(err, syscall.EINTR):
		case err != nil:
			return err
		case status.Exited() && thread == tr.pid:
			if status.ExitStatus() != 0 {
				return fmt.Errorf("exit status %d", status.ExitStatus())
			}
			return nil
		case status.Signaled() && thread == tr.pid:
			return fmt.Errorf("killed: %s", status.Signal())
		case status.Stopped():
			if err := tr.stopped(thread, status); err != nil && !errors.Is(err, syscall.ESRCH) {
				return err
			}
		}
	}
}

func (tr *tracer) stopped(thread int, status syscall.WaitStatus) error {
	switch sig := status.StopSignal(); {
	case sig == syscall.SIGTRAP && status.TrapCause() == stopSeccomp:
		return tr.enter(thread)
	case sig == syscall.SIGTRAP|0x80:
		return tr.leave(thread)
	case sig == syscall.SIGTRAP || sig == syscall.SIGSTOP: // a new thread
		return syscall.PtraceCont(thread, 0)
	default:
		return syscall.PtraceCont(thread, int(sig))
	}
}

// enter stands before a call.
func (tr *tracer) enter(thread int) error {
	p := &pendingCall{}
	if err := syscall.PtraceGetRegs(thread, &p.regs); err != nil {
		return err
	}
	var err error
	if p.call, err = tr.understand(&p.regs); err != nil {
		return err
	}
	if p.call == nil {
		return syscall.PtraceCont(thread, 0)
	}
	if p.call.name == "mark" {
		tr.seen(p.call)
		return syscall.PtraceCont(thread, 0)
	}
	if p.call.name != "close" && tr.inject != nil {
		p.fault = tr.inject(p.call)
	}
	if p.fault == nil || p.fault.effect == whole {
		tr.calls[thread] = p
		return syscall.PtraceSyscall(thread, 0)
	}
	r := p.regs
	if p.fault.effect == half {
		r.Rdx /= 2
		p.call.data = p.call.data[:len(p.call.data)/2]
		tr.calls[thread] = p
	} else {
		r.Orig_rax, r.Rax = ^uint64(0), uint64(-int64(p.fault.errno))
		p.call.failed, p.call.effect = p.fault.errno, none
		tr.seen(p.call)
	}
	if err := syscall.PtraceSetRegs(thread, &r); err != nil {
		return err
	}
	if p.fault.effect == half {
		return syscall.PtraceSyscall(thread, 0)
	}
	return syscall.PtraceCont(thread, 0)
}

// leave stands behind a call: what it did is done.
func (tr *tracer) leave(thread int) error {
	p := tr.calls[thread]
	delete(tr.calls, thread)
	if p == nil {
		return errors.New("a call ended that did not begin")
	}
	var r syscall.PtraceRegs
	if err := syscall.PtraceGetRegs(thread, &r); err != nil {
		return err
	}
	c, result := p.call, int64(r.Rax)
	switch {
	case result < 0:
		c.failed, c.effect = syscall.Errno(-result), none
	case c.name == "openat":
		tr.opens++
		c.open = tr.opens
		if p.fault == nil { // the child never learns of it otherwise
			tr.fds[int(result)] = &openFile{number: c.open, name: c.file}
		}
	case c.name == "close":
		delete(tr.fds, int(p.regs.Rdi))
	case c.name == "write" || c.name == "pwrite64":
		if result != int64(len(c.data)) {
			return fmt.Errorf("%s of %d octets wrote %d", c.name, len(c.data), result)
		}
		if c.name == "write" && p.fault == nil {
			tr.fds[int(p.regs.Rdi)].pos += result
		}
	}
	if p.fault != nil && result >= 0 {
		c.failed, c.effect = p.fault.errno, p.fault.effect
		r.Rax = uint64(-int64(p.fault.errno))
		if err := syscall.PtraceSetRegs(thread, &r); err != nil {
			return err
		}
	}
	if c.name != "close" {
		tr.seen(c)
	}
	return syscall.PtraceCont(thread, 0)
}

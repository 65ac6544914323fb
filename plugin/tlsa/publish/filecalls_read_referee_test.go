//go:build referee && linux && amd64

package publish

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"syscall"
)

// understand reads what a thread is about to do. It gives nil for a call that concerns no file of the directory.
func (tr *tracer) understand(r *syscall.PtraceRegs) (*fileCall, error) {
	c := &fileCall{name: traced()[r.Orig_rax]}
	switch c.name {
	case "openat":
		return tr.understandOpen(c, r)
	case "unlinkat", "renameat":
		var err error
		if c.file, err = tr.within(r.Rsi); err == nil && c.name == "renameat" {
			c.to, err = tr.within(r.R10)
		}
		if err != nil || c.file == "" {
			return nil, err
		}
		return c, nil
	}
	fd := int(int32(r.Rdi))
	if c.name == "write" && fd == markFD {
		data, err := tr.octets(r.Rsi, r.Rdx)
		return &fileCall{name: "mark", data: data}, err
	}
	f := tr.fds[fd]
	if f == nil {
		return nil, nil
	}
	c.file, c.open = f.name, f.number
	var err error
	switch c.name {
	case "":
		return nil, fmt.Errorf("system call %d on %s, which the model of a disk does not know", r.Orig_rax, f.name)
	case "write":
		c.off = f.pos
		c.data, err = tr.octets(r.Rsi, r.Rdx)
	case "pwrite64":
		c.off = int64(r.R10)
		c.data, err = tr.octets(r.Rsi, r.Rdx)
	case "ftruncate":
		c.off = int64(r.Rsi)
	}
	return c, err
}

func (tr *tracer) understandOpen(c *fileCall, r *syscall.PtraceRegs) (*fileCall, error) {
	var err error
	if c.file, err = tr.within(r.Rsi); err != nil || c.file == "" {
		return nil, err
	}
	flags := int(r.Rdx)
	c.writable = flags&(os.O_RDWR|os.O_WRONLY) != 0
	c.create = flags&os.O_CREATE != 0
	if flags&(os.O_TRUNC|os.O_APPEND) != 0 {
		return nil, fmt.Errorf("opening %s with flags %#x, which the model of a disk does not know", c.file, flags)
	}
	return c, nil
}

// within gives the name in the directory of the path at an address, "." for the directory, and nothing for other places.
func (tr *tracer) within(at uint64) (string, error) {
	b := make([]byte, 4096)
	n, err := tr.mem.ReadAt(b, int64(at))
	end := bytes.IndexByte(b[:n], 0)
	if end < 0 {
		return "", fmt.Errorf("reading a path: %w", err)
	}
	path := string(b[:end])
	if path == tr.dir {
		return ".", nil
	}
	if filepath.Dir(path) != tr.dir {
		return "", nil
	}
	return filepath.Base(path), nil
}

func (tr *tracer) octets(at, n uint64) ([]byte, error) {
	b := make([]byte, n)
	if _, err := tr.mem.ReadAt(b, int64(at)); err != nil {
		return nil, fmt.Errorf("reading what is written: %w", err)
	}
	return b, nil
}

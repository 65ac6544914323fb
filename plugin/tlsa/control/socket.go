package control

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"syscall"
	"time"
)

// MaxPath is the longest path of a socket: what every system takes, less the ending of a name that it has for a moment.
const MaxPath = 95

// A socket is the Unix socket of one path, whose directory has no links in it.
type socket struct{ path string }

// socketAt finds the one name of a path.
func socketAt(path string) (socket, error) {
	dir, err := filepath.EvalSymlinks(filepath.Dir(path))
	if errors.Is(err, fs.ErrNotExist) {
		return socket{}, fmt.Errorf("control %s: directory %s does not exist; create it, writable by the server",
			path, filepath.Dir(path))
	}
	if err != nil {
		return socket{}, fmt.Errorf("control %s: finding its directory: %w", path, err)
	}
	s := socket{filepath.Join(dir, filepath.Base(path))}
	if len(s.path) > MaxPath {
		return s, fmt.Errorf("control %s: the path has %d octets; write one of at most %d", s.path, len(s.path), MaxPath)
	}
	return s, nil
}

func (s socket) String() string { return s.path }

// check tells whether the socket can be made, without making it: who may write in its directory could put another in its
// place, and what is there already must be what a dead process has left.
func (s socket) check() error {
	dir := filepath.Dir(s.path)
	info, err := os.Stat(dir)
	if err != nil {
		return fmt.Errorf("control %s: %w", s.path, err)
	}
	if info.Mode().Perm()&0o002 != 0 {
		return fmt.Errorf("control %s: everybody may write in %s and put another socket there; run chmod o-w %s, "+
			"or choose another directory", s.path, dir, dir)
	}
	if info, err = os.Lstat(s.path); errors.Is(err, fs.ErrNotExist) {
		return nil
	} else if err != nil {
		return fmt.Errorf("control %s: %w", s.path, err)
	}
	if info.Mode().Type() != fs.ModeSocket {
		return fmt.Errorf("control %s: there is something else than a socket; move it away, or choose another path", s.path)
	}
	c, err := net.DialTimeout("unix", s.path, time.Second)
	switch {
	case err == nil:
		defer c.Close()
		return fmt.Errorf("control %s: %s serves this socket; stop it, or choose another path", s.path, peer(c))
	case errors.Is(err, syscall.ECONNREFUSED), errors.Is(err, fs.ErrNotExist):
		return nil
	}
	return fmt.Errorf("control %s: there is a socket that may be in use: %w; remove it if it is not", s.path, err)
}

// listen makes the socket under another name, gives it its mode and puts it in its place, so that nobody ever meets it half
// made and a stale one is replaced in one step. Taking it away is release's.
func (s socket) listen() (l net.Listener, release func(), err error) {
	if err := s.check(); err != nil {
		return nil, nil, err
	}
	young := s.path + "." + strconv.Itoa(os.Getpid())
	u, err := bind(young)
	if err != nil {
		return nil, nil, fmt.Errorf("control %s: %w", s.path, err)
	}
	u.SetUnlinkOnClose(false)
	err = os.Chmod(young, 0o660)
	if err == nil {
		err = os.Rename(young, s.path)
	}
	var ours fs.FileInfo
	if err == nil {
		ours, err = os.Lstat(s.path)
	}
	if err != nil {
		u.Close()
		os.Remove(young)
		return nil, nil, fmt.Errorf("control %s: %w", s.path, err)
	}
	return u, func() {
		if now, err := os.Lstat(s.path); err == nil && os.SameFile(ours, now) {
			os.Remove(s.path)
		}
	}, nil
}

// bind listens at path. Linux gives the file the mode that the socket has by then, so that with no umask, either, nobody
// else can connect before it is changed by name, as other systems need.
func bind(path string) (*net.UnixListener, error) {
	narrow := net.ListenConfig{Control: func(_, _ string, c syscall.RawConn) error {
		return c.Control(func(fd uintptr) { _ = syscall.Fchmod(int(fd), 0o660) })
	}}
	l, err := narrow.Listen(context.Background(), "unix", path)
	if err != nil {
		return nil, err
	}
	return l.(*net.UnixListener), nil
}

// A tcp is a TCP address.
type tcp struct{ address string }

func (a tcp) String() string { return a.address }

func (a tcp) check() error {
	l, _, err := a.listen()
	if err != nil {
		return err
	}
	return l.Close()
}

func (a tcp) listen() (net.Listener, func(), error) {
	l, err := net.Listen("tcp", a.address)
	if err != nil {
		return nil, nil, fmt.Errorf("status %s: %w; choose an address of this host and a port that is free", a.address, err)
	}
	return l, func() {}, nil
}

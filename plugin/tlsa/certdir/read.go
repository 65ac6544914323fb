package certdir

import (
	"bytes"
	"errors"

	"golang.org/x/sys/unix"

	"github.com/coredns-tlsa/coredns-tlsa/plugin/tlsa/dane"
	"github.com/coredns-tlsa/coredns-tlsa/plugin/tlsa/rollover"
)

const maxSize = 1 << 20

func newReader() reader { return reader{open: openDisk, read: unix.Read, fstat: fstat, lstat: lstat} }

func openDisk(path string, flags int) (fd int, err error) {
	for {
		fd, err = unix.Open(path, flags|unix.O_RDONLY|unix.O_CLOEXEC|unix.O_NOFOLLOW, 0)
		if err != unix.EINTR {
			return fd, err
		}
	}
}

var errUnstable = errors.New("changes while it is read")

// A reader reads files into one buffer, which is wiped after each: private keys stand beside certificates (combined files).
type reader struct {
	// These are the system's, but for tests that put faults between.
	open  func(path string, flags int) (fd int, err error)
	read  func(fd int, buf []byte) (n int, err error)
	fstat func(fd int) (info, error)
	lstat func(path string) (info, error)

	buf  []byte
	pool dane.Pool
}

// twin reads the same disk for another goroutine.
func (r *reader) twin() *reader {
	return &reader{open: r.open, read: r.read, fstat: r.fstat, lstat: r.lstat}
}

// content parses a regular file that was seen as st at real, a path without links. shown is its name for people.
func (r *reader) content(shown, real string, st info) (*dane.Content, *rollover.Problem) {
	if r.buf == nil {
		r.buf = make([]byte, maxSize+1)
	}
	n, err := r.readStable(real, st)
	defer clear(r.buf[:n])
	switch {
	case errors.Is(err, errUnstable):
		return nil, problem(Unstable, "%s changes while it is read: it is tried again until it rests", show(shown))
	case err != nil:
		return nil, unreadable(real, err)
	}
	c, err := r.pool.Parse(r.buf[:n])
	if errors.Is(err, dane.ErrNothing) && bytes.Contains(r.buf[:n], []byte("-----BEGIN ")) {
		return &dane.Content{}, nil // whole PEM of another kind: parameters, a CRL (W17)
	}
	return c, explain(shown, err)
}

// explain says what is wrong with the content of a file, in words that stay the same while it is written to: block numbers
// and sizes would make a new problem of every try.
func explain(shown string, err error) *rollover.Problem {
	switch {
	case err == nil:
		return nil
	case errors.Is(err, dane.ErrEmpty):
		return problem(Empty, "%s is empty: write the certificate again", show(shown))
	case errors.Is(err, dane.ErrTruncated):
		return problem(Truncated, "%s is %v: write it again, whole", show(shown), dane.ErrTruncated)
	case errors.Is(err, dane.ErrTooLarge), errors.Is(err, dane.ErrTooManyBlocks):
		return problem(TooLarge, "%s holds too much: move it out of the watched directory if it is no certificate", show(shown))
	case errors.Is(err, dane.ErrNothing):
		return problem(Malformed, "%s: %v: write the certificate, or move the file out of the watched directory", show(shown), dane.ErrNothing)
	}
	return problem(Malformed, "%s holds a certificate or key that cannot be read: write it again, or move the file out of the watched directory", show(shown))
}

// readStable reads a file into buf and makes sure that it is the one which was seen, which has not changed since, and that it is
// still there (W12). A look before it is read would find nothing that the one behind it does not, as change times only grow; so
// of a pipe that took the file's place a few octets may be read, and thrown away.
func (r *reader) readStable(real string, st info) (n int, err error) {
	// Without O_NONBLOCK a pipe that took the file's place since would block for ever (W22).
	fd, err := r.open(real, unix.O_NONBLOCK)
	if err != nil {
		if errors.Is(err, unix.ENOENT) || errors.Is(err, unix.ELOOP) || errors.Is(err, unix.ENXIO) {
			return 0, errUnstable // it was there a moment ago
		}
		return 0, err
	}
	defer unix.Close(fd)
	n, err = r.readAll(fd, int(min(max(st.size, 0), maxSize)))
	after, ferr := r.fstat(fd)
	there, lerr := r.lstat(real)
	isSame := ferr == nil && lerr == nil && after == st && there == st
	switch {
	case isSame && err != nil:
		return n, err
	case !isSame || int64(n) != st.size:
		return n, errUnstable
	}
	return n, nil
}

// readAll reads a file of a size, and one octet more if there is one: files of /proc, and of some user-space file systems,
// hold more than their size says. A read that gives just the size shows the end; after a short one more may come.
func (r *reader) readAll(fd, size int) (n int, err error) {
	for {
		got, err := r.read(fd, r.buf[n:size+1])
		if errors.Is(err, unix.EINTR) {
			continue
		}
		if err != nil {
			return n, err
		}
		if n += got; got == 0 || got == size || n > size {
			return n, nil
		}
	}
}

// canOpen tells whether this process could read a private key. Nothing is read of it.
func (r *reader) canOpen(real string) bool {
	fd, err := r.open(real, unix.O_NONBLOCK)
	if err != nil {
		return false
	}
	_ = unix.Close(fd)
	return true
}

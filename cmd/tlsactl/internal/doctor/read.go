package doctor

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"regexp"

	"golang.org/x/sys/unix"
)

// The most that is read of one file of each kind, in octets.
const (
	mostCorefile    = 1 << 20
	mostZone        = 64 << 20
	mostCertificate = 1 << 20
	mostSettings    = 64 << 10
)

var errTooLarge = errors.New("is too large")

// open opens a regular file; a pipe or device is refused before it can block.
func open(path string) (*os.File, error) {
	file, err := os.OpenFile(path, os.O_RDONLY|unix.O_NONBLOCK, 0)
	if err != nil {
		return nil, err
	}
	info, err := file.Stat()
	if err == nil && !info.Mode().IsRegular() {
		err = fmt.Errorf("%s is no regular file", path)
	}
	if err != nil {
		file.Close()
		return nil, err
	}
	return file, nil
}

// readFile reads a regular file of at most that many octets. There is one copy of them in memory, which the caller can wipe.
func readFile(path string, most int64) ([]byte, error) {
	file, err := open(path)
	if err != nil {
		return nil, err
	}
	defer file.Close()
	info, err := file.Stat()
	if err != nil {
		return nil, err
	}
	if info.Size() > most {
		return nil, fmt.Errorf("%s %w: over %d octets", path, errTooLarge, most)
	}
	data := make([]byte, info.Size())
	n, err := io.ReadFull(file, data)
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		err = nil // it has become shorter
	}
	return data[:n], err
}

var assignment = regexp.MustCompile(`(?m)^\s*([A-Za-z_]+)\s*=\s*["']?([^"'\n]*?)["']?\s*$`)

// settings reads the `name = value` lines of a client's configuration; nil if it cannot be read.
func settings(path string) map[string]string {
	data, err := readFile(path, mostSettings)
	if err != nil {
		return nil
	}
	found := map[string]string{}
	for _, m := range assignment.FindAllStringSubmatch(string(data), -1) {
		found[m[1]] = m[2]
	}
	return found
}

func exists(path string) bool {
	_, err := os.Lstat(path)
	return err == nil
}

// cause is the part of a file's error that is not its path.
func cause(err error) string {
	if e, ok := errors.AsType[*os.PathError](err); ok {
		return e.Err.Error()
	}
	return err.Error()
}

// below joins a relative path to the root of a server block, and makes it absolute as the server would.
func below(root, path string) string {
	if !filepath.IsAbs(path) {
		path = filepath.Join(root, path)
	}
	if abs, err := filepath.Abs(path); err == nil {
		return abs
	}
	return path
}

package main

import (
	"bytes"
	"errors"
	"fmt"
	"strings"

	"golang.org/x/sys/unix"
)

// copyAttributes gives a directory the extended attributes of another one: access lists, also those that new files inherit,
// and security labels. One that cannot be given is an error, because who may read the files depends on them.
func copyAttributes(to, from string) error {
	names, err := attributes(from)
	if err != nil {
		return err
	}
	for _, name := range names {
		want, err := attribute(from, name)
		if err != nil {
			return err
		}
		if has, err := attribute(to, name); err == nil && bytes.Equal(has, want) {
			continue
		}
		if err := unix.Setxattr(to, name, want, 0); err != nil {
			return fmt.Errorf("attribute %s of %s: %w", name, from, err)
		}
	}
	return nil
}

// attributes are the names of a directory's attributes; none where the file system has none.
func attributes(path string) ([]string, error) {
	list, err := sized(func(buf []byte) (int, error) { return unix.Listxattr(path, buf) })
	if errors.Is(err, unix.ENOTSUP) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("attributes of %s: %w", path, err)
	}
	return strings.FieldsFunc(string(list), func(r rune) bool { return r == 0 }), nil
}

func attribute(path, name string) ([]byte, error) {
	value, err := sized(func(buf []byte) (int, error) { return unix.Getxattr(path, name, buf) })
	if err != nil {
		return nil, fmt.Errorf("attribute %s of %s: %w", name, path, err)
	}
	return value, nil
}

// sized calls read for the size of its answer, then for the answer.
func sized(read func([]byte) (int, error)) ([]byte, error) {
	n, err := read(nil)
	if err != nil || n == 0 {
		return nil, err
	}
	buf := make([]byte, n)
	n, err = read(buf)
	if err != nil {
		return nil, err
	}
	return buf[:n], nil
}

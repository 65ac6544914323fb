package main

import (
	"os"

	"golang.org/x/sys/unix"
)

// exchange makes two names of one file system change places: at every instant each of them names one of the two.
func exchange(a, b string) error {
	if err := unix.RenamexNp(a, b, unix.RENAME_SWAP); err != nil {
		return &os.LinkError{Op: "exchange", Old: a, New: b, Err: err}
	}
	return nil
}

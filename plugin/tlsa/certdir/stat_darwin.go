package certdir

import (
	"strings"

	"golang.org/x/sys/unix"
)

const readOnlyFlag = unix.MNT_RDONLY

// isRemote tells of a file system that others write to and that raises no event for what they write.
func isRemote(st *unix.Statfs_t) bool {
	switch unix.ByteSliceToString(st.Fstypename[:]) {
	case "nfs", "smbfs", "afpfs", "webdav", "9p", "virtiofs":
		return true
	}
	return isFUSE(st)
}

func isFUSE(st *unix.Statfs_t) bool {
	return strings.Contains(unix.ByteSliceToString(st.Fstypename[:]), "fuse")
}

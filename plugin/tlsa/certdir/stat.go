package certdir

import "golang.org/x/sys/unix"

// inode is the identity of a file while it exists.
type inode struct{ dev, ino uint64 }

// info is what a file is known by: as long as it stays equal, so does the content. The change time sees to that: whoever
// keeps size and modification time (cp -p, rsync -t, touch -r) cannot keep it, so content need not be hashed again.
type info struct {
	inode
	size, mtime, ctime int64
	mode, uid, gid     uint32
	nameless           bool // no directory names it any more
}

func (i info) isDir() bool     { return i.mode&unix.S_IFMT == unix.S_IFDIR }
func (i info) isLink() bool    { return i.mode&unix.S_IFMT == unix.S_IFLNK }
func (i info) isRegular() bool { return i.mode&unix.S_IFMT == unix.S_IFREG }

func (i info) openToAll() bool   { return i.mode&unix.S_IWOTH != 0 }
func (i info) openToGroup() bool { return i.mode&unix.S_IWGRP != 0 }

func infoOf(st *unix.Stat_t) info {
	return info{
		inode: inode{uint64(st.Dev), uint64(st.Ino)},
		size:  st.Size, mtime: st.Mtim.Nano(), ctime: st.Ctim.Nano(),
		mode: uint32(st.Mode), uid: st.Uid, gid: st.Gid, nameless: st.Nlink == 0,
	}
}

func lstat(path string) (info, error) {
	var st unix.Stat_t
	for {
		switch err := unix.Lstat(path, &st); err {
		case nil:
			return infoOf(&st), nil
		case unix.EINTR:
		default:
			return info{}, err
		}
	}
}

func fstat(fd int) (info, error) {
	var st unix.Stat_t
	for {
		switch err := unix.Fstat(fd, &st); err {
		case nil:
			return infoOf(&st), nil
		case unix.EINTR:
		default:
			return info{}, err
		}
	}
}

// readlink reads a link into buf, which has room for any path.
func readlink(path string, buf []byte) (n int, err error) {
	for {
		if n, err = unix.Readlink(path, buf); err != unix.EINTR {
			return n, err
		}
	}
}

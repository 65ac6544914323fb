package certdir

import "golang.org/x/sys/unix"

const readOnlyFlag = unix.ST_RDONLY

// isRemote tells of a file system that others write to and that raises no event for what they write. An overlay is one: its
// layers may be written to from outside.
func isRemote(st *unix.Statfs_t) bool {
	const lustre, gpfs, beegfs, vboxsf, prlfs = 0x0bd00bd0, 0x47504653, 0x19830326, 0x786f4256, 0x7c7c6673
	switch uint32(st.Type) {
	case unix.NFS_SUPER_MAGIC, unix.SMB_SUPER_MAGIC, unix.SMB2_SUPER_MAGIC, unix.CIFS_SUPER_MAGIC, unix.V9FS_MAGIC,
		unix.CEPH_SUPER_MAGIC, unix.OVERLAYFS_SUPER_MAGIC, unix.AFS_SUPER_MAGIC, unix.CODA_SUPER_MAGIC,
		unix.OCFS2_SUPER_MAGIC, lustre, gpfs, beegfs, vboxsf, prlfs:
		return true
	}
	return isFUSE(st) // gluster, sshfs, virtiofs and many more
}

func isFUSE(st *unix.Statfs_t) bool { return uint32(st.Type) == unix.FUSE_SUPER_MAGIC }

package doctor

import "golang.org/x/sys/unix"

func inMemory(st *unix.Statfs_t) bool {
	kind := uint32(st.Type)
	return kind == unix.TMPFS_MAGIC || kind == unix.RAMFS_MAGIC
}

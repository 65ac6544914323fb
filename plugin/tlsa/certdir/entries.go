package certdir

import (
	"encoding/binary"
	"slices"
	"strings"
	"unsafe"

	"golang.org/x/sys/unix"
)

// An entry is a name in a directory and what it is (unix.DT_DIR and the like): unix.DT_UNKNOWN where the file system does
// not tell.
type entry struct {
	name string
	kind uint8
}

// readDir lists a directory in no order. Not os.File.ReadDir: it takes a dozen allocations, of which a tree of certbot wants
// as many again for each lineage. What was read before an error comes with it.
func (s *scan) readDir(real string) (list []entry, err error) {
	fd, err := s.w.reader.open(real, unix.O_DIRECTORY)
	if err != nil {
		return nil, err
	}
	defer unix.Close(fd)
	for {
		n, err := unix.ReadDirent(fd, s.w.listBuf)
		switch {
		case err == unix.EINTR:
		case err != nil || n <= 0:
			return list, err
		default:
			list = appendEntries(list, s.w.listBuf[:n])
		}
	}
}

// appendEntries takes apart what the system wrote, whose names share one string.
func appendEntries(list []entry, records []byte) []entry {
	const (
		reclen = int(unsafe.Offsetof(unix.Dirent{}.Reclen))
		kind   = int(unsafe.Offsetof(unix.Dirent{}.Type))
		head   = int(unsafe.Offsetof(unix.Dirent{}.Name))
	)
	const usual = 32
	list = slices.Grow(list, len(records)/usual)
	text := string(records)
	for len(records) > head {
		size := int(binary.NativeEndian.Uint16(records[reclen:]))
		if size <= head || size > len(records) {
			break
		}
		name, _, _ := strings.Cut(text[head:size], "\x00")
		isThere := binary.NativeEndian.Uint64(records) != 0 // the inode
		if isThere && name != "" && name != "." && name != ".." {
			list = append(list, entry{name, records[kind]})
		}
		records, text = records[size:], text[size:]
	}
	return list
}

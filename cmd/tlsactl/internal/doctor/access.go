package doctor

import (
	"encoding/binary"
	"errors"
	"fmt"
	"os/user"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// A User is who the server runs as.
type User struct {
	Name string
	UID  uint32
	GIDs []uint32
}

// LookupUser finds a user by name or number. A number that has no name has no groups but those written behind it: 998:998.
func LookupUser(text string) (*User, error) {
	number, group, _ := strings.Cut(text, ":")
	found, err := user.Lookup(text)
	if err != nil {
		found, err = user.LookupId(number)
	}
	u := &User{Name: text}
	if err == nil && group == "" {
		ids, _ := found.GroupIds() // without a group database the first one is all
		for _, id := range append(ids, found.Gid) {
			if n, err := strconv.ParseUint(id, 10, 32); err == nil && !slices.Contains(u.GIDs, uint32(n)) {
				u.GIDs = append(u.GIDs, uint32(n))
			}
		}
		number = found.Uid
	}
	n, err := strconv.ParseUint(number, 10, 32)
	if err != nil {
		return nil, fmt.Errorf("no user %q here: write a name of this system, or UID:GID", text)
	}
	u.UID = uint32(n)
	if g, err := strconv.ParseUint(group, 10, 32); err == nil {
		u.GIDs = append(u.GIDs, uint32(g))
	}
	return u, nil
}

// What a user may want, as in the mode bits.
const (
	toRead   = 4
	toWrite  = 2
	toSearch = 1
)

// A barrier is what keeps a user from a path.
type barrier struct {
	path     string
	mode     uint32
	uid, gid uint32
}

// stops gives the first barrier on the way to path, nil if there is none or the path cannot be looked at by this process.
func (u *User) stops(path string, want uint32) *barrier {
	real, err := filepath.EvalSymlinks(path)
	if err != nil {
		return nil
	}
	for _, dir := range append(above(path), above(real)...) {
		if b := u.lacks(dir, toSearch); b != nil {
			return b
		}
	}
	return u.lacks(real, want)
}

// above are the directories that a path lies in, the root first.
func above(path string) []string {
	var dirs []string
	for dir := filepath.Dir(path); ; dir = filepath.Dir(dir) {
		dirs = append(dirs, dir)
		if dir == filepath.Dir(dir) {
			slices.Reverse(dirs)
			return dirs
		}
	}
}

// lacks tells what the mode and the access control list of one path deny (acl(5), ACCESS CHECK ALGORITHM).
func (u *User) lacks(path string, want uint32) *barrier {
	var st unix.Stat_t
	if unix.Stat(path, &st) != nil || u.UID == 0 {
		return nil
	}
	mode := uint32(st.Mode) & 0o7777
	bits := mode & 7
	switch list := accessList(path); {
	case st.Uid == u.UID:
		bits = mode >> 6 & 7
	case list != nil:
		bits = u.granted(list, st.Gid, bits)
	case slices.Contains(u.GIDs, st.Gid):
		bits = mode >> 3 & 7
	}
	if bits&want == want {
		return nil
	}
	return &barrier{path: path, mode: mode, uid: st.Uid, gid: st.Gid}
}

// An aclEntry is one line of an access control list.
type aclEntry struct {
	tag, bits uint16
	id        uint32
}

const (
	aclUser      = 0x02
	aclGroup     = 0x08
	aclGroupMine = 0x04
	aclMask      = 0x10
)

// accessList reads the POSIX access control list of a path; nil without one, and where the system has none.
func accessList(path string) []aclEntry {
	buf := make([]byte, 4096)
	n, err := unix.Getxattr(path, "system.posix_acl_access", buf)
	if errors.Is(err, unix.ERANGE) || err != nil || n < 4 {
		return nil
	}
	var list []aclEntry
	for at := buf[4:n]; len(at) >= 8; at = at[8:] {
		list = append(list, aclEntry{
			tag: binary.LittleEndian.Uint16(at), bits: binary.LittleEndian.Uint16(at[2:]), id: binary.LittleEndian.Uint32(at[4:]),
		})
	}
	return list
}

// granted applies an access control list to a user who does not own the file.
func (u *User) granted(list []aclEntry, owningGroup, others uint32) uint32 {
	mask := uint16(7)
	for _, e := range list {
		if e.tag == aclMask {
			mask = e.bits
		}
	}
	var group uint16
	inGroup := false
	for _, e := range list {
		switch {
		case e.tag == aclUser && e.id == u.UID:
			return uint32(e.bits & mask)
		case e.tag == aclGroupMine && slices.Contains(u.GIDs, owningGroup), e.tag == aclGroup && slices.Contains(u.GIDs, e.id):
			group |= e.bits
			inGroup = true
		}
	}
	if inGroup {
		return uint32(group & mask)
	}
	return others
}

func (b *barrier) String() string {
	return fmt.Sprintf("%s has mode %04o and owner %d:%d", b.path, b.mode, b.uid, b.gid)
}

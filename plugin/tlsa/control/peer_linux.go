package control

import (
	"fmt"
	"net"

	"golang.org/x/sys/unix"
)

// peer names who is at the other end of a Unix socket.
func peer(c net.Conn) string {
	const unnamed = "another process"
	u, ok := c.(*net.UnixConn)
	if !ok {
		return unnamed
	}
	raw, err := u.SyscallConn()
	if err != nil {
		return unnamed
	}
	who := unnamed
	err = raw.Control(func(fd uintptr) {
		if cred, err := unix.GetsockoptUcred(int(fd), unix.SOL_SOCKET, unix.SO_PEERCRED); err == nil && cred.Pid > 0 {
			who = fmt.Sprintf("process %d", cred.Pid)
		}
	})
	if err != nil {
		return unnamed
	}
	return who
}

package corefile

import (
	"net"
	"net/netip"
	"strconv"
	"strings"

	"github.com/coredns-tlsa/coredns-tlsa/plugin/tlsa/control"
)

func (b *builder) control(s statement) error {
	raw, err := s.one("path of a socket")
	if err != nil {
		return err
	}
	if strings.HasSuffix(raw, "/") {
		return s.errorf("%q is a directory: write a file in it", raw)
	}
	if b.Control, err = b.absolute(raw); err != nil {
		return s.errorf("%q %w", raw, err)
	}
	if n := len(b.Control); n > control.MaxPath {
		return s.errorf("%q is %d octets long as an absolute path: a socket may have %d", raw, n, control.MaxPath)
	}
	return nil
}

// status reads an address; without a host it is this host alone.
func (b *builder) status(s statement) error {
	raw, err := s.one("address")
	if err != nil {
		return err
	}
	host, port, err := net.SplitHostPort(raw)
	if err != nil {
		return s.errorf("%q is not an address with a port: write :PORT for this host alone, or ADDRESS:PORT", raw)
	}
	if n, err := strconv.ParseUint(port, 10, 16); err != nil || strconv.FormatUint(n, 10) != port {
		return s.errorf("%q has no port from 1 to 65535, or 0 for any: write it as a number", raw)
	}
	if host == "" {
		host = "127.0.0.1"
	}
	if addr, err := netip.ParseAddr(host); (err != nil || !addr.Unmap().IsLoopback()) && host != "localhost" {
		b.warn(s, "%s is not a loopback address, so others can read which names and keys there are: prefer :%s", raw, port)
	}
	b.Status = net.JoinHostPort(host, port)
	return nil
}

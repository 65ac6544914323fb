package starttls

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
)

// What one server may say.
const (
	maxLine  = 4 << 10  // octets of a line, and of a reply of LDAP
	maxLines = 128      // lines of a whole dialogue
	maxXML   = 16 << 10 // octets of XML
)

// A dialogue is one connection before TLS.
type dialogue struct {
	r     *bufio.Reader
	w     io.Writer
	hello string // how we name ourselves in EHLO: the address literal of our end (RFC 5321 4.1.3)
	lines int    // how many more are read
}

func newDialogue(conn net.Conn) *dialogue {
	d := &dialogue{r: bufio.NewReaderSize(conn, maxLine), w: conn, hello: "[127.0.0.1]", lines: maxLines}
	if addr, ok := conn.LocalAddr().(*net.TCPAddr); ok {
		d.hello = "[" + addr.IP.String() + "]"
		if addr.IP.To4() == nil {
			d.hello = "[IPv6:" + addr.IP.String() + "]"
		}
	}
	return d
}

func (d *dialogue) send(text string) error {
	_, err := io.WriteString(d.w, text)
	return err
}

// line reads one line without its end.
func (d *dialogue) line() (string, error) {
	if d.lines--; d.lines < 0 {
		return "", fmt.Errorf("%w: more than %d lines", ErrReply, maxLines)
	}
	b, err := d.r.ReadSlice('\n')
	switch {
	case errors.Is(err, bufio.ErrBufferFull):
		return "", fmt.Errorf("%w: a line of more than %d octets", ErrReply, maxLine)
	case errors.Is(err, io.EOF):
		return "", fmt.Errorf("connection closed before TLS: %w", io.ErrUnexpectedEOF)
	case err != nil:
		return "", err
	}
	return strings.TrimRight(string(b), "\r\n"), nil
}

// until reads lines up to one that last accepts, and gives all of them.
func (d *dialogue) until(last func(line string) bool) ([]string, error) {
	var lines []string
	for {
		line, err := d.line()
		if err != nil {
			return nil, err
		}
		lines = append(lines, line)
		if last(line) {
			return lines, nil
		}
	}
}

// reply reads one answer of SMTP (RFC 5321 4.2.1) or FTP (RFC 959 4.2): its code and its lines without codes.
func (d *dialogue) reply() (code string, lines []string, err error) {
	first := true
	lines, err = d.until(func(line string) bool {
		if first {
			first = false
			if len(line) < 3 || strings.Trim(line[:3], "0123456789") != "" {
				return true
			}
			code = line[:3]
			return len(line) == 3 || line[3] != '-'
		}
		return line == code || strings.HasPrefix(line, code+" ")
	})
	switch {
	case err != nil:
		return "", nil, err
	case code == "":
		return "", nil, fmt.Errorf("%w: %s", ErrReply, excerpt(lines[0]))
	}
	for i, line := range lines {
		if strings.HasPrefix(line, code) {
			lines[i] = line[min(len(line), 4):]
		}
	}
	return code, lines, nil
}

// excerpt quotes what a server said, for an error.
func excerpt(line string) string { return fmt.Sprintf("%.120q", line) }

func notOffered(line string) error { return fmt.Errorf("%w: %s", ErrNotOffered, excerpt(line)) }

// cutFold is strings.CutPrefix that does not look at case.
func cutFold(s, prefix string) (string, bool) {
	if len(s) < len(prefix) || !strings.EqualFold(s[:len(prefix)], prefix) {
		return s, false
	}
	return s[len(prefix):], true
}

func hasFold(s, prefix string) bool {
	_, ok := cutFold(s, prefix)
	return ok
}

package main

import (
	"bufio"
	"encoding/binary"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"maps"
	"net"
	"slices"
	"strings"
)

// maxLine bounds a line of a server, in octets; maxLines the lines of one answer.
const (
	maxLine  = 4096
	maxLines = 100
)

// preambles ask a server in the clear to start TLS, each by its protocol.
func preambles() map[string]func(c *conversation, name string) error {
	return map[string]func(c *conversation, name string) error{
		"smtp":       func(c *conversation, _ string) error { return c.smtp("EHLO") },
		"submission": func(c *conversation, _ string) error { return c.smtp("EHLO") },
		"lmtp":       func(c *conversation, _ string) error { return c.smtp("LHLO") },
		"imap":       (*conversation).imap,
		"pop3":       (*conversation).pop3,
		"ftp":        (*conversation).ftp,
		"sieve":      (*conversation).sieve,
		"xmpp":       func(c *conversation, name string) error { return c.xmpp("jabber:client", name) },
		"xmpp-s2s":   func(c *conversation, name string) error { return c.xmpp("jabber:server", name) },
		"postgres":   (*conversation).postgres,
	}
}

func protocols() []string {
	return slices.Sorted(maps.Keys(preambles()))
}

// startTLS talks to a server until it waits for the ClientHello; name is the one that the server is asked for. The caller
// has set a deadline. Anything that the server says after its consent would be read inside TLS as if it were authentic
// (CVE-2011-0411), so it is an error.
func startTLS(conn net.Conn, protocol, name string) error {
	c := &conversation{r: bufio.NewReaderSize(conn, maxLine), w: conn}
	if err := preambles()[protocol](c, name); err != nil {
		return fmt.Errorf("%s: %w", protocol, err)
	}
	if n := c.r.Buffered(); n > 0 {
		return fmt.Errorf("%s: the server sent %d octets in the clear after it agreed to start TLS", protocol, n)
	}
	return nil
}

// A conversation is a protocol before TLS.
type conversation struct {
	r *bufio.Reader
	w io.Writer
}

func (c *conversation) line() (string, error) {
	b, err := c.r.ReadSlice('\n')
	switch {
	case errors.Is(err, bufio.ErrBufferFull):
		return "", fmt.Errorf("a line of the server is longer than %d octets", maxLine)
	case errors.Is(err, io.EOF):
		return "", errors.New("the server closed the connection before TLS")
	case err != nil:
		return "", err
	}
	return strings.TrimRight(string(b), "\r\n"), nil
}

func (c *conversation) send(format string, args ...any) error {
	_, err := fmt.Fprintf(c.w, format, args...)
	return err
}

// until reads lines until last says so, and wants the last one to start with ok.
func (c *conversation) until(last func(line string) bool, ok string) error {
	for range maxLines {
		line, err := c.line()
		if err != nil {
			return err
		}
		if !last(line) {
			continue
		}
		if !hasPrefixFold(line, ok) {
			return fmt.Errorf("the server refused: %.200q", line)
		}
		return nil
	}
	return fmt.Errorf("an answer of more than %d lines", maxLines)
}

func hasPrefixFold(s, prefix string) bool {
	return len(s) >= len(prefix) && strings.EqualFold(s[:len(prefix)], prefix)
}

// finalReply tells the last line of an answer of SMTP (RFC 5321 4.2.1) or FTP (RFC 959 4.2): three digits, no hyphen.
func finalReply(line string) bool {
	return len(line) >= 3 && strings.Trim(line[:3], "0123456789") == "" && (len(line) == 3 || line[3] == ' ')
}

// smtp is RFC 3207 4, and RFC 2033 with LHLO.
func (c *conversation) smtp(hello string) error {
	if err := c.until(finalReply, "220"); err != nil {
		return err
	}
	if err := c.send("%s tlsactl.invalid\r\n", hello); err != nil {
		return err
	}
	if err := c.until(finalReply, "250"); err != nil {
		return err
	}
	if err := c.send("STARTTLS\r\n"); err != nil {
		return err
	}
	return c.until(finalReply, "220")
}

// imap is RFC 9051 6.2.1.
func (c *conversation) imap(string) error {
	if err := c.until(func(string) bool { return true }, "* OK"); err != nil {
		return err
	}
	if err := c.send("a1 STARTTLS\r\n"); err != nil {
		return err
	}
	return c.until(func(line string) bool { return hasPrefixFold(line, "a1 ") }, "a1 OK")
}

// pop3 is RFC 2595 4.
func (c *conversation) pop3(string) error {
	any := func(string) bool { return true }
	if err := c.until(any, "+OK"); err != nil {
		return err
	}
	if err := c.send("STLS\r\n"); err != nil {
		return err
	}
	return c.until(any, "+OK")
}

// ftp is RFC 4217 4.
func (c *conversation) ftp(string) error {
	if err := c.until(finalReply, "220"); err != nil {
		return err
	}
	if err := c.send("AUTH TLS\r\n"); err != nil {
		return err
	}
	return c.until(finalReply, "234")
}

// sieve is RFC 5804 2.2: capabilities up to OK, STARTTLS, and OK again.
func (c *conversation) sieve(string) error {
	last := func(line string) bool {
		return hasPrefixFold(line, "OK") || hasPrefixFold(line, "NO") || hasPrefixFold(line, "BYE")
	}
	if err := c.until(last, "OK"); err != nil {
		return err
	}
	if err := c.send("STARTTLS\r\n"); err != nil {
		return err
	}
	return c.until(last, "OK")
}

// postgres is the SSLRequest of the frontend/backend protocol: one octet answers.
func (c *conversation) postgres(string) error {
	request := binary.BigEndian.AppendUint32(binary.BigEndian.AppendUint32(nil, 8), 80877103)
	if _, err := c.w.Write(request); err != nil {
		return err
	}
	b, err := c.r.ReadByte()
	if err != nil {
		return err
	}
	if b != 'S' {
		return fmt.Errorf("the server refused: %q", b)
	}
	return nil
}

// xmpp is RFC 6120 5.4: the stream is asked for by the name of the domain, not of the host.
func (c *conversation) xmpp(namespace, name string) error {
	var to strings.Builder
	if err := xml.EscapeText(&to, []byte(name)); err != nil {
		return err
	}
	err := c.send("<?xml version='1.0'?><stream:stream to='%s' version='1.0' xmlns='%s' "+
		"xmlns:stream='http://etherx.jabber.org/streams'>", to.String(), namespace)
	if err != nil {
		return err
	}
	if err := c.element("</stream:features>", "stream:error"); err != nil {
		return err
	}
	if err := c.send("<starttls xmlns='urn:ietf:params:xml:ns:xmpp-tls'/>"); err != nil {
		return err
	}
	return c.element("<proceed", "failure")
}

// element reads up to the end of the tag that starts with want, and no further than maxLine.
func (c *conversation) element(want, refusal string) error {
	var seen strings.Builder
	for seen.Len() < maxLine {
		b, err := c.r.ReadByte()
		if err != nil {
			return fmt.Errorf("no answer of XMPP: %w", err)
		}
		seen.WriteByte(b)
		if b != '>' {
			continue
		}
		text := seen.String()
		tag := text[strings.LastIndexByte(text, '<'):]
		switch {
		case strings.Contains(text, "<"+refusal):
			return fmt.Errorf("the server refused: %.200q", text)
		case strings.HasPrefix(tag, want):
			return nil
		}
	}
	return fmt.Errorf("an answer of more than %d octets", maxLine)
}

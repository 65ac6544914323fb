package starttls

import (
	"fmt"
	"slices"
	"strings"
)

// smtp is RFC 3207 4, with LHLO RFC 2033 4.1.
func (d *dialogue) smtp(hello string) error {
	code, lines, err := d.reply()
	switch {
	case err != nil:
		return err
	case code != "220":
		return fmt.Errorf("%w: %s", ErrRefused, excerpt(code+" "+lines[0]))
	}
	if err := d.send(hello + " " + d.hello + "\r\n"); err != nil {
		return err
	}
	code, lines, err = d.reply()
	switch {
	case err != nil:
		return err
	case code[0] == '4':
		return fmt.Errorf("%w: %s", ErrRefused, excerpt(code+" "+lines[0]))
	case code != "250" || !slices.ContainsFunc(lines[1:], func(l string) bool { return strings.EqualFold(strings.TrimSpace(l), "STARTTLS") }):
		return notOffered(code + " " + lines[0])
	}
	return d.command("STARTTLS", "220")
}

// ftp is RFC 4217 4.
func (d *dialogue) ftp() error {
	code, lines, err := d.reply()
	switch {
	case err != nil:
		return err
	case code != "220":
		return fmt.Errorf("%w: %s", ErrRefused, excerpt(code+" "+lines[0]))
	}
	return d.command("AUTH TLS", "234")
}

// command sends what starts TLS and wants one code.
func (d *dialogue) command(command, want string) error {
	if err := d.send(command + "\r\n"); err != nil {
		return err
	}
	code, lines, err := d.reply()
	if err == nil && code != want {
		err = notOffered(code + " " + lines[0])
	}
	return err
}

// imap is RFC 9051 6.2.1.
func (d *dialogue) imap() error {
	greeting, err := d.line()
	switch {
	case err != nil:
		return err
	case hasFold(greeting, "* BYE"):
		return fmt.Errorf("%w: %s", ErrRefused, excerpt(greeting))
	case hasFold(greeting, "* PREAUTH"):
		return notOffered(greeting)
	case !hasFold(greeting, "* OK"):
		return fmt.Errorf("%w: %s", ErrReply, excerpt(greeting))
	}
	lines, err := d.tagged("a CAPABILITY")
	if err != nil {
		return err
	}
	offered := slices.ContainsFunc(lines, func(l string) bool {
		list, ok := cutFold(l, "* CAPABILITY ")
		return ok && slices.ContainsFunc(strings.Fields(list), func(c string) bool { return strings.EqualFold(c, "STARTTLS") })
	})
	if !offered {
		return notOffered(lines[0])
	}
	lines, err = d.tagged("b STARTTLS")
	if err != nil {
		return err
	}
	if last := lines[len(lines)-1]; !hasFold(last, "b OK") {
		return notOffered(last)
	}
	return nil
}

// tagged sends a command of IMAP with a tag of one letter and reads up to the line with that tag.
func (d *dialogue) tagged(command string) ([]string, error) {
	if err := d.send(command + "\r\n"); err != nil {
		return nil, err
	}
	return d.until(func(line string) bool { return hasFold(line, command[:2]) || hasFold(line, "* BYE") })
}

// pop3 is RFC 2595 4; a server without CAPA (RFC 2449) is asked all the same.
func (d *dialogue) pop3() error {
	greeting, err := d.line()
	switch {
	case err != nil:
		return err
	case hasFold(greeting, "-ERR"):
		return fmt.Errorf("%w: %s", ErrRefused, excerpt(greeting))
	case !hasFold(greeting, "+OK"):
		return fmt.Errorf("%w: %s", ErrReply, excerpt(greeting))
	}
	if err := d.send("CAPA\r\n"); err != nil {
		return err
	}
	lines, err := d.until(func(line string) bool { return line == "." || hasFold(line, "-ERR") })
	if err != nil {
		return err
	}
	if hasFold(lines[0], "+OK") && !slices.ContainsFunc(lines, func(l string) bool { return strings.EqualFold(strings.TrimSpace(l), "STLS") }) {
		return notOffered(lines[0])
	}
	if err := d.send("STLS\r\n"); err != nil {
		return err
	}
	answer, err := d.line()
	if err == nil && !hasFold(answer, "+OK") {
		err = notOffered(answer)
	}
	return err
}

// sieve is RFC 5804 1.7 and 2.2: capabilities up to OK, STARTTLS, and OK again.
func (d *dialogue) sieve() error {
	last := func(line string) bool { return hasFold(line, "OK") || hasFold(line, "NO") || hasFold(line, "BYE") }
	lines, err := d.until(last)
	switch {
	case err != nil:
		return err
	case !hasFold(lines[len(lines)-1], "OK"):
		return fmt.Errorf("%w: %s", ErrRefused, excerpt(lines[len(lines)-1]))
	case !slices.ContainsFunc(lines, func(l string) bool { return hasFold(l, `"STARTTLS"`) }):
		return notOffered(lines[0])
	}
	if err := d.send("STARTTLS\r\n"); err != nil {
		return err
	}
	lines, err = d.until(last)
	if err == nil && !hasFold(lines[len(lines)-1], "OK") {
		err = notOffered(lines[len(lines)-1])
	}
	return err
}

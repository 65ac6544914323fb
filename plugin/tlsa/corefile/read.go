package corefile

import (
	"fmt"
	"strings"

	"github.com/coredns/caddy/caddyfile"
)

// A Position is a place in the Corefile, or in a file that it imports.
type Position struct {
	File string
	Line int
}

// String gives the position as an editor understands it.
func (p Position) String() string { return fmt.Sprintf("%s:%d", p.File, p.Line) }

// errorf words an error like the Corefile's own parser does. caddy's Errf would name the line that was read last, and
// much of what can be wrong is only known once the whole block has been read.
func (p Position) errorf(format string, args ...any) error {
	return fmt.Errorf("%s - Error during parsing: "+format, append([]any{p}, args...)...)
}

func here(c *caddyfile.Dispenser) Position { return Position{File: c.File(), Line: c.Line()} }

// A directive is one `tlsa` of the Corefile as it is written, nothing in it understood yet.
type directive struct {
	Position
	zones   []string
	options []statement
}

// A statement is one line of a block.
type statement struct {
	Position
	option string
	args   []string
}

// errorf is position.errorf with the option named first.
func (s statement) errorf(format string, args ...any) error {
	return s.Position.errorf("%s: "+format, append([]any{s.option}, args...)...)
}

// readDirective reads the directive on whose name c stands, up to the end of its block.
func readDirective(c *caddyfile.Dispenser) (directive, error) {
	d := directive{Position: here(c)}
	if c.Val() == "{" || c.Val() == "}" {
		return d, d.errorf("stray %q: the block opens with \"{\" at the end of the line of tlsa", c.Val())
	}
	for c.NextArg() {
		if c.Val() == "{" {
			options, err := readOptions(c)
			d.options = options
			return d, err
		}
		if err := noBrace(here(c), c.Val()); err != nil {
			return d, err
		}
		d.zones = append(d.zones, c.Val())
	}
	return d, nil
}

// readOptions reads the lines after an opening brace, up to the closing one.
func readOptions(c *caddyfile.Dispenser) ([]statement, error) {
	opened := here(c)
	var options []statement
	for c.Next() {
		s := statement{Position: here(c), option: c.Val()}
		if s.option == "}" {
			if c.NextArg() {
				return nil, s.Position.errorf("%q after the closing brace: write it on a line of its own", c.Val())
			}
			return options, nil
		}
		for c.NextArg() {
			s.args = append(s.args, c.Val())
		}
		for _, word := range append([]string{s.option}, s.args...) {
			if err := noBrace(s.Position, word); err != nil {
				return nil, err
			}
		}
		options = append(options, s)
	}
	return nil, opened.errorf("the block is not closed: add \"}\" on a line of its own")
}

// noBrace refuses braces wherever they do not open or close the block. The Corefile's parser gives a brace that stands
// alone as a word like any other, and one within a word unchanged.
func noBrace(at Position, word string) error {
	switch {
	case !strings.ContainsAny(word, "{}"):
		return nil
	case word == "{":
		return at.errorf("stray \"{\": an option has no block of its own, remove the brace")
	case word == "}":
		return at.errorf("stray \"}\": write the closing brace on a line of its own")
	case word == "{}":
		return at.errorf("stray \"{}\": leave it out, or write the braces apart")
	case strings.HasSuffix(word, "{") && strings.Count(word, "{") == 1:
		return at.errorf("brace in %q: write a space before \"{\"", word)
	default:
		return at.errorf("brace in %q: brace globs are not expanded, write out each value", word)
	}
}

package dane

import (
	"bytes"
	"encoding/pem"
)

const (
	begin = "-----BEGIN "
	end   = "-----END "
	dash  = "-----"
)

// A block is one PEM block as it stands in the file.
type block struct {
	label string
	text  []byte // from its BEGIN line to its END line
}

// decode gives the octets of a block; ErrTruncated if its base64 is damaged.
func (b block) decode() ([]byte, error) {
	// encoding/pem does not know a carriage return that no line feed follows, which is all that may be left of the last line.
	decoded, _ := pem.Decode(bytes.TrimRight(b.text, "\r\n"))
	if decoded == nil || decoded.Type != b.label {
		return nil, ErrTruncated
	}
	return decoded.Bytes, nil
}

// nextBlock finds the first block of data without decoding it, and what follows it; a block without a label means that
// there is none. encoding/pem passes over a damaged block in silence; here it is ErrTruncated, as is any line that looks
// like part of one.
func nextBlock(data []byte) (b block, rest []byte, err error) {
	for len(data) > 0 {
		line, after := cutLine(data)
		if label, ok := label(line, begin); ok {
			n, ok := bodyLen(after, label)
			if !ok {
				return block{}, nil, ErrTruncated
			}
			size := len(data) - len(after) + n
			return block{string(label), data[:size]}, data[size:], nil
		}
		if isFragment(line) {
			return block{}, nil, ErrTruncated
		}
		data = after
	}
	return block{}, nil, nil
}

// bodyLen gives the number of octets up to and with the END line that belongs to label.
func bodyLen(data, want []byte) (n int, ok bool) {
	for rest := data; len(rest) > 0; {
		line, after := cutLine(rest)
		if bytes.HasPrefix(line, []byte(dash)) {
			got, ok := label(line, end)
			return len(data) - len(after), ok && bytes.Equal(got, want)
		}
		rest = after
	}
	return 0, false
}

// cutLine cuts the first line, its line feed included.
func cutLine(data []byte) (line, rest []byte) {
	if i := bytes.IndexByte(data, '\n'); i >= 0 {
		return data[:i+1], data[i+1:]
	}
	return data, nil
}

// label gives what stands in a BEGIN or END line; trailing white space is allowed, as in OpenSSL.
func label(line []byte, prefix string) (s []byte, ok bool) {
	if s, ok = bytes.CutPrefix(bytes.TrimRight(line, " \t\r\n"), []byte(prefix)); !ok {
		return nil, false
	}
	s, ok = bytes.CutSuffix(s, []byte(dash))
	return s, ok && len(s) > 0 && !bytes.Contains(s, []byte(dash))
}

// isFragment tells whether a line outside every block looks like one that should have been a BEGIN or END line: indented,
// after a byte order mark, incomplete, or the very start of one at the end of the file.
func isFragment(line []byte) bool {
	s := bytes.TrimLeft(bytes.TrimPrefix(line, []byte("\ufeff")), " \t")
	if bytes.HasPrefix(s, []byte("-----BEGIN")) || bytes.HasPrefix(s, []byte("-----END")) {
		return true
	}
	return len(s) > 0 && bytes.HasPrefix([]byte(begin), s) // with its line feed no line is one
}

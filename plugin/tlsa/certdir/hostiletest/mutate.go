package hostiletest

import (
	"bytes"
	"encoding/base64"
	"encoding/pem"
	"math/rand/v2"
	"slices"
	"strings"
)

// Forms are the good files that mutations start from.
func Forms() []*Carrier {
	return []*Carrier{chainPEM, combined, certDER, csrPEM, csrDER, keyPEM, keyDER, flat("two chains", false, true, ".two.pem",
		func(c *Case, s *Subject) []byte { return join(chain(c, s), []byte(c.Issue(c.Host).CertPEM)) })}
}

// Good is the file of a subject in this form.
func (l *Carrier) Good(c *Case, s *Subject) []byte { return l.good(c, s) }

// Write puts any octets where the file would be.
func (l *Carrier) Write(c *Case, data []byte) error { return l.put(c, data) }

// Mutate damages a good file at random, one to three times. other is a good file of somebody else.
func Mutate(r *rand.Rand, good, other []byte, text bool) []byte {
	data := slices.Clone(good)
	ways := octetWays
	if text {
		ways = slices.Concat(octetWays, textWays, []func(*rand.Rand, []byte, []byte) []byte{inBlock})
	}
	for range 1 + r.IntN(3) {
		if len(data) == 0 {
			break
		}
		data = ways[r.IntN(len(ways))](r, data, other)
	}
	return data
}

var octetWays = []func(r *rand.Rand, data, other []byte) []byte{
	func(r *rand.Rand, data, _ []byte) []byte { // a bit
		data[r.IntN(len(data))] ^= 1 << r.IntN(8)
		return data
	},
	func(r *rand.Rand, data, _ []byte) []byte { // an octet
		data[r.IntN(len(data))] = byte(r.Uint32())
		return data
	},
	func(r *rand.Rand, data, _ []byte) []byte { return data[:r.IntN(len(data))] }, // a cut
	func(r *rand.Rand, data, _ []byte) []byte { // a part is gone
		from := r.IntN(len(data))
		return slices.Delete(data, from, min(len(data), from+1+r.IntN(64)))
	},
	func(r *rand.Rand, data, _ []byte) []byte { // a part comes twice
		from := r.IntN(len(data))
		part := slices.Clone(data[from:min(len(data), from+1+r.IntN(64))])
		return slices.Insert(data, from, part...)
	},
	func(r *rand.Rand, data, other []byte) []byte { // the rest is another's
		return append(data[:r.IntN(len(data))], other[r.IntN(len(other)):]...)
	},
	func(r *rand.Rand, data, other []byte) []byte { // at the same place, as a copy that overtakes a write
		at := r.IntN(min(len(data), len(other)))
		return append(data[:at], other[at:]...)
	},
	func(r *rand.Rand, data, _ []byte) []byte { // a hole
		from := r.IntN(len(data))
		clear(data[from:min(len(data), from+1+r.IntN(512))])
		return data
	},
	lie,
}

// lie changes one length in a structure in DER.
func lie(r *rand.Rand, data, _ []byte) []byte {
	at := r.IntN(len(data))
	for i := range data {
		if n := (at + i) % len(data); data[n] == 0x30 || data[n] == 0x03 || data[n] == 0x02 {
			if n+1 < len(data) {
				data[n+1] += byte(1 + r.IntN(254))
			}
			break
		}
	}
	return data
}

var textWays = []func(r *rand.Rand, data, other []byte) []byte{
	func(_ *rand.Rand, data, _ []byte) []byte { return bytes.ReplaceAll(data, []byte("\n"), []byte("\r\n")) },
	func(r *rand.Rand, data, _ []byte) []byte { // one line end
		at := bytes.IndexByte(data[r.IntN(len(data)):], '\n')
		if at < 0 {
			return data
		}
		return slices.Replace(data, at, at+1, []byte([]string{"\r", "\r\n", "", " \n", "\n\n", "\t\n"}[r.IntN(6)])...)
	},
	func(r *rand.Rand, data, other []byte) []byte { // the lines in another order, doubled, gone, or of another
		lines := bytes.SplitAfter(data, []byte("\n"))
		i, j := r.IntN(len(lines)), r.IntN(len(lines))
		theirs := bytes.SplitAfter(other, []byte("\n"))
		switch r.IntN(4) {
		case 0:
			lines[i], lines[j] = lines[j], lines[i]
		case 1:
			lines = slices.Insert(lines, i, lines[j])
		case 2:
			lines = slices.Delete(lines, i, i+1)
		default:
			lines[i] = theirs[r.IntN(len(theirs))]
		}
		return bytes.Join(lines, nil)
	},
	func(r *rand.Rand, data, other []byte) []byte { // the blocks in another order, doubled, gone, or of another
		blocks, theirs := split(data), split(other)
		i, j := r.IntN(len(blocks)), r.IntN(len(blocks))
		switch r.IntN(4) {
		case 0:
			blocks[i], blocks[j] = blocks[j], blocks[i]
		case 1:
			blocks = slices.Insert(blocks, i, blocks[j])
		case 2:
			blocks = slices.Delete(blocks, i, i+1)
		default:
			blocks = slices.Insert(blocks, i, theirs[r.IntN(len(theirs))])
		}
		return []byte(strings.Join(blocks, ""))
	},
	func(r *rand.Rand, data, _ []byte) []byte { // headers
		at := bytes.IndexByte(data, '\n') + 1
		return slices.Insert(data, at, []byte([]string{"A: b\n\n", "A: b\n", "\n", "Proc-Type: 4,ENCRYPTED\n\n"}[r.IntN(4)])...)
	},
	func(r *rand.Rand, data, _ []byte) []byte { // a type
		types := []string{"CERTIFICATE", "PUBLIC KEY", "CERTIFICATE REQUEST", "PRIVATE KEY", "X509 CERTIFICATE", "TRUSTED CERTIFICATE", "X"}
		return bytes.ReplaceAll(data, []byte(types[r.IntN(3)]+"-"), []byte(types[r.IntN(len(types))]+"-"))
	},
}

// split cuts a file before each BEGIN.
func split(data []byte) []string {
	parts := strings.Split(string(data), "-----BEGIN ")
	for i := range parts[1:] {
		parts[i+1] = "-----BEGIN " + parts[i+1]
	}
	return parts
}

// inBlock damages the octets in a block and puts them back, so that only what is inside is wrong.
func inBlock(r *rand.Rand, data, other []byte) []byte {
	parts := split(data)
	n := r.IntN(len(parts))
	b, _ := pem.Decode([]byte(parts[n]))
	if b == nil || len(b.Bytes) == 0 {
		return data
	}
	theirs, _ := pem.Decode(other)
	if theirs == nil {
		return data
	}
	b.Bytes = octetWays[r.IntN(len(octetWays))](r, b.Bytes, theirs.Bytes)
	text := "-----BEGIN " + b.Type + "-----\n" + fold(base64.StdEncoding.EncodeToString(b.Bytes)) + "-----END " + b.Type + "-----\n"
	parts[n] = text
	return []byte(strings.Join(parts, ""))
}

func fold(s string) string {
	var b strings.Builder
	for len(s) > 64 {
		b.WriteString(s[:64] + "\n")
		s = s[64:]
	}
	return b.String() + s + "\n"
}

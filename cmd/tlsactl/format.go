package main

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"strings"
	"unicode"
	"unicode/utf16"

	"github.com/miekg/dns"
)

// A recordJSON is one record in JSON, version 1.
type recordJSON struct {
	Owner        string `json:"owner"`
	TTL          uint32 `json:"ttl"`
	Usage        uint8  `json:"usage"`
	Selector     uint8  `json:"selector"`
	MatchingType uint8  `json:"matching_type"`
	Data         string `json:"data"` // lower-case hexadecimal
}

// formats write RRsets, each in its form; the TTL is in seconds.
func formats() map[string]func(w io.Writer, sets []rrset, ttl uint32) error {
	return map[string]func(w io.Writer, sets []rrset, ttl uint32) error{
		"zone": func(w io.Writer, sets []rrset, ttl uint32) error {
			return eachRecord(sets, ttl, func(rr *dns.TLSA) error { return writeLine(w, rr.String()) })
		},
		"rfc3597":  writeRFC3597,
		"nsupdate": writeNSUpdate,
		"json":     writeRecordsJSON,
	}
}

func eachRecord(sets []rrset, ttl uint32, use func(*dns.TLSA) error) error {
	for _, set := range sets {
		for _, a := range set.associations {
			if err := use(a.TLSA(set.owner, ttl)); err != nil {
				return err
			}
		}
	}
	return nil
}

func writeLine(w io.Writer, line string) error {
	_, err := io.WriteString(w, line+"\n")
	return err
}

// writeRFC3597 writes records of unknown type, for servers and panels that do not know TLSA (RFC 3597 5).
func writeRFC3597(w io.Writer, sets []rrset, ttl uint32) error {
	return eachRecord(sets, ttl, func(rr *dns.TLSA) error {
		rdata := fmt.Sprintf("%02x%02x%02x%s", rr.Usage, rr.Selector, rr.MatchingType, rr.Certificate)
		return writeLine(w, fmt.Sprintf("%s\t%d\tIN\tTYPE52\t\\# %d %s", rr.Hdr.Name, ttl, hex.DecodedLen(len(rdata)), rdata))
	})
}

// writeNSUpdate adds and never deletes: what is published may still be in use.
func writeNSUpdate(w io.Writer, sets []rrset, ttl uint32) error {
	for _, set := range sets {
		for _, a := range set.associations {
			rr := a.TLSA(set.owner, ttl)
			rdata := strings.TrimPrefix(rr.String(), rr.Hdr.String())
			if err := writeLine(w, fmt.Sprintf("update add %s %d IN TLSA %s", set.owner, ttl, rdata)); err != nil {
				return err
			}
		}
		// Owners may lie in several zones, and one message is for one.
		if err := writeLine(w, "send"); err != nil {
			return err
		}
	}
	return nil
}

func writeRecordsJSON(w io.Writer, sets []rrset, ttl uint32) error {
	doc := struct {
		Version int          `json:"version"`
		Records []recordJSON `json:"records"`
	}{Version: 1}
	_ = eachRecord(sets, ttl, func(rr *dns.TLSA) error {
		doc.Records = append(doc.Records, recordJSON{rr.Hdr.Name, ttl, rr.Usage, rr.Selector, rr.MatchingType, rr.Certificate})
		return nil
	})
	return writeJSON(w, doc)
}

func writeJSON(w io.Writer, doc any) error {
	data, err := json.Marshal(doc)
	if err != nil {
		return err
	}
	return writeDocument(w, data)
}

// writeDocument indents JSON, and escapes what a terminal would obey or what would turn the order of letters: control
// characters beyond those that JSON forbids, and every other one that is not printed.
func writeDocument(w io.Writer, document json.RawMessage) error {
	var b bytes.Buffer
	if err := json.Indent(&b, bytes.TrimSpace(document), "", "  "); err != nil {
		return err
	}
	var out strings.Builder
	for _, r := range b.String() { // what is no UTF-8 becomes U+FFFD
		switch {
		case r == '\n', unicode.IsPrint(r):
			out.WriteRune(r)
		default: // in a string: JSON has only ASCII elsewhere
			for _, unit := range utf16.AppendRune(nil, r) {
				fmt.Fprintf(&out, `\u%04x`, unit)
			}
		}
	}
	return writeLine(w, out.String())
}

// A choice is a flag with a few allowed words.
type choice struct {
	value   string
	allowed []string
}

func (c *choice) Set(s string) error {
	if !slices.Contains(c.allowed, s) {
		return fmt.Errorf("%q: want one of %s", s, strings.Join(c.allowed, ", "))
	}
	c.value = s
	return nil
}

func (c *choice) String() string { return c.value }
func (*choice) Type() string     { return "FORMAT" }

package dane

import (
	"bytes"
	"errors"
	"fmt"
	"strings"

	"golang.org/x/crypto/cryptobyte"
	"golang.org/x/crypto/cryptobyte/asn1"
)

// What Parse may say of a whole file.
var (
	// ErrEmpty: no octets, or only white space.
	ErrEmpty = errors.New("empty")
	// ErrTruncated: the file ends too early, or a PEM block in it is damaged. It may be being written.
	ErrTruncated = errors.New("truncated or damaged")
	// ErrNothing: neither certificate nor key, request or private key is in it.
	ErrNothing = errors.New("no certificate and no key in it")
	// ErrTooManyBlocks: more than 256 PEM blocks.
	ErrTooManyBlocks = errors.New("more than 256 PEM blocks")
)

const maxBlocks = 256

// Parse reads one file: PEM with any number of blocks in any order, text around them and either kind of line end, or one
// structure in DER, told apart by content. PEM blocks of other types are skipped. Private keys are counted and neither
// decoded nor copied; the caller wipes data afterwards, to which the Content holds no reference.
//
// There is no partial Content: one damaged block makes the whole file an error, so that a file caught half-written never
// takes a key away. The one thing that cannot be seen is a PEM file cut exactly between two blocks, or in the text there:
// the caller must see it unchanged for a while first.
//
// Errors: ErrEmpty, ErrTruncated, ErrNothing, ErrTooManyBlocks, and ErrMalformed or ErrTooLarge wrapped with the number of
// the block, counted from one.
func Parse(data []byte) (*Content, error) { return new(Pool).Parse(data) }

// A Pool spares work where the same certificates stand in many files, as issuers do: those that were parsed last it gives
// again. The zero Pool is empty. It is not safe for concurrent use.
type Pool struct{ last [16]pooled }

// pooled is a certificate and the PEM block that it was first met in, empty if it stood by itself.
type pooled struct {
	*Certificate
	text []byte
}

// Parse is the function Parse, but that Contents share Certificates with the same octets.
func (p *Pool) Parse(data []byte) (*Content, error) {
	if len(bytes.TrimSpace(data)) == 0 {
		return nil, ErrEmpty
	}
	left := maxChecks
	c := filling{&Content{}, p, &left}
	read := c.readPEM
	element := cryptobyte.String(data)
	switch whole := element.SkipASN1(asn1.SEQUENCE); {
	case whole && element.Empty():
		read = c.readDER
	case bytes.Contains(data, []byte(begin)) || data[0] != byte(asn1.SEQUENCE) || !isBinary(data):
	case whole:
		return nil, malformed(fmt.Sprintf("%d octets after the DER structure", len(element)))
	default:
		return nil, ErrTruncated
	}
	if err := read(data); err != nil {
		return nil, err
	}
	if len(c.Certificates) == 0 && len(c.PublicKeys) == 0 && c.PrivateKeys == 0 {
		return nil, ErrNothing
	}
	return c.Content, nil
}

// certificate is ParseCertificate for octets that nobody else has, of what may be there already.
func (p *Pool) certificate(der []byte) (*Certificate, error) {
	if p.met(func(c pooled) bool { return bytes.Equal(c.raw, der) }) {
		return p.last[0].Certificate, nil
	}
	c, err := ownCertificate(der)
	if err != nil {
		return nil, err
	}
	text := p.last[len(p.last)-1].text[:0]
	copy(p.last[1:], p.last[:]) // what was not met for longest makes room
	p.last[0] = pooled{c, text}
	return c, nil
}

// met looks for a certificate and puts it first.
func (p *Pool) met(is func(pooled) bool) bool {
	for i := range p.last {
		if c := p.last[i]; c.Certificate != nil && is(c) {
			copy(p.last[1:i+1], p.last[:i])
			p.last[0] = c
			return true
		}
	}
	return false
}

// block is certificate for a PEM block: one that was met before need not be decoded.
func (p *Pool) block(b block, list *[]*Certificate) error {
	if p.met(func(c pooled) bool { return len(c.text) > 0 && bytes.Equal(c.text, b.text) }) {
		*list = append(*list, p.last[0].Certificate)
		return nil
	}
	err := decode(b, p.certificate, list)
	if first := &p.last[0]; err == nil && len(first.text) == 0 {
		first.text = append(first.text, b.text...)
	}
	return err
}

// filling is a Content while it is read.
type filling struct {
	*Content
	pool *Pool
	left *int // checks of signatures
}

func (c filling) request(der []byte) (*PublicKey, error) { return parseRequest(der, c.left) }

func (c filling) readPEM(data []byte) error {
	// A file system may show zeros where a crash or a copy left a hole.
	if bytes.IndexByte(data, 0) >= 0 && bytes.Contains(data, []byte(begin)) {
		return ErrTruncated
	}
	for n := 1; ; n++ {
		b, rest, err := nextBlock(data)
		if err != nil || b.label == "" {
			return err
		}
		if n > maxBlocks {
			return ErrTooManyBlocks
		}
		if err := c.addBlock(b); err != nil {
			return fmt.Errorf("PEM block %d (%.40q): %w", n, b.label, err)
		}
		data = rest
	}
}

func (c filling) addBlock(b block) error {
	switch b.label {
	case "CERTIFICATE", "X509 CERTIFICATE":
		return c.pool.block(b, &c.Certificates)
	case "TRUSTED CERTIFICATE":
		return decode(b, c.pool.trusted, &c.Certificates)
	case "CERTIFICATE REQUEST", "NEW CERTIFICATE REQUEST":
		return decode(b, c.request, &c.PublicKeys)
	case "PUBLIC KEY":
		return decode(b, parseKey, &c.PublicKeys)
	case "RSA PUBLIC KEY":
		return decode(b, wrapRSA, &c.PublicKeys)
	}
	if strings.HasSuffix(b.label, "PRIVATE KEY") {
		c.PrivateKeys++
	}
	return nil
}

// decode parses a block's octets and appends the result to list.
func decode[T any](b block, parse func([]byte) (*T, error), list *[]*T) error {
	der, err := b.decode()
	if err != nil {
		return err
	}
	if len(der) > maxDER {
		return ErrTooLarge
	}
	parsed, err := parse(der)
	if err == nil {
		*list = append(*list, parsed)
	}
	return err
}

// trusted reads OpenSSL's TRUSTED CERTIFICATE: a certificate, then what OpenSSL trusts it for. Only the certificate
// goes over the wire.
func (p *Pool) trusted(der []byte) (*Certificate, error) {
	_, rest, ok := readSigned(der)
	if !ok {
		return nil, malformed("not a certificate")
	}
	certificate := der[:len(der)-len(rest)]
	if !rest.Empty() && (!rest.SkipASN1(asn1.SEQUENCE) || !rest.Empty()) {
		return nil, malformed("trust settings after the certificate")
	}
	return p.certificate(certificate)
}

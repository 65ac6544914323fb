package starttls

import (
	"encoding/binary"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"strings"

	"golang.org/x/crypto/cryptobyte"
	"golang.org/x/crypto/cryptobyte/asn1"
)

// postgres is the SSLRequest of PostgreSQL's frontend/backend protocol; one octet answers.
func (d *dialogue) postgres() error {
	const sslRequest = 80877103
	request := binary.BigEndian.AppendUint32(binary.BigEndian.AppendUint32(nil, 8), sslRequest)
	if err := d.send(string(request)); err != nil {
		return err
	}
	b, err := d.r.ReadByte()
	switch {
	case err != nil:
		return closed(err)
	case b == 'N':
		return notOffered("N")
	case b != 'S':
		return fmt.Errorf("%w: %q", ErrReply, b)
	}
	return nil
}

// ldap is RFC 4511 4.14: an extended request with the OID of StartTLS and no value.
func (d *dialogue) ldap() error {
	const oid = "1.3.6.1.4.1.1466.20037"
	const extendedRequest, extendedResponse = asn1.Tag(0x60 | 23), asn1.Tag(0x60 | 24)
	var b cryptobyte.Builder
	b.AddASN1(asn1.SEQUENCE, func(b *cryptobyte.Builder) {
		b.AddASN1Int64(1)
		b.AddASN1(extendedRequest, func(b *cryptobyte.Builder) {
			b.AddASN1(asn1.Tag(0).ContextSpecific(), func(b *cryptobyte.Builder) { b.AddBytes([]byte(oid)) })
		})
	})
	if err := d.send(string(b.BytesOrPanic())); err != nil {
		return err
	}
	message, err := d.element()
	if err != nil {
		return err
	}
	var id, code int
	var response cryptobyte.String
	s := cryptobyte.String(message)
	if !s.ReadASN1Integer(&id) || !s.ReadASN1(&response, extendedResponse) || !response.ReadASN1Enum(&code) {
		return fmt.Errorf("%w: no extended response of LDAP", ErrReply)
	}
	if code != 0 {
		return fmt.Errorf("%w: result code %d", ErrNotOffered, code)
	}
	return nil
}

// element reads the content of one SEQUENCE; BER allows the long form of a length where the short one would do.
func (d *dialogue) element() ([]byte, error) {
	var head [2]byte
	if _, err := io.ReadFull(d.r, head[:]); err != nil {
		return nil, closed(err)
	}
	n := int(head[1])
	if n&0x80 != 0 {
		var length [4]byte
		size := n & 0x7f
		if size == 0 || size > len(length) {
			return nil, fmt.Errorf("%w: the length of a reply in %d octets", ErrReply, size)
		}
		if _, err := io.ReadFull(d.r, length[4-size:]); err != nil {
			return nil, closed(err)
		}
		n = int(binary.BigEndian.Uint32(length[:]))
	}
	if asn1.Tag(head[0]) != asn1.SEQUENCE || n < 0 || n > maxLine {
		return nil, fmt.Errorf("%w: a reply with tag %#x of %d octets", ErrReply, head[0], n)
	}
	content := make([]byte, n)
	_, err := io.ReadFull(d.r, content)
	return content, closed(err)
}

// closed makes the end of a connection an unexpected one.
func closed(err error) error {
	if errors.Is(err, io.EOF) {
		return fmt.Errorf("connection closed before TLS: %w", io.ErrUnexpectedEOF)
	}
	return err
}

// xmpp is RFC 6120 5.4. The stream is for the domain of the service, which need not be the name of the host.
func (d *dialogue) xmpp(namespace, domain string) error {
	const tls, streams = "urn:ietf:params:xml:ns:xmpp-tls", "http://etherx.jabber.org/streams"
	var to strings.Builder
	if err := xml.EscapeText(&to, []byte(domain)); err != nil {
		return err
	}
	if err := d.send("<?xml version='1.0'?><stream:stream to='" + to.String() + "' version='1.0' xmlns='" + namespace +
		"' xmlns:stream='" + streams + "'>"); err != nil {
		return err
	}
	in := &limited{d: d, left: maxXML}
	x := xml.NewDecoder(in)
	offered := false
	if err := in.elements(x, func(name xml.Name, end bool) bool {
		offered = offered || name == xml.Name{Space: tls, Local: "starttls"}
		return end && name == xml.Name{Space: streams, Local: "features"}
	}); err != nil {
		return err
	}
	if !offered {
		return notOffered("stream features without starttls")
	}
	if err := d.send("<starttls xmlns='" + tls + "'/>"); err != nil {
		return err
	}
	return in.elements(x, func(name xml.Name, end bool) bool { return !end && name == xml.Name{Space: tls, Local: "proceed"} })
}

// elements reads XML up to the start or end of an element that last accepts. An error of the stream is a refusal, a failure
// means that TLS is declined.
func (l *limited) elements(x *xml.Decoder, last func(name xml.Name, end bool) bool) error {
	for {
		token, err := x.Token()
		switch {
		case l.err != nil:
			return closed(l.err)
		case err != nil:
			return fmt.Errorf("%w: %s", ErrReply, excerpt(err.Error()))
		}
		switch e := token.(type) {
		case xml.StartElement:
			switch {
			case e.Name.Local == "error":
				return fmt.Errorf("%w: stream error", ErrRefused)
			case e.Name.Local == "failure":
				return notOffered("failure")
			case last(e.Name, false):
				return nil
			}
		case xml.EndElement:
			if last(e.Name, true) {
				return nil
			}
		}
	}
}

// limited reads octet by octet, so that nothing after the last tag is taken, and ends with ErrReply.
type limited struct {
	d    *dialogue
	left int
	err  error // why reading ended; the decoder's own errors hide it
}

func (l *limited) ReadByte() (b byte, err error) {
	if l.left--; l.left < 0 {
		err = fmt.Errorf("%w: more than %d octets of XML", ErrReply, maxXML)
	} else {
		b, err = l.d.r.ReadByte()
	}
	l.err = err
	return b, err
}

func (l *limited) Read(p []byte) (int, error) {
	b, err := l.ReadByte()
	if err != nil || len(p) == 0 {
		return 0, err
	}
	p[0] = b
	return 1, nil
}

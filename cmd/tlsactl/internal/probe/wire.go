package probe

import (
	"net"

	"golang.org/x/crypto/cryptobyte"
)

// maxTap bounds what is kept of a handshake.
const maxTap = 512 << 10

// tap keeps what is read from a connection. In TLS 1.2 the certificates pass in the clear, so a chain that crypto/tls refuses
// to parse is still seen.
type tap struct {
	net.Conn
	seen []byte
}

func (t *tap) Read(p []byte) (int, error) {
	n, err := t.Conn.Read(p)
	t.seen = append(t.seen, p[:min(n, maxTap-len(t.seen))]...)
	return n, err
}

// overheard is what the clear part of a handshake says.
type overheard struct {
	chain   [][]byte
	alerted bool // the server declined
}

// overhear reads records (RFC 5246 6.2.1) up to the first that is encrypted, or damaged.
func overhear(data []byte) overheard {
	const alert, handshake = 21, 22
	var o overheard
	var messages []byte
	for s := cryptobyte.String(data); ; {
		var kind uint8
		var version uint16
		var body cryptobyte.String
		if !s.ReadUint8(&kind) || !s.ReadUint16(&version) || !s.ReadUint16LengthPrefixed(&body) {
			break
		}
		if kind == alert && len(body) == 2 {
			o.alerted = true
			break
		}
		if kind != handshake {
			break
		}
		messages = append(messages, body...)
	}
	o.chain = certificates(messages)
	return o
}

// certificates finds the Certificate message (RFC 5246 7.4.2).
func certificates(messages cryptobyte.String) [][]byte {
	const certificate = 11
	for {
		var kind uint8
		var body, list cryptobyte.String
		if !messages.ReadUint8(&kind) || !messages.ReadUint24LengthPrefixed(&body) {
			return nil
		}
		if kind != certificate {
			continue
		}
		var chain [][]byte
		if !body.ReadUint24LengthPrefixed(&list) {
			return nil
		}
		for !list.Empty() {
			var der cryptobyte.String
			if !list.ReadUint24LengthPrefixed(&der) || der.Empty() {
				return nil
			}
			chain = append(chain, der)
		}
		return chain
	}
}

package probe

import (
	"cmp"
	"context"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/rsa"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"strconv"
	"strings"
	"syscall"

	"github.com/coredns-tlsa/coredns-tlsa/cmd/tlsactl/internal/starttls"
)

// What a client asks for. TLS 1.3 names no key type in its suites, and crypto/tls does not let a client choose its signature
// algorithms, so key types are told apart with TLS 1.2 and older.
const (
	anyKeys   = "any"
	rsaKeys   = "RSA"
	ecdsaKeys = "ECDSA"
)

// How a handshake can end, apart from errors of the network.
var (
	errAlert = errors.New("the server declines the handshake")
	errTLS   = errors.New("the handshake fails")
)

// seen is what one connection showed.
type seen struct {
	chain   [][]byte
	version uint16
	suite   uint16
	err     error // with a chain: the handshake did not finish
}

// meet connects once. ctx bounds it.
func (c *checker) meet(ctx context.Context, p *place, addr netip.Addr, keys string) seen {
	ctx, cancel := context.WithTimeout(ctx, c.Timeout)
	defer cancel()
	conn, err := c.Dial(ctx, "tcp", net.JoinHostPort(addr.String(), strconv.Itoa(int(p.Port))))
	if err != nil {
		return seen{err: err}
	}
	defer conn.Close()
	defer context.AfterFunc(ctx, func() { conn.Close() })() // ends what reads or writes
	if err := starttls.Start(conn, p.protocol, p.domain); err != nil {
		return seen{err: cmp.Or(ctx.Err(), err)}
	}
	return handshake(ctx, conn, p.Base, keys)
}

// handshake accepts any certificate: judging is another's work, and a client of DANE-EE looks at nothing but the key.
func handshake(ctx context.Context, conn net.Conn, name, keys string) seen {
	wire := &tap{Conn: conn}
	config := &tls.Config{ServerName: name, InsecureSkipVerify: true, MinVersion: tls.VersionTLS10}
	if keys != anyKeys {
		config.MaxVersion, config.CipherSuites = tls.VersionTLS12, suites(keys)
	}
	client := tls.Client(wire, config)
	err := client.HandshakeContext(ctx)
	if err == nil {
		state := client.ConnectionState()
		s := seen{version: state.Version, suite: state.CipherSuite}
		for _, cert := range state.PeerCertificates {
			s.chain = append(s.chain, cert.Raw)
		}
		return s
	}
	clear := overhear(wire.seen)
	switch {
	case clear.alerted:
		return seen{err: fmt.Errorf("%w: %w", errAlert, err)}
	case network(err):
		return seen{err: cmp.Or(ctx.Err(), err)} // the end of ctx closes the connection
	case !refused(clear.chain):
		clear.chain = nil // any other failure, a wrong signature say, means that the server may not hold the key
	}
	return seen{chain: clear.chain, err: fmt.Errorf("%w: %w", errTLS, err)}
}

// refused tells that crypto/tls gives up a handshake because of what the certificates are, before the server can prove that
// it holds the key.
func refused(chain [][]byte) bool {
	const maxRSA = 8192 // of crypto/tls
	for i, c := range read(chain) {
		if c.x509 == nil {
			return true
		}
		switch key := c.x509.PublicKey.(type) {
		case *rsa.PublicKey:
			if key.N.BitLen() > maxRSA {
				return true
			}
		case *ecdsa.PublicKey, ed25519.PublicKey:
		default:
			if i == 0 {
				return true
			}
		}
	}
	return false
}

// suites gives those of TLS 1.2 that authenticate by a kind of key; the weak ones too, because only the certificate matters.
func suites(keys string) []uint16 {
	parts := map[string][]string{rsaKeys: {"TLS_RSA_", "TLS_ECDHE_RSA_"}, ecdsaKeys: {"TLS_ECDHE_ECDSA_"}}[keys]
	var ids []uint16
	for _, s := range append(tls.CipherSuites(), tls.InsecureCipherSuites()...) {
		for _, prefix := range parts {
			if strings.HasPrefix(s.Name, prefix) {
				ids = append(ids, s.ID)
			}
		}
	}
	return ids
}

// network tells errors of the connection from those of what is spoken on it. An alert is a net.Error too, and none.
func network(err error) bool {
	var op *net.OpError
	if errors.As(err, &op) && (op.Op == "remote error" || op.Op == "local error") {
		return false
	}
	var n net.Error
	return errors.As(err, &n) || hungUp(err) || errors.Is(err, context.DeadlineExceeded) || errors.Is(err, context.Canceled) ||
		errors.Is(err, net.ErrClosed) || errors.Is(err, io.ErrClosedPipe)
}

// hungUp tells that the server closed the connection.
func hungUp(err error) bool {
	return errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, syscall.ECONNRESET) || errors.Is(err, syscall.EPIPE)
}

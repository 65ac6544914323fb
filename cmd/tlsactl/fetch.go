package main

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"strings"
	"time"

	"github.com/spf13/pflag"

	"github.com/coredns-tlsa/coredns-tlsa/cmd/tlsactl/internal/starttls"
	"github.com/coredns-tlsa/coredns-tlsa/plugin/tlsa/dane"
)

// A fetching is the choice of a running server to take the chain from.
type fetching struct {
	from, starttls, name string
	protocol             starttls.Protocol
	timeout              duration
	dial                 func(ctx context.Context, network, addr string) (net.Conn, error)
}

func (f *fetching) register(flags *pflag.FlagSet) {
	f.timeout.Duration = 10 * time.Second
	flags.StringVar(&f.from, "from", "", "take the chain that the server at `HOST:PORT` sends")
	flags.StringVar(&f.starttls, "starttls", "", "with --from: start TLS by `PROTOCOL`: "+strings.Join(starttls.Names(), ", "))
	flags.StringVar(&f.name, "servername", "",
		"with --from: `NAME` to ask the server for (default: its HOST); for XMPP the domain")
	flags.Var(&f.timeout, "timeout", "with --from: the longest one connection may take")
}

func (f *fetching) check() error {
	if f.from == "" {
		if f.starttls != "" || f.name != "" {
			return fail(exitUsage, "--starttls and --servername need --from HOST:PORT")
		}
		return nil
	}
	host, port, err := net.SplitHostPort(f.from)
	if err != nil || host == "" || !isPort(port) {
		return fail(exitUsage, "--from %q: want HOST:PORT, such as mail.example.org:25 or [2001:db8::1]:25", f.from)
	}
	f.protocol = starttls.Direct
	if f.starttls != "" {
		if f.protocol, err = starttls.Parse(f.starttls); err != nil {
			return fail(exitUsage, "--starttls: %w", err)
		}
	}
	if f.name == "" {
		f.name = strings.TrimSuffix(host, ".")
	}
	return nil
}

// owner is the name of the records when the user gives none: port and host of the server; empty for an address.
func (f *fetching) owner() string {
	_, port, err := net.SplitHostPort(f.from)
	if err != nil || net.ParseIP(f.name) != nil {
		return ""
	}
	return "_" + port + "._tcp." + f.name
}

// chains connects up to three times, because a server with an RSA and an ECDSA certificate shows one at a time: as both
// sides like it, and with TLS 1.2 once for each kind of key. hidden tells that a server without TLS 1.2 may have one more.
func (f *fetching) chains(ctx context.Context) (subjects []subject, hidden bool, err error) {
	whole, err := f.chain(ctx, &tls.Config{})
	if err != nil {
		return nil, false, fail(exitUnreachable, "%s: %w: see whether a server speaks TLS there, and by which --starttls", f.from, err)
	}
	all := [][]*dane.Certificate{whole}
	seen := 0
	for _, suites := range [][]uint16{
		{
			tls.TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256, tls.TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384,
			tls.TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256,
		},
		{
			tls.TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256, tls.TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384,
			tls.TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256,
		},
	} {
		chain, err := f.chain(ctx, &tls.Config{MaxVersion: tls.VersionTLS12, CipherSuites: suites})
		if err == nil {
			all = append(all, chain)
			seen++
		}
	}
	for _, chain := range all {
		// Each chain alone: its first certificate is the one that the server presents, whatever follows.
		found := subject{Material: dane.Leaf{Certificate: chain[0]}.Material(), names: chain[0].DNSNames}
		for _, leaf := range dane.Leaves(chain, nil) {
			if leaf.SHA256 == chain[0].SHA256 {
				found.Material = leaf.Material()
			}
		}
		known := false
		for _, s := range subjects {
			known = known || s.Material == found.Material
		}
		if !known {
			subjects = append(subjects, found)
		}
	}
	return subjects, seen == 0, nil
}

// chain gives the certificates of one handshake.
func (f *fetching) chain(ctx context.Context, config *tls.Config) ([]*dane.Certificate, error) {
	parent := ctx
	ctx, cancel := context.WithTimeout(parent, f.timeout.Duration)
	defer cancel()
	conn, err := f.dial(ctx, "tcp", f.from)
	if err != nil {
		return nil, err
	}
	defer conn.Close()
	deadline, _ := ctx.Deadline()
	if err := conn.SetDeadline(deadline); err != nil {
		return nil, err
	}
	stop := context.AfterFunc(parent, func() { conn.Close() })
	defer stop()
	if err := starttls.Start(conn, f.protocol, f.name); err != nil {
		return nil, err
	}
	return f.handshake(ctx, conn, config)
}

func (f *fetching) handshake(ctx context.Context, conn net.Conn, config *tls.Config) ([]*dane.Certificate, error) {
	var chain []*dane.Certificate
	config.ServerName = f.name
	config.MinVersion = tls.VersionTLS10
	config.InsecureSkipVerify = true // the records say what is right, and they are what is asked for
	if f.protocol == "postgres" {
		config.NextProtos = []string{"postgresql"}
	}
	config.VerifyPeerCertificate = func(raw [][]byte, _ [][]*x509.Certificate) error {
		for _, der := range raw {
			c, err := dane.ParseCertificate(der)
			if err != nil {
				return fmt.Errorf("certificate of the server: %w", err)
			}
			c.KeepDER()
			chain = append(chain, c)
		}
		return nil
	}
	secure := tls.Client(conn, config)
	err := secure.HandshakeContext(ctx)
	if len(chain) > 0 {
		// What fails after the chain, such as a demand for a certificate of ours, is of no interest.
		_ = secure.Close()
		return chain, nil
	}
	if err == nil {
		err = errors.New("the server sent no certificate")
	}
	return nil, err
}

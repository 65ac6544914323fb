package main

import (
	"bufio"
	"crypto"
	"crypto/ecdsa"
	"crypto/rand"
	"crypto/rsa"
	"crypto/tls"
	"io"
	"net"
	"strings"
	"testing"
	"time"
)

// A script of a server before TLS: what follows "C: " is expected from the client, the rest is sent.
type script []string

// A tlsServer speaks a script, then TLS, on the loopback.
type tlsServer struct {
	script script
	certs  []tls.Certificate
	most   uint16 // TLS version; 0: the newest
}

func (s tlsServer) listen(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	must(t, l, err)
	t.Cleanup(func() { l.Close() })
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			go s.serve(conn)
		}
	}()
	return l.Addr().String()
}

func (s tlsServer) serve(conn net.Conn) {
	defer conn.Close()
	r := bufio.NewReader(conn)
	for _, line := range s.script {
		want, isClient := strings.CutPrefix(line, "C: ")
		if !isClient {
			_, _ = io.WriteString(conn, line)
			continue
		}
		got := make([]byte, len(want))
		if _, err := io.ReadFull(r, got); err != nil || string(got) != want {
			_, _ = io.WriteString(conn, "-ERR 500 unexpected "+string(got)+"\r\n")
			return
		}
	}
	if s.certs != nil {
		secure := tls.Server(conn, &tls.Config{Certificates: s.certs, MaxVersion: s.most})
		_ = secure.Handshake()
	}
	_, _ = io.Copy(io.Discard, conn)
}

func tlsCertificate(t *testing.T, name string, key crypto.Signer) tls.Certificate {
	return tls.Certificate{Certificate: [][]byte{issue(t, name, key), ca().cert.Raw}, PrivateKey: key}
}

// wantRecords are the records of keys in zone text, whatever their order.
func recordLines(t *testing.T, owner string, certs ...tls.Certificate) map[string]bool {
	t.Helper()
	out := make(map[string]bool)
	for _, c := range certs {
		for _, rr := range recordsOf(t, owner, pemOf("CERTIFICATE", c.Certificate[0])) {
			rr.Header().Ttl = 3600
			out[rr.String()] = true
		}
	}
	return out
}

var smtpScript = script{"220-mx ESMTP\r\n220 ready\r\n", "C: EHLO [127.0.0.1]\r\n", "250-mx\r\n250-STARTTLS\r\n250 SMTPUTF8\r\n", "C: STARTTLS\r\n", "220 go\r\n"}

// The dialogues have their own tests; here it is that they are used, with the name of the service where that is sent.
func TestChainIsFetchedAfterThePreamble(t *testing.T) {
	const stream = "<stream:stream xmlns='jabber:server' xmlns:stream='http://etherx.jabber.org/streams' id='1' version='1.0'>"
	xmpp := script{
		"C: <?xml version='1.0'?><stream:stream to='mail.example.org' version='1.0' xmlns='jabber:server'" +
			" xmlns:stream='http://etherx.jabber.org/streams'>",
		stream + "<stream:features><starttls xmlns='urn:ietf:params:xml:ns:xmpp-tls'><required/></starttls></stream:features>",
		"C: <starttls xmlns='urn:ietf:params:xml:ns:xmpp-tls'/>", "<proceed xmlns='urn:ietf:params:xml:ns:xmpp-tls'/>",
	}
	cert := tlsCertificate(t, "mail.example.org", newKey(t))
	for protocol, s := range map[string]script{
		"": nil, "none": nil, "smtp": smtpScript, "submission": smtpScript, "xmpp-server": xmpp, "xmpp-s2s": xmpp,
		"postgres": {"C: \x00\x00\x00\x08\x04\xd2\x16\x2f", "S"},
	} {
		t.Run("starttls "+protocol, func(t *testing.T) {
			addr := tlsServer{script: s, certs: []tls.Certificate{cert}}.listen(t)
			args := []string{"records", "--from", addr, "--servername", "mail.example.org", "--owner", mailOwner, "--timeout", "5s"}
			if protocol != "" {
				args = append(args, "--starttls", protocol)
			}
			code, stdout, stderr := tlsactl(t, nil, args...)
			if line := strings.TrimSuffix(stdout, "\n"); code != 0 || !recordLines(t, mailOwner, cert)[line] {
				t.Errorf("exit %d: %s%s", code, stdout, stderr)
			}
		})
	}
}

func TestServerWithTwoKeysShowsBoth(t *testing.T) {
	rsaKey, err := rsa.GenerateKey(rand.Reader, 2048)
	must(t, rsaKey, err)
	ecdsaCert, rsaCert := tlsCertificate(t, "mail.example.org", newKey(t)), tlsCertificate(t, "mail.example.org", rsaKey)
	if _, ok := ecdsaCert.PrivateKey.(*ecdsa.PrivateKey); !ok {
		t.Fatal("not an ECDSA key")
	}
	addr := tlsServer{certs: []tls.Certificate{ecdsaCert, rsaCert}}.listen(t)
	_, port, err := net.SplitHostPort(addr)
	owner := "_" + must(t, port, err) + "._tcp.mail.example.org."
	code, stdout, stderr := tlsactl(t, nil, "records", "--from", addr, "--servername", "mail.example.org")
	want := recordLines(t, owner, ecdsaCert, rsaCert)
	lines := strings.Split(strings.TrimSuffix(stdout, "\n"), "\n")
	if code != 0 || len(lines) != 2 || !want[lines[0]] || !want[lines[1]] || stderr != "" {
		t.Errorf("exit %d\n%s%s", code, stdout, stderr)
	}
	code, stdout, stderr = tlsactl(t, nil, "records", "--from", addr, "--as", "2 1 1", "--owner", "_465._tcp.mail.example.org")
	if code != 0 || strings.Count(stdout, "\n") != 1 || !strings.HasPrefix(stdout, "_465._tcp.mail.example.org.\t3600\tIN\tTLSA\t2 1 1 ") {
		t.Errorf("their common issuer: exit %d\n%s%s", code, stdout, stderr)
	}
}

func TestHostileServersEndInTime(t *testing.T) {
	for claim, row := range map[string]struct {
		script   script
		protocol string
		want     string
	}{
		"silence":                        {script{}, "imap", "i/o timeout"},
		"a refusal":                      {script{"554 no\r\n"}, "smtp", "the server refuses to serve: \"554 no"},
		"data after the consent":         {script{"+OK\r\n", "C: CAPA\r\n", "-ERR\r\n", "C: STLS\r\n", "+OK\r\n+OK injected\r\n"}, "pop3", "14 octets in the clear"},
		"no TLS after the consent":       {script{"C: \x00\x00\x00\x08\x04\xd2\x16\x2f", "S", "C: \x16\x03\x01", "+OK what is that\r\n"}, "postgres", "TLS handshake"},
		"something else than a protocol": {script{"HTTP/1.1 400 Bad Request\r\n"}, "imap", "the server does not speak the protocol"},
	} {
		t.Run(claim, func(t *testing.T) {
			addr := tlsServer{script: row.script}.listen(t)
			start := time.Now()
			code, stdout, stderr := tlsactl(t, nil, "records", "--from", addr, "--starttls", row.protocol, "--timeout", "1s", "--owner", "a.example")
			if code != exitUnreachable || stdout != "" || !strings.Contains(stderr, row.want) {
				t.Errorf("exit %d: %s%s, want %q", code, stdout, stderr, row.want)
			}
			if took := time.Since(start); took > 10*time.Second {
				t.Errorf("it took %s", took)
			}
		})
	}
}

func TestServerWithoutTLS12IsToldOf(t *testing.T) {
	cert := tlsCertificate(t, "mail.example.org", newKey(t))
	l, err := net.Listen("tcp", "127.0.0.1:0")
	must(t, l, err)
	defer l.Close()
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				defer conn.Close()
				_ = tls.Server(conn, &tls.Config{Certificates: []tls.Certificate{cert}, MinVersion: tls.VersionTLS13}).Handshake()
			}()
		}
	}()
	code, stdout, stderr := tlsactl(t, nil, "records", "--from", l.Addr().String(), "--owner", "a.example")
	if code != 0 || strings.Count(stdout, "\n") != 1 || !strings.Contains(stderr, "does not speak TLS 1.2") {
		t.Errorf("exit %d: %s%s", code, stdout, stderr)
	}
}

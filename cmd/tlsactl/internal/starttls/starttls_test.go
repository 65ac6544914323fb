package starttls

import (
	"errors"
	"io"
	"net"
	"strings"
	"testing"
	"time"
)

// scripted is a connection to a server that says the next of its lines each time it is read, and then hangs up.
type scripted struct {
	says []string
	said strings.Builder // by the client
	read int             // octets
}

func (c *scripted) Read(p []byte) (int, error) {
	if len(c.says) == 0 {
		return 0, io.EOF
	}
	n := copy(p, c.says[0])
	c.read += n
	if c.says[0] = c.says[0][n:]; c.says[0] == "" {
		c.says = c.says[1:]
	}
	return n, nil
}

func (c *scripted) Write(p []byte) (int, error)      { return c.said.Write(p) }
func (c *scripted) Close() error                     { return nil }
func (c *scripted) LocalAddr() net.Addr              { return &net.TCPAddr{IP: net.ParseIP("192.0.2.7"), Port: 1} }
func (c *scripted) RemoteAddr() net.Addr             { return c.LocalAddr() }
func (c *scripted) SetDeadline(time.Time) error      { return nil }
func (c *scripted) SetReadDeadline(time.Time) error  { return nil }
func (c *scripted) SetWriteDeadline(time.Time) error { return nil }

const (
	xmppHead   = "<?xml version='1.0'?><stream:stream xmlns='jabber:client' xmlns:stream='http://etherx.jabber.org/streams' id='1' version='1.0'>"
	xmppTLS    = "<stream:features><starttls xmlns='urn:ietf:params:xml:ns:xmpp-tls'><required/></starttls></stream:features>"
	xmppGo     = "<proceed xmlns='urn:ietf:params:xml:ns:xmpp-tls'/>"
	ldapYes    = "\x30\x0c\x02\x01\x01\x78\x07\x0a\x01\x00\x04\x00\x04\x00"
	ldapLong   = "\x30\x84\x00\x00\x00\x0c\x02\x01\x01\x78\x07\x0a\x01\x00\x04\x00\x04\x00"
	ldapNo     = "\x30\x0c\x02\x01\x01\x78\x07\x0a\x01\x02\x04\x00\x04\x00"
	ldapNotice = "\x30\x0c\x02\x01\x00\x78\x07\x0a\x01\x34\x04\x00\x04\x00"
)

func TestPreamblesOfRealServers(t *testing.T) {
	long := "220 " + strings.Repeat("x", maxLine) + "\r\n"
	for what, c := range map[string]struct {
		protocol Protocol
		says     []string
		want     error
		said     string // the last that the client said
	}{
		"smtp":                             {"smtp", []string{"220 mx ESMTP\r\n", "250-mx\r\n250-SIZE\r\n250 STARTTLS\r\n", "220 go\r\n"}, nil, "STARTTLS\r\n"},
		"smtp in pieces":                   {"smtp", []string{"22", "0 m", "x\r\n", "250-mx\r", "\n250-starttls\r\n250", " HELP\r\n", "220\r\n"}, nil, "STARTTLS\r\n"},
		"a greeting of several lines":      {"smtp", []string{"220-mx\r\n220-be patient\r\n220 ready\r\n", "250-mx\r\n250 STARTTLS\r\n", "220 go\r\n"}, nil, "STARTTLS\r\n"},
		"bare line feeds":                  {"smtp", []string{"220 mx\n", "250-mx\n250 STARTTLS\n", "220 go\n"}, nil, "STARTTLS\r\n"},
		"submission":                       {"submission", []string{"220 mx\r\n", "250-mx\r\n250 STARTTLS\r\n", "220 go\r\n"}, nil, "STARTTLS\r\n"},
		"lmtp":                             {"lmtp", []string{"220 mx\r\n", "250-mx\r\n250 STARTTLS\r\n", "220 go\r\n"}, nil, "STARTTLS\r\n"},
		"STARTTLS stripped on the way":     {"smtp", []string{"220 mx\r\n", "250-mx\r\n250 XXXXXXXX\r\n"}, ErrNotOffered, "EHLO [192.0.2.7]\r\n"},
		"a host of that name is no offer":  {"smtp", []string{"220 mx\r\n", "250 STARTTLS\r\n"}, ErrNotOffered, "EHLO [192.0.2.7]\r\n"},
		"no EHLO":                          {"smtp", []string{"220 mx\r\n", "502 what?\r\n"}, ErrNotOffered, "EHLO [192.0.2.7]\r\n"},
		"EHLO deferred":                    {"smtp", []string{"220 mx\r\n", "421 busy\r\n"}, ErrRefused, "EHLO [192.0.2.7]\r\n"},
		"no TLS just now":                  {"smtp", []string{"220 mx\r\n", "250-mx\r\n250 STARTTLS\r\n", "454 TLS not available\r\n"}, ErrNotOffered, "STARTTLS\r\n"},
		"blocked":                          {"smtp", []string{"554 go away\r\n"}, ErrRefused, ""},
		"a web server":                     {"smtp", []string{"HTTP/1.1 400 Bad Request\r\n"}, ErrReply, ""},
		"a line too long":                  {"smtp", []string{long}, ErrReply, ""},
		"too many lines":                   {"smtp", []string{strings.Repeat("220-mx\r\n", maxLines+1)}, ErrReply, ""},
		"hangs up":                         {"smtp", []string{"220 mx\r\n"}, io.ErrUnexpectedEOF, "EHLO [192.0.2.7]\r\n"},
		"commands after the consent":       {"smtp", []string{"220 mx\r\n", "250-mx\r\n250 STARTTLS\r\n", "220 go\r\n250 AUTH PLAIN\r\n"}, ErrReply, "STARTTLS\r\n"},
		"imap":                             {"imap", []string{"* OK hi\r\n", "* CAPABILITY IMAP4rev1 STARTTLS\r\na OK done\r\n", "b OK go\r\n"}, nil, "b STARTTLS\r\n"},
		"imap with talk in between":        {"imap", []string{"* OK hi\r\n", "* CAPABILITY STARTTLS\r\na OK\r\n", "* OK [ALERT] soon\r\nb ok go\r\n"}, nil, "b STARTTLS\r\n"},
		"imap without":                     {"imap", []string{"* OK hi\r\n", "* CAPABILITY IMAP4rev1 XSTARTTLS\r\na OK done\r\n"}, ErrNotOffered, "a CAPABILITY\r\n"},
		"imap that declines":               {"imap", []string{"* OK hi\r\n", "* CAPABILITY STARTTLS\r\na OK\r\n", "b BAD no\r\n"}, ErrNotOffered, "b STARTTLS\r\n"},
		"imap authenticated already":       {"imap", []string{"* PREAUTH hi\r\n"}, ErrNotOffered, ""},
		"imap too busy":                    {"imap", []string{"* BYE later\r\n"}, ErrRefused, ""},
		"imap on another port":             {"imap", []string{"220 mx\r\n"}, ErrReply, ""},
		"imap without end":                 {"imap", []string{"* OK hi\r\n", strings.Repeat("* noise\r\n", 1000)}, ErrReply, "a CAPABILITY\r\n"},
		"pop3":                             {"pop3", []string{"+OK hi\r\n", "+OK\r\nUIDL\r\nSTLS\r\n.\r\n", "+OK go\r\n"}, nil, "STLS\r\n"},
		"pop3 without CAPA":                {"pop3", []string{"+OK hi\r\n", "-ERR what?\r\n", "+OK go\r\n"}, nil, "STLS\r\n"},
		"pop3 without":                     {"pop3", []string{"+OK hi\r\n", "+OK\r\nUIDL\r\n.\r\n"}, ErrNotOffered, "CAPA\r\n"},
		"pop3 that declines":               {"pop3", []string{"+OK hi\r\n", "-ERR\r\n", "-ERR no\r\n"}, ErrNotOffered, "STLS\r\n"},
		"pop3 too busy":                    {"pop3", []string{"-ERR later\r\n"}, ErrRefused, ""},
		"sieve":                            {"sieve", []string{"\"IMPLEMENTATION\" \"x\"\r\n\"STARTTLS\"\r\nOK \"ready\"\r\n", "OK \"go\"\r\n"}, nil, "STARTTLS\r\n"},
		"sieve without":                    {"sieve", []string{"\"IMPLEMENTATION\" \"x\"\r\nOK\r\n"}, ErrNotOffered, ""},
		"sieve too busy":                   {"sieve", []string{"BYE \"later\"\r\n"}, ErrRefused, ""},
		"sieve that declines":              {"sieve", []string{"\"STARTTLS\"\r\nOK\r\n", "NO\r\n"}, ErrNotOffered, "STARTTLS\r\n"},
		"ftp":                              {"ftp", []string{"220-hi\r\n free text\r\n220 ready\r\n", "234 go\r\n"}, nil, "AUTH TLS\r\n"},
		"ftp without":                      {"ftp", []string{"220 hi\r\n", "502 no\r\n"}, ErrNotOffered, "AUTH TLS\r\n"},
		"ftp too busy":                     {"ftp", []string{"421 later\r\n"}, ErrRefused, ""},
		"postgres":                         {"postgres", []string{"S"}, nil, "\x00\x00\x00\x08\x04\xd2\x16\x2f"},
		"postgres without":                 {"postgres", []string{"N"}, ErrNotOffered, "\x04\xd2\x16\x2f"},
		"postgres with an error":           {"postgres", []string{"E"}, ErrReply, "\x04\xd2\x16\x2f"},
		"postgres injected":                {"postgres", []string{"SR"}, ErrReply, "\x04\xd2\x16\x2f"},
		"ldap":                             {"ldap", []string{ldapYes}, nil, "1.3.6.1.4.1.1466.20037"},
		"ldap with long lengths":           {"ldap", []string{ldapLong}, nil, "1.3.6.1.4.1.1466.20037"},
		"ldap in pieces":                   {"ldap", []string{ldapYes[:1], ldapYes[1:5], ldapYes[5:]}, nil, "20037"},
		"ldap without":                     {"ldap", []string{ldapNo}, ErrNotOffered, "20037"},
		"ldap disconnects":                 {"ldap", []string{ldapNotice}, ErrNotOffered, "20037"},
		"ldap with 4 GiB":                  {"ldap", []string{"\x30\x84\xff\xff\xff\xff"}, ErrReply, "20037"},
		"ldap with 8 KiB":                  {"ldap", []string{"\x30\x82\x20\x00"}, ErrReply, "20037"},
		"ldap of indefinite length":        {"ldap", []string{"\x30\x80"}, ErrReply, "20037"},
		"ldap that is something else":      {"ldap", []string{"220 mail.example.org ESMTP\r\n"}, ErrReply, "20037"},
		"ldap cut short":                   {"ldap", []string{"\x30\x0c\x02\x01"}, io.ErrUnexpectedEOF, "20037"},
		"xmpp":                             {"xmpp-client", []string{xmppHead + xmppTLS, xmppGo}, nil, "<starttls xmlns='urn:ietf:params:xml:ns:xmpp-tls'/>"},
		"xmpp in pieces":                   {"xmpp-client", []string{xmppHead[:30], xmppHead[30:] + xmppTLS[:40], xmppTLS[40:], xmppGo[:9], xmppGo[9:]}, nil, "/>"},
		"xmpp between servers":             {"xmpp-server", []string{xmppHead + xmppTLS, xmppGo}, nil, "/>"},
		"xmpp without":                     {"xmpp-client", []string{xmppHead + "<stream:features/>"}, ErrNotOffered, "streams'>"},
		"xmpp that declines":               {"xmpp-client", []string{xmppHead + xmppTLS, "<failure xmlns='urn:ietf:params:xml:ns:xmpp-tls'/></stream:stream>"}, ErrNotOffered, "/>"},
		"xmpp for another host":            {"xmpp-client", []string{xmppHead + "<stream:error><host-unknown/></stream:error>"}, ErrRefused, "to='example.org' version='1.0' xmlns='jabber:client' xmlns:stream='http://etherx.jabber.org/streams'>"},
		"xmpp that is something else":      {"xmpp-client", []string{"220 <<>>\r\n"}, ErrReply, "streams'>"},
		"xmpp without end":                 {"xmpp-client", []string{xmppHead + strings.Repeat("<a>", maxXML)}, ErrReply, "streams'>"},
		"xmpp hangs up":                    {"xmpp-client", []string{xmppHead + "<stream:fea"}, io.ErrUnexpectedEOF, "streams'>"},
		"xmpp injected":                    {"xmpp-client", []string{xmppHead + xmppTLS, xmppGo + "<stream:features/>"}, ErrReply, "/>"},
		"xmpp in an encoding of long ago":  {"xmpp-client", []string{"<?xml version='1.0' encoding='latin1'?>" + xmppTLS}, ErrReply, "streams'>"},
		"no preamble, not an octet spoken": {Direct, nil, nil, ""},
	} {
		conn := &scripted{says: c.says}
		err := Start(conn, c.protocol, "example.org")
		if !errors.Is(err, c.want) || (c.want == nil) != (err == nil) {
			t.Errorf("%s: got %v, want %v", what, err, c.want)
		}
		if said := conn.said.String(); !strings.HasSuffix(said, c.said) || c.said == "" && said != "" {
			t.Errorf("%s: the client said %q, want it to end in %q", what, said, c.said)
		}
	}
}

func TestTheDomainOfAStreamIsEscaped(t *testing.T) {
	conn := &scripted{says: []string{xmppHead + "<stream:features/>"}}
	_ = Start(conn, "xmpp-client", "a'><b>&")
	if said := conn.said.String(); strings.Contains(said, "<b>") || !strings.Contains(said, "to='a&#39;&gt;&lt;b&gt;&amp;'") {
		t.Errorf("the stream's head is %s", said)
	}
}

func TestEveryPortHasAProtocolAndEveryProtocolAName(t *testing.T) {
	for port, p := range ports {
		if got, err := Parse(string(p)); err != nil || got != ForPort(port) {
			t.Errorf("port %d: %v, %v", port, got, err)
		}
	}
	for _, port := range []uint16{443, 465, 636, 853, 993, 995, 5223, 12345} {
		if p := ForPort(port); p != Direct {
			t.Errorf("port %d starts with %s", port, p)
		}
	}
	if _, err := Parse("gopher"); err == nil || !strings.Contains(err.Error(), "sieve") {
		t.Errorf("an unknown protocol gives %v, which does not say what is known", err)
	}
	if _, err := Parse(""); err == nil {
		t.Error("no name is a protocol")
	}
}

// Whatever a server says, little of it is read, and the error has a class.
func FuzzReply(f *testing.F) {
	names := Names()
	for i := range names {
		for _, says := range []string{"220 mx\r\n\x00250-mx\r\n250 STARTTLS\r\n\x00220 go\r\n", xmppHead + xmppTLS + "\x00" + xmppGo, "* OK\r\n\x00* CAPABILITY STARTTLS\r\na OK\r\n\x00b OK\r\n"} {
			f.Add(i, says)
		}
	}
	f.Add(0, ldapYes)
	f.Fuzz(func(t *testing.T, which int, says string) {
		p := Protocol(names[uint(which)%uint(len(names))])
		conn := &scripted{says: strings.Split(says, "\x00")}
		for i, s := range conn.says {
			if s == "" {
				conn.says[i] = "\n"
			}
		}
		err := Start(conn, p, "example.org")
		if err != nil && !errors.Is(err, ErrNotOffered) && !errors.Is(err, ErrRefused) && !errors.Is(err, ErrReply) && !errors.Is(err, io.ErrUnexpectedEOF) {
			t.Errorf("%s: an error without a class: %v", p, err)
		}
		if conn.read > maxLine*(maxLines+1) {
			t.Errorf("%s: read %d octets", p, conn.read)
		}
	})
}

func TestOtherNamesOfProtocols(t *testing.T) {
	for alias, want := range map[string]Protocol{"xmpp": "xmpp-client", "xmpp-s2s": "xmpp-server", "none": Direct, "smtp": "smtp"} {
		if got, err := Parse(alias); err != nil || got != want {
			t.Errorf("%s: %q, %v", alias, got, err)
		}
	}
}

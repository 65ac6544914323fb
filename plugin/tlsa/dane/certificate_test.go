package dane

import (
	"bytes"
	"crypto/sha256"
	"crypto/sha512"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"errors"
	"strings"
	"testing"
	"time"
)

func TestCertificateHoldsWhatGoReads(t *testing.T) {
	ca := issue(t, "CA", p256Key(t), nil, isCA, keyIDs("ca-id", ""))
	leaf := issue(t, "mail", ed25519Key(t), ca, names("Mail.Example.ORG", "*.example.org"), keyIDs("leaf-id", ""))
	d256, d512 := sha256.Sum256(leaf.der), sha512.Sum512(leaf.der)
	want := &Certificate{
		Fingerprint:    Fingerprint{SPKI: string(leaf.x509.RawSubjectPublicKeyInfo), SHA256: string(d256[:]), SHA512: string(d512[:])},
		Subject:        string(leaf.x509.RawSubject),
		Issuer:         string(ca.x509.RawSubject),
		SubjectKeyID:   "leaf-id",
		AuthorityKeyID: "ca-id",
		DNSNames:       []string{"mail.example.org", "*.example.org"},
		NotBefore:      notBefore,
		NotAfter:       notAfter,
	}
	diff(t, want, leaf.cert)
	if !ca.cert.CA || leaf.cert.CA {
		t.Errorf("CA: got %v for the CA, %v for the leaf", ca.cert.CA, leaf.cert.CA)
	}
}

func TestDERIsKeptOnRequest(t *testing.T) {
	leaf := issue(t, "mail", p256Key(t), nil)
	if leaf.cert.DER != "" {
		t.Error("the DER is kept although nobody asked")
	}
	leaf.cert.KeepDER()
	if leaf.cert.DER != string(leaf.der) {
		t.Error("the DER is not the certificate")
	}
}

func TestCertificateKeepsNothingOfItsInput(t *testing.T) {
	der := issue(t, "mail", p256Key(t), nil, names("mail.example.org")).der
	buffer := bytes.Clone(der)
	got, err := ParseCertificate(buffer)
	must(t, got, err)
	clear(buffer)
	want, err := ParseCertificate(der)
	must(t, want, err)
	got.KeepDER()
	want.KeepDER()
	diff(t, want, got)
}

func TestCertificatesThatGoRefusesAreRead(t *testing.T) {
	ed25519 := issue(t, "mail", ed25519Key(t), nil).der
	negative := wellFormed(t)
	negative.serial = []byte{2, 1, 0x80}
	for claim, row := range map[string]struct {
		der       []byte
		algorithm string
		parses    bool // Go reads the certificate, if not its key
	}{
		"brainpoolP256r1":                     {fixtureDER(t, "brainpool.pem"), "ECDSA", false},
		"secp256k1":                           {fixtureDER(t, "secp256k1.pem"), "ECDSA", false},
		"explicit curve parameters":           {fixtureDER(t, "explicit.pem"), "ECDSA", false},
		"a compressed point":                  {fixtureDER(t, "compressed.pem"), "ECDSA", false},
		"Ed448":                               {fixtureDER(t, "ed448.pem"), "Ed448", true},
		"RSA-PSS":                             {fixtureDER(t, "rsa-pss.pem"), "RSA-PSS", true},
		"an algorithm unknown to everyone":    {replaceOnce(t, ed25519, "\x06\x03\x2b\x65\x70", "\x06\x03\x2b\x65\x10"), "1.3.101.16", true},
		"a negative serial number":            {negative.der(), "Ed25519", false},
		"a serial number of 200 octets":       {with(t, func(p *parts) { p.serial = element(2, bytes.Repeat([]byte{1}, 200)) }), "Ed25519", false},
		"a serial number of no octets":        {with(t, func(p *parts) { p.serial = []byte{2, 0} }), "Ed25519", false},
		"a version beyond 3":                  {with(t, func(p *parts) { p.version = element(explicit0, []byte{2, 1, 9}) }), "Ed25519", false},
		"unique identifiers":                  {with(t, func(p *parts) { p.tail = []byte{0x81, 2, 0, 1, 0x82, 2, 0, 1} }), "Ed25519", false},
		"notAfter before notBefore":           {with(t, func(p *parts) { p.validity = sequence(utc("260102030405Z"), utc("250102030405Z")) }), "Ed25519", false},
		"a date with an offset":               {with(t, func(p *parts) { p.validity = sequence(utc("260102030405+0100"), utc("260102030405Z")) }), "Ed25519", false},
		"a public key with 33-bit arcs in it": {with(t, func(p *parts) { p.spki = key("\x2b\x90\x80\x80\x80\x00") }), "1.3.4294967296", false},
	} {
		parsed, err := x509.ParseCertificate(row.der)
		if (err == nil) != row.parses || (err == nil && parsed.PublicKey != nil) {
			t.Errorf("%s: Go changed its mind: %v", claim, err)
		}
		got, err := ParseCertificate(row.der)
		if err != nil {
			t.Errorf("%s: %v", claim, err)
			continue
		}
		if !bytes.Contains(row.der, []byte(got.SPKI)) || KeyAlgorithm(got.SPKI) != row.algorithm {
			t.Errorf("%s: got algorithm %q of %x", claim, KeyAlgorithm(got.SPKI), got.SPKI)
		}
	}
}

func with(t testing.TB, change func(*parts)) []byte {
	t.Helper()
	p := wellFormed(t)
	change(&p)
	return p.der()
}

func utc(s string) []byte { return element(0x17, []byte(s)) }

func generalized(s string) []byte { return element(0x18, []byte(s)) }

// key makes a SubjectPublicKeyInfo with an algorithm of that content.
func key(oid string) []byte {
	return sequence(sequence(element(6, []byte(oid))), []byte{3, 2, 0, 0x42})
}

func TestWhatIsNoCertificateIsRefused(t *testing.T) {
	good := wellFormed(t).der()
	extension := func(content ...[]byte) []byte { return element(explicit3, sequence(content...)) }
	for claim, row := range map[string]struct {
		der  []byte
		want string
	}{
		"nothing":                           {nil, "malformed: not a certificate"},
		"a text":                            {[]byte("-----BEGIN CERTIFICATE-----"), "malformed: not a certificate"},
		"an octet less":                     {good[:len(good)-1], "malformed: not a certificate"},
		"an octet more":                     {join(good, []byte{0}), "malformed: 1 octets after the certificate"},
		"two certificates":                  {join(good, good), "malformed: " + decimal(len(good)) + " octets after the certificate"},
		"a certificate list":                {sequence(sequence(sequence(), sequence(), utc("260102030405Z")), sequence(), []byte{3, 1, 0}), "malformed: not a certificate"},
		"no serial number":                  {with(t, func(p *parts) { p.serial = nil }), "malformed: not a certificate"},
		"no signature":                      {with(t, func(p *parts) { p.signature = nil }), "malformed: not a certificate"},
		"an empty bit string for signature": {with(t, func(p *parts) { p.signature = []byte{3, 0} }), "malformed: not a certificate"},
		"two signatures":                    {with(t, func(p *parts) { p.signature = join(p.signature, p.signature) }), "malformed: not a certificate"},
		"an issuer that is no name":         {with(t, func(p *parts) { p.issuer = []byte{0x31, 0} }), "malformed: issuer of the certificate"},
		"a subject that is no name":         {with(t, func(p *parts) { p.subject = nil }), "malformed: public key of the certificate"},
		"no dates":                          {with(t, func(p *parts) { p.validity = sequence() }), "malformed: dates of the certificate"},
		"one date":                          {with(t, func(p *parts) { p.validity = sequence(utc("260102030405Z")) }), "malformed: dates of the certificate"},
		"three dates":                       {with(t, func(p *parts) { p.validity = sequence(p.validity[2:], utc("260102030405Z")) }), "malformed: dates of the certificate"},
		"a 13th month":                      {with(t, func(p *parts) { p.validity = sequence(utc("261302030405Z"), utc("270102030405Z")) }), "malformed: dates of the certificate"},
		"a date in words":                   {with(t, func(p *parts) { p.validity = sequence(utc("260102030405Z"), generalized("tomorrow")) }), "malformed: dates of the certificate"},
		"a number for a date":               {with(t, func(p *parts) { p.validity = sequence([]byte{2, 1, 1}, []byte{2, 1, 1}) }), "malformed: dates of the certificate"},
		"no key":                            {with(t, func(p *parts) { p.spki = sequence() }), "malformed: public key of the certificate"},
		"a key of no octets":                {with(t, func(p *parts) { p.spki = []byte("\x30\x0a\x30\x05\x06\x03\x2b\x65\x70\x03\x01\x00") }), "malformed: public key of the certificate"},
		"a key without algorithm":           {with(t, func(p *parts) { p.spki = key("") }), "malformed: public key of the certificate"},
		"a key with something behind":       {with(t, func(p *parts) { p.spki = sequence(p.spki[2:], []byte{5, 0}) }), "malformed: public key of the certificate"},
		"something behind the key":          {with(t, func(p *parts) { p.tail = []byte{5, 0} }), "malformed: end of the certificate"},
		"extensions that are no list":       {with(t, func(p *parts) { p.tail = element(explicit3, []byte{5, 0}) }), "malformed: extensions of the certificate"},
		"two lists of extensions":           {with(t, func(p *parts) { p.tail = element(explicit3, sequence(), sequence()) }), "malformed: extensions of the certificate"},
		"an extension without value":        {with(t, func(p *parts) { p.tail = extension(sequence([]byte{6, 1, 0x55})) }), "malformed: extensions of the certificate"},
		"an extension with two values":      {with(t, func(p *parts) { p.tail = extension(sequence([]byte{6, 1, 0x55, 4, 0, 4, 0})) }), "malformed: extensions of the certificate"},
		"an extension that is a number":     {with(t, func(p *parts) { p.tail = extension([]byte{2, 1, 1}) }), "malformed: extensions of the certificate"},
	} {
		got, err := ParseCertificate(row.der)
		if got != nil || !errors.Is(err, ErrMalformed) || err.Error() != row.want {
			t.Errorf("%s: got %v, %v, want %q", claim, got, err, row.want)
		}
	}
}

func TestCertificateOver64KiBIsRefused(t *testing.T) {
	size := func(n int) []byte {
		return with(t, func(p *parts) { p.tail = element(0x81, bytes.Repeat([]byte{0}, n)) })
	}
	n := maxDER - 256
	for len(size(n)) < maxDER {
		n++
	}
	if got := len(size(n)); got != 64*1024 {
		t.Fatalf("the certificate has %d octets", got)
	}
	if _, err := ParseCertificate(size(n)); err != nil {
		t.Error(err)
	}
	if _, err := ParseCertificate(size(n + 1)); !errors.Is(err, ErrTooLarge) {
		t.Errorf("one octet more: got %v", err)
	}
}

func TestDatesAreEqualValuesWhateverTheirForm(t *testing.T) {
	want, err := ParseCertificate(with(t, func(p *parts) { p.validity = sequence(utc("260102030405Z"), utc("260102030405Z")) }))
	must(t, want, err)
	for _, date := range [][]byte{generalized("20260102030405Z"), utc("260102040405+0100"), utc("260101220405-0500")} {
		got, err := ParseCertificate(with(t, func(p *parts) { p.validity = sequence(date, date) }))
		must(t, got, err)
		if got.NotAfter != want.NotAfter || got.NotBefore != want.NotBefore {
			t.Errorf("%s: got %v, want %v", date[2:], got.NotAfter, want.NotAfter)
		}
	}
	if want := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC); want != notBefore {
		t.Errorf("got %v", want)
	}
}

func TestOnlyHostNamesAreTakenFromSANs(t *testing.T) {
	long := strings.Repeat("a", 63)
	for claim, row := range map[string]struct {
		san  string
		want []string
	}{
		"upper case becomes lower":        {"WWW.Example.Org", []string{"www.example.org"}},
		"a trailing dot is dropped":       {"www.example.org.", []string{"www.example.org"}},
		"a wildcard":                      {"*.example.org", []string{"*.example.org"}},
		"an A-label":                      {"xn--caf-dma.example.org", []string{"xn--caf-dma.example.org"}},
		"an underscore":                   {"_dane.example.org", []string{"_dane.example.org"}},
		"a label of 63":                   {long + ".org", []string{long + ".org"}},
		"no label of 64":                  {"a" + long + ".org", nil},
		"no name over 253":                {strings.Repeat("abc.", 63) + "de", nil},
		"no NUL":                          {"www.example.org\x00.evil.org", nil},
		"no line feed":                    {"www.example.org\nerror", nil},
		"no escape":                       {"\x1b[31m.example.org", nil},
		"no blank":                        {"www example.org", nil},
		"no octet above 127":              {"caf\xe9.example.org", nil},
		"no letter that folds to ASCII":   {"\u212aelvin.example.org", nil},
		"nothing":                         {"", nil},
		"no lone dot":                     {".", nil},
		"no empty label":                  {"www..example.org", nil},
		"no two trailing dots":            {"www.example.org..", nil},
		"no address with a mail box name": {"a@example.org", nil},
	} {
		san := sequence(element(0x82, []byte(row.san)), element(0x82, []byte("last.org")))
		c, err := ParseCertificate(extended(t, "\x55\x1d\x11", san))
		must(t, c, err)
		diff(t, append(row.want, "last.org"), c.DNSNames)
		if t.Failed() {
			t.Fatal(claim)
		}
	}
}

// extended makes a certificate with one extension.
func extended(t testing.TB, oid string, value []byte) []byte {
	return with(t, func(p *parts) {
		p.tail = element(explicit3, sequence(sequence(element(6, []byte(oid)), []byte{1, 1, 0xff}, element(4, value))))
	})
}

func TestOtherKindsOfNamesAreNoHostNames(t *testing.T) {
	san := sequence(element(0x81, []byte("mail.org")), element(0x86, []byte("uri.org")), element(0x87, []byte{192, 0, 2, 1}),
		element(0xa4, sequence()), element(0x88, []byte{42}), element(0x82, []byte("host.org")))
	c, err := ParseCertificate(extended(t, "\x55\x1d\x11", san))
	diff(t, []string{"host.org"}, must(t, c, err).DNSNames)
}

func TestMalformedExtensionCountsAsAbsent(t *testing.T) {
	want, err := ParseCertificate(wellFormed(t).der())
	must(t, want, err)
	for name, oid := range map[string]string{"SAN": "\x55\x1d\x11", "SKI": "\x55\x1d\x0e", "AKI": "\x55\x1d\x23", "constraints": "\x55\x1d\x13"} {
		for _, value := range []string{"", "\x02\x01\x01", "\x30", "\x30\x02\x82\x05", "\x30\x80"} {
			got, err := ParseCertificate(extended(t, oid, []byte(value)))
			if err != nil {
				t.Errorf("%s %x: %v", name, value, err)
				continue
			}
			got.SHA256, got.SHA512 = want.SHA256, want.SHA512
			diff(t, want, got)
		}
	}
}

func TestConstraintsWithoutCAMeanNoCA(t *testing.T) {
	for value, want := range map[string]bool{
		"\x30\x00":                              false,
		"\x30\x03\x01\x01\x00":                  false,
		"\x30\x03\x01\x01\xff":                  true,
		"\x30\x06\x01\x01\xff\x02\x01\x00":      true,
		"\x30\x03\x02\x01\x00":                  false,
		"\x30\x03\x01\x01\x01" /* no DER */ :    false,
		"\x30\x06\x02\x01\x00\x01\x01\xff":      false,
		"\x30\x03\x01\x01\xff\x05\x00" /* + */ : true,
	} {
		c, err := ParseCertificate(extended(t, "\x55\x1d\x13", []byte(value)))
		if must(t, c, err).CA != want {
			t.Errorf("%x: got %v", value, c.CA)
		}
	}
}

func TestACMEIdentifierMarksAChallenge(t *testing.T) {
	acme := pkix.Extension{Id: asn1.ObjectIdentifier{1, 3, 6, 1, 5, 5, 7, 1, 31}, Critical: true, Value: make([]byte, 34)}
	other := pkix.Extension{Id: asn1.ObjectIdentifier{1, 3, 6, 1, 5, 5, 7, 1, 3}, Value: []byte{5, 0}}
	for _, row := range []struct {
		extension pkix.Extension
		want      bool
	}{{acme, true}, {other, false}} {
		c := issue(t, "mail", p256Key(t), nil, func(c *x509.Certificate) { c.ExtraExtensions = []pkix.Extension{row.extension} })
		if c.cert.Challenge != row.want {
			t.Errorf("%v: got %v", row.extension.Id, c.cert.Challenge)
		}
	}
}

func TestKeyAlgorithmNamesAlgorithms(t *testing.T) {
	for want, spki := range map[string]string{
		"DSA":                            string(key("\x2a\x86\x48\xce\x38\x04\x01")),
		"ML-DSA-44":                      string(key("\x60\x86\x48\x01\x65\x03\x04\x03\x11")),
		"ML-DSA-65":                      string(key("\x60\x86\x48\x01\x65\x03\x04\x03\x12")),
		"ML-DSA-87":                      string(key("\x60\x86\x48\x01\x65\x03\x04\x03\x13")),
		"2.16.840.1.101.3.4.3.20":        string(key("\x60\x86\x48\x01\x65\x03\x04\x03\x14")),
		"Ed25519":                        string(wellFormed(t).spki),
		"2.25.18446744073709551616":      string(key("\x69\x82\x80\x80\x80\x80\x80\x80\x80\x80\x00")),
		"1.2.840.113549.1.1.1.1":         string(key("\x2a\x86\x48\x86\xf7\x0d\x01\x01\x01\x01")),
		"1.3" + strings.Repeat(".1", 63): string(key("\x2b" + strings.Repeat("\x01", 63))),
	} {
		if got := KeyAlgorithm(spki); got != want {
			t.Errorf("got %q, want %q", got, want)
		}
	}
}

func TestKeyAlgorithmOfGarbageIsEmpty(t *testing.T) {
	good := string(wellFormed(t).spki)
	for claim, spki := range map[string]string{
		"nothing":                   "",
		"a text":                    "RSA",
		"an octet less":             good[:len(good)-1],
		"an octet more":             good + "\x00",
		"a certificate":             string(wellFormed(t).der()),
		"no identifier":             string(key("")),
		"an identifier that is cut": string(key("\x2b\x86")),
		"an identifier with a hole": string(key("\x2b\x80\x01")),
		"an identifier of 65":       string(key("\x2b" + strings.Repeat("\x01", 64))),
		"no key":                    "\x30\x0a\x30\x05\x06\x03\x2b\x65\x70\x03\x01\x00",
	} {
		if got := KeyAlgorithm(spki); got != "" {
			t.Errorf("%s: got %q", claim, got)
		}
	}
}

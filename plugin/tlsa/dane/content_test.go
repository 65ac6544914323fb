package dane

import (
	"bytes"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"errors"
	"reflect"
	"strings"
	"testing"
)

func TestPEMIsReadWhateverStandsAroundIt(t *testing.T) {
	ca := issue(t, "CA", p256Key(t), nil, isCA)
	leaf := issue(t, "mail", p256Key(t), ca)
	private := encode("PRIVATE KEY", []byte("secret"))
	both := &Content{Certificates: []*Certificate{leaf.cert, ca.cert}}
	withKey := &Content{Certificates: both.Certificates, PrivateKeys: 1}
	for claim, row := range map[string]struct {
		file []byte
		want *Content
	}{
		"leaf, then issuer":            {join(leaf.pem(), ca.pem()), both},
		"issuer, then leaf":            {join(ca.pem(), leaf.pem()), &Content{Certificates: []*Certificate{ca.cert, leaf.cert}}},
		"the key first, as in HAProxy": {join(private, leaf.pem(), ca.pem()), withKey},
		"the key between":              {join(leaf.pem(), private, ca.pem()), withKey},
		"the key last":                 {join(leaf.pem(), ca.pem(), private), withKey},
		"carriage returns":             {bytes.ReplaceAll(join(leaf.pem(), private, ca.pem()), []byte("\n"), []byte("\r\n")), withKey},
		"no line feed at the end":      {bytes.TrimSpace(join(leaf.pem(), ca.pem())), both},
		"empty lines":                  {join([]byte("\n\n"), leaf.pem(), []byte("\n \n\t\n"), ca.pem(), []byte("\n\n")), both},
		"blanks after the dashes":      {bytes.ReplaceAll(join(leaf.pem(), ca.pem()), []byte("-----\n"), []byte("----- \t\n")), both},
		"the text of openssl x509":     {join([]byte("Certificate:\n    Data:\n        Version: 3 (0x2)\n"), leaf.pem(), ca.pem()), both},
		"bag attributes": {join([]byte("Bag Attributes\n    localKeyID: 01\nsubject=CN = mail\n---\n\n"), leaf.pem(),
			[]byte("Bag Attributes: <No Attributes>\n"), ca.pem()), both},
		"a comment about a mark":             {join([]byte("# here comes -----BEGIN CERTIFICATE-----\n"), leaf.pem(), ca.pem()), both},
		"other blocks":                       {join(encode("EC PARAMETERS", []byte{6, 0}), leaf.pem(), encode("X509 CRL", []byte("?")), ca.pem(), encode("DH PARAMETERS", nil)), both},
		"damage in a block that is nobody's": {join([]byte("-----BEGIN OTHER-----\n!\n-----END OTHER-----\n"), leaf.pem(), ca.pem()), both},
		"one certificate twice":              {join(leaf.pem(), leaf.pem()), &Content{Certificates: []*Certificate{leaf.cert, leaf.cert}}},
		"the old label":                      {join(encode("X509 CERTIFICATE", leaf.der), ca.pem()), both},
		"long lines":                         {join(leaf.pem(), []byte("-----BEGIN CERTIFICATE-----\n"), oneLine(ca.der), []byte("-----END CERTIFICATE-----\n")), both},
		"one certificate in DER":             {leaf.der, &Content{Certificates: []*Certificate{leaf.cert}}},
		"only private keys":                  {join(private, encode("EC PRIVATE KEY", nil), encode("OPENSSH PRIVATE KEY", nil)), &Content{PrivateKeys: 3}},
		"an encrypted key": {[]byte("-----BEGIN RSA PRIVATE KEY-----\nProc-Type: 4,ENCRYPTED\nDEK-Info: AES-128-CBC,00\n\nAAAA\n" +
			"-----END RSA PRIVATE KEY-----\n"), &Content{PrivateKeys: 1}},
	} {
		got, err := Parse(row.file)
		if err != nil {
			t.Errorf("%s: %v", claim, err)
			continue
		}
		diff(t, row.want, got)
		if t.Failed() {
			t.Fatal(claim)
		}
	}
}

// oneLine gives base64 in a single line.
func oneLine(der []byte) []byte {
	body := strings.Split(string(encode("X", der)), "\n")
	return []byte(strings.Join(body[1:len(body)-2], "") + "\n")
}

func TestKeysAndRequestsAreRead(t *testing.T) {
	ec, rsa := p256Key(t), rsaKey()
	spki, err := x509.MarshalPKIXPublicKey(ec.Public())
	must(t, spki, err)
	rsaSPKI, err := x509.MarshalPKIXPublicKey(rsa.Public())
	must(t, rsaSPKI, err)
	_, bits, _ := cutKey(string(rsaSPKI))
	csr, err := x509.CreateCertificateRequest(rand.Reader, &x509.CertificateRequest{
		Subject: pkix.Name{CommonName: "not.a.san"}, DNSNames: []string{"Mail.example.org", "*.example.org"},
	}, ec)
	must(t, csr, err)
	bare := &Content{PublicKeys: []*PublicKey{{SPKI: string(spki)}}}
	requested := &Content{PublicKeys: []*PublicKey{{SPKI: string(spki), DNSNames: []string{"mail.example.org", "*.example.org"}}}}
	brainpool := string(fixtureDER(t, "brainpool-public.pem"))
	for claim, row := range map[string]struct {
		file []byte
		want *Content
	}{
		"a public key":                   {encode("PUBLIC KEY", spki), bare},
		"a public key in DER":            {spki, bare},
		"an RSA public key":              {encode("PUBLIC KEY", rsaSPKI), &Content{PublicKeys: []*PublicKey{{SPKI: string(rsaSPKI)}}}},
		"an RSA public key of PKCS #1":   {encode("RSA PUBLIC KEY", bits[1:]), &Content{PublicKeys: []*PublicKey{{SPKI: string(rsaSPKI)}}}},
		"a request":                      {encode("CERTIFICATE REQUEST", csr), requested},
		"a request with the old label":   {encode("NEW CERTIFICATE REQUEST", csr), requested},
		"a request in DER":               {csr, requested},
		"a key beside its public half":   {join(encode("PRIVATE KEY", nil), encode("PUBLIC KEY", spki)), &Content{PublicKeys: bare.PublicKeys, PrivateKeys: 1}},
		"a key that Go does not know":    {fixture(t, "brainpool-public.pem"), &Content{PublicKeys: []*PublicKey{{SPKI: brainpool}}}},
		"a request that Go cannot check": {fixture(t, "brainpool-request.pem"), &Content{PublicKeys: []*PublicKey{{SPKI: brainpool, DNSNames: []string{"next.example.org"}}}}},
	} {
		got, err := Parse(row.file)
		if err != nil {
			t.Errorf("%s: %v", claim, err)
			continue
		}
		diff(t, row.want, got)
		if t.Failed() {
			t.Fatal(claim)
		}
	}
}

func TestRequestThatIsNotSignedByItsKeyIsRefused(t *testing.T) {
	for name, key := range map[string]any{"ECDSA": p256Key(t), "Ed25519": ed25519Key(t), "RSA": rsaKey()} {
		csr, err := x509.CreateCertificateRequest(rand.Reader, &x509.CertificateRequest{Subject: pkix.Name{CommonName: "mail"}}, key)
		must(t, csr, err)
		forged := replaceOnce(t, csr, "mail", "evil")
		for form, file := range map[string][]byte{"DER": forged, "PEM": encode("CERTIFICATE REQUEST", forged)} {
			got, err := Parse(file)
			if got != nil || !errors.Is(err, ErrMalformed) || !strings.HasSuffix(err.Error(), "malformed: signature of the certificate request") {
				t.Errorf("%s in %s: got %v, %v", name, form, got, err)
			}
		}
	}
}

func TestTrustSettingsAreNotPartOfTheCertificate(t *testing.T) {
	der := fixtureDER(t, "trusted.pem")
	if _, err := ParseCertificate(der); !errors.Is(err, ErrMalformed) {
		t.Fatalf("the fixture has no trust settings: %v", err)
	}
	if _, err := Parse(encode("CERTIFICATE", der)); !errors.Is(err, ErrMalformed) {
		t.Errorf("under CERTIFICATE: got %v", err)
	}
	for claim, tail := range map[string]string{"no settings": "", "settings": "\x30\x00"} {
		if _, err := Parse(encode("TRUSTED CERTIFICATE", join(wellFormed(t).der(), []byte(tail)))); err != nil {
			t.Errorf("%s: %v", claim, err)
		}
	}
	for claim, tail := range map[string]string{"a number": "\x02\x01\x01", "half a sequence": "\x30\x01", "two": "\x30\x00\x30\x00"} {
		if _, err := Parse(encode("TRUSTED CERTIFICATE", join(wellFormed(t).der(), []byte(tail)))); !errors.Is(err, ErrMalformed) {
			t.Errorf("%s: got %v", claim, err)
		}
	}
}

func TestPrivateKeysInDERAreCountedOnly(t *testing.T) {
	key := p256Key(t)
	pkcs8, err := x509.MarshalPKCS8PrivateKey(key)
	must(t, pkcs8, err)
	rsa8, err := x509.MarshalPKCS8PrivateKey(rsaKey())
	must(t, rsa8, err)
	version, algorithm, octets := []byte{2, 1, 0}, sequence(element(6, []byte{0x2a})), element(4, []byte{1})
	for claim, der := range map[string][]byte{
		"PKCS #8 of an EC key":   pkcs8,
		"PKCS #8 of an RSA key":  rsa8,
		"PKCS #8 version 2":      sequence([]byte{2, 1, 1}, algorithm, octets, element(0x81, []byte{0, 1})),
		"encrypted PKCS #8":      sequence(algorithm, octets),
		"PKCS #1":                sequence(version, []byte{2, 1, 35}, []byte{2, 1, 3}),
		"SEC 1":                  sequence([]byte{2, 1, 1}, octets),
		"larger than 64 KiB too": sequence(version, algorithm, element(4, make([]byte, maxDER))),
	} {
		got, err := Parse(der)
		if err != nil {
			t.Errorf("%s: %v", claim, err)
			continue
		}
		diff(t, &Content{PrivateKeys: 1}, got)
	}
}

// The canary is a private key whose octets are looked for in everything that Parse gives.
func TestNoPrivateKeyIsInTheContent(t *testing.T) {
	const secret = "CANARY-CANARY-CANARY-CANARY-CANARY-CANARY"
	leaf := issue(t, "mail", p256Key(t), nil)
	var files [][]byte
	for _, label := range []string{"PRIVATE KEY", "RSA PRIVATE KEY", "EC PRIVATE KEY", "ENCRYPTED PRIVATE KEY", "OPENSSH PRIVATE KEY"} {
		files = append(files, join(encode(label, []byte(secret)), leaf.pem()))
	}
	files = append(files, sequence([]byte{2, 1, 0}, sequence(), element(4, []byte(secret))))
	for _, file := range files {
		got, err := Parse(file)
		must(t, got, err)
		if got.PrivateKeys != 1 {
			t.Errorf("%d private keys, want 1", got.PrivateKeys)
		}
		search(t, reflect.ValueOf(got), secret)
		search(t, reflect.ValueOf(got), strings.Split(string(encode("X", []byte(secret))), "\n")[1])
	}
}

// search looks for a secret in every string and every octet that v reaches.
func search(t *testing.T, v reflect.Value, secret string) {
	t.Helper()
	switch v.Kind() {
	case reflect.Pointer:
		if !v.IsNil() && v.Type().Elem().PkgPath() != "time" {
			search(t, v.Elem(), secret)
		}
	case reflect.Struct:
		for _, field := range v.Fields() {
			search(t, field, secret)
		}
	case reflect.Slice:
		if v.Type().Elem().Kind() == reflect.Uint8 && bytes.Contains(v.Bytes()[:v.Cap()], []byte(secret)) {
			t.Error("the secret is in the octets")
		}
		for i := range v.Len() {
			search(t, v.Index(i), secret)
		}
	case reflect.String:
		if strings.Contains(v.String(), secret) {
			t.Error("the secret is in a string")
		}
	}
}

func BenchmarkParse(b *testing.B) {
	ca := issue(b, "CA", rsaKey(), nil, isCA)
	leaf := issue(b, "mail", p256Key(b), ca, names("mail.example.org"))
	key := encode("PRIVATE KEY", make([]byte, 1200))
	for name, file := range map[string][]byte{"fullchain": join(leaf.pem(), ca.pem()), "combined": join(key, leaf.pem(), ca.pem()), "DER": leaf.der} {
		b.Run(name, func(b *testing.B) {
			b.SetBytes(int64(len(file)))
			b.ReportAllocs()
			for b.Loop() {
				if _, err := Parse(file); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// The work that a file of requests with large keys can ask for has an end; what comes then is taken on its form.
func TestChecksOfRequestsHaveAnEnd(t *testing.T) {
	csr, err := x509.CreateCertificateRequest(rand.Reader, &x509.CertificateRequest{}, rsaKey())
	csr = must(t, csr, err)
	left := 2
	for range 2 {
		_, err := parseRequest(csr, &left)
		must(t, 0, err)
	}
	csr[len(csr)-1] ^= 1
	if key, err := parseRequest(csr, &left); err != nil || key.SPKI == "" || left != 0 {
		t.Errorf("with no checks left: %v, %v, %d left", key, err, left)
	}
	left = 1
	if key, err := parseRequest(csr, &left); err == nil {
		t.Errorf("with one left: %v", key)
	}
}

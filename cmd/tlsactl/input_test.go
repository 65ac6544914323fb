package main

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/pem"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"software.sslmate.com/src/go-pkcs12"
)

func TestPublicHalfOfEveryForm(t *testing.T) {
	rsaKey, err := rsa.GenerateKey(rand.Reader, 2048)
	must(t, rsaKey, err)
	p384, err := ecdsa.GenerateKey(elliptic.P384(), rand.Reader)
	must(t, p384, err)
	_, ed, err := ed25519.GenerateKey(rand.Reader)
	must(t, ed, err)
	sec1, err := x509.MarshalECPrivateKey(p384)
	must(t, sec1, err)
	for name, row := range map[string]struct {
		key   crypto.Signer
		label string
		der   []byte
	}{
		"PKCS#8 RSA":     {rsaKey, "PRIVATE KEY", pkcs8(t, rsaKey)},
		"PKCS#8 ECDSA":   {p384, "PRIVATE KEY", pkcs8(t, p384)},
		"PKCS#8 Ed25519": {ed, "PRIVATE KEY", pkcs8(t, ed)},
		"PKCS#1":         {rsaKey, "RSA PRIVATE KEY", x509.MarshalPKCS1PrivateKey(rsaKey)},
		"SEC 1":          {p384, "EC PRIVATE KEY", sec1},
	} {
		spki, err := x509.MarshalPKIXPublicKey(row.key.Public())
		want := string(must(t, spki, err))
		for form, data := range map[string][]byte{
			"DER": slices.Clone(row.der),
			"PEM": pemOf(row.label, row.der),
			"PEM after its parameters": append(pemOf("EC PARAMETERS", []byte("\x06\x05\x2b\x81\x04\x00\x22")),
				pemOf(row.label, row.der)...),
		} {
			h, err := (&source{}).parse(data)
			if err != nil || !slices.Equal(h.private, []string{want}) {
				t.Errorf("%s in %s: %v", name, form, err)
			}
		}
		// Keys of curves and algorithms that Go does not know carry their public half; it is the same for those it knows.
		if got, ok := writtenHalf(row.der); name != "PKCS#8 Ed25519" && name != "PKCS#1" && (!ok || got != want) {
			t.Errorf("%s: the written half differs", name)
		}
	}
}

func pkcs8(t *testing.T, key crypto.Signer) []byte {
	der, err := x509.MarshalPKCS8PrivateKey(key)
	return must(t, der, err)
}

func TestDamagedKeysAreRefused(t *testing.T) {
	der := pkcs8(t, newKey(t))
	for n := range der {
		if h, err := (&source{}).parse(pemOf("PRIVATE KEY", der[:n])); err == nil {
			t.Errorf("a key cut to %d octets gives %d keys", n, len(h.private))
		}
	}
	for text, want := range map[string]string{
		"-----BEGIN ENCRYPTED PRIVATE KEY-----\nMAAwAAQA\n-----END ENCRYPTED PRIVATE KEY-----\n": "is encrypted",
		"\x30\x05\x30\x00\x04\x01\x00":                                   "is encrypted",
		"-----BEGIN PRIVATE KEY-----\nMAA=\n-----END PRIVATE KEY-----\n": "damaged",
	} {
		if _, err := (&source{}).parse([]byte(text)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v", text, err)
		}
	}
}

func TestNothingOfAPrivateKeyStaysInTheBuffer(t *testing.T) {
	lineage := newLineage(t, "mail.example.org", newKey(t))
	path := filepath.Join(t.TempDir(), "privkey.pem")
	if err := os.WriteFile(path, lineage["privkey.pem"], 0o600); err != nil {
		t.Fatal(err)
	}
	l, err := readLineage(path)
	m := must(t, l, err).files[""]
	l.wipe()
	if strings.Trim(string(m.data), "\x00") != "" {
		t.Error("the buffer still holds the key")
	}
}

func TestPKCS12(t *testing.T) {
	dir := t.TempDir()
	key := newKey(t)
	cert, err := x509.ParseCertificate(issue(t, "mail.example.org", key))
	must(t, cert, err)
	pfx, err := pkcs12.Modern.Encode(key, cert, []*x509.Certificate{ca().cert}, "secret")
	must(t, pfx, err)
	for name, data := range map[string][]byte{
		"mail.p12": pfx, "right": []byte("secret\n"), "wrong": []byte("secreT"), "cert.pem": pemOf("CERTIFICATE", cert.Raw),
		"fullchain.pem": append(pemOf("CERTIFICATE", cert.Raw), pemOf("CERTIFICATE", ca().cert.Raw)...),
	} {
		if err := os.WriteFile(filepath.Join(dir, name), data, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	t.Chdir(dir)
	_, want, _ := tlsactl(t, nil, "records", "--as", "3 1 1", "--as", "2 1 1", "fullchain.pem")
	code, got, stderr := tlsactl(t, nil, "records", "--as", "3 1 1", "--as", "2 1 1", "--password-file", "right", "mail.p12")
	if code != 0 || got != want || want == "" {
		t.Errorf("exit %d: %s%s", code, got, stderr)
	}
	for _, row := range [][]string{
		{"has a password", "records", "mail.p12"},
		{"is not that of this", "records", "--password-file", "wrong", "mail.p12"},
		{"password file", "records", "--password-file", "missing", "mail.p12"},
	} {
		if code, _, stderr := tlsactl(t, nil, row[1:]...); code != exitUsage || !strings.Contains(stderr, row[0]) {
			t.Errorf("%v: exit %d, %s", row, code, stderr)
		}
	}
}

func TestRequestsAndLargeFiles(t *testing.T) {
	dir := t.TempDir()
	t.Chdir(dir)
	key := newKey(t)
	csr, err := x509.CreateCertificateRequest(rand.Reader, &x509.CertificateRequest{DNSNames: []string{"mail.example.org"}}, key)
	must(t, csr, err)
	spki, err := x509.MarshalPKIXPublicKey(key.Public())
	must(t, spki, err)
	for name, data := range map[string][]byte{
		"mail.csr": pemOf("CERTIFICATE REQUEST", csr), "der.csr": csr, "mail.pub": pemOf("PUBLIC KEY", spki), "der.pub": spki,
		"large": make([]byte, maxFile+1),
	} {
		if err := os.WriteFile(name, data, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	_, want, _ := tlsactl(t, nil, "records", "mail.csr")
	for _, args := range [][]string{{"der.csr"}, {"--owner", "mail.example.org", "mail.pub"}, {"--owner", "mail.example.org.", "der.pub"}} {
		code, got, stderr := tlsactl(t, nil, append([]string{"records"}, args...)...)
		if code != 0 || got != want || want == "" {
			t.Errorf("%v: exit %d: %s%s", args, code, got, stderr)
		}
	}
	if code, _, stderr := tlsactl(t, nil, "records", "large"); code != exitUsage || !strings.Contains(stderr, "larger than 1024 KiB") {
		t.Errorf("a file of 1 MiB: exit %d, %s", code, stderr)
	}
}

func TestDurations(t *testing.T) {
	for text, want := range map[string]time.Duration{"90": 90 * time.Second, "2d": 48 * time.Hour, "1h30m": 90 * time.Minute, "0": 0, "300ms": 300 * time.Millisecond} {
		if got, err := parseDuration(text); err != nil || got != want {
			t.Errorf("%q: %s, %v", text, got, err)
		}
	}
	for _, text := range []string{"", "-1", "-1h", "1w", "d", "99999999999", "4000d", "2147483647d", "1.5d"} {
		if got, err := parseDuration(text); err == nil {
			t.Errorf("%q is taken as %s", text, got)
		}
	}
}

// The examples of every help text run as they stand, in a directory with the files they name.
func TestExamplesOfTheHelpRun(t *testing.T) {
	t.Chdir(t.TempDir())
	old, staged := newLineage(t, "mail.example.org", newKey(t)), newLineage(t, "mail.example.org", newKey(t))
	single := func(set map[string][]byte) []byte {
		return append(slices.Clone(set["fullchain.pem"]), set["privkey.pem"]...)
	}
	for _, dir := range []string{"staged/mail", "installed/mail", "next", "bin"} {
		if err := os.MkdirAll(dir, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	for _, name := range []string{"cert.pem", "chain.pem", "fullchain.pem", "privkey.pem"} {
		write(t, name, staged[name])
		write(t, filepath.Join("staged/mail", name), staged[name])
		write(t, filepath.Join("installed/mail", name), old[name])
	}
	write(t, "staged/mail.pem", single(staged))
	write(t, "installed/mail.pem", single(old))
	write(t, "bin/postfix", []byte("#!/bin/sh\ntest \"$*\" = reload\n"))
	if err := os.Chmod("bin/postfix", 0o755); err != nil {
		t.Fatal(err)
	}
	bin, err := filepath.Abs("bin")
	t.Setenv("PATH", must(t, bin, err)+":"+os.Getenv("PATH"))
	runExamples(t, staged["cert.pem"])
}

func write(t *testing.T, path string, data []byte) {
	t.Helper()
	if err := os.WriteFile(path, data, 0o600); err != nil {
		t.Fatal(err)
	}
}

func TestPEMOfAPublicKeyIsReadBack(t *testing.T) {
	key := newKey(t)
	spki, err := x509.MarshalPKIXPublicKey(key.Public())
	must(t, spki, err)
	path := filepath.Join(t.TempDir(), "key.pub")
	write(t, path, pemOf("PUBLIC KEY", spki))
	code, stdout, stderr := tlsactl(t, nil, "pubkey", path)
	if block, rest := pem.Decode([]byte(stdout)); code != 0 || block == nil || len(rest) > 0 || string(block.Bytes) != string(spki) {
		t.Errorf("exit %d: %s%s", code, stdout, stderr)
	}
}

package dane

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"math/big"
	"testing"
)

func TestSignaturesThatGoKnowsAreVerified(t *testing.T) {
	curve := func(c elliptic.Curve) crypto.Signer {
		key, err := ecdsa.GenerateKey(c, rand.Reader)
		return must(t, key, err)
	}
	child := ed25519Key(t)
	for algorithm, key := range map[x509.SignatureAlgorithm]crypto.Signer{
		x509.SHA256WithRSA:    rsaKey(),
		x509.SHA384WithRSA:    rsaKey(),
		x509.SHA512WithRSA:    rsaKey(),
		x509.SHA256WithRSAPSS: rsaKey(),
		x509.SHA384WithRSAPSS: rsaKey(),
		x509.SHA512WithRSAPSS: rsaKey(),
		x509.ECDSAWithSHA256:  curve(elliptic.P224()),
		x509.ECDSAWithSHA384:  curve(elliptic.P384()),
		x509.ECDSAWithSHA512:  curve(elliptic.P521()),
		x509.PureEd25519:      ed25519Key(t),
	} {
		ca := issue(t, "CA", key, nil, isCA)
		other := issue(t, "CA", p256Key(t), nil, isCA)
		leaf := issue(t, "mail", child, ca, func(c *x509.Certificate) { c.SignatureAlgorithm = algorithm })
		frame, _, ok := readSigned(leaf.der)
		if got := frame.signatureAlgorithm(); !ok || got != algorithm {
			t.Errorf("got %v, want %v", got, algorithm)
		}
		if got := frame.check(ca.cert.SPKI); got != verified {
			t.Errorf("%v by its issuer: got %v", algorithm, got)
		}
		if got := frame.check(other.cert.SPKI); got != refuted {
			t.Errorf("%v by a key of another kind: got %v", algorithm, got)
		}
		frame.body = bytes.Clone(frame.body)
		frame.body[len(frame.body)-1] ^= 1
		if got := frame.check(ca.cert.SPKI); got != refuted {
			t.Errorf("%v, one bit wrong: got %v", algorithm, got)
		}
	}
}

func TestSHA1SignaturesAreVerified(t *testing.T) {
	frame, _, _ := readSigned(fixtureDER(t, "sha1-chain.pem"))
	if got := frame.signatureAlgorithm(); got != x509.ECDSAWithSHA1 {
		t.Errorf("got %v", got)
	}
	frame.algorithm = join([]byte("\x06\x09\x2a\x86\x48\x86\xf7\x0d\x01\x01\x05"))
	if got := frame.signatureAlgorithm(); got != x509.SHA1WithRSA {
		t.Errorf("got %v", got)
	}
}

func TestWhatGoCannotVerifyIsUndecided(t *testing.T) {
	leaf := issue(t, "mail", p256Key(t), nil)
	signedByRSA := issue(t, "mail", rsaKey(), nil)
	content, err := Parse(fixture(t, "ed448-chain.pem"))
	must(t, content, err)
	rsaOf := func(bits uint) string {
		modulus := new(big.Int).Lsh(big.NewInt(1), bits-1)
		spki, err := x509.MarshalPKIXPublicKey(&rsa.PublicKey{N: modulus.SetBit(modulus, 0, 1), E: 3})
		return string(must(t, spki, err))
	}
	ecdh := string(key("\x2b\x65\x6e")) // X25519 makes no signatures
	for claim, row := range map[string]struct {
		der  []byte
		spki string
		want verdict
	}{
		"an unknown curve":               {fixtureDER(t, "brainpool.pem"), content.Certificates[0].SPKI, undecided},
		"an unknown algorithm":           {fixtureDER(t, "ed448-chain.pem"), leaf.cert.SPKI, undecided},
		"a key for no signatures":        {leaf.der, ecdh, undecided},
		"no key":                         {leaf.der, "", undecided},
		"RSA of 1023 bits":               {signedByRSA.der, rsaOf(1023), undecided},
		"RSA of 1024 bits":               {signedByRSA.der, rsaOf(1024), refuted},
		"RSA of 16384 bits":              {signedByRSA.der, rsaOf(16384), refuted},
		"RSA of 16385 bits is too large": {signedByRSA.der, rsaOf(16385), undecided},
	} {
		frame, _, ok := readSigned(row.der)
		if got := frame.check(row.spki); !ok || got != row.want {
			t.Errorf("%s: got %v", claim, got)
		}
	}
}

func TestUnusualPSSParametersAreUndecided(t *testing.T) {
	ca := issue(t, "CA", rsaKey(), nil, isCA)
	leaf := issue(t, "mail", p256Key(t), ca, func(c *x509.Certificate) { c.SignatureAlgorithm = x509.SHA256WithRSAPSS })
	frame, _, _ := readSigned(leaf.der)
	const pss = "\x06\x09\x2a\x86\x48\x86\xf7\x0d\x01\x01\x0a"
	hash := func(last byte) []byte {
		return sequence([]byte("\x06\x09\x60\x86\x48\x01\x65\x03\x04\x02"), []byte{last}, []byte{5, 0})
	}
	mask := func(hash []byte) []byte {
		return element(explicit1, sequence([]byte("\x06\x09\x2a\x86\x48\x86\xf7\x0d\x01\x01\x08"), hash))
	}
	salt := func(n byte) []byte { return element(explicit2, []byte{2, 1, n}) }
	for claim, row := range map[string]struct {
		parameters []byte
		want       verdict
	}{
		"the usual ones":         {sequence(element(explicit0, hash(1)), mask(hash(1)), salt(32)), verified},
		"another salt":           {sequence(element(explicit0, hash(1)), mask(hash(1)), salt(20)), undecided},
		"no salt":                {sequence(element(explicit0, hash(1)), mask(hash(1))), undecided},
		"another hash":           {sequence(element(explicit0, hash(4)), mask(hash(4)), salt(28)), undecided},
		"another mask":           {sequence(element(explicit0, hash(1)), mask(hash(2)), salt(32)), undecided},
		"a hash that is none":    {sequence(element(explicit0, []byte{5, 0}), mask([]byte{5, 0}), salt(32)), undecided},
		"the defaults, as SHA-1": {sequence(), undecided},
		"none":                   {nil, undecided},
		"those of another hash":  {sequence(element(explicit0, hash(2)), mask(hash(2)), salt(48)), refuted},
	} {
		frame.algorithm = join([]byte(pss), row.parameters)
		if got := frame.check(ca.cert.SPKI); got != row.want {
			t.Errorf("%s: got %v", claim, got)
		}
	}
	frame.algorithm = nil
	if got := frame.check(ca.cert.SPKI); got != undecided {
		t.Errorf("no algorithm: got %v", got)
	}
}

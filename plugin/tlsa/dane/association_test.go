package dane

import (
	"crypto"
	"crypto/sha256"
	"crypto/sha512"
	"crypto/x509"
	"encoding/hex"
	"errors"
	"math/rand/v2"
	"slices"
	"testing"

	"pgregory.net/rapid"
)

// expected computes association data from what crypto/x509 says of a certificate.
func expected(c *x509.Certificate, selector Selector, matching MatchingType) string {
	data := c.Raw
	if selector == SPKI {
		data = c.RawSubjectPublicKeyInfo
	}
	switch matching {
	case SHA256:
		d := sha256.Sum256(data)
		data = d[:]
	case SHA512:
		d := sha512.Sum512(data)
		data = d[:]
	}
	return string(data)
}

func TestEveryCombinationOfEveryAlgorithmIsWhatGoComputes(t *testing.T) {
	ca := issue(t, "CA", p256Key(t), nil, isCA)
	for name, key := range map[string]crypto.Signer{"RSA": rsaKey(), "ECDSA": p256Key(t), "Ed25519": ed25519Key(t)} {
		leaf := issue(t, "mail", key, ca)
		content, err := Parse(join(leaf.pem(), ca.pem()))
		must(t, content, err)
		for _, c := range content.Certificates {
			c.KeepDER()
		}
		leaves := Leaves(content.Certificates, nil)
		if len(leaves) != 1 {
			t.Fatalf("%s: %d leaves, want 1", name, len(leaves))
		}
		for _, c := range allCombinations() {
			from := leaf.x509
			if c.Usage == PKIXTA || c.Usage == DANETA {
				from = ca.x509
			}
			want := Association{c, expected(from, c.Selector, c.MatchingType)}
			got, err := leaves[0].Material().Association(c)
			if err != nil || got != want {
				t.Errorf("%s %s: got %s, %v, want %s", name, c, got, err, want)
			}
		}
		if got := KeyAlgorithm(leaves[0].SPKI); got != name {
			t.Errorf("KeyAlgorithm: got %q, want %q", got, name)
		}
	}
}

func TestBareKeyGivesOnlyTheLeafsSPKI(t *testing.T) {
	leaf := issue(t, "mail", p256Key(t), nil)
	key := &PublicKey{SPKI: string(leaf.x509.RawSubjectPublicKeyInfo)}
	for _, c := range allCombinations() {
		want, wantErr := Association{}, error(nil)
		switch {
		case c.Usage == PKIXTA || c.Usage == DANETA:
			wantErr = ErrNoIssuer
		case c.Selector == Cert:
			wantErr = ErrNoCertificate
		default:
			want = Association{c, expected(leaf.x509, SPKI, c.MatchingType)}
		}
		got, err := key.Material().Association(c)
		if got != want || !errors.Is(err, wantErr) {
			t.Errorf("%s: got %s, %v, want %s, %v", c, got, err, want, wantErr)
		}
	}
}

func TestAssociationThatCannotBeComputedIsAnError(t *testing.T) {
	leaf := issue(t, "mail", p256Key(t), nil).cert.Fingerprint
	kept := leaf
	kept.DER = "0"
	short := leaf
	short.SHA256, short.SHA512 = leaf.SHA256[:31], leaf.SHA512[:63]
	nothing256, nothing512 := sha256.Sum256(nil), sha512.Sum512(nil)
	for claim, row := range map[string]struct {
		m    Material
		c    Combination
		want error
	}{
		"no issuer in the chain":               {Material{Leaf: leaf}, Combination{2, 1, 1}, ErrNoIssuer},
		"no issuer, although the DER is there": {Material{Leaf: kept}, Combination{0, 0, 0}, ErrNoIssuer},
		"no DER of the leaf":                   {Material{Leaf: leaf, Issuer: kept}, Combination{3, 0, 0}, ErrNoDER},
		"no DER of the issuer":                 {Material{Leaf: kept, Issuer: leaf}, Combination{2, 0, 0}, ErrNoDER},
		"no certificate, whatever the size":    {Material{Leaf: Fingerprint{SPKI: leaf.SPKI}}, Combination{3, 0, 0}, ErrNoCertificate},
		"no key":                               {Material{}, Combination{3, 1, 1}, ErrNoKey},
		"no key in full":                       {Material{}, Combination{3, 1, 0}, ErrNoKey},
		"no key of the issuer":                 {Material{Issuer: Fingerprint{SHA256: "x"}}, Combination{2, 1, 2}, ErrNoKey},
		"a short digest":                       {Material{Leaf: short}, Combination{3, 0, 1}, ErrData},
		"a short long digest":                  {Material{Leaf: short}, Combination{3, 0, 2}, ErrData},
		"one digest missing":                   {Material{Leaf: Fingerprint{SHA256: leaf.SHA256}}, Combination{3, 0, 2}, ErrData},
		"the other digest missing":             {Material{Leaf: Fingerprint{SHA512: leaf.SHA512}}, Combination{3, 0, 1}, ErrData},
		"the short digest of nothing":          {Material{Leaf: Fingerprint{SHA256: string(nothing256[:])}}, Combination{3, 0, 1}, ErrData},
		"the long digest of nothing":           {Material{Leaf: Fingerprint{SHA512: string(nothing512[:])}}, Combination{3, 0, 2}, ErrData},
		"an unknown usage":                     {Material{Leaf: leaf, Issuer: leaf}, Combination{4, 1, 1}, ErrCombination},
		"an unknown selector":                  {Material{Leaf: leaf}, Combination{3, 2, 1}, ErrCombination},
		"an unknown matching type":             {Material{Leaf: leaf}, Combination{3, 1, 3}, ErrCombination},
	} {
		got, err := row.m.Association(row.c)
		if got != (Association{}) || !errors.Is(err, row.want) {
			t.Errorf("%s: got %s, %v, want %v", claim, got, err, row.want)
		}
	}
}

func TestMaterialOfOneCertificateReadTwiceIsOneMapKey(t *testing.T) {
	ca := issue(t, "CA", p256Key(t), nil, isCA)
	leaf := issue(t, "mail", p256Key(t), ca)
	seen := map[Material]bool{}
	for range 2 {
		content, err := Parse(join(leaf.pem(), ca.pem()))
		seen[Leaves(must(t, content, err).Certificates, nil)[0].Material()] = true
	}
	want := map[Material]bool{{
		Leaf: Fingerprint{
			SPKI:   expected(leaf.x509, SPKI, Full),
			SHA256: expected(leaf.x509, Cert, SHA256),
			SHA512: expected(leaf.x509, Cert, SHA512),
		},
		Issuer: Fingerprint{
			SPKI:   expected(ca.x509, SPKI, Full),
			SHA256: expected(ca.x509, Cert, SHA256),
			SHA512: expected(ca.x509, Cert, SHA512),
		},
		NotAfter: notAfter,
	}: true}
	diff(t, want, seen)
}

func TestFixturesGiveWhatOpenSSLComputes(t *testing.T) {
	for file, selector := range map[string]Selector{"spki.sha256": SPKI, "certificate.sha256": Cert} {
		for _, line := range lines(fixture(t, file)) {
			content, err := Parse(fixture(t, line[1]))
			if err != nil {
				t.Errorf("%s: %v", line[1], err)
				continue
			}
			m := Leaf{Certificate: content.Certificates[0]}.Material()
			got, err := m.Association(Combination{DANEEE, selector, SHA256})
			if err != nil || hex.EncodeToString([]byte(got.Data)) != line[0] {
				t.Errorf("%s: got %x, %v, want %s", line[1], got.Data, err, line[0])
			}
		}
	}
}

func TestCanonicalIsSortedOnceAndFresh(t *testing.T) {
	some := rapid.SliceOf(rapid.Custom(func(t *rapid.T) Association {
		return Association{
			Combination{
				Usage(rapid.Uint8Range(0, 3).Draw(t, "usage")),
				Selector(rapid.Uint8Range(0, 1).Draw(t, "selector")),
				MatchingType(rapid.Uint8Range(0, 2).Draw(t, "matching")),
			},
			rapid.StringN(0, 2, 4).Draw(t, "data"),
		}
	}))
	rapid.Check(t, func(t *rapid.T) {
		in := some.Draw(t, "associations")
		before := slices.Clone(in)
		got := Canonical(in)
		for i := 1; i < len(got); i++ {
			if got[i-1].Compare(got[i]) >= 0 {
				t.Fatalf("%v is not before %v", got[i-1], got[i])
			}
		}
		for _, a := range in {
			if !slices.Contains(got, a) {
				t.Fatalf("%v is lost", a)
			}
		}
		for _, a := range got {
			if !slices.Contains(in, a) {
				t.Fatalf("%v is made up", a)
			}
		}
		shuffled := slices.Clone(in)
		rand.Shuffle(len(shuffled), func(i, j int) { shuffled[i], shuffled[j] = shuffled[j], shuffled[i] })
		if !slices.Equal(got, Canonical(shuffled)) || !slices.Equal(got, Canonical(got)) {
			t.Fatal("the result depends on the order")
		}
		for i := range got {
			got[i] = Association{}
		}
		if !slices.Equal(in, before) {
			t.Fatal("the argument was changed")
		}
	})
}

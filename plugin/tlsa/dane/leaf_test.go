package dane

import (
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"slices"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"
)

// A cast is a set of certificates by name.
type cast map[string]*Certificate

// pick gives the certificates of a list of names.
func (c cast) pick(t testing.TB, list string) []*Certificate {
	t.Helper()
	var out []*Certificate
	for name := range strings.FieldsSeq(list) {
		if c[name] == nil {
			t.Fatal("there is no " + name)
		}
		out = append(out, c[name])
	}
	return out
}

// tell writes leaves by name, each with its issuer: "rsa<ca ecdsa<nobody".
func (c cast) tell(leaves []Leaf) string {
	name := func(cert *Certificate) string {
		if cert == nil {
			return "nobody"
		}
		for name, candidate := range c {
			if candidate.SHA256 == cert.SHA256 {
				return name
			}
		}
		return "?"
	}
	var out []string
	for _, l := range leaves {
		out = append(out, name(l.Certificate)+"<"+name(l.IssuedBy))
	}
	return strings.Join(out, " ")
}

// company makes every certificate that the tests below need.
func company(t testing.TB) cast {
	host := names("mail.example.org")
	root := issue(t, "Root", p256Key(t), nil, isCA)
	root2 := issue(t, "Root 2", p256Key(t), nil, isCA)
	ca := issue(t, "CA", p256Key(t), root, isCA, keyIDs("ca-id", ""))
	crossed := issue(t, "CA", ca.key, root2, isCA, keyIDs("ca-id", ""))
	impostor := issue(t, "CA", p256Key(t), root, isCA, keyIDs("ca-id", "")) // only a signature tells it from ca
	oldCA := issue(t, "Old CA", p256Key(t), root, isCA)
	rsa := issue(t, "mail", rsaKey(), ca, host)
	self := issue(t, "self", p256Key(t), nil, isCA, host)
	plain := issue(t, "plain", p256Key(t), nil)
	acme := pkix.Extension{Id: asn1.ObjectIdentifier{1, 3, 6, 1, 5, 5, 7, 1, 31}, Critical: true, Value: make([]byte, 34)}
	challenge := issue(t, "CA", p256Key(t), nil, host, func(c *x509.Certificate) { c.ExtraExtensions = []pkix.Extension{acme} })
	c := cast{
		"self again":   issue(t, "self", self.key, nil, isCA, host, func(c *x509.Certificate) { c.NotAfter = notAfter.Add(time.Hour) }).cert,
		"self rekeyed": issue(t, "self", p256Key(t), nil, isCA, host).cert,
		"nameless CA":  issue(t, "nameless", p256Key(t), nil, isCA).cert,
		"CA with name": issue(t, "named", p256Key(t), ca, isCA, host).cert,
		"by other":     issue(t, "mail", p256Key(t), oldCA, host).cert,
		"ecdsa":        issue(t, "mail", p256Key(t), ca, host).cert,
		"renewed":      issue(t, "mail", rsaKey(), ca, host, func(c *x509.Certificate) { c.NotAfter = notAfter.Add(time.Hour) }).cert,
		"expired":      issue(t, "mail", p256Key(t), ca, host, func(c *x509.Certificate) { c.NotAfter = notBefore.Add(time.Hour) }).cert,
	}
	for name, e := range map[string]*entity{"root": root, "root2": root2, "ca": ca, "crossed": crossed, "impostor": impostor,
		"oldca": oldCA, "rsa": rsa, "self": self, "plain": plain, "challenge": challenge} {
		c[name] = e.cert
	}
	for name, cert := range c { // names are given as one word
		delete(c, name)
		c[strings.ReplaceAll(name, " ", "-")] = cert
	}
	return c
}

// families are lineages, and the leaves in them with their issuers.
type families map[string]struct{ certs, chain, want string }

func (rows families) run(t *testing.T) {
	t.Helper()
	cast := company(t)
	for claim, row := range rows {
		got := cast.tell(Leaves(cast.pick(t, row.certs), cast.pick(t, row.chain)))
		if got != row.want {
			t.Errorf("%s: got %q, want %q", claim, got, row.want)
		}
	}
}

func TestIssuerIsFoundByNameAndSignature(t *testing.T) {
	families{
		"nothing":                    {"", "", ""},
		"a leaf alone has no issuer": {"rsa", "", "rsa<nobody"},
		"a leaf and its issuer":      {"rsa ca", "", "rsa<ca"},
		"with the root":              {"rsa ca root", "", "rsa<ca"},
		"the issuer first":           {"ca rsa", "", "rsa<ca"},
		"the root first, as the wrong order of some producers": {"root ca rsa", "", "rsa<ca"},
		"the issuer in the chain file":                         {"rsa", "ca root", "rsa<ca"},
		"the second certificate is not the issuer":             {"rsa root", "", "rsa<nobody"},
		"the first of the chain is not the issuer":             {"rsa", "root oldca ca", "rsa<ca"},
		"the same files twice":                                 {"rsa ca rsa ca", "ca ca", "rsa<ca"},
		"an expired leaf is one":                               {"expired ca", "", "expired<ca"},
		"RSA beside ECDSA":                                     {"rsa ecdsa ca", "", "rsa<ca ecdsa<ca"},
		"each behind its own chain":                            {"rsa ca root ecdsa ca root", "", "rsa<ca ecdsa<ca"},
		"old beside renewed with one key":                      {"rsa renewed ca", "", "rsa<ca renewed<ca"},
		"two issuers":                                          {"rsa by-other", "oldca ca", "rsa<ca by-other<oldca"},
		"a CA of the same name and another key":                {"rsa impostor", "", "rsa<nobody"},
		"and the true one behind it":                           {"rsa impostor ca", "", "rsa<ca"},
		"and the true one in the chain":                        {"rsa impostor", "ca", "rsa<ca"},
		"cross-signed, the first counts":                       {"rsa ca crossed root root2", "", "rsa<ca"},
		"cross-signed, the other way round":                    {"rsa crossed ca root root2", "", "rsa<crossed"},
		"the served file comes before the chain":               {"rsa crossed", "ca", "rsa<crossed"},
	}.run(t)
}

func TestLeavesAreToldByWhoIssuedWhom(t *testing.T) {
	families{
		"a self-signed CA certificate alone":                {"self", "", "self<nobody"},
		"with its copy in the chain":                        {"self", "self", "self<nobody"},
		"self-signed, reissued with its key":                {"self self-again", "", "self<nobody self-again<nobody"},
		"self-signed, reissued with another key":            {"self self-rekeyed", "", "self<nobody self-rekeyed<nobody"},
		"self-signed, no CA":                                {"plain", "", "plain<nobody"},
		"a nameless CA alone, as a leaf may be":             {"nameless-CA", "", "nameless-CA<nobody"},
		"a nameless CA beside a leaf":                       {"nameless-CA rsa ca", "", "rsa<ca"},
		"an old intermediate beside the new leaf":           {"rsa oldca", "ca", "rsa<ca"},
		"an old intermediate, the new one missing":          {"rsa oldca", "", "rsa<nobody"},
		"a CA with a DNS name beside a leaf":                {"rsa ca self", "", "rsa<ca self<nobody"},
		"two CA certificates beside no leaf":                {"nameless-CA self", "", "nameless-CA<nobody self<nobody"},
		"a leaf that carries cA":                            {"CA-with-name ca", "", "CA-with-name<ca"},
		"a chain alone shows no leaf but its lowest CA":     {"ca root", "", "ca<root"},
		"what issued a certificate of the chain is no leaf": {"root", "ca", ""},
		"certificates of the chain are no leaves":           {"", "rsa ca", ""},
		"a challenge alone":                                 {"challenge", "", ""},
		"a challenge beside a leaf":                         {"challenge rsa ca", "", "rsa<ca"},
		"a challenge that bears the issuer's name":          {"rsa challenge", "", "rsa<nobody"},
	}.run(t)
}

func TestNilCertificatesAreSkipped(t *testing.T) {
	cast := company(t)
	got := cast.tell(Leaves([]*Certificate{nil, cast["rsa"]}, []*Certificate{nil, cast["ca"]}))
	if got != "rsa<ca" {
		t.Errorf("got %q", got)
	}
}

func TestOrderOfFilesDoesNotMatter(t *testing.T) {
	cast := company(t)
	all := []string{"rsa", "ecdsa", "by-other", "ca", "impostor", "oldca", "root", "challenge", "rsa", "ca"}
	rapid.Check(t, func(r *rapid.T) {
		order := rapid.Permutation(all).Draw(r, "order")
		cut := rapid.IntRange(0, 3).Draw(r, "chain")
		var chain []string
		for i := 0; i < len(order) && len(chain) < cut; i++ {
			if name := order[i]; name == "ca" || name == "root" || name == "oldca" {
				chain = append(chain, name)
				order = slices.Delete(order, i, i+1)
			}
		}
		got := strings.Fields(cast.tell(Leaves(cast.pick(t, strings.Join(order, " ")), cast.pick(t, strings.Join(chain, " ")))))
		var want []string
		for _, name := range order {
			issuer, ok := map[string]string{"rsa": "ca", "ecdsa": "ca", "by-other": "oldca"}[name]
			if leaf := name + "<" + issuer; ok && !slices.Contains(want, leaf) {
				want = append(want, leaf)
			}
		}
		if !slices.Equal(got, want) {
			r.Fatalf("%v with chain %v: got %v, want %v", order, chain, got, want)
		}
	})
}

func TestFixtureChainsFindTheirIssuer(t *testing.T) {
	for _, file := range []string{"ed448-chain.pem", "sha1-chain.pem"} {
		content, err := Parse(fixture(t, file))
		must(t, content, err)
		c := content.Certificates
		cast := cast{"leaf": c[0], "issuer": c[1], "other": c[2]}
		if c[1].Subject != c[2].Subject || c[1].SPKI == c[2].SPKI {
			t.Fatal("the fixture does not hold two CAs of one name")
		}
		for certs, want := range map[string]string{
			"leaf issuer":       "leaf<issuer",
			"leaf other":        "leaf<nobody",
			"leaf other issuer": "leaf<issuer",
			"issuer other leaf": "leaf<issuer",
		} {
			if got := cast.tell(Leaves(cast.pick(t, certs), nil)); got != want {
				t.Errorf("%s, %s: got %q, want %q", file, certs, got, want)
			}
		}
	}
}

// bare makes a certificate that nothing but its names and identifiers tell about.
func bare(digest, subject, issuer, subjectID, authorityID string) *Certificate {
	return &Certificate{Fingerprint: Fingerprint{SHA256: digest, SPKI: "key of " + digest}, Subject: subject, Issuer: issuer,
		SubjectKeyID: subjectID, AuthorityKeyID: authorityID}
}

func TestNamesAndIdentifiersDecideWhereGoCannotVerify(t *testing.T) {
	for claim, row := range map[string]struct {
		certs []*Certificate
		want  string
	}{
		"the name alone":                  {[]*Certificate{bare("leaf", "l", "c", "", ""), bare("ca", "c", "r", "", "")}, "leaf<ca"},
		"another name":                    {[]*Certificate{bare("leaf", "l", "c", "", ""), bare("ca", "d", "r", "", "")}, "leaf<nobody ca<nobody"},
		"equal identifiers":               {[]*Certificate{bare("leaf", "l", "c", "", "1"), bare("ca", "c", "r", "1", "")}, "leaf<ca"},
		"unequal identifiers":             {[]*Certificate{bare("leaf", "l", "c", "", "1"), bare("ca", "c", "r", "2", "")}, "leaf<nobody ca<nobody"},
		"equal identifiers, another name": {[]*Certificate{bare("leaf", "l", "c", "", "1"), bare("ca", "d", "r", "1", "")}, "leaf<nobody ca<nobody"},
		"only the leaf has one":           {[]*Certificate{bare("leaf", "l", "c", "", "1"), bare("ca", "c", "r", "", "")}, "leaf<ca"},
		"only the issuer has one":         {[]*Certificate{bare("leaf", "l", "c", "", ""), bare("ca", "c", "r", "2", "")}, "leaf<ca"},
		"self-signed, rekeyed":            {[]*Certificate{bare("leaf", "l", "l", "", ""), bare("ca", "l", "l", "", "")}, "leaf<nobody ca<nobody"},
		"self-signed, with identifiers":   {[]*Certificate{bare("leaf", "l", "l", "1", "1"), bare("ca", "l", "l", "2", "2")}, "leaf<nobody ca<nobody"},
		"self-issued by another key":      {[]*Certificate{bare("leaf", "l", "l", "1", "2"), bare("ca", "l", "l", "2", "2")}, "leaf<ca"},
		"two candidates, the first":       {[]*Certificate{bare("leaf", "l", "c", "", ""), bare("ca", "c", "r", "", ""), bare("cb", "c", "s", "", "")}, "leaf<ca"},
	} {
		cast := cast{}
		for _, c := range row.certs {
			cast[c.SHA256] = c
		}
		if got := cast.tell(Leaves(row.certs, nil)); got != row.want {
			t.Errorf("%s: got %q, want %q", claim, got, row.want)
		}
	}
}

func TestVerifiedIssuerComesBeforeLikelyOne(t *testing.T) {
	cast := company(t)
	likely := bare("likely", cast["ca"].Subject, "r", "", "")
	cast["likely"] = likely
	if got := cast.tell(Leaves(cast.pick(t, "rsa likely"), nil)); got != "rsa<likely" {
		t.Errorf("alone: got %q", got)
	}
	if got := cast.tell(Leaves(cast.pick(t, "likely rsa ca"), nil)); got != "rsa<ca" {
		t.Errorf("beside the true one: got %q", got)
	}
}

// Who wants no issuers is told of likely ones, but of a leaf no less and no more.
func TestLikelyIssuerIsTheOneThatTheLeafNames(t *testing.T) {
	cast := company(t)
	cast["elder"] = issue(t, "mail", p256Key(t), nil, names("mail.example.org")).cert // no CA, and called like a leaf
	cast["namesake"] = issue(t, "CA", p256Key(t), nil, names("mail.example.org"), keyIDs("ca-id", "")).cert
	for certs, want := range map[string]string{
		"rsa namesake":        "rsa<nobody namesake<nobody", // it is no CA
		"rsa impostor":        "rsa<impostor",
		"rsa impostor ca":     "rsa<impostor",
		"by-other oldca":      "by-other<oldca", // without identifiers the signature says it
		"by-other ca":         "by-other<nobody",
		"rsa ecdsa ca root":   "rsa<ca ecdsa<ca",
		"self self-rekeyed":   "self<nobody self-rekeyed<nobody",
		"rsa elder ca":        "rsa<ca elder<nobody",
		"challenge rsa":       "rsa<nobody",
		"rsa crossed root2":   "rsa<crossed",
		"ca root":             "ca<root",
		"self self-again rsa": "self<nobody self-again<nobody rsa<nobody",
	} {
		if got := cast.tell(LikelyLeaves(cast.pick(t, certs), nil)); got != want {
			t.Errorf("%s: got %q, want %q", certs, got, want)
		}
	}
	if got := cast.tell(Leaves(cast.pick(t, "rsa impostor"), nil)); got != "rsa<nobody" {
		t.Errorf("for who wants issuers: %q", got)
	}
}

func TestSignatureChecksAreBounded(t *testing.T) {
	cast := company(t)
	k := &kin{known: map[[2]*Certificate]verdict{}, left: 1}
	if got := k.issued(cast["impostor"], cast["rsa"]); got != refuted || k.left != 0 {
		t.Errorf("got %v with %d left", got, k.left)
	}
	if got := k.issued(cast["impostor"], cast["rsa"]); got != refuted {
		t.Errorf("the second time: got %v", got)
	}
	if got := k.issued(cast["ca"], cast["ecdsa"]); got != undecided {
		t.Errorf("with none left: got %v", got)
	}
}

func TestMaterialOfALeafHoldsItsIssuer(t *testing.T) {
	cast := company(t)
	rsa, ca := cast["rsa"], cast["ca"]
	diff(t, Material{Leaf: rsa.Fingerprint, Issuer: ca.Fingerprint, NotAfter: notAfter}, Leaf{rsa, ca}.Material())
	diff(t, Material{Leaf: rsa.Fingerprint, NotAfter: notAfter}, Leaf{rsa, nil}.Material())
	diff(t, Material{Leaf: Fingerprint{SPKI: rsa.SPKI}}, (&PublicKey{SPKI: rsa.SPKI, DNSNames: []string{"a"}}).Material())
}

func TestLargeKeysCountMoreAmongTheChecks(t *testing.T) {
	ca := &Certificate{Fingerprint: Fingerprint{SPKI: strings.Repeat("k", 2086), SHA256: "ca"}, Subject: "ca"} // 16,384 bits
	der := issue(t, "mail", rsaKey(), nil, func(*x509.Certificate) {}).cert
	k := &kin{known: map[[2]*Certificate]verdict{}, left: maxChecks}
	n := 0
	for ; k.left > 0; n++ {
		child := *der
		child.Issuer = "ca"
		k.issued(ca, &child)
	}
	if n != maxChecks/16 {
		t.Errorf("%d checks with a key of 16,384 bits", n)
	}
	for bits, octets := range map[int]int{256: 91, 2048: 294, 4096: 550} {
		if got := cost(strings.Repeat("k", octets)); got != 1 {
			t.Errorf("a key of %d bits costs %d", bits, got)
		}
	}
}

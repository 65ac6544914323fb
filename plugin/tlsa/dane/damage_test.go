package dane

import (
	"bytes"
	"crypto/x509"
	"errors"
	"strings"
	"testing"
)

// failures are files that give an error and nothing else.
type failures map[string]struct {
	file string
	want error
}

func (rows failures) run(t *testing.T) {
	t.Helper()
	for claim, row := range rows {
		got, err := Parse([]byte(row.file))
		if got != nil || !errors.Is(err, row.want) {
			t.Errorf("%s: got %v, %v, want %v", claim, got, err, row.want)
		}
	}
}

func TestFileWithoutKeysIsNothing(t *testing.T) {
	failures{
		"no octets":                         {"", ErrEmpty},
		"a line feed, as acme.sh leaves it": {"\n", ErrEmpty},
		"white space":                       {" \r\n\t\n", ErrEmpty},
		"zeros":                             {strings.Repeat("\x00", 4096), ErrNothing},
		"a text":                            {"see the wiki\n", ErrNothing},
		"a text that starts with a 0":       {"0 1 2 3\n", ErrNothing},
		"a number":                          {"01\n", ErrNothing},
		"an SSH2 key":                       {"---- BEGIN SSH2 PUBLIC KEY ----\nAAAA\n---- END SSH2 PUBLIC KEY ----\n", ErrNothing},
		"only blocks that are nobody's":     {string(encode("EC PARAMETERS", []byte{6, 0})), ErrNothing},
		"a PGP key":                         {string(encode("PGP PRIVATE KEY BLOCK", nil)), ErrNothing},
	}.run(t)
}

func TestDamageAnywhereMakesTheWholeFileAnError(t *testing.T) {
	good := string(issue(t, "mail", p256Key(t), nil).pem())
	const begin, end = "-----BEGIN CERTIFICATE-----\n", "-----END CERTIFICATE-----\n"
	failures{
		"no END":                             {begin + "AAAA\n", ErrTruncated},
		"no END, then a good block":          {begin + "AAAA\n" + good, ErrTruncated},
		"no END, after a good block":         {good + begin + "AAAA\n", ErrTruncated},
		"no END of a private key":            {good + "-----BEGIN PRIVATE KEY-----\nAAAA\n", ErrTruncated},
		"no END of a block that is nobody's": {"-----BEGIN OTHER-----\nAAAA\n" + good, ErrTruncated},
		"an END of another type":             {begin + "AAAA\n-----END PUBLIC KEY-----\n" + good, ErrTruncated},
		"an END of another type, of a key":   {"-----BEGIN PRIVATE KEY-----\nAAAA\n" + end + good, ErrTruncated},
		"an END without BEGIN":               {"AAAA\n" + end + good, ErrTruncated},
		"an END without BEGIN at the end":    {good + "AAAA\n" + end, ErrTruncated},
		"an END and no BEGIN at all":         {"AAAA\n" + end, ErrTruncated},
		"a BEGIN without dashes behind":      {"-----BEGIN CERTIFICATE\n" + good, ErrTruncated},
		"a BEGIN without type":               {"-----BEGIN -----\n" + good, ErrTruncated},
		"a BEGIN cut in its dashes":          {good + "--", ErrTruncated},
		"a BEGIN cut in its word":            {good + "-----BEG", ErrTruncated},
		"an END cut in its dashes":           {strings.TrimSuffix(good, "--\n"), ErrTruncated},
		"base64 that is cut":                 {begin + "MIIBAAA\n" + end, ErrTruncated},
		"base64 that is none":                {begin + "M!IB\n" + end + good, ErrTruncated},
		"a zero inside":                      {strings.Replace(good, "M", "\x00", 1), ErrTruncated},
		"zeros behind, from a hole":          {good + strings.Repeat("\x00", 512), ErrTruncated},
		"blocks without a line feed between": {strings.TrimSpace(good) + good, ErrTruncated},
		"an indented block":                  {"  " + strings.ReplaceAll(good, "\n", "\n  "), ErrTruncated},
		"an indented BEGIN":                  {"\t" + good, ErrTruncated},
		"a byte order mark":                  {"\ufeff" + good, ErrTruncated},
		"a byte order mark, and no END":      {"\ufeff" + good[:99], ErrTruncated},
		"bare carriage returns":              {strings.ReplaceAll(good, "\n", "\r"), ErrTruncated},
	}.run(t)
}

func TestBlockWithSomethingElseInItIsMalformed(t *testing.T) {
	good := string(issue(t, "mail", p256Key(t), nil).pem())
	const begin, end = "-----BEGIN CERTIFICATE-----\n", "-----END CERTIFICATE-----\n"
	failures{
		"an empty block":                     {begin + end + good, ErrMalformed},
		"a block with something else in it":  {good + string(encode("CERTIFICATE", []byte("0\x00"))), ErrMalformed},
		"a public key that is none":          {string(encode("PUBLIC KEY", []byte{5, 0})), ErrMalformed},
		"two public keys in a block":         {string(encode("PUBLIC KEY", join(wellFormed(t).spki, wellFormed(t).spki))), ErrMalformed},
		"an RSA public key that is none":     {string(encode("RSA PUBLIC KEY", sequence([]byte{2, 1, 1}))), ErrMalformed},
		"a request that is none":             {string(encode("CERTIFICATE REQUEST", wellFormed(t).spki)), ErrMalformed},
		"a certificate called a request":     {string(encode("CERTIFICATE REQUEST", wellFormed(t).der())), ErrMalformed},
		"a trusted certificate that is none": {string(encode("TRUSTED CERTIFICATE", wellFormed(t).spki)), ErrMalformed},
		"a block over 64 KiB":                {string(encode("PUBLIC KEY", make([]byte, maxDER+1))), ErrTooLarge},
	}.run(t)
}

func TestErrorNamesTheBlock(t *testing.T) {
	good := issue(t, "mail", p256Key(t), nil).pem()
	key := encode("PRIVATE KEY", nil)
	for file, want := range map[string]string{
		string(join(good, key, encode("CERTIFICATE", sequence()))):  `PEM block 3 ("CERTIFICATE"): malformed: not a certificate`,
		string(join(encode("PUBLIC KEY", sequence()), good)):        `PEM block 1 ("PUBLIC KEY"): malformed: not a public key`,
		"-----BEGIN CERTIFICATE-----\nA\n-----END CERTIFICATE-----": `PEM block 1 ("CERTIFICATE"): truncated or damaged`,
	} {
		if _, err := Parse([]byte(file)); err == nil || err.Error() != want {
			t.Errorf("got %v, want %s", err, want)
		}
	}
}

// A cut between two blocks cannot be seen: the rest is a sound file. All other cuts must be.
func TestTruncationNeverGivesPartialContent(t *testing.T) {
	ca := issue(t, "CA", p256Key(t), nil, isCA)
	leaf := issue(t, "mail", p256Key(t), ca)
	key := encode("PRIVATE KEY", bytes.Repeat([]byte{7}, 138))
	want := []*Content{
		{PrivateKeys: 1},
		{PrivateKeys: 1, Certificates: []*Certificate{leaf.cert}},
		{PrivateKeys: 1, Certificates: []*Certificate{leaf.cert, ca.cert}},
	}
	for _, ending := range []string{"\n", "\r\n"} {
		var file []byte
		at := map[int]*Content{} // by where the cut is: at a boundary, the line end before it included or not
		for i, block := range [][]byte{key, leaf.pem(), ca.pem()} {
			file = append(file, bytes.ReplaceAll(block, []byte("\n"), []byte(ending))...)
			for n := range len(ending) + 1 {
				at[len(file)-n] = want[i]
			}
		}
		for cut := range len(file) + 1 {
			got, err := Parse(file[:cut:cut])
			if (at[cut] == nil) != (err != nil) {
				t.Fatalf("cut at %d of %d: %v", cut, len(file), err)
			}
			diff(t, at[cut], got)
		}
	}
}

func TestTruncatedDERIsAnError(t *testing.T) {
	leaf := issue(t, "mail", p256Key(t), nil)
	pkcs8, err := x509.MarshalPKCS8PrivateKey(leaf.key)
	must(t, pkcs8, err)
	for name, der := range map[string][]byte{"certificate": leaf.der, "key": leaf.x509.RawSubjectPublicKeyInfo, "private": pkcs8} {
		for cut := range len(der) {
			got, err := Parse(der[:cut])
			if got != nil || err == nil {
				t.Fatalf("%s cut at %d: got %v, %v", name, cut, got, err)
			}
			if cut > 8 && !errors.Is(err, ErrTruncated) {
				t.Errorf("%s cut at %d: %v", name, cut, err)
			}
		}
		for _, more := range [][]byte{{0}, {'\n'}, der} {
			if got, err := Parse(join(der, more)); got != nil || !errors.Is(err, ErrMalformed) {
				t.Errorf("%s and %d octets more: got %v, %v", name, len(more), got, err)
			}
		}
	}
}

func TestOtherDERIsNothing(t *testing.T) {
	octets := element(4, []byte{1})
	for claim, row := range map[string]struct {
		der  []byte
		want error
	}{
		"an OCSP response":                {sequence([]byte{10, 1, 0}), ErrNothing},
		"a PKCS #12 store":                {sequence([]byte{2, 1, 3}, sequence(element(6, []byte{0x2a}))), ErrNothing},
		"a PKCS #7 bundle":                {sequence(element(6, []byte{0x2a}), element(0xa0)), ErrNothing},
		"an empty sequence":               {sequence(), ErrNothing},
		"an RSA public key":               {sequence([]byte{2, 2, 1, 1}, []byte{2, 1, 3}), ErrNothing},
		"a version without a key":         {sequence([]byte{2, 1, 0}), ErrNothing},
		"PKCS #8 without octets":          {sequence([]byte{2, 1, 0}, sequence()), ErrNothing},
		"two sequences":                   {sequence(sequence(), sequence()), ErrNothing},
		"encrypted, and something behind": {sequence(sequence(), octets, octets), ErrNothing},
		"a revocation list":               {sequence(sequence(sequence(), sequence(), utc("260102030405Z")), sequence(), []byte{3, 1, 0}), ErrMalformed},
		"a request without a version":     {sequence(sequence(sequence(), wellFormed(t).spki), sequence(), []byte{3, 1, 0}), ErrMalformed},
		"a request with bad attributes":   {request(t, element(0xa0, []byte{5, 0})), ErrMalformed},
		"a request with half a name list": {request(t, element(0xa0, sequence(element(6, []byte("\x2a\x86\x48\x86\xf7\x0d\x01\x09\x0e"))))), ErrMalformed},
		"a request with something behind": {request(t, []byte{5, 0}), ErrMalformed},
		"more than 64 KiB":                {sequence(make([]byte, maxDER)), ErrTooLarge},
	} {
		got, err := Parse(row.der)
		if got != nil || !errors.Is(err, row.want) {
			t.Errorf("%s: got %v, %v, want %v", claim, got, err, row.want)
		}
	}
}

// request makes a certificate request that nobody can verify.
func request(t testing.TB, attributes []byte) []byte {
	return sequence(sequence([]byte{2, 1, 0}, sequence(), key("\x2a\x03"), attributes), sequence(element(6, []byte{0x2a})), []byte{3, 2, 0, 1})
}

func TestRequestMayLackAttributesAndHaveOthers(t *testing.T) {
	challenge := sequence(element(6, []byte("\x2a\x86\x48\x86\xf7\x0d\x01\x09\x07")), element(0x31, element(12, []byte("pw"))))
	for _, attributes := range [][]byte{nil, element(0xa0), element(0xa0, challenge)} {
		got, err := Parse(request(t, attributes))
		if err != nil {
			t.Errorf("%x: %v", attributes, err)
			continue
		}
		diff(t, &Content{PublicKeys: []*PublicKey{{SPKI: string(key("\x2a\x03"))}}}, got)
	}
}

func TestAtMost256BlocksAreRead(t *testing.T) {
	block := encode("PRIVATE KEY", nil)
	got, err := Parse(bytes.Repeat(block, 256))
	if err != nil || got.PrivateKeys != 256 {
		t.Errorf("256 blocks: got %v, %v", got, err)
	}
	if got, err := Parse(bytes.Repeat(block, 257)); got != nil || !errors.Is(err, ErrTooManyBlocks) {
		t.Errorf("257 blocks: got %v, %v", got, err)
	}
}

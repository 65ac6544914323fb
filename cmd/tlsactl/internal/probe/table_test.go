package probe

import (
	"crypto/tls"
	"encoding/hex"
	"encoding/json"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/coredns-tlsa/coredns-tlsa/plugin/tlsa/dane"
)

// A match is one service with its records.
type match struct {
	records []string // "3 1 1 leaf": the record of that certificate
	server  service
	want    Outcome
	word    string // of TLSRPT
}

var (
	none   = strings.Repeat("00", 32)
	none64 = strings.Repeat("00", 64)
	// empty is the digest of nothing.
	empty = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
)

func serving(chains string) service { return service{chains: chains} }

// matches is every verdict on records and certificates. The port is 443, so that all usages count.
func matches() map[string]match {
	good := serving("leaf int")
	both := serving("rsa int|leaf int")
	return map[string]match{
		"3 1 1":                       {records: []string{"3 1 1 leaf"}, server: good, want: Match},
		"3 1 2":                       {records: []string{"3 1 2 leaf"}, server: good, want: Match},
		"3 0 1":                       {records: []string{"3 0 1 leaf"}, server: good, want: Match},
		"3 0 2":                       {records: []string{"3 0 2 leaf"}, server: good, want: Match},
		"3 0 0":                       {records: []string{"3 0 0 leaf"}, server: good, want: Match},
		"3 1 0":                       {records: []string{"3 1 0 leaf"}, server: good, want: Match},
		"an RSA key":                  {records: []string{"3 1 1 rsa"}, server: serving("rsa int"), want: Match},
		"an Ed25519 key":              {records: []string{"3 1 1 ed"}, server: serving("ed int"), want: Match},
		"the wrong key":               {records: []string{"3 1 1 stranger"}, server: good, want: Mismatch, word: tlsaInvalid},
		"the key of the next renewal": {records: []string{"3 1 1 leaf", "3 1 1 next"}, server: good, want: Match},
		"already on the next key":     {records: []string{"3 1 1 leaf", "3 1 1 next"}, server: serving("next int"), want: Match},
		"renewed with the same key":   {records: []string{"3 1 1 leaf"}, server: serving("leaf-renewed int"), want: Match},
		"renewed, and 3 0 1":          {records: []string{"3 0 1 leaf"}, server: serving("leaf-renewed int"), want: Mismatch, word: tlsaInvalid},
		"a leaf without chain":        {records: []string{"3 1 1 leaf"}, server: serving("leaf"), want: Match},
		"self-signed, usage 3":        {records: []string{"3 1 1 self"}, server: serving("self"), want: Match},
		"expired, usage 3":            {records: []string{"3 1 1 expired"}, server: serving("expired int"), want: Match},
		"not yet valid, usage 3":      {records: []string{"3 1 1 future"}, server: serving("future int"), want: Match},
		"another name, usage 3":       {records: []string{"3 1 1 wrong"}, server: serving("wrong int"), want: Match},
		"a negative serial number":    {records: []string{"3 1 1 leaf"}, server: serving("negative int"), want: Match},
		"an unknown curve above it":   {records: []string{"3 1 1 leaf"}, server: serving("leaf brainpool"), want: Match},
		"an authority on that curve":  {records: []string{"2 1 1 brainpool"}, server: serving("leaf brainpool"), want: Mismatch, word: notTrusted},
		"a damaged one, 3 1 1 wrong":  {records: []string{"3 1 1 next"}, server: serving("negative int"), want: Mismatch, word: tlsaInvalid},
		"the digest of nothing":       {records: []string{"3 1 1 " + empty}, server: good, want: Mismatch, word: tlsaInvalid},
		"upper-case hex":              {records: []string{strings.ToUpper("3 1 1 " + hex.EncodeToString([]byte(dataOf("leaf"))))}, server: good, want: Match},

		"2 1 1 of the issuer":           {records: []string{"2 1 1 int"}, server: good, want: Match},
		"2 0 1 of the issuer":           {records: []string{"2 0 1 int"}, server: good, want: Match},
		"2 1 1, issuer renewed":         {records: []string{"2 1 1 int"}, server: serving("leaf int-renewed"), want: Match},
		"2 0 1, issuer renewed":         {records: []string{"2 0 1 int"}, server: serving("leaf int-renewed"), want: Mismatch, word: tlsaInvalid},
		"2 1 1 of the root, sent":       {records: []string{"2 1 1 root"}, server: serving("leaf int root"), want: Match},
		"2 1 1 of the root, not sent":   {records: []string{"2 1 1 root"}, server: good, want: Mismatch, word: tlsaInvalid},
		"2 1 1, issuer not sent":        {records: []string{"2 1 1 int"}, server: serving("leaf"), want: Mismatch, word: tlsaInvalid},
		"2 0 0 of the issuer, not sent": {records: []string{"2 0 0 int"}, server: serving("leaf"), want: Match},
		"2 1 0 of the issuer, not sent": {records: []string{"2 1 0 int"}, server: serving("leaf"), want: Match},
		"2 1 0 of the root, not sent":   {records: []string{"2 1 0 root"}, server: good, want: Match},
		"2 0 0 of a stranger":           {records: []string{"2 0 0 other-root"}, server: good, want: Mismatch, word: tlsaInvalid},
		"2 1 0 of a stranger":           {records: []string{"2 1 0 other-root"}, server: good, want: Mismatch, word: tlsaInvalid},
		"missing intermediate":          {records: []string{"2 1 1 root"}, server: serving("leaf root"), want: Mismatch, word: notTrusted},
		"chain out of order":            {records: []string{"2 1 1 root"}, server: serving("leaf root int"), want: Match},
		"an unrelated authority sent":   {records: []string{"2 1 1 other-root"}, server: serving("leaf int other-root"), want: Mismatch, word: notTrusted},
		"an authority of the same name": {records: []string{"2 1 1 twin"}, server: serving("leaf twin"), want: Mismatch, word: notTrusted},
		"expired, usage 2":              {records: []string{"2 1 1 int"}, server: serving("expired int"), want: Mismatch, word: certExpired},
		"not yet valid, usage 2":        {records: []string{"2 1 1 int"}, server: serving("future int"), want: Mismatch, word: certExpired},
		"expired issuer, usage 2":       {records: []string{"2 1 1 int-expired"}, server: serving("leaf-late int-expired"), want: Mismatch, word: certExpired},
		"expired between, usage 2":      {records: []string{"2 1 1 root"}, server: serving("leaf-late int-expired root"), want: Mismatch, word: certExpired},
		"expired issuer, usage 3":       {records: []string{"3 1 1 leaf-late"}, server: serving("leaf-late int-expired"), want: Match},
		"another name, usage 2":         {records: []string{"2 1 1 int"}, server: serving("wrong int"), want: Mismatch, word: hostMismatch},
		"a wildcard, usage 2":           {records: []string{"2 1 1 int"}, server: serving("wild int"), want: Match},
		"a wildcard too deep, usage 2":  {records: []string{"2 1 1 int"}, server: serving("deep int"), want: Mismatch, word: hostMismatch},
		"upper case in the certificate": {records: []string{"2 1 1 int"}, server: serving("upper int"), want: Match},
		"a common name only, usage 2":   {records: []string{"2 1 1 int"}, server: serving("cn int"), want: Mismatch, word: hostMismatch},
		"issuer that is no authority":   {records: []string{"2 1 1 no-ca"}, server: serving("leaf-no-ca no-ca int"), want: Mismatch, word: notTrusted},
		"path longer than allowed":      {records: []string{"2 1 1 short"}, server: serving("leaf-sub sub short"), want: Mismatch, word: notTrusted},
		"that path from its middle":     {records: []string{"2 1 1 sub"}, server: serving("leaf-sub sub short"), want: Match},
		"outside the authority's names": {records: []string{"2 1 1 bound"}, server: serving("leaf-bound bound"), want: Mismatch, word: notTrusted},
		"for clients only, usage 2":     {records: []string{"2 1 1 int"}, server: serving("client int"), want: Mismatch, word: notTrusted},
		"the leaf under usage 2":        {records: []string{"2 1 1 leaf"}, server: good, want: Mismatch, word: tlsaInvalid},
		"that leaf sent twice":          {records: []string{"2 1 1 leaf"}, server: serving("leaf leaf int"), want: Mismatch, word: tlsaInvalid},
		"self-signed under usage 2":     {records: []string{"2 1 1 self-ca"}, server: serving("self-ca"), want: Mismatch, word: tlsaInvalid},
		"the issuer under usage 3":      {records: []string{"3 1 1 int"}, server: good, want: Mismatch, word: tlsaInvalid},
		"usage 2 right, usage 3 wrong":  {records: []string{"3 1 1 stranger", "2 1 1 int"}, server: good, want: Match},
		"usage 3 right, usage 2 wrong":  {records: []string{"3 1 1 expired", "2 1 1 int"}, server: serving("expired int"), want: Match},

		"agility hides the key in use": {records: []string{"3 1 1 leaf", "3 1 1 next", "3 1 2 leaf"}, server: serving("next int"), want: Mismatch, word: tlsaInvalid},
		"agility, the other key":       {records: []string{"3 1 1 leaf", "3 1 1 next", "3 1 2 leaf"}, server: good, want: Match},
		"agility is per selector":      {records: []string{"3 0 2 " + none64, "3 1 1 leaf"}, server: good, want: Match},
		"agility is per usage":         {records: []string{"2 1 2 " + none64, "3 1 1 leaf"}, server: good, want: Match},
		"agility skips the unusable":   {records: []string{"3 1 2 " + none, "3 1 1 leaf"}, server: good, want: Match},
		"full data is no digest":       {records: []string{"3 1 0 leaf", "3 1 2 " + none64}, server: good, want: Match},
		"a digest beside full data":    {records: []string{"3 1 0 stranger", "3 1 1 leaf"}, server: good, want: Match},
		"agility under usage 2":        {records: []string{"2 1 1 int", "2 1 2 root"}, server: good, want: Mismatch, word: tlsaInvalid},
		"every key with both types":    {records: []string{"3 1 1 leaf", "3 1 2 leaf", "3 1 1 next", "3 1 2 next"}, server: serving("next int"), want: Match},

		"an unknown usage":             {records: []string{"4 1 1 leaf"}, server: good, want: Mismatch, word: tlsaInvalid},
		"an unknown selector":          {records: []string{"3 2 1 " + none}, server: good, want: Mismatch, word: tlsaInvalid},
		"an unknown matching type":     {records: []string{"3 1 3 " + none}, server: good, want: Mismatch, word: tlsaInvalid},
		"unknown ones beside":          {records: []string{"3 1 9 " + none, "9 1 1 " + none, "3 1 1 leaf"}, server: good, want: Match},
		"a digest too short":           {records: []string{"3 1 1 00ff"}, server: good, want: Mismatch, word: tlsaInvalid},
		"full data that is none":       {records: []string{"3 0 0 " + none}, server: good, want: Mismatch, word: tlsaInvalid},
		"a full key that is none":      {records: []string{"3 1 0 " + none}, server: good, want: Mismatch, word: tlsaInvalid},
		"PKIX-EE":                      {records: []string{"1 1 1 leaf"}, server: good, want: Match},
		"PKIX-EE, unknown authority":   {records: []string{"1 1 1 self"}, server: serving("self"), want: Mismatch, word: notTrusted},
		"PKIX-EE, another name":        {records: []string{"1 1 1 wrong"}, server: serving("wrong int"), want: Mismatch, word: hostMismatch},
		"PKIX-EE, expired":             {records: []string{"1 1 1 expired"}, server: serving("expired int"), want: Mismatch, word: certExpired},
		"PKIX-EE, the wrong key":       {records: []string{"1 1 1 next"}, server: good, want: Mismatch, word: tlsaInvalid},
		"PKIX-EE, nothing in between":  {records: []string{"1 1 1 leaf"}, server: serving("leaf"), want: Mismatch, word: notTrusted},
		"PKIX-TA of the issuer":        {records: []string{"0 1 1 int"}, server: good, want: Match},
		"PKIX-TA of a root not sent":   {records: []string{"0 1 1 root"}, server: good, want: Match},
		"PKIX-TA of a root, directly":  {records: []string{"0 0 1 root"}, server: serving("direct"), want: Match},
		"PKIX-TA of another authority": {records: []string{"0 1 1 other-root"}, server: good, want: Mismatch, word: tlsaInvalid},
		"PKIX-TA, expired":             {records: []string{"0 1 1 int"}, server: serving("expired int"), want: Mismatch, word: certExpired},
		"PKIX-TA, unknown authority":   {records: []string{"0 1 1 twin"}, server: serving("leaf twin"), want: Mismatch, word: notTrusted},

		"RSA and ECDSA, both listed":  {records: []string{"3 1 1 rsa", "3 1 1 leaf"}, server: both, want: Match},
		"RSA right and ECDSA wrong":   {records: []string{"3 1 1 rsa"}, server: both, want: Mismatch, word: tlsaInvalid},
		"ECDSA right and RSA wrong":   {records: []string{"3 1 1 leaf"}, server: both, want: Mismatch, word: tlsaInvalid},
		"both from one authority":     {records: []string{"2 1 1 int"}, server: both, want: Match},
		"one expired, usage 2":        {records: []string{"2 1 1 int"}, server: serving("rsa int|expired int"), want: Mismatch, word: certExpired},
		"TLS 1.2 only":                {records: []string{"3 1 1 leaf"}, server: service{chains: "leaf int", max: tls.VersionTLS12}, want: Match},
		"TLS 1.3 only":                {records: []string{"3 1 1 leaf"}, server: service{chains: "leaf int", min: tls.VersionTLS13}, want: Match},
		"TLS 1.3 only, the wrong key": {records: []string{"3 1 1 next"}, server: service{chains: "leaf int", min: tls.VersionTLS13}, want: Mismatch, word: tlsaInvalid},
	}
}

func dataOf(name string) string {
	parsed, err := dane.ParseCertificate(pki()[name].der)
	if err != nil {
		panic(err)
	}
	a, err := dane.Material{Leaf: parsed.Fingerprint}.Association(dane.Combination{Usage: dane.DANEEE, Selector: dane.SPKI, MatchingType: dane.SHA256})
	if err != nil {
		panic(err)
	}
	return a.Data
}

func TestVerdictsOnRecordsAndCertificates(t *testing.T) {
	for what, m := range matches() {
		t.Run(what, func(t *testing.T) {
			t.Parallel()
			z := &zones{rrs: []string{host + ". A 192.0.2.1"}}
			for _, r := range m.records {
				z.rrs = append(z.rrs, "_443._tcp."+host+". TLSA "+rdata(t, r))
			}
			r := check(t, z, internet{"192.0.2.1:443": m.server}, parse(t, host+":443", false))
			var want []string
			if m.word != "" {
				want = []string{m.word}
			}
			if diff := cmp.Diff(want, results(r)); r.Outcome != m.want || diff != "" {
				t.Errorf("%s, want %s; results %s\n%s", r.Outcome, m.want, diff, describe(r))
			}
		})
	}
}

func TestWhatCannotBeAskedApartIsSaid(t *testing.T) {
	z := &zones{rrs: []string{host + ". A 192.0.2.1", "_443._tcp." + host + ". TLSA " + rdata(t, "3 1 1 leaf")}}
	for what, c := range map[string]struct {
		server service
		want   []Outcome
		say    string
	}{
		"both versions": {serving("leaf int"), []Outcome{Match, NotOffered, Match}, ""},
		"both keys":     {serving("leaf int|rsa int"), []Outcome{Match, Mismatch, Match}, ""},
		"TLS 1.3 only":  {service{chains: "leaf int", min: tls.VersionTLS13}, []Outcome{Match, NotOffered, NotOffered}, "speaks only TLS 1.3"},
		"TLS 1.1 only":  {service{chains: "leaf int", max: tls.VersionTLS11}, []Outcome{Match, NotOffered, Match}, "RFC 8996"},
		"negative":      {serving("negative int"), []Outcome{NotOffered, NotOffered, Match}, "cannot finish the handshake"},
	} {
		a := check(t, z, internet{"192.0.2.1:443": c.server}, parse(t, host+":443", false)).Hosts[0].Addresses[0]
		var got []Outcome
		for _, p := range a.Probes {
			got = append(got, p.Outcome)
		}
		if diff := cmp.Diff(c.want, got); diff != "" {
			t.Errorf("%s: %s", what, diff)
		}
		text := describe(&Report{Hosts: []Host{{Addresses: []Address{a}}}})
		if apart := strings.Contains(text, "asked for apart"); !strings.Contains(text, c.say) || apart != (what == "TLS 1.3 only") {
			t.Errorf("%s: %s", what, text)
		}
	}
}

func describe(r *Report) string {
	text, err := json.MarshalIndent(r, "", " ")
	if err != nil {
		panic(err)
	}
	return string(text)
}

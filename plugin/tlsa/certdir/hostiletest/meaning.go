package hostiletest

import (
	"crypto/x509"
	"crypto/x509/pkix"
	"fmt"
	"net"
	"net/url"
	"slices"
	"strings"
)

// meaningKinds are sound certificates that must not be taken for what they seem to be.
func meaningKinds() []Kind { return slices.Concat(nameKinds(), roleKinds(), placeKinds()) }

// named is a chain whose leaf has these names. Only its own host may come of it, if that is among them.
func named(name, gives string, names func(c *Case) []string, hosts func(c *Case) []string) Kind {
	return Kind{
		Name: "names: " + name, Carrier: chainPEM, Gives: gives, Hosts: hosts,
		Over: Anything, // the good certificate has been replaced by one for others: it stays, and that is told
		Content: func(c *Case, _ []byte) []byte {
			return []byte(toPEM("CERTIFICATE", c.edit(atExtensions, extensions(sanOf(names(c)...)))) + c.CAPEM)
		},
	}
}

// foreignName is a name, %s being the host and %z the zone without a dot, that is no business of this zone.
var foreignNames = map[string]string{
	"of another zone":                   "www.example.net",
	"with the zone in the middle":       "%s.evil.example",
	"with the zone glued behind":        "evil%z",
	"with the zone's first label":       "example",
	"of the zone above":                 "org",
	"of the root":                       ".",
	"of nothing":                        "",
	"with an empty label":               "a..%z",
	"with a dot in front":               ".%s",
	"with two dots behind":              "%s..",
	"with a NUL behind the host":        "%s\x00.evil.example",
	"with a NUL before the zone":        "evil\x00.%z",
	"with a line feed":                  "%s\n",
	"with a line feed and a record":     "x\n_25._tcp.%s IN TLSA 3 1 1 00",
	"with a terminal escape":            "\x1b[31m%s",
	"with a space":                      " %s",
	"with a tab":                        "a\t.%z",
	"with a backslash":                  `a\.%z`,
	"with an escaped dot":               `a\046.%z`,
	"with a quote":                      `a".%z`,
	"with a semicolon":                  "a;.%z",
	"with a parenthesis":                "a(.%z",
	"with an at sign":                   "root@%z",
	"with a slash":                      "../../%s",
	"with a percent sign":               "%%s.%z",
	"with a colon and a port":           "%s:25",
	"as a URL":                          "https://%s/",
	"in UTF-8":                          "b\xc3\xbccher.%z",
	"in Latin-1":                        "b\xfccher.%z",
	"with a dotless i":                  "ma\xc4\xb1l.%z",
	"with a soft hyphen":                "%s\xc2\xad",
	"with a full-width dot":             "a\xe3\x80\x82%z",
	"with a label of 64 octets":         strings.Repeat("a", 64) + ".%z",
	"of 254 octets":                     strings.Repeat("a.", 130) + "%z",
	"of 60,000 octets":                  strings.Repeat("a.", 30_000) + "%z",
	"of 20,000 dots":                    strings.Repeat(".", 20_000),
	"that is an owner":                  "_25._tcp.%s",
	"below _dane":                       "mx._dane.%z",
	"that starts with an underscore":    "_acme-challenge.%s",
	"with an underscore in the middle":  "a._b.%z",
	"that is an asterisk":               "*",
	"that is an asterisk and a dot":     "*.",
	"of all of a top level":             "*.org",
	"of all of all":                     "*.*",
	"with two asterisks":                "*.*.%z",
	"with an asterisk behind letters":   "f*.%z",
	"with an asterisk before letters":   "*f.%z",
	"with an asterisk in the middle":    "bad.*.%z",
	"with an asterisk at its end":       "%s.*",
	"with two asterisks in a label":     "**.%z",
	"with an IDN and an asterisk":       "xn--*.%z",
	"with an address for a name":        "192.0.2.1",
	"with a wildcard of another zone":   "*.example.net",
	"with a wildcard of a foreign host": "*.%s.evil.example",
}

func nameKinds() []Kind {
	var kinds []Kind
	none := func(*Case) []string { return nil }
	for name, pattern := range foreignNames {
		kinds = append(kinds, named(name, Nothing, func(c *Case) []string { return []string{c.fill(pattern)} }, none))
	}
	itself := func(c *Case) []string { return []string{c.Host} }
	kinds = append(kinds,
		named("in capitals", ItsKey, func(c *Case) []string { return []string{strings.ToUpper(c.Host)} }, nil),
		named("with a dot behind", ItsKey, func(c *Case) []string { return []string{c.Host + "."} }, nil),
		named("one good between bad ones", ItsKey, func(c *Case) []string {
			return []string{"\x00", "*", c.Host, "\x1b[2J", "org", "www.example.net"}
		}, itself),
		named("4,000 of other zones and the host", ItsKey, func(c *Case) []string {
			var names []string
			for i := range 4_000 {
				names = append(names, fmt.Sprintf("h%04d.test", i))
			}
			return append(names, c.Host)
		}, itself),
		named("one name 2,000 times", ItsKey, func(c *Case) []string { return slices.Repeat([]string{c.Host}, 2_000) }, itself),
		named("200 of this zone", ItsKey, hosts200, hosts200),
		named("another host of this zone", Nothing, sub("other"), sub("other")),
		named("a wildcard below the host", Nothing, sub("*"), none),
	)
	templates := map[string]func(c *Case, t *x509.Certificate){
		"in the common name only": func(c *Case, t *x509.Certificate) { t.Subject = pkix.Name{CommonName: c.Host} },
		"as a mail address":       func(c *Case, t *x509.Certificate) { t.EmailAddresses = []string{"root@" + c.Host, c.Host} },
		"as a URI":                func(c *Case, t *x509.Certificate) { t.URIs = []*url.URL{{Scheme: "https", Host: c.Host}} },
		"of addresses":            func(_ *Case, t *x509.Certificate) { t.IPAddresses = []net.IP{net.IPv4(192, 0, 2, 1)} },
		"none at all":             func(*Case, *x509.Certificate) {},
		"in the name constraints only": func(c *Case, t *x509.Certificate) {
			t.PermittedDNSDomains = []string{c.Host}
		},
	}
	for name, change := range templates {
		kinds = append(kinds, Kind{
			Name: "names: " + name, Carrier: chainPEM, Over: Anything,
			Content: func(c *Case, _ []byte) []byte {
				return chain(c, c.issue(c.Evil.Key, func(t *x509.Certificate) { change(c, t) }))
			},
		})
	}
	return append(kinds, Kind{
		Name: "names: a list that is garbage", Carrier: chainPEM, Over: Anything,
		Content: func(c *Case, _ []byte) []byte {
			return []byte(toPEM("CERTIFICATE", c.edit(atExtensions, extensions(extension(oidSAN, []byte("garbage"))))))
		},
	})
}

func (c *Case) fill(pattern string) string {
	return strings.NewReplacer("%%s", "%s", "%s", c.Host, "%z", c.Zone).Replace(pattern)
}

func sub(label string) func(c *Case) []string {
	return func(c *Case) []string { return []string{label + "." + c.Host} }
}

func hosts200(c *Case) []string {
	names := []string{c.Host}
	for i := range 200 {
		names = append(names, fmt.Sprintf("h%d.%s", i, c.Host))
	}
	return names
}

// roleKinds are files whose certificates are not all leaves, or none.
func roleKinds() []Kind {
	content := func(name, gives, over string, do func(c *Case) string) Kind {
		return Kind{
			Name: "roles: " + name, Carrier: chainPEM, Gives: gives, Over: over,
			Content: func(c *Case, _ []byte) []byte { return []byte(do(c)) },
		}
	}
	challenge := func(c *Case) string {
		return toPEM("CERTIFICATE", c.edit(atExtensions, extensions(sanOf(c.Host), extension(oidACME, tlv(4, make([]byte, 32))))))
	}
	others := func(c *Case, n int) string {
		var all strings.Builder
		for range n {
			all.WriteString(c.Issue("www.example.net").CertPEM)
		}
		return all.String()
	}
	authority := func(c *Case) string {
		return c.issue(c.Evil.Key, func(t *x509.Certificate) {
			t.IsCA, t.BasicConstraintsValid, t.Subject = true, true, pkix.Name{CommonName: "Intermediate"}
		}).CertPEM
	}
	return []Kind{
		content("a challenge certificate", Nothing, replaced, challenge),
		content("a challenge certificate with its chain", Nothing, Anything, func(c *Case) string { return challenge(c) + c.CAPEM }),
		content("a challenge certificate whose extension is garbage", Nothing, replaced, func(c *Case) string {
			return toPEM("CERTIFICATE", c.edit(atExtensions, extensions(sanOf(c.Host), extension(oidACME, []byte("garbage")))))
		}),
		content("a challenge certificate behind the real one", ItsKey, "", func(c *Case) string {
			return string(chain(c, c.Evil)) + challenge(&Case{World: c.World, Host: c.Host, Evil: c.Issue(c.Host)})
		}),
		content("a challenge certificate before the real one", ItsKey, "", func(c *Case) string {
			return challenge(&Case{World: c.World, Host: c.Host, Evil: c.Issue(c.Host)}) + string(chain(c, c.Evil))
		}),
		content("the issuer first", ItsKey, "", func(c *Case) string { return c.CAPEM + c.Evil.CertPEM }),
		content("the issuer last but behind a stranger", ItsKey, "", func(c *Case) string { return c.Evil.CertPEM + others(c, 1) + c.CAPEM }),
		content("the issuer 100 times", ItsKey, "", func(c *Case) string { return c.Evil.CertPEM + strings.Repeat(c.CAPEM, 100) }),
		content("among 200 strangers", ItsKey, "", func(c *Case) string { return others(c, 100) + c.Evil.CertPEM + others(c, 100) }),
		content("an issuer alone", Nothing, Anything, func(c *Case) string { return c.CAPEM }),
		content("an old intermediate beside it", ItsKey, "", func(c *Case) string {
			return c.Evil.CertPEM + authority(&Case{World: c.World, Evil: c.Issue("ca.example.net")}) + c.CAPEM
		}),
		content("a self-signed certificate that says it is a CA", ItsKey, "", func(c *Case) string {
			own := &World{CA: c.CA, key: c.Evil.Key}
			parts := children(children(c.Evil.Cert)[0])
			parts[atSubject] = parts[atIssuer]
			parts[atExtensions] = extensions(sanOf(c.Host), extension(oidBasic, tlv(0x30, []byte{1, 1, 0xff})))
			return toPEM("CERTIFICATE", own.signed(tlv(0x30, parts...)))
		}),
		content("a certificate and a public key of another", ItsKey, "", func(c *Case) string {
			return string(chain(c, c.Evil)) + toPEM("PUBLIC KEY", c.Issue(c.Host).SPKI)
		}),
		content("a certificate and a request of another", ItsKey, "", func(c *Case) string {
			return string(chain(c, c.Evil)) + toPEM("CERTIFICATE REQUEST", c.Issue(c.Host).CSR)
		}),
		content("a public key alone, not in next", Nothing, replaced, func(c *Case) string { return toPEM("PUBLIC KEY", c.Evil.SPKI) }),
		content("a request alone, not in next", Nothing, replaced, func(c *Case) string { return toPEM("CERTIFICATE REQUEST", c.Evil.CSR) }),
		content("OpenSSL's TRUSTED CERTIFICATE", ItsKey, "", func(c *Case) string {
			return toPEM("TRUSTED CERTIFICATE", slices.Concat(c.Evil.Cert, tlv(0x30, tlv(12, []byte("mail")))))
		}),
		content("X509 CERTIFICATE", ItsKey, "", func(c *Case) string { return toPEM("X509 CERTIFICATE", c.Evil.Cert) }),
		{
			Name: "roles: 30 authorities of one name with keys of 16,384 bits, and theirs", Carrier: chainPEM, Gives: ItsKey, Checked: true,
			Content: func(c *Case, _ []byte) []byte { return rivals(c, 30, 16_384) },
		},
		{
			Name: "roles: 60 authorities of one name with keys of 4,096 bits, and theirs", Carrier: chainPEM, Gives: ItsKey, Checked: true,
			Content: func(c *Case, _ []byte) []byte { return rivals(c, 60, 4_096) },
		},
		{
			Name: "roles: TRUSTED CERTIFICATE with garbage behind", Carrier: chainPEM, Fresh: malformed, Over: malformed,
			Content: func(c *Case, _ []byte) []byte {
				return []byte(toPEM("TRUSTED CERTIFICATE", append(slices.Clone(c.Evil.Cert), 1, 2)))
			},
		},
		{
			Name: "roles: a certificate called a request", Carrier: chainPEM, Fresh: malformed, Over: malformed,
			Content: func(c *Case, _ []byte) []byte { return []byte(toPEM("CERTIFICATE REQUEST", c.Evil.Cert)) },
		},
		{
			Name: "roles: a request called a certificate", Carrier: chainPEM, Fresh: malformed, Over: malformed,
			Content: func(c *Case, _ []byte) []byte { return []byte(toPEM("CERTIFICATE", c.Evil.CSR)) },
		},
		{
			Name: "roles: a good certificate and a bad one", Carrier: chainPEM, Fresh: malformed, Over: malformed,
			Content: func(c *Case, _ []byte) []byte { return []byte(c.Evil.CertPEM + toPEM("CERTIFICATE", nested(5))) },
		},
	}
}

package hostiletest

import (
	"bytes"
	"fmt"
	"slices"
	"strings"
)

// A derFault is something that is wrong inside of a certificate, request or public key.
type derFault struct {
	name string
	do   func(c *Case, good []byte) []byte
	// text is what must be told of it in PEM, octets in DER; "" where the key is taken.
	text, octets string
}

func broken(name string, do func(c *Case, good []byte) []byte) derFault {
	return derFault{name, do, malformed, malformed}
}

// frames are wrong whatever the structure is.
func frames() []derFault {
	head := func(h string) func(*Case, []byte) []byte {
		return func(_ *Case, good []byte) []byte { return header(good, []byte(h)) }
	}
	grown := func(by int) func(*Case, []byte) []byte {
		return func(_ *Case, good []byte) []byte {
			body := header(good, nil)
			return slices.Concat([]byte{0x30}, length(len(body)+by), body)
		}
	}
	fixed := func(der []byte) func(*Case, []byte) []byte {
		return func(*Case, []byte) []byte { return der }
	}
	return []derFault{
		broken("a SET", head("\x31\x81\xf0")),
		{"an octet longer than it is", grown(1), malformed, truncated},
		broken("an octet shorter than it is", grown(-1)),
		{"an indefinite length", func(_ *Case, good []byte) []byte { return append(header(good, []byte{0x30, 0x80}), 0, 0) }, malformed, truncated},
		{"a length of 4 GiB", head("\x30\x84\xff\xff\xff\xff"), malformed, truncated},
		{"a length of 2^63", head("\x30\x88\x80\x00\x00\x00\x00\x00\x00\x00"), malformed, truncated},
		{"a length of 2^1000", head("\x30\xfe" + strings.Repeat("\xff", 126)), malformed, truncated},
		{"a length in too many octets", head("\x30\x84\x00\x00\x01\x00"), malformed, truncated},
		broken("an octet behind it", func(_ *Case, good []byte) []byte { return append(slices.Clone(good), 0) }),
		broken("it twice in a row", func(_ *Case, good []byte) []byte { return slices.Concat(good, good) }),
		broken("nothing in it", fixed([]byte{0x30, 0})),
		broken("15,000 structures in each other", fixed(nested(15_000))),
		{"200,000 structures in each other", fixed(nested(200_000)), tooLarge, tooLarge},
		broken("zeros in it", fixed(tlv(0x30, make([]byte, 300)))),
		broken("a child longer than its parent", fixed(tlv(0x30, []byte("\x30\x82\x40\x00\x02\x01\x01")))),
	}
}

// bodies are certificates that are wrong inside, but right around it and signed.
func bodies() []derFault {
	part := func(at int, with []byte) func(*Case, []byte) []byte {
		return func(c *Case, _ []byte) []byte { return c.edit(at, with) }
	}
	validity := func(from, to string) []byte { return tlv(0x30, []byte(from), []byte(to)) }
	const from, to = "\x17\x0d200102030405Z", "\x17\x0d400102030405Z"
	return []derFault{
		broken("no serial number", part(atSerial, nil)),
		broken("no issuer", part(atIssuer, nil)),
		broken("an issuer that is a number", part(atIssuer, tlv(2, []byte{1}))),
		broken("no dates", part(atValidity, nil)),
		broken("one date", part(atValidity, tlv(0x30, []byte(from)))),
		broken("three dates", part(atValidity, tlv(0x30, []byte(from), []byte(to), []byte(to)))),
		broken("a thirteenth month", part(atValidity, validity(from, "\x17\x0d401302030405Z"))),
		broken("dates that are text", part(atValidity, validity("\x17\x05hello", "\x17\x05world"))),
		broken("dates with escapes", part(atValidity, validity("\x17\x05\x1b[31m", to))),
		broken("dates with a zone of their own", part(atValidity, validity("\x17\x1120010203040+0100", to))),
		broken("no subject", part(atSubject, nil)),
		broken("no public key", part(atKey, nil)),
		broken("a public key of nothing", part(atKey, []byte{0x30, 0})),
		broken("a public key without bits", part(atKey, tlv(0x30, tlv(0x30, tlv(6, []byte{42})), tlv(3, []byte{0})))),
		broken("a public key without an algorithm", part(atKey, tlv(0x30, tlv(0x30), tlv(3, []byte{0, 1})))),
		broken("a public key with something behind it", part(atKey, tlv(0x30, tlv(0x30, tlv(6, []byte{42})), tlv(3, []byte{0, 1}), []byte{5, 0}))),
		broken("extensions that are garbage", part(atExtensions, tlv(0xa3, []byte("garbage")))),
		broken("an extension that is a number", part(atExtensions, extensions(tlv(2, []byte{1})))),
		broken("an extension without a value", part(atExtensions, extensions(tlv(0x30, tlv(6, []byte(oidSAN)))))),
		broken("extensions twice", func(c *Case, _ []byte) []byte {
			return c.edit(atExtensions, slices.Concat(extensions(sanOf(c.Host)), extensions(sanOf(c.Host))))
		}),
		broken("something behind the extensions", func(c *Case, _ []byte) []byte {
			return c.edit(atExtensions, slices.Concat(extensions(sanOf(c.Host)), []byte{5, 0}))
		}),
		broken("no signature", func(c *Case, _ []byte) []byte { return tlv(0x30, children(c.Evil.Cert)[0], ecdsaSHA256) }),
		broken("a signature without an octet", func(c *Case, _ []byte) []byte {
			return tlv(0x30, children(c.Evil.Cert)[0], ecdsaSHA256, tlv(3))
		}),
	}
}

// odd certificates are unusual; servers may present them, so their keys count.
func odd() []derFault {
	part := func(at int, with []byte) func(*Case, []byte) []byte {
		return func(c *Case, _ []byte) []byte { return c.edit(at, with) }
	}
	ok := func(name string, do func(c *Case, good []byte) []byte) derFault { return derFault{name, do, "", ""} }
	key := func(spki []byte) func(*Case, []byte) []byte {
		return func(c *Case, _ []byte) []byte {
			c.Key = spki
			return c.edit(atKey, spki)
		}
	}
	more := func(list ...[]byte) func(*Case, []byte) []byte {
		return func(c *Case, _ []byte) []byte {
			return c.edit(atExtensions, extensions(append(list, sanOf(c.Host))...))
		}
	}
	rsa := func(bits int) []byte { return rsaKey(bits, 0xa5) }
	other := func(oid string, bits int) []byte {
		return tlv(0x30, tlv(0x30, tlv(6, []byte(oid))), tlv(3, []byte{0}, bytes.Repeat([]byte{7}, bits)))
	}
	return []derFault{
		ok("a serial number of 20,000 octets", part(atSerial, tlv(2, bytes.Repeat([]byte{7}, 20_000)))),
		ok("a negative serial number", part(atSerial, []byte{2, 1, 0x80})),
		ok("a serial number of no octets", part(atSerial, []byte{2, 0})),
		ok("version 200", part(atVersion, tlv(0xa0, tlv(2, []byte{0, 200})))),
		ok("no version, but extensions", part(atVersion, nil)),
		ok("another algorithm inside than outside", part(atAlgorithm, tlv(0x30, tlv(6, []byte{42})))),
		ok("an issuer of 50,000 octets", part(atIssuer, tlv(0x30, make([]byte, 50_000)))),
		ok("a subject of 3,000 parts", part(atSubject, tlv(0x30, bytes.Repeat(tlv(0x31, tlv(0x30, []byte("\x06\x03\x55\x04\x03\x0c\x01a"))), 3_000)))),
		ok("dates in the wrong order", part(atValidity, tlv(0x30, []byte("\x17\x0d400102030405Z"), []byte("\x17\x0d200102030405Z")))),
		ok("expired in 1970", part(atValidity, tlv(0x30, []byte("\x17\x0d700101000000Z"), []byte("\x17\x0d700102000000Z")))),
		ok("not valid before 2049", part(atValidity, tlv(0x30, []byte("\x17\x0d490101000000Z"), []byte("\x18\x0f20990101000000Z")))),
		ok("valid until the end of 9999", part(atValidity, tlv(0x30, []byte("\x17\x0d200102030405Z"), []byte("\x18\x0f99991231235959Z")))),
		ok("an unknown critical extension", more(tlv(0x30, []byte("\x06\x02\x2a\x03\x01\x01\xff\x04\x01x")))),
		ok("an identifier of 10,000 octets", more(extension(strings.Repeat("\xff", 10_000)+"\x01", []byte{5, 0}))),
		ok("4,000 extensions", more(bytes.Repeat(extension("\x2a\x03", []byte{5, 0}), 4_000))),
		ok("an extension of 50,000 octets", more(extension("\x2a\x03", make([]byte, 50_000)))),
		ok("a basicConstraints of garbage", more(extension(oidBasic, []byte("garbage")))),
		ok("names twice", func(c *Case, _ []byte) []byte { return c.edit(atExtensions, extensions(sanOf(c.Host), sanOf(c.Host))) }),
		ok("a key of an unknown algorithm", key(other("\x2a\x03\x04", 32))),
		ok("a key with an identifier of 5,000 octets", key(other(strings.Repeat("\x81", 5_000)+"\x01", 32))),
		ok("a key of Ed448", key(other("\x2b\x65\x71", 57))),
		ok("a key of ML-DSA-87", key(other("\x60\x86\x48\x01\x65\x03\x04\x03\x13", 2592))),
		ok("a key of 60,000 octets", key(other("\x2a\x03\x04", 60_000))),
		ok("a key of RSA with 400,000 bits", key(rsa(400_000))),
		ok("a key of RSA with 8 bits", key(rsa(8))),
		ok("a point that is on no curve", func(c *Case, _ []byte) []byte {
			spki := slices.Clone(c.Evil.SPKI)
			spki[len(spki)-1] ^= 1
			return key(spki)(c, nil)
		}),
		ok("a signature that is wrong", func(c *Case, good []byte) []byte {
			der := slices.Clone(good)
			der[len(der)-1] ^= 1
			return der
		}),
		ok("a signature of 40,000 octets", func(c *Case, _ []byte) []byte {
			return tlv(0x30, children(c.Evil.Cert)[0], ecdsaSHA256, tlv(3, make([]byte, 40_000)))
		}),
		ok("a signature of an unknown algorithm", func(c *Case, _ []byte) []byte {
			return tlv(0x30, children(c.Evil.Cert)[0], tlv(0x30, tlv(6, []byte{42})), tlv(3, []byte{0, 1}))
		}),
	}
}

// requests are certificate requests that are wrong inside.
func requests() []derFault {
	body := func(change func(c *Case, parts [][]byte)) func(*Case, []byte) []byte {
		return func(c *Case, good []byte) []byte {
			parts := children(children(good)[0])
			change(c, parts)
			return c.Evil.requested(tlv(0x30, parts...))
		}
	}
	attributes := func(a ...[]byte) func(*Case, []byte) []byte {
		return body(func(_ *Case, parts [][]byte) { parts[3] = tlv(0xa0, a...) })
	}
	asked := tlv(6, []byte("\x2a\x86\x48\x86\xf7\x0d\x01\x09\x0e"))
	return []derFault{
		broken("the key of another", body(func(c *Case, parts [][]byte) { parts[2] = c.Good.SPKI })),
		broken("a signature that is wrong", func(_ *Case, good []byte) []byte {
			der := slices.Clone(good)
			der[len(der)-1] ^= 1
			return der
		}),
		broken("no version", body(func(_ *Case, parts [][]byte) { parts[0] = nil })),
		broken("no subject", body(func(_ *Case, parts [][]byte) { parts[1] = nil })),
		broken("no public key", body(func(_ *Case, parts [][]byte) { parts[2] = nil })),
		broken("a public key without bits", body(func(_ *Case, parts [][]byte) {
			parts[2] = tlv(0x30, tlv(0x30, tlv(6, []byte{42})), tlv(3, []byte{0}))
		})),
		broken("attributes that are garbage", attributes([]byte("garbage"))),
		broken("an attribute that is a number", attributes(tlv(2, []byte{1}))),
		broken("half a list of names", attributes(tlv(0x30, asked))),
		broken("names that are garbage", attributes(tlv(0x30, asked, tlv(0x31, tlv(2, []byte{1}))))),
		broken("something behind the attributes", body(func(_ *Case, parts [][]byte) { parts[3] = append(slices.Clone(parts[3]), 5, 0) })),
		broken("no signature", func(_ *Case, good []byte) []byte { return tlv(0x30, children(good)[0], ecdsaSHA256) }),
		{"names twice", body(func(c *Case, parts [][]byte) {
			list := tlv(0x30, sanOf(c.Host), sanOf(c.Host))
			parts[3] = tlv(0xa0, tlv(0x30, asked, tlv(0x31, list)))
		}), "", ""},
		{"a password for the CA", body(func(c *Case, parts [][]byte) {
			secret := tlv(0x30, []byte("\x06\x09\x2a\x86\x48\x86\xf7\x0d\x01\x09\x07"), tlv(0x31, tlv(12, []byte("hunter2"))))
			parts[3] = tlv(0xa0, secret, tlv(0x30, asked, tlv(0x31, tlv(0x30, sanOf(c.Host)))))
		}), "", ""},
	}
}

func derKinds() []Kind {
	var kinds []Kind
	add := func(label string, octets *Carrier, text *Carrier, faults ...derFault) {
		for _, f := range faults {
			kinds = append(kinds, derKind(f, octets, func(der []byte) []byte { return der }, f.octets))
			kinds = append(kinds, derKind(f, text, func(der []byte) []byte { return []byte(toPEM(label, der)) }, f.text))
		}
	}
	add("CERTIFICATE", certDER, chainPEM, slices.Concat(frames(), bodies(), odd())...)
	add("CERTIFICATE REQUEST", csrDER, csrPEM, slices.Concat(frames(), requests())...)
	add("PUBLIC KEY", keyDER, keyPEM, frames()...)
	return kinds
}

func derKind(f derFault, carrier *Carrier, wrap func([]byte) []byte, reason string) Kind {
	k := Kind{
		Name: carrier.Name + " of: " + f.name, Carrier: carrier, Fresh: reason, Over: reason,
		Content: func(c *Case, _ []byte) []byte {
			good := c.Evil.Cert
			switch carrier {
			case csrDER, csrPEM:
				good = c.Evil.CSR
			case keyDER, keyPEM:
				good = c.Evil.SPKI
			}
			return wrap(f.do(c, good))
		},
	}
	if reason == "" {
		k.Gives = ItsKey
	}
	return k
}

// rsaKey is a public key that nobody has the private half of: its modulus is an odd number.
func rsaKey(bits int, fill byte) []byte {
	n := append([]byte{0, 0xc1}, bytes.Repeat([]byte{fill | 1}, bits/8-1)...)
	return tlv(0x30, []byte("\x30\x0d\x06\x09\x2a\x86\x48\x86\xf7\x0d\x01\x01\x01\x05\x00"),
		tlv(3, []byte{0}, tlv(0x30, tlv(2, n), tlv(2, []byte{1, 0, 1}))))
}

// rivals are, behind a good chain, as many authorities of one name with large keys and as many certificates of that name's, none
// by any of them: each pair is to be checked, and none of it is quick.
func rivals(c *Case, n, bits int) []byte {
	const sha256WithRSA = "\x30\x0d\x06\x09\x2a\x86\x48\x86\xf7\x0d\x01\x01\x0b\x05\x00"
	name := func(s string) []byte {
		return tlv(0x30, tlv(0x31, tlv(0x30, []byte("\x06\x03\x55\x04\x03"), tlv(12, []byte(s)))))
	}
	text := chain(c, c.Evil)
	for i := range 2 * n {
		parts := children(children(c.Evil.Cert)[0])
		parts[atAlgorithm], parts[atIssuer], parts[atExtensions] = []byte(sha256WithRSA), name("rival"), nil
		parts[atSubject] = name("rival")
		if i >= n {
			parts[atSubject] = name(fmt.Sprint("child ", i))
		}
		parts[atKey] = rsaKey(bits, byte(2*i))
		signature := bytes.Repeat([]byte{byte(i)}, bits/8)
		text = append(text, toPEM("CERTIFICATE", tlv(0x30, tlv(0x30, parts...), []byte(sha256WithRSA), tlv(3, []byte{0}, signature)))...)
	}
	return text
}

package hostiletest

import (
	"bytes"
	"compress/gzip"
	"encoding/json"
	"strings"
	"unicode/utf16"
)

// The reasons of problems, as certdir spells them.
const (
	malformed  = "malformed"
	truncated  = "truncated"
	empty      = "empty"
	tooLarge   = "too-large"
	replaced   = "no-certificate"
	unreadable = "unreadable"
	notRegular = "not-regular"
)

// A textFault is something that happens to a file in PEM.
type textFault struct {
	name string
	do   func(text string) string
	// fresh and over are what must be told; "" with gives Nothing is a file that is passed over.
	fresh, over string
	gives       string
}

func bad(name, reason string, do func(string) string) textFault {
	return textFault{name: name, do: do, fresh: reason, over: reason}
}

// foreign is whole, and of a kind that is nobody's business here: a problem only where a certificate stood before.
func foreign(name, text string) textFault {
	return textFault{name: name, do: func(string) string { return text }, over: replaced}
}

func fine(name string, do func(string) string) textFault {
	return textFault{name: name, do: do, gives: ItsKey}
}

func constant(text string) func(string) string { return func(string) string { return text } }

// target finds the first block that is no private key.
func target(text string) (start, end int) {
	for at := 0; ; {
		start = at + strings.Index(text[at:], "-----BEGIN ")
		end = start + strings.Index(text[start:], "-----END ")
		end += strings.Index(text[end:], "\n") + 1
		if !strings.HasPrefix(text[start:], "-----BEGIN PRIVATE") {
			return start, end
		}
		at = end
	}
}

// within changes the first block that is no private key.
func within(do func(block string) string) func(string) string {
	return func(text string) string {
		start, end := target(text)
		return text[:start] + do(text[start:end]) + text[end:]
	}
}

// line changes line n of a block, counted from its BEGIN line as 0.
func line(n int, do func(string) string) func(string) string {
	return within(func(block string) string {
		all := strings.SplitAfter(block, "\n")
		all[n] = do(all[n])
		return strings.Join(all, "")
	})
}

func replace(from, to string) func(string) string {
	return func(text string) string { return strings.ReplaceAll(text, from, to) }
}

func textFaults() []textFault {
	return append(append(append(cuts(), swaps()...), bombs()...), strangers()...)
}

// cuts are files that are not all there.
func cuts() []textFault {
	return []textFault{
		bad("no octets", empty, constant("")),
		bad("a line feed, as acme.sh leaves it", empty, constant("\n")),
		bad("white space only", empty, constant(" \r\n\t \n")),
		bad("zeros, as a crash leaves them", malformed, constant(strings.Repeat("\x00", 4096))),
		bad("a hole behind it", truncated, func(s string) string { return s + strings.Repeat("\x00", 512) }),
		bad("a hole inside", truncated, line(2, func(s string) string { return strings.Repeat("\x00", len(s)-1) + "\n" })),
		bad("a cut in BEGIN", truncated, within(func(s string) string { return s[:15] })),
		bad("a cut in the base64", truncated, within(func(s string) string { return s[:110] })),
		bad("a cut in END", truncated, func(s string) string { return strings.TrimSuffix(s, "--\n") }),
		bad("one octet of it", malformed, constant("A")),
		bad("a digit less", truncated, line(2, func(s string) string { return s[1:] })),
		bad("a line of base64 less", malformed, line(2, constant(""))),
		bad("a line of base64 twice", malformed, line(1, func(s string) string { return s + s })),
		bad("only dashes", truncated, constant("-----")),
	}
}

// swaps are lines and characters that are not what they should be.
func swaps() []textFault {
	begin := func(s string) string { return strings.Replace(s, "-----BEGIN ", "----BEGIN ", 1) }
	end := func(s string) string { return s[:strings.Index(s, "-----END ")] }
	return []textFault{
		bad("a character that is no base64", truncated, line(2, func(s string) string { return "!" + s[1:] })),
		bad("base64 for URLs", truncated, line(2, func(s string) string { return "_-" + s[2:] })),
		bad("padding in the middle", truncated, line(2, func(s string) string { return "A===" + s[4:] })),
		bad("END of another type", truncated, within(replace("-----END ", "-----END X509 "))),
		bad("BEGIN of another type", truncated, within(replace("-----BEGIN ", "-----BEGIN X509 "))),
		bad("no END", truncated, within(end)),
		bad("no BEGIN", truncated, line(0, constant(""))),
		bad("two BEGINs", truncated, line(0, func(s string) string { return s + s })),
		bad("two ENDs", truncated, within(func(s string) string { return s + s[strings.Index(s, "-----END "):] })),
		bad("END before BEGIN", truncated, within(func(s string) string { return s[strings.Index(s, "-----END "):] + end(s) })),
		bad("a block in a block", truncated, line(2, func(s string) string {
			return "-----BEGIN CERTIFICATE-----\n" + s + "-----END CERTIFICATE-----\n"
		})),
		bad("four dashes", truncated, within(begin)),
		bad("no type", truncated, line(0, constant("-----BEGIN -----\n"))),
		bad("a byte order mark", truncated, func(s string) string { return "\ufeff" + s }),
		bad("indented", truncated, func(s string) string { return "  " + strings.ReplaceAll(s, "\n", "\n  ") }),
		bad("bare carriage returns", truncated, replace("\n", "\r")),
		bad("two blocks without a line feed between", truncated, func(s string) string { return strings.TrimSpace(s) + s }),
		bad("small letters in its frame", malformed, func(s string) string {
			return strings.NewReplacer("BEGIN", "begin", "END", "end").Replace(strings.ReplaceAll(s, "-----", "----"))
		}),
		bad("UTF-16", malformed, func(s string) string {
			var b bytes.Buffer
			for _, u := range utf16.Encode([]rune("\ufeff" + s)) {
				b.Write([]byte{byte(u), byte(u >> 8)})
			}
			return b.String()
		}),
		bad("a block of nothing", malformed, within(func(s string) string {
			return s[:strings.Index(s, "\n")+1] + s[strings.Index(s, "-----END "):]
		})),
		bad("PEM in the base64 of PEM", malformed, within(func(s string) string {
			label := s[len("-----BEGIN "):strings.Index(s, "-----\n")]
			return toPEM(label, []byte(s))
		})),
		bad("a certificate that is a text", malformed, within(func(s string) string {
			return toPEM(s[len("-----BEGIN "):strings.Index(s, "-----\n")], []byte("not a certificate"))
		})),
		fine("carriage returns and line feeds", replace("\n", "\r\n")),
		fine("white space behind its lines", replace("\n", " \t\n")),
		fine("one endless line", within(func(s string) string {
			head, rest, _ := strings.Cut(s, "\n")
			body, tail, _ := strings.Cut(rest, "-----END ")
			return head + "\n" + strings.ReplaceAll(body, "\n", "") + "\n-----END " + tail
		})),
		fine("text around it", func(s string) string { return "Bag Attributes\n  localKeyID: 01\nsubject=CN=x\n" + s + "# the end\n" }),
		fine("terminal escapes around it", func(s string) string { return "\x1b]0;owned\x07\x1b[2J\n" + s + "\x1b[31m\n" }),
		fine("octets of Latin-1 around it", func(s string) string { return "Z\xfcrich\n" + s }),
		fine("no line feed at its end", func(s string) string { return strings.TrimSuffix(s, "\n") }),
	}
}

// bombs are files that cost more than they are worth, and files at the limit.
func bombs() []textFault {
	const most = 1 << 20
	return []textFault{
		bad("257 blocks", tooLarge, func(s string) string {
			start, end := target(s)
			return s + strings.Repeat(s[start:end], 257)
		}),
		bad("a block over 64 KiB", tooLarge, within(func(s string) string {
			return toPEM(s[len("-----BEGIN "):strings.Index(s, "-----\n")], make([]byte, 64<<10+1))
		})),
		bad("an octet over 1 MiB", tooLarge, func(s string) string { return s + strings.Repeat("\n", most-len(s)+1) }),
		bad("1 MiB of BEGIN lines", truncated, func(s string) string { return strings.Repeat("-----BEGIN A-----\n", most/18-1) }),
		bad("1 MiB of END lines", truncated, func(s string) string { return strings.Repeat("-----END A-----\n", most/16-1) }),
		fine("1 MiB of dashes", func(s string) string { return s + strings.Repeat("-", most-len(s)) }),
		bad("1 MiB of base64 without END", truncated, func(s string) string {
			return "-----BEGIN CERTIFICATE-----\n" + strings.Repeat("A", most-100)
		}),
		bad("1 MiB of random text", malformed, constant(strings.Repeat("all work and no play\n", most/21))),
		{
			name: "30,000 blocks of nobody", do: constant(strings.Repeat("-----BEGIN A-----\n-----END A-----\n", 30_000)),
			fresh: tooLarge, over: tooLarge,
		},
		fine("1 MiB of line feeds behind it", func(s string) string { return s + strings.Repeat("\n", most-len(s)) }),
		fine("1 MiB of line feeds before it", func(s string) string { return strings.Repeat("\n", most-len(s)) + s }),
		fine("100,000 blank lines in it", line(1, func(s string) string { return s + strings.Repeat("\n", 100_000) })),
		fine("a line of 900 KB before it", func(s string) string { return strings.Repeat("x", 900_000) + "\n" + s }),
		fine("200 blocks of nobody before it", func(s string) string {
			return strings.Repeat("-----BEGIN A-----\n-----END A-----\n", 200) + s
		}),
	}
}

// strangers are files of other kinds.
func strangers() []textFault {
	var zipped bytes.Buffer
	z := gzip.NewWriter(&zipped)
	_, _ = z.Write([]byte(strings.Repeat("A", 1<<20)))
	_ = z.Close()
	return []textFault{
		bad("a gzip bomb", malformed, constant(zipped.String())),
		bad("a web page", malformed, constant("<!DOCTYPE html><title>502 Bad Gateway</title>\n")),
		bad("an error message", malformed, constant("cat: /etc/letsencrypt/live/x/fullchain.pem: Permission denied\n")),
		bad("a pointer of git-lfs", malformed, constant("version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 12345\n")),
		bad("an Ansible vault", malformed, constant("$ANSIBLE_VAULT;1.1;AES256\n3661\n")),
		bad("an SSH2 key", malformed, constant("---- BEGIN SSH2 PUBLIC KEY ----\nAAAA\n---- END SSH2 PUBLIC KEY ----\n")),
		bad("an OpenSSH line", malformed, constant("ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAA root@mail\n")),
		bad("a template that was not filled in", malformed, constant("{{ .Certificate }}\n")),
		bad("a script", malformed, constant("#!/bin/sh\nrm -rf /\n")),
		bad("a hash of nothing", malformed, constant("e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855\n")),
		bad("a TLSA record", malformed, constant("_25._tcp.mail IN TLSA 3 1 1 e3b0c44298fc1c149afbf4c8996fb924\n")),
		{name: "JSON around it, as of Traefik", do: func(s string) string {
			return string(must(json.Marshal(map[string]string{"certificate": s})))
		}, over: replaced},
		foreign("a PGP key", "-----BEGIN PGP PUBLIC KEY BLOCK-----\n\nmQENBF\n-----END PGP PUBLIC KEY BLOCK-----\n"),
		foreign("PKCS #7", toPEM("PKCS7", tlv(0x30, tlv(6, []byte("\x2a\x86\x48\x86\xf7\x0d\x01\x07\x02"))))),
		foreign("a revocation list", toPEM("X509 CRL", nested(9))),
		foreign("parameters", toPEM("DH PARAMETERS", tlv(0x30, tlv(2, []byte{23}), tlv(2, []byte{2})))),
		foreign("a private key alone", toPEM("PRIVATE KEY", nested(9))),
		foreign("an encrypted private key", toPEM("ENCRYPTED PRIVATE KEY", nested(9))),
		foreign("an OpenSSH private key", toPEM("OPENSSH PRIVATE KEY", []byte("openssh-key-v1"))),
		{name: "a type with a space behind it", do: func(s string) string {
			return strings.NewReplacer("CERTIFICATE-", "CERTIFICATE -", "REQUEST-", "REQUEST -", "PUBLIC KEY-", "PUBLIC KEY -").Replace(s)
		}, over: replaced},
		{name: "a type with an escape in it", do: func(s string) string {
			return strings.NewReplacer("CERTIFICATE", "\x1b[31mCERT", "PUBLIC KEY", "\x1b[31mKEY").Replace(s)
		}, over: replaced},
		fine("parameters before it", func(s string) string {
			return toPEM("DH PARAMETERS", tlv(0x30, tlv(2, []byte{23}), tlv(2, []byte{2}))) + s
		}),
		fine("an encrypted key behind it", func(s string) string { return s + toPEM("ENCRYPTED PRIVATE KEY", nested(9)) }),
		fine("a private key of nothing behind it", func(s string) string { return s + toPEM("EC PRIVATE KEY", nil) }),
		fine("headers as of an encrypted block", line(0, func(s string) string {
			return s + "Proc-Type: 4,ENCRYPTED\nDEK-Info: AES-128-CBC,00\n\n"
		})),
		fine("it twice", func(s string) string { return s + s }),
	}
}

// textKinds are the text faults in every form of PEM that takes a way of its own through the code.
func textKinds() []Kind {
	var kinds []Kind
	for _, carrier := range []*Carrier{chainPEM, combined, csrPEM, keyPEM} {
		for _, f := range textFaults() {
			kinds = append(kinds, Kind{
				Name: carrier.Name + ": " + f.name, Carrier: carrier, Fresh: f.fresh, Over: f.over, Gives: f.gives,
				Content: func(_ *Case, good []byte) []byte { return []byte(f.do(string(good))) },
			})
		}
	}
	return kinds
}

// layoutKinds are what clients leave when they are interrupted, in the layout of each.
func layoutKinds() []Kind {
	var kinds []Kind
	for _, carrier := range layouts() {
		for _, f := range textFaults() {
			switch f.name {
			case "no octets", "a cut in the base64", "zeros, as a crash leaves them", "a web page", "a private key alone", "257 blocks", "it twice":
				kinds = append(kinds, Kind{
					Name: carrier.Name + ": " + f.name, Carrier: carrier, Fresh: f.fresh, Over: f.over, Gives: f.gives,
					Content: func(_ *Case, good []byte) []byte { return []byte(f.do(string(good))) },
				})
			}
		}
	}
	return kinds
}

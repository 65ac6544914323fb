package certdir

import (
	"os"
	"path/filepath"
	"testing"
)

// The whole trees of the programs that get certificates, account keys, challenges, backups and archives included, and a
// renewal in the order in which each writes. What must be known is all of it: lineages without a leaf are private keys.

// at writes below a directory, which is named once.
func at(t *testing.T, dir string, files ...string) {
	t.Helper()
	for i := 0; i < len(files); i += 2 {
		write(t, dir+"/"+files[i], files[i+1])
	}
}

// one makes a step out of what writes files.
func one(want string, do func(t *testing.T, p *pki, dir string)) step { return step{do, want} }

func clientTrees() map[string]scenario {
	return map[string]scenario{
		"certbot: live":             certbotTree("live"),
		"certbot: /etc/letsencrypt": certbotTree("."),
		"certbot: one of live":      certbotTree("live/a"),
		"acme.sh":                   acmeshTree(),
		"lego":                      legoTree(),
		"Caddy":                     caddyTree(),
		"dehydrated":                dehydratedTree(),
		"getssl":                    getsslTree(),
		"uacme":                     uacmeTree(),
		"step":                      stepTree(),
		"autocert":                  autocertTree(),
	}
}

// certbotTree is /etc/letsencrypt with one lineage that reuses its key and one that does not.
func certbotTree(root string) scenario {
	const sub = "live/"
	want := func(a, b string) string {
		line := sub + "a/a; " + a + " cert.pem fullchain.pem"
		if root != "live/a" {
			line += "\n" + sub + "b/b; " + b + " cert.pem fullchain.pem"
		}
		return line
	}
	return scenario{roots: []string{root}, steps: []step{
		one(want("a1", "b1"), func(t *testing.T, p *pki, dir string) {
			certbot(t, dir, "a", 1, p.issue("a1"), p.chain)
			certbot(t, dir, "b", 1, p.issue("b1"), p.chain)
			x := p.issue("x")
			at(t, dir, "accounts/acme-v02.api.letsencrypt.org/directory/1f/private_key.json", "{}",
				"accounts/acme-v02.api.letsencrypt.org/directory/1f/private_key.pem", x.key,
				"renewal/a.conf", "archive_dir = /etc", "renewal-hooks/deploy/hook.sh", "#!/bin/sh", "live/README", "do not",
				"csr/0000_csr-certbot.pem", x.csr, "keys/0000_key-certbot.pem", x.key, "cli.ini", "max-log-backups = 0",
				"ssl-dhparams.pem", parameters, "options-ssl-nginx.conf", "ssl_protocols TLSv1.2;", "archive/gone/cert1.pem", x.cert)
		}),
		one(want("a2", "b1"), func(t *testing.T, p *pki, dir string) {
			for _, kind := range []string{"cert", "privkey", "chain", "fullchain"} {
				link(t, "../../archive/a/"+kind+"1.pem", dir+"/live/a/previous_"+kind+".pem")
			}
			certbot(t, dir, "a", 2, p.issue("a2"), p.chain)
			link(t, "privkey1.pem", dir+"/archive/b/privkey2.pem")
		}),
		one(want("a2", "b2"), func(t *testing.T, p *pki, dir string) {
			for _, kind := range []string{"cert", "privkey", "chain", "fullchain"} {
				ok(t, os.Remove(dir+"/live/a/previous_"+kind+".pem"))
			}
			c := p.issue("b2")
			at(t, dir+"/archive/b", "cert2.pem", c.cert, "chain2.pem", p.chain, "fullchain2.pem", c.fullchain)
			for _, kind := range []string{"cert", "privkey", "chain", "fullchain"} {
				certbotLink(t, dir, "b", kind, 2) // privkey2.pem is a link to the key that is reused
			}
		}),
		one(want("a1", "b2"), func(t *testing.T, _ *pki, dir string) { // a failed renewal links back (certbot#10655)
			for _, kind := range []string{"cert", "privkey", "chain", "fullchain"} {
				certbotLink(t, dir, "a", kind, 1)
			}
		}),
	}}
}

const parameters = "-----BEGIN DH PARAMETERS-----\nMAYCAQUCAQI=\n-----END DH PARAMETERS-----\n"

func acmeshTree() scenario {
	return scenario{next: []string{"next"}, steps: []step{
		one("certs/a.example/a.example; a1 a.example.cer fullchain.cer\ncerts/a.example_ecc/a.example; e1 a.example.cer fullchain.cer",
			func(t *testing.T, p *pki, dir string) {
				x := p.issue("x")
				at(t, dir+"/certs", "acme.sh", "BEGIN_CERT=\"-----BEGIN CERTIFICATE-----\"\n", "acme.sh.env", "export LE", "account.conf", "x",
					"ca/acme-v02.api.letsencrypt.org/directory/account.key", x.key,
					"ca/acme-v02.api.letsencrypt.org/directory/account.json", "{}", "ca/acme-v02.api.letsencrypt.org/directory/ca.conf", "x",
					"dnsapi/dns_nsupdate.sh", "#!/bin/sh", "deploy/docker.sh", "#!/bin/sh", "http.header", "HTTP/2 200")
				ok(t, os.MkdirAll(dir+"/next", 0o755))
				acmesh(t, dir+"/certs/a.example", "a.example", p.issue("a1"), p.chain)
				acmesh(t, dir+"/certs/a.example_ecc", "a.example", p.issue("e1"), p.chain)
				at(t, dir+"/certs/a.example", "a.example.cer.tmp", x.cert, "fullchain.cer.alt", x.fullchain, "backup/cert.bak", x.cert,
					"backup/key.bak", x.key, "backup/fullchain.bak", x.fullchain, "a.example.pfx", "pfx", "a.example.pkcs8", x.key)
			}),
		// The next key's public half is staged, then --always-force-new-domain-key puts the key in place before the order.
		one("certs/a.example/a.example; a1 a.example.cer fullchain.cer\ncerts/a.example_ecc/a.example; e1 a.example.cer fullchain.cer\n"+
			"next/a.example; key of n1 a.example.pub.pem", func(t *testing.T, p *pki, dir string) {
			n := p.issue("n1")
			at(t, dir, "next/a.example.pub.pem", n.public, "certs/a.example_ecc/a.example.key.next", n.key,
				"certs/a.example_ecc/a.example.key", n.key, "certs/a.example_ecc/a.example.csr", n.csr)
		}),
		one("certs/a.example/a.example; a1 a.example.cer fullchain.cer\ncerts/a.example_ecc/a.example; n1 a.example.cer fullchain.cer\n"+
			"next/a.example; key of n1 a.example.pub.pem", func(t *testing.T, p *pki, dir string) {
			acmesh(t, dir+"/certs/a.example_ecc", "a.example", p.again("n1"), p.chain)
			at(t, dir, "certs/a.example_ecc/a.example.key.next", "\n") // may be one newline only
		}),
	}}
}

// acmesh writes one order in acme.sh's order: key, request, the whole chain as .cer and as fullchain.cer, then .cer anew.
func acmesh(t *testing.T, dir, name string, c issued, chain string) {
	t.Helper()
	at(t, dir, name+".key", c.key, name+".csr.conf", "[req]", name+".csr", c.csr, name+".conf", "Le_Domain=x",
		name+".cer", c.fullchain, "fullchain.cer", c.fullchain, name+".cer", c.cert, "ca.cer", chain)
}

func legoTree() scenario {
	return scenario{steps: []step{
		one("certs/certificates/_.a.example; w1 _.a.example.crt\ncerts/certificates/a.example; a1 a.example.crt a.example.pem", func(t *testing.T, p *pki, dir string) {
			x := p.issue("x")
			at(t, dir+"/certs", "accounts/acme-v02.api.letsencrypt.org/me@a.example/account.json", "{}",
				"accounts/acme-v02.api.letsencrypt.org/me@a.example/keys/me@a.example.key", x.key, "archives/a.example.zip", "PK",
				"archives/a.example.crt", x.fullchain)
			lego(t, dir+"/certs/certificates", "a.example", p.issue("a1"), p.chain)
			c := p.issue("w1", "*.a.example")
			at(t, dir+"/certs/certificates", "_.a.example.crt", c.fullchain, "_.a.example.issuer.crt", p.chain, "_.a.example.key", c.key)
		}),
		one("certs/certificates/_.a.example; w1 _.a.example.crt\ncerts/certificates/a.example; a2 a.example.crt a.example.pem", func(t *testing.T, p *pki, dir string) {
			lego(t, dir+"/certs/certificates", "a.example", p.issue("a2"), p.chain)
		}),
	}}
}

func lego(t *testing.T, dir, name string, c issued, chain string) {
	t.Helper()
	at(t, dir, name+".crt", c.fullchain, name+".issuer.crt", chain, name+".key", c.key, name+".pem", c.fullchain+c.key,
		name+".pfx", "\x30\x82", name+".json", "{}")
}

func caddyTree() scenario {
	const le, zero = "certificates/acme-v02.api.letsencrypt.org-directory/", "certificates/acme.zerossl.com-v2-dv90/"
	return scenario{steps: []step{
		one("certs/"+le+"a.example/a.example; a1 a.example.crt\ncerts/"+le+"wildcard_.b.example/wildcard_.b.example; b1 wildcard_.b.example.crt\n"+
			"certs/"+zero+"a.example/a.example; z1 a.example.crt", func(t *testing.T, p *pki, dir string) {
			x := p.issue("x")
			at(t, dir+"/certs", "acme/acme-v02.api.letsencrypt.org-directory/users/me@a.example/me.key", x.key,
				"acme/acme-v02.api.letsencrypt.org-directory/users/me@a.example/me.json", "{}",
				"acme/acme-v02.api.letsencrypt.org-directory/challenge_tokens/a.example.json", "{}",
				"ocsp/a.example-0123abcd", "\x30\x03\x0a\x01\x00", "locks/issue_cert_a.example.lock", "{}", "last_clean.json", "{}",
				"instance.uuid", "3e", "pki/authorities/local/root.crt", p.chain, "pki/authorities/local/root.key", x.key,
				"pki/authorities/local/intermediate.crt", x.cert)
			caddy(t, dir+"/certs/"+le, "a.example", p.issue("a1"))
			caddy(t, dir+"/certs/"+le, "wildcard_.b.example", p.issue("b1", "*.b.example"))
			caddy(t, dir+"/certs/"+zero, "a.example", p.issue("z1"))
		}),
		one("certs/"+le+"a.example/a.example; a2 a.example.crt\ncerts/"+le+"wildcard_.b.example/wildcard_.b.example; b1 wildcard_.b.example.crt\n"+
			"certs/"+zero+"a.example/a.example; z1 a.example.crt", func(t *testing.T, p *pki, dir string) {
			in := dir + "/certs/" + le + "a.example/"
			ok(t, os.Rename(in+"a.example.key", in+"a.example.key.compromised"))
			write(t, in+"a.example.crt.compromised", p.issue("x").fullchain)
			caddy(t, dir+"/certs/"+le, "a.example", p.issue("a2"))
			write(t, dir+"/certs/locks/issue_cert_a.example.lock", "{ }")
		}),
	}}
}

// caddy writes each file aside under a name of digits, then renames it: key, certificate, description.
func caddy(t *testing.T, dir, name string, c issued) {
	t.Helper()
	for _, f := range [][2]string{{".key", c.key}, {".crt", c.fullchain}, {".json", "{}"}} {
		aside := filepath.Join(dir, name, "3141592653")
		write(t, aside, f[1])
		ok(t, os.Rename(aside, filepath.Join(dir, name, name+f[0])))
	}
}

func dehydratedTree() scenario {
	return scenario{next: []string{"next"}, steps: []step{
		one("certs/certs/a.example/a.example; a1 cert.pem fullchain.pem\nnext/a.example; key of n1 a.example.pub.pem", func(t *testing.T, p *pki, dir string) {
			x := p.issue("x")
			at(t, dir+"/certs", "accounts/aHR0cHM6/account_key.pem", x.key, "accounts/aHR0cHM6/registration_info.json", "{}",
				"archive/a.example/cert-1600000000.pem", x.cert, "alpn-certs/a.example.crt.pem", p.issue("challenge").cert,
				"alpn-certs/a.example.key.pem", x.key, "chains/0a1b2c3d.chain", p.chain, "config", "CA=letsencrypt", "domains.txt", "a.example",
				"hook.sh", "#!/bin/sh", "lock", "", "certs/a.example/cert-1600000000.pem", x.cert, "certs/a.example/cert.pem-revoked", x.cert)
			dehydrated(t, dir+"/certs/certs/a.example", "1700000000", p.issue("a1"), p.chain)
			at(t, dir, "certs/certs/a.example/privkey.roll.pem", p.issue("n1").key, "next/a.example.pub.pem", p.again("n1").public)
		}),
		one("certs/certs/a.example/a.example; n1 cert.pem fullchain.pem\nnext/a.example; key of n1 a.example.pub.pem", func(t *testing.T, p *pki, dir string) {
			dehydrated(t, dir+"/certs/certs/a.example", "1800000000", p.again("n1"), p.chain)
		}),
	}}
}

func dehydrated(t *testing.T, dir, stamp string, c issued, chain string) {
	t.Helper()
	at(t, dir, "privkey-"+stamp+".pem", c.key, "cert-"+stamp+".csr", c.csr, "cert-"+stamp+".pem", c.fullchain,
		"fullchain-"+stamp+".pem", c.fullchain, "chain-"+stamp+".pem", chain, "cert-"+stamp+".pem", c.cert, "ocsp-"+stamp+".der", "\x30\x00")
	for _, kind := range []string{"privkey.pem", "chain.pem", "fullchain.pem", "cert.csr", "cert.pem", "ocsp.der"} {
		ext := filepath.Ext(kind)
		aside := filepath.Join(dir, "CuAb12cD") // as GNU ln -sf does
		ok(t, os.Symlink(kind[:len(kind)-len(ext)]+"-"+stamp+ext, aside))
		ok(t, os.Rename(aside, filepath.Join(dir, kind)))
	}
}

func getsslTree() scenario {
	return scenario{steps: []step{
		one("certs/a.example/a.example; a1 a.example.crt fullchain.crt; e1 a.example.ec.crt fullchain.ec.crt", func(t *testing.T, p *pki, dir string) {
			x := p.issue("x")
			at(t, dir+"/certs", "account.key", x.key, "getssl.cfg", "CA=x", "a.example/getssl.cfg", "SANS=x", "a.example/tmp/a.example_K_C.pem", x.key+x.cert,
				"a.example/archive/2026_01_02_03_04/a.example.crt", x.cert)
			getssl(t, dir+"/certs/a.example", "a.example", "", p.issue("a1"), p.chain)
			getssl(t, dir+"/certs/a.example", "a.example", ".ec", p.issue("e1"), p.chain)
		}),
		// REUSE_PRIVATE_KEY=false: the key is new before there is an order, which may fail.
		one("certs/a.example/a.example; a1 a.example.crt fullchain.crt; e1 a.example.ec.crt fullchain.ec.crt", func(t *testing.T, p *pki, dir string) {
			ok(t, os.Remove(dir+"/certs/a.example/a.example.key"))
			write(t, dir+"/certs/a.example/a.example.key", p.issue("a2").key)
		}),
		one("certs/a.example/a.example; e1 a.example.ec.crt fullchain.ec.crt; a2 a.example.crt fullchain.crt", func(t *testing.T, p *pki, dir string) {
			getssl(t, dir+"/certs/a.example", "a.example", "", p.again("a2"), p.chain)
		}),
	}}
}

func getssl(t *testing.T, dir, name, kind string, c issued, chain string) {
	t.Helper()
	at(t, dir, name+kind+".key", c.key, name+kind+".csr", c.csr, name+kind+".crt", c.cert, "chain"+kind+".crt", chain,
		"fullchain"+kind+".crt", c.fullchain)
}

func uacmeTree() scenario {
	return scenario{steps: []step{
		one("certs/a.example/a.example; a1 cert.pem\ncerts/private/a.example/a.example\ncerts/private/private", func(t *testing.T, p *pki, dir string) {
			c := p.issue("a1")
			at(t, dir+"/certs", "private/key.pem", p.issue("x").key, "private/a.example/key.pem", c.key, "a.example/cert.pem", c.fullchain)
		}),
		one("certs/a.example/a.example; a2 cert.pem\ncerts/private/a.example/a.example\ncerts/private/private", func(t *testing.T, p *pki, dir string) {
			c := p.issue("a2")
			in := dir + "/certs/a.example/"
			at(t, dir+"/certs", "private/a.example/newkey.pem", c.key, "a.example/cert.pem.tmp", c.fullchain)
			ok(t, os.Link(in+"cert.pem", in+"cert-1700000000.pem"))
			ok(t, os.Rename(in+"cert.pem.tmp", in+"cert.pem"))
			key := dir + "/certs/private/a.example/"
			ok(t, os.Link(key+"key.pem", key+"key-1700000000.pem"))
			ok(t, os.Rename(key+"newkey.pem", key+"key.pem"))
		}),
	}}
}

func stepTree() scenario {
	return scenario{steps: []step{
		one("certs/certs/mail; m1 mail.crt", func(t *testing.T, p *pki, dir string) {
			c := p.issue("m1")
			at(t, dir+"/certs", "certs/root_ca.crt", p.chain, "certs/intermediate_ca.crt", p.chain, "config/defaults.json", "{}",
				"certs/mail.crt", c.fullchain, "certs/mail.key", c.key)
		}),
		one("certs/certs/mail; m2 mail.crt", func(t *testing.T, p *pki, dir string) { // rekey: certificate, then key
			c := p.issue("m2")
			at(t, dir+"/certs/certs", "mail.crt", c.fullchain, "mail.key", c.key)
		}),
	}}
}

func autocertTree() scenario {
	return scenario{steps: []step{
		one("certs/a.example; a1 a.example\ncerts/a.example+rsa; r1 a.example+rsa\ncerts/mail.b.md; b1 mail.b.md", func(t *testing.T, p *pki, dir string) {
			x, challenge := p.issue("x"), p.issue("challenge")
			for _, f := range [][2]string{{"acme_account+key", x.key}, {"a.example+token", challenge.key + challenge.cert}, {"LoqXcYV8+http-01", "LoqXcYV8.9jg4"}} {
				autocert(t, dir+"/certs/", f[0], f[1])
			}
			for name, c := range map[string]issued{"a.example": p.issue("a1"), "a.example+rsa": p.issue("r1"), "mail.b.md": p.issue("b1")} {
				autocert(t, dir+"/certs/", name, c.key+c.fullchain)
			}
			at(t, dir+"/certs", "a.example3141592653", x.key+x.fullchain) // left by a crash
		}),
		one("certs/a.example; a2 a.example\ncerts/a.example+rsa; r1 a.example+rsa\ncerts/mail.b.md; b1 mail.b.md", func(t *testing.T, p *pki, dir string) {
			c := p.issue("a2")
			autocert(t, dir+"/certs/", "a.example", c.key+c.fullchain)
		}),
	}}
}

func autocert(t *testing.T, dir, name, data string) {
	t.Helper()
	write(t, dir+name+"271828182", data)
	ok(t, os.Rename(dir+name+"271828182", dir+name))
}

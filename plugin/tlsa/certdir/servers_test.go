package certdir

import (
	"os"
	"strings"
	"testing"
)

// The directories of servers that keep certificates, and what container systems and copying programs make of a directory.

func serverTrees() map[string]scenario {
	return map[string]scenario{
		"HAProxy":         haproxyTree(),
		"Postfix":         postfixTree(),
		"mailcow":         mailcowTree(),
		"Mail-in-a-Box":   mailInABoxTree(),
		"cPanel":          cpanelTree(),
		"Plesk":           pleskTree(),
		"a SPIFFE helper": spiffeTree(),
	}
}

func mountedTrees() map[string]scenario {
	return map[string]scenario{
		"Kubernetes":                    kubernetesTree(),
		"Docker secrets":                dockerTree(),
		"Traefik's mounted files":       traefikTree(),
		"Vault Agent":                   vaultTree(),
		"rsync, scp and Syncthing":      copiedTree(),
		"systemd credentials":           {steps: []step{one("certs/mail; m1 mail", func(t *testing.T, p *pki, dir string) { write(t, dir+"/certs/mail", p.issue("m1").fullchain) })}},
		"copies of certbot's own links": certbotCopyTree(),
	}
}

// haproxyTree is a `crt` directory: several leaves in one file, bundles by suffix, and what HAProxy reads beside them.
func haproxyTree() scenario {
	want := "certs/c; c1 c.pem.ecdsa; c2 c.pem.rsa\ncerts/many; m1 many.pem; m2 many.pem\ncerts/site; s1 site.pem"
	return scenario{steps: []step{
		one(want, func(t *testing.T, p *pki, dir string) {
			s, m1, m2, c1, c2 := p.issue("s1"), p.issue("m1"), p.issue("m2"), p.issue("c1"), p.issue("c2")
			at(t, dir+"/certs", "site.pem", s.key+s.fullchain, "site.pem.ocsp", "\x30\x00", "site.pem.issuer", p.chain, "site.pem.sctl", "sct",
				"many.pem", m1.key+m1.cert+m2.key+m2.cert+p.chain, "c.pem.ecdsa", c1.key+c1.fullchain, "c.pem.rsa", c2.fullchain, "c.pem.rsa.key", c2.key,
				"c.pem.rsa.ocsp", "\x30\x00", "c.pem.rsa.issuer", p.chain, ".hidden.pem", p.issue("x").fullchain, "crt-list.txt", "site.pem", "dh.pem", parameters)
		}),
		one(strings.Replace(want, "s1", "s2", 1), func(t *testing.T, p *pki, dir string) {
			s := p.issue("s2")
			write(t, dir+"/certs/site.pem", s.key+s.fullchain)
		}),
	}}
}

// postfixTree is smtpd_tls_chain_files in one file: key first, then leaf and chain, several times.
func postfixTree() scenario {
	return scenario{roots: []string{"certs/chains.pem"}, steps: []step{
		one("certs/chains; r1 chains.pem; e1 chains.pem; d1 chains.pem", func(t *testing.T, p *pki, dir string) {
			r, e, d := p.issue("r1"), p.issue("e1"), p.issue("d1")
			at(t, dir+"/certs", "chains.pem", r.key+r.fullchain+e.key+e.fullchain+d.key+d.fullchain, "other.pem", p.issue("x").fullchain)
		}),
		one("certs/chains; r1 chains.pem; d1 chains.pem; e2 chains.pem", func(t *testing.T, p *pki, dir string) {
			r, e, d := p.again("r1"), p.issue("e2"), p.again("d1")
			replace(t, dir+"/certs/chains.pem", r.key+r.fullchain+e.key+e.fullchain+d.key+d.fullchain)
		}),
	}}
}

func mailcowTree() scenario {
	want := func(top, san string) string {
		return "certs/acme/acme\ncerts/certs; " + top + " cert.pem\ncerts/mail.b.example/mail.b.example; " + san + " cert.pem"
	}
	return scenario{steps: []step{
		one(want("m1", "b1"), func(t *testing.T, p *pki, dir string) {
			m, b, x := p.issue("m1"), p.issue("b1"), p.issue("x")
			at(t, dir+"/certs", "cert.pem", m.fullchain, "key.pem", m.key, "dhparams.pem", parameters, "acme/account.pem", x.key, "acme/key.pem", m.key,
				"acme/acme.csr", m.csr, "mail.b.example/cert.pem", b.fullchain, "mail.b.example/key.pem", m.key, "mail.b.example/domains", "mail.b.example",
				"mail.b.example/acme.csr", b.csr, "backups/mail.b.example/2026-01-02T03_04_05Z/cert.pem", x.fullchain)
		}),
		one(want("m2", "b2"), func(t *testing.T, p *pki, dir string) {
			b, m := p.issue("b2"), p.issue("m2")
			ok(t, os.Remove(dir+"/certs/mail.b.example/cert.pem")) // mv from another file system
			at(t, dir+"/certs", "mail.b.example/cert.pem", b.fullchain, "cert.pem", m.fullchain, "key.pem", m.key)
		}),
	}}
}

func mailInABoxTree() scenario {
	want := func(live string) string {
		return "certs/box.example-20260901-0a1b2c3d; m1 box.example-20260901-0a1b2c3d.pem\n" + live +
			"certs/lets_encrypt/live/box.example/box.example; l1 cert.pem fullchain.pem\ncerts/ssl_certificate; "
	}
	key := "\ncerts/ssl_private_key"
	return scenario{steps: []step{
		one(want("")+"m1 ssl_certificate.pem"+key, func(t *testing.T, p *pki, dir string) {
			c := p.issue("m1")
			certbot(t, dir+"/certs/lets_encrypt", "box.example", 1, p.issue("l1"), p.chain)
			at(t, dir+"/certs", "lets_encrypt/accounts/a/directory/1/private_key.pem", p.issue("x").key, "ssl_private_key.pem", c.key, "dh2048.pem", parameters,
				"box.example-20260901-0a1b2c3d.pem", c.fullchain)
			link(t, "box.example-20260901-0a1b2c3d.pem", dir+"/certs/ssl_certificate.pem")
		}),
		one(want("certs/box.example-20261201-4e5f6071; m2 box.example-20261201-4e5f6071.pem\n")+"m2 ssl_certificate.pem"+key, func(t *testing.T, p *pki, dir string) {
			write(t, dir+"/certs/box.example-20261201-4e5f6071.pem", p.issue("m2").fullchain)
			link(t, "box.example-20261201-4e5f6071.pem", dir+"/certs/ssl_certificate.pem")
		}),
	}}
}

func cpanelTree() scenario {
	return scenario{steps: []step{
		one("certs/a.example.md/a.example.md; a1 certificates combined", func(t *testing.T, p *pki, dir string) {
			c := p.issue("a1")
			at(t, dir+"/certs", "a.example.md/certificates", c.fullchain, "a.example.md/combined", c.key+c.fullchain, ".pending_delete/b.example/combined", p.issue("x").fullchain)
		}),
		one("certs/a.example.md/a.example.md; a2 certificates combined", func(t *testing.T, p *pki, dir string) {
			c := p.issue("a2")
			replace(t, dir+"/certs/a.example.md/combined", c.key+c.fullchain)
			replace(t, dir+"/certs/a.example.md/certificates", c.fullchain)
		}),
	}}
}

func pleskTree() scenario {
	return scenario{steps: []step{one("certs/cert4hQ1zR; c1 cert4hQ1zR\ncerts/scfYk1p4v; s1 scfYk1p4v", func(t *testing.T, p *pki, dir string) {
		c, s := p.issue("c1"), p.issue("s1")
		at(t, dir+"/certs", "cert4hQ1zR", c.key+c.fullchain, "scfYk1p4v", s.key+s.fullchain)
	})}}
}

func spiffeTree() scenario {
	return scenario{steps: []step{one("certs/svid; s1 svid.pem\ncerts/svid_key", func(t *testing.T, p *pki, dir string) {
		c := p.issue("s1")
		at(t, dir+"/certs", "svid.pem", c.fullchain, "svid_key.pem", c.key, "svid_bundle.pem", p.chain)
	})}}
}

// kubernetesTree is cert-manager's Secret with everything it may hold; every renewal has a new key.
func kubernetesTree() scenario {
	volume := func(t *testing.T, p *pki, dir string, n int, label string) {
		c := p.issue(label)
		kubernetes(t, dir+"/certs/mail", n, map[string]string{"tls.crt": c.fullchain, "tls.key": c.key, "ca.crt": p.chain, "tls-combined.pem": c.key + c.fullchain,
			"key.der": "\x30\x00", "keystore.p12": "\x30\x82", "keystore.jks": "\xfe\xed"})
	}
	return scenario{steps: []step{
		one("certs/mail/mail; k1 tls-combined.pem tls.crt", func(t *testing.T, p *pki, dir string) { volume(t, p, dir, 1, "k1") }),
		one("certs/mail/mail; k2 tls-combined.pem tls.crt", func(t *testing.T, p *pki, dir string) { volume(t, p, dir, 2, "k2") }),
	}}
}

func dockerTree() scenario {
	return scenario{steps: []step{one("certs/mail_cert; m1 mail_cert\ncerts/mail_key\ncerts/site.v20260102; s1 site.v20260102", func(t *testing.T, p *pki, dir string) {
		c := p.issue("m1")
		at(t, dir+"/certs", "mail_cert", c.fullchain, "mail_key", c.key, "db_password", "hunter2", "site.v20260102", p.issue("s1").fullchain)
	})}}
}

func traefikTree() scenario {
	return scenario{steps: []step{
		one("certs/a.example; a1 a.example.crt\ncerts/certs; d1 cert.pem", func(t *testing.T, p *pki, dir string) {
			a, d := p.issue("a1"), p.issue("d1")
			at(t, dir+"/certs", "acme.json", "{\"le\":{\"Account\":{\"PrivateKey\":\"MIIJ\"}}}", "tls.yml", "tls:\n  certificates:\n", "a.example.crt", a.fullchain, "a.example.key", a.key,
				"cert.pem", d.fullchain, "key.pem", d.key)
		}),
		one("certs/a.example; a2 a.example.crt\ncerts/certs; d1 cert.pem", func(t *testing.T, p *pki, dir string) {
			a := p.issue("a2")
			at(t, dir+"/certs", "a.example.crt", a.fullchain, "a.example.key", a.key)
		}),
	}}
}

func vaultTree() scenario {
	return scenario{steps: []step{
		one("certs/mail; m1 mail.pem", func(t *testing.T, p *pki, dir string) { write(t, dir+"/certs/mail.pem", p.issue("m1").fullchain) }),
		one("certs/mail; m2 mail.pem", func(t *testing.T, p *pki, dir string) {
			write(t, dir+"/certs/123456789", p.issue("m2").fullchain)
			ok(t, os.Link(dir+"/certs/mail.pem", dir+"/certs/mail.pem.bak"))
			ok(t, os.Rename(dir+"/certs/123456789", dir+"/certs/mail.pem"))
		}),
	}}
}

// copiedTree is a flat drop: copying programs write aside or in place, keep times, and leave their own things behind.
func copiedTree() scenario {
	return scenario{steps: []step{
		one("certs/a; a1 a.pem\ncerts/b; b1 b.pem\ncerts/c; c1 c.pem", func(t *testing.T, p *pki, dir string) {
			for _, name := range []string{"a", "b", "c"} {
				write(t, dir+"/certs/"+name+".pem", p.issue(name+"1").fullchain)
			}
			x := p.issue("x").fullchain
			at(t, dir+"/certs", ".a.pem.Xy12Zw", x, ".~tmp~/a.pem", x, ".stfolder/syncthing-folder-0a1b2c.txt", "", ".stversions/a~20260102-030405.pem", x,
				".syncthing.a.pem.tmp", x, "~syncthing~a.pem.tmp", x, "a.sync-conflict-20260102-030405-ABCDEFG.pem", x, "b.pem.filepart", x, "a.pem~", x)
		}),
		one("certs/a; a2 a.pem\ncerts/b; b2 b.pem\ncerts/c; c2 c.pem", func(t *testing.T, p *pki, dir string) {
			before, err := os.Stat(dir + "/certs/a.pem")
			ok(t, err)
			write(t, dir+"/certs/.a.pem.Qr34St", p.issue("a2").fullchain)
			ok(t, os.Chtimes(dir+"/certs/.a.pem.Qr34St", before.ModTime(), before.ModTime()))
			ok(t, os.Rename(dir+"/certs/.a.pem.Qr34St", dir+"/certs/a.pem"))
			scp(t, dir+"/certs/b.pem", p.issue("b2").fullchain)
			write(t, dir+"/certs/.syncthing.c.pem.tmp", p.issue("c2").fullchain)
			ok(t, os.Rename(dir+"/certs/.syncthing.c.pem.tmp", dir+"/certs/c.pem"))
		}),
	}}
}

// scp truncates and streams.
func scp(t *testing.T, path, data string) {
	t.Helper()
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_TRUNC|os.O_CREATE, 0o644)
	ok(t, err)
	for part := range strings.SplitAfterSeq(data, "\n") {
		_, err := f.WriteString(part)
		ok(t, err)
	}
	ok(t, f.Close())
}

// certbotCopyTree is certbot's live directory where a copy made files out of the links.
func certbotCopyTree() scenario {
	write4 := func(t *testing.T, p *pki, dir, label string) {
		c := p.issue(label)
		at(t, dir+"/certs/a", "README", "x", "cert.pem", c.cert, "chain.pem", p.chain, "fullchain.pem", c.fullchain, "privkey.pem", c.key)
	}
	return scenario{steps: []step{
		one("certs/a/a; a1 cert.pem fullchain.pem", func(t *testing.T, p *pki, dir string) { write4(t, p, dir, "a1") }),
		one("certs/a/a; a2 cert.pem fullchain.pem", func(t *testing.T, p *pki, dir string) { write4(t, p, dir, "a2") }),
	}}
}

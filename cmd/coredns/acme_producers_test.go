//go:build referee

package main

import (
	"fmt"
	"time"
)

// A producer is an ACME client of which every file operation is known (certdirs.md 2). foreign are the files beside the
// certificates that must never become records. An order that fails ends where the client would.
type producer struct {
	root    string
	foreign func(p *play, challenge material)
	order   func(p *play, m material, n int)
}

func producers() map[string]producer {
	return map[string]producer{
		"acme.sh": {".", foreignACMEsh, orderACMEsh}, "getssl": {".", foreignGetssl, installGetssl}, "step": {".", nothingForeign, orderStep},
		"caddy": {".", foreignCaddy, orderCaddy}, "mailcow": {".", foreignMailcow, orderMailcow},
		"kubernetes": {".", nothingForeign, orderKubernetes}, "certbot": {"live", nothingForeign, orderCertbot},
		"dehydrated": {".", foreignDehydrated, orderDehydrated}, "lego": {".", foreignLego, orderLego}, "uacme": {".", foreignUacme, orderUacme},
	}
}

func nothingForeign(*play, material) {}

func foreignACMEsh(p *play, challenge material) {
	p.cat("account.conf", "LOG_FILE='/home/mail/.acme.sh/acme.sh.log'\n")
	p.cat("ca/acme-v02.api.letsencrypt.org/directory/account.key", challenge.key)
	p.cat("mail.example.org_ecc/tls.validation.cert", challenge.leaf)
	p.cat("mail.example.org_ecc/tls.validation.key", challenge.key)
}

// orderACMEsh: --always-force-new-domain-key, so that the key is there before the order; then --install-cert, with one target
// that takes certificate and chain.
func orderACMEsh(p *play, m material, n int) {
	const d = "mail.example.org_ecc/mail.example.org"
	p.cat(d+".key", m.key)
	p.cat(d+".key.next", "\n")
	p.cat(d+".csr.conf", "[ req_distinguished_name ]\n[ req ]\n")
	p.append(d+".csr.conf", "subjectAltName=DNS:mail.example.org")
	p.cat(d+".csr", m.csr)
	p.cat(d+".conf", "Le_Domain='mail.example.org'\n")
	if p.fails {
		return
	}
	p.cat(d+".cer", m.chain())
	p.cat("mail.example.org_ecc/fullchain.cer", m.chain())
	p.cat(d+".cer", m.leaf)
	p.cat("mail.example.org_ecc/ca.cer", m.issuer)
	p.cat(d+".conf", fmt.Sprintf("Le_Domain='mail.example.org'\nLe_CertCreateTime='%d'\n", n))
	p.cat("installed/cert.pem", m.leaf)
	p.cat("installed/ca.pem", m.issuer)
	p.cat("installed/key.pem", m.key)
	p.cat("installed/fullchain.pem", m.chain())
	p.cat("shared/mail.pem", m.leaf)
	p.append("shared/mail.pem", "\n")
	p.append("shared/mail.pem", m.issuer)
}

func foreignGetssl(p *play, challenge material) {
	p.cat("account.key", challenge.key)
	p.cat("getssl.cfg", "CA=https://acme-v02.api.letsencrypt.org\n")
}

// orderGetssl: REUSE_PRIVATE_KEY=false. awk truncates both files before it writes either.
func orderGetssl(p *play, m material, n int) {
	const d = "mail.example.org/"
	p.remove(d + "mail.example.org.key")
	p.cat(d+"mail.example.org.key", m.key)
	p.cat(d+"mail.example.org.csr", m.csr)
	if p.fails {
		return
	}
	p.cat(d+"fullchain.crt", m.chain())
	p.open(d + "mail.example.org.crt")
	p.open(d + "chain.crt")
	p.append(d+"mail.example.org.crt", m.leaf)
	p.append(d+"chain.crt", m.issuer)
	archive := fmt.Sprintf("%sarchive/2026_01_01_%02d_%02d/", d, n/60, n%60)
	p.cat(archive+"mail.example.org.crt", m.leaf)
	p.cat(archive+"mail.example.org.key", m.key)
	p.cat(archive+"chain.crt", m.issuer)
	p.cat(archive+"fullchain.crt", m.chain())
}

// installGetssl is orderGetssl with every kind of target; `cp -p` keeps the times.
func installGetssl(p *play, m material, n int) {
	orderGetssl(p, m, n)
	if p.fails {
		return
	}
	at := time.Unix(1_700_000_000, 0) // always the same: times prove nothing
	p.copy("ssl/mail.crt", m.leaf, at)
	p.copy("ssl/mail.key", m.key, at)
	p.copy("ssl/chain.crt", m.issuer, at)
	const tmp = "mail.example.org/tmp/mail.example.org"
	p.cat(tmp+"_chain.pem", m.chain())
	p.copy("ssl/mail_chain.pem", m.chain(), at)
	p.cat(tmp+"_K_C.pem", m.key+m.leaf)
	p.copy("ssl/mail_K_C.pem", m.key+m.leaf, at)
	p.cat(tmp+".pem", m.key+m.chain())
	p.copy("ssl/mail.pem", m.key+m.chain(), at)
	for _, name := range []string{tmp + "_chain.pem", tmp + "_K_C.pem", tmp + ".pem", "mail.example.org/tmp"} {
		p.unlink(name)
	}
}

// orderStep is `step ca rekey`.
func orderStep(p *play, m material, _ int) {
	if p.fails {
		return
	}
	p.cat("svc.crt", m.chain())
	p.cat("svc.key", m.key)
}

func foreignCaddy(p *play, challenge material) {
	const users = "acme/acme-v02.api.letsencrypt.org-directory/users/a@example.org/"
	p.replace(users+"1804289383", users+"a.key", challenge.key)
	p.replace(users+"1804289384", users+"a.json", "{}\n")
	p.cat("certificates/acme-v02.api.letsencrypt.org-directory/mail.example.org/mail.example.org.key.compromised", challenge.key)
	p.cat("last_clean.json", "{}\n")
}

func orderCaddy(p *play, m material, n int) {
	const d = "certificates/acme-v02.api.letsencrypt.org-directory/mail.example.org/"
	const lock = "locks/issue_cert_mail.example.org.lock"
	p.cat(lock, fmt.Sprintf(`{"created":%d}`, n))
	if !p.fails {
		p.replace(d+"1681692777", d+"mail.example.org.key", m.key)
		p.replace(d+"1714636915", d+"mail.example.org.crt", m.chain())
		p.replace(d+"1957747793", d+"mail.example.org.json", `{"sans":["mail.example.org"]}`)
	}
	p.remove(lock)
}

func foreignMailcow(p *play, challenge material) {
	p.cat("acme/account.pem", challenge.key)
	p.cat("dhparams.pem", "-----BEGIN DH PARAMETERS-----\nMAA=\n-----END DH PARAMETERS-----\n")
}

// orderMailcow: an operator has deleted the shared key.
func orderMailcow(p *play, m material, _ int) {
	p.cat("acme/key.pem", m.key)
	p.cat("mail.example.org/key.pem", m.key)
	p.cat("mail.example.org/acme.csr", m.csr)
	if p.fails {
		return
	}
	p.move("mail.example.org/cert.pem", m.chain())
	p.cat("mail.example.org/domains", "mail.example.org")
	p.cat("cert.pem", m.chain())
	p.cat("key.pem", m.key)
}

// orderKubernetes is kubelet's AtomicWriter.
func orderKubernetes(p *play, m material, n int) {
	if p.fails {
		return
	}
	data := fmt.Sprintf("secret/..2026_01_01.%d", n)
	p.cat(data+"/ca.crt", m.issuer)
	p.cat(data+"/tls.crt", m.chain())
	p.cat(data+"/tls.key", m.key)
	p.symlink(data[len("secret/"):], "secret/..data_tmp")
	p.rename("secret/..data_tmp", "secret/..data")
	if n == 0 {
		for _, name := range []string{"ca.crt", "tls.crt", "tls.key"} {
			p.symlink("..data/"+name, "secret/"+name)
		}
		return
	}
	for last := n - 1; ; last-- {
		if last%5 != 3 {
			old := fmt.Sprintf("secret/..2026_01_01.%d", last)
			for _, name := range []string{"/ca.crt", "/tls.crt", "/tls.key", ""} {
				p.remove(old + name)
			}
			return
		}
	}
}

// orderCertbot: a new lineage's links are there before its files; at a renewal the four links change one by one.
func orderCertbot(p *play, m material, n int) {
	if p.fails {
		return
	}
	kinds := []struct{ name, text string }{{"cert", m.leaf}, {"privkey", m.key}, {"chain", m.issuer}, {"fullchain", m.chain()}}
	target := func(kind string, n int) string { return fmt.Sprintf("../../archive/mail/%s%d.pem", kind, n+1) }
	live := func(kind string) string { return "live/mail/" + kind + ".pem" }
	if n == 0 {
		p.cat("live/README", "This directory contains your keys and certificates.\n")
		for _, k := range kinds {
			p.symlink(target(k.name, n), live(k.name))
		}
	}
	for _, k := range kinds {
		p.cat(fmt.Sprintf("archive/mail/%s%d.pem", k.name, n+1), k.text)
	}
	if n == 0 {
		p.cat("live/mail/README", "This directory contains your keys and certificates.\n")
		return
	}
	for _, k := range kinds {
		p.symlink(target(k.name, n-1), live("previous_"+k.name))
	}
	for _, k := range kinds {
		p.remove(live(k.name))
		p.symlink(target(k.name, n), live(k.name))
	}
	for _, k := range kinds {
		p.remove(live("previous_" + k.name))
	}
}

func foreignDehydrated(p *play, challenge material) {
	p.cat("accounts/aHR0cHM6Ly8/account_key.pem", challenge.key)
	p.cat("alpn-certs/mail.example.org.crt.pem", challenge.leaf)
	p.cat("alpn-certs/mail.example.org.key.pem", challenge.key)
	p.cat("certs/mail.example.org/privkey.roll.pem", challenge.key)
	p.cat("certs/mail.example.org/cert.pem-revoked", challenge.leaf)
}

func orderDehydrated(p *play, m material, n int) {
	const d = "certs/mail.example.org/"
	dated := func(name, ext string) string { return fmt.Sprintf("%s-%d.%s", name, 1_700_000_000+n, ext) }
	p.cat(d+dated("privkey", "pem"), m.key)
	p.cat(d+dated("cert", "csr"), m.csr)
	if p.fails {
		p.open(d + dated("cert", "pem"))
		return
	}
	p.cat(d+dated("cert", "pem"), m.chain())
	p.rename(d+dated("cert", "pem"), d+dated("fullchain", "pem"))
	p.cat(d+dated("cert", "pem"), m.leaf)
	p.cat(d+dated("chain", "pem"), m.issuer)
	for _, name := range []string{"privkey", "chain", "fullchain"} {
		p.lnsf(dated(name, "pem"), d+name+".pem")
	}
	p.lnsf(dated("cert", "csr"), d+"cert.csr")
	p.lnsf(dated("cert", "pem"), d+"cert.pem")
}

func foreignLego(p *play, challenge material) {
	const account = "accounts/acme-v02.api.letsencrypt.org/a@example.org/"
	p.cat(account+"keys/a@example.org.key", challenge.key)
	p.cat(account+"account.json", "{}\n")
}

func orderLego(p *play, m material, _ int) {
	if p.fails {
		return
	}
	const d = "certificates/mail.example.org"
	p.cat(d+".crt", m.chain())
	p.cat(d+".issuer.crt", m.issuer)
	p.cat(d+".key", m.key)
	p.cat(d+".pem", m.leaf+m.key)
	p.cat(d+".json", `{"domain":"mail.example.org"}`)
}

func foreignUacme(p *play, challenge material) {
	p.cat("private/key.pem", challenge.key)
}

func orderUacme(p *play, m material, n int) {
	const d, private = "mail.example.org/", "private/mail.example.org/"
	p.cat(private+"newkey.pem", m.key)
	if p.fails {
		return
	}
	p.cat(d+"cert.pem.tmp", m.chain())
	if n > 0 {
		p.hardlink(d+"cert.pem", fmt.Sprintf("%scert-%d.pem", d, 1_700_000_000+n))
		p.hardlink(private+"key.pem", fmt.Sprintf("%skey-%d.pem", private, 1_700_000_000+n))
	}
	p.rename(d+"cert.pem.tmp", d+"cert.pem")
	p.rename(private+"newkey.pem", private+"key.pem")
}

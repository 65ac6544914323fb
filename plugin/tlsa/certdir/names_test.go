package certdir

import "testing"

func TestNamesTellLineageAndRole(t *testing.T) {
	for name, want := range map[string]label{
		"cert.pem":                     {"dir", roleCertificate, true},
		"fullchain.pem":                {"dir", roleCertificate, true},
		"chain.pem":                    {"dir", roleChain, true},
		"privkey.pem":                  {"dir", roleKey, true},
		"privkey.roll.pem":             {"dir", roleKey, true},
		"key.pem":                      {"dir", roleKey, true},
		"tls.crt":                      {"dir", roleCertificate, true},
		"tls.key":                      {"dir", roleKey, true},
		"ca.crt":                       {"dir", roleAnchor, true},
		"ca.cer":                       {"dir", roleAnchor, true},
		"fullchain.cer":                {"dir", roleCertificate, true},
		"chain.crt":                    {"dir", roleChain, true},
		"combined":                     {"dir", roleCertificate, false},
		"privkey.pub.pem":              {"dir", rolePublic, true},
		"example.org.pem":              {"example.org", roleCertificate, true},
		"example.org.PEM":              {"example.org", roleCertificate, true},
		"example.org.crt":              {"example.org", roleCertificate, true},
		"example.org.issuer.crt":       {"example.org", roleChain, true},
		"example.org.chain.pem":        {"example.org", roleChain, true},
		"example.org.fullchain.pem":    {"example.org", roleCertificate, true},
		"example.org.key":              {"example.org", roleKey, true},
		"example.org.key.pem":          {"example.org", roleKey, true},
		"example.org.key.next":         {"example.org", roleKey, true},
		"example.org.csr":              {"example.org", roleRequest, true},
		"example.org.pub.pem":          {"example.org", rolePublic, true},
		"example.pub.crt":              {"example.pub", roleCertificate, true},
		"example.pub.fullchain.pem":    {"example.pub", roleCertificate, true},
		"example.next":                 {"example.next", roleCertificate, false},
		"example.sh":                   {"example.sh", roleCertificate, false},
		"site.pem.rsa.key":             {"site", roleKey, true},
		"site.pem.key":                 {"site", roleKey, true},
		"chain.ec.crt":                 {"dir", roleChain, true},
		"fullchain.ec.crt":             {"dir", roleCertificate, true},
		"example.ec.crt":               {"example.ec", roleCertificate, true},
		"root_ca.crt":                  {"dir", roleAnchor, true},
		"svid_bundle.pem":              {"dir", roleAnchor, true},
		"ssl_private_key.pem":          {"ssl_private_key", roleKey, true},
		"example.org+rsa":              {"example.org+rsa", roleCertificate, false},
		"example.org.pem.ecdsa":        {"example.org", roleCertificate, true},
		"example.org_ecc.cer":          {"example.org_ecc", roleCertificate, true},
		"example.org":                  {"example.org", roleCertificate, false},
		"wildcard_.example.org.crt":    {"wildcard_.example.org", roleCertificate, true},
		"certificate.example.org.pem":  {"certificate.example.org", roleCertificate, true},
		"ca.example.org.crt":           {"ca.example.org", roleCertificate, true},
		"chain.example.org.pem":        {"chain.example.org", roleCertificate, true},
		"example.org.unknown":          {"example.org.unknown", roleCertificate, false},
		".pem":                         {".pem", roleCertificate, false},
		"a name\nwith a line feed.pem": {"a name\nwith a line feed", roleCertificate, true},
	} {
		if got := readName("dir_ecc", name); got != want {
			t.Errorf("%q: got %+v, want %+v", name, got, want)
		}
	}
}

func TestNamesOfNoInterestAreSkipped(t *testing.T) {
	for _, name := range []string{
		".hidden.pem", "..data", "..2026_01_02", "..data_tmp", "1700000000", "CuAb12cD", "cert.pem.tmp", "a.tmp123", "a.pem~", "a.pem.bak",
		"a.pem.old", "a.old.pem", "a.pem.old-2", "fullchain.alt", "a.new", "previous_cert.pem", "cert.pem-revoked", "a.key.compromised",
		"a.lock", "README", "README.md", "a.conf", "a.zip", "a.ocsp", "ocsp.der", "ocsp-170.der", "tls.validation.x", "acme_account+key",
		"account_key.pem", "account.key", "cert-1700000000.pem", "privkey-1700000000.pem", "key-1700000000.pem", "a.pfx", "a.json",
		"example.org+token", "abc+http-01", "example.org1234567890", "example.org+rsa123456789", "site.pem.issuer", "site.pem.rsa.issuer",
		"site.pem.sctl", "account.pem", "0000_key-certbot.pem", "0000_csr-certbot.pem", "a.sync-conflict-20260102-030405-ABCDEFG.pem",
		"a.pem.filepart", "account.conf",
	} {
		if !skipFile(name) {
			t.Errorf("%s is read", name)
		}
	}
	for _, name := range []string{
		"a.pem", "mail.old.example.org.pem", "mail.older.example.pem", "cert-a.pem", "Curie.pem", "CuAb1.cD", "ocsp.example.org.pem",
		"1700000000.pem", "new.example.org.crt", "a.docs.new.pem",
		"example.md", "mail.example.sh", "site.v20240101", "site.v1234567890", "site1234567890", "account.key.example.org.pem", "account.example.org.pem", "a.20260102030405",
	} {
		if skipFile(name) {
			t.Errorf("%s is skipped", name)
		}
	}
	for _, name := range []string{"archive", "archives", "backup", "backups", "accounts", "renewal", "users", "locks", "alpn-certs", "tmp", "chains", "authorities", ".x", "..data"} {
		if !skipDir(name) {
			t.Errorf("%s is walked", name)
		}
	}
	if skipDir("archive.example.org") || skipDir("live") {
		t.Error("too much is skipped")
	}
}

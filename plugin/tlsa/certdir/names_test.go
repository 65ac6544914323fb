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
		"privkey.pub.pem":              {"dir", roleRequest, true},
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
		"example.org.pub.pem":          {"example.org", roleRequest, true},
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
	} {
		if !skipFile(name) {
			t.Errorf("%s is read", name)
		}
	}
	for _, name := range []string{
		"a.pem", "mail.old.example.org.pem", "mail.older.example.pem", "cert-a.pem", "Curie.pem", "CuAb1.cD", "ocsp.example.org.pem",
		"1700000000.pem", "account.key.example.org.pem", "new.example.org.crt", "a.docs.new.pem",
	} {
		if skipFile(name) {
			t.Errorf("%s is skipped", name)
		}
	}
	for _, name := range []string{"archive", "archives", "backup", "backups", "accounts", "renewal", "users", "locks", "alpn-certs", ".x", "..data"} {
		if !skipDir(name) {
			t.Errorf("%s is walked", name)
		}
	}
	if skipDir("archive.example.org") || skipDir("live") {
		t.Error("too much is skipped")
	}
}

package certdir

import (
	"path/filepath"
	"slices"
	"strings"
)

// role is what a file's name says that its content does not.
type role uint8

const (
	roleCertificate role = iota // leaves, issuers, bare keys: the content decides
	roleChain                   // issuers only
	roleAnchor                  // a CA bundle that nobody serves
	roleKey                     // a private key: opened, never read
	roleRequest                 // a request or bare public key, of interest in `next` roots only
)

// A label is what a file's name tells of it.
type label struct {
	key  string // of its lineage, unique in the directory
	role role
	sure bool // the extension promises a certificate or key, so that anything else in it is a problem
}

// The suffixes that do not belong to a lineage's name, from the outside in.
const (
	bundleSuffixes = ".rsa .ecdsa .dsa .next"
	outerSuffixes  = ".pem .crt .cer .cert .der .csr .pub .key"
	innerSuffixes  = ".issuer .fullchain .chain .bundle .pub .key .csr .crt .cer .cert"
)

// readName takes name apart: it belongs to the lineage of the directory called base if it is one of a role set.
func readName(base, name string) label {
	stem, _ := cutSuffix(name, bundleSuffixes)
	stem, outer := cutSuffix(stem, outerSuffixes)
	if outer == "" {
		stem = name
	}
	stem, inner := cutSuffix(stem, innerSuffixes)
	l := label{key: stem, sure: outer != ""}
	r, inSet := setRole(strings.ToLower(stem), l.sure)
	if inSet {
		l.key, l.role = trimECC(base), r
	}
	switch has := func(s string) bool { return inner == s || outer == s }; {
	case has(".csr"), has(".pub"):
		l.role = roleRequest
	case has(".key"):
		l.role = roleKey
	case inner == ".issuer", inner == ".chain":
		l.role = roleChain
	}
	return l
}

// setRole tells whether a file of that stem is one of a role set, and what it says there.
func setRole(stem string, sure bool) (r role, ok bool) {
	switch {
	case !sure:
		return roleCertificate, stem == "combined" || stem == "certificates"
	case strings.HasPrefix(stem, "privkey"), stem == "key", stem == "nextkey", stem == "newkey":
		return roleKey, true
	case stem == "chain":
		return roleChain, true
	case stem == "ca":
		return roleAnchor, true
	}
	return roleCertificate, slices.Contains([]string{"cert", "fullchain", "tls", "tls-combined", "combined"}, stem)
}

// trimECC drops acme.sh's mark of an ECDSA lineage from a name.
func trimECC(name string) string {
	if short, ok := strings.CutSuffix(name, "_ecc"); ok && short != "" {
		return short
	}
	return name
}

// cutSuffix cuts the first of suffixes that name ends in, in any case, and gives it in lower case. Something must be left.
func cutSuffix(name, suffixes string) (stem, suffix string) {
	for s := range strings.FieldsSeq(suffixes) {
		if at := len(name) - len(s); at > 0 && strings.EqualFold(name[at:], s) {
			return name[:at], s
		}
	}
	return name, ""
}

// skipFile tells whether a name is a producer's own business: temporary files, backups, locks, settings, other formats.
// None of them takes a key away: a file that was renamed to such a name is gone, and no more.
func skipFile(name string) bool {
	if name[0] == '.' || strings.HasSuffix(name, "~") || strings.HasSuffix(name, "-revoked") || isTemporary(name) {
		return true
	}
	for _, prefix := range []string{"previous_", "README", "tls.validation.", "acme_account", "account_key"} {
		if strings.HasPrefix(name, prefix) {
			return true
		}
	}
	if name == "account.key" || strings.HasPrefix(name, "ocsp") && strings.HasSuffix(name, ".der") {
		return true
	}
	switch strings.ToLower(filepath.Ext(name)) {
	case ".bak", ".alt", ".new", ".compromised", ".lock", ".conf", ".zip", ".ocsp", ".json", ".txt", ".md", ".log", ".pfx", ".p12",
		".pkcs8", ".jks", ".sh", ".crl", ".sct", ".sctl", ".tar", ".gz":
		return true
	}
	return isBackup(name)
}

// isTemporary: temporary files of acme.sh and uacme (*.tmp*), GNU ln (Cu and six more), Caddy and Vault (digits only).
func isTemporary(name string) bool {
	if strings.Contains(name, ".tmp") || len(name) == 8 && strings.HasPrefix(name, "Cu") && !strings.Contains(name, ".") {
		return true
	}
	return isDigits(name)
}

// isBackup: *.old, *.old-1, *.old.pem and the like, but no host such as mail.old.example; and the dated files of dehydrated and uacme
// behind their links, cert-1700000000.pem.
func isBackup(name string) bool {
	if _, rest, found := strings.Cut(name, ".old"); found {
		if rest == "" || strings.ContainsAny(rest[:1], "0123456789-_") || strings.Contains(" "+outerSuffixes+" ", " "+rest+" ") {
			return true
		}
	}
	stem, outer := cutSuffix(name, outerSuffixes)
	set, date, _ := strings.Cut(stem, "-")
	_, inSet := setRole(set, true)
	return outer != "" && inSet && isDigits(date)
}

func isDigits(s string) bool { return s != "" && strings.Trim(s, "0123456789") == "" }

// skipDir tells whether a directory is never walked. Links may still lead into it, as those of certbot do.
func skipDir(name string) bool {
	switch name {
	case "archive", "archives", "backup", "backups", "accounts", "renewal", "renewal-hooks", "users", "locks", "alpn-certs", "ocsp":
		return true
	}
	return name[0] == '.'
}

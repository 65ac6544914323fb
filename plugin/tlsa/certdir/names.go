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
	roleRequest                 // a certificate request, of interest in `next` roots only
	rolePublic                  // a bare public key by its name, which may also be a host's below .pub: the content decides
)

// A label is what a file's name tells of it.
type label struct {
	key  string // of its lineage, unique in the directory
	role role
	sure bool // the extension promises a certificate or key, so that anything else in it is a problem
}

// The suffixes that do not belong to a lineage's name, from the outside in.
var (
	bundleSuffixes = []string{".rsa", ".ecdsa", ".dsa", ".next"}
	outerSuffixes  = []string{".pem", ".crt", ".cer", ".cert", ".der", ".csr", ".pub", ".key"}
	innerSuffixes  = []string{".issuer", ".fullchain", ".chain", ".bundle", ".pub", ".key", ".csr", ".crt", ".cer", ".cert", ".pem"}
)

// readName takes name apart: it belongs to the lineage of the directory called base if it is one of a role set.
func readName(base, name string) label {
	stem, _ := cutSuffix(name, bundleSuffixes)
	stem, outer := cutSuffix(stem, outerSuffixes)
	switch outer {
	case "":
		stem = name
	case ".key", ".csr":
		stem, _ = cutSuffix(stem, bundleSuffixes) // HAProxy's site.pem.rsa.key
	}
	whole := stem
	stem, inner := cutSuffix(stem, innerSuffixes)
	if inner == ".pub" && outer != ".pem" && outer != ".der" {
		stem, inner = whole, "" // a host below .pub
	}
	l := label{key: stem, sure: outer != ""}
	if r, inSet := setRole(strings.ToLower(trimEC(base, stem)), l.sure); inSet {
		l.key, l.role = trimECC(base), r
	} else if r == roleKey {
		l.role = r
	} else {
		l.key = trimEC(base, stem)
	}
	switch has := func(s string) bool { return inner == s || outer == s }; {
	case has(".csr"):
		l.role = roleRequest
	case has(".pub"):
		l.role = rolePublic
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
	case stem == "ssl_private_key", stem == "svid_key", stem == "private_key": // Mail-in-a-Box, SPIFFE: of no set
		return roleKey, false
	case stem == "chain":
		return roleChain, true
	case stem == "ca", stem == "root_ca", stem == "intermediate_ca", stem == "svid_bundle":
		return roleAnchor, true
	}
	return roleCertificate, slices.Contains([]string{"cert", "fullchain", "tls", "tls-combined", "combined"}, stem)
}

// trimEC drops getssl's mark of an ECDSA twin, but not the country from a host in Ecuador.
func trimEC(base, stem string) string {
	if short, ok := strings.CutSuffix(stem, ".ec"); ok {
		if _, inSet := setRole(short, true); inSet || short == base {
			return short
		}
	}
	return stem
}

// lineageName is the name of the lineage of a key: without acme.sh's mark of an ECDSA one, autocert's of an RSA one.
func lineageName(key string) string {
	if short, ok := strings.CutSuffix(key, "+rsa"); ok && short != "" {
		return short
	}
	return trimECC(key)
}

// trimECC drops acme.sh's mark of an ECDSA lineage from a name.
func trimECC(name string) string {
	if short, ok := strings.CutSuffix(name, "_ecc"); ok && short != "" {
		return short
	}
	return name
}

// cutSuffix cuts the one of suffixes that name ends in, in any case, and gives it in lower case. Something must be left. Each
// has one dot, in front.
func cutSuffix(name string, suffixes []string) (stem, suffix string) {
	at := strings.LastIndexByte(name, '.')
	if at <= 0 {
		return name, ""
	}
	for _, s := range suffixes {
		if at+len(s) == len(name) && strings.EqualFold(name[at:], s) {
			return name[:at], s
		}
	}
	return name, ""
}

// skipFile tells whether a name is a producer's own business: temporary files, backups, locks, settings, other formats.
// None of them takes a key away: a file that was renamed to such a name is gone, and no more.
func skipFile(name string) bool {
	if name[0] == '.' || isTemporary(name) {
		return true
	}
	for _, prefix := range []string{"previous_", "README", "tls.validation.", "acme_account", "account_key"} {
		if strings.HasPrefix(name, prefix) {
			return true
		}
	}
	for _, suffix := range []string{"~", "-revoked", "+token", "+http-01", "_key-certbot.pem", "_csr-certbot.pem"} {
		if strings.HasSuffix(name, suffix) {
			return true
		}
	}
	if name == "account.key" || name == "account.pem" || strings.HasPrefix(name, "ocsp") && strings.HasSuffix(name, ".der") {
		return true
	}
	switch strings.ToLower(filepath.Ext(name)) {
	case ".bak", ".alt", ".new", ".compromised", ".lock", ".conf", ".zip", ".ocsp", ".issuer", ".json", ".txt", ".log", ".pfx", ".p12",
		".pkcs8", ".jks", ".crl", ".sct", ".sctl", ".tar", ".gz", ".filepart", ".part": // not .md and .sh, which are countries
		return true
	}
	return isBackup(name)
}

// isTemporary: temporary files of acme.sh and uacme (*.tmp*), GNU ln (Cu and six more), Caddy and Vault (digits only),
// autocert; what Syncthing sets aside.
func isTemporary(name string) bool {
	if strings.Contains(name, ".tmp") || strings.Contains(name, ".sync-conflict-") {
		return true
	}
	return len(name) == 8 && strings.HasPrefix(name, "Cu") && !strings.Contains(name, ".") || isDigits(name) || isAutocertTemp(name)
}

// isAutocertTemp: a host with nine or ten digits behind its last letter. Fewer, which are rare, could be a date.
func isAutocertTemp(name string) bool {
	host := name
	for host != "" && isDigit(host[len(host)-1]) {
		host = host[:len(host)-1]
	}
	if digits := len(name) - len(host); digits < 9 || digits > 10 {
		return false
	}
	host, rsa := strings.CutSuffix(host, "+rsa")
	top := host[strings.LastIndexByte(host, '.')+1:]
	return len(top) < len(host) && (rsa || len(top) > 1 && !strings.ContainsFunc(top, func(r rune) bool { return r < 'a' || r > 'z' }))
}

// isBackup: *.old, *.old-1, *.old.pem and the like, but no host such as mail.old.example; and the dated files of dehydrated and uacme
// behind their links, cert-1700000000.pem.
func isBackup(name string) bool {
	if _, rest, found := strings.Cut(name, ".old"); found {
		if rest == "" || strings.ContainsAny(rest[:1], "0123456789-_") || slices.Contains(outerSuffixes, rest) {
			return true
		}
	}
	stem, outer := cutSuffix(name, outerSuffixes)
	set, date, _ := strings.Cut(stem, "-")
	_, inSet := setRole(set, true)
	return outer != "" && inSet && isDigits(date)
}

func isDigits(s string) bool {
	for i := range len(s) {
		if !isDigit(s[i]) {
			return false
		}
	}
	return s != ""
}

func isDigit(c byte) bool { return '0' <= c && c <= '9' }

// skipDir tells whether a directory is never walked. Links may still lead into it, as those of certbot do.
func skipDir(name string) bool {
	switch name {
	case "archive", "archives", "backup", "backups", "accounts", "renewal", "renewal-hooks", "users", "locks", "alpn-certs", "ocsp",
		"tmp", "chains", "authorities": // getssl, dehydrated, Caddy's own CA
		return true
	}
	return name[0] == '.'
}

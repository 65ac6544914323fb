package main

import (
	"cmp"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"unicode"
)

// A client is an ACME client whose hook we are: how it tells what it has renewed, and where it keeps its next key. All else is
// the same for every client.
type client struct {
	name string
	// args are what it gives its hook; empty: nothing.
	args string
	// place says where it has its certificates, for errors and help; again is how its hook is run by hand.
	place, again string
	help         string
	example      string
	// read reads its variables, or args. Without a job and an error this run is about no certificate.
	read func(getenv func(string) string, args []string) (*job, error)
}

// The files of a lineage by their names with us, which are certbot's; what a client calls them is its reader's matter.
const (
	certFile  = "cert.pem"
	chainFile = "chain.pem"
	fullFile  = "fullchain.pem"
	keyFile   = "privkey.pem"
)

var hookClients = []client{certbotClient, dehydratedClient, legoClient, acmeShClient}

// clientNamed gives nil where there is none.
func clientNamed(name string) *client {
	if i := slices.IndexFunc(hookClients, func(c client) bool { return c.name == name }); i >= 0 {
		return &hookClients[i]
	}
	return nil
}

var certbotClient = client{
	name:  "certbot",
	place: "live/NAME",
	again: "RENEWED_LINEAGE=/etc/letsencrypt/live/NAME tlsactl hook certbot ...",
	help: `hook certbot is for certbot's --deploy-hook. certbot's live directory is then not what the server
reads and not in the plugin's certs: a renewed lineage waits there until it is safe to install. It
reads RENEWED_LINEAGE. certbot has no next key of its own.`,
	example: `  certbot certonly ... --deploy-hook "tlsactl hook certbot --next /var/lib/dane/next \
      --install /etc/postfix/tls --combined --run 'postfix reload'"`,
	read: readCertbot,
}

func readCertbot(getenv func(string) string, _ []string) (*job, error) {
	lineage := getenv("RENEWED_LINEAGE")
	if lineage == "" {
		return nil, fail(exitUsage, "RENEWED_LINEAGE is not set: certbot sets it for a deploy hook; to run the hook by hand, set it to "+
			"the lineage, such as /etc/letsencrypt/live/mail.example.org; --resume goes on with what is staged")
	}
	if !filepath.IsAbs(lineage) || filepath.Clean(lineage) == "/" || strings.HasPrefix(filepath.Base(lineage), ".") {
		return nil, fail(exitUsage, "RENEWED_LINEAGE %q: want the absolute path of a lineage, such as /etc/letsencrypt/live/mail.example.org",
			lineage)
	}
	dir := filepath.Clean(lineage)
	j := &job{Lineage: dir, Files: map[string]string{}}
	for _, name := range []string{certFile, chainFile, fullFile, keyFile} {
		j.Files[name] = filepath.Join(dir, name)
	}
	return j, j.checkNames("RENEWED_LINEAGE", "")
}

var dehydratedClient = client{
	name:  "dehydrated",
	args:  "OPERATION [ARGUMENT]...",
	place: "certs/NAME",
	again: "tlsactl hook dehydrated ... deploy_cert DOMAIN KEYFILE CERTFILE FULLCHAINFILE CHAINFILE",
	help: `hook dehydrated is for HOOK in dehydrated's configuration, which takes the path of a program and no
arguments: make it a script that ends in "$@". OPERATION deploy_cert is what it acts on; all others it
accepts and ignores. With PRIVATE_KEY_ROLLOVER=yes the public half of privkey.roll.pem is published
through --next, long before that key is used.`,
	example: `  printf '#!/bin/sh\nexec tlsactl hook dehydrated --next /var/lib/dane/next \\
      --install /etc/postfix/tls --combined --run "postfix reload" "$@"\n' >/usr/local/sbin/tlsa-renewed
  echo 'HOOK=/usr/local/sbin/tlsa-renewed' >>/etc/dehydrated/config`,
	read: readDehydrated,
}

// readDehydrated reads what hook.sh of dehydrated 0.7.0 documents. A hook has to take operations that it does not know.
func readDehydrated(_ func(string) string, args []string) (*job, error) {
	if len(args) == 0 {
		return nil, fail(exitUsage, "there is no operation: dehydrated gives one to its hook, so end the hook's script in \"$@\"; "+
			"--resume goes on with what is staged")
	}
	if args[0] != "deploy_cert" {
		return nil, nil
	}
	if len(args) < 6 || len(args) > 7 {
		return nil, fail(exitUsage, "deploy_cert: want DOMAIN KEYFILE CERTFILE FULLCHAINFILE CHAINFILE TIMESTAMP, got %d arguments", len(args)-1)
	}
	dir := filepath.Dir(filepath.Clean(args[4]))
	j := &job{
		Lineage: dir, Next: filepath.Join(dir, "privkey.roll.pem"),
		Files: map[string]string{keyFile: args[2], certFile: args[3], fullFile: args[4], chainFile: args[5]},
	}
	return j, j.checkNames("deploy_cert", args[1])
}

var legoClient = client{
	name:  "lego",
	place: "certificates/NAME.crt",
	again: "LEGO_CERT_PATH=.../certificates/NAME.crt LEGO_CERT_KEY_PATH=.../certificates/NAME.key tlsactl hook lego ...",
	help: `hook lego is for lego's --run-hook and --renew-hook (version 4), or --deploy-hook (version 5). lego gives
its hook to no shell and splits it at every space: make it a script, not a command with quotes. It
reads LEGO_CERT_PATH and LEGO_CERT_KEY_PATH, or LEGO_HOOK_CERT_PATH, LEGO_HOOK_CERT_KEY_PATH and
LEGO_HOOK_ISSUER_CERT_PATH of version 5. lego has no next key of its own.`,
	example: `  printf '#!/bin/sh\nexec tlsactl hook lego --next /var/lib/dane/next \\
      --install /etc/postfix/tls --combined --run "postfix reload"\n' >/usr/local/sbin/tlsa-renewed
  lego ... renew --renew-hook /usr/local/sbin/tlsa-renewed`,
	read: readLego,
}

// readLego takes a relative path for one in lego's working directory, which is its hook's, too.
func readLego(getenv func(string) string, _ []string) (*job, error) {
	prefix := "LEGO_HOOK_"
	if getenv(prefix+"CERT_PATH") == "" {
		prefix = "LEGO_"
	}
	cert, key := getenv(prefix+"CERT_PATH"), getenv(prefix+"CERT_KEY_PATH")
	if cert == "" || key == "" {
		return nil, fail(exitUsage, "LEGO_CERT_PATH and LEGO_CERT_KEY_PATH (lego 5: LEGO_HOOK_...) are not both set: lego sets them for "+
			"its hook; to run it by hand, set them to NAME.crt and NAME.key; --resume goes on with what is staged")
	}
	j := &job{Files: map[string]string{fullFile: cert, keyFile: key}}
	j.Files[chainFile] = cmp.Or(getenv(prefix+"ISSUER_CERT_PATH"), strings.TrimSuffix(cert, ".crt")+".issuer.crt")
	for role, path := range j.Files {
		abs, err := filepath.Abs(path)
		if err != nil {
			return nil, err
		}
		j.Files[role] = abs
	}
	j.Lineage = j.Files[fullFile]
	return j, j.checkNames(prefix+"CERT_PATH", getenv("LEGO_CERT_DOMAIN"))
}

var acmeShClient = client{
	name:  "acme.sh",
	place: "DOMAIN_ecc",
	again: "CERT_KEY_PATH=... CERT_FULLCHAIN_PATH=.../fullchain.cer tlsactl hook acme.sh ...",
	help: `hook acme.sh is for --reloadcmd of acme.sh --install-cert, given without --key-file and the like: the
hook installs them. It reads Le_Domain, CERT_PATH, CERT_KEY_PATH, CA_CERT_PATH and CERT_FULLCHAIN_PATH.
NAME is that of acme.sh's directory, such as mail.example.org_ecc. With --always-force-new-domain-key
the public half of DOMAIN.key.next is published through --next, long before that key is used.`,
	example: `  acme.sh --install-cert -d mail.example.org --ecc --reloadcmd "tlsactl hook acme.sh \
      --next /var/lib/dane/next --install /etc/postfix/tls --combined --run 'postfix reload'"`,
	read: readAcmeSh,
}

func readAcmeSh(getenv func(string) string, _ []string) (*job, error) {
	key, full := getenv("CERT_KEY_PATH"), getenv("CERT_FULLCHAIN_PATH")
	if key == "" || full == "" {
		return nil, fail(exitUsage, "CERT_KEY_PATH and CERT_FULLCHAIN_PATH are not both set: acme.sh sets them for --reloadcmd; to run it by "+
			"hand, set them to DOMAIN.key and fullchain.cer; --resume goes on with what is staged")
	}
	j := &job{Lineage: filepath.Dir(filepath.Clean(full)), Next: key + ".next", Files: map[string]string{keyFile: key, fullFile: full}}
	for role, name := range map[string]string{certFile: "CERT_PATH", chainFile: "CA_CERT_PATH"} {
		if path := getenv(name); path != "" {
			j.Files[role] = path
		}
	}
	return j, j.checkNames("CERT_FULLCHAIN_PATH", getenv("Le_Domain"))
}

// checkNames refuses what no client says. The name becomes that of files, which --push and other programs see.
func (j *job) checkNames(variable, domain string) error {
	for _, path := range slices.Sorted(maps.Values(j.Files)) {
		if !filepath.IsAbs(path) || strings.ContainsFunc(path, unicode.IsControl) {
			return fail(exitUsage, "%s: %q: want an absolute path without control characters", variable, path)
		}
	}
	if name := j.name(); !isLineageName(name) {
		return fail(exitUsage, "%s: %q is no name of a lineage: want one like mail.example.org, without spaces and without two dots in a row",
			variable, name)
	}
	if domain != "" && !isLineageName(domain) {
		return fail(exitUsage, "%q is no domain: want one like mail.example.org", domain)
	}
	return nil
}

// isLineageName tells whether name can be that of a file beside others, and of nothing else.
func isLineageName(name string) bool {
	strange := func(r rune) bool {
		return !unicode.IsGraphic(r) || unicode.IsSpace(r) || r == '/' || r == os.PathSeparator
	}
	return name != "" && name[0] != '.' && name[0] != '-' && !strings.Contains(name, "..") && !strings.ContainsFunc(name, strange)
}

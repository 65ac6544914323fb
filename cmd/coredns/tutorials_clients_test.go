//go:build referee

package main

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/pem"
	"fmt"
	"os"
	"path/filepath"
	"testing"
)

// What the tutorials take for granted: each ACME client knows its CA.

func script(t *testing.T, path, text string) {
	t.Helper()
	write(t, path, "#!/bin/sh\n"+text)
	if err := os.Chmod(path, 0o755); err != nil {
		t.Fatal(err)
	}
}

func certbotReady(t *testing.T, ca authority) {
	t.Helper()
	write(t, "/etc/letsencrypt/cli.ini", fmt.Sprintf("server = %s\nno-verify-ssl = true\nagree-tos = true\nnon-interactive = true\n"+
		"register-unsafely-without-email = true\n", ca.url))
}

func dehydratedReady(t *testing.T, ca authority) {
	t.Helper()
	write(t, "/etc/dehydrated/conf.d/ca.sh", fmt.Sprintf("CA=%q\nCURL_OPTS=-k\nKEYSIZE=2048\n", ca.url))
}

// legoReady puts a lego before Debian's that adds the server to what it is told.
func legoReady(t *testing.T, ca authority) {
	t.Helper()
	script(t, "/usr/local/bin/lego", fmt.Sprintf("LEGO_CA_CERTIFICATES=%s exec /usr/bin/lego --server %s \"$@\"\n", ca.cert, ca.url))
}

// acmeShReady puts a replay of acme.sh in its place: its files in its order, and its variables, as its source has them
// (issue and _installcert of acme.sh 3.1). openssl is the CA.
func acmeShReady(t *testing.T, _ authority) {
	t.Helper()
	dir := t.TempDir()
	execute(t, dir, nil, "openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-keyout", "ca.key",
		"-out", "ca.pem", "-days", "2", "-subj", "/CN=A test CA")
	script(t, "/usr/local/bin/acme.sh", fmt.Sprintf(acmeShReplay, filepath.Join(dir, "ca")))
}

const acmeShReplay = `set -e
umask 077
ca=%[1]s
verb=$1 domain=$3
export DOMAIN_PATH=/root/.acme.sh/${domain}_ecc
CERT_PATH=$DOMAIN_PATH/$domain.cer CERT_KEY_PATH=$DOMAIN_PATH/$domain.key
CA_CERT_PATH=$DOMAIN_PATH/ca.cer CERT_FULLCHAIN_PATH=$DOMAIN_PATH/fullchain.cer
Le_Next_Domain_Key=$CERT_KEY_PATH.next
mkdir -p "$DOMAIN_PATH"
newkey() { openssl ecparam -name prime256v1 -noout -genkey 2>/dev/null; }
reload() {
	test -e "$DOMAIN_PATH/reloadcmd" || return 0
	(
		export CERT_PATH CERT_KEY_PATH CA_CERT_PATH CERT_FULLCHAIN_PATH Le_Next_Domain_Key Le_Domain="$domain" Le_ForceNewDomainKey=1
		cd "$DOMAIN_PATH" && eval "$(cat reloadcmd)"
	)
}
if [ "$verb" = --install-cert ]; then
	while [ "$1" != --reloadcmd ]; do shift; done
	printf '%%s\n' "$2" >"$DOMAIN_PATH/reloadcmd"
	reload
	exit
fi
if [ -f "$Le_Next_Domain_Key" ]; then
	cat "$Le_Next_Domain_Key" >"$CERT_KEY_PATH"
	echo "" >"$Le_Next_Domain_Key"
else
	newkey >"$CERT_KEY_PATH"
fi
sleep 0.3
newkey >"$Le_Next_Domain_Key"
sleep 1
openssl req -new -key "$CERT_KEY_PATH" -subj / -addext "subjectAltName=DNS:$domain" -out "$DOMAIN_PATH/$domain.csr"
order=$(openssl x509 -req -in "$DOMAIN_PATH/$domain.csr" -CA $ca.pem -CAkey $ca.key -CAcreateserial -days 1 -copy_extensions copy 2>/dev/null)
{ printf '%%s\n' "$order"; cat $ca.pem; } >"$CERT_PATH"
cat "$CERT_PATH" >"$CERT_FULLCHAIN_PATH"
printf '%%s\n' "$order" >"$CERT_PATH"
cat $ca.pem >"$CA_CERT_PATH"
echo "Le_Domain='$domain'" >"$DOMAIN_PATH/$domain.conf"
reload
`

// publicDigest is the digest of the only public key in a file.
func publicDigest(t *testing.T, path string) string {
	t.Helper()
	block, rest := pem.Decode([]byte(read(t, path)))
	if block == nil || block.Type != "PUBLIC KEY" || len(rest) > 0 {
		t.Fatalf("%s: want one public key", path)
	}
	sum := sha256.Sum256(block.Bytes)
	return hex.EncodeToString(sum[:])
}

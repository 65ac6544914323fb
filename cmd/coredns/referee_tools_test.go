//go:build referee

package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// judges is what runs inside a network namespace, where port 53 and the resolver's configuration are the test's own. Each
// line that it prints is a tool, a server's port and the tool's exit code.
const judges = `set -u
ip link set lo up
mount --bind resolv.conf /etc/resolv.conf
mount --bind anchor "$ROOTKEY"
"$COREDNS" -conf Corefile.53 >coredns.log 2>&1 &
unbound -d -c unbound.conf >unbound.log 2>&1 &
openssl s_server -quiet -accept 127.0.0.1:4443 -cert good.pem -key good.key -cert_chain ca.pem >/dev/null 2>&1 </dev/zero &
openssl s_server -quiet -accept 127.0.0.1:4444 -cert bad.pem -key bad.key -cert_chain ca.pem >/dev/null 2>&1 </dev/zero &
for i in $(seq 100); do
	dig @127.0.0.1 +short +adflag _4443._tcp.mail.example.org TLSA 2>/dev/null | grep -q '^3 1 1' && break
	sleep 0.1
done
for i in $(seq 100); do
	[ "$(ss -Hltn 'sport = :4443 or sport = :4444' | wc -l)" = 2 ] && break
	sleep 0.1
done
judge() {
	name=$1 port=$2
	shift 2
	timeout 20 "$@" >"$name.$port.log" 2>&1 </dev/null
	echo "$name $port $?"
}
for port in 4443 4444; do
	judge ldns-dane $port ldns-dane -4 -k anchor -r 127.0.0.1 verify mail.example.org $port
	judge danetool $port danetool --local-dns --check mail.example.org --proto tcp --port $port
	judge hash-slinger $port tlsa --verify --resolvconf resolv.conf --rootkey anchor -4 -p $port mail.example.org
done
`

func TestToolsAcceptTheRightServerAndRefuseTheWrongOne(t *testing.T) {
	dir := t.TempDir()
	binary, err := build()
	if err != nil {
		t.Fatal(err)
	}
	const rootKey = "/usr/share/dns/root.key"
	if _, err := os.Stat(rootKey); err != nil {
		t.Fatalf("the package dns-root-data is missing: %v", err)
	}
	judgedSite(t, dir)
	cmd := exec.Command("unshare", "-n", "-m", "-p", "-f", "--kill-child", "--mount-proc", "sh", "-c", judges)
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), "COREDNS="+binary, "ROOTKEY="+rootKey)
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	t.Logf("exit codes:\n%s", out)
	for _, tool := range []string{"ldns-dane", "danetool", "hash-slinger"} {
		if !strings.Contains(string(out), tool+" 4443 0\n") {
			t.Errorf("%s refuses the right server:\n%s", tool, read(t, filepath.Join(dir, tool+".4443.log")))
		}
		if m := regexp.MustCompile(tool + ` 4444 (\d+)\n`).FindStringSubmatch(string(out)); m == nil || m[1] == "0" || m[1] == "124" {
			t.Errorf("%s accepts the wrong server: %v\n%s", tool, m, read(t, filepath.Join(dir, tool+".4444.log")))
		}
	}
}

// judgedSite writes a zone with TLS servers on two ports, of which the second has another certificate than the one watched.
func judgedSite(t *testing.T, dir string) {
	t.Helper()
	openssl := func(args ...string) {
		t.Helper()
		cmd := exec.Command("openssl", args...)
		cmd.Dir = dir
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("openssl %v: %v\n%s", args, err, out)
		}
	}
	openssl("req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-keyout", "ca.key", "-out", "ca.pem", "-subj", "/CN=CA", "-days", "2")
	write(t, filepath.Join(dir, "ext"), "subjectAltName=DNS:mail.example.org\n")
	for _, name := range []string{"good", "bad"} {
		openssl("req", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-keyout", name+".key", "-out", name+".csr", "-subj", "/CN=mail.example.org")
		openssl("x509", "-req", "-in", name+".csr", "-CA", "ca.pem", "-CAkey", "ca.key", "-out", name+".pem", "-days", "1", "-extfile", "ext")
	}
	write(t, filepath.Join(dir, "live", "mail", "fullchain.pem"), read(t, filepath.Join(dir, "good.pem"))+read(t, filepath.Join(dir, "ca.pem")))
	const demo = "../../testdata/demo"
	for _, ext := range []string{"key", "private"} {
		copyFile(t, filepath.Join(demo, "Kexample.org.+013+06643."+ext), filepath.Join(dir, "Kexample.org.+013+06643."+ext))
	}
	write(t, filepath.Join(dir, "db.example.org"), zoneFile)
	write(t, filepath.Join(dir, "anchor"), anchor(t)+"\n")
	write(t, filepath.Join(dir, "resolv.conf"), "nameserver 127.0.0.1\noptions edns0 trust-ad\n")
	write(t, filepath.Join(dir, "Corefile.53"), `example.org:53 {
    bind 127.0.0.3
    errors
    dnssec {
        key file Kexample.org.+013+06643
    }
    tlsa {
        certs live
        name _4443._tcp.mail _4444._tcp.mail
        ledger ledger
    }
    file db.example.org
}
`)
	write(t, filepath.Join(dir, "unbound.conf"), unboundConf(dir, "53", "127.0.0.3"))
}

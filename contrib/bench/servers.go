package main

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"encoding/hex"
	"encoding/pem"
	"fmt"
	"math/big"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"github.com/miekg/dns"
)

// bench is one run.
type bench struct {
	rounds, owners int
	slice          time.Duration
	dir            string
	server         string // the built coredns
	digest         string // of the certificate's key, in hex
	names          string // the name lines of all owners
	key            string // the base name of the zone's key
	running        []*exec.Cmd
}

// launch starts a server and gives its port once it answers for the zone.
func (b *bench) launch(name string) (port string, err error) {
	if port, err = freePort(); err != nil {
		return "", err
	}
	signing := ""
	base, signed := strings.CutSuffix(name, "+dnssec")
	if signed { // its cache holds one signature for each owner, and those of the denials
		signing = fmt.Sprintf("dnssec {\nkey file %s\ncache_capacity %d\n}\n", filepath.Join(b.dir, b.key), 4*b.owners)
	}
	block := func(plugins string) error {
		return b.daemon(name, "example.org:"+port+" {\nbind 127.0.0.1\n"+signing+plugins+"}\n", b.server, "-conf")
	}
	switch base {
	case "tlsa":
		err = block("tlsa {\ncerts " + b.dir + "/certs\nledger " + b.dir + "/" + name + ".ledger\n" + b.names + "}\nfile " + b.dir + "/hosts.zone\n")
	case "file":
		err = block("file " + b.dir + "/whole.zone\n")
	case "whoami":
		err = block("whoami\n")
	case "template":
		err = block("template IN TLSA {\nanswer \"{{ .Name }} 3600 IN TLSA 3 1 1 " + b.digest + "\"\n}\n")
	case "nsd":
		err = b.daemon(name, b.nsd(port, b.dir+"/whole.zone"), "nsd", "-d", "-c")
	case "nsd-presigned":
		if err = b.presign(); err == nil {
			err = b.daemon(name, b.nsd(port, b.dir+"/signed.zone"), "nsd", "-d", "-c")
		}
	case "knot-online":
		err = b.daemon(name, b.knot(port), "knotd", "-c")
	}
	if err != nil {
		return "", err
	}
	return port, b.answers(name, port)
}

// daemon writes a configuration and starts a program with it, which is its last argument.
func (b *bench) daemon(name, conf string, argv ...string) error {
	path := filepath.Join(b.dir, name+".conf")
	if err := os.WriteFile(path, []byte(conf), 0o600); err != nil {
		return err
	}
	log, err := os.Create(filepath.Join(b.dir, name+".log"))
	if err != nil {
		return err
	}
	defer log.Close()
	cmd := exec.Command(argv[0], append(argv[1:], path)...)
	cmd.Stdout, cmd.Stderr = log, log
	if err := cmd.Start(); err != nil {
		return err
	}
	b.running = append(b.running, cmd)
	return nil
}

// stop ends the servers that run.
func (b *bench) stop() {
	for _, cmd := range b.running {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	}
	b.running = nil
}

func (b *bench) close() {
	b.stop()
	_ = os.RemoveAll(b.dir)
}

func (b *bench) nsd(port, zone string) string {
	return fmt.Sprintf(`server:
    ip-address: 127.0.0.1
    port: %[1]s
    username: ""
    chroot: ""
    zonesdir: "%[2]s"
    database: ""
    pidfile: ""
    xfrdfile: ""
    zonelistfile: "%[2]s/zone.list"
    xfrdir: "%[2]s"
    rrl-ratelimit: 0
remote-control:
    control-enable: no
zone:
    name: example.org
    zonefile: "%[3]s"
`, port, b.dir, zone)
}

func (b *bench) knot(port string) string {
	return fmt.Sprintf(`server:
    listen: 127.0.0.1@%[1]s
    rundir: "%[2]s"
database:
    storage: "%[2]s"
log:
  - target: stderr
    any: warning
mod-onlinesign:
  - id: default
    nsec-bitmap: [A, AAAA, TLSA]
template:
  - id: default
    zonefile-load: whole
    journal-content: none
zone:
  - domain: example.org
    file: "%[2]s/whole.zone"
    module: mod-onlinesign/default
`, port, b.dir)
}

// presign makes the signed zone of a server that does not sign.
func (b *bench) presign() error {
	whole, err := os.ReadFile(filepath.Join(b.dir, "whole.zone"))
	if err != nil {
		return err
	}
	key, err := os.ReadFile(filepath.Join(b.dir, b.key+".key"))
	if err != nil {
		return err
	}
	unsigned := filepath.Join(b.dir, "unsigned.zone")
	if err := os.WriteFile(unsigned, append(whole, key...), 0o600); err != nil {
		return err
	}
	return b.command("dnssec-signzone", "-z", "-P", "-Q", "-K", b.dir, "-d", b.dir, "-o", "example.org", "-f", b.dir+"/signed.zone", unsigned, b.dir+"/"+b.key)
}

// answers waits until a server knows the zone.
func (b *bench) answers(name, port string) error {
	q := new(dns.Msg)
	q.SetQuestion(owner(0), dns.TypeTLSA)
	for until := time.Now().Add(3 * time.Minute); time.Now().Before(until); time.Sleep(100 * time.Millisecond) {
		if r, err := dns.Exchange(q, "127.0.0.1:"+port); err == nil && r.Rcode == dns.RcodeSuccess && len(r.Answer)+len(r.Extra) > 0 {
			return nil
		}
	}
	log, _ := os.ReadFile(filepath.Join(b.dir, name+".log"))
	return fmt.Errorf("%s does not answer; it said: %s", name, log)
}

// certificate makes the one that all owners have.
func (b *bench) certificate() error {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return err
	}
	spki, err := x509.MarshalPKIXPublicKey(&key.PublicKey)
	if err != nil {
		return err
	}
	sum := sha256.Sum256(spki)
	b.digest = hex.EncodeToString(sum[:])
	template := &x509.Certificate{SerialNumber: big.NewInt(1), NotBefore: time.Now(), NotAfter: time.Now().AddDate(0, 3, 0), DNSNames: []string{"mail.example.org"}}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		return err
	}
	dir := filepath.Join(b.dir, "certs", "mail")
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(dir, "fullchain.pem"), pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), 0o600)
}

func (b *bench) command(argv ...string) error {
	_, err := b.output(argv...)
	return err
}

// output runs a program to its end and gives what it printed.
func (b *bench) output(argv ...string) (string, error) {
	var stdout, stderr bytes.Buffer
	cmd := exec.Command(argv[0], argv[1:]...)
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	if err := cmd.Run(); err != nil {
		return "", fmt.Errorf("%s: %w\n%s%s", strings.Join(argv, " "), err, &stdout, &stderr)
	}
	return stdout.String(), nil
}

// freePort gives a port of the loopback that is free for UDP and TCP.
func freePort() (string, error) {
	for {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			return "", err
		}
		_, port, _ := net.SplitHostPort(l.Addr().String())
		u, err := net.ListenPacket("udp", "127.0.0.1:"+port)
		_ = l.Close()
		if err == nil {
			return port, u.Close()
		}
	}
}

//go:build referee

package main

import (
	"bytes"
	"net"
	"os"
	"os/exec"
	"regexp"
	"strings"
	"testing"
)

// sh runs a line of shell in the current directory and gives what it prints, without white space around it.
func sh(t *testing.T, line string) string {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), "sh", "-c", line)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("%s: %v\n%s", line, err, stderr.String())
	}
	return strings.TrimSpace(string(out))
}

// records gives the output of tlsactl records without its last line feed.
func records(t *testing.T, args ...string) string {
	t.Helper()
	code, stdout, stderr := tlsactl(t, nil, append([]string{"records"}, args...)...)
	if code != 0 {
		t.Fatalf("records %v: exit %d: %s", args, code, stderr)
	}
	return strings.TrimSuffix(stdout, "\n")
}

// opensslLineage makes privkey.pem, mail.csr, cert.pem, ca.pem and fullchain.pem with openssl in an empty directory.
func opensslLineage(t *testing.T, keyOptions string) {
	t.Helper()
	t.Chdir(t.TempDir())
	sh(t, "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -keyout ca.key -out ca.pem -subj '/CN=referee CA' -days 30")
	sh(t, "openssl genpkey -out privkey.pem "+keyOptions)
	sh(t, "openssl req -new -key privkey.pem -out mail.csr -subj /CN=mail.example.org -addext subjectAltName=DNS:mail.example.org")
	sh(t, "printf 'subjectAltName=DNS:mail.example.org\n' > ext")
	sh(t, "openssl x509 -req -in mail.csr -CA ca.pem -CAkey ca.key -CAcreateserial -days 20 -extfile ext -out cert.pem")
	sh(t, "cat cert.pem ca.pem > fullchain.pem")
}

var opensslKeys = map[string]string{
	"RSA":             "-algorithm RSA -pkeyopt rsa_keygen_bits:2048",
	"RSA-PSS":         "-algorithm RSA-PSS -pkeyopt rsa_keygen_bits:2048",
	"P-256":           "-algorithm EC -pkeyopt ec_paramgen_curve:P-256",
	"P-521":           "-algorithm EC -pkeyopt ec_paramgen_curve:P-521",
	"brainpoolP256r1": "-algorithm EC -pkeyopt ec_paramgen_curve:brainpoolP256r1",
	"secp256k1":       "-algorithm EC -pkeyopt ec_paramgen_curve:secp256k1",
	"Ed25519":         "-algorithm ED25519",
}

const hashed = " | openssl pkey -pubin -outform DER | openssl dgst -sha256 -hex | sed 's/.*= *//'"

// The recipes that people use today: from the certificate, from a running server, from the request.
func TestOpenSSLRecipesGiveTheSameRecord(t *testing.T) {
	for name, options := range opensslKeys {
		t.Run(name, func(t *testing.T) {
			opensslLineage(t, options)
			ours := records(t, "cert.pem")
			for recipe, got := range map[string]string{
				"x509 -pubkey":    sh(t, "openssl x509 -in cert.pem -noout -pubkey"+hashed),
				"req -pubkey":     sh(t, "openssl req -in mail.csr -noout -pubkey"+hashed),
				"pkey -pubout":    sh(t, "openssl pkey -in privkey.pem -pubout"+hashed),
				"x509 of a chain": sh(t, "openssl x509 -in fullchain.pem -noout -pubkey"+hashed),
			} {
				if want := "_25._tcp.mail.example.org.\t3600\tIN\tTLSA\t3 1 1 " + got; ours != want {
					t.Errorf("%s says %s, we say %s", recipe, want, ours)
				}
			}
			for _, file := range []string{"mail.csr", "privkey.pem", "fullchain.pem"} {
				if got := records(t, "--owner", "mail.example.org", file); got != ours {
					t.Errorf("%s: %s, want %s", file, got, ours)
				}
				code, pub, stderr := tlsactl(t, nil, "pubkey", file)
				if want := sh(t, "openssl pkey -in privkey.pem -pubout"); code != 0 || strings.TrimSpace(pub) != want {
					t.Errorf("pubkey %s: exit %d %s\n%s\nopenssl:\n%s", file, code, stderr, pub, want)
				}
			}
		})
	}
}

func TestOpenSSLClientSeesTheSameChain(t *testing.T) {
	opensslLineage(t, opensslKeys["P-256"])
	port := serveOpenSSL(t)
	theirs := sh(t, "openssl s_client -connect 127.0.0.1:"+port+" </dev/null 2>/dev/null | openssl x509 -noout -pubkey"+hashed)
	want := "_" + port + "._tcp.mail.example.org.\t3600\tIN\tTLSA\t3 1 1 " + theirs
	if got := records(t, "--from", "127.0.0.1:"+port, "--servername", "mail.example.org"); got != want {
		t.Errorf("s_client says %s, we say %s", want, got)
	}
	issuer := sh(t, "openssl x509 -in ca.pem -noout -pubkey"+hashed)
	if got := records(t, "--as", "2 1 1", "--from", "127.0.0.1:"+port, "--owner", "x.example"); !strings.HasSuffix(got, "2 1 1 "+issuer) {
		t.Errorf("the issuer is %s, we say %s", issuer, got)
	}
}

// serveOpenSSL runs openssl s_server until the test ends and gives its port.
func serveOpenSSL(t *testing.T) string {
	t.Helper()
	cmd := exec.Command("openssl", "s_server", "-accept", "127.0.0.1:0", "-cert", "cert.pem", "-key", "privkey.pem", "-cert_chain", "ca.pem", "-www")
	out, err := cmd.StdoutPipe()
	must(t, out, err)
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = cmd.Process.Kill(); _ = cmd.Wait() })
	var said []byte
	buf := make([]byte, 256)
	for {
		n, err := out.Read(buf)
		said = append(said, buf[:n]...)
		if m := regexp.MustCompile(`ACCEPT (\S+:\d+)`).FindSubmatch(said); m != nil {
			_, port, err := net.SplitHostPort(string(m[1]))
			return must(t, port, err)
		}
		if err != nil {
			t.Fatalf("s_server: %v: %s", err, said)
		}
	}
}

// Byte for byte: ldns-dane prints the line that we print; danetool writes the parameters with two digits and in parentheses.
func TestDaneToolsPrintTheSameRecords(t *testing.T) {
	parameters := regexp.MustCompile(`\( 0(\d) 0(\d) 0(\d) (\S+) \)`)
	for name, options := range opensslKeys {
		t.Run(name, func(t *testing.T) {
			opensslLineage(t, options)
			for _, as := range []string{"3 1 1", "3 0 1", "3 1 2", "2 1 1", "2 0 1"} {
				ours := records(t, "--as", as, "fullchain.pem")
				if theirs := sh(t, "ldns-dane -c fullchain.pem -f ca.pem create mail.example.org 25 "+as); theirs != ours {
					t.Errorf("ldns-dane: %s\nwe:        %s", theirs, ours)
				}
				file, options := "cert.pem", " --hash sha256"
				if as == "3 1 2" {
					options = " --hash sha512"
				}
				if as[0] == '2' {
					file, options = "ca.pem", options+" --ca"
				}
				if as[2] == '0' {
					options += " --x509"
				}
				if (name == "brainpoolP256r1" || name == "secp256k1") && file == "cert.pem" {
					continue // GnuTLS does not know the curve
				}
				theirs := sh(t, "danetool --tlsa-rr --host mail.example.org --port 25 --load-certificate "+file+options)
				theirs = parameters.ReplaceAllString(theirs, "$1 $2 $3 $4")
				if want := strings.ReplaceAll(strings.Replace(ours, "\t3600", "", 1), "\t", " "); theirs != want {
					t.Errorf("danetool: %s\nwe:       %s", theirs, want)
				}
			}
		})
	}
}

// What panels and servers without TLSA take is the same record.
func TestBindReadsEveryFormat(t *testing.T) {
	opensslLineage(t, opensslKeys["RSA"])
	for _, format := range []string{"zone", "rfc3597"} {
		zone := "$ORIGIN mail.example.org.\n@ 60 IN SOA ns. m. 1 2 3 4 5\n@ 60 IN NS ns.\n" +
			records(t, "--as", "3 1 1", "--as", "2 0 2", "-o", format, "fullchain.pem") + "\n"
		if err := os.WriteFile(format, []byte(zone), 0o600); err != nil {
			t.Fatal(err)
		}
		sh(t, "named-checkzone -D -o "+format+".out mail.example.org "+format)
	}
	if sh(t, "cat zone.out") != sh(t, "cat rfc3597.out") {
		t.Errorf("%s\n%s", sh(t, "cat zone.out"), sh(t, "cat rfc3597.out"))
	}
	write(t, "update", []byte(records(t, "-o", "nsupdate", "fullchain.pem")))
	if got := sh(t, "sed -i 's/^send/show/' update; nsupdate update"); !strings.Contains(got, "3600\tIN\tTLSA\t3 1 1") {
		t.Errorf("nsupdate makes of it: %s", got)
	}
}

package main

import (
	"bytes"
	"crypto/rand"
	"crypto/x509"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"software.sslmate.com/src/go-pkcs12"
)

// updateEnv names the environment variable that makes the golden file anew, to be read before it is committed.
const updateEnv = "TLSACTL_TEST_UPDATE"

const goldenErrors = "testdata/errors.txt"

// A message has to say what went wrong, where, why, and what to do. testdata/errors.txt holds each of them for a reader to
// judge: as printed by the command lines there, and below them, as written in the source, those that no command line here
// brings about.
func TestEveryErrorMessageIsInTheGoldenFile(t *testing.T) {
	source := messages(t)
	golden, err := filepath.Abs(goldenErrors)
	must(t, golden, err)
	dir := mistakenFiles(t)
	sockets := mistakenServers(t)
	var out bytes.Buffer
	for _, line := range append(mistakes, newerMistakes...) {
		fmt.Fprintf(&out, "$ %s\n%s\n", line, mistake(t, dir, sockets, line))
	}
	printed := out.String()
	out.WriteString("# Not brought about by these command lines:\n")
	for _, m := range source {
		isPrinted := m.pattern.MatchString(printed)
		if why, rare := rareMessages[m.text]; isPrinted && rare || slices.Contains(lined, m.file) && !isPrinted && why == "" {
			t.Errorf("%s: %q: brought about %v; want a command line in newerMistakes, or else why there is none in rareMessages",
				m.file, m.text, isPrinted)
		}
		if !isPrinted {
			fmt.Fprintf(&out, "%s\n", m.text)
		}
	}
	if os.Getenv(updateEnv) != "" {
		if err := os.WriteFile(golden, out.Bytes(), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(golden)
	must(t, want, err)
	got, old := strings.Split(out.String(), "\n"), strings.Split(string(want), "\n")
	for i := range max(len(got), len(old)) {
		if i >= len(got) || i >= len(old) || got[i] != old[i] {
			t.Fatalf("%s:%d differs: read the change of each message, then run with %s=1\n got %q\nwant %q",
				goldenErrors, i+1, updateEnv, got[min(i, len(got)-1)], old[min(i, len(old)-1)])
		}
	}
	if len(source) < 80 || strings.Count(printed, "\n") < 100 {
		t.Errorf("%d messages in the source, and %d lines printed", len(source), strings.Count(printed, "\n"))
	}
}

// mistake runs one command line. What differs from run to run is replaced.
func mistake(t *testing.T, dir, sockets, line string) string {
	t.Helper()
	t.Chdir(dir)
	w := &world{}
	w.put("192.0.2.1:53", &authority{apex: "example.org.", ttl: time.Hour, signed: true})
	w.put("192.0.2.2:53", &authority{apex: "example.org.", ttl: time.Hour})
	w.put("192.0.2.3:53", &authority{apex: "example.org.", ttl: time.Hour, signed: true, lame: true})
	w.put("192.0.2.4:53", resolver(nil, nil))
	shown := &authority{apex: "example.org.", ttl: time.Hour, signed: true}
	shown.set(mailOwner, recordsOf(t, mailOwner, must(t, []byte(readText(t, "mail.pem")), nil))...)
	w.put("192.0.2.5:53", shown)
	var talk bytes.Buffer
	a := newTestApp(strings.NewReader(""), &bytes.Buffer{}, &talk, w)
	args := words(line)
	env := map[string]string{}
	for len(args) > 0 && strings.Contains(args[0], "=") {
		name, value, _ := strings.Cut(args[0], "=")
		env[name], args = value, args[1:]
	}
	a.getenv = func(name string) string { return env[name] }
	if answer, asked := env["ANSWER"]; asked {
		a.terminal, a.stdin = func() bool { return true }, strings.NewReader(answer+"\n")
	}
	for i, arg := range args {
		args[i] = strings.ReplaceAll(strings.ReplaceAll(arg, "DIR", dir), "SOCKETS", sockets)
	}
	for name, value := range env {
		env[name] = strings.ReplaceAll(value, "DIR", dir)
	}
	code := a.run(t.Context(), args[1:])
	text := strings.ReplaceAll(strings.ReplaceAll(talk.String(), dir, "DIR"), sockets, "SOCKETS")
	for pattern, is := range map[string]string{`\b[0-9a-f]{64}\b`: "HEX", `\.tlsactl-\d+\.tmp`: ".tlsactl-N.tmp"} {
		text = regexp.MustCompile(pattern).ReplaceAllString(text, is)
	}
	text = regexp.MustCompile(`\d{4}-\d\d-\d\dT[0-9:]+Z`).ReplaceAllStringFunc(text, func(at string) string {
		if at == "2026-12-31T12:00:00Z" { // the example of --at
			return at
		}
		return "TIME"
	})
	text = regexp.MustCompile(`(?m)^Run '.*' for flags and examples.\n`).ReplaceAllString(text, "")
	return text + "exit " + strconv.Itoa(code) + "\n"
}

func readText(t *testing.T, path string) string {
	t.Helper()
	data, err := os.ReadFile(path)
	return string(must(t, data, err))
}

// mistakes are command lines that fail, each for its own reason.
var mistakes = []string{
	`tlsactl recrods`,
	`tlsactl records --ower x mail.pem`,
	`tlsactl records --warp 9 mail.pem`,
	`tlsactl records`,
	`tlsactl records --from mail.example.org:25 mail.pem`,
	`tlsactl records none.pem`,
	`tlsactl records empty.pem`,
	`tlsactl records text.pem`,
	`tlsactl records cut.pem`,
	`tlsactl records large.pem`,
	`tlsactl records ca.pem`,
	`tlsactl records key.pem`,
	`tlsactl records wild.pem`,
	`tlsactl records locked.pem`,
	`tlsactl records strange.pem`,
	`tlsactl records misfit/both.pem`,
	`tlsactl records secret.p12`,
	`tlsactl records --password-file text.pem secret.p12`,
	`tlsactl records --password-file none.pem secret.p12`,
	`tlsactl records -o yaml mail.pem`,
	`tlsactl records --ttl 1ms mail.pem`,
	`tlsactl records --as "3 1" mail.pem`,
	`tlsactl records --as "3 1 7" mail.pem`,
	`tlsactl records --as "1 1 1" mail.pem`,
	`tlsactl records --as "2 1 1" mail.pem`,
	`tlsactl records --port 025 mail.pem`,
	`tlsactl records --owner _25._tcp.mail.example.org --port 465 mail.pem`,
	`tlsactl records --owner _025._tcp.mail.example.org mail.pem`,
	`tlsactl records --owner _25._quic.mail.example.org mail.pem`,
	`tlsactl records --owner _mail.example.org mail.pem`,
	`tlsactl records --owner mail..example.org mail.pem`,
	`tlsactl records --starttls smtp mail.pem`,
	`tlsactl records --from mail.example.org`,
	`tlsactl records --from mail.example.org:25 --starttls snmp`,
	`tlsactl records --from 127.0.0.1:1`,
	`tlsactl pubkey`,
	`tlsactl pubkey --out none/mail.pub mail.pem`,
	`tlsactl wait`,
	`tlsactl wait -4 -6 mail.pem`,
	`tlsactl wait --server 192.0.2.1 -4 mail.pem`,
	`tlsactl wait --server ns1.example.org mail.pem`,
	`tlsactl wait --resolver ns1.example.org mail.pem`,
	`tlsactl wait --every 0 mail.pem`,
	`tlsactl wait --hold 3x mail.pem`,
	`tlsactl wait --at-most 0 mail.pem`,
	`tlsactl wait --at-most 0 --server 192.0.2.9 mail.pem`,
	`tlsactl wait --at-most 0 --server 192.0.2.1 mail.pem`,
	`tlsactl wait --at-most 0 --server 192.0.2.2 mail.pem`,
	`tlsactl wait --at-most 0 --server 192.0.2.3 mail.pem`,
	`tlsactl wait --at-most 0 --resolver 192.0.2.4 mail.pem`,
	`tlsactl wait --at-most 0 --server 192.0.2.5 mail.pem`,
	`tlsactl wait --at-most 0 --server 192.0.2.5 --state bad.state mail.pem`,
	`tlsactl wait --at-most 0 --server 192.0.2.5 --state staged mail.pem`,
	`tlsactl wait --at-most 0 --server 192.0.2.5 --state none/state mail.pem`,
	`tlsactl wait --port 465 _25._tcp.mail.example.org`,
	`tlsactl wait _25._quic.mail.example.org`,
	`tlsactl install staged`,
	`tlsactl install none staged`,
	`tlsactl install staged mail.pem`,
	`tlsactl install staged none/mail`,
	`tlsactl install misfit installed`,
	`tlsactl install twice installed`,
	`tlsactl install chain fresh`,
	`tlsactl install part installed`,
	`tlsactl install --combined part one.pem`,
	`tlsactl install broken installed`,
	`tlsactl install --server 192.0.2.1 staged installed`,
	`tlsactl install --server 192.0.2.5 --hold 0 --run "exit 7" staged fresh`,
	`tlsactl install --server 192.0.2.5 staged journal`,
	`tlsactl install --server 192.0.2.5 staged journal3`,
	`tlsactl hook uacme`,
	`tlsactl hook certbot now`,
	`tlsactl hook certbot`,
	`tlsactl hook certbot --next DIR/next`,
	`tlsactl hook certbot --next next --install DIR/etc`,
	`tlsactl hook certbot --next DIR/etc --install DIR/etc`,
	`tlsactl hook certbot --next DIR/next --install DIR/etc`,
	`RENEWED_LINEAGE=live tlsactl hook certbot --next DIR/next --install DIR/etc`,
	`RENEWED_LINEAGE=DIR/none tlsactl hook certbot --next DIR/next --install DIR/etc`,
	`RENEWED_LINEAGE=DIR/staged tlsactl hook certbot --next DIR/none --install DIR/etc`,
	`RENEWED_LINEAGE=DIR/staged tlsactl hook certbot --next DIR/next --install DIR`,
	`RENEWED_LINEAGE=DIR/misfit tlsactl hook certbot --next DIR/next --install DIR/etc`,
	`RENEWED_LINEAGE=DIR/staged tlsactl hook certbot --next DIR/next --install DIR/etc --server 192.0.2.1`,
	`RENEWED_LINEAGE=DIR/etc/staged tlsactl hook certbot --next DIR/next --install DIR/other --server 192.0.2.1`,
	`RENEWED_LINEAGE=DIR/pushed tlsactl hook certbot --next DIR/next --install DIR/etc --push "exit 7"`,
	`RENEWED_LINEAGE=DIR/two..dots tlsactl hook certbot --next DIR/next --install DIR/etc`,
	`tlsactl hook dehydrated --next DIR/next --install DIR/etc`,
	`tlsactl hook dehydrated --next DIR/next --install DIR/etc deploy_cert mail.example.org`,
	`tlsactl hook dehydrated --next DIR/next --install DIR/etc deploy_cert ../x DIR/staged/k DIR/staged/c DIR/staged/f DIR/staged/h 1`,
	`tlsactl hook lego --next DIR/next --install DIR/etc`,
	`LEGO_CERT_PATH=DIR/none.crt LEGO_CERT_KEY_PATH=DIR/none.key tlsactl hook lego --next DIR/next --install DIR/etc`,
	`tlsactl hook acme.sh --next DIR/next --install DIR/etc`,
	`CERT_KEY_PATH=a.key CERT_FULLCHAIN_PATH=full.cer tlsactl hook acme.sh --next DIR/next --install DIR/etc`,
	`tlsactl hook certbot --resume`,
	`tlsactl hook certbot --resume --next DIR/next --hold 3h`,
	`tlsactl hook certbot --resume --next DIR/none`,
	`tlsactl hook certbot --resume --state DIR/jobs`,
	`tlsactl hook certbot --resume --next DIR/next`,
}

// mistakenFiles are what mistakes are made with.
func mistakenFiles(t *testing.T) (dir string) {
	t.Helper()
	dir = t.TempDir()
	put := func(name string, data []byte) {
		t.Helper()
		path := filepath.Join(dir, name)
		must(t, 0, os.MkdirAll(filepath.Dir(path), 0o755))
		must(t, 0, os.WriteFile(path, data, 0o600))
	}
	lineage := func(name string, files map[string][]byte, but ...string) {
		for file, data := range files {
			if !slices.Contains(but, file) {
				put(filepath.Join(name, file), data)
			}
		}
	}
	key := newKey(t)
	staged := newLineage(t, "mail.example.org", key)
	lineage("staged", staged)
	lineage("pushed", staged)
	lineage("installed", newLineage(t, "mail.example.org", newKey(t)))
	lineage("part", staged, "fullchain.pem")
	lineage("misfit", staged)
	put("misfit/privkey.pem", newLineage(t, "mail.example.org", newKey(t))["privkey.pem"])
	put("misfit/both.pem", append(bytes.Clone(staged["cert.pem"]), newLineage(t, "x.example.org", newKey(t))["privkey.pem"]...))
	lineage("twice", staged)
	put("twice/cert.pem", newLineage(t, "mail.example.org", key)["cert.pem"])
	put("chain/chain.pem", staged["chain.pem"])
	lineage("broken", staged)
	put("broken/cert.pem", staged["cert.pem"][:300])
	lineage("journal", nil)
	put("journal/.tlsactl-install", []byte(`{"version": 2, "phase": "move"}`))
	put("journal3/.tlsactl-install", []byte(`{"version": 1, "phase": "move"}`))
	put("jobs/a/job.json", []byte(`{"version": 2}`))
	put("jobs/b/job.json", []byte(`{`))
	put("jobs/c/job.json", []byte(`{"version": 1, "client": "uacme"}`))
	for _, d := range []string{"next", "etc", "other", "fresh"} {
		must(t, 0, os.MkdirAll(filepath.Join(dir, d), 0o755))
	}
	lineage("etc/staged", newLineage(t, "mail.example.org", newKey(t)))
	put("mail.pem", staged["cert.pem"])
	put("keys.pem", append(bytes.Clone(staged["cert.pem"]), newLineage(t, "y.example.org", newKey(t))["cert.pem"]...))
	put("Corefile", []byte("example.org {\n tlsa {\n  name mail\n }\n}\n"))
	put("cut.pem", staged["cert.pem"][:300])
	put("ca.pem", staged["chain.pem"])
	put("key.pem", staged["privkey.pem"])
	put("empty.pem", nil)
	put("text.pem", []byte("no certificate\n"))
	put("large.pem", make([]byte, maxFile+1))
	put("bad.state", []byte("{"))
	put("wild.pem", newLineage(t, "*.example.org", newKey(t))["cert.pem"])
	put("locked.pem", []byte("-----BEGIN ENCRYPTED PRIVATE KEY-----\nMAAwAAQA\n-----END ENCRYPTED PRIVATE KEY-----\n"))
	put("strange.pem", []byte("-----BEGIN PRIVATE KEY-----\nMAAwAAQA\n-----END PRIVATE KEY-----\n"))
	cert, err := x509.ParseCertificate(issue(t, "mail.example.org", key))
	must(t, cert, err)
	pfx, err := pkcs12.Modern.WithRand(rand.Reader).Encode(key, cert, nil, "secret")
	put("secret.p12", must(t, pfx, err))
	return dir
}

// A sourceMessage is the text of one error in the source, and a pattern of what is printed of it.
type sourceMessage struct {
	file    string
	text    string
	pattern *regexp.Regexp
}

var verb = regexp.MustCompile(`%[-+#.0-9]*[a-zA-Z]`)

// messages are all texts of fail, fmt.Errorf and errors.New that have words of their own, in the order of files and lines.
func messages(t *testing.T) (out []sourceMessage) {
	t.Helper()
	names, err := fs.Glob(os.DirFS("."), "*.go")
	set := token.NewFileSet()
	for _, name := range must(t, names, err) {
		if strings.HasSuffix(name, "_test.go") {
			continue
		}
		file, err := parser.ParseFile(set, name, nil, parser.SkipObjectResolution)
		ast.Inspect(must(t, file, err), func(n ast.Node) bool {
			call, ok := n.(*ast.CallExpr)
			if !ok {
				return true
			}
			at := slices.Index([]string{"fmt.Errorf", "fail"}, called(call))
			if called(call) == "errors.New" {
				at = 0
			}
			if at >= 0 && at < len(call.Args) {
				text := constant(call.Args[at])
				if strings.Trim(verb.ReplaceAllString(text, ""), " :;,.()") != "" {
					parts := verb.Split(text, -1)
					for i := range parts {
						parts[i] = regexp.QuoteMeta(parts[i])
					}
					out = append(out, sourceMessage{name, text, regexp.MustCompile(strings.Join(parts, `(?s:.*?)`))})
				}
			}
			return true
		})
	}
	return out
}

func called(call *ast.CallExpr) string {
	switch f := call.Fun.(type) {
	case *ast.Ident:
		return f.Name
	case *ast.SelectorExpr:
		if x, ok := f.X.(*ast.Ident); ok {
			return x.Name + "." + f.Sel.Name
		}
	}
	return ""
}

// constant is the text of a literal, or of several with + between them; what is no literal counts as empty.
func constant(e ast.Expr) string {
	switch e := e.(type) {
	case *ast.BasicLit:
		text, _ := strconv.Unquote(e.Value)
		return text
	case *ast.BinaryExpr:
		return constant(e.X) + constant(e.Y)
	}
	return ""
}

package main

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/rogpeppe/go-internal/testscript"
)

// scriptLego is "lego DIR": lego's files of the lineage in DIR, in place and in lego's order.
func scriptLego(ts *testscript.TestScript, _ bool, args []string) {
	stem := filepath.Join(ts.Getenv("LEGO"), ts.Getenv("NAME"))
	inPlace(ts, args[0], [][2]string{{"fullchain.pem", stem + ".crt"}, {"chain.pem", stem + ".issuer.crt"}, {"privkey.pem", stem + ".key"}})
	ts.Check(os.WriteFile(stem+".json", []byte("{}"), 0o600))
}

// scriptAcmeSh is "acmesh DIR": acme.sh's files of the lineage in DIR, in place and in acme.sh's order.
func scriptAcmeSh(ts *testscript.TestScript, _ bool, args []string) {
	dir := ts.Getenv("ACME")
	cer := filepath.Join(dir, "mail.example.org.cer")
	inPlace(ts, args[0], [][2]string{
		{"privkey.pem", ts.Getenv("KEY")}, {"fullchain.pem", cer}, {"fullchain.pem", filepath.Join(dir, "fullchain.cer")},
		{"cert.pem", cer}, {"chain.pem", filepath.Join(dir, "ca.cer")},
	})
}

func inPlace(ts *testscript.TestScript, from string, files [][2]string) {
	for _, f := range files {
		ts.Check(os.WriteFile(f[1], []byte(ts.ReadFile(filepath.Join(from, f[0]))), 0o600))
	}
}

// scriptDehydrated is "dehydrated DIR TIMESTAMP": dated files of the lineage in DIR, then links to them, in dehydrated's order.
func scriptDehydrated(ts *testscript.TestScript, _ bool, args []string) {
	dir := ts.Getenv("DIR")
	ts.Check(os.MkdirAll(dir, 0o700))
	for _, kind := range []string{"privkey", "cert", "chain", "fullchain"} {
		inPlace(ts, args[0], [][2]string{{kind + ".pem", filepath.Join(dir, kind+"-"+args[1]+".pem")}})
	}
	for _, kind := range []string{"privkey", "chain", "fullchain", "cert"} {
		link := filepath.Join(dir, kind+".pem")
		if err := os.Remove(link); !errors.Is(err, fs.ErrNotExist) {
			ts.Check(err)
		}
		ts.Check(os.Symlink(kind+"-"+args[1]+".pem", link))
	}
	ts.Check(os.WriteFile(filepath.Join(dir, "ocsp.der"), []byte{0x30, 3, 10, 1, 0}, 0o600))
}

// scriptRoll is "roll DIR": a new lineage in DIR, of which dehydrated has but the key, as its next one.
func scriptRoll(ts *testscript.TestScript, _ bool, args []string) {
	scriptCert(ts, false, []string{args[0], ts.Getenv("NAME")})
	inPlace(ts, args[0], [][2]string{{"privkey.pem", filepath.Join(ts.Getenv("DIR"), "privkey.roll.pem")}})
}

// scriptNewline is "newline NAME A B": the variable NAME is A and B with a line's end between.
func scriptNewline(ts *testscript.TestScript, _ bool, args []string) {
	ts.Setenv(args[0], args[1]+"\n"+args[2])
}

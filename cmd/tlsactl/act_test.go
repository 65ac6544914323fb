package main

import (
	"bytes"
	"path/filepath"
	"strings"
	"testing"

	"github.com/coredns-tlsa/coredns-tlsa/plugin/tlsa/control"
)

// On a terminal a yes is wanted, and without one nothing reaches the server.
func TestTerminalIsAsked(t *testing.T) {
	digest := strings.Repeat("ab", 32)
	for claim, row := range map[string]struct {
		args  []string
		types string
		acts  int
		code  int
		asks  string
	}{
		"yes":                  {[]string{"withdraw", mailOwner}, "y\n", 1, 0, mailOwner + " is answered without records"},
		"Yes in full":          {[]string{"revoke", mailOwner, digest}, " Yes \n", 1, 0, "the key of " + digest + " leaves the answers of " + mailOwner},
		"no":                   {[]string{"revoke", mailOwner, digest}, "n\n", 0, exitUnsafe, "nothing was done"},
		"just the enter key":   {[]string{"withdraw", "--lineage", "mail"}, "\n", 0, exitUnsafe, "lineage mail is given up"},
		"the end of the input": {[]string{"revoke", "--spki", digest}, "", 0, exitUnsafe, "the key " + digest + " leaves"},
		"--yes":                {[]string{"withdraw", "--yes", mailOwner}, "", 1, 0, ""},
		"restore":              {[]string{"restore", mailOwner}, "", 1, 0, ""},
	} {
		t.Run(claim, func(t *testing.T) {
			b := blockOf(mailOwner, control.Association{State: "retired"})
			socket := serveControl(t, filepath.Join(socketDir(t), "s"), b)
			var out, talk bytes.Buffer
			a := newTestApp(strings.NewReader(row.types), &out, &talk, nil)
			a.terminal = func() bool { return true }
			code := a.run(t.Context(), append(row.args, "--control", socket))
			said := strings.Join(strings.Fields(talk.String()), " ")
			if code != row.code || len(b.acts) != row.acts || !strings.Contains(said, row.asks) ||
				strings.Contains(said, "Go on?") != (row.asks != "") || (out.Len() > 0) != (row.acts > 0) {
				t.Errorf("exit %d, %d actions:\n%s%s", code, len(b.acts), talk.String(), out.String())
			}
		})
	}
}

// A server that says nothing of what it did has done nothing that may be reported.
func TestAnEmptyAnswerIsNoSuccess(t *testing.T) {
	b := blockOf(mailOwner)
	b.mute = true
	socket := serveControl(t, filepath.Join(socketDir(t), "s"), b)
	for _, flags := range [][]string{nil, {"-o", "json"}} {
		code, stdout, stderr := tlsactl(t, nil, append([]string{"withdraw", "--yes", "--control", socket, mailOwner}, flags...)...)
		if code != exitUnsafe || stdout != "" || !strings.Contains(stderr, "the server did nothing") {
			t.Errorf("exit %d: %s%s", code, stdout, stderr)
		}
	}
}

func TestWordsAreQuotedForTheShell(t *testing.T) {
	for word, want := range map[string]string{
		"/etc/ssl/mail_1.pem": "/etc/ssl/mail_1.pem", "": "''", "a b": "'a b'", "it's": `'it'\''s'`, "$(x)": "'$(x)'", "~": "'~'", "é": "'é'",
	} {
		if got := quote(word); got != want {
			t.Errorf("%q: %s, want %s", word, got, want)
		}
	}
}

func TestRefusalIsHarmlessAndNothingElse(t *testing.T) {
	b := blockOf(mailOwner)
	b.refuse = &control.Error{Code: control.CodeRefused, Text: "/certs/\x1b]0;owned\x07\u202e holds it"}
	socket := serveControl(t, filepath.Join(socketDir(t), "s"), b)
	code, stdout, stderr := tlsactl(t, nil, "withdraw", "--yes", "--control", socket, mailOwner)
	if code != exitUnsafe || stdout != "" || strings.ContainsAny(stderr, "\x1b\x07\u202e") || !strings.Contains(stderr, "refused: /certs/") {
		t.Errorf("exit %d: %q%q", code, stdout, stderr)
	}
}

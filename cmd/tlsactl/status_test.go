package main

import (
	"bytes"
	"encoding/json"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/coredns-tlsa/coredns-tlsa/plugin/tlsa/control"
)

// evil is a file name that would set a terminal's title by C0 and C1 controls, and turn the order of letters.
const evil = "/next/\x1b]0;a\x07\u009b31m\u0085\x7f\u202etxt\u2066\u200f\u061c\U000e0041.pem"

func TestStatusObeysNoFileName(t *testing.T) {
	digest := strings.Repeat("ab", 32)
	b := blockOf(mailOwner, control.Association{
		State: "ready", Lineage: "m\u202eail", Reason: "staged in " + evil, Places: []control.Place{{Kind: "staged", File: evil, Lineage: evil}},
	})
	b.status.Owners[0].Problems = []control.Problem{{Reason: "unreadable", Text: evil, Source: evil}}
	leaf := control.Leaf{SPKI: digest, SHA256: digest, Files: []string{evil}, Safety: control.Safety{Safe: true}}
	b.status.Lineages = []control.Lineage{
		{ID: evil, Name: "mail", Staged: true, Leaves: []control.Leaf{leaf}},
		{ID: "/certs/mail.pem", Name: "mail", Leaves: []control.Leaf{{SPKI: digest, SHA256: digest, Files: []string{"/certs/mail.pem"}}}},
	}
	socket := serveControl(t, filepath.Join(socketDir(t), "s"), b)
	for _, format := range []string{"text", "json"} {
		code, stdout, stderr := tlsactl(t, nil, "status", "-o", format, "--control", socket)
		if code != 0 || stderr != "" || !strings.Contains(stdout, "txt") {
			t.Errorf("%s: exit %d: %s%s", format, code, stdout, stderr)
		}
		if at := strings.IndexFunc(stdout, func(r rune) bool { return r != '\n' && (r < ' ' || r > '~') && r != '\uFFFD' }); at >= 0 {
			t.Errorf("%s: %q is for the terminal to obey", format, stdout[at:min(at+8, len(stdout))])
		}
		if format == "json" {
			var s control.Status
			if err := json.Unmarshal([]byte(stdout), &s); err != nil || s.Blocks[0].Lineages[0].Leaves[0].Files[0] != evil {
				t.Errorf("the name is not what it was: %v", err)
			}
		}
	}
}

// The command to type again is for a shell to read, which must find the true name in it.
func TestQuotedNamesAreHarmlessAndTrue(t *testing.T) {
	word := quote(evil)
	if harmless(word) != word {
		t.Errorf("%q is for the terminal to obey", word)
	}
	out, err := exec.CommandContext(t.Context(), "bash", "-c", "printf %s "+word).Output()
	if must(t, out, err); !bytes.Equal(out, []byte(evil)) {
		t.Errorf("a shell reads %q, want %q", out, evil)
	}
}

func TestMessagesObeyNoFileName(t *testing.T) {
	code, _, stderr := tlsactl(t, nil, "records", "/none"+evil)
	if code != exitUsage || strings.ContainsFunc(strings.ReplaceAll(stderr, "\n", ""), func(r rune) bool { return (r < ' ' || r > '~') && r != '\uFFFD' }) {
		t.Errorf("exit %d: %q", code, stderr)
	}
}

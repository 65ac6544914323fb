package main

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// acme.sh has its certificates in /root, as rsync its keys for --push.
func TestUnitReadsWhereClientsKeepCertificates(t *testing.T) {
	unit := string(readFile(t, "../../contrib/units/tlsactl-hook.service"))
	for _, m := range regexp.MustCompile(`(?m)^ProtectHome=(.*)$`).FindAllStringSubmatch(unit, -1) {
		if m[1] != "read-only" && m[1] != "no" {
			t.Errorf("ProtectHome=%s hides /root", m[1])
		}
	}
}

// A crontab of a user has PATH=/usr/bin:/bin in Debian, and acme.sh renews from one: neither tlsactl nor postfix is there.
func TestHooksInPagesNeedNoPath(t *testing.T) {
	pages, err := filepath.Glob("../../contrib/tutorials/*.md")
	pages = append(pages, "../../README.md")
	if err != nil || len(pages) < 6 {
		t.Fatalf("%d pages: %v", len(pages), err)
	}
	command := regexp.MustCompile(`exec (\S*tlsactl)|--run ["'](\S+)`)
	for _, page := range pages {
		found := command.FindAllStringSubmatch(string(readFile(t, page)), -1)
		if len(found) < 2 {
			t.Errorf("%s: %d commands", page, len(found))
		}
		for _, m := range found {
			if !strings.HasPrefix(m[1]+m[2], "/") {
				t.Errorf("%s: %s is found by PATH only", page, m[0])
			}
		}
	}
}

func readFile(t *testing.T, path string) []byte {
	t.Helper()
	data, err := os.ReadFile(path)
	return must(t, data, err)
}

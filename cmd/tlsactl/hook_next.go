package main

import (
	"bytes"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"

	"github.com/coredns-tlsa/coredns-tlsa/plugin/tlsa/dane"
)

// readNamed reads files under our names for them; what is not there is left out. Without files, it is readLineage.
func readNamed(path string, files map[string]string) (*lineage, error) {
	if files == nil {
		return readLineage(path)
	}
	l := &lineage{path: filepath.Clean(path), shape: asDirectory, files: make(map[string]*member)}
	l.dir = filepath.Dir(files[fullFile])
	for role, file := range files {
		if err := l.addFrom(role, role, file); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return nil, err
		}
	}
	return l, nil
}

// private are the SubjectPublicKeyInfos of the lineage's private keys.
func (l *lineage) private() (out []string) {
	for _, role := range l.roles() {
		out = append(out, l.files[role].holding.private...)
	}
	return out
}

// isAhead tells that the certificate of from is the installed one, and its key is not that of any certificate: acme.sh makes a
// new key before an order, which may fail, and dehydrated links a new one first.
func isAhead(from, to *lineage) bool {
	leaves, installed, keys := dane.Leaves(from.certs(), nil), dane.Leaves(to.certs(), nil), from.private()
	for _, leaf := range leaves {
		known := slices.ContainsFunc(installed, func(l dane.Leaf) bool { return l.SHA256 == leaf.SHA256 })
		if !known || slices.Contains(keys, leaf.SPKI) {
			return false
		}
	}
	return len(leaves) > 0 && len(keys) > 0
}

// nextKeys are the public halves of the keys in from that no certificate there has, and of those in the file at path, as PEM.
// Nothing there, or a blank line as acme.sh leaves it, is no next key.
func nextKeys(from *lineage, path string) ([]byte, error) {
	var has []string
	for _, leaf := range dane.Leaves(from.certs(), nil) {
		has = append(has, leaf.SPKI)
	}
	keys := from.private()
	if info, err := os.Stat(path); err == nil && !info.Mode().IsRegular() {
		return nil, fmt.Errorf("%s: want a regular file", path) // reading a pipe would wait for ever
	}
	data, err := readLimited(path, nil)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	defer clear(data)
	if len(bytes.TrimSpace(data)) > 0 {
		h, err := (&source{}).parse(data)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", path, err)
		}
		keys = append(keys, h.private...)
	}
	var out []byte
	for _, spki := range unique(keys) {
		if !slices.Contains(has, spki) {
			out = append(out, pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: []byte(spki)})...)
		}
	}
	return out, nil
}

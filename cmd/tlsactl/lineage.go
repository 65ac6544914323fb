package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/coredns-tlsa/coredns-tlsa/plugin/tlsa/dane"
)

// A lineage is the files of one certificate: a directory, one file, or the files of one base name such as
// mail.example.org.crt and mail.example.org.key.
type lineage struct {
	path  string // as given, cleaned
	shape shape
	dir   string // where the files are
	files map[string]*member
}

type shape string

const (
	asDirectory shape = "directory"
	asLink      shape = "link to a directory"
	asFile      shape = "file"
	asBase      shape = "base name"
	asNothing   shape = "nothing"
)

// A member is one file. Lineages are compared by its role: its name in a directory, what follows the base name, or "" for a
// single file.
type member struct {
	name    string
	path    string // where it was read
	data    []byte // zeros after wipe
	sum     string // SHA-256 of data
	info    fs.FileInfo
	holding holding
	broken  error // why the content cannot be read
}

func (m *member) hasKey() bool { return len(m.holding.private) > 0 }

// readLineage reads what is at path; nothing there is no error.
func readLineage(path string) (*lineage, error) {
	l := &lineage{path: filepath.Clean(path), files: make(map[string]*member)}
	l.dir = filepath.Dir(l.path)
	info, err := os.Stat(l.path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return l, l.readBase()
	case err != nil:
		return nil, err
	case info.IsDir():
		return l, l.readDirectory()
	case !info.Mode().IsRegular():
		return nil, fmt.Errorf("%s: want a directory or a regular file", l.path)
	}
	l.shape = asFile
	return l, l.add("", filepath.Base(l.path))
}

func (l *lineage) readDirectory() error {
	l.shape = asDirectory
	if info, err := os.Lstat(l.path); err != nil || info.Mode()&fs.ModeSymlink != 0 {
		l.shape = asLink
	}
	l.dir = l.path
	entries, err := os.ReadDir(l.path)
	if err != nil {
		return err
	}
	for _, e := range entries {
		if name := e.Name(); name[0] != '.' && isCertificateName(name) && !isSpare(name) {
			if err := l.add(name, name); err != nil {
				return err
			}
		}
	}
	return nil
}

// readBase finds the files of a base name; a path with nothing behind it is of no shape yet.
func (l *lineage) readBase() error {
	l.shape = asNothing
	entries, err := os.ReadDir(l.dir)
	if err != nil {
		return err
	}
	for _, e := range entries {
		role, ok := strings.CutPrefix(e.Name(), filepath.Base(l.path))
		if ok && isRole(role) {
			l.shape = asBase
			if err := l.add(role, e.Name()); err != nil {
				return err
			}
		}
	}
	return nil
}

// isRole tells whether a suffix makes another file of the same lineage, not a longer name.
func isRole(suffix string) bool {
	ext := filepath.Ext(suffix)
	middle := strings.TrimSuffix(suffix, ext)
	return isCertificateName(suffix) &&
		slices.Contains([]string{"", ".issuer", ".chain", ".fullchain", ".ca", ".bundle", ".cert", ".privkey"}, middle)
}

func isCertificateName(name string) bool {
	return slices.Contains([]string{".pem", ".crt", ".cer", ".der", ".key"}, strings.ToLower(filepath.Ext(name)))
}

// isSpare tells the files that ACME clients keep beside those in use: dehydrated's dated ones and its next key.
func isSpare(name string) bool {
	stem := strings.TrimSuffix(name, filepath.Ext(name))
	_, date, dated := strings.Cut(stem, "-")
	return dated && date != "" && strings.Trim(date, "0123456789") == "" || stem == "privkey.roll"
}

// add reads one file. What holds neither certificate nor private key, such as DH parameters, is not of the lineage.
func (l *lineage) add(role, name string) error {
	return l.addFrom(role, name, filepath.Join(l.dir, name))
}

func (l *lineage) addFrom(role, name, path string) error {
	info, err := os.Stat(path)
	if err != nil {
		return err
	}
	if !info.Mode().IsRegular() {
		return nil
	}
	data, err := readLimited(path, nil)
	if err != nil {
		return err
	}
	m := &member{name: name, path: path, data: data, sum: digest(data), info: info}
	m.holding, m.broken = (&source{}).parse(data)
	if errors.Is(m.broken, dane.ErrNothing) || m.broken == nil && len(m.holding.certs)+len(m.holding.private) == 0 {
		clear(data)
		return nil
	}
	l.files[role] = m
	return nil
}

// wipe overwrites the private keys that were read.
func (l *lineage) wipe() {
	for _, m := range l.files {
		clear(m.data)
	}
}

func (l *lineage) roles() []string {
	var out []string
	for role := range l.files {
		out = append(out, role)
	}
	slices.Sort(out)
	return out
}

// certs are the certificates of all files.
func (l *lineage) certs() (out []*dane.Certificate) {
	for _, role := range l.roles() {
		out = append(out, l.files[role].holding.certs...)
	}
	return out
}

// subjects are the leaves, for the records that must be published.
func (l *lineage) subjects() (out []subject) {
	for _, leaf := range dane.Leaves(l.certs(), nil) {
		out = append(out, subject{leaf.Material(), leaf.DNSNames})
	}
	return out
}

// replacedSubjects are the leaves of old files; an error where there were none.
func (l *lineage) replacedSubjects() ([]subject, error) {
	if subjects := l.subjects(); len(subjects) > 0 {
		return subjects, nil
	}
	return nil, errors.New("there was no certificate before")
}

// sameBytes tells whether every file of l is in o with the same content.
func (l *lineage) sameBytes(o *lineage) bool {
	return len(changedRoles(l, o)) == 0
}

// changedRoles are the files of from that to lacks or has with other content.
func changedRoles(from, to *lineage) (out []string) {
	for _, role := range from.roles() {
		if old := to.files[role]; old == nil || old.sum != from.files[role].sum {
			out = append(out, role)
		}
	}
	return out
}

// checkFit makes sure that what to will hold after from was copied over it is one certificate with its key, or several
// (RSA beside ECDSA), and nothing of an older one.
func checkFit(from, to *lineage) error {
	var keys []string
	for _, role := range from.roles() {
		m := from.files[role]
		if m.broken != nil {
			return fail(exitUnsafe, "%s: %w: stage it again", m.path, m.broken)
		}
		keys = append(keys, m.holding.private...)
	}
	leaves := dane.Leaves(from.certs(), nil)
	if len(leaves) == 0 {
		return fail(exitUnsafe, "%s: there is no certificate of a server in it: stage it with its chain and key", from.path)
	}
	if err := checkLeftOver(from, to, leaves, &keys); err != nil {
		return err
	}
	var spkis []string
	for _, leaf := range leaves {
		if slices.Contains(spkis, leaf.SPKI) {
			return fail(exitUnsafe, "%s: it holds two certificates of one key: it may be half written: stage the files of one renewal", from.path)
		}
		spkis = append(spkis, leaf.SPKI)
		if !slices.Contains(keys, leaf.SPKI) {
			return fail(exitUnsafe, "%s: the certificate does not fit its key: no private key here has its public key: stage both of one renewal", from.path)
		}
	}
	for _, key := range keys {
		if !slices.Contains(spkis, key) {
			return fail(exitUnsafe, "%s: a private key does not fit its certificate, the public keys differ: stage both of one renewal", from.path)
		}
	}
	return nil
}

// checkLeftOver judges the files of to that from does not replace, and adds their keys.
func checkLeftOver(from, to *lineage, leaves []dane.Leaf, keys *[]string) error {
	certs := from.certs()
	for _, role := range to.roles() {
		m := to.files[role]
		if from.files[role] != nil {
			continue
		}
		stale := func() error {
			return fail(exitUnsafe, "%s holds an older certificate or key, and %s has no file to replace it: remove it, or stage it too",
				m.path, from.path)
		}
		for _, spki := range m.holding.private {
			if !slices.ContainsFunc(leaves, func(l dane.Leaf) bool { return l.SPKI == spki }) {
				return stale()
			}
			*keys = append(*keys, spki)
		}
		for _, leaf := range dane.Leaves(slices.Concat(certs, m.holding.certs), nil) {
			// A leftover CA without names is a chain, as dane.Leaves has it beside a leaf.
			if !slices.ContainsFunc(leaves, func(l dane.Leaf) bool { return l.SHA256 == leaf.SHA256 }) {
				return stale()
			}
		}
	}
	return nil
}

package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"

	"github.com/spf13/pflag"

	"github.com/coredns-tlsa/coredns-tlsa/plugin/tlsa/dane"
)

// maxFile bounds what is read of one file, in octets.
const maxFile = 1 << 20

// A subject is one key of a service: a leaf certificate with its issuer, or a bare key that waits for its certificate.
type subject struct {
	dane.Material
	names []string // DNS names: the SANs, or those a request asks for
}

// A holding is what one file or several files hold together.
type holding struct {
	certs []*dane.Certificate
	keys  []*dane.PublicKey // public keys and certificate requests
	// private are the SubjectPublicKeyInfos that belong to private keys; of the keys themselves nothing is kept.
	private []string
}

// A source is how an input file is read.
type source struct {
	passwordFile string
}

func (s *source) register(flags *pflag.FlagSet) {
	flags.StringVar(&s.passwordFile, "password-file", "", "read the password of a PKCS#12 file from the first line of `FILE`")
}

// read reads a file, or stdin for "-". Errors are failures with exitUsage: they are about what the user named.
func (s *source) read(path string, stdin io.Reader) (holding, error) {
	data, err := readLimited(path, stdin)
	if err != nil {
		return holding{}, fail(exitUsage, "%w", err)
	}
	defer clear(data)
	h, err := s.parse(data)
	switch {
	case errors.Is(err, dane.ErrEmpty), errors.Is(err, dane.ErrNothing), errors.Is(err, dane.ErrTruncated), errors.Is(err, dane.ErrMalformed):
		return holding{}, fail(exitUsage, "%s: %w: give a whole certificate, request or key, as PEM or DER", show(path), err)
	case err != nil:
		return holding{}, fail(exitUsage, "%s: %w", show(path), err)
	}
	return h, nil
}

func show(path string) string {
	if path == "-" {
		return "standard input"
	}
	return path
}

func readLimited(path string, stdin io.Reader) ([]byte, error) {
	r, size := stdin, int64(maxFile)
	if path != "-" {
		f, err := os.Open(path)
		if err != nil {
			return nil, err
		}
		defer f.Close()
		info, err := f.Stat()
		if err != nil {
			return nil, err
		}
		if r = f; info.Mode().IsRegular() {
			size = min(info.Size(), maxFile)
		}
	}
	// One buffer, which the caller can wipe: a growing one would leave copies behind.
	data := make([]byte, size+1)
	n, err := io.ReadFull(r, data)
	switch {
	case err == nil:
		err = fmt.Errorf("%s: larger than %d KiB, or it is being written: give the certificate alone, or try again", show(path), maxFile>>10)
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
		return data[:n], nil
	}
	clear(data)
	return nil, err
}

func (s *source) parse(data []byte) (holding, error) {
	if isPKCS12(data) {
		return s.parsePKCS12(data)
	}
	content, err := dane.Parse(data)
	if err != nil {
		return holding{}, err
	}
	h := holding{certs: content.Certificates, keys: content.PublicKeys}
	for _, c := range h.certs {
		c.KeepDER()
	}
	if content.PrivateKeys > 0 {
		h.private, err = publicHalves(data)
	}
	return h, err
}

func (s *source) password() (string, error) {
	if s.passwordFile == "" {
		return "", nil
	}
	data, err := readLimited(s.passwordFile, nil)
	if err != nil {
		return "", fmt.Errorf("password file: %w", err)
	}
	defer clear(data)
	line, _, _ := strings.Cut(string(data), "\n")
	return strings.TrimSuffix(line, "\r"), nil
}

// subjects gives the keys that a server with these files uses, or will use. A certificate whose private key is another
// one is an error: no server can use the pair.
func (h holding) subjects() ([]subject, error) {
	var out []subject
	var leaves []string
	for _, leaf := range dane.Leaves(h.certs, nil) {
		leaves = append(leaves, leaf.SPKI)
		out = append(out, subject{leaf.Material(), leaf.DNSNames})
	}
	if len(h.certs) > 0 && len(leaves) == 0 {
		return nil, fail(exitUsage, "there are only CA or challenge certificates in it, no certificate of a server: give its own, such as fullchain.pem")
	}
	bare := slices.Clone(h.keys)
	for _, spki := range h.private {
		if len(leaves) > 0 && !slices.Contains(leaves, spki) {
			return nil, fail(exitUnsafe, "its private key does not belong to its certificate: the public keys differ: give those of one renewal")
		}
		bare = append(bare, &dane.PublicKey{SPKI: spki})
	}
	for _, key := range bare {
		known := func(s subject) bool { return s.Leaf.SPKI == key.SPKI }
		if !slices.ContainsFunc(out, known) {
			out = append(out, subject{key.Material(), key.DNSNames})
		}
	}
	return out, nil
}

// readSubjects reads the keys of one file.
func (a *app) readSubjects(s *source, path string) ([]subject, error) {
	h, err := s.read(path, a.stdin)
	if err != nil {
		return nil, err
	}
	subjects, err := h.subjects()
	if err != nil {
		return nil, fail(exitCode(err), "%s: %w", show(path), err)
	}
	return subjects, nil
}

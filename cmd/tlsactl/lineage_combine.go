package main

import (
	"encoding/pem"
	"fmt"
	"path/filepath"
	"slices"

	"github.com/coredns-tlsa/coredns-tlsa/plugin/tlsa/dane"
)

// combined gives the lineage as one file, the key first and its chain after it, and wipes l.
func (l *lineage) combined() (*lineage, error) {
	defer l.wipe()
	key, chain := l.files["privkey.pem"], l.files["fullchain.pem"]
	if key == nil || chain == nil {
		return nil, fmt.Errorf("%s: --combined wants privkey.pem and fullchain.pem in it, as certbot has them: "+
			"complete it, or install without --combined", l.path)
	}
	if key.broken != nil || chain.broken != nil {
		return l, nil // whoever judges the lineage says what is broken
	}
	data := make([]byte, 0, len(key.data)+1+len(chain.data))
	data = append(append(data, key.data...), '\n')
	if len(key.data) > 0 && key.data[len(key.data)-1] == '\n' {
		data = data[:len(data)-1]
	}
	data = append(data, chain.data...)
	m := &member{name: filepath.Base(l.path), path: l.path, data: data, sum: digest(data), info: key.info}
	m.holding, m.broken = (&source{}).parse(data)
	return &lineage{path: l.path, shape: asFile, dir: filepath.Dir(l.path), files: map[string]*member{"": m}}, nil
}

// public is PEM of every certificate of the lineage, each once: leaves, then what issued them. Nothing else of the files is in it.
func (l *lineage) public() []byte {
	certs := l.certs()
	leaves := dane.Leaves(certs, nil)
	var first, rest []string
	for _, c := range certs {
		if slices.ContainsFunc(leaves, func(leaf dane.Leaf) bool { return leaf.SHA256 == c.SHA256 }) {
			first = append(first, c.DER)
		} else {
			rest = append(rest, c.DER)
		}
	}
	var out []byte
	for _, der := range unique(append(first, rest...)) {
		out = append(out, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: []byte(der)})...)
	}
	return out
}

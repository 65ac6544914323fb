package main

import (
	"encoding/pem"
	"fmt"
	"path/filepath"
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
	m := &member{name: filepath.Base(l.path), data: data, sum: digest(data), info: key.info}
	m.holding, m.broken = (&source{}).parse(data)
	return &lineage{path: l.path, shape: asFile, dir: filepath.Dir(l.path), files: map[string]*member{"": m}}, nil
}

// public is PEM of every certificate of the lineage, each once, in the order of the files' names: leaves before what issued
// them for the names that clients use. Nothing else of the files is in it.
func (l *lineage) public() []byte {
	var out []byte
	for _, der := range unique(l.ders()) {
		out = append(out, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: []byte(der)})...)
	}
	return out
}

func (l *lineage) ders() (out []string) {
	for _, c := range l.certs() {
		out = append(out, c.DER)
	}
	return out
}

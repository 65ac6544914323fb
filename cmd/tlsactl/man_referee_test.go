//go:build referee

package main

import "testing"

func TestMandocHasNoWarning(t *testing.T) {
	t.Chdir(t.TempDir())
	if code, _, stderr := tlsactl(t, nil, "man", "."); code != 0 {
		t.Fatal(stderr)
	}
	if said := sh(t, "ls *.1 | wc -l; mandoc -T lint -W warning *.1 2>&1 || true"); len(said) > 2 {
		t.Errorf("mandoc: %s", said)
	}
}

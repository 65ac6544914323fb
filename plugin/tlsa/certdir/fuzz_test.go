package certdir

import (
	"maps"
	"os"
	"slices"
	"testing"

	"github.com/coredns-tlsa/coredns-tlsa/plugin/tlsa/certdir/hostiletest"
)

// FuzzFile reads a file by way of the directories that it may lie in: installed and staged, as the first one in its place and
// over a good one. What is read must be in the file as another reader sees it; what was there must not be lost to an error.
func FuzzFile(f *testing.F) {
	w := hostiletest.NewWorld()
	c := hostiletest.NewCase(w, "a.example.org", "example.org", "", "")
	good := []byte(c.Good.CertPEM + w.CAPEM)
	for _, form := range hostiletest.Forms() {
		f.Add(form.Good(c, c.Evil))
	}
	f.Add([]byte(c.Evil.KeyPEM))
	dir := f.TempDir()
	certs, next := dir+"/certs", dir+"/next"
	for _, d := range []string{certs, next} {
		if err := os.MkdirAll(d, 0o755); err != nil {
			f.Fatal(err)
		}
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		write(t, certs+"/fresh.pem", string(data))
		write(t, certs+"/over.pem", string(good))
		write(t, next+"/fresh.pem", string(data))
		watcher := New(Config{Certs: []string{certs}, Next: []string{next}, Rescan: rescan, Quiet: quiet, MaxQuiet: maxQuiet})
		v := newView(nil, dir)
		v.apply(watcher.Sweep())
		if l := v.lineages[certs+"/over"]; l == nil || len(l.Leaves) != 1 || string(c.Good.SPKI) != l.Leaves[0].Material.Leaf.SPKI {
			t.Fatalf("the good file: %+v", l)
		}
		write(t, certs+"/over.pem", string(data))
		v.apply(watcher.Sweep())
		r := hostiletest.Read(data, w.CA)
		staged := maps.Clone(r.Certificates)
		maps.Copy(staged, r.Keys)
		holds(t, v.lineages[certs+"/fresh"], r, r.Certificates, "")
		holds(t, v.lineages[next+"/fresh"], r, staged, "")
		holds(t, v.lineages[certs+"/over"], r, r.Certificates, string(c.Good.SPKI))
	})
}

// holds checks a lineage of one file: each leaf is one of those allowed, and a file in doubt holds what it held before.
func holds(t *testing.T, l *Lineage, r hostiletest.Reading, allowed map[string]bool, before string) {
	t.Helper()
	if l == nil {
		if before != "" {
			t.Fatal("it is gone though the file is there")
		}
		return
	}
	doubt := slices.ContainsFunc(l.Files, func(f File) bool { return f.Doubt != nil })
	for _, leaf := range l.Leaves {
		if key := leaf.Material.Leaf.SPKI; key != before && !allowed[key] || doubt && key != before {
			t.Fatalf("a leaf that is not in the file (doubt %v): %x", doubt, key)
		}
	}
	switch {
	case doubt && before != "" && len(l.Leaves) != 1:
		t.Fatalf("in doubt, and %d leaves", len(l.Leaves))
	case doubt && r.Sound && len(allowed) > 0 && before == "":
		t.Fatalf("it is sound, but %v", l.Files)
	case !doubt && len(l.Leaves) == 0 && before != "":
		t.Fatal("the leaf is lost without a doubt")
	}
}

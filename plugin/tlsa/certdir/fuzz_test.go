package certdir

import (
	"maps"
	"slices"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/coredns-tlsa/coredns-tlsa/plugin/tlsa/certdir/hostiletest"
)

// A memory is a Watcher whose reader finds the same in every file. Nothing is on the disk: a sweep costs a hundred times what
// reading does, and the disk has tests of its own.
type memory struct {
	*Watcher
	content []byte
	left    []byte
	writes  int64
}

func newMemory() *memory {
	m := &memory{Watcher: New(Config{Certs: []string{"/certs"}, Next: []string{"/next"}, Quiet: quiet, MaxQuiet: maxQuiet})}
	m.reader.open = func(string, int) (int, error) {
		m.left = m.content
		return -1, nil
	}
	m.reader.read = func(_ int, buf []byte) (int, error) {
		n := copy(buf, m.left)
		m.left = m.left[n:]
		return n, nil
	}
	m.reader.fstat = func(int) (info, error) { return m.stat(), nil }
	m.reader.lstat = func(string) (info, error) { return m.stat(), nil }
	return m
}

func (m *memory) stat() info {
	return info{size: int64(len(m.content)), mtime: m.writes, mode: unix.S_IFREG | 0o644}
}

// file is the lineage of one file of a name.
func (m *memory) file(root *root, name string) *lineage {
	d := &dir{root: root, path: root.path}
	return &lineage{dir: d, key: readName(root.path, name).key, id: root.path + "/" + name}
}

// look reads the file of a lineage with new content.
func (m *memory) look(l *lineage, name string, content []byte) {
	m.content = content
	m.writes++
	path := l.dir.path + "/" + name
	g := m.gather(l, time.Time{}, []status{{path: path, real: path, info: m.stat(), label: readName(l.dir.path, name)}}, &m.reader)
	l.shown, l.files = g.finish(m.Watcher), g.files
}

// FuzzFile reads a file where certificates are installed and where they are staged, as the first one in its place and over a
// good one. What is read must be in the file as another reader sees it; what was there must not be lost to an error.
func FuzzFile(f *testing.F) {
	w := hostiletest.NewWorld()
	c := hostiletest.NewCase(w, "a.example.org", "example.org", "", "")
	for _, form := range hostiletest.Forms() {
		f.Add(form.Good(c, c.Evil))
	}
	f.Add([]byte(c.Evil.KeyPEM))
	m := newMemory()
	good := m.file(m.roots[0], "over.pem")
	m.look(good, "over.pem", []byte(c.Good.CertPEM+w.CAPEM))
	if len(good.shown.Leaves) != 1 || string(c.Good.SPKI) != good.shown.Leaves[0].Material.Leaf.SPKI {
		f.Fatalf("the good file: %+v", good.shown)
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		r := hostiletest.Read(data, nil)
		if len(data) > maxSize {
			return // that is seen before it is read
		}
		staged := maps.Clone(r.Certificates)
		maps.Copy(staged, r.Keys)
		for _, root := range m.roots {
			l := m.file(root, "fresh.pem")
			m.look(l, "fresh.pem", data)
			allowed := r.Certificates
			if root.staged {
				allowed = staged
			}
			holds(t, l.shown, allowed, "")
			if doubtful(l.shown) && len(allowed) > 0 && hostiletest.Read(data, w.CA).Sound {
				t.Fatalf("it is sound, but %v", l.shown.Files)
			}
		}
		over := *good
		m.look(&over, "over.pem", data)
		holds(t, over.shown, r.Certificates, string(c.Good.SPKI))
	})
}

func doubtful(l *Lineage) bool {
	return slices.ContainsFunc(l.Files, func(f File) bool { return f.Doubt != nil })
}

// holds checks a lineage of one file: each leaf is one of those allowed, and a file in doubt holds what it held before.
func holds(t *testing.T, l *Lineage, allowed map[string]bool, before string) {
	t.Helper()
	doubt := doubtful(l)
	for _, leaf := range l.Leaves {
		if key := leaf.Material.Leaf.SPKI; key != before && !allowed[key] || doubt && key != before {
			t.Fatalf("a leaf that is not in the file (doubt %v): %x", doubt, key)
		}
	}
	switch {
	case doubt && before != "" && len(l.Leaves) != 1:
		t.Fatalf("in doubt, and %d leaves", len(l.Leaves))
	case !doubt && len(l.Leaves) == 0 && before != "":
		t.Fatal("the leaf is lost without a doubt")
	}
}

package doctor

import (
	"context"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/coredns-tlsa/coredns-tlsa/plugin/tlsa/certdir"
	"github.com/coredns-tlsa/coredns-tlsa/plugin/tlsa/dane"
	"github.com/coredns-tlsa/coredns-tlsa/plugin/tlsa/publish"
)

// A tree is what one set of watched paths holds.
type tree struct {
	found    certdir.Changes
	lineages []*lineage
	byID     map[string]*lineage
}

// A lineage is one of certdir's, with its certificates and the client that writes it.
type lineage struct {
	*certdir.Lineage
	certificates []*dane.Certificate
	client       *client // nil where its files do not tell
}

// A name is an owner with what it takes.
type name struct {
	publish.Share
	// place is where the Corefile has it.
	place string
	taken []taken
}

type taken struct {
	*lineage
	leaf certdir.Leaf
}

// sweep looks at paths once, as the server does at its start; nil where there are none.
func sweep(certs, next []string, known map[string]*tree) *tree {
	if len(certs)+len(next) == 0 {
		return nil
	}
	key := strings.Join(certs, "\n") + "\n\n" + strings.Join(next, "\n")
	if t := known[key]; t != nil {
		return t
	}
	t := &tree{byID: map[string]*lineage{}}
	t.found = certdir.New(certdir.Config{Certs: certs, Next: next, Rescan: time.Minute, NoEvents: true, Issuers: true}).Sweep(context.Background())
	for _, l := range t.found.Lineages {
		found := &lineage{Lineage: l, certificates: certificatesOf(l)}
		found.client = clientOf(found)
		t.lineages = append(t.lineages, found)
		t.byID[l.ID] = found
	}
	known[key] = t
	return t
}

// certificatesOf reads the leaves of a lineage once more, for what certdir does not keep: since when they are valid, and more.
func certificatesOf(l *certdir.Lineage) []*dane.Certificate {
	read := map[string]*dane.Content{}
	var found []*dane.Certificate
	for _, leaf := range l.Leaves {
		for _, path := range leaf.Files {
			if _, done := read[path]; !done {
				read[path] = parseFile(path)
			}
			at := slices.IndexFunc(read[path].Certificates, func(c *dane.Certificate) bool { return c.SHA256 == leaf.Material.Leaf.SHA256 })
			if at >= 0 {
				found = append(found, read[path].Certificates[at])
				break
			}
		}
	}
	return found
}

// parseFile reads the certificates of a file; none if that fails. Private keys in it are wiped.
func parseFile(path string) *dane.Content {
	data, err := readFile(path, mostCertificate)
	defer clear(data)
	if err == nil {
		if content, err := dane.Parse(data); err == nil {
			return content
		}
	}
	return &dane.Content{}
}

// namesOf maps what the directories hold to the owners of a block, as the server does.
func namesOf(b *block) []name {
	var found certdir.Changes
	if b.tree != nil {
		found = b.tree.found
	}
	var names []name
	for _, share := range publish.Survey(b.Config, found) {
		n := name{Share: share, place: b.Position.String()}
		for _, key := range []string{share.Name, share.Pattern} {
			if at, ok := b.Named[key]; ok {
				n.place = at.String()
				break
			}
		}
		for _, t := range share.Taken {
			n.taken = append(n.taken, taken{b.tree.byID[t.Lineage.ID], t.Leaf})
		}
		names = append(names, n)
	}
	return names
}

// pattern tells an owner with a `*`.
func (n name) pattern() bool { return n.Pattern == n.Name }

// homes are the directories to sweep for the arguments: of certbot's home, live alone holds what is installed.
func homes(dirs []string) []string {
	var found []string
	for _, dir := range dirs {
		dir = below("", dir)
		for _, inner := range []string{"live", "certificates", "certs"} {
			info, err := os.Stat(filepath.Join(dir, inner))
			if err == nil && info.IsDir() {
				dir = filepath.Join(dir, inner)
				break
			}
		}
		found = append(found, dir)
	}
	slices.Sort(found)
	return slices.Compact(found)
}

// where is a path that stands for the lineage.
func (l *lineage) where() string {
	if len(l.Files) == 1 {
		return l.Files[0].Path
	}
	return l.Dir
}

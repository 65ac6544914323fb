package certdir

import (
	"cmp"
	"hash/maphash"
	"slices"
	"time"

	"github.com/coredns-tlsa/coredns-tlsa/plugin/tlsa/dane"
	"github.com/coredns-tlsa/coredns-tlsa/plugin/tlsa/rollover"
)

// gathered is what the files of one lineage hold together. Until finish it changes nothing that lineages share.
type gathered struct {
	lineage *lineage
	cfg     *Config
	seed    maphash.Seed
	reader  *reader
	now     time.Time
	files   []file
	shown   []File

	certs, chain []*dane.Certificate
	held         []holding // of each of shown
	found        []dane.Leaf
	leaves       []Leaf
	privateKey   string
	doubt        bool
	short        time.Time // since when a file lacks the issuers it had; zero if none does
}

// holding are the certificates in a file, of which none is a leaf by the name of some files.
type holding struct {
	certs    []*dane.Certificate
	leafless bool
}

func (w *Watcher) gather(l *lineage, now time.Time, list []status, r *reader) *gathered {
	g := &gathered{
		lineage: l, cfg: &w.cfg, seed: w.seed, reader: r, now: now,
		files: make([]file, 0, len(list)), shown: make([]File, 0, len(list)), held: make([]holding, 0, len(list)),
	}
	for i := range list {
		if st := list[i]; !st.gone {
			g.add(&st)
		}
	}
	leaves := dane.LikelyLeaves
	if w.cfg.Issuers {
		leaves = dane.Leaves
	}
	g.found = leaves(g.certs, g.chain)
	return g
}

// add reads one file.
func (g *gathered) add(st *status) {
	old := g.lineage.file(st.name())
	f := file{name: st.name(), print: st.print(g.seed), role: st.role, sure: st.sure}
	if last := len(st.hops) - 1; last >= 0 {
		f.end = st.hops[last]
		if last > 0 {
			f.more = &moreFile{hops: slices.Clone(st.hops[:last])}
		}
	}
	content, why := g.read(st)
	had := g.cfg.Known[st.path] ||
		old != nil && !old.ignored && (len(old.issuers()) > 0 || len(g.lineage.leavesOf(st.path)) > 0)
	if why == nil && had && !g.holdsLeaf(content) {
		why = problem(Replaced, "%s no longer holds a certificate: write it again, or remove the file", show(st.path))
	}
	if why == nil && g.lacksIssuers(old, content) {
		why = problem(Truncated, "%s holds its certificate without the issuers it had: they are waited for", show(st.path))
	}
	switch {
	case why != nil:
		if f.ignored = !g.promises(st.label) && !had; !f.ignored {
			g.keep(&f, old, st.path, why)
		}
	case !had && g.isOfNoUse(st.label, content):
		f.ignored = true
	default:
		g.take(st, content)
	}
	g.files = append(g.files, f)
}

// lacksIssuers tells of a file that came without the issuers it had, while no other file of the lineage has any: it may be cut
// between two blocks, where nothing shows that more is to come (W12). It is waited for as for a busy lineage, not for ever.
func (g *gathered) lacksIssuers(old *file, c *dane.Content) bool {
	l := g.lineage
	hasIssuers := func(f file) bool { return f.name != old.name && len(f.issuers()) > 0 }
	isCA := func(c *dane.Certificate) bool { return c.CA }
	if old == nil || old.role == roleChain || len(old.issuers()) == 0 || len(c.Certificates) == 0 ||
		slices.ContainsFunc(c.Certificates, isCA) || slices.ContainsFunc(l.files, hasIssuers) {
		return false
	}
	since := l.short()
	if since.IsZero() {
		since = g.now
	}
	if !g.now.Before(since.Add(g.cfg.MaxQuiet)) {
		return false
	}
	g.short = since
	return true
}

// promises tells whether a file's name says that there is something in it to read here.
func (g *gathered) promises(l label) bool {
	return l.sure && (l.role != rolePublic || g.lineage.dir.root.staged)
}

// holdsLeaf tells whether anything in a file can be a leaf or the issuer of one. A challenge certificate, or a bare key where
// certificates are installed, is no evidence that the certificate before it is out of use.
func (g *gathered) holdsLeaf(c *dane.Content) bool {
	return g.lineage.dir.root.staged && len(c.PublicKeys) > 0 ||
		slices.ContainsFunc(c.Certificates, func(c *dane.Certificate) bool { return !c.Challenge })
}

// isOfNoUse tells of what is neither a certificate nor a staged key, and no private key to warn of either.
func (g *gathered) isOfNoUse(l label, c *dane.Content) bool {
	return l.role != roleKey && c.PrivateKeys+len(c.Certificates) == 0 && (len(c.PublicKeys) == 0 || !g.lineage.dir.root.staged)
}

func (g *gathered) read(st *status) (*dane.Content, *rollover.Problem) {
	switch {
	case st.bad != nil:
		return nil, st.bad
	case st.role == roleKey:
		if g.privateKey == "" && g.reader.canOpen(st.real) {
			g.privateKey = st.path
		}
		return &dane.Content{}, nil
	case st.role == roleAnchor:
		return &dane.Content{}, nil
	}
	content, why := g.reader.content(st.path, st.real, st.info)
	if why == nil && content.PrivateKeys > 0 && g.privateKey == "" {
		g.privateKey = st.path
	}
	return content, why
}

// take adds what a file holds.
func (g *gathered) take(f *status, content *dane.Content) {
	for _, c := range content.Certificates {
		if g.cfg.KeepDER && c.DER == "" {
			c.KeepDER()
		}
	}
	shown := File{Path: f.path}
	if f.lost {
		shown.Doubt = detachedMount(f.path)
	}
	g.shown = append(g.shown, shown)
	g.held = append(g.held, holding{content.Certificates, f.role == roleChain})
	if f.role == roleChain {
		g.chain = append(g.chain, content.Certificates...)
		return
	}
	g.certs = append(g.certs, content.Certificates...)
	if !g.lineage.dir.root.staged {
		return
	}
	for _, k := range content.PublicKeys {
		g.addLeaf(Leaf{Material: k.Material(), Algorithm: dane.KeyAlgorithm(k.SPKI), DNSNames: k.DNSNames, Files: []string{f.path}})
	}
}

// keep adds what a file in doubt held last.
func (g *gathered) keep(f, old *file, path string, why *rollover.Problem) {
	g.doubt = true
	g.shown = append(g.shown, File{Path: path, Doubt: why})
	g.held = append(g.held, holding{})
	if issuers := old.issuers(); len(issuers) > 0 {
		f.more = f.more.with(issuers)
		g.chain = append(g.chain, issuers...)
	}
}

// finish computes the leaves.
func (g *gathered) finish(w *Watcher) *Lineage {
	for _, leaf := range g.found {
		if leaf.IssuedBy != nil {
			leaf.IssuedBy = w.intern(leaf.IssuedBy)
		}
		g.addLeaf(Leaf{
			Material: leaf.Material(), Algorithm: dane.KeyAlgorithm(leaf.SPKI),
			DNSNames: leaf.DNSNames, Files: g.holders(leaf.SHA256),
		})
	}
	g.keepIssuers(w)
	l := g.lineage
	for _, f := range g.shown {
		if f.Doubt != nil {
			for _, leaf := range l.leavesOf(f.Path) {
				leaf.Files = []string{f.Path}
				g.addLeaf(leaf)
			}
		}
	}
	for i := range g.leaves {
		slices.Sort(g.leaves[i].Files)
	}
	slices.SortFunc(g.leaves, compareLeaves)
	return &Lineage{
		ID: l.id, Name: lineageName(l.key), Dir: l.dir.path, Root: l.dir.root.path, Staged: l.dir.root.staged,
		Files: slices.Clip(g.shown), Leaves: slices.Clip(g.leaves), PrivateKey: g.privateKey,
	}
}

// holders are the files that have a certificate, by its SHA-256, as a leaf.
func (g *gathered) holders(id string) (files []string) {
	for i, h := range g.held {
		if !h.leafless && slices.ContainsFunc(h.certs, func(c *dane.Certificate) bool { return c.SHA256 == id }) {
			files = append(files, g.shown[i].Path)
		}
	}
	return slices.Clip(files)
}

// keepIssuers remembers the issuers of each file, which stand when it falls in doubt.
func (g *gathered) keepIssuers(w *Watcher) {
	isLeaf := func(c *dane.Certificate) bool {
		return slices.ContainsFunc(g.found, func(leaf dane.Leaf) bool { return leaf.SHA256 == c.SHA256 })
	}
	n := 0
	for i := range g.files {
		f := &g.files[i]
		if f.ignored {
			continue
		}
		issuers := make([]*dane.Certificate, 0, 4)
		for _, c := range g.held[n].certs {
			if !c.Challenge && !isLeaf(c) {
				issuers = append(issuers, w.share(c))
			}
		}
		if len(issuers) > 0 {
			f.more = w.more(f.more, issuers)
		}
		n++
	}
}

// addLeaf merges one leaf with what was found before: one that is in doubt adds no second view of the same certificate.
func (g *gathered) addLeaf(leaf Leaf) {
	for i := range g.leaves {
		have := &g.leaves[i]
		if have.Material.Leaf.SPKI != leaf.Material.Leaf.SPKI || have.Material.Leaf.SHA256 != leaf.Material.Leaf.SHA256 {
			continue
		}
		if have.Material.Issuer == (dane.Fingerprint{}) {
			have.Material.Issuer = leaf.Material.Issuer
		}
		have.Files = union(have.Files, leaf.Files)
		have.DNSNames = union(have.DNSNames, leaf.DNSNames)
		return
	}
	g.leaves = append(g.leaves, leaf)
}

// union makes a new list: both may have been handed out.
func union(a, b []string) []string {
	for _, s := range b {
		if !slices.Contains(a, s) {
			a = append(slices.Clip(a), s)
		}
	}
	return a
}

// leavesOf are the leaves that a file was last known to hold.
func (l *lineage) leavesOf(path string) []Leaf {
	if l.shown == nil {
		return nil
	}
	var out []Leaf
	for _, leaf := range l.shown.Leaves {
		if slices.Contains(leaf.Files, path) {
			out = append(out, leaf)
		}
	}
	return out
}

func compareLeaves(a, b Leaf) int {
	x, y := a.Material, b.Material
	return cmp.Or(x.NotAfter.Compare(y.NotAfter), cmp.Compare(x.Leaf.SHA256, y.Leaf.SHA256), cmp.Compare(x.Leaf.SPKI, y.Leaf.SPKI))
}

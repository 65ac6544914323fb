package certdir

import (
	"slices"
	"strings"
	"time"

	"github.com/coredns-tlsa/coredns-tlsa/plugin/tlsa/dane"
	"github.com/coredns-tlsa/coredns-tlsa/plugin/tlsa/rollover"
)

// Config says what to read and how often.
type Config struct {
	// Certs and Next are absolute paths: directories, files, or globs (path/filepath.Match) of either. A root is one such
	// path, named as it stands here.
	Certs, Next []string
	// Rescan is the time between two sweeps; a sweep comes up to 10 % earlier or later. Above zero.
	Rescan time.Duration
	// Quiet is how long a lineage must be left alone before it is read, MaxQuiet how long a busy one may delay that.
	Quiet, MaxQuiet time.Duration
	// NoEvents leaves changes to the sweep alone: only their latency differs.
	NoEvents bool
	// Known are the files that are remembered to have held a certificate or key: what becomes of one is told whatever its
	// name. It is not changed.
	Known map[string]bool
	// Issuers tells that associations with issuers are wanted: then only a signature tells who issued a leaf, and where no
	// certificate of the lineage did, nobody.
	Issuers bool
	// KeepDER keeps whole certificates for `x 0 0`.
	KeepDER bool
}

// A Root is what the last sweep found at one configured path. It is never changed once handed out.
type Root struct {
	Path   string
	Staged bool
	// Sweeps counts the complete sweeps since the start: the root was there and every directory in it could be read.
	Sweeps uint64
	// Complete tells whether the last sweep was one of them.
	Complete bool
	// MixedOwners: its files belong to more than one uid, so that names in a certificate prove nothing (design 2).
	MixedOwners bool
	// Polling: events do not tell of every change in it, so that the time between sweeps decides how soon one is found:
	// it lies on a network or overlay file system (which is looked at every 15 to 30 s if Rescan is longer), a watch limit is
	// reached, or there are no events at all.
	Polling  bool
	Problems []rollover.Problem
}

// A Lineage is what the files of one certificate hold (design 1). It is never changed once handed out.
type Lineage struct {
	// ID tells the lineage from every other: its directory and name.
	ID string
	// Name is certbot's word for it: what `from` in the Corefile names.
	Name string
	// Dir is the directory of its files as the operator sees it, links unresolved.
	Dir    string
	Root   string
	Staged bool
	// Files are the files that are there, sorted by path, those that cannot be used included.
	Files []File
	// Leaves are the distinct leaves and bare keys of Files, in a stable order.
	Leaves []Leaf
	// PrivateKey is the path of a private key that this process can read; empty if there is none.
	PrivateKey string
}

// A File is one file of a lineage.
type File struct {
	Path string
	// Doubt is why it cannot be read, parsed or trusted now; nil if it can. What the lineage's leaves say of it is what it held
	// last. A file whose mount is detached is in doubt too, and read all the same.
	Doubt *rollover.Problem
}

// File finds a file of the lineage by its path.
func (l *Lineage) File(path string) (f File, found bool) {
	i, found := slices.BinarySearchFunc(l.Files, path, func(f File, path string) int { return strings.Compare(f.Path, path) })
	if found {
		f = l.Files[i]
	}
	return f, found
}

// A Leaf is one leaf certificate or bare key of a lineage.
type Leaf struct {
	Material dane.Material
	// Algorithm is dane.KeyAlgorithm of its key.
	Algorithm string
	// DNSNames are its dNSName SANs, or the names a request asks for: lower case, no trailing dot.
	DNSNames []string
	// Files are those files of the lineage that hold it.
	Files []string
}

// Changes is what a sweep, or a look at what an event named, found to differ from what was handed out before.
type Changes struct {
	// Lineages are the new states of changed lineages. One without Files is gone.
	Lineages []*Lineage
	// Roots are the states of the roots that a sweep has just visited; none outside a sweep.
	Roots []*Root
	// Sweep is nil unless Roots are those of a whole sweep.
	Sweep *Figures
}

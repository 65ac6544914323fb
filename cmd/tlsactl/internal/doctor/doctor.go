package doctor

import (
	"errors"
	"fmt"
	"time"

	"golang.org/x/sys/unix"

	"github.com/coredns-tlsa/coredns-tlsa/plugin/tlsa/corefile"
)

// Options say what to examine.
type Options struct {
	// Corefile is the path of the Corefile; empty for none. Relative paths in it lie below the working directory, as they do for
	// a server that is started here.
	Corefile string
	// Dirs are lineages or homes of ACME clients to look at beside what the Corefile names.
	Dirs []string
	// At is the moment to judge dates by.
	At time.Time
	// User is who the server runs as; nil: not known.
	User *User
	// Volatile tells whether what is written to a directory is lost when the machine restarts; nil asks the system.
	Volatile func(dir string) bool
}

// facts are what was gathered, before it is judged.
type facts struct {
	Options
	servers []*server
	blocks  []*block
	extra   *tree              // of Dirs
	clients map[string]*client // of Dirs, by the SHA-256 of a certificate
	watched map[string]bool    // the certificates that the Corefile's directories have, by SHA-256
	found   []Finding
}

// A block is one tlsa directive with what it finds.
type block struct {
	*corefile.Block
	server *server
	tree   *tree // nil where it watches nothing
	names  []name
}

// Examine gathers and judges. Errors: the Corefile cannot be read.
func Examine(o Options) (*Report, error) {
	f := &facts{Options: o, clients: map[string]*client{}, watched: map[string]bool{}}
	if f.Volatile == nil {
		f.Volatile = volatile
	}
	if o.Corefile != "" {
		text, err := readFile(o.Corefile, mostCorefile)
		if err != nil {
			return nil, fmt.Errorf("read the Corefile: %w", err)
		}
		f.readCorefile(text)
	}
	f.gather()
	r := &Report{Version: 1, Corefile: o.Corefile, At: o.At.UTC(), Servers: []Server{}}
	for _, check := range []func(*facts) []Finding{
		(*facts).checkPlugins, (*facts).checkAnswering, (*facts).checkCache, (*facts).checkGuards, (*facts).checkListening,
		(*facts).checkSigning, (*facts).checkLedgers, (*facts).checkControl, (*facts).checkTransfer,
		(*facts).checkZones, (*facts).checkNames,
		(*facts).checkTrees, (*facts).checkOwners, (*facts).checkIssuers, (*facts).checkUnused, (*facts).checkWildcards, (*facts).checkKeys,
		(*facts).checkDates, (*facts).checkRenewals, (*facts).checkBudget, (*facts).checkCopies, (*facts).checkAccess,
	} {
		f.found = append(f.found, check(f)...)
	}
	r.Findings = sorted(f.found)
	for _, s := range f.servers {
		r.Servers = append(r.Servers, Server{Place: s.where(), Zones: s.zones, Plugins: s.plugins})
	}
	r.Names, r.Certificates = f.count()
	return r, nil
}

// gather looks at what the Corefile names.
func (f *facts) gather() {
	trees := map[string]*tree{}
	for _, b := range f.blocks {
		b.tree = sweep(b.Certs, b.Next, trees)
		b.names = namesOf(b)
	}
	f.extra = sweep(homes(f.Dirs), nil, trees)
	if f.extra != nil {
		for _, l := range f.extra.lineages {
			for _, c := range l.certificates {
				f.clients[c.SHA256] = l.client
			}
		}
	}
	for _, t := range trees {
		if t == f.extra {
			continue
		}
		for _, l := range t.lineages {
			for _, c := range l.certificates {
				f.watched[c.SHA256] = true
			}
		}
	}
	for _, s := range f.servers {
		s.readZones()
	}
}

func (f *facts) count() (names, certificates int) {
	seen := map[string]bool{}
	for _, b := range f.blocks {
		names += len(b.names)
	}
	for _, t := range f.trees() {
		for _, l := range t.lineages {
			for _, c := range l.certificates {
				seen[c.SHA256] = true
			}
		}
	}
	return names, len(seen)
}

// trees are all that were swept, each once.
func (f *facts) trees() []*tree {
	var found []*tree
	seen := map[*tree]bool{nil: true}
	for _, b := range f.blocks {
		if !seen[b.tree] {
			seen[b.tree] = true
			found = append(found, b.tree)
		}
	}
	if !seen[f.extra] {
		found = append(found, f.extra)
	}
	return found
}

// volatile tells a file system in memory.
func volatile(dir string) bool {
	var st unix.Statfs_t
	for {
		switch err := unix.Statfs(dir, &st); {
		case err == nil:
			return inMemory(&st)
		case !errors.Is(err, unix.EINTR):
			return false
		}
	}
}

// Package zone holds the answers: name in, entry out.
//
// A [Table] is read without a lock by any number of queries while one [Writer] changes it. What a query has found never
// changes under it. The package knows nothing of files, rollovers or the network.
package zone

import (
	"hash/maphash"
	"strings"
	"sync/atomic"
)

// An Entry is what a name of the table is. A name can be several things at once.
type Entry struct {
	// Owner: the name is a TLSA owner; Set is its answer.
	Owner bool
	// Ours: the name starts with an underscore and belongs to this plugin alone: every other type is denied there.
	Ours bool
	// Above: a name of ours lies below, so the name exists even where the zone knows nothing of it (RFC 8020).
	Above bool
	Set   *Set
}

// shardCount keeps a shard small enough to be copied for one change, with a million names in the table.
const shardCount = 1024

// A Table maps names to entries. The zero Table is empty and ready.
type Table struct {
	shards [shardCount]atomic.Pointer[shard]
}

var seed = maphash.MakeSeed()

// Lookup finds the entry of name, which must be lower case and fully qualified. It takes no lock and allocates nothing.
func (t *Table) Lookup(name string) (Entry, bool) {
	lead, base := split(name)
	n, ok := t.node(base)
	if !ok {
		return Entry{}, false
	}
	e := n.entry(lead)
	return e, e != Entry{}
}

func (t *Table) node(base string) (node, bool) {
	hash := maphash.String(seed, base)
	return t.shards[hash%shardCount].Load().get(hash, base)
}

// split takes the leading underscore labels off a name. What is left, the base, is the same for all owners of a host.
func split(name string) (lead, base string) {
	at := 0
	for at < len(name) && name[at] == '_' {
		i := strings.IndexByte(name[at:], '.')
		if i < 0 {
			break
		}
		at += i + 1
	}
	return name[:at], name[at:]
}

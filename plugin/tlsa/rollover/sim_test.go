package rollover

import (
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/coredns-tlsa/coredns-tlsa/plugin/tlsa/dane"
)

// The simulator shows the promises I1 to I6 of design 4 on the real Decide, Served, Safe, Revoke, Withdraw and their
// neighbours, in a world of plain data with fake time.
//
// Modelled: one owner with up to three lineages (two ECDSA, one RSA) and staged keys beside them; one or two CoreDNS with
// files that arrive late, though not in an order that never was, a ledger and a Corefile each; its secondaries, which may answer with anything that was current at
// most `propagation` ago; caches that ask at the worst moment and keep what they got, denials too, for exactly its TTL; TLS
// servers that present a replaced key until the last moment of grace; an operator who installs only what every CoreDNS calls
// safe, and one who does not wait; crashes at each step of a commit, restarts, suspends; ledgers that are lost or restored
// from an older copy; disks that fail, or fail and have written all the same; steps of the wall clock of 1 s to 10 years;
// files that cannot be read, are empty, vanish alone or with their root; keys over the limit; changes of ttl, hold, grace,
// propagation, combinations and pins; reloads that succeed and that are given up; revoke, withdraw, restore.
//
// The caches and the TLS servers are not drawn at random: every answer that some cache may hold is kept until the last such
// cache has dropped it, and is compared with every key that some server may present, at each instant at which either grows.
//
// Not modelled: how `publish` maps certificates to owners and reads files (see its own tests), what the ledger's bytes survive
// (package ledger), TLSA records of the zone itself and usages 0 and 2 (property_test.go). Of the operator it is assumed that
//   - he goes back to a key that was replaced, or is Retired, only while all files can be read and arrive within hold, for which
//     Safe promises that it stays (returns, readable: 7614862); and until every ledger has it where it is now, it stays there
//     (noticed: 7147419, 7884195, 8291083), the files can be read (7592517), and nothing else that he waits for is installed,
//     grace is not shortened, nor a withdrawn name restored (awaitsReturn: 8083914);
//   - he replaces or deletes what he has installed only after every CoreDNS that is to publish certificates has seen it (noticed):
//     of a certificate that nobody has seen nobody knows a record (1234638, 7245632, 7401260, 9370158);
//   - he does not revoke what he presents (target), nor withdraw the lineage whose key he presents out of another (presents);
//   - he installs nothing below a root that is not mounted (may), and lowers `propagation` only when it is true (reload).
//
// Of faults it is assumed, because nobody knows then what was promised, that
//   - a ledger is not lost while a file cannot be read or a larger ttl of before still counts (mayLose), nor while the files lack
//     a record that is wanted of a certificate in use (7153484); an older copy differs not in whether the name is withdrawn, and
//     leaves room for a key (mayForget), or either for all that the files hold where it lacks a key in use (hasRoom);
//   - first records that could not be recorded are not followed by a crash (unmodelled) or by other combinations (reload);
//   - a file of installed keys was read and its place recorded before it becomes unreadable (fault, records, clear).
type simulation struct {
	choose  func(n int, label string) int // 0 to n-1
	reach   func(class string)            // counts what was met
	careful bool                          // keys are installed only when safe
	strict  bool                          // I1 is wanted of one who is not careful
	tell    func(format string, args ...any)

	real     time.Duration // true time, which nobody sees
	nodes    []*node
	pending  []event
	negative time.Duration // the TTL of denials

	origin  map[string]*cert // what the mail host has, by path
	puts    []string         // the paths that were put there, in order
	slots   [len(slotNames)]*cert
	again   [len(slotNames)]bool // what is there had been given up before
	leaving []departure
	made    [2]int // keys of each algorithm
	over    bool   // what comes now is not modelled
	err     error  // the first broken promise
}

// slotNames are the lineages; the second one has RSA keys.
var slotNames = [...]string{"mail", "rsa", "moved"}

// paths are those of installed files and of staged ones, by slot.
var paths = sync.OnceValue(func() (all struct {
	live []string
	next [][]string
}) {
	for _, name := range slotNames {
		all.live = append(all.live, "certs/"+name+"/fullchain.pem")
		var next []string
		for i := range 10 + flood {
			next = append(next, fmt.Sprintf("next/%s/%d.pem", name, i))
		}
		all.next = append(all.next, next)
	}
	return all
})

// flood is how many keys somebody stages to fill an owner up.
const flood = 14

// A cert is a certificate, or the bare key of one; made before the simulations, because digests cost time.
type cert struct {
	name         string
	id           [3]int // algorithm, key, serial
	material     dane.Material
	leaves       []dane.Material // material alone
	associations map[dane.Combination]dane.Association
	bare, whole  *cert // the key of a certificate, and the first certificate of a key
}

// A departure is a key that was replaced on disk, and that a server may present until then.
type departure struct {
	*cert
	replaced, until time.Duration
}

// An event happens at a node by itself.
type event struct {
	at   time.Duration
	node *node
	do   func(n *node)
}

const (
	mostCerts = 4 // over one key
	mostMade  = 40
)

// simAs are the combinations of an owner.
var simAs = sync.OnceValue(func() [][]dane.Combination {
	var all [][]dane.Combination
	for _, text := range []string{"3 1 1", "3 1 1, 3 1 2", "3 1 2", "3 0 1, 3 1 1", "3 0 1", "3 0 2, 3 1 1"} {
		all = append(all, combinations(text))
	}
	return all
})

// A ring has every certificate of the simulations.
type ring struct {
	certs   map[[3]int]*cert
	byLeaf  map[string]*cert             // by SPKI and SHA256
	holders map[dane.Association][]*cert // the certificates and keys that have an association
}

func (r *ring) add(c *cert) *cert {
	c.associations, c.leaves = map[dane.Combination]dane.Association{}, []dane.Material{c.material}
	for _, k := range slices.Concat(simAs()...) {
		a, err := c.material.Association(k)
		if _, known := c.associations[k]; err == nil && !known {
			c.associations[k] = a
			r.holders[a] = append(r.holders[a], c)
		}
	}
	r.byLeaf[c.material.Leaf.SPKI+c.material.Leaf.SHA256] = c
	return c
}

var keys = sync.OnceValue(func() *ring {
	r := &ring{certs: map[[3]int]*cert{}, byLeaf: map[string]*cert{}, holders: map[dane.Association][]*cert{}}
	for alg, oid := range []string{ecdsaOID, rsaOID} {
		for n := range mostMade {
			name := fmt.Sprintf("%c%d", "ER"[alg], n)
			bare := r.add(&cert{name: name + "?", material: dane.Material{Leaf: dane.Fingerprint{SPKI: spki(oid, name)}}})
			for serial := range mostCerts {
				m := dane.Material{Leaf: fingerprint(oid, name, serial), NotAfter: at(time.Duration(20+n%5*20) * day).Wall}
				m.Leaf.DER = ""
				c := r.add(&cert{name: name + strings.Repeat("'", serial), id: [3]int{alg, n, serial}, material: m, bare: bare})
				r.certs[c.id] = c
			}
			bare.whole = r.certs[[3]int{alg, n, 0}]
		}
	}
	return r
})

// stranger is what a pin holds: a key that nobody presents.
var stranger = sync.OnceValue(func() dane.Association { return association("W", "3 1 1") })

func newSimulation(careful bool, choose func(int, string) int) *simulation {
	s := &simulation{
		choose: choose, careful: careful, reach: func(string) {}, tell: func(string, ...any) {}, origin: map[string]*cert{},
	}
	s.negative = []time.Duration{20 * time.Second, 20 * time.Minute}[choose(2, "negative")]
	for i := range 1 + choose(3, "nodes")/2 {
		n := &node{sim: s, name: i, service: 1000 * hour, account: account{lastHeld: map[*cert]time.Duration{}, marks: map[*cert]retirement{}}}
		n.p = s.policy(Policy{Combinations: simAs()[0]})
		n.beat = n.service
		n.delay = []time.Duration{0, time.Minute, hour}[choose(3, "delay")]
		s.nodes = append(s.nodes, n)
	}
	switch choose(3, "begins") {
	case 0: // before there is a certificate: the ledger knows that there was none
		s.start()
		s.pass(5 * hour)
		s.stage(0)
	case 1:
		s.install(0, s.fresh(0))
		s.install(1, s.fresh(1))
		s.start()
	case 2:
		s.install(0, s.fresh(0))
		s.start()
	}
	return s
}

func (s *simulation) start() {
	for _, n := range s.nodes {
		for path, c := range s.origin {
			n.files.set(newFile(path, c))
		}
		n.origin = fresh
		n.boot(true)
	}
}

// fresh makes a key that nobody has seen before.
func (s *simulation) fresh(slot int) *cert {
	alg := slot % 2
	s.made[alg] = min(s.made[alg]+1, mostMade-1)
	return keys().certs[[3]int{alg, s.made[alg], 0}]
}

// another makes another certificate over the key of c, if there may be more.
func (s *simulation) another(c *cert) *cert {
	return keys().certs[[3]int{c.id[0], c.id[1], min(c.id[2]+1, mostCerts-1)}]
}

// at schedules an event.
func (s *simulation) at(after time.Duration, n *node, do func(*node)) {
	s.pending = append(s.pending, event{s.real + after, n, do})
}

// pass lets time go by, with all that is due meanwhile.
func (s *simulation) pass(after time.Duration) {
	end := s.real + max(after, 0)
	for s.err == nil {
		at, next := end, -1
		for i, e := range s.pending {
			if e.at <= at && (next < 0 || e.at < at) {
				at, next = e.at, i
			}
		}
		var ripe *node
		for _, n := range s.nodes {
			if n.up && n.due > 0 && n.due <= at && (n.due < at || next < 0) {
				at, next, ripe = n.due, -1, n
			}
		}
		s.advance(max(at, s.real))
		switch {
		case ripe != nil:
			ripe.due = 0
			ripe.act()
		case next >= 0:
			e := s.pending[next]
			s.pending = slices.Delete(s.pending, next, next+1)
			e.do(e.node)
		default:
			return
		}
	}
}

func (s *simulation) advance(to time.Duration) {
	for _, n := range s.nodes {
		if n.up {
			n.service += to - s.real
		}
	}
	s.real = to
}

func (s *simulation) fail(format string, args ...any) {
	if s.err == nil {
		s.err = fmt.Errorf("after %v: "+format, append([]any{s.real}, args...)...)
	}
}

// run lives through some events, and then sees that everything comes to its end.
func (s *simulation) run(events int) error {
	for ; events > 0 && s.err == nil && !s.over; events-- {
		s.happen()
	}
	if s.err == nil && !s.over {
		s.rest()
	}
	return s.err
}

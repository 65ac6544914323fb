package publish

import (
	"time"

	"github.com/coredns-tlsa/coredns-tlsa/plugin/tlsa/rollover"
)

// Config is one block of the Corefile, valid as it stands. Blocks with the same Ledger, Zones and View share one writer.
type Config struct {
	// Zones are the block's zones: lower case, fully qualified, sorted, without duplicates.
	Zones []string
	// View is the name of the server block's view; empty without one.
	View string
	// Beside are the Zones of the Corefile's other blocks with the same ledger and view.
	Beside [][]string
	// Certs and Next are absolute paths or globs.
	Certs, Next []string
	// Rescan is the time between sweeps.
	Rescan time.Duration
	// Ledger is the absolute path of the ledger's file; empty keeps the timeline in memory only.
	Ledger string
	// TTL, in seconds, is that of every RRset of the block.
	TTL uint32
	// FollowSOA takes the propagation from the zone's SOA, REFRESH + RETRY: the zone is transferred to secondaries, and the
	// Corefile does not say how long they may lag. HoldWritten: it says hold, which then is not lengthened by that.
	FollowSOA, HoldWritten bool
	// Owners are sorted by name, without duplicates.
	Owners []Owner
	// Patterns are the owners with a `*`, sorted by name, without duplicates: Name is _443._tcp.*.example.org., Host
	// *.example.org., and From names the lineages that hosts may come from. Their policies have no pins.
	Patterns []Owner
}

// An Owner is one TLSA owner of the Corefile.
type Owner struct {
	// Name is lower case and fully qualified: _25._tcp.mail.example.org.
	Name string
	// Host is Name without its leading underscore labels: the TLSA base domain (RFC 7671 7).
	Host string
	// From are the lineages it takes, by name or absolute path; empty: by SAN.
	From   []string
	Policy rollover.Policy
}

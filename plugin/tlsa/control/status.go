package control

import (
	"runtime/debug"
	"strings"
	"sync"
	"time"
)

// Version is that of the documents. It changes when a field changes its meaning or goes; a new field does not change it.
const Version = 1

// A Status is the whole document: what every block publishes and why. Times are in UTC, to the second; a missing one means
// that there is no such moment. status.schema.json describes it.
type Status struct {
	Version int `json:"version"`
	// Software is the version of the module, "(devel)" where it was not built from one.
	Software string `json:"software"`
	// Now is the wall clock when the document was made.
	Now    time.Time     `json:"now"`
	Blocks []BlockStatus `json:"blocks"`
}

// A BlockStatus is one directive, or several that share a timeline.
type BlockStatus struct {
	Zones []string `json:"zones"`
	// View is the name of the server block's view; empty without one.
	View string `json:"view"`
	// Ledger is the path of its file; empty: the timeline is in memory only. LedgerOrigin is fresh, intact, restored, lost or
	// memory: what was found when it was opened.
	Ledger       string `json:"ledger"`
	LedgerOrigin string `json:"ledger_origin"`
	// Serving: queries are answered. A block is shown, and not changed, while it starts or is replaced.
	Serving bool `json:"serving"`
	// Clocks are what Ready and removals wait for, both.
	Clocks Clocks `json:"clocks"`
	// Hold, Grace and Propagation are the Corefile's, in seconds. UntilExpiry: grace lasts at least until the certificate has
	// expired. With zone transfer an owner's may be longer.
	Hold        int64 `json:"hold_seconds"`
	Grace       int64 `json:"grace_seconds"`
	Propagation int64 `json:"propagation_seconds"`
	UntilExpiry bool  `json:"grace_until_expiry"`
	// NextChange is when the next change is due by itself.
	NextChange *time.Time `json:"next_change,omitempty"`
	// Known: every root of installed certificates has been read in full since the start.
	Known bool `json:"known"`
	// Problems are those of the roots, lineages and the ledger; those of an owner stand there.
	Problems []Problem     `json:"problems"`
	Owners   []OwnerStatus `json:"owners"`
	Lineages []Lineage     `json:"lineages"`
}

// Clocks are the wall clock and the time of service, which counts only while the server runs, summed over restarts.
type Clocks struct {
	Wall    time.Time `json:"wall"`
	Service int64     `json:"service_seconds"`
}

// A Problem is something that a person must act on.
type Problem struct {
	// Reason is a code from a closed set, Text a sentence.
	Reason string `json:"reason"`
	Text   string `json:"text"`
	// Source is what it was found at: an owner, a root, a lineage or file, or the ledger.
	Source string    `json:"source"`
	Since  time.Time `json:"since"`
}

// The kinds of answer that an owner's TLSA query gets.
const (
	AnswerRecords   = "records"   // the RRset
	AnswerNone      = "none"      // NODATA: the directories hold nothing for it
	AnswerUnknown   = "unknown"   // SERVFAIL: nothing can be known yet
	AnswerWithdrawn = "withdrawn" // NODATA, because the operator says so
	AnswerElsewhere = "elsewhere" // the next plugin's: a zone cut, or a zone that is signed already
)

// An OwnerStatus is one TLSA owner.
type OwnerStatus struct {
	Name string `json:"name"`
	Zone string `json:"zone"`
	// Pattern is the name of the Corefile with `*` that it comes from; empty for one that stands there itself.
	Pattern string `json:"pattern,omitempty"`
	Answer  string `json:"answer"`
	TTL     uint32 `json:"ttl_seconds"`
	// Hold, Grace and Propagation are those in force, in seconds.
	Hold        int64 `json:"hold_seconds"`
	Grace       int64 `json:"grace_seconds"`
	Propagation int64 `json:"propagation_seconds"`
	// Associations are the RRset, in its order.
	Associations []Association `json:"associations"`
	Problems     []Problem     `json:"problems"`
	// WithdrawnSince is since when the operator has it answered without records.
	WithdrawnSince *time.Time   `json:"withdrawn_since,omitempty"`
	Revoked        []Revocation `json:"revoked"`
}

// An Association is one record of an RRset.
type Association struct {
	Usage        uint8 `json:"usage"`
	Selector     uint8 `json:"selector"`
	MatchingType uint8 `json:"matching_type"`
	// Data is the certificate association data, in lower-case hexadecimal.
	Data string `json:"data"`
	// State is published, ready, active or retired.
	State string     `json:"state"`
	Since *time.Time `json:"since,omitempty"`
	// Gated: every cache has it or holds nothing.
	Gated bool `json:"gated"`
	// NextState is ready or removed, and NextAt when; both missing when time alone changes nothing.
	NextState string     `json:"next_state,omitempty"`
	NextAt    *time.Time `json:"next_at,omitempty"`
	// Ungated: it is in use and some caches may lack it, until then.
	Ungated      bool       `json:"ungated"`
	UngatedUntil *time.Time `json:"ungated_until,omitempty"`
	// Lineage is the name of the one that needs it, or needed it last.
	Lineage string `json:"lineage,omitempty"`
	// Reason says what stands behind it, or what ended it.
	Reason string  `json:"reason"`
	Places []Place `json:"places"`
	// Unrecorded: it is published though the ledger could not take it, and is not Ready before it can.
	Unrecorded bool `json:"unrecorded,omitempty"`
}

// The kinds of place.
const (
	PlaceInstalled = "installed" // a file of a `certs` root
	PlaceStaged    = "staged"    // a file of a `next` root
	PlacePin       = "pin"       // the Corefile
	PlaceZone      = "zone"      // the zone's own data
)

// A Place is where an association was seen.
type Place struct {
	Kind string `json:"kind"`
	// File and Lineage are paths; missing for a pin and for the zone's own data.
	File    string `json:"file,omitempty"`
	Lineage string `json:"lineage,omitempty"`
}

// A Revocation is what the operator has taken out and can still bring back.
type Revocation struct {
	// Data and SPKI are as the operator gave them: one of the two.
	Data  string    `json:"data,omitempty"`
	SPKI  string    `json:"spki,omitempty"`
	Since time.Time `json:"since"`
	// Until is when it can no longer be undone.
	Until time.Time `json:"until"`
}

// A Lineage is the files of one certificate as they are now.
type Lineage struct {
	ID     string `json:"id"`
	Name   string `json:"name"`
	Root   string `json:"root"`
	Staged bool   `json:"staged"`
	Leaves []Leaf `json:"leaves"`
}

// A Leaf is one certificate or bare key of a lineage.
type Leaf struct {
	// SPKI and SHA256 are SHA2-256 digests, of the SubjectPublicKeyInfo and of the whole certificate, in lower-case
	// hexadecimal. A bare key has no SHA256.
	SPKI      string     `json:"spki"`
	SHA256    string     `json:"sha256,omitempty"`
	Algorithm string     `json:"algorithm"`
	NotAfter  *time.Time `json:"not_after,omitempty"`
	Files     []string   `json:"files"`
	Safety
}

// A Safety says whether a certificate is safe to install: at every owner it maps to, all of its associations are Ready, or
// in use already, by this very certificate or together with a Ready one.
type Safety struct {
	Safe bool `json:"safe"`
	// Owners are the names that it maps to. Where there is none, it is not safe: nobody knows.
	Owners []string `json:"owners"`
	// SafeAt is when it is, if nothing changes; missing when it is safe, and when time alone will not bring it.
	SafeAt *time.Time `json:"safe_at,omitempty"`
	// HeldBy is the owner that holds it up longest, Why what it lacks there.
	HeldBy string `json:"held_by,omitempty"`
	Why    string `json:"why,omitempty"`
}

// Software is the version of this module in the program that runs.
var Software = sync.OnceValue(func() string {
	const module = "github.com/coredns-tlsa/coredns-tlsa"
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return "(devel)"
	}
	for _, m := range append(info.Deps, &info.Main) {
		if m.Path == module && strings.TrimSpace(m.Version) != "" {
			return m.Version
		}
	}
	return "(devel)"
})

// add joins what another block says of the same certificate.
func (s Safety) add(o Safety) Safety {
	owners := append(append([]string{}, s.Owners...), o.Owners...)
	switch {
	case len(s.Owners) == 0:
		s = o
	case len(o.Owners) == 0, o.Safe:
	case s.Safe, o.SafeAt == nil, s.SafeAt != nil && o.SafeAt.After(*s.SafeAt):
		s = o
	}
	s.Owners = owners
	return s
}

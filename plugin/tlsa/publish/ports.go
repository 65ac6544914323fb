package publish

import (
	"context"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/coredns-tlsa/coredns-tlsa/plugin/tlsa/certdir"
	"github.com/coredns-tlsa/coredns-tlsa/plugin/tlsa/dane"
	"github.com/coredns-tlsa/coredns-tlsa/plugin/tlsa/ledger"
	"github.com/coredns-tlsa/coredns-tlsa/plugin/tlsa/rollover"
)

// Zones is the DNS data behind this plugin: what the next plugin of the server block has.
type Zones interface {
	// Look tells what the next plugin has at owner, a name of a zone that has an SOA, as far as the answer there depends on it.
	Look(owner string) ZoneView
	// Remark tells the rest of an owner that Look has found no cut for.
	Remark(owner string) Remarks
	// SOA gives what is needed of the zone's SOA; false if the next plugin has none.
	SOA(zone string) (SOA, bool)
}

// An SOA is what a publisher needs of a zone's SOA.
type SOA struct {
	Serial uint32
	// Lag is REFRESH + RETRY: how long a secondary that misses a NOTIFY may lag behind.
	Lag time.Duration
	// Signed: the zone comes with signatures of its own.
	Signed bool
}

// A ZoneView is what the zone has at and above one owner.
type ZoneView struct {
	// Known: the next plugin answered with the zone's data.
	Known bool
	// Cut is the zone cut or DNAME at or above the owner; empty without one.
	Cut string
	// TLSA are the zone's own associations at the owner.
	TLSA []dane.Association
}

// Remarks are what only problems tell of.
type Remarks struct {
	// Alias is what the host is an alias of; empty if it is none.
	Alias string
	// Hidden names records that our answers hide, "CNAME at _25._tcp.mail.example.org."; empty if there is none.
	Hidden string
}

// store is what a publisher needs of a ledger.Store.
type store interface {
	Origin() ledger.Origin
	Vouches(block string) bool
	Vouch(block string) error
	Notice() string
	Blocks() ([]string, error)
	Load(block string) (map[string]*rollover.Timeline, error)
	Commit(block string, changes map[string]*rollover.Timeline) error
	CommitSerial(block string, changes map[string]*rollover.Timeline, part uint32) error
	Serial() (uint32, error)
	Heartbeat() error
	Backup() error
	Now() rollover.Stamp
	Close() error
}

func openLedger(path string) (store, error) { return ledger.Open(path) }

// watcher is what a publisher needs of a certdir.Watcher.
type watcher interface {
	Sweep(ctx context.Context) certdir.Changes
	Run(ctx context.Context, apply func(certdir.Changes))
}

// A Logger takes one line at a time.
type Logger interface {
	Infof(format string, v ...any)
	Warningf(format string, v ...any)
	Errorf(format string, v ...any)
}

// plain keeps a line a line: file names may hold line feeds and terminal escapes.
type plain struct{ Logger }

func (l plain) Infof(format string, v ...any)    { l.Logger.Infof("%s", printable(format, v)) }
func (l plain) Warningf(format string, v ...any) { l.Logger.Warningf("%s", printable(format, v)) }
func (l plain) Errorf(format string, v ...any)   { l.Logger.Errorf("%s", printable(format, v)) }

func printable(format string, v []any) string {
	line := fmt.Sprintf(format, v...)
	if !strings.ContainsFunc(line, func(r rune) bool { return !strconv.IsPrint(r) }) {
		return line
	}
	quoted := strconv.Quote(line)
	return strings.ReplaceAll(quoted[1:len(quoted)-1], `\"`, `"`)
}

// A Meter takes the figures of a block. It must not keep what it is handed.
type Meter interface {
	// Update is called after every change.
	Update(Figures)
	// Owner is called when the figures of one owner have changed.
	Owner(name string, f OwnerFigures)
	// Problem counts a problem that has come.
	Problem(rollover.Reason)
	// LedgerError counts a commit that failed.
	LedgerError()
	// ClockJump counts a step of the wall clock.
	ClockJump()
}

// Figures are what a block publishes about itself.
type Figures struct {
	// States counts the associations by state.
	States map[rollover.State]int
	// Ungated counts those that are in use before they are Ready.
	Ungated int
	// Next is when the next change is due by itself; zero: none is.
	Next time.Time
	// Problems counts the open problems by reason.
	Problems map[rollover.Reason]int
	// Frozen counts the lineages that vanished together with half of their root: their removals wait (rule 4).
	Frozen int
	// Ignored counts the names in certificates that a pattern may take and that lie in no zone of the block.
	Ignored int
	// Sweep is what the last sweep counted; zero before the first that the watcher made while serving.
	Sweep certdir.Figures
}

// OwnerFigures are what a block publishes about one owner of the Corefile: those of a pattern are of all its owners together. A
// zero time means that there is no such moment.
type OwnerFigures struct {
	// Records is the size of the RRset.
	Records int
	// Hosts is how many hosts a pattern has found.
	Hosts int
	// Ready is when the last association that is not Ready will be, Removal when the next one leaves.
	Ready, Removal time.Time
	// NotAfter is when the first of the installed certificates expires.
	NotAfter time.Time
}

// The reasons of problems that this package finds.
const (
	LedgerFailing rollover.Reason = "ledger-failing" // a commit failed; removals and Ready wait
	LedgerLost    rollover.Reason = "ledger-lost"    // the ledger was damaged at start
	MixedOwners   rollover.Reason = "mixed-owners"   // a root with several uids needs `from`
	NoLineage     rollover.Reason = "no-lineage"     // `from` names something that is not there
	UnmappedKey   rollover.Reason = "unmapped-key"   // a staged bare key that no owner takes
	BelowCut      rollover.Reason = "below-cut"      // an owner under a delegation or DNAME
	HostAlias     rollover.Reason = "host-alias"     // a host whose clients ask at the target of its CNAME first
	ZoneSigned    rollover.Reason = "zone-signed"    // a zone that comes with its own signatures
	ZoneHidden    rollover.Reason = "zone-hidden"    // records of the zone that our names hide
	ZoneMissing   rollover.Reason = "zone-missing"   // the next plugin has no SOA for the zone
)

package control

import (
	"encoding/hex"
	"errors"
	"fmt"
	"net/http"
	"time"

	"github.com/miekg/dns"
)

// A Verb is what an operator wants.
type Verb string

// The verbs.
const (
	Revoke   Verb = "revoke"   // drop a digest now
	Withdraw Verb = "withdraw" // answer a name without records, or give a lineage up that does not return
	Restore  Verb = "restore"  // undo
)

// An Action is what an operator wants with what. Revoke takes Owner and Data, or SPKI; Withdraw takes Owner, or Lineage;
// Restore takes any of these.
type Action struct {
	Verb Verb `json:"-"`
	// Owner is a TLSA owner, lower case and fully qualified.
	Owner string `json:"owner,omitempty"`
	// Data is the certificate association data of one of its associations, in hexadecimal.
	Data string `json:"data,omitempty"`
	// SPKI is the SHA2-256 digest of a key's SubjectPublicKeyInfo, in hexadecimal: at every owner of every block.
	SPKI string `json:"spki,omitempty"`
	// Lineage is the identity or the name of one, at every owner of every block.
	Lineage string `json:"lineage,omitempty"`
}

// octets is the longest association data: what a TLSA record can hold.
const octets = 1<<16 - 1

// check refuses what no block could understand, and brings the names to their one form.
func (a *Action) check() error {
	shape := [4]bool{a.Owner != "", a.Data != "", a.SPKI != "", a.Lineage != ""}
	shapes := map[Verb][][4]bool{
		Revoke:   {{true, true}, {2: true}},
		Withdraw: {{true}, {3: true}},
		Restore:  {{true, true}, {2: true}, {true}, {3: true}},
	}
	fits := false
	for _, s := range shapes[a.Verb] {
		fits = fits || s == shape
	}
	if !fits {
		return fmt.Errorf("%s takes %s", a.Verb, map[Verb]string{
			Revoke: "owner and data, or spki", Withdraw: "owner, or lineage",
			Restore: "owner and data, spki, owner, or lineage",
		}[a.Verb])
	}
	a.Owner = canonicalName(a.Owner)
	if raw, err := hex.DecodeString(a.Data); err != nil || len(raw) > octets {
		return fmt.Errorf("data %.80q is not hexadecimal of certificate association data", a.Data)
	}
	if raw, err := hex.DecodeString(a.SPKI); err != nil || a.SPKI != "" && len(raw) != 32 {
		return fmt.Errorf("spki %.80q is not a SHA2-256 digest in hexadecimal", a.SPKI)
	}
	return nil
}

// Done is what an action has changed at one owner.
type Done struct {
	Owner string `json:"owner"`
	Zone  string `json:"zone"`
	// Text says what was done, in one sentence.
	Text string `json:"text"`
	// CachedUntil is until when caches may hold what left, or lack what came back.
	CachedUntil *time.Time `json:"cached_until,omitempty"`
	// UndoUntil is until when it can be undone; missing where there is no limit, or nothing to undo.
	UndoUntil *time.Time `json:"undo_until,omitempty"`
}

// The codes of an Error.
const (
	CodeRequest  = "bad-request" // the request itself is wrong
	CodeNothing  = "not-found"   // there is no such thing
	CodeRefused  = "refused"     // it would do harm
	CodeStarting = "starting"    // the block starts or is being replaced: ask again
	CodeLedger   = "ledger"      // it cannot be recorded, so it was not done
	CodeMethod   = "bad-method"  // this endpoint does not do that
)

// An Error is why the server did not do what was asked.
type Error struct {
	Code string `json:"code"`
	Text string `json:"text"`
}

// Error gives the text.
func (e *Error) Error() string { return e.Text }

func (e *Error) status() int {
	status, ok := map[string]int{
		CodeRequest: http.StatusBadRequest, CodeNothing: http.StatusNotFound, CodeRefused: http.StatusConflict,
		CodeStarting: http.StatusServiceUnavailable, CodeLedger: http.StatusServiceUnavailable, CodeMethod: http.StatusMethodNotAllowed,
	}[e.Code]
	if !ok {
		return http.StatusInternalServerError
	}
	return status
}

// asError gives the first Error of the chain, or makes one.
func asError(err error) *Error {
	if e, ok := errors.AsType[*Error](err); ok {
		return e
	}
	return &Error{Code: CodeRefused, Text: err.Error()}
}

// A Certificate is what a client asks about: its digests, and the names that it is for.
type Certificate struct {
	// SPKI and SHA256 are raw SHA2-256 digests, of the SubjectPublicKeyInfo and of the whole certificate; SHA256 may be empty.
	SPKI, SHA256 string
	// Names are its SANs, lower case. With them owners are found that no watched file leads to.
	Names []string
}

// A Block is one directive at work.
type Block interface {
	// Status describes the block. With an owner it has only that one, if the block has it, and no lineages.
	Status(owner string) BlockStatus
	// Safe judges a certificate at the block's owners. Without Owners it says nothing.
	Safe(c Certificate) Safety
	// Act does what the operator wants, or tells only whether it would be done. The error is an *Error. With CodeNothing the
	// action is no business of this block.
	Act(a Action, only bool) ([]Done, error)
}

func canonicalName(name string) string {
	if name == "" {
		return ""
	}
	return dns.CanonicalName(name)
}

package rollover

// A Reason is the code of a problem: stable, and from a closed set, so that it can label a metric.
type Reason string

// A Problem is something that a person must act on. Since when it holds is kept by who publishes it.
type Problem struct {
	Reason Reason
	// Text says what is wrong, where, and how to mend it, in one sentence without a full stop. It holds no file contents.
	Text string
}

// The reasons that a decision gives.
const (
	NoCertificate      Reason = "no-certificate"      // the owner has no association, and that is known
	TooManyKeys        Reason = "too-many-keys"       // a newcomer over the limit is refused (rule 7)
	SourceMissing      Reason = "source-missing"      // a key's file is in doubt; its record stays (rule 4)
	RemovalsFrozen     Reason = "removals-frozen"     // a root vanished or lost half of its lineages (rule 4)
	NoSuccessor        Reason = "no-successor"        // a file is gone and nothing of its algorithm is installed (rule 3b)
	LastAssociation    Reason = "last-association"    // the evidence would take the owner's last record (rule 3)
	CombinationWaits   Reason = "combination-waits"   // it cannot be computed for every key yet (rule 6)
	IssuerMissing      Reason = "issuer-missing"      // usage 0 or 2, and the chain file does not hold the issuer
	CertificateMissing Reason = "certificate-missing" // selector 0 or usage 0 or 2, and only a bare key is known
	ZoneRecord         Reason = "zone-record"         // the zone has a TLSA record of its own at the owner (rule 1)
	Withdrawn          Reason = "withdrawn"           // the operator has it answered without records (rule 8)
)

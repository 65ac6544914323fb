//go:build referee

package probe

// Why a tool decides otherwise.
const (
	oneKey = "it makes one handshake, and RFC 7671 8.4 wants every certificate that is in use to match"
	// Go, GnuTLS and others check the dates of every certificate of the path, so a server that depends on it fails for them.
	anchorDates = "an authority that is not self-signed is but a name and a key (RFC 5280 6.1.1 d), so its dates do not count there"
	commonName  = "it takes the common name where there is no DNS name, which RFC 9525 2 ended"
	asIfNone    = "no usable record is as if there were none (RFC 6698 4.1), and PKIX accepts the chain"
	onlySent    = "it compares with what the server sends only, and RFC 7671 5.2.3 leaves authorities from records to the client"
	noAgility   = "it is of the time before digest agility (RFC 7671 9)"
	oneAddress  = "it is content with the first address of the first host; RFC 7672 2.2 makes each a host to deliver to"
	oneLookup   = "it goes on when one of the two lookups of addresses succeeds, which RFC 7672 2.1.2 treats as a host that cannot be reached"
	dataOnly    = "given a file it compares data, and verifies no path, no name and no date (RFC 7671 5.2, 5.3)"
)

// disagreements are all those of other people's tools with the tables, by row.
var disagreements = map[string]map[string]string{
	"RSA right and ECDSA wrong":     {"openssl": oneKey, "ldns-dane": oneKey, "danetool": oneKey, "posttls-finger": oneKey},
	"one expired, usage 2":          {"openssl": oneKey, "ldns-dane": oneKey, "danetool": oneKey, "posttls-finger": oneKey},
	"expired issuer, usage 2":       {"openssl": anchorDates, "ldns-dane": anchorDates, "posttls-finger": anchorDates},
	"a common name only, usage 2":   {"openssl": commonName, "ldns-dane": commonName, "posttls-finger": commonName, "danetool": dataOnly},
	"an unknown usage":              {"ldns-dane": asIfNone},
	"an unknown selector":           {"ldns-dane": asIfNone},
	"an unknown matching type":      {"ldns-dane": asIfNone},
	"a digest too short":            {"ldns-dane": asIfNone},
	"full data that is none":        {"ldns-dane": asIfNone},
	"a full key that is none":       {"ldns-dane": asIfNone},
	"2 0 0 of the issuer, not sent": {"ldns-dane": onlySent, "danetool": onlySent},
	"2 1 0 of the issuer, not sent": {"danetool": onlySent},
	"2 1 0 of the root, not sent":   {"danetool": onlySent},
	"PKIX-TA of a root not sent":    {"danetool": onlySent},
	"PKIX-TA of a root, directly":   {"danetool": onlySent},
	"agility hides the key in use":  {"danetool": noAgility},
	"agility under usage 2":         {"danetool": noAgility},
	"that leaf sent twice":          {"danetool": dataOnly},
	"an unrelated authority sent":   {"danetool": dataOnly},
	"another name, usage 2":         {"danetool": dataOnly},
	"a wildcard too deep, usage 2":  {"danetool": dataOnly},
	"path longer than allowed":      {"danetool": dataOnly},
	"for clients only, usage 2":     {"danetool": dataOnly},
	"PKIX-EE, another name":         {"danetool": dataOnly},
	"PKIX-EE, unknown authority":    {"danetool": dataOnly},
	"PKIX-EE, expired":              {"danetool": dataOnly},
	"PKIX-EE, nothing in between":   {"danetool": dataOnly},

	"one address of two silent":     {"posttls-finger": oneAddress},
	"one address of three wrong":    {"posttls-finger": oneAddress},
	"too many addresses":            {"posttls-finger": oneAddress},
	"the backup is wrong":           {"posttls-finger": oneAddress},
	"the backup is in another zone": {"posttls-finger": oneAddress},
	"bogus AAAA":                    {"posttls-finger": oneLookup},
}

package tlsa

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"time"
)

// A variant is a Corefile around the core owners of a soak: what can be turned on and off, and the times.
type variant struct {
	ttl, hold, grace time.Duration
	zones            string   // of the first directive, relative; empty: the server block's
	as               []string // of the block
	webAs            []string // of the web owner alone, which then has its own; not with star
	extras           []string // owners beside the core
	from, pin        bool
	star, exact      bool // the web owner comes from `*`, or is written down; or both
	second           bool // the web owner stands in a directive of its own
	cache, transfer  bool
	view             bool
	primary, signed  bool // the zone on the second port, for transfers; with dnssec
	fault            string
}

// faults of Corefiles, each found later than the one before.
var corefileFaults = []string{"syntax", "outside", "unequal", "ledger", "plugin", "port"}

// plainVariant is what a soak begins and ends with.
func plainVariant() variant {
	return variant{ttl: time.Second, hold: hold, grace: grace, as: []string{"3 1 1"}, exact: true}
}

// draw gives the next Corefile. One of six cannot be started.
func draw(r *rand.Rand) variant {
	coin := func() bool { return r.IntN(2) == 0 }
	v := variant{
		ttl: time.Duration(1+r.IntN(2)) * time.Second, from: coin(), pin: coin(), cache: coin(), transfer: r.IntN(4) > 0,
		view: coin(), primary: coin(), signed: coin(),
	}
	v.hold = 2*v.ttl + time.Duration(r.IntN(3))*time.Second
	v.grace = max(grace, 2*v.ttl) + time.Duration(r.IntN(3))*time.Second
	v.as = [][]string{{"3 1 1"}, {"3 1 2"}, {"3 1 1", "3 1 2"}, {"2 1 1", "3 1 1"}}[r.IntN(4)]
	v.zones = []string{"", "@", "@ deep", "mail web", "@ mail"}[r.IntN(5)]
	for _, o := range []string{"_587._tcp.mail", "_993._tcp.mail", "_8443._tcp.web"} {
		if coin() {
			v.extras = append(v.extras, o)
		}
	}
	switch r.IntN(4) {
	case 0:
		v.second, v.zones = true, []string{"", "@", "mail"}[r.IntN(3)]
		v.extras = slices.DeleteFunc(v.extras, func(o string) bool { return strings.HasSuffix(o, ".web") })
	case 1:
		v.star, v.exact = v.zones != "mail web", coin() || v.zones == "mail web"
	default:
		v.exact = true
		if coin() {
			v.webAs = []string{"3 1 2"}
		}
	}
	if r.IntN(6) == 0 {
		v.fault = corefileFaults[r.IntN(len(corefileFaults))]
		v.primary = v.primary || v.fault == "unequal"
	}
	return v
}

// combinations are those of an owner of the core.
func (v variant) combinations(owner string) []string {
	if strings.HasPrefix(owner, "_443.") && len(v.webAs) > 0 {
		return v.webAs
	}
	return v.as
}

// pinned is what the pin of the first core owner publishes.
var pinned = "3 0 1 " + strings.Repeat("ab", 32)

// common are the lines that every directive has.
func (v variant) common() string {
	return "certs certs\nnext next\nrescan 1s\npropagation 0s\nledger tlsa.ledger\nas " + strings.Join(v.as, "\nas ") +
		fmt.Sprintf("\nttl %s\nhold %s\ngrace %s\n", v.ttl, v.hold, v.grace)
}

// directives are the tlsa directives of a server block.
func (v variant) directives(zone string) string {
	absolute := func(name string) string {
		if name == "@" {
			return zone
		}
		return name + "." + zone
	}
	var zones []string
	for z := range strings.FieldsSeq(v.zones) {
		zones = append(zones, absolute(z))
	}
	common := v.common()
	var b strings.Builder
	from := func(lineage string) string {
		if v.from {
			return " from " + lineage
		}
		return ""
	}
	web := "name " + absolute("_443._tcp.web") + from("web")
	for _, c := range v.webAs {
		web += " as " + c
	}
	fmt.Fprintf(&b, "tlsa %s {\n%s", strings.Join(zones, " "), common)
	fmt.Fprintf(&b, "name %s %s%s\n", absolute("_25._tcp.mail"), absolute("_465._tcp.mail"), from("mail"))
	for _, o := range v.extras {
		fmt.Fprintf(&b, "name %s\n", absolute(o))
	}
	if v.pin {
		fmt.Fprintf(&b, "pin %s %s\n", absolute("_25._tcp.mail"), pinned)
	}
	if v.star {
		fmt.Fprintf(&b, "name %s\n", absolute("_443._tcp.*"))
	}
	if v.exact {
		fmt.Fprintln(&b, web)
	}
	switch v.fault {
	case "syntax":
		fmt.Fprintln(&b, "graze 4s")
	case "outside":
		fmt.Fprintln(&b, "name _25._tcp.elsewhere.test.")
	}
	fmt.Fprintln(&b, "}")
	if v.second {
		fmt.Fprintf(&b, "tlsa %s {\n%s%s\n}\n", absolute("web"), common, web)
	}
	return b.String()
}

// text is the Corefile of a zone with two ports, of which the second always has some server; taken is somebody else's port.
func (v variant) text(s *site, ports []string, taken string) string {
	var b strings.Builder
	block := func(zone, port, plugins string) {
		fmt.Fprintf(&b, "%s:%s {\nbind 127.0.0.1\nroot %s\nerrors\n%s}\n", zone, port, s.dir, plugins)
	}
	const sign, transfers = "dnssec {\nkey file K\n}\n", "transfer {\nto *\n}\n"
	if v.view {
		inside := fmt.Sprintf("view inside {\nexpr bufsize() == %d\n}\n", insideSize)
		block(s.zone, ports[0], inside+sign+v.directives(s.zone)+"file db\n")
	}
	plugins := sign
	if v.cache {
		plugins += "cache\n"
	}
	if v.transfer {
		plugins += transfers
	}
	if v.fault == "plugin" {
		plugins += failing + "\n"
	}
	block(s.zone, ports[0], plugins+v.directives(s.zone)+"file db\n")
	plugins = ""
	if v.signed {
		plugins = sign
	}
	if v.primary {
		unequal := v
		if v.fault == "unequal" {
			unequal.grace += time.Second
		}
		block(s.zone, ports[1], plugins+transfers+unequal.directives(s.zone)+"file db\n")
	} else {
		block("other."+s.zone, ports[1], "file other\n")
	}
	switch v.fault {
	case "ledger":
		lost := "ledger nowhere/tlsa.ledger\nauthority ns.third.test.\n"
		block("third.test.", ports[0], "tlsa {\npin _25._tcp.mail "+pinned+"\n"+lost+"}\n")
	case "port":
		block("third.test.", taken, "file other third.test.\n")
	}
	return b.String()
}

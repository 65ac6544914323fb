//go:build referee

package main

import (
	"bytes"
	"fmt"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/miekg/dns"
)

// row is a question and its one right answer.
type row struct {
	name  string // relative to the zone
	qtype uint16
	rcode int // with DO, NXDOMAIN is NOERROR and an NSEC that says so (RFC 9824 3.1)
	// answers are the types of the records of the answer, without signatures, in ascending order.
	answers []uint16
	// referral tells that the answer is another server's; then a resolver is not asked.
	referral bool
	// direct tells that a resolver has its own answer.
	direct bool
}

func rows() map[string]row {
	tlsa := []uint16{dns.TypeTLSA}
	alias := []uint16{dns.TypeCNAME, dns.TypeTLSA}
	const owner, none, nx = "_25._tcp.mail", dns.RcodeSuccess, dns.RcodeNameError
	long := strings.Repeat(strings.Repeat("x", 63)+".", 3) + strings.Repeat("y", 48)
	return map[string]row{
		"the longest name":                    {name: long + "y", qtype: dns.TypeTLSA, rcode: nx}, // 255 octets
		"one octet shorter":                   {name: long, qtype: dns.TypeTLSA, rcode: nx},
		"the owner":                           {name: owner, qtype: dns.TypeTLSA, answers: tlsa},
		"in mixed case":                       {name: "_25._TCP.MaIl", qtype: dns.TypeTLSA, answers: tlsa},
		"ANY at the owner":                    {name: owner, qtype: dns.TypeANY, answers: tlsa},
		"three certificates in full":          {name: "_443._tcp.big", qtype: dns.TypeTLSA, answers: []uint16{52, 52, 52}},
		"A at the owner":                      {name: owner, qtype: dns.TypeA},
		"TXT at the owner":                    {name: owner, qtype: dns.TypeTXT},
		"CNAME at the owner":                  {name: owner, qtype: dns.TypeCNAME},
		"a private type at the owner":         {name: owner, qtype: 65281},
		"DS at the owner":                     {name: owner, qtype: dns.TypeDS},
		"NSEC at the owner":                   {name: owner, qtype: dns.TypeNSEC, direct: true},
		"RRSIG at the owner":                  {name: owner, qtype: dns.TypeRRSIG, direct: true},
		"the empty non-terminal":              {name: "_tcp.mail", qtype: dns.TypeTLSA},
		"A there":                             {name: "_tcp.mail", qtype: dns.TypeA},
		"DS there":                            {name: "_tcp.mail", qtype: dns.TypeDS},
		"ANY there":                           {name: "_tcp.mail", qtype: dns.TypeANY},
		"in mixed case, there":                {name: "_tCp.maiL", qtype: dns.TypeNS},
		"the host":                            {name: "mail", qtype: dns.TypeA, answers: []uint16{dns.TypeA}},
		"NODATA at the host":                  {name: "mail", qtype: dns.TypeAAAA},
		"DS at the host":                      {name: "mail", qtype: dns.TypeDS},
		"TLSA at the host":                    {name: "mail", qtype: dns.TypeTLSA},
		"a host that is there because of us":  {name: "fresh", qtype: dns.TypeA},
		"the empty non-terminal below it":     {name: "_tcp.fresh", qtype: dns.TypeA},
		"the owner below it":                  {name: "_25._tcp.fresh", qtype: dns.TypeTLSA, answers: tlsa},
		"a name between it and the zone":      {name: "between", qtype: dns.TypeA},
		"an owner far down":                   {name: "_25._tcp.far.between", qtype: dns.TypeTLSA, answers: tlsa},
		"an unknown port":                     {name: "_26._tcp.mail", qtype: dns.TypeTLSA, rcode: nx},
		"A at an unknown port":                {name: "_26._tcp.mail", qtype: dns.TypeA, rcode: nx},
		"DS at an unknown port":               {name: "_26._tcp.mail", qtype: dns.TypeDS, rcode: nx},
		"an unknown protocol":                 {name: "_25._sctp.mail", qtype: dns.TypeTLSA, rcode: nx},
		"below the owner":                     {name: "below." + owner, qtype: dns.TypeTLSA, rcode: nx},
		"an unknown host":                     {name: "_25._tcp.nobody", qtype: dns.TypeTLSA, rcode: nx},
		"the host's unknown name":             {name: "nobody", qtype: dns.TypeA, rcode: nx},
		"a CNAME of the zone to an owner":     {name: "_587._tcp.mail", qtype: dns.TypeTLSA, answers: alias},
		"itself":                              {name: "_587._tcp.mail", qtype: dns.TypeCNAME, answers: []uint16{dns.TypeCNAME}},
		"a CNAME of the zone at an owner":     {name: "_465._tcp.mail", qtype: dns.TypeTLSA, answers: tlsa},
		"which does not show":                 {name: "_465._tcp.mail", qtype: dns.TypeCNAME},
		"a host that is an alias":             {name: "alias", qtype: dns.TypeA, answers: []uint16{dns.TypeA, dns.TypeCNAME}},
		"an owner below an alias":             {name: "_25._tcp.alias", qtype: dns.TypeTLSA, answers: tlsa},
		"a denial below an alias":             {name: "_tcp.alias", qtype: dns.TypeA},
		"an owner below a DNAME":              {name: "_25._tcp.a.dn", qtype: dns.TypeTLSA, answers: []uint16{dns.TypeCNAME, dns.TypeDNAME, dns.TypeTLSA}},
		"the DNAME itself":                    {name: "dn", qtype: dns.TypeDNAME, answers: []uint16{dns.TypeDNAME}},
		"an owner below a cut":                {name: "_25._tcp.a.cut", qtype: dns.TypeTLSA, referral: true},
		"an owner at a cut":                   {name: "_25._tcp.cut", qtype: dns.TypeTLSA, referral: true},
		"the empty non-terminal below a cut":  {name: "_tcp.cut", qtype: dns.TypeA, referral: true},
		"the cut":                             {name: "cut", qtype: dns.TypeA, referral: true},
		"DS at the cut":                       {name: "cut", qtype: dns.TypeDS},
		"a label that only starts like ours":  {name: "_25._tcp.mail2", qtype: dns.TypeTLSA, rcode: nx},
		"the zone":                            {name: "", qtype: dns.TypeSOA, answers: []uint16{dns.TypeSOA}},
		"NODATA at the zone":                  {name: "", qtype: dns.TypeTLSA, rcode: none},
		"the zone's own port":                 {name: "_443._tcp", qtype: dns.TypeTLSA, answers: tlsa},
		"the empty non-terminal of the zone":  {name: "_tcp", qtype: dns.TypeTLSA},
		"an unknown port of the zone":         {name: "_444._tcp", qtype: dns.TypeTLSA, rcode: nx},
		"an owner that a wildcard would hide": {name: "_25._tcp.x.wild", qtype: dns.TypeTLSA, answers: tlsa},
		"the wildcard, not there":             {name: "_tcp.x.wild", qtype: dns.TypeTXT},
		"the wildcard at the host":            {name: "x.wild", qtype: dns.TypeTXT, answers: []uint16{dns.TypeTXT}},
		"the wildcard elsewhere":              {name: "_25._tcp.y.wild", qtype: dns.TypeTXT, answers: []uint16{dns.TypeTXT}},
	}
}

// The SOA's TTL is above its MINIMUM.
const rowsZone = `$ORIGIN example.org.
$TTL 300
@    IN SOA ns hostmaster 1 7200 3600 1209600 60
     IN NS  ns
ns   IN A   127.0.0.1
mail IN A   127.0.0.1
_587._tcp.mail IN CNAME _25._tcp.mail
_465._tcp.mail IN CNAME nobody
alias          IN CNAME mail
dn             IN DNAME target
_25._tcp.a.target IN TLSA 3 1 1 abababababababababababababababababababababababababababababababab
cut            IN NS ns.cut
ns.cut         IN A  127.0.0.1
big            IN A  127.0.0.1
*.wild         IN TXT "wild"
`

const rowsNames = `tlsa {
        certs live
        name _25._tcp.mail _465._tcp.mail _25._tcp.fresh _25._tcp.far.between _443._tcp from mail
        name _25._tcp.alias _25._tcp.a.dn _25._tcp.a.cut _25._tcp.cut _25._tcp.x.wild from mail
        name _443._tcp.big from one two three as 3 0 0
        ledger ledger
    }`

// rowsSite serves them, by the text of one or more server blocks. KEYS stands for the directive dnssec, with keys of these
// flags, else with the demonstration key, and NAMES for tlsa.
func rowsSite(t *testing.T, corefile string, flags ...uint16) (*server, upstream) {
	t.Helper()
	s, _ := signedSite(t, rowsZone, "")
	up, files := s.upstream(), demoKey
	if len(flags) > 0 {
		files = ""
		for i, f := range flags {
			key, base := newZoneKey(t, s.dir, "example.org", f)
			files += " " + base
			if i == 0 {
				up.anchors = []string{key.String()}
			}
		}
	}
	for _, lineage := range []string{"one", "two", "three"} {
		write(t, filepath.Join(s.dir, "live", lineage, "fullchain.pem"), newCert(t).pem)
	}
	write(t, s.conf, strings.NewReplacer("PORT", s.port, "NAMES", rowsNames,
		"KEYS", "bind 127.0.0.1\n    errors\n    dnssec {\n        key file "+files+"\n    }").Replace(corefile))
	return s.up(), up
}

const (
	rowsBlock = "example.org:PORT {\n    KEYS\n    NAMES\n    file db.example.org\n}\n"
	stock     = "example.org:PORT {\n    KEYS\n    file db.example.org\n}\n"
)

// way is how a question goes to the server.
type way struct {
	network string
	size    uint16 // of EDNS; 0: none
	do      bool
}

func ways() []way {
	var ws []way
	for _, network := range []string{"udp", "tcp"} {
		for _, size := range []uint16{0, 512, 1232, 4096} {
			ws = append(ws, way{network, size, false})
			if size > 0 {
				ws = append(ws, way{network, size, true})
			}
		}
	}
	return ws
}

func (v way) ask(port, name string, qtype uint16) (*dns.Msg, error) {
	m := new(dns.Msg)
	m.SetQuestion(name, qtype)
	if v.size > 0 {
		m.SetEdns0(v.size, v.do)
	}
	return exchange(dns.Client{Net: v.network, UDPSize: dns.MaxMsgSize}, m, "127.0.0.1:"+port)
}

// right tells what is wrong with an answer that came that way.
func (w row) right(v way, r *dns.Msg) error {
	r.Compress = true // as it came
	limit := max(int(v.size), 512)
	if v.network == "tcp" {
		limit = dns.MaxMsgSize
	}
	switch {
	case r.Question[0].Name != dns.Fqdn(dot(w.name)+"example.org"):
		return fmt.Errorf("the question comes back as %s", r.Question[0].Name)
	case r.Len() > limit:
		return fmt.Errorf("%d octets, of %d", r.Len(), limit)
	case r.Authoritative == w.referral, (r.IsEdns0() != nil) != (v.size > 0), r.RecursionAvailable:
		return fmt.Errorf("wrong flags")
	case r.Truncated:
		if big := len(w.answers) == 3 && w.answers[0] == dns.TypeTLSA; v.network == "tcp" || !big && limit > 512 || big && limit > 1232 {
			return fmt.Errorf("truncated")
		}
		return nil
	case w.qtype == dns.TypeNSEC && v.do:
		return nil
	}
	rcode := w.rcode
	if v.do && rcode == dns.RcodeNameError {
		rcode = dns.RcodeSuccess
	}
	if r.Rcode != rcode {
		return fmt.Errorf("rcode %s, want %s", dns.RcodeToString[r.Rcode], dns.RcodeToString[rcode])
	}
	if got := plain(r.Answer); !slices.Equal(got, w.answers) {
		return fmt.Errorf("it has the records %v, want %v", got, w.answers)
	}
	if w.referral {
		if got := plain(r.Ns); !slices.Contains(got, dns.TypeNS) || slices.Contains(got, dns.TypeSOA) {
			return fmt.Errorf("it is no referral")
		}
		return nil
	}
	if len(w.answers) == 0 {
		return w.denied(v, r)
	}
	return signedAll(v, r.Answer)
}

// denied checks a denial: one SOA, and with DO one NSEC of the name, both signed, with the SOA's MINIMUM for TTL.
func (w row) denied(v way, r *dns.Msg) error {
	want := []uint16{dns.TypeSOA}
	if v.do {
		want = []uint16{dns.TypeSOA, dns.TypeNSEC}
	}
	if got := plain(r.Ns); !slices.Equal(got, want) {
		return fmt.Errorf("the denial has the records %v, want %v", got, want)
	}
	for _, rr := range r.Ns {
		if rr.Header().Ttl > 60 {
			return fmt.Errorf("TTL %d, over the SOA's MINIMUM", rr.Header().Ttl)
		}
		nsec, ok := rr.(*dns.NSEC)
		if !ok {
			continue
		}
		nxname := slices.Contains(nsec.TypeBitMap, dns.TypeNXNAME)
		if !strings.EqualFold(nsec.Hdr.Name, r.Question[0].Name) || nxname != (w.rcode == dns.RcodeNameError) {
			return fmt.Errorf("wrong NSEC, NXNAME %v", nxname)
		}
	}
	return signedAll(v, r.Ns)
}

// signedAll checks that with DO each RRset has a signature, and without it none has.
func signedAll(v way, section []dns.RR) error {
	for _, rr := range section {
		if rr.Header().Rrtype == dns.TypeRRSIG {
			if !v.do {
				return fmt.Errorf("a signature without DO")
			}
			continue
		}
		if v.do && !slices.ContainsFunc(section, func(sig dns.RR) bool {
			s, ok := sig.(*dns.RRSIG)
			return ok && s.TypeCovered == rr.Header().Rrtype && strings.EqualFold(s.Hdr.Name, rr.Header().Name)
		}) {
			return fmt.Errorf("%s is not signed", rr)
		}
	}
	return nil
}

// plain are the types of a section's records without signatures, in ascending order: *loadbalance* moves them.
func plain(section []dns.RR) []uint16 {
	var types []uint16
	for _, rr := range section {
		if rr.Header().Rrtype != dns.TypeRRSIG {
			types = append(types, rr.Header().Rrtype)
		}
	}
	slices.Sort(types)
	return types
}

// TestWhatIsNotOursIsPassedOn compares with the server that has no tlsa: message for message.
func TestWhatIsNotOursIsPassedOn(t *testing.T) {
	t.Parallel()
	s, _ := rowsSite(t, rowsBlock)
	without, _ := rowsSite(t, stock)
	for what, q := range map[string]func(m *dns.Msg){
		"class CH":       func(m *dns.Msg) { m.Question[0].Qclass = dns.ClassCHAOS },
		"class ANY":      func(m *dns.Msg) { m.Question[0].Qclass = dns.ClassANY },
		"UPDATE":         func(m *dns.Msg) { m.SetUpdate("example.org.") },
		"NOTIFY":         func(m *dns.Msg) { m.SetNotify("example.org.") },
		"STATUS":         func(m *dns.Msg) { m.Opcode = dns.OpcodeStatus },
		"another zone":   func(m *dns.Msg) { m.Question[0].Name = "_25._tcp.mail.example.net." },
		"no question":    func(m *dns.Msg) { m.Question = nil },
		"two questions":  func(m *dns.Msg) { m.Question = append(m.Question, m.Question[0]) },
		"EDNS version 1": func(m *dns.Msg) { m.SetEdns0(1232, false).IsEdns0().SetVersion(1) },
	} {
		m := new(dns.Msg)
		m.SetQuestion("_25._tcp.mail.example.org.", dns.TypeTLSA)
		q(m)
		var got [2]string
		for i, port := range []string{s.port, without.port} {
			c := dns.Client{Timeout: 2 * time.Second} // *file* leaves a NOTIFY without an answer
			if r, _, err := c.Exchange(m, "127.0.0.1:"+port); err == nil {
				got[i] = r.String()
			}
		}
		if got[0] != got[1] {
			t.Errorf("%s: with tlsa %s, without %s", what, got[0], got[1])
		}
	}
}

func TestTypeByNumberIsTheSame(t *testing.T) {
	t.Parallel()
	s, _ := rowsSite(t, rowsBlock)
	var out [2][]byte
	for i, qtype := range []string{"TLSA", "TYPE52"} {
		var err error
		out[i], err = exec.Command("dig", "@127.0.0.1", "-p", s.port, "+short", "_25._tcp.mail.example.org", qtype).Output()
		if err != nil {
			t.Fatal(err)
		}
	}
	if len(out[0]) < 64 || !bytes.Equal(out[0], out[1]) {
		t.Errorf("by name %q, by number %q", out[0], out[1])
	}
}

package probe

import (
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// A path is a target with the DNS around it.
type path struct {
	target  string
	mx      bool
	zones   zones
	servers internet
	want    Outcome
	words   []string
	// say must be in some finding; hosts are "NAME BASE" of the report.
	say   string
	hosts []string
}

func TestVerdictsOnNames(t *testing.T) {
	for what, p := range paths(t) {
		t.Run(what, func(t *testing.T) {
			t.Parallel()
			r := check(t, &p.zones, p.servers, parse(t, p.target, p.mx))
			if diff := cmp.Diff(p.words, results(r)); r.Outcome != p.want || diff != "" {
				t.Errorf("%s, want %s; results %s\n%s", r.Outcome, p.want, diff, describe(r))
			}
			if p.say != "" && !strings.Contains(describe(r), p.say) {
				t.Errorf("no finding says %q\n%s", p.say, describe(r))
			}
			var hosts []string
			for _, h := range r.Hosts {
				hosts = append(hosts, strings.TrimSpace(h.Name+" "+h.Base))
			}
			if diff := cmp.Diff(p.hosts, hosts); p.hosts != nil && diff != "" {
				t.Errorf("hosts: %s", diff)
			}
		})
	}
}

// smtp is a mail server.
func smtp(chains string) service { return service{chains: chains, protocol: "smtp"} }

func paths(t testing.TB) map[string]path {
	leaf := "_25._tcp.mail.example.org. TLSA " + rdata(t, "3 1 1 leaf")
	ta := rdata(t, "2 1 1 int")
	const mx, a = "example.org. MX 10 mail.example.org.", "mail.example.org. A 192.0.2.1"
	one := internet{"192.0.2.1:25": smtp("leaf int")}
	mail := func(rrs ...string) []string { return append([]string{mx, a, leaf}, rrs...) }
	var many []string
	for i := range maxAddresses + 1 {
		many = append(many, fmt.Sprintf("mail.example.org. A 192.0.2.%d", i+1))
	}
	var hosts []string
	for i := range maxHosts + 1 {
		hosts = append(hosts, fmt.Sprintf("example.org. MX %d mx%d.example.org.", i, i))
	}
	all := make(internet)
	for i := range maxAddresses {
		all[fmt.Sprintf("192.0.2.%d:25", i+1)] = smtp("leaf int")
	}
	return map[string]path{
		"a mail domain":                    {target: "example.org", zones: zones{rrs: mail()}, servers: one, want: Match, hosts: []string{"mail.example.org mail.example.org"}},
		"written otherwise":                {target: "Example.ORG.", zones: zones{rrs: mail()}, servers: one, want: Match},
		"replies too long for UDP":         {target: "example.org", zones: zones{rrs: mail(), tcp: true}, servers: one, want: Match},
		"one host of it":                   {target: "mail.example.org:25", zones: zones{rrs: mail()}, servers: one, want: Match},
		"a domain by --mx":                 {target: "example.org:25", mx: true, zones: zones{rrs: mail()}, servers: one, want: Match, hosts: []string{"mail.example.org mail.example.org"}},
		"without --mx it is a host":        {target: "example.org:25", zones: zones{rrs: mail()}, servers: one, want: Unreachable, say: "has no address"},
		"a null MX":                        {target: "example.org", zones: zones{rrs: []string{"example.org. MX 0 ."}}, want: Unreachable, say: "RFC 7505"},
		"no such domain":                   {target: "example.org", zones: zones{rrs: []string{"example.net. A 192.0.2.1"}}, want: Unreachable, say: "there is no domain"},
		"no MX, but an address":            {target: "mail.example.org", zones: zones{rrs: []string{a, leaf}}, servers: one, want: Match, say: "RFC 5321 5.1"},
		"MX of an insecure zone":           {target: "example.org", zones: zones{rrs: mail(), insecure: []string{"example.org MX"}}, servers: one, want: NotSecure, say: "RFC 7672 2.2.1", hosts: nil},
		"bogus MX":                         {target: "example.org", zones: zones{rrs: mail(), bogus: []string{"example.org MX"}}, servers: one, want: Mismatch, words: []string{dnssecInvalid}, say: "signatures"},
		"MX that fails":                    {target: "example.org", zones: zones{rrs: mail(), dead: []string{"example.org MX"}}, servers: one, want: Mismatch, words: []string{dnssecInvalid}, say: "SERVFAIL"},
		"a resolver that refuses":          {target: "example.org", zones: zones{rrs: mail(), refused: []string{"example.org"}}, servers: one, want: Mismatch, words: []string{dnssecInvalid}, say: "REFUSED"},
		"an unsigned zone":                 {target: "example.org", zones: zones{rrs: mail(), insecure: []string{"example.org"}}, servers: one, want: NotSecure},
		"a host in an unsigned zone":       {target: "mail.example.org:25", zones: zones{rrs: mail(), insecure: []string{"example.org"}}, servers: one, want: NotSecure, say: "RFC 7672 2.2.2"},
		"an MX host in an unsigned zone":   {target: "example.org", zones: zones{rrs: mail(), insecure: []string{"mail.example.org"}}, servers: one, want: NotSecure, say: "addresses of mail.example.org"},
		"unsigned records only":            {target: "example.org", zones: zones{rrs: mail(), insecure: []string{"_tcp.mail.example.org"}}, servers: one, want: NotSecure, say: "not signed, so no client uses them"},
		"a bogus zone":                     {target: "example.org", zones: zones{rrs: mail(), bogus: []string{"example.org"}}, servers: one, want: Mismatch, words: []string{dnssecInvalid}},
		"bogus records":                    {target: "example.org", zones: zones{rrs: mail(), bogus: []string{"_tcp.mail.example.org"}}, servers: one, want: Mismatch, words: []string{dnssecInvalid}, say: "repair the zone's signing"},
		"records that fail":                {target: "example.org", zones: zones{rrs: mail(), dead: []string{"_tcp.mail.example.org"}}, servers: one, want: Mismatch, words: []string{dnssecInvalid}, say: "also by denial"},
		"bogus AAAA":                       {target: "example.org", zones: zones{rrs: mail(), bogus: []string{"mail.example.org AAAA"}}, servers: one, want: Mismatch, words: []string{dnssecInvalid}, say: "AAAA"},
		"no records":                       {target: "example.org", zones: zones{rrs: []string{mx, a}}, servers: one, want: Mismatch, words: []string{daneRequired}, say: "_25._tcp.mail.example.org"},
		"records under the mail domain":    {target: "example.org", zones: zones{rrs: []string{mx, a, "_25._tcp.example.org. TLSA " + rdata(t, "3 1 1 leaf")}}, servers: one, want: Mismatch, words: []string{daneRequired}},
		"records of another port":          {target: "mail.example.org:465", zones: zones{rrs: mail()}, servers: one, want: Mismatch, words: []string{daneRequired}},
		"records by alias":                 {target: "example.org", zones: zones{rrs: []string{mx, a, "_25._tcp.mail.example.org. CNAME mx._dane.example.org.", "mx._dane.example.org. TLSA " + ta}}, servers: one, want: Match, say: "an alias"},
		"records by an alias into nowhere": {target: "example.org", zones: zones{rrs: []string{mx, a, "_25._tcp.mail.example.org. CNAME mx._dane.example.org."}}, servers: one, want: Mismatch, words: []string{daneRequired}},
		"records by an unsigned alias":     {target: "example.org", zones: zones{rrs: []string{mx, a, "_25._tcp.mail.example.org. CNAME mx.example.net.", "mx.example.net. TLSA " + ta}, insecure: []string{"example.net"}}, servers: one, want: NotSecure},
		"an MX host without address":       {target: "example.org", zones: zones{rrs: []string{mx, leaf}}, servers: one, want: Unreachable},
		"records of no usage for mail":     {target: "example.org", zones: zones{rrs: []string{mx, a, "_25._tcp.mail.example.org. TLSA " + rdata(t, "1 1 1 leaf"), "_25._tcp.mail.example.org. TLSA " + rdata(t, "0 1 1 int")}}, servers: one, want: Mismatch, words: []string{tlsaInvalid}, say: "RFC 7672 3.1.3"},
		"PKIX usages beside a good one":    {target: "example.org", zones: zones{rrs: mail("_25._tcp.mail.example.org. TLSA " + rdata(t, "1 1 1 stranger"))}, servers: one, want: Match},

		"a host that is an alias":                     {target: "www.example.org:443", zones: zones{rrs: []string{"www.example.org. CNAME mail.example.org.", a, "_443._tcp.mail.example.org. TLSA " + ta}}, servers: internet{"192.0.2.1:443": serving("leaf int")}, want: Match, hosts: []string{"www.example.org mail.example.org"}},
		"an alias with records of its own":            {target: "www.example.org:443", zones: zones{rrs: []string{"www.example.org. CNAME mail.example.org.", a, "_443._tcp.www.example.org. TLSA " + rdata(t, "3 1 1 leaf")}}, servers: internet{"192.0.2.1:443": serving("leaf int")}, want: Match, hosts: []string{"www.example.org www.example.org"}},
		"the expanded name wins":                      {target: "www.example.org:443", zones: zones{rrs: []string{"www.example.org. CNAME mail.example.org.", a, "_443._tcp.www.example.org. TLSA " + rdata(t, "3 1 1 leaf"), "_443._tcp.mail.example.org. TLSA " + rdata(t, "3 1 1 stranger")}}, servers: internet{"192.0.2.1:443": serving("leaf int")}, want: Mismatch, words: []string{tlsaInvalid}},
		"an alias into an unsigned zone":              {target: "www.example.org:443", zones: zones{rrs: []string{"www.example.org. CNAME host.example.net.", "host.example.net. A 192.0.2.1", "_443._tcp.www.example.org. TLSA " + rdata(t, "3 1 1 leaf"), "_443._tcp.host.example.net. TLSA " + rdata(t, "3 1 1 stranger")}, insecure: []string{"example.net", "www.example.org A"}}, servers: internet{"192.0.2.1:443": serving("leaf int")}, want: Match, hosts: []string{"www.example.org www.example.org"}},
		"an unsigned alias":                           {target: "www.example.net:443", zones: zones{rrs: []string{"www.example.net. CNAME mail.example.org.", a, "_443._tcp.mail.example.org. TLSA " + ta}, insecure: []string{"example.net"}}, servers: internet{"192.0.2.1:443": serving("leaf int")}, want: NotSecure},
		"a loop of aliases":                           {target: "www.example.org:443", zones: zones{rrs: []string{"www.example.org. CNAME ftp.example.org.", "ftp.example.org. CNAME www.example.org."}}, want: Mismatch, words: []string{dnssecInvalid}, say: "loop"},
		"the certificate is for the alias":            {target: "alias.example.org:443", zones: zones{rrs: []string{"alias.example.org. CNAME mail.example.org.", a, "_443._tcp.mail.example.org. TLSA " + ta}}, servers: internet{"192.0.2.1:443": serving("wild int")}, want: Match},
		"the certificate is for the mail domain":      {target: "example.org", zones: zones{rrs: []string{mx, a, "_25._tcp.mail.example.org. TLSA " + ta}}, servers: internet{"192.0.2.1:25": smtp("hop int")}, want: Match},
		"that certificate for the host alone is none": {target: "mail.example.org:25", zones: zones{rrs: []string{mx, a, "_25._tcp.mail.example.org. TLSA " + ta}}, servers: internet{"192.0.2.1:25": smtp("hop int")}, want: Mismatch, words: []string{hostMismatch}},

		"two addresses":                 {target: "example.org", zones: zones{rrs: mail("mail.example.org. AAAA 2001:db8::1")}, servers: internet{"192.0.2.1:25": smtp("leaf int"), "[2001:db8::1]:25": smtp("leaf int")}, want: Match},
		"one address of three wrong":    {target: "example.org", zones: zones{rrs: mail("mail.example.org. AAAA 2001:db8::1", "mail.example.org. A 192.0.2.2")}, servers: internet{"192.0.2.1:25": smtp("leaf int"), "192.0.2.2:25": smtp("leaf int"), "[2001:db8::1]:25": smtp("stranger int")}, want: Mismatch, words: []string{tlsaInvalid}},
		"one address of two silent":     {target: "example.org", zones: zones{rrs: mail("mail.example.org. A 192.0.2.2")}, servers: one, want: Unreachable, say: "refused"},
		"wrong is worse than silent":    {target: "example.org", zones: zones{rrs: mail("mail.example.org. A 192.0.2.2")}, servers: internet{"192.0.2.1:25": smtp("stranger int")}, want: Mismatch, words: []string{tlsaInvalid}},
		"too many addresses":            {target: "example.org", zones: zones{rrs: append(many, mx, leaf)}, servers: all, want: Unreachable, say: "17 addresses"},
		"too many hosts":                {target: "example.org", zones: zones{rrs: hosts}, want: Unreachable, say: "21 hosts"},
		"the backup is wrong":           {target: "example.org", zones: zones{rrs: mail("example.org. MX 20 mx2.example.org.", "mx2.example.org. A 192.0.2.2", "_25._tcp.mx2.example.org. TLSA "+rdata(t, "3 1 1 leaf"))}, servers: internet{"192.0.2.1:25": smtp("leaf int"), "192.0.2.2:25": smtp("stranger int")}, want: Mismatch, words: []string{tlsaInvalid}, hosts: []string{"mail.example.org mail.example.org", "mx2.example.org mx2.example.org"}},
		"the backup is in another zone": {target: "example.org", zones: zones{rrs: mail("example.org. MX 5 mx.example.net.", "mx.example.net. A 192.0.2.2"), insecure: []string{"example.net"}}, servers: one, want: NotSecure, hosts: []string{"mx.example.net", "mail.example.org mail.example.org"}},
		"no STARTTLS":                   {target: "example.org", zones: zones{rrs: mail()}, servers: internet{"192.0.2.1:25": {protocol: "plain"}}, want: Mismatch, words: []string{noSTARTTLS}},
		"TLS where plain text is usual": {target: "mail.example.org:465", zones: zones{rrs: []string{a, "_465._tcp.mail.example.org. TLSA " + rdata(t, "3 1 1 leaf")}}, servers: internet{"192.0.2.1:465": smtp("leaf int")}, want: Mismatch, words: []string{failure}},

		"SRV":                        {target: "_imaps._tcp.example.org", zones: zones{rrs: []string{"_imaps._tcp.example.org. SRV 0 0 993 mail.example.org.", a, "_993._tcp.mail.example.org. TLSA " + ta}}, servers: internet{"192.0.2.1:993": serving("leaf int")}, want: Match},
		"SRV, for the domain":        {target: "_imaps._tcp.example.org", zones: zones{rrs: []string{"_imaps._tcp.example.org. SRV 0 0 993 mail.example.org.", a, "_993._tcp.mail.example.org. TLSA " + ta}}, servers: internet{"192.0.2.1:993": serving("hop int")}, want: Match},
		"SRV with STARTTLS":          {target: "_submission._tcp.example.org", zones: zones{rrs: []string{"_submission._tcp.example.org. SRV 0 0 2587 mail.example.org.", a, "_2587._tcp.mail.example.org. TLSA " + ta}}, servers: internet{"192.0.2.1:2587": smtp("leaf int")}, want: Match},
		"unsigned SRV":               {target: "_imaps._tcp.example.org", zones: zones{rrs: []string{"_imaps._tcp.example.org. SRV 0 0 993 mail.example.org."}, insecure: []string{"_imaps._tcp.example.org"}}, want: NotSecure, say: "RFC 7673 3.1"},
		"SRV that says no":           {target: "_imaps._tcp.example.org", zones: zones{rrs: []string{"_imaps._tcp.example.org. SRV 0 0 0 ."}}, want: Unreachable},
		"SRV that is not there":      {target: "_imaps._tcp.example.org", zones: zones{rrs: []string{a}}, want: Unreachable},
		"bogus SRV":                  {target: "_imaps._tcp.example.org", zones: zones{rrs: []string{"_imaps._tcp.example.org. SRV 0 0 993 mail.example.org."}, bogus: []string{"_imaps._tcp.example.org"}}, want: Mismatch, words: []string{dnssecInvalid}},
		"two SRV, one of them wrong": {target: "_imaps._tcp.example.org", zones: zones{rrs: []string{"_imaps._tcp.example.org. SRV 0 0 993 mail.example.org.", "_imaps._tcp.example.org. SRV 1 0 994 mail.example.org.", a, "_993._tcp.mail.example.org. TLSA " + ta, "_994._tcp.mail.example.org. TLSA " + ta}}, servers: internet{"192.0.2.1:993": serving("leaf int"), "192.0.2.1:994": serving("leaf")}, want: Mismatch, words: []string{tlsaInvalid}},
	}
}

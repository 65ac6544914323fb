//go:build referee

package main

import (
	"fmt"
	"math/rand/v2"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/miekg/dns"
)

// verdict is what a validating resolver makes of a server's data.
type verdict struct {
	rcode   int
	secure  bool     // validated; of a server's own answer: authoritative
	answers []string // without signatures and TTLs
}

func (v verdict) String() string {
	return fmt.Sprintf("%s, secure %v, %q", dns.RcodeToString[v.rcode], v.secure, v.answers)
}

func (v verdict) equal(w verdict) bool {
	return v.rcode == w.rcode && v.secure == w.secure && slices.Equal(v.answers, w.answers)
}

func verdictOf(r *dns.Msg, secure bool) verdict {
	v := verdict{rcode: r.Rcode, secure: secure}
	for _, rr := range r.Answer {
		if rr.Header().Rrtype == dns.TypeRRSIG {
			continue
		}
		rr.Header().Ttl = 0
		v.answers = append(v.answers, strings.ToLower(strings.ReplaceAll(rr.String(), "\t", " ")))
	}
	slices.Sort(v.answers)
	return v
}

// excuse is a difference that is meant.
type excuse struct {
	why  string
	when func(q dns.Question, ours, theirs verdict) bool
}

func excuses() []excuse {
	return []excuse{
		{
			"a signed denial of a name is a denial of its types (RFC 9824 3.1)",
			func(_ dns.Question, ours, theirs verdict) bool {
				theirs.rcode -= dns.RcodeNameError
				return ours.rcode == dns.RcodeSuccess && ours.equal(theirs)
			},
		},
		{
			"each signer has its own NSEC records",
			func(q dns.Question, ours, theirs verdict) bool {
				return q.Qtype == dns.TypeNSEC && ours.secure && theirs.secure && ours.rcode == dns.RcodeSuccess
			},
		},
		wildcardBelow(),
		{
			"Unbound 1.17 refuses the unsigned CNAME of a DNAME for the types CNAME and DNAME, or not, by what its cache holds",
			func(q dns.Question, ours, theirs verdict) bool {
				return (q.Qtype == dns.TypeCNAME || q.Qtype == dns.TypeDNAME) && strings.HasSuffix(strings.ToLower(q.Name), ".dn.example.org.") &&
					(theirs.rcode == dns.RcodeServerFailure || ours.rcode == dns.RcodeServerFailure)
			},
		},
	}
}

// wildcardBelow excuses what the next plugin's wildcard shows below a host that exists through the wildcard and through us.
// To a server of the whole zone the host blocks the wildcard (RFC 4592 2.2.1), and a transfer of the zone has it so.
func wildcardBelow() excuse {
	return excuse{
		"below a host that exists through a wildcard and us, the wildcard goes on",
		func(q dns.Question, ours, theirs verdict) bool {
			name := strings.ToLower(q.Name)
			below := strings.HasSuffix(name, ".any.wild.example.org.") || strings.HasSuffix(name, ".any.walias.example.org.")
			return below && ours.secure && theirs.secure && ours.rcode == dns.RcodeSuccess && theirs.rcode == dns.RcodeNameError
		},
	}
}

// stream gives n questions about the zone of twinZones: at, above, below and beside its names, in random case.
func stream(n int) []dns.Question {
	random := rand.New(rand.NewPCG(7671, 7672))
	zone, added, _ := twinZones(anyDigest)
	bases := []string{"www.open", "_443._tcp.www.open", "www.closed", "_443._tcp.www.closed", "a.dn", "_25._tcp.a.dn", "dn", "x.wild", "y.walias"}
	for line := range strings.Lines(zone + added) {
		if name := strings.Fields(line)[0]; strings.HasPrefix(line, name) && !strings.ContainsAny(name, "$@") {
			bases = append(bases, name)
		}
	}
	bases = append(bases, "")
	labels := []string{"_tcp", "_25._tcp", "_26._tcp", "_443._tcp", "*", "a", "zz", "www", "_", "x.y", "mail", "0"}
	types := []uint16{
		dns.TypeTLSA, dns.TypeTLSA, dns.TypeTLSA, dns.TypeTLSA, dns.TypeA, dns.TypeA, dns.TypeAAAA, dns.TypeMX, dns.TypeTXT,
		dns.TypeNS, dns.TypeDS, dns.TypeSOA, dns.TypeCNAME, dns.TypeDNAME, dns.TypeSRV, dns.TypeCAA, dns.TypeHTTPS,
		dns.TypeSVCB, dns.TypeNAPTR, dns.TypePTR, dns.TypeSSHFP, dns.TypeSMIMEA, dns.TypeURI, dns.TypeDNSKEY, dns.TypeNSEC,
		dns.TypeOPENPGPKEY, dns.TypeCDS, dns.TypeHINFO, 65280,
	}
	pick := func(from []string) string { return from[random.IntN(len(from))] }
	qs := make([]dns.Question, n)
	for i := range qs {
		name := pick(bases)
		switch random.IntN(10) {
		case 0: // above
			_, name, _ = strings.Cut(name, ".")
		case 1, 2, 3: // below
			name = strings.TrimSuffix(pick(labels)+"."+name, ".")
		case 4: // beside
			first, rest, _ := strings.Cut(name, ".")
			name = strings.TrimSuffix(pick([]string{strings.Trim(first, "*") + "0", "_" + first, pick(labels)})+"."+rest, ".")
		}
		cased := []byte(dot(name) + "example.org.")
		for j, c := range cased {
			if c >= 'a' && c <= 'z' && random.IntN(4) == 0 {
				cased[j] = c - 'a' + 'A'
			}
		}
		qtype := types[random.IntN(len(types))]
		if name == "" && qtype == dns.TypeDS {
			qtype = dns.TypeA // DS of the zone itself is not asked of its servers
		}
		qs[i] = dns.Question{Name: string(cased), Qtype: qtype, Qclass: dns.ClassINET}
	}
	return qs
}

// questions is how many are asked.
func questions(t *testing.T) int {
	t.Helper()
	text := os.Getenv("DIFFERENTIAL_QUERIES")
	if text == "" {
		return 2000
	}
	n, err := strconv.Atoi(text)
	if err != nil {
		t.Fatalf("DIFFERENTIAL_QUERIES: %v", err)
	}
	return n
}

// compare reports every difference between our verdicts and the others' that has no excuse, and every excuse without one.
func compare(t *testing.T, qs []dns.Question, verdicts []map[string]verdict, excuses []excuse) {
	t.Helper()
	met := map[string]int{}
	for i, q := range qs {
		ours := verdicts[i]["ours"]
		for name, theirs := range verdicts[i] {
			if ours.equal(theirs) {
				continue
			}
			at := slices.IndexFunc(excuses, func(e excuse) bool { return e.when(q, ours, theirs) })
			if at < 0 {
				t.Errorf("%s %s\n    ours: %s\n    %s: %s", q.Name, typeName(q.Qtype), ours, name, theirs)
				continue
			}
			met[excuses[at].why]++
		}
	}
	for _, e := range excuses {
		t.Logf("%d differences: %s", met[e.why], e.why)
		if met[e.why] == 0 {
			t.Errorf("no difference is excused by: %s", e.why)
		}
	}
}

// TestSignedOfflineElsewhereTheZoneIsTheSame compares what Unbound validates of our server with what it validates of the
// same data, signed by BIND and served by NSD and Knot.
func TestSignedOfflineElsewhereTheZoneIsTheSame(t *testing.T) {
	t.Parallel()
	sides := twins(t)
	qs := slices.DeleteFunc(stream(questions(t)), func(q dns.Question) bool {
		// Unbound 1.17 may refuse what a wildcard gives a name that starts with an asterisk of its own.
		name, below := strings.CutPrefix(strings.ToLower(q.Name), "*.")
		return below && (strings.Contains(name, ".wild.") || strings.Contains(name, ".walias."))
	})
	verdicts := make([]map[string]verdict, len(qs))
	inFlight(len(qs), func(i int) {
		verdicts[i] = map[string]verdict{}
		for name, side := range sides {
			r, err := lookup(side.resolver, qs[i].Name, qs[i].Qtype)
			if err != nil {
				t.Errorf("%s, %s %s: %v", name, qs[i].Name, typeName(qs[i].Qtype), err)
				continue
			}
			verdicts[i][name] = verdictOf(r, r.AuthenticatedData)
		}
	})
	secure := 0
	for _, v := range verdicts {
		if v["ours"].secure {
			secure++
		}
	}
	compare(t, qs, verdicts, excuses())
	t.Logf("%d of %d questions have a secure answer", secure, len(qs))
}

// TestWithoutDOTheZoneIsTheSame compares the servers' own answers, in which nothing is compact: NXDOMAIN is NXDOMAIN.
func TestWithoutDOTheZoneIsTheSame(t *testing.T) {
	t.Parallel()
	sides := twins(t)
	qs := slices.DeleteFunc(stream(questions(t)), func(q dns.Question) bool {
		return q.Qtype == dns.TypeNSEC || q.Qtype == dns.TypeDNSKEY
	})
	verdicts := make([]map[string]verdict, len(qs))
	inFlight(len(qs), func(i int) {
		verdicts[i] = map[string]verdict{}
		for name, side := range sides {
			r, err := way{network: "udp"}.ask(side.port, qs[i].Name, qs[i].Qtype)
			if err != nil {
				t.Errorf("%s, %s %s: %v", name, qs[i].Name, typeName(qs[i].Qtype), err)
				continue
			}
			verdicts[i][name] = verdictOf(r, r.Authoritative)
		}
	})
	compare(t, qs, verdicts, directExcuses())
}

func directExcuses() []excuse {
	return []excuse{
		{
			"the other servers have the zones below the cuts too",
			func(q dns.Question, ours, theirs verdict) bool {
				name := "." + strings.ToLower(q.Name)
				return !ours.secure && (strings.HasSuffix(name, ".open.example.org.") || strings.HasSuffix(name, ".closed.example.org."))
			},
		},
		wildcardBelow(),
	}
}

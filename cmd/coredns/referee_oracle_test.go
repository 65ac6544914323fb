//go:build referee

package main

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/miekg/dns"
)

// asked are questions of each type with and without the flags of RFC 9824 and of resolvers.
func asked(name string) []*dns.Msg {
	var ms []*dns.Msg
	for qtype := range uint16(300) {
		for _, compactOK := range []bool{false, true} {
			m := new(dns.Msg)
			m.SetQuestion(name, qtype)
			m.CheckingDisabled, m.RecursionDesired = compactOK, !compactOK
			m.SetEdns0(4096, true).IsEdns0().SetCo(compactOK)
			ms = append(ms, m)
		}
	}
	return ms
}

// lies tells what in an NSEC denies more than was asked. have are the types at its name.
func lies(nsec *dns.NSEC, have []uint16, apex bool) error {
	for _, qtype := range have {
		if !slices.Contains(nsec.TypeBitMap, qtype) {
			return fmt.Errorf("it denies %s: %v", typeName(qtype), nsec)
		}
	}
	for _, qtype := range []uint16{dns.TypeCNAME, dns.TypeDNAME, dns.TypeDS, dns.TypeNXNAME} {
		if slices.Contains(nsec.TypeBitMap, qtype) {
			return fmt.Errorf("it has %s: %v", typeName(qtype), nsec)
		}
	}
	if slices.Contains(nsec.TypeBitMap, dns.TypeNS) != apex {
		return fmt.Errorf("it says that this is a cut, or the zone's own name: %v", nsec)
	}
	if want := `\000.` + nsec.Hdr.Name; !strings.EqualFold(nsec.NextDomain, want) {
		return fmt.Errorf("it covers more than its name: %v", nsec)
	}
	return nil
}

// askAll puts all questions and gives the NSEC records of the answers to do.
func askAll(t *testing.T, s *server, name string, do func(*dns.NSEC)) {
	t.Helper()
	questions := asked(name)
	var met atomic.Int64
	inFlight(len(questions), func(i int) {
		r, err := exchange(dns.Client{UDPSize: dns.MaxMsgSize}, questions[i], "127.0.0.1:"+s.port)
		if err != nil {
			t.Errorf("%s %s: %v", name, typeName(questions[i].Question[0].Qtype), err)
			return
		}
		for _, rr := range append(r.Answer, r.Ns...) {
			if nsec, ok := rr.(*dns.NSEC); ok {
				met.Add(1)
				do(nsec)
			}
		}
	})
	if met.Load() < 400 {
		t.Errorf("%s: only %d NSEC records", name, met.Load())
	}
}

// held are the names of full with what they have.
func held() map[string][]uint16 {
	all := slices.Sorted(maps.Keys(data()))
	but := func(types ...uint16) []uint16 {
		return slices.DeleteFunc(slices.Clone(all), func(qtype uint16) bool { return slices.Contains(types, qtype) })
	}
	return map[string][]uint16{
		"example.org.":                       append(but(dns.TypeAAAA, dns.TypeURI, dns.TypeLOC), dns.TypeNS, dns.TypeSOA, dns.TypeDNSKEY),
		"aaaa.example.org.":                  all,
		"n.aaaa.example.org.":                but(dns.TypeAAAA),
		"N.cDs.ExAmPlE.oRg.":                 all,
		"_tcp.n.aaaa.example.org.":           nil,
		"_25._tcp.n.aaaa.example.org.":       {dns.TypeTLSA},
		"_25._TCP.n.caa.EXAMPLE.ORG.":        {dns.TypeTLSA},
		"c.n.type65281.example.org.":         all,
		"_25._tcp.n.openpgpkey.example.org.": {dns.TypeTLSA},
	}
}

func TestNoQuestionHasAnAnswerThatDeniesMore(t *testing.T) {
	for what, directive := range directives() {
		t.Run(what, func(t *testing.T) {
			t.Parallel()
			s := full(t, directive)
			for name, have := range held() {
				askAll(t, s, name, func(nsec *dns.NSEC) {
					if !strings.EqualFold(nsec.Hdr.Name, name) {
						t.Errorf("%s: the NSEC of another name: %v", name, nsec)
					}
					if err := lies(nsec, have, name == "example.org."); err != nil {
						t.Error(err)
					}
				})
			}
		})
	}
}

// TestAnswersDenyMoreWithoutUs shows that TestNoQuestionHasAnAnswerThatDeniesMore can fail.
func TestAnswersDenyMoreWithoutUs(t *testing.T) {
	t.Parallel()
	s := full(t, "")
	for name, have := range held() {
		var lied atomic.Int64
		askAll(t, s, name, func(nsec *dns.NSEC) {
			if lies(nsec, have, name == "example.org.") != nil {
				lied.Add(1)
			}
		})
		if lied.Load() == 0 {
			t.Errorf("%s: no denial too much", name)
		}
	}
}

package tlsa

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/miekg/dns"
)

// validated verifies the signatures of every RRset in the answer and the authority section by the zone's key, and what the
// NSEC records of a denial claim.
func validated(m *dns.Msg, key *dns.DNSKEY) error {
	for _, section := range [][]dns.RR{m.Answer, m.Ns} {
		if err := verified(section, key); err != nil {
			return fmt.Errorf("%w in\n%s", err, m)
		}
	}
	if len(m.Answer) > 0 {
		return nil
	}
	q := m.Question[0]
	if err := denied(m.Ns, q); err != nil {
		return fmt.Errorf("%w in\n%s", err, m)
	}
	return nil
}

func verified(section []dns.RR, key *dns.DNSKEY) error {
	type id struct {
		name  string
		qtype uint16
	}
	sets, sigs := map[id][]dns.RR{}, map[id][]*dns.RRSIG{}
	for _, rr := range section {
		if sig, ok := rr.(*dns.RRSIG); ok {
			at := id{strings.ToLower(sig.Hdr.Name), sig.TypeCovered}
			sigs[at] = append(sigs[at], sig)
			continue
		}
		at := id{strings.ToLower(rr.Header().Name), rr.Header().Rrtype}
		sets[at] = append(sets[at], rr)
	}
	for at, set := range sets {
		if len(sigs[at]) != 1 {
			return fmt.Errorf("%s %s has %d signatures", at.name, dns.TypeToString[at.qtype], len(sigs[at]))
		}
		sig := sigs[at][0]
		switch {
		case sig.SignerName != key.Hdr.Name, sig.KeyTag != key.KeyTag():
			return fmt.Errorf("%s was made by another key", sig)
		case !sig.ValidityPeriod(time.Now()):
			return fmt.Errorf("%s is not valid now", sig)
		case sig.OrigTtl < set[0].Header().Ttl, sig.Hdr.Ttl != set[0].Header().Ttl:
			return fmt.Errorf("%s has another TTL than its records, or one that they may not have", sig)
		}
		if err := sig.Verify(key, set); err != nil {
			return fmt.Errorf("%s %s: %w", at.name, dns.TypeToString[at.qtype], err)
		}
	}
	if len(sets) != len(sigs) {
		return errors.New("there are signatures without records")
	}
	return nil
}

// denied checks that the authority section proves that the name has nothing of the type.
func denied(ns []dns.RR, q dns.Question) error {
	var soa *dns.SOA
	var nsec *dns.NSEC
	for _, rr := range ns {
		switch rr := rr.(type) {
		case *dns.SOA:
			if soa != nil {
				return errors.New("more than one SOA")
			}
			soa = rr
		case *dns.NSEC:
			nsec = rr
		}
	}
	switch {
	case soa == nil, nsec == nil:
		return errors.New("no SOA or no NSEC")
	case !strings.EqualFold(nsec.Hdr.Name, q.Name):
		return fmt.Errorf("the NSEC of %s", nsec.Hdr.Name)
	case slices.Contains(nsec.TypeBitMap, q.Qtype), slices.Contains(nsec.TypeBitMap, dns.TypeCNAME):
		return errors.New("the NSEC has the type asked for, or CNAME")
	case nsec.Hdr.Ttl != soa.Hdr.Ttl:
		return fmt.Errorf("the NSEC has TTL %d, the SOA %d", nsec.Hdr.Ttl, soa.Hdr.Ttl)
	}
	return nil
}

func TestConcurrentSignedAnswersAreWhole(t *testing.T) {
	t.Parallel()
	s := newSite(t, "three.test.")
	var want []string
	for _, lineage := range []string{"a", "b", "c"} {
		key := newKey(t)
		s.write("certs/"+lineage+"/fullchain.pem", s.chain(key))
		want = append(want, record(t, key))
	}
	slices.Sort(want)
	s.start()
	var asking sync.WaitGroup
	for range 8 {
		asking.Go(func() {
			for range 200 {
				r, err := s.exchange("udp", s.owner, dns.TypeTLSA, true)
				if err != nil {
					t.Error(err)
					return
				}
				set, err := rrset(r, s.owner)
				if err == nil && !slices.Equal(set, want) {
					err = fmt.Errorf("%q", set)
				}
				if err == nil && len(r.Answer) != 4 {
					err = fmt.Errorf("%d records", len(r.Answer))
				}
				if err = errors.Join(err, validated(r, s.signer)); err != nil {
					t.Error(err)
					return
				}
			}
		})
	}
	asking.Wait()
}

func TestChainValidatesInAnswersAndDenials(t *testing.T) {
	t.Parallel()
	s := newSite(t, "chain.test.")
	s.options += "name _443._tcp.only mx1._dane from mail\n"
	s.write(place, s.chain(newKey(t)))
	s.start()
	keys := s.ask(s.zone, dns.TypeDNSKEY, true)
	if err := validated(keys, s.signer); err != nil || len(keys.Answer) != 2 {
		t.Fatalf("%v in\n%s", err, keys)
	}
	for _, tc := range []struct {
		name    string
		qtype   uint16
		answers int
		plain   int // the rcode without DO; with DO *dnssec* makes NXDOMAIN NODATA
		ours    bool
	}{
		{"_25._tcp.mail", dns.TypeTLSA, 1, dns.RcodeSuccess, true},
		{"_25._tcp.MAIL", dns.TypeTLSA, 1, dns.RcodeSuccess, true},
		{"_25._tcp.mail", dns.TypeANY, 1, dns.RcodeSuccess, true},
		{"mx1._dane", dns.TypeTLSA, 1, dns.RcodeSuccess, true},
		{"mail", dns.TypeA, 1, dns.RcodeSuccess, false},
		{"_25._tcp.mail", dns.TypeA, 0, dns.RcodeSuccess, true},
		{"_25._tcp.mail", dns.TypeDS, 0, dns.RcodeSuccess, true},
		{"_tcp.mail", dns.TypeTLSA, 0, dns.RcodeSuccess, true},
		{"_TCP.mail", dns.TypeA, 0, dns.RcodeSuccess, true},
		{"mail", dns.TypeAAAA, 0, dns.RcodeSuccess, false},
		{"mail", dns.TypeTLSA, 0, dns.RcodeSuccess, false},
		{"only", dns.TypeA, 0, dns.RcodeSuccess, true},
		{"_dane", dns.TypeTXT, 0, dns.RcodeSuccess, true},
		{"mx1._dane", dns.TypeTXT, 0, dns.RcodeSuccess, true},
		{"_26._tcp.mail", dns.TypeTLSA, 0, dns.RcodeNameError, false},
		{"_25._udp.mail", dns.TypeTLSA, 0, dns.RcodeNameError, false},
		{"x._25._tcp.mail", dns.TypeTLSA, 0, dns.RcodeNameError, false},
	} {
		for _, network := range []string{"udp", "tcp"} {
			name := tc.name + "." + s.zone
			plain, err := s.exchange(network, name, tc.qtype, false)
			s.must(err)
			signed, err := s.exchange(network, name, tc.qtype, true)
			s.must(err)
			claim := fmt.Sprintf("%s %s over %s", name, dns.TypeToString[tc.qtype], network)
			if plain.Rcode != tc.plain || signed.Rcode != dns.RcodeSuccess || !plain.Authoritative || !signed.Authoritative {
				t.Errorf("%s: without DO\n%swith DO\n%s", claim, plain, signed)
			}
			if len(plain.Answer) != tc.answers || tc.answers > 0 != (len(signed.Answer) > 0) {
				t.Errorf("%s: without DO\n%swith DO\n%s", claim, plain, signed)
			}
			if err := validated(signed, s.signer); err != nil {
				t.Errorf("%s: %v", claim, err)
			}
			if tc.answers > 0 || !tc.ours {
				continue
			}
			for _, m := range []*dns.Msg{plain, signed} {
				if len(m.Ns) == 0 || m.Ns[0].Header().Ttl != 300 || m.Ns[0].Header().Rrtype != dns.TypeSOA {
					t.Errorf("%s: the SOA of a denial of ours has MINIMUM for its TTL, not\n%s", claim, m)
				}
			}
		}
	}
}

package dane

import (
	"errors"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/miekg/dns"
)

func TestRecordIsWhatTheTextSays(t *testing.T) {
	a := Association{Combination{3, 1, 1}, strings.Repeat("\xab\x01", 16)}
	got := a.TLSA("_25._tcp.mail.example.org.", 3600)
	want, err := dns.NewRR("_25._tcp.mail.example.org. 3600 IN TLSA 3 1 1 " + strings.Repeat("ab01", 16))
	must(t, want, err)
	want.Header().Rdlength = 0 // set by the parser only
	if d := cmp.Diff(want, dns.RR(got)); d != "" {
		t.Errorf("-want +got:\n%s", d)
	}
	if again := a.TLSA("_25._tcp.mail.example.org.", 3600); again == got {
		t.Error("the record is not a fresh one")
	}
}

func TestEveryRecordComesBackFromTheWire(t *testing.T) {
	for _, c := range allCombinations() {
		want := Association{c, strings.Repeat("\xff", map[MatchingType]int{Full: 300, SHA256: 32, SHA512: 64}[c.MatchingType])}
		wire := make([]byte, 1024)
		n, err := dns.PackRR(want.TLSA("_443._tcp.example.org.", 60), wire, 0, nil, false)
		must(t, n, err)
		rr, _, err := dns.UnpackRR(wire[:n], 0)
		must(t, rr, err)
		got, err := FromTLSA(rr.(*dns.TLSA))
		if err != nil || got != want {
			t.Errorf("%s: got %v, %v", c, got, err)
		}
	}
}

func TestUnusableRecordsAreRefused(t *testing.T) {
	sound := strings.Repeat("ab", 32)
	for claim, row := range map[string]struct {
		rr   dns.TLSA
		want error
	}{
		"a usage out of range":          {dns.TLSA{Usage: 4, Selector: 1, MatchingType: 1, Certificate: sound}, ErrCombination},
		"the private usage":             {dns.TLSA{Usage: 255, Selector: 1, MatchingType: 1, Certificate: sound}, ErrCombination},
		"a selector out of range":       {dns.TLSA{Usage: 3, Selector: 2, MatchingType: 1, Certificate: sound}, ErrCombination},
		"a matching type out of range":  {dns.TLSA{Usage: 3, Selector: 1, MatchingType: 3, Certificate: sound}, ErrCombination},
		"no data":                       {dns.TLSA{Usage: 3, Selector: 1}, ErrData},
		"no digits":                     {dns.TLSA{Usage: 3, Selector: 1, MatchingType: 1, Certificate: strings.Repeat("xy", 32)}, ErrData},
		"a short digest":                {dns.TLSA{Usage: 3, Selector: 1, MatchingType: 1, Certificate: sound[2:]}, ErrData},
		"a long digest":                 {dns.TLSA{Usage: 3, Selector: 1, MatchingType: 1, Certificate: sound + "00"}, ErrData},
		"a digest of another algorithm": {dns.TLSA{Usage: 3, Selector: 1, MatchingType: 2, Certificate: sound}, ErrData},
	} {
		got, err := FromTLSA(&row.rr)
		if got != (Association{}) || !errors.Is(err, row.want) {
			t.Errorf("%s: got %v, %v", claim, got, err)
		}
	}
}

func TestUpperCaseRecordIsTheSameAssociation(t *testing.T) {
	rr := &dns.TLSA{Usage: 3, Selector: 1, MatchingType: 1, Certificate: strings.Repeat("AB", 32)}
	got, err := FromTLSA(rr)
	if want := (Association{Combination{3, 1, 1}, strings.Repeat("\xab", 32)}); err != nil || got != want {
		t.Errorf("got %v, %v", got, err)
	}
}

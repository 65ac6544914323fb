package dane

import (
	"crypto/sha256"
	"crypto/sha512"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
)

func allCombinations() []Combination {
	var all []Combination
	for u := PKIXTA; u <= DANEEE; u++ {
		for s := Cert; s <= SPKI; s++ {
			for m := Full; m <= SHA512; m++ {
				all = append(all, Combination{u, s, m})
			}
		}
	}
	return all
}

func TestParseCombinationReadsNumbersAndAcronymsAlike(t *testing.T) {
	usages := []string{"PKIX-TA", "PKIX-EE", "DANE-TA", "DANE-EE"}
	selectors := []string{"Cert", "SPKI"}
	matchings := []string{"Full", "SHA2-256", "SHA2-512"}
	for _, want := range allCombinations() {
		u, s, m := usages[want.Usage], selectors[want.Selector], matchings[want.MatchingType]
		number := strings.Fields(want.String())
		for _, words := range [][]string{
			number,
			{u, s, m},
			{strings.ToLower(u), strings.ToLower(s), strings.ToLower(m)},
			{strings.ToUpper(u), strings.ToUpper(s), strings.ToUpper(m)},
			{u, number[1], strings.ToLower(m)},
		} {
			got, err := ParseCombination(words[0], words[1], words[2])
			if err != nil || got != want {
				t.Errorf("%v: got %v, %v, want %v", words, got, err, want)
			}
		}
	}
}

func TestParseCombinationSaysWhatIsWrongAndWhatIsAllowed(t *testing.T) {
	const (
		usage    = `bad parameter combination: usage %q, want 0 to 3 or one of PKIX-TA PKIX-EE DANE-TA DANE-EE`
		selector = `bad parameter combination: selector %q, want 0 to 1 or one of Cert SPKI`
		matching = `bad parameter combination: matching type %q, want 0 to 2 or one of Full SHA2-256 SHA2-512`
	)
	for claim, row := range map[string]struct{ words, format, word string }{
		"a usage out of range":                  {"4 1 1", usage, "4"},
		"a selector out of range":               {"3 2 1", selector, "2"},
		"a matching type out of range":          {"3 1 3", matching, "3"},
		"the private usage 255":                 {"255 1 1", usage, "255"},
		"a number over 255 is not taken modulo": {"259 1 1", usage, "259"},
		"a negative number":                     {"-1 1 1", usage, "-1"},
		"a sign":                                {"+3 1 1", usage, "+3"},
		"a leading zero":                        {"3 01 1", selector, "01"},
		"hexadecimal":                           {"3 0x1 1", selector, "0x1"},
		"an acronym of another parameter":       {"SPKI 1 1", usage, "SPKI"},
		"an abbreviated acronym":                {"3 1 SHA256", matching, "SHA256"},
		"a letter that only folds to ASCII":     {"3 1 \u017fHA2-256", matching, "\u017fHA2-256"},
	} {
		words := strings.Fields(row.words)
		got, err := ParseCombination(words[0], words[1], words[2])
		if !errors.Is(err, ErrCombination) || got != (Combination{}) {
			t.Errorf("%s: got %v, %v", claim, got, err)
			continue
		}
		if want := fmt.Sprintf(row.format, row.word); err.Error() != want {
			t.Errorf("%s: got %q, want %q", claim, err, want)
		}
	}
	if _, err := ParseCombination("", "1", "1"); err == nil {
		t.Error("an empty usage is accepted")
	}
}

func TestParseDataGivesTheOctets(t *testing.T) {
	d256, d512 := sha256.Sum256([]byte("key")), sha512.Sum512([]byte("key"))
	for claim, row := range map[string]struct {
		c      Combination
		digits string
		want   string
	}{
		"SHA2-256":        {Combination{3, 1, 1}, hex.EncodeToString(d256[:]), string(d256[:])},
		"SHA2-512":        {Combination{3, 1, 2}, hex.EncodeToString(d512[:]), string(d512[:])},
		"upper case":      {Combination{3, 1, 1}, strings.ToUpper(hex.EncodeToString(d256[:])), string(d256[:])},
		"white space":     {Combination{3, 1, 1}, fmt.Sprintf(" % x\t\n", d256), string(d256[:])},
		"Full, any size":  {Combination{3, 1, 0}, "30", "0"},
		"usage no matter": {Combination{0, 0, 1}, hex.EncodeToString(d256[:]), string(d256[:])},
	} {
		got, err := ParseData(row.c, row.digits)
		if err != nil || got != row.want {
			t.Errorf("%s: got %x, %v", claim, got, err)
		}
	}
}

func TestParseDataRefusesWhatCannotMatch(t *testing.T) {
	for claim, row := range map[string]struct {
		c            Combination
		digits, want string
	}{
		"SHA2-256 cut short": {Combination{3, 1, 1}, strings.Repeat("ab", 31),
			"bad certificate association data: got 31 octets, want 32 for matching type 1"},
		"SHA2-512 given as SHA2-256": {Combination{3, 1, 1}, strings.Repeat("ab", 64),
			"bad certificate association data: got 64 octets, want 32 for matching type 1"},
		"SHA2-256 given as SHA2-512": {Combination{3, 1, 2}, strings.Repeat("ab", 32),
			"bad certificate association data: got 32 octets, want 64 for matching type 2"},
		"nothing": {Combination{3, 1, 0}, "",
			"bad certificate association data: it stands for no data at all"},
		"SHA2-256 of nothing": {Combination{3, 1, 1}, "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
			"bad certificate association data: it stands for no data at all"},
		"SHA2-512 of nothing": {Combination{3, 0, 2}, "cf83e1357eefb8bdf1542850d66d8007d620e4050b5715dc83f4a921d36ce9ce" +
			"47d0d13c5d85f2b0ff8318d2877eec2f63b931bd47417a81a538327af927da3e",
			"bad certificate association data: it stands for no data at all"},
		"an odd digit": {Combination{3, 1, 0}, "abc",
			"bad certificate association data: encoding/hex: odd length hex string"},
		"a letter that is no digit": {Combination{3, 1, 0}, "0g",
			"bad certificate association data: encoding/hex: invalid byte: U+0067 'g'"},
		"more than a record can hold": {Combination{3, 1, 0}, strings.Repeat("ab", 65533),
			"bad certificate association data: got 65533 octets, want at most 65532"},
		"an unregistered combination": {Combination{3, 1, 3}, "ab",
			"bad parameter combination: 3 1 3"},
	} {
		got, err := ParseData(row.c, row.digits)
		if err == nil || got != "" || err.Error() != row.want {
			t.Errorf("%s: got %q, %v, want %q", claim, got, err, row.want)
		}
		if !errors.Is(err, ErrData) && !errors.Is(err, ErrCombination) {
			t.Errorf("%s: %v wraps no sentinel", claim, err)
		}
	}
}

func TestCombinationsSortByUsageSelectorMatching(t *testing.T) {
	want := allCombinations() // made in order
	got := slices.Clone(want)
	slices.Reverse(got)
	slices.SortFunc(got, Combination.Compare)
	diff(t, want, got)
	if len(want) != 24 {
		t.Errorf("%d combinations, want 24", len(want))
	}
}

func TestAssociationPrintsItsFirstEightOctets(t *testing.T) {
	long := Association{Combination{3, 1, 1}, "\x01\x02\x03\x04\x05\x06\x07\xff\x09"}
	if got := long.String(); got != "3 1 1 01020304050607ff" {
		t.Errorf("got %q", got)
	}
	if got := (Association{Combination{2, 0, 0}, "\x0a"}).String(); got != "2 0 0 0a" {
		t.Errorf("got %q", got)
	}
}

package dane

import (
	"encoding/hex"
	"errors"
	"fmt"
	"strings"
)

// ErrCombination: a usage, selector or matching type is not a registered one.
var ErrCombination = errors.New("bad parameter combination")

// ParseCombination reads the three parameters of a TLSA record as decimal numbers or as the acronyms of RFC 7218 2 in any
// case: "3", "1", "1" and "DANE-EE", "SPKI", "SHA2-256" are the same. The error wraps ErrCombination and says which one is
// wrong and what is allowed.
func ParseCombination(usage, selector, matching string) (Combination, error) {
	u, err := parameter("usage", usage, "PKIX-TA", "PKIX-EE", "DANE-TA", "DANE-EE")
	if err != nil {
		return Combination{}, err
	}
	s, err := parameter("selector", selector, "Cert", "SPKI")
	if err != nil {
		return Combination{}, err
	}
	m, err := parameter("matching type", matching, "Full", "SHA2-256", "SHA2-512")
	if err != nil {
		return Combination{}, err
	}
	return Combination{Usage(u), Selector(s), MatchingType(m)}, nil
}

func parameter(what, s string, acronyms ...string) (uint8, error) {
	for i, acronym := range acronyms {
		if lower(s) == lower(acronym) {
			return uint8(i), nil
		}
	}
	n, ok := number(s, len(acronyms)-1)
	if !ok {
		return 0, fmt.Errorf("%w: %s %q, want 0 to %d or one of %s", ErrCombination, what, s, len(acronyms)-1, strings.Join(acronyms, " "))
	}
	return n, nil
}

// ParseData reads certificate association data in hexadecimal, in either case and with white space in it as RFC 6698 2.2
// allows, and gives the raw octets. The error wraps ErrCombination if c is not a registered one, else ErrData: digits that
// are none, a digest of the wrong length, nothing, or the digest of nothing.
func ParseData(c Combination, digits string) (string, error) {
	if !c.registered() {
		return "", fmt.Errorf("%w: %s", ErrCombination, c)
	}
	data, err := hex.DecodeString(strings.Join(strings.Fields(digits), ""))
	if err != nil {
		return "", fmt.Errorf("%w: %w", ErrData, err)
	}
	if err := c.checkData(string(data)); err != nil {
		return "", err
	}
	return string(data), nil
}

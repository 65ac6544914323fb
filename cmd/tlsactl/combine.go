package main

import (
	"fmt"
	"slices"
	"strings"

	"github.com/spf13/pflag"

	"github.com/coredns-tlsa/coredns-tlsa/plugin/tlsa/dane"
)

// combining is the choice of parameter combinations, from --as.
type combining struct {
	as []string
}

func (c *combining) register(flags *pflag.FlagSet) {
	flags.StringArrayVar(&c.as, "as", nil, "parameter combination `\"U S M\"` of the records (default \"3 1 1\"); repeatable")
}

func (c *combining) combinations() ([]dane.Combination, error) {
	if len(c.as) == 0 {
		return []dane.Combination{{Usage: dane.DANEEE, Selector: dane.SPKI, MatchingType: dane.SHA256}}, nil
	}
	var out []dane.Combination
	for _, text := range c.as {
		words := strings.Fields(text)
		if len(words) != 3 {
			return nil, fmt.Errorf("--as %q: want three parameters, such as \"3 1 1\" or \"DANE-EE SPKI SHA2-256\"", text)
		}
		combination, err := dane.ParseCombination(words[0], words[1], words[2])
		if err != nil {
			return nil, fmt.Errorf("--as %q: %w", text, err)
		}
		out = append(out, combination)
	}
	return unique(out), nil
}

// An rrset is the associations of one owner, in canonical order, with the keys they are of.
type rrset struct {
	owner        string
	associations []dane.Association
	subjects     []subject
}

// A request is what to make of subjects.
type request struct {
	owners       []string // none: those of the SANs
	combinations []dane.Combination
	naming       *naming
}

func newRequest(n *naming, c *combining) (request, error) {
	owners, err := n.fixed()
	if err != nil {
		return request{}, fail(exitUsage, "%w", err)
	}
	combinations, err := c.combinations()
	if err != nil {
		return request{}, fail(exitUsage, "%w", err)
	}
	return request{owners, combinations, n}, nil
}

// rrsets computes the RRset of each owner: every combination for every key (RFC 7671 8.3). There is no partial result: a
// missing association would make clients fail. warnings tell what works, but not for long or not everywhere.
func (r request) rrsets(subjects []subject) (sets []rrset, warnings []string, err error) {
	owners := r.owners
	chosen := make(map[string][]subject)
	for _, owner := range owners {
		chosen[owner] = subjects
	}
	if len(owners) == 0 {
		if owners, warnings, err = r.named(subjects, chosen); err != nil {
			return nil, nil, err
		}
	}
	for _, owner := range owners {
		set := rrset{owner: owner, subjects: chosen[owner]}
		for _, c := range r.combinations {
			if c.Usage <= dane.PKIXEE && portOf(owner) == "25" {
				return nil, nil, fail(exitUsage, "%s: usages 0 and 1 mean nothing to SMTP (RFC 7672 3.1.3): use 2 or 3", owner)
			}
			for _, s := range set.subjects {
				a, err := s.Association(c)
				if err != nil {
					return nil, nil, fail(exitUnsafe, "%s: %s cannot be computed: %w: give a file that has it, or another --as", owner, c, err)
				}
				set.associations = append(set.associations, a)
				warnings = append(warnings, doubts(owner, c, s)...)
			}
		}
		set.associations = dane.Canonical(set.associations)
		sets = append(sets, set)
	}
	return sets, unique(warnings), nil
}

// named takes the owners from the names in the subjects.
func (r request) named(subjects []subject, chosen map[string][]subject) (owners, warnings []string, err error) {
	for _, s := range subjects {
		for _, name := range s.names {
			if strings.Contains(name, "*") {
				warnings = append(warnings, fmt.Sprintf("%s is a wildcard and names no host: use --owner for the hosts", name))
				continue
			}
			made, err := r.naming.at(name)
			if err != nil {
				return nil, nil, fail(exitUsage, "SAN %q: %w", name, err)
			}
			for _, owner := range made {
				owners = append(owners, owner)
				chosen[owner] = append(chosen[owner], s)
			}
		}
	}
	if owners = unique(owners); len(owners) == 0 {
		return nil, nil, fail(exitUsage, "there is no host name in it: name the records with --owner, such as "+
			"--owner mail.example.org")
	}
	for _, s := range subjects {
		// A key without names may still be one of the service: leaving it out in silence would break its clients.
		if !slices.ContainsFunc(s.names, func(n string) bool { return !strings.Contains(n, "*") }) {
			return nil, nil, fail(exitUsage, "not every key in it has a host name: name the records with --owner")
		}
	}
	return owners, warnings, nil
}

// doubts tells of records that clients may not match, or not for long.
func doubts(owner string, c dane.Combination, s subject) (out []string) {
	if c.Usage == dane.DANEEE && c.Selector == dane.Cert {
		out = append(out, fmt.Sprintf("%s changes with each renewal, even with the same key: 3 1 1 does not", c))
	}
	if c.MatchingType == dane.Full {
		out = append(out, fmt.Sprintf("%s makes large answers: prefer matching type 1", c))
	}
	host := hostOf(owner)
	covered := slices.ContainsFunc(s.names, func(name string) bool { return dane.Covers(name, host) })
	if c.Usage != dane.DANEEE && !covered {
		out = append(out, fmt.Sprintf("%s: clients check names with %s, and the certificate does not name %s", owner, c, host))
	}
	return out
}

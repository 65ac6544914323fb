package dane

import "testing"

type coverage map[string]struct {
	dnsName, host string
	want          bool
}

func (rows coverage) run(t *testing.T) {
	t.Helper()
	for claim, row := range rows {
		if got := Covers(row.dnsName, row.host); got != row.want {
			t.Errorf("%s: Covers(%q, %q) = %v", claim, row.dnsName, row.host, got)
		}
	}
}

func TestNameCoversOnlyItself(t *testing.T) {
	coverage{
		"the same name":                  {"mail.example.org", "mail.example.org", true},
		"a trailing dot of the host":     {"mail.example.org", "mail.example.org.", true},
		"a name of one label":            {"localhost", "localhost", true},
		"another name":                   {"mail.example.org", "www.example.org", false},
		"no name below":                  {"example.org", "mail.example.org", false},
		"no name above":                  {"mail.example.org", "example.org", false},
		"no common suffix without a dot": {"aaa.com", "bbbaaa.com", false},
		"no common prefix":               {"mail.example.org", "mail.example.org.evil.net", false},
		"nothing":                        {"", "", false},
		"nothing for a host":             {"mail.example.org", "", false},
		"the root":                       {"", ".", false},
		"two trailing dots are no name":  {"mail.example.org", "mail.example.org..", false},
		"an empty label inside":          {"*..org", "mail..org", false},
		"an address is no host that a wildcard stands for": {"*.0.2.1", "192.0.2.2", false},
	}.run(t)
}

func TestWildcardCoversExactlyOneLabel(t *testing.T) {
	coverage{
		"a wildcard for one label":              {"*.example.org", "mail.example.org", true},
		"and a trailing dot":                    {"*.example.org", "mail.example.org.", true},
		"not for two":                           {"*.example.org", "a.mail.example.org", false},
		"not for none":                          {"*.example.org", "example.org", false},
		"not for an empty one":                  {"*.example.org", ".example.org", false},
		"not for a suffix without a dot":        {"*.aaa.com", "x.bbbaaa.com", false},
		"not for another parent":                {"*.example.org", "mail.example.net", false},
		"a wildcard below a top-level name":     {"*.org", "example.org", true},
		"for an A-label as a whole":             {"*.example.org", "xn--caf-dma.example.org", true},
		"for a service label it does not stand": {"*.example.org", "_25.example.org", false},
		"for a label below _dane neither":       {"*.example.org", "_dane.example.org", false},
		"a parent may have an underscore":       {"*._dane.example.org", "mx._dane.example.org", true},
		"an underscore matches itself":          {"_dane.example.org", "_dane.example.org", true},
	}.run(t)
}

func TestWildcardElsewhereCoversNothing(t *testing.T) {
	coverage{
		"a lone wildcard":                    {"*", "localhost", false},
		"a lone wildcard and a longer name":  {"*", "mail.example.org", false},
		"a wildcard with a dot and nothing":  {"*.", "localhost", false},
		"a wildcard and a root":              {"*.", "localhost.", false},
		"part of a label in front":           {"m*.example.org", "mail.example.org", false},
		"part of a label behind":             {"*l.example.org", "mail.example.org", false},
		"part of an A-label":                 {"xn--*.example.org", "xn--caf-dma.example.org", false},
		"a wildcard that is not leftmost":    {"mail.*.org", "mail.example.org", false},
		"two wildcards":                      {"*.*.org", "mail.example.org", false},
		"two wildcards for a literal one":    {"*.*.org", "a.*.org", false},
		"a wildcard names no host":           {"*.example.org", "*.example.org", false},
		"nor does it below another wildcard": {"*.example.org", "a*.example.org", false},
	}.run(t)
}

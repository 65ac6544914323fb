package corefile

import (
	"testing"

	"github.com/coredns/coredns/plugin"
	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
)

func TestKeysOfServerBlocksMeanWhatCoreDNSTakesThemFor(t *testing.T) {
	for _, key := range []string{
		".", "example.org", "Example.ORG.", "example.org:1053", "dns://example.org:53", "tls://example.org", "https://.:443",
		"10.0.0.0/8", "10.0.0.0/23", "10.1.2.3/32", "2001:db8::/32", "2001:db8::/33:5300", "::/0", "0:1::/16", "10.0.0.0/33", "dns://10.0.0.0/25:53",
		"", ":", "a:", "a..b", "a:b", "quic://x.y.:853", "a_b.c", "xn--bcher-kva.example", "a b",
	} {
		want := plugin.Host(key).NormalizeExact()
		if diff := cmp.Diff(want, zonesOfKey(key), cmpopts.EquateEmpty()); diff != "" {
			t.Errorf("%q (-want +got):\n%s", key, diff)
		}
	}
}

func TestTheLongestZoneIsTheOneThatANameLiesIn(t *testing.T) {
	zones := []string{"example.org.", "b.example.org.", "ample.org."}
	for _, name := range []string{"a.example.org.", "example.org.", "a.b.example.org.", "xb.example.org.", "org.", "example.net."} {
		if got, want := longest(zones, name), plugin.Zones(zones).Matches(name); got != want {
			t.Errorf("%s lies in %q, want %q", name, got, want)
		}
	}
}

package corefile

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestOwnerIsReadLikeANameOfAZoneFile(t *testing.T) {
	org := []string{"example.org."}
	both := []string{"example.net.", "example.org."}
	long := strings.Repeat(strings.Repeat("m", 61)+".", 3)
	for sentence, row := range map[string]struct {
		raw   string
		zones []string
		want  ownerName
	}{
		"a relative owner lies in the zone":            {"_25._tcp.mail", org, ownerName{"_25._tcp.mail.example.org.", "mail.example.org.", 25}},
		"an owner with a dot at its end stands":        {"_25._tcp.mail.example.org.", org, ownerName{"_25._tcp.mail.example.org.", "mail.example.org.", 25}},
		"a port alone is of the zone's own name":       {"_443._tcp", org, ownerName{"_443._tcp.example.org.", "example.org.", 443}},
		"an absolute owner picks one of several zones": {"_443._tcp.example.net.", both, ownerName{"_443._tcp.example.net.", "example.net.", 443}},
		"case does not matter":                         {"_25._TCP.MAIL", org, ownerName{"_25._tcp.mail.example.org.", "mail.example.org.", 25}},
		"the lowest port is 1":                         {"_1._udp.a", org, ownerName{"_1._udp.a.example.org.", "a.example.org.", 1}},
		"the highest port is 65535":                    {"_65535._sctp.a", org, ownerName{"_65535._sctp.a.example.org.", "a.example.org.", 65535}},
		"any name may lie under _dane":                 {"mx1._dane", org, ownerName{"mx1._dane.example.org.", "mx1._dane.example.org.", 0}},
		"the zone may be a _dane name itself": {"customer", []string{"_dane.example.net."},
			ownerName{"customer._dane.example.net.", "customer._dane.example.net.", 0}},
		"a port may stand before a _dane name": {"_25._tcp.mx1._dane", org,
			ownerName{"_25._tcp.mx1._dane.example.org.", "mx1._dane.example.org.", 25}},
		"all leading underscore labels are not the host's": {"_25._tcp._dane", org, ownerName{"_25._tcp._dane.example.org.", "example.org.", 25}},
		"a U-label becomes its A-label": {"_25._tcp.BÜCHER", org,
			ownerName{"_25._tcp.xn--bcher-kva.example.org.", "xn--bcher-kva.example.org.", 25}},
		"sharp s is a letter of IDNA2008": {"_25._tcp.faß", org, ownerName{"_25._tcp.xn--fa-hia.example.org.", "xn--fa-hia.example.org.", 25}},
		"a middle dot between two l is allowed by its rule": {"_25._tcp.col·lega", org,
			ownerName{"_25._tcp.xn--collega-xma.example.org.", "xn--collega-xma.example.org.", 25}},
		"an A-label stays, whoever registered it": {"_25._tcp.XN--LS8H", org,
			ownerName{"_25._tcp.xn--ls8h.example.org.", "xn--ls8h.example.org.", 25}},
		"255 octets are a name": {"_25._tcp." + long + strings.Repeat("m", 46), org,
			ownerName{"_25._tcp." + long + strings.Repeat("m", 46) + ".example.org.", long + strings.Repeat("m", 46) + ".example.org.", 25}},
		"63 octets are a label": {"_25._tcp." + strings.Repeat("m", 63), org,
			ownerName{"_25._tcp." + strings.Repeat("m", 63) + ".example.org.", strings.Repeat("m", 63) + ".example.org.", 25}},
	} {
		t.Run(sentence, func(t *testing.T) {
			got, err := parseOwner(row.raw, row.zones)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(row.want, got, cmp.AllowUnexported(ownerName{})); diff != "" {
				t.Errorf("owner (-want +got):\n%s", diff)
			}
		})
	}
}

func TestOwnerIsRefused(t *testing.T) {
	org := []string{"example.org."}
	for sentence, row := range map[string]struct {
		raw   string
		zones []string
		want  string
	}{
		"the empty name":                      {"", org, `owner "": it has an empty label, write one dot between labels`},
		"the root":                            {".", org, `owner ".": it has an empty label, write one dot between labels`},
		"two dots at the end":                 {"_25._tcp..", org, `owner "_25._tcp..": it has an empty label, write one dot between labels`},
		"256 octets":                          {"_25._tcp." + strings.Repeat(strings.Repeat("m", 61)+".", 3) + strings.Repeat("m", 47), org, "256 octets"},
		"a port with a sign":                  {"_+25._tcp.a", org, "may hold letters"},
		"a port beyond any number":            {"_99999999999999999999._tcp.a", org, `port "99999999999999999999" must be`},
		"an underscore alone":                 {"_._tcp.a", org, "must start with _PORT._PROTO"},
		"a bad port under _dane":              {"_0._tcp.mx._dane", org, `port "0" must be`},
		"a port as the last label":            {"_25", []string{"tcp."}, "must be followed by _tcp"},
		"no host":                             {"_25._tcp.", []string{"_tcp."}, "no host is left"},
		"octets that are no UTF-8":            {"_25._tcp.\xff", org, "not valid by IDNA2008"},
		"an ideographic full stop":            {"_25._tcp.a。b", org, "not valid by IDNA2008"},
		"a symbol that UTS 46 would let pass": {"_25._tcp.💩", org, "not valid by IDNA2008"},
		"a joiner without its context":        {"_25._tcp.a\u200db", org, "not valid by IDNA2008"},
		"right-to-left mixed with digits":     {"_25._tcp.1א", org, "not valid by IDNA2008"},
		"an underscore within a U-label":      {"_25._tcp._ü", org, "not valid by IDNA2008"},
		"a decomposed letter":                 {"_25._tcp.bu\u0308cher", org, "not valid by IDNA2008"},
	} {
		t.Run(sentence, func(t *testing.T) {
			got, err := parseOwner(row.raw, row.zones)
			if err == nil {
				t.Fatalf("read as %+v", got)
			}
			if !strings.Contains(err.Error(), row.want) {
				t.Errorf("%q does not say %q", err, row.want)
			}
		})
	}
}

func TestZonesComeFromTheArgumentsOrTheServerBlock(t *testing.T) {
	for sentence, row := range map[string]struct {
		written, keys, want []string
	}{
		"without arguments all of the server block's": {nil, []string{"dns://b.example.:53", "tls://A.example:853"}, []string{"a.example.", "b.example."}},
		"one key on two ports is one zone":            {nil, []string{"dns://a.example.:53", "dns://a.example.:5353"}, []string{"a.example."}},
		"arguments are sorted and listed once":        {[]string{"C.a.example", "b.a.example.", "c.a.example."}, []string{"a.example"}, []string{"b.a.example.", "c.a.example."}},
		"a root server block needs an argument":       {[]string{"a.example"}, []string{"."}, []string{"a.example."}},
		"a U-label becomes its A-label":               {[]string{"bücher.example"}, []string{"xn--bcher-kva.example"}, []string{"xn--bcher-kva.example."}},
		"a network is its reverse zones":              {[]string{"10.0.0.0/23"}, []string{"10.in-addr.arpa"}, []string{"0.0.10.in-addr.arpa.", "1.0.10.in-addr.arpa."}},
	} {
		t.Run(sentence, func(t *testing.T) {
			server, err := ServerZones(row.keys)
			if err != nil {
				t.Fatal(err)
			}
			got, err := parseZones(row.written, server)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(row.want, got); diff != "" {
				t.Errorf("zones (-want +got):\n%s", diff)
			}
		})
	}
}

func TestServerBlockWithoutAZoneIsRefused(t *testing.T) {
	for sentence, row := range map[string]struct {
		keys []string
		want string
	}{
		"no key at all":         {nil, "no zone: write the zones after tlsa"},
		"a key that is no name": {[]string{"a..b"}, `zone "a..b" of the server block is not a domain name: mend it`},
	} {
		t.Run(sentence, func(t *testing.T) {
			server, err := ServerZones(row.keys)
			if err == nil {
				_, err = parseZones(nil, server)
			}
			if err == nil || err.Error() != row.want {
				t.Errorf("got %v, want %s", err, row.want)
			}
		})
	}
}

package main

import (
	"net"
	"strings"
	"testing"
	"time"
)

// These ask real servers on the loopback, over sockets.

func TestServersAreAskedOverUDPThenTCP(t *testing.T) {
	cert := newLineage(t, "mail.example.org", newKey(t))["cert.pem"]
	for claim, row := range map[string]struct {
		change func(z *authority)
		broken string // part of why there is no answer; empty: there is one
		trust  bool
	}{
		"an answer over UDP":           {func(*authority) {}, "", true},
		"one that is cut":              {func(z *authority) { z.cut = true }, "", true},
		"one that is lost":             {func(z *authority) { z.dead = true }, "", true},
		"no signature":                 {func(z *authority) { z.signed = false }, "", false},
		"a signature that is too old":  {func(z *authority) { z.expired = true }, "", false},
		"no authority":                 {func(z *authority) { z.lame = true }, "without authority", false},
		"another zone":                 {func(z *authority) { z.apex = "example.net." }, "REFUSED", false},
		"an answer to something else":  {func(z *authority) { z.wrong = true }, "another question", false},
		"nobody there":                 {nil, "refused", false},
		"a denial in a signed zone":    {func(z *authority) { z.rrs = nil }, "", true},
		"a denial in an unsigned zone": {func(z *authority) { z.rrs, z.signed = nil, false }, "", false},
	} {
		t.Run(claim, func(t *testing.T) {
			t.Parallel()
			z := &authority{apex: "example.org.", ttl: time.Hour, signed: true}
			z.set(mailOwner, recordsOf(t, mailOwner, cert)...)
			addr := ""
			switch claim {
			case "nobody there":
				l, err := net.Listen("tcp", "127.0.0.1:0")
				addr = must(t, l, err).Addr().String()
				l.Close()
			default:
				row.change(z)
				addr = serve(t, z).addr
			}
			s := look(t.Context(), network{}, time.Now, point{mailOwner, mailOwner, addr})
			if row.broken == "" && (s.broken != "" || s.trust != row.trust) || !strings.Contains(s.broken, row.broken) {
				t.Errorf("trust %v, broken %q", s.trust, s.broken)
			}
			if row.broken == "" && z.rrs != nil && (len(s.rrset) != 1 || s.ttl != time.Hour) {
				t.Errorf("the RRset is %v with TTL %s", s.rrset, s.ttl)
			}
		})
	}
}

func TestServersAreFoundByAResolver(t *testing.T) {
	z := resolver(map[string][]string{"example.org.": {"192.0.2.1", "2001:db8::1"}, "sub.example.org.": {"192.0.2.7"}},
		map[string]string{
			"_25._tcp.alias.example.org.": "x.sub.example.org.", "_25._tcp.alias.sub.example.org.": "x._dane.example.org.",
		})
	f := &finder{x: network{}, now: time.Now, resolvers: []string{"127.0.0.1:1", serve(t, z).addr}}
	for name, want := range map[string]string{
		mailOwner:                        "192.0.2.1:53 [2001:db8::1]:53",
		"_25._tcp.mail.sub.example.org.": "192.0.2.7:53",
		// A CNAME's answer has the SOA of its target: the owner's own zone is asked for.
		"_25._tcp.alias.example.org.":     "192.0.2.1:53 [2001:db8::1]:53",
		"_25._tcp.alias.sub.example.org.": "192.0.2.7:53",
	} {
		servers, err := f.servers(t.Context(), name)
		if got := strings.Join(servers, " "); err != nil || got != want {
			t.Errorf("%s: %q, %v; want %q", name, got, err, want)
		}
	}
	z.set("ns.example.org.")
	f.known = nil
	if _, err := f.servers(t.Context(), mailOwner); err == nil || !strings.Contains(err.Error(), "ns.example.org. has no address") {
		t.Errorf("a name server without an address: %v", err)
	}
}

package probe

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestTargets(t *testing.T) {
	for arg, want := range map[string]Target{
		"example.org":                   {Name: "example.org", MX: true, Port: 25, Protocol: "smtp"},
		"Example.ORG.":                  {Name: "example.org", MX: true, Port: 25, Protocol: "smtp"},
		"bücher.example":                {Name: "xn--bcher-kva.example", MX: true, Port: 25, Protocol: "smtp"},
		"mail.example.org:25":           {Name: "mail.example.org", Port: 25, Protocol: "smtp"},
		"mail.example.org:587":          {Name: "mail.example.org", Port: 587, Protocol: "submission"},
		"mail.example.org:465":          {Name: "mail.example.org", Port: 465, Protocol: "none"},
		"www.example.org:443":           {Name: "www.example.org", Port: 443, Protocol: "none"},
		"www.example.org:65535":         {Name: "www.example.org", Port: 65535, Protocol: "none"},
		"_imaps._tcp.example.org":       {Name: "example.org", Service: "_imaps._tcp", Protocol: "none"},
		"_XMPP-client._tcp.example.org": {Name: "example.org", Service: "_xmpp-client._tcp", Protocol: "xmpp-client"},
	} {
		got, err := ParseTarget(arg, false, "")
		if diff := cmp.Diff(want, got); err != nil || diff != "" {
			t.Errorf("%s: %v\n%s", arg, err, diff)
		}
		if again, err := ParseTarget(got.String(), false, ""); err != nil || again != got {
			t.Errorf("%s is written %s, which reads %v, %v", arg, got, again, err)
		}
	}
	for arg, say := range map[string]string{
		"":                      "no name",
		".":                     "no name",
		"192.0.2.1:25":          "needs the name",
		"192.0.2.1":             "needs the name",
		"2001:db8::1":           "needs the name",
		"[2001:db8::1]:25":      "needs the name",
		"mail.example.org:0":    "from 1 to 65535",
		"mail.example.org:025":  "from 1 to 65535",
		"mail.example.org:smtp": "from 1 to 65535",
		"mail.example.org:":     "from 1 to 65535",
		"mail..example.org":     "no name",
		"mail example.org":      "no name",
		"_25._tcp":              "no name",
		"_443._udp.example.org": "want HOST:PORT",
		"a_b.example.org:443":   "no name",
		strings.Repeat("abcdefgh.", 30) + "example.org": "no name",
	} {
		if got, err := ParseTarget(arg, false, ""); err == nil || !strings.Contains(err.Error(), say) {
			t.Errorf("%q: %v, %v; want an error that says %q", arg, got, err, say)
		}
	}
	if _, err := ParseTarget("mail.example.org:443", true, ""); err == nil {
		t.Error("--mx with another port than 25 is taken")
	}
	if got, err := ParseTarget("mail.example.org:25", true, ""); err != nil || !got.MX {
		t.Errorf("--mx: %v, %v", got, err)
	}
	if _, err := ParseTarget("_imaps._tcp.example.org", true, ""); err == nil {
		t.Error("--mx with a service is taken")
	}
	if got, err := ParseTarget("mail.example.org:2525", false, "smtp"); err != nil || got.Protocol != "smtp" {
		t.Errorf("--starttls: %v, %v", got, err)
	}
	if got, err := ParseTarget("mail.example.org:25", false, "none"); err != nil || got.Protocol != "none" {
		t.Errorf("--starttls none: %v, %v", got, err)
	}
	if _, err := ParseTarget("mail.example.org:25", false, "gopher"); err == nil {
		t.Error("an unknown protocol is taken")
	}
}

func TestTheResolversOfTheSystem(t *testing.T) {
	file := filepath.Join(t.TempDir(), "resolv.conf")
	if _, err := SystemResolvers(file); err == nil || !strings.Contains(err.Error(), "--resolver") {
		t.Errorf("no file: %v", err)
	}
	for text, want := range map[string][]string{
		"nameserver 192.0.2.53\nnameserver 2001:db8::53\noptions trust-ad\n": {"192.0.2.53:53", "[2001:db8::53]:53"},
		"search example.org\n": nil,
	} {
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		got, err := SystemResolvers(file)
		if diff := cmp.Diff(want, got); diff != "" || (want == nil) != (err != nil) {
			t.Errorf("%q: %v\n%s", text, err, diff)
		}
	}
}

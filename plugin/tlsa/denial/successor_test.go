package denial

import (
	"bytes"
	"os"
	"strings"
	"testing"

	"github.com/miekg/dns"
)

func writeFile(name, text string) error { return os.WriteFile(name, []byte(text), 0o600) }

func wire(t *testing.T, name string) []byte {
	t.Helper()
	buf := make([]byte, 256)
	n, err := dns.PackDomainName(name, buf, 0, nil, false)
	if err != nil {
		t.Fatalf("%q is no name: %v", name, err)
	}
	return buf[:n]
}

// labels are those of a name, the last first, which is how canonical order compares (RFC 4034 6.1).
func labels(w []byte) [][]byte {
	var ls [][]byte
	for w[0] != 0 {
		n := int(w[0])
		ls = append([][]byte{bytes.ToLower(w[1 : 1+n])}, ls...)
		w = w[1+n:]
	}
	return ls
}

func before(a, b [][]byte) bool {
	for i := range min(len(a), len(b)) {
		if c := bytes.Compare(a[i], b[i]); c != 0 {
			return c < 0
		}
	}
	return len(a) < len(b)
}

func TestSuccessorFollowsAtOnce(t *testing.T) {
	long := strings.Repeat("a", 63)
	tail := long + "." + long + "." + long + "."
	for _, name := range []string{
		".", "org.", "mail.example.org.", `\000.example.org.`, `a\.b.example.org.`,
		strings.Repeat("b", 59) + "." + tail, // 253 octets: a label fits
		strings.Repeat("b", 60) + "." + tail, // 254: an octet fits
		strings.Repeat("b", 61) + "." + tail, // 255: nothing does
		strings.Repeat("b", 60) + "@." + tail,
		strings.Repeat("b", 60) + `\255.` + tail,
		strings.Repeat(`\255`, 61) + "." + tail,
		long + "." + strings.Repeat("c", 60) + "." + long + "." + long + ".",
	} {
		next := successor(name)
		a, b := labels(wire(t, name)), labels(wire(t, next))
		if !before(a, b) {
			t.Errorf("the successor of %q does not follow: %q", name, next)
		}
		if rest, at := strings.CutSuffix(name, "@."+tail); at && next != rest+"[."+tail {
			t.Errorf("%q: letters come after the brackets (RFC 4034 6.1): %q", name, next)
		}
		if len(wire(t, name)) <= 253 {
			if next != `\000.`+name && name != "." {
				t.Errorf("the successor of %q is %q", name, next)
			}
			continue
		}
		// What might lie between: the name with an octet or a label more, where it can have them.
		for _, between := range [][][]byte{append(append([][]byte{}, a...), []byte{0}), append(append([][]byte{}, a[:len(a)-1]...), append(bytes.Clone(a[len(a)-1]), 0))} {
			octets := 1
			for _, l := range between {
				octets += 1 + len(l)
			}
			if octets <= 255 && len(between[len(between)-1]) <= 63 && before(a, between) && before(between, b) {
				t.Errorf("%q lies between %q and its successor %q", between, name, next)
			}
		}
	}
}

package ledger

import (
	"crypto/sha256"
	"crypto/sha512"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"go.uber.org/goleak"

	"github.com/coredns-tlsa/coredns-tlsa/plugin/tlsa/dane"
	"github.com/coredns-tlsa/coredns-tlsa/plugin/tlsa/rollover"
)

// TestMain also runs the programs that tests start as other processes.
func TestMain(m *testing.M) {
	if name := os.Getenv("LEDGER_TEST_PROGRAM"); name != "" {
		os.Exit(programs()[name](os.Getenv("LEDGER_TEST_FILE")))
	}
	goleak.VerifyTestMain(m)
}

type timelines = map[string]*rollover.Timeline

func fingerprint(seed string, spki int) dane.Fingerprint {
	b := make([]byte, 0, spki+64)
	for i := 0; len(b) < spki; i++ {
		sum := sha256.Sum256(fmt.Append(nil, seed, i))
		b = append(b, sum[:]...)
	}
	s256, s512 := sha256.Sum256([]byte(seed)), sha512.Sum512([]byte(seed))
	return dane.Fingerprint{SPKI: string(b[:spki]), SHA256: string(s256[:]), SHA512: string(s512[:])}
}

func at(s int64) rollover.Stamp {
	return rollover.Stamp{Wall: time.Unix(1767225600+s, 0).UTC(), Service: time.Duration(s) * time.Second}
}

func ownerOf(i int) string { return fmt.Sprintf("_25._tcp.mail%06d.example.org.", i) }

// typical is an owner with one P-256 key under a P-384 intermediate, in one place, and one association.
func typical(i int) *rollover.Timeline {
	name := fmt.Sprintf("mail%06d.example.org", i)
	root := "/etc/letsencrypt/live"
	c := dane.Combination{Usage: dane.DANEEE, Selector: dane.SPKI, MatchingType: dane.SHA256}
	m := dane.Material{
		Leaf:     fingerprint(name, 91),
		Issuer:   fingerprint(fmt.Sprint("issuer", i%4), 120),
		NotAfter: time.Unix(1775000000, 0).UTC(),
	}
	return &rollover.Timeline{
		ObservedAt:   at(int64(i)),
		TTL:          3600,
		Combinations: []dane.Combination{c},
		Keys: []rollover.Key{{
			Material: m,
			Lineage:  name,
			Places:   []rollover.Place{{Root: root, Lineage: root + "/" + name, File: root + "/" + name + "/fullchain.pem"}},
			SeenAt:   at(int64(i)), ActiveAt: at(int64(i)), Initial: true,
		}},
		Associations: []rollover.Times{{
			Association: dane.Association{Combination: c, Data: derive(&m, c)},
			PublishedAt: at(int64(i) + 1), ReadyAt: at(int64(i) + 7201), PublishedTTL: 3600,
		}},
	}
}

func owners(from, to int) timelines {
	out := make(timelines)
	for i := from; i < to; i++ {
		out[ownerOf(i)] = typical(i)
	}
	return out
}

func ledgerPath(t testing.TB) string {
	t.Helper()
	return filepath.Join(t.TempDir(), "tlsa.ledger")
}

func open(t testing.TB, path string) *Store {
	t.Helper()
	s, err := Open(path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() }) // most tests close by themselves
	return s
}

func closeStore(t testing.TB, s *Store) {
	t.Helper()
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
}

func commit(t testing.TB, s *Store, block string, changes timelines) {
	t.Helper()
	if err := s.Commit(block, changes); err != nil {
		t.Fatal(err)
	}
}

func expect(t testing.TB, s *Store, block string, want timelines) {
	t.Helper()
	got, err := s.Load(block)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, got, cmpopts.EquateEmpty()); diff != "" {
		t.Fatalf("block %q (-want +got):\n%s", block, diff)
	}
}

func union(all ...timelines) timelines {
	out := make(timelines)
	for _, a := range all {
		maps.Copy(out, a)
	}
	return out
}

func readFile(t testing.TB, path string) []byte {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func writeFile(t testing.TB, path string, b []byte) {
	t.Helper()
	if err := os.WriteFile(path, b, 0o600); err != nil {
		t.Fatal(err)
	}
}

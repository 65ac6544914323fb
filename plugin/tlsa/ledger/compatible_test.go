package ledger

import (
	"crypto/sha256"
	"encoding/hex"
	"testing"

	"github.com/coredns-tlsa/coredns-tlsa/plugin/tlsa/rollover"
)

// manifold is a timeline with something of all that the first form of a record had.
func manifold() *rollover.Timeline {
	t := typical(1)
	staged := typical(2).Keys[0]
	staged.Places[0].Staged, staged.Frozen, staged.Ungated = true, true, true
	staged.RetiredAt, staged.RetiredTTL = at(9000), 7200
	t.Keys = append(t.Keys, staged)
	t.NoneSince = at(5)
	t.OldTTLs = []rollover.TTLUse{{TTL: 7200, Until: at(8000)}}
	t.Fixed = []rollover.Fixed{{Association: t.Associations[0].Association, Zone: true, RetiredAt: at(9001), RetiredTTL: 3600}}
	t.Associations[0].First = true
	return t
}

// TestRecordsOfBeforeTheOperatorsPartAreTheSame compares with what the code encoded that did not know of it: there is one
// encoding, so those records decode too.
func TestRecordsOfBeforeTheOperatorsPartAreTheSame(t *testing.T) {
	data, _, err := encode("example.org.", "o", manifold())
	if err != nil {
		t.Fatal(err)
	}
	sum := sha256.Sum256(data)
	const want = "f322073cde1bf8c9d86ed084dafddda4d3a8f7f6a64cc9f1bdbee6a4d42f2725"
	if got := hex.EncodeToString(sum[:]); got != want {
		t.Errorf("%d octets with the digest %s, want %s", len(data), got, want)
	}
}

func TestWhatTheOperatorSaidComesBack(t *testing.T) {
	path := ledgerPath(t)
	s := open(t, path)
	tl := manifold()
	tl.WithdrawnAt = at(9100)
	tl.Keys[1].Places[0].Withdrawn = true
	tl.Revoked = []rollover.Revocation{{Target: rollover.Target{Data: "digest", Key: true}, At: at(9200), TTL: 3600, Keys: typical(3).Keys}}
	commit(t, s, "a", timelines{"o": tl})
	closeStore(t, s)
	s = open(t, path)
	defer closeStore(t, s)
	if s.Origin() != Intact {
		t.Errorf("the file is %s: %s", s.Origin(), s.Notice())
	}
	expect(t, s, "a", timelines{"o": tl})
}

package ledger

import (
	"testing"

	"github.com/coredns-tlsa/coredns-tlsa/plugin/tlsa/dane"
	"github.com/coredns-tlsa/coredns-tlsa/plugin/tlsa/rollover"

	"pgregory.net/rapid"
)

func TestWhatIsPackedIsUnpacked(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		want := anyTimeline().Draw(t, "timeline")
		for i := range want.Keys {
			want.Keys[i].Material.Issuer = dane.Fingerprint{}
		}
		for _, r := range want.Revoked {
			for i := range r.Keys {
				r.Keys[i].Material.Issuer = dane.Fingerprint{}
			}
		}
		packed, err := Pack(want)
		if err != nil {
			t.Fatal(err)
		}
		got, err := Unpack(packed)
		if err != nil || !got.Equal(want) {
			t.Fatalf("%+v (%v), want %+v", got, err, want)
		}
		if _, err := Unpack(packed + "x"); err == nil {
			t.Error("what follows a timeline is taken for a part of it")
		}
	})
}

func TestWhatRefersToAnIssuerIsNotPacked(t *testing.T) {
	m := dane.Material{Issuer: dane.Fingerprint{SPKI: "issuer"}}
	if packed, err := Pack(&rollover.Timeline{Keys: []rollover.Key{{Material: m}}}); err == nil {
		t.Errorf("packed as %x", packed)
	}
}

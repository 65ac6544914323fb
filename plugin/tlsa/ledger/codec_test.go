package ledger

import (
	"bytes"
	"encoding/binary"
	"errors"
	"maps"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"pgregory.net/rapid"

	"github.com/coredns-tlsa/coredns-tlsa/plugin/tlsa/dane"
	"github.com/coredns-tlsa/coredns-tlsa/plugin/tlsa/rollover"
)

func issuersOf(t interface{ Fatal(...any) }, all []dane.Fingerprint) map[issuerID]dane.Fingerprint {
	out := make(map[issuerID]dane.Fingerprint)
	for _, f := range all {
		id, data, err := encodeIssuer(f)
		if err != nil {
			t.Fatal(err)
		}
		back, got, err := decodeIssuer(id[:], data)
		if err != nil || back != id || got != f {
			t.Fatal("issuer does not come back:", got, err)
		}
		out[id] = f
	}
	return out
}

func octets(most int) *rapid.Generator[string] {
	return rapid.Custom(func(t *rapid.T) string {
		return string(rapid.SliceOfN(rapid.Byte(), 0, most).Draw(t, "octets"))
	})
}

func stamps() *rapid.Generator[rollover.Stamp] {
	return rapid.Custom(func(t *rapid.T) rollover.Stamp {
		if rapid.Bool().Draw(t, "never") {
			return rollover.Stamp{}
		}
		return rollover.Stamp{
			Wall:    time.UnixMilli(rapid.Int64Range(-maxMillis/1000, maxMillis/1000).Draw(t, "wall")).UTC(),
			Service: time.Duration(rapid.Int64Range(-1000, 1<<43).Draw(t, "service")) * time.Millisecond,
		}
	})
}

func prints() *rapid.Generator[dane.Fingerprint] {
	return rapid.Custom(func(t *rapid.T) dane.Fingerprint {
		f := dane.Fingerprint{SPKI: octets(40).Draw(t, "spki"), DER: octets(8).Draw(t, "der")}
		switch rapid.IntRange(0, 2).Draw(t, "digests") {
		case 0:
			f.SHA256, f.SHA512 = strings.Repeat("a", 32), strings.Repeat("b", 64)
		case 1:
			f.SHA256, f.SHA512 = octets(33).Draw(t, "256"), octets(3).Draw(t, "512")
		}
		return f
	})
}

func combinations() *rapid.Generator[dane.Combination] {
	return rapid.Custom(func(t *rapid.T) dane.Combination {
		return dane.Combination{
			Usage:        dane.Usage(rapid.IntRange(0, 3).Draw(t, "usage")),
			Selector:     dane.Selector(rapid.IntRange(0, 1).Draw(t, "selector")),
			MatchingType: dane.MatchingType(rapid.IntRange(0, 2).Draw(t, "matching")),
		}
	})
}

func keys() *rapid.Generator[rollover.Key] {
	place := rapid.Custom(func(t *rapid.T) rollover.Place {
		path := rapid.SampledFrom([]string{"", "/etc", "/etc/ssl", "/etc/ssl/live", "/etc/ssl/live/a", "/srv"})
		return rollover.Place{Root: path.Draw(t, "root"), Lineage: path.Draw(t, "lineage"), File: path.Draw(t, "file"), Staged: rapid.Bool().Draw(t, "staged"),
			Withdrawn: rapid.Bool().Draw(t, "withdrawn")}
	})
	return rapid.Custom(func(t *rapid.T) rollover.Key {
		flag := rapid.Bool()
		return rollover.Key{
			Material: dane.Material{Leaf: prints().Draw(t, "leaf"), Issuer: prints().Draw(t, "issuer"), NotAfter: stamps().Draw(t, "not after").Wall},
			Lineage:  octets(10).Draw(t, "lineage"),
			Places:   rapid.SliceOfN(place, 0, 3).Draw(t, "places"),
			SeenAt:   stamps().Draw(t, "seen"), ActiveAt: stamps().Draw(t, "active"), RetiredAt: stamps().Draw(t, "retired"),
			RetiredTTL: rapid.Uint32().Draw(t, "ttl"),
			Initial:    flag.Draw(t, "initial"), Ungated: flag.Draw(t, "ungated"), Frozen: flag.Draw(t, "frozen"),
		}
	})
}

func anyTimeline() *rapid.Generator[*rollover.Timeline] {
	return rapid.Custom(func(t *rapid.T) *rollover.Timeline {
		tl := &rollover.Timeline{
			ObservedAt: stamps().Draw(t, "observed"), NoneSince: stamps().Draw(t, "none"), TTL: rapid.Uint32().Draw(t, "ttl"),
			Combinations: rapid.SliceOfN(combinations(), 0, 4).Draw(t, "combinations"),
			Keys:         rapid.SliceOfN(keys(), 0, 3).Draw(t, "keys"),
		}
		for range rapid.IntRange(0, 2).Draw(t, "ttls") {
			tl.OldTTLs = append(tl.OldTTLs, rollover.TTLUse{TTL: rapid.Uint32().Draw(t, "old"), Until: stamps().Draw(t, "until")})
		}
		association := rapid.Custom(func(t *rapid.T) dane.Association {
			a := dane.Association{Combination: combinations().Draw(t, "combination"), Data: octets(70).Draw(t, "data")}
			if len(tl.Keys) > 0 && rapid.Bool().Draw(t, "derived") {
				key := rapid.SampledFrom(tl.Keys).Draw(t, "of")
				a.Data = derive(&key.Material, a.Combination)
			}
			return a
		})
		for range rapid.IntRange(0, 2).Draw(t, "fixed") {
			tl.Fixed = append(tl.Fixed, rollover.Fixed{Association: association.Draw(t, "fixed"), Zone: rapid.Bool().Draw(t, "zone"),
				RetiredAt: stamps().Draw(t, "retired"), RetiredTTL: rapid.Uint32().Draw(t, "ttl")})
		}
		for range rapid.IntRange(0, 4).Draw(t, "associations") {
			tl.Associations = append(tl.Associations, rollover.Times{Association: association.Draw(t, "association"),
				PublishedAt: stamps().Draw(t, "published"), ReadyAt: stamps().Draw(t, "ready"),
				PublishedTTL: rapid.Uint32().Draw(t, "ttl"), First: rapid.Bool().Draw(t, "first")})
		}
		if rapid.Bool().Draw(t, "operator") {
			tl.WithdrawnAt = stamps().Draw(t, "withdrawn")
			for range rapid.IntRange(0, 2).Draw(t, "revoked") {
				r := rollover.Revocation{Target: rollover.Target{Data: octets(40).Draw(t, "data"), Key: rapid.Bool().Draw(t, "key")},
					At: stamps().Draw(t, "at"), TTL: rapid.Uint32().Draw(t, "ttl"), Keys: rapid.SliceOfN(keys(), 0, 2).Draw(t, "keys")}
				for range rapid.IntRange(0, 1).Draw(t, "fixed") {
					r.Fixed = append(r.Fixed, rollover.Fixed{Association: association.Draw(t, "fixed"), Zone: rapid.Bool().Draw(t, "zone"),
						RetiredAt: stamps().Draw(t, "retired"), RetiredTTL: rapid.Uint32().Draw(t, "ttl")})
				}
				tl.Revoked = append(tl.Revoked, r)
			}
		}
		return tl
	})
}

func TestEveryTimelineComesBack(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		want := anyTimeline().Draw(t, "timeline")
		data, issuers, err := encode("b", "o", want)
		if err != nil {
			t.Fatal(err)
		}
		got, err := decode("b", "o", data, issuersOf(t, issuers))
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(want, got, cmpopts.EquateEmpty()); diff != "" {
			t.Fatalf("(-want +got):\n%s", diff)
		}
		for i := range want.Keys { // Material is compared by == elsewhere, times included
			if want.Keys[i].Material != got.Keys[i].Material {
				t.Fatal("material differs by ==")
			}
		}
	})
}

func TestRecordOfATypicalOwnerIsSmall(t *testing.T) {
	data, _, err := encode("example.org.", ownerOf(1), typical(1))
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("%d octets", len(data))
	if len(data) > 400 {
		t.Errorf("a typical record has %d octets", len(data))
	}
}

// seal puts the version and the checksum around a body.
func seal(block, owner string, body []byte) []byte {
	b := append([]byte{recordVersion}, body...)
	return binary.BigEndian.AppendUint32(b, checksum(block, owner, b))
}

func TestDecodeRefuses(t *testing.T) {
	good, issuers, err := encode("b", "o", typical(1))
	if err != nil {
		t.Fatal(err)
	}
	known := issuersOf(t, issuers)
	body := good[1 : len(good)-4]
	version := append([]byte{2}, body...)
	for name, data := range map[string][]byte{
		"nothing":                     nil,
		"a checksum alone":            good[len(good)-4:],
		"a later version":             binary.BigEndian.AppendUint32(version, checksum("b", "o", version)),
		"another owner's record":      seal("b", "p", body),
		"another block's record":      seal("c", "o", body),
		"a name cut elsewhere":        seal("bo", "", body),
		"octets after the end":        seal("b", "o", append(bytes.Clone(body), 0)),
		"a cut record":                seal("b", "o", body[:len(body)-1]),
		"a count beyond the record":   seal("b", "o", []byte{0, 0, 0, 0xff, 0x0f}),
		"a count over the limit":      seal("b", "o", []byte{0, 0, 0, 0xff, 0xff, 0xff, 0x7f}),
		"a number in too many octets": seal("b", "o", []byte{0, 0, 0x80, 0, 0, 0, 0, 0, 0}),
		"a TTL of 33 bits":            seal("b", "o", []byte{0, 0, 0xff, 0xff, 0xff, 0xff, 0x1f, 0, 0, 0, 0, 0}),
		"a combination out of range":  seal("b", "o", []byte{0, 0, 0, 0, 1, 24, 0, 0, 0}),
		"a time out of range":         seal("b", "o", append(binary.AppendVarint([]byte{1}, maxMillis+1), 0, 0, 0, 0, 0, 0, 0, 0)),
	} {
		if _, err := decode("b", "o", data, known); !errors.Is(err, errDecode) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := decode("b", "o", seal("b", "o", make([]byte, 8)), nil); err != nil {
		t.Errorf("the empty timeline: %v", err)
	}
	if _, err := decode("b", "o", good, nil); !errors.Is(err, errDecode) {
		t.Errorf("an unknown issuer: %v", err)
	}
}

func TestAnyFlippedBitOfARecordIsSeen(t *testing.T) {
	good, issuers, err := encode("b", "o", typical(1))
	if err != nil {
		t.Fatal(err)
	}
	known := issuersOf(t, issuers)
	for i := range len(good) * 8 {
		bad := bytes.Clone(good)
		bad[i/8] ^= 1 << (i % 8)
		if _, err := decode("b", "o", bad, known); err == nil {
			t.Fatalf("bit %d", i)
		}
	}
	for id := range known {
		_, data, _ := encodeIssuer(known[id])
		data[7] ^= 1
		if _, _, err := decodeIssuer(id[:], data); !errors.Is(err, errDecode) {
			t.Errorf("issuer: %v", err)
		}
	}
}

func TestEncodeRefusesWhatDecodeWould(t *testing.T) {
	long := strings.Repeat("x", maxString+1)
	for name, tl := range map[string]*rollover.Timeline{
		"a key too long":         {Keys: []rollover.Key{{Material: dane.Material{Leaf: dane.Fingerprint{SPKI: long}}}}},
		"an issuer too long":     {Keys: []rollover.Key{{Material: dane.Material{Issuer: dane.Fingerprint{SPKI: long}}}}},
		"a path too long":        {Keys: []rollover.Key{{Places: []rollover.Place{{Root: long[:maxPath+1]}}}}},
		"too many keys":          {Keys: make([]rollover.Key, maxCount+1)},
		"a record too long":      {Keys: make([]rollover.Key, 17)},
		"a combination unknown":  {Combinations: []dane.Combination{{Usage: 4}}},
		"a time beyond the ages": {ObservedAt: rollover.Stamp{Wall: time.UnixMilli(maxMillis + 1)}},
	} {
		if name == "a record too long" {
			for i := range tl.Keys {
				tl.Keys[i].Lineage = long[:maxString]
			}
		}
		if _, _, err := encode("b", "o", tl); !errors.Is(err, errTooLong) && !errors.Is(err, errRange) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func FuzzDecode(f *testing.F) {
	known := make(map[issuerID]dane.Fingerprint)
	for i := range 4 {
		data, issuers, err := encode("b", "o", typical(i))
		if err != nil {
			f.Fatal(err)
		}
		maps.Copy(known, issuersOf(f, issuers))
		f.Add(data[1 : len(data)-4])
	}
	f.Add(make([]byte, 8))
	f.Fuzz(func(t *testing.T, body []byte) {
		data := seal("b", "o", body) // past the checksum, where the parser is
		tl, err := decode("b", "o", data, known)
		if err != nil {
			return
		}
		again, _, err := encode("b", "o", tl)
		if err != nil || !bytes.Equal(again, data) {
			t.Fatalf("encodes to %x, not %x: %v", again, data, err)
		}
	})
}

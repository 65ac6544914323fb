package control

import (
	"encoding/json"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/coredns-tlsa/coredns-tlsa/plugin/tlsa/control/schematest"
)

func schema(t *testing.T) []byte {
	t.Helper()
	b, err := os.ReadFile("status.schema.json")
	if err != nil {
		t.Fatal(err)
	}
	return b
}

var noon = time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC)

// full has every field of a status.
func full() Status {
	problem := Problem{Reason: "no-certificate", Text: "none", Source: "_25._tcp.a.", Since: noon}
	hash := strings.Repeat("ab", 32)
	return Status{Version: Version, Software: "v1.0.0", Now: noon, Blocks: []BlockStatus{{
		Zones: []string{"a."}, View: "inside", Ledger: "/l", LedgerOrigin: "intact", Serving: true, Clocks: Clocks{noon, 1},
		Hold: 2, Grace: 3, Propagation: 4, UntilExpiry: true, NextChange: &noon, Known: true, Problems: []Problem{problem},
		Owners: []OwnerStatus{{
			Name: "_25._tcp.a.", Zone: "a.", Pattern: "_25._tcp.*", Answer: AnswerRecords, TTL: 3600, Hold: 1, Grace: 2, Propagation: 3,
			Associations: []Association{{
				Usage: 3, Selector: 1, MatchingType: 1, Data: hash, State: "active", Since: &noon, Gated: true,
				NextState: "ready", NextAt: &noon, Ungated: true, UngatedUntil: &noon, Lineage: "a", Reason: "installed",
				Places: []Place{{Kind: PlaceInstalled, File: "/c/a", Lineage: "/c"}}, Unrecorded: true,
			}},
			Problems: []Problem{problem}, WithdrawnSince: &noon, Revoked: []Revocation{{Data: "ab", SPKI: hash, Since: noon, Until: noon}},
		}},
		Lineages: []Lineage{{ID: "/c/a", Name: "a", Root: "/c", Staged: true, Leaves: []Leaf{{
			SPKI: hash, SHA256: hash, Algorithm: "RSA", NotAfter: &noon, Files: []string{"/c/a/f"},
			Safety: Safety{Safe: true, Owners: []string{"_25._tcp.a."}, SafeAt: &noon, HeldBy: "_25._tcp.a.", Why: "waits"},
		}}}},
	}}}
}

func TestSchemaDescribesEveryField(t *testing.T) {
	body, err := json.Marshal(full())
	if err != nil {
		t.Fatal(err)
	}
	if err := schematest.Check(schema(t), body); err != nil {
		t.Error(err)
	}
	described := map[string]bool{}
	var collect func(any)
	collect = func(v any) {
		switch v := v.(type) {
		case map[string]any:
			for name, value := range v {
				described[name] = true
				collect(value)
			}
		case []any:
			for _, value := range v {
				collect(value)
			}
		}
	}
	var doc, root any
	for _, u := range []struct {
		data []byte
		to   *any
	}{{body, &doc}, {schema(t), &root}} {
		if err := json.Unmarshal(u.data, u.to); err != nil {
			t.Fatal(err)
		}
	}
	collect(doc)
	defs := root.(map[string]any)["$defs"].(map[string]any)
	for def, s := range defs {
		properties, _ := s.(map[string]any)["properties"].(map[string]any)
		for name := range properties {
			if !described[name] {
				t.Errorf("the schema describes %s of %s, which no document has", name, def)
			}
		}
	}
}

func TestSchemaRefuses(t *testing.T) {
	body, err := json.Marshal(full())
	if err != nil {
		t.Fatal(err)
	}
	for claim, change := range map[string][2]string{
		"another version":              {`"version":1`, `"version":2`},
		"a missing field":              {`"software":"v1.0.0",`, ``},
		"a field that nobody knows":    {`"version":1`, `"version":1,"secret":"key"`},
		"a state that nobody knows":    {`"state":"active"`, `"state":"live"`},
		"a time with a fraction":       {`"now":"2026-11-22T12:00:00Z"`, `"now":"2026-11-22T12:00:00.5Z"`},
		"data in upper case":           {`"data":"ab"`, `"data":"AB"`},
		"a digest of the wrong length": {`"spki":"ab`, `"spki":"`},
		"a usage out of range":         {`"usage":3`, `"usage":4`},
		"a negative time":              {`"ttl_seconds":3600`, `"ttl_seconds":-1`},
		"no zones":                     {`"zones":["a."]`, `"zones":[]`},
		"a number for a word":          {`"view":"inside"`, `"view":7`},
		"null for a list":              {`"files":["/c/a/f"]`, `"files":null`},
	} {
		t.Run(claim, func(t *testing.T) {
			changed := strings.Replace(string(body), change[0], change[1], 1)
			if changed == string(body) {
				t.Fatal("nothing was changed")
			}
			if err := schematest.Check(schema(t), []byte(changed)); err == nil {
				t.Error("no error")
			}
		})
	}
}

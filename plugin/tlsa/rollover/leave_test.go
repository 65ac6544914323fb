package rollover

import (
	"testing"
	"time"

	"github.com/coredns-tlsa/coredns-tlsa/plugin/tlsa/dane"
)

func TestLeaveInCountsGraceOnBothClocks(t *testing.T) {
	since := Stamp{Wall: time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC), Service: 100 * time.Hour}
	at := func(wall, service time.Duration) Stamp {
		return Stamp{Wall: since.Wall.Add(wall), Service: since.Service + service}
	}
	expires := func(after time.Duration) []Key {
		return []Key{{Material: dane.Material{NotAfter: since.Wall.Add(after)}}, {}}
	}
	policy := Policy{TTL: 3600, Grace: 48 * time.Hour}
	patient := policy
	patient.UntilExpiry = true
	lagging := policy
	lagging.Propagation = 100 * time.Hour
	for claim, tc := range map[string]struct {
		timeline Timeline
		policy   Policy
		now      Stamp
		want     time.Duration
	}{
		"the whole of grace at first":              {Timeline{}, policy, at(0, 0), 48 * time.Hour},
		"nothing when both clocks have counted it": {Timeline{}, policy, at(48*time.Hour, 48*time.Hour), 0},
		"the wall clock jumped":                    {Timeline{}, policy, at(1000*time.Hour, time.Hour), 47 * time.Hour},
		"the wall clock stood":                     {Timeline{}, policy, at(time.Hour, 1000*time.Hour), 47 * time.Hour},
		"a larger TTL of before counts":            {Timeline{OldTTLs: []TTLUse{{TTL: 100 * 3600}}}, policy, at(0, 0), 200 * time.Hour},
		"slow secondaries count":                   {Timeline{TTL: 3600}, lagging, at(0, 0), 102 * time.Hour},
		"the certificate's life counts":            {Timeline{Keys: expires(90 * time.Hour)}, patient, at(time.Hour, time.Hour), 89 * time.Hour},
		"but never shortens grace":                 {Timeline{Keys: expires(time.Hour)}, patient, at(0, 0), 48 * time.Hour},
		"and only where the Corefile says so":      {Timeline{Keys: expires(90 * time.Hour)}, policy, at(0, 0), 48 * time.Hour},
	} {
		if got := tc.timeline.LeaveIn(tc.policy, since, tc.now); got != tc.want {
			t.Errorf("%s: %s, want %s", claim, got, tc.want)
		}
	}
}

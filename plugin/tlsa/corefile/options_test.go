package corefile

import (
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/coredns-tlsa/coredns-tlsa/plugin/tlsa/dane"
	"github.com/coredns-tlsa/coredns-tlsa/plugin/tlsa/publish"
	"github.com/coredns-tlsa/coredns-tlsa/plugin/tlsa/rollover"
)

func TestDurationIsGosWithDaysOrPlainSeconds(t *testing.T) {
	for raw, want := range map[string]time.Duration{
		"0":                    0,
		"90":                   90 * time.Second,
		"007":                  7 * time.Second,
		"-5":                   -5 * time.Second,
		"5m":                   5 * time.Minute,
		"1h30m":                90 * time.Minute,
		"1.5h":                 90 * time.Minute,
		"-1h":                  -time.Hour,
		"250ms":                250 * time.Millisecond,
		"2d":                   48 * time.Hour,
		"1d12h":                36 * time.Hour,
		"0d1s":                 time.Second,
		"106751d":              106751 * day,
		"106752d":              math.MaxInt64,
		"106751d24h":           math.MaxInt64,
		"9223372036":           9223372036 * time.Second,
		"9223372037":           math.MaxInt64,
		"-9223372037":          math.MinInt64,
		"99999999999999999999": math.MaxInt64,
	} {
		t.Run(raw, func(t *testing.T) {
			if got, err := parseDuration(raw); err != nil || got != want {
				t.Errorf("got %d, %v, want %d", got, err, want)
			}
		})
	}
	for _, raw := range []string{"", "d", "soon", "1x", "1.5d", "-1d", "+1d", "1d-1h", "1d+1h", "1d5", "1dd", "1h2d", "1 h", "1e3", "99999999999d", "0x10", "1_000", "٣"} {
		t.Run("not "+raw, func(t *testing.T) {
			if got, err := parseDuration(raw); err == nil {
				t.Errorf("read as %s", got)
			}
		})
	}
}

func TestWholeBlockIsTheValueItSays(t *testing.T) {
	pin := strings.Repeat("ab", 32)
	blocks, _, err := load("Corefile", `example.org {
	root /srv
	tlsa {
		next staged
		name _25._tcp.mail from b a/live as 2 1 1 as 3 1 1
		certs live/* /etc/certs
		pin _443._tcp 3 1 1 `+pin[:20]+` `+strings.ToUpper(pin[20:])+`
		grace notafter
		propagation 1m
		ttl 10m
		ledger tlsa.db
	}
	file db
}`)
	if err != nil {
		t.Fatal(err)
	}
	policy := rollover.Policy{TTL: 600, Propagation: time.Minute, Hold: 21 * time.Minute, Grace: 48 * time.Hour, UntilExpiry: true}
	mail, apex := policy, policy
	mail.Combinations = []dane.Combination{{Usage: dane.DANETA, Selector: dane.SPKI, MatchingType: dane.SHA256}, {Usage: dane.DANEEE, Selector: dane.SPKI, MatchingType: dane.SHA256}}
	apex.Pins = []dane.Association{{Combination: mail.Combinations[1], Data: strings.Repeat("\xab", 32)}}
	want := publish.Config{
		Zones: []string{"example.org."}, Certs: []string{"/etc/certs", "/srv/live/*"}, Next: []string{"/srv/staged"},
		Rescan: time.Minute, Ledger: "/srv/tlsa.db", TTL: 600,
		Owners: []publish.Owner{
			{Name: "_25._tcp.mail.example.org.", Host: "mail.example.org.", From: []string{"/srv/a/live", "b"}, Policy: mail},
			{Name: "_443._tcp.example.org.", Host: "example.org.", Policy: apex},
		},
	}
	if diff := cmp.Diff([]publish.Config{want}, []publish.Config{blocks[0].Config}); diff != "" {
		t.Errorf("config (-want +got):\n%s", diff)
	}
}

func TestDefaultHoldOutlastsTheCachesOfBefore(t *testing.T) {
	for options, want := range map[string]time.Duration{
		"ttl 1m":                  6 * time.Minute,
		"ttl 5m":                  10 * time.Minute,
		"ttl 20m":                 40 * time.Minute,
		"ttl 20m\npropagation 1h": 100 * time.Minute,
		"ttl 1h\nhold 2h":         2 * time.Hour,
	} {
		t.Run(options, func(t *testing.T) {
			blocks, _, err := load("Corefile", "a {\ntlsa {\nnext /n\nname _1._tcp\n"+options+"\n}\nfile db\n}")
			if err != nil {
				t.Fatal(err)
			}
			if got := blocks[0].Owners[0].Policy.Hold; got != want {
				t.Errorf("hold is %s, want %s", got, want)
			}
		})
	}
}

func TestRelativePathsLieBelowTheWorkingDirectoryWithoutRoot(t *testing.T) {
	dir := t.TempDir()
	t.Chdir(dir)
	for root, want := range map[string]string{"": dir, "root zones\n": filepath.Join(dir, "zones"), "root /srv\n": "/srv"} {
		blocks, _, err := load("Corefile", "a {\n"+root+"tlsa {\ncerts ./c\nname _1._tcp from x/y z\nledger l\n}\nfile db\n}")
		if err != nil {
			t.Fatal(err)
		}
		b := blocks[0]
		got := []string{b.Certs[0], b.Owners[0].From[0], b.Owners[0].From[1], b.Ledger}
		if diff := cmp.Diff([]string{want + "/c", want + "/x/y", "z", want + "/l"}, got); diff != "" {
			t.Errorf("%q (-want +got):\n%s", root, diff)
		}
	}
}

func TestErrorInAnImportedFileNamesThatFile(t *testing.T) {
	dir := t.TempDir()
	for name, text := range map[string]string{
		"options": "certs /c\n\nttl 5m\nttl 6m\n",
		"common":  "tlsa {\n import options\n name _25._tcp.mail\n}\n",
	} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	_, _, err := load(filepath.Join(dir, "Corefile"), "example.org {\n import common\n}\n")
	options := filepath.Join(dir, "options")
	want := options + ":4 - Error during parsing: ttl stands a second time, first at " + options + ":3: remove one"
	if err == nil || err.Error() != want {
		t.Errorf("got %v\nwant %s", err, want)
	}
}

func TestDistanceCountsLettersAndSwaps(t *testing.T) {
	for _, row := range []struct {
		a, b string
		want int
	}{{"", "", 0}, {"", "as", 2}, {"ttl", "", 3}, {"certs", "certs", 0}, {"cert", "certs", 1}, {"crets", "certs", 1}, {"name", "next", 3}, {"hodl", "hold", 1}} {
		if got := distance(row.a, row.b); got != row.want {
			t.Errorf("%q to %q is %d, want %d", row.a, row.b, got, row.want)
		}
	}
}

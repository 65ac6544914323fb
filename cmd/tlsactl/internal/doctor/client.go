package doctor

import (
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/coredns-tlsa/coredns-tlsa/plugin/tlsa/dane"
)

const day = 24 * time.Hour

// A client is the ACME client, or whatever else renews a lineage, as its files tell.
type client struct {
	name string
	// keeps tells whether a renewal keeps the key: by what the last two certificates show, by its settings, or by its habit.
	keeps bool
	// lead is how long before its expiry a certificate of that life is renewed.
	lead func(life time.Duration) time.Duration
	// because says where lead is from.
	because string
	// setUp says how to keep the key, and how to stage the next one.
	setUp string
}

// third is the habit of most: a third of the life is left, of a life below ten days the half (RFC 9773 leaves it to the CA).
func third(life time.Duration) time.Duration {
	if life < 10*day {
		return life / 2
	}
	return life / 3
}

const thirdBecause = "a third of its life left, or half of one below 10 days"

// unknown renews as most do.
var unknown = client{name: "its client", lead: third, because: "assuming " + thirdBecause}

// clientOf tells who writes a lineage; nil if its files do not say.
func clientOf(l *lineage) *client {
	for _, look := range []func(*lineage) *client{certbot, dehydrated, acmeSh, lego, certManager, caddy, uacme} {
		if c := look(l); c != nil {
			return c
		}
	}
	return nil
}

// certbot: live/NAME/fullchain.pem is a link to ../../archive/NAME/fullchainN.pem.
func certbot(l *lineage) *client {
	to, err := os.Readlink(filepath.Join(l.Dir, "fullchain.pem"))
	if err != nil {
		to, err = os.Readlink(filepath.Join(l.Dir, "cert.pem"))
	}
	if err != nil || !slices.Contains(strings.Split(filepath.ToSlash(to), "/"), "archive") {
		return nil
	}
	home := filepath.Dir(filepath.Dir(l.Dir))
	conf := filepath.Join(home, "renewal", l.Name+".conf")
	set := settings(conf)
	c := &client{name: "certbot", lead: third, because: thirdBecause, keeps: strings.EqualFold(set["reuse_key"], "true")}
	fixedLead(c, set["renew_before_expiry"], "renew_before_expiry in "+conf)
	if kept, known := history(filepath.Dir(filepath.Join(l.Dir, to)), numbered); known && set["reuse_key"] == "" {
		c.keeps = kept
	}
	c.setUp = "write `reuse_key = True` into [renewalparams] of " + conf + ", or, to stage renewals, `renew_hook = " + hook("certbot") +
		"` there, and `next /var/lib/dane/next` into tlsa (contrib/tutorials)"
	return c
}

var numbered = regexp.MustCompile(`^cert(\d+)\.pem$`)

// fixedLead reads certbot's "30 days".
func fixedLead(c *client, text, because string) {
	words := strings.Fields(text)
	units := map[string]time.Duration{"day": day, "hour": time.Hour, "week": 7 * day, "minute": time.Minute}
	if len(words) != 2 {
		return
	}
	n, err := strconv.ParseUint(words[0], 10, 16)
	if unit := units[strings.TrimSuffix(words[1], "s")]; err == nil && unit > 0 {
		c.lead, c.because = func(time.Duration) time.Duration { return time.Duration(n) * unit }, because
	}
}

// hook is the command for the hook of a client.
func hook(name string) string {
	return "tlsactl hook " + name + " --next /var/lib/dane/next --certs /var/lib/dane/certs --install /etc/postfix/tls"
}

// dehydrated: cert.pem is a link to cert-TIMESTAMP.pem beside it.
func dehydrated(l *lineage) *client {
	to, err := os.Readlink(filepath.Join(l.Dir, "cert.pem"))
	if err != nil || !dated.MatchString(filepath.Base(to)) {
		return nil
	}
	conf := dehydratedConfig(l.Dir)
	set := settings(conf)
	days := 32
	if n, err := strconv.ParseUint(set["RENEW_DAYS"], 10, 16); err == nil {
		days = int(n)
	}
	c := &client{
		name: "dehydrated", because: "RENEW_DAYS is " + strconv.Itoa(days), keeps: set["PRIVATE_KEY_RENEW"] == "no",
		lead: func(life time.Duration) time.Duration { return min(time.Duration(days)*day, life) },
		setUp: "write PRIVATE_KEY_RENEW=\"no\" into " + conf + ", or, to stage renewals, PRIVATE_KEY_ROLLOVER=\"yes\" and as HOOK a script of `" +
			hook("dehydrated") + " \"$@\"`, and `next /var/lib/dane/next` into tlsa (contrib/tutorials)",
	}
	if kept, known := history(l.Dir, dated); known && set["PRIVATE_KEY_RENEW"] == "" {
		c.keeps = kept
	}
	return c
}

// dehydratedConfig is where the configuration for certs/NAME is: beside certs, but Debian's package has it in /etc.
func dehydratedConfig(dir string) string {
	home := filepath.Dir(filepath.Dir(dir))
	if home == "/var/lib/dehydrated" {
		home = "/etc/dehydrated"
	}
	return filepath.Join(home, "config")
}

var dated = regexp.MustCompile(`^cert-(\d+)\.pem$`)

// acmeSh: DOMAIN/DOMAIN.conf with Le_Domain. It keeps the key unless told otherwise.
func acmeSh(l *lineage) *client {
	stem := strings.TrimSuffix(filepath.Base(l.Dir), "_ecc")
	set := settings(filepath.Join(l.Dir, stem+".conf"))
	if set["Le_Domain"] == "" {
		return nil
	}
	c := &client{
		name: "acme.sh", lead: third, because: "assuming " + thirdBecause, keeps: set["Le_ForceNewDomainKey"] != "1",
		setUp: "renew without --always-force-new-domain-key, or, to stage renewals, acme.sh --install-cert -d " + stem + ecc(l.Dir) +
			" --reloadcmd '" + hook("acme.sh") + "', and `next /var/lib/dane/next` into tlsa (contrib/tutorials)",
	}
	if next, err := strconv.ParseInt(set["Le_NextRenewTime"], 10, 64); err == nil && len(l.certificates) > 0 {
		if lead := l.certificates[0].NotAfter.Sub(time.Unix(next, 0)); lead > 0 {
			c.lead, c.because = func(time.Duration) time.Duration { return lead }, "Le_NextRenewTime in "+stem+".conf"
		}
	}
	return c
}

// ecc is the flag by which acme.sh tells an ECDSA lineage.
func ecc(dir string) string {
	if strings.HasSuffix(dir, "_ecc") {
		return " --ecc"
	}
	return ""
}

// lego: ID.json beside ID.crt and ID.issuer.crt.
func lego(l *lineage) *client {
	for _, f := range l.Files {
		stem, crt := strings.CutSuffix(strings.TrimSuffix(f.Path, ".issuer.crt"), ".crt")
		if (crt || stem != f.Path) && exists(stem+".json") && exists(stem+".issuer.crt") {
			return &client{
				name: "lego", lead: third, because: thirdBecause,
				setUp: "renew with --reuse-key, or, to stage renewals, with --renew-hook '" + hook("lego") +
					"' (lego 5: --deploy-hook), and `next /var/lib/dane/next` into tlsa (contrib/tutorials)",
			}
		}
	}
	return nil
}

// caddy: certificates/ISSUER/DOMAIN/DOMAIN.json beside DOMAIN.crt.
func caddy(l *lineage) *client {
	stem := filepath.Join(l.Dir, filepath.Base(l.Dir))
	if !exists(stem+".json") || !exists(stem+".crt") {
		return nil
	}
	return &client{
		name: "Caddy", lead: third, because: thirdBecause,
		setUp: "write `reuse_private_keys` into Caddy's tls block: it cannot stage a key",
	}
}

// certManager: a Secret as the kubelet mounts it.
func certManager(l *lineage) *client {
	if _, err := os.Readlink(filepath.Join(l.Dir, "..data")); err != nil || !exists(filepath.Join(l.Dir, "tls.crt")) {
		return nil
	}
	return &client{
		name: "cert-manager", lead: third, because: "a third of its life left",
		setUp: "set spec.privateKey.rotationPolicy: Never in the Certificate (since 1.18 it is Always)",
	}
}

// uacme: DOMAIN/cert.pem, and its key in ../private/DOMAIN. It keeps the key.
func uacme(l *lineage) *client {
	if !exists(filepath.Join(l.Dir, "cert.pem")) || !exists(filepath.Join(filepath.Dir(l.Dir), "private", filepath.Base(l.Dir))) {
		return nil
	}
	return &client{name: "uacme", keeps: true, lead: third, because: "assuming " + thirdBecause, setUp: "renew without -k"}
}

// mostVersions bounds how many names of an archive are looked at.
const mostVersions = 10_000

// history compares the keys of the last two certificates in dir whose names end in a number; unknown if there are fewer.
func history(dir string, named *regexp.Regexp) (kept, known bool) {
	file, err := os.Open(dir)
	if err != nil {
		return false, false
	}
	defer file.Close()
	entries, _ := file.ReadDir(mostVersions)
	type version struct {
		number uint64
		path   string
	}
	var versions []version
	for _, e := range entries {
		if m := named.FindStringSubmatch(e.Name()); m != nil {
			n, _ := strconv.ParseUint(m[1], 10, 63) // too long a number sorts first
			versions = append(versions, version{n, filepath.Join(dir, e.Name())})
		}
	}
	if len(versions) < 2 {
		return false, false
	}
	slices.SortFunc(versions, func(a, b version) int { return int(min(max(int64(a.number)-int64(b.number), -1), 1)) })
	var keys []string
	for _, v := range versions[len(versions)-2:] {
		if leaves := dane.Leaves(parseFile(v.path).Certificates, nil); len(leaves) > 0 {
			keys = append(keys, leaves[0].SPKI)
		}
	}
	if len(keys) < 2 {
		return false, false
	}
	return keys[0] == keys[1], true
}

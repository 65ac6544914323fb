package doctor

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/coredns-tlsa/coredns-tlsa/plugin/tlsa/certdir"
	"github.com/coredns-tlsa/coredns-tlsa/plugin/tlsa/dane"
)

type leaf = certdir.Leaf

// installing is how long it may take from Ready until every process uses the new key: a job of cron that installs every hour.
const installing = time.Hour

// mostKeys is how many keys an owner may have (design 4, rule 7).
const mostKeys = 12

// certificate gives what was read of a leaf; nil for a bare key.
func (l *lineage) certificate(of leaf) *dane.Certificate {
	for _, c := range l.certificates {
		if c.SHA256 == of.Material.Leaf.SHA256 {
			return c
		}
	}
	return nil
}

// each calls look for every certificate of every owner, those that wait to be installed too.
func (f *facts) each(look func(b *block, n name, t taken, c *dane.Certificate)) {
	for _, b := range f.blocks {
		for _, n := range b.names {
			for _, t := range n.taken {
				if c := t.certificate(t.leaf); c != nil {
					look(b, n, t, c)
				}
			}
		}
	}
}

// checkDates finds certificates that have expired or should have been renewed.
func (f *facts) checkDates() (found []Finding) {
	f.each(func(_ *block, n name, t taken, c *dane.Certificate) {
		byName := slices.ContainsFunc(n.Policy.Combinations, func(c dane.Combination) bool { return c.Usage != dane.DANEEE })
		left, life := c.NotAfter.Sub(f.At), c.NotAfter.Sub(c.NotBefore)
		lead := f.clientOf(t.lineage).lead(life)
		renew := "renew it, and see why it was not renewed by itself"
		switch {
		case left <= 0:
			severity, why := Warning, "clients ignore that with usage 3 (RFC 7671 5.1), others do not, and renewals do not work"
			if byName {
				severity, why = Error, "clients refuse it with usages 0 to 2"
			}
			found = append(found, Finding{
				Code: "expired", Severity: severity, Place: t.leaf.Files[0],
				What: "the certificate expired " + stamp(c.NotAfter),
				Why:  why,
				Fix:  renew,
			})
		case left < lead/2:
			found = append(found, Finding{
				Code: "renewal-late", Severity: Warning, Place: t.leaf.Files[0],
				What: fmt.Sprintf("the certificate expires %s, in %s, and should have been renewed %s before that",
					stamp(c.NotAfter), rough(left), rough(lead)),
				Why: "the time that is left must hold publishing the next key, hold, and installing it", Fix: renew,
			})
		}
	})
	return found
}

// checkRenewals finds lineages whose renewals bring a key that nobody has announced.
func (f *facts) checkRenewals() (found []Finding) {
	f.each(func(b *block, n name, t taken, _ *dane.Certificate) {
		c := f.clientOf(t.lineage)
		switch {
		case len(b.Next) > 0:
		case c.setUp == "":
			found = append(found, Finding{
				Code: "renewal-unknown", Severity: Hint, Place: b.Position.String(),
				What: "tlsa has no `next`, and the files do not tell whether renewals keep their key",
				Why:  "a new key that is installed as soon as it is there fails at clients with older copies of the records, for up to the TTL",
				Fix: "let renewals keep the key, or stage the next one: next DIR. " +
					"Name the ACME client's directory after doctor's flags to have it examined",
			})
		case !c.keeps:
			found = append(found, Finding{
				Code: "unstaged-renewal", Severity: Warning, Place: t.where(),
				What: fmt.Sprintf("%s makes a new key for each renewal of %s, and tlsa has no `next` to announce it in", c.name, t.Name),
				Why: fmt.Sprintf("clients with an older copy of the records refuse the new key, for up to %s after each renewal",
					rough(time.Duration(n.Policy.TTL)*time.Second)),
				Fix: c.setUp,
			})
		}
	})
	return found
}

// checkBudget holds the time between renewal and expiry against what a rollover needs (RFC 7671 8.1):
//
//	rescan + hold + installing < the certificate's remaining life at its renewal
//
// and counts the keys that overlap while grace runs.
func (f *facts) checkBudget() (found []Finding) {
	f.each(func(b *block, n name, t taken, cert *dane.Certificate) {
		c := f.clientOf(t.lineage)
		if c.keeps && keyOnly(n.Policy.Combinations) {
			return
		}
		life := cert.NotAfter.Sub(cert.NotBefore).Round(time.Minute)
		lead := min(c.lead(life), life)
		hold := b.hold(n)
		need := b.Rescan + hold + installing
		what := fmt.Sprintf("the certificate of %s lives %s and is renewed %s before it expires (%s); "+
			"rescan %s, hold %s and %s to install need %s",
			t.Name, rough(life), rough(lead), c.because, rough(b.Rescan), rough(hold), rough(installing), rough(need))
		least := n.Policy.Propagation + 2*time.Duration(n.Policy.TTL)*time.Second
		fix := "hold " + exact(max(least, ((lead-b.Rescan-installing)/2).Truncate(time.Minute)))
		if least+b.Rescan+installing >= lead {
			fix = "renew earlier, or lower ttl and propagation, by which hold is at least " + exact(least)
		}
		switch {
		case need >= lead:
			found = append(found, Finding{
				Code: "time-budget", Severity: Error, Place: b.holdPlace(),
				What: what + ": " + rough(need-lead) + " more than there is",
				Why:  "the old certificate expires before the new one may be installed", Fix: fix,
			})
		case need > lead*3/4:
			found = append(found, Finding{
				Code: "time-tight", Severity: Warning, Place: b.holdPlace(), What: what + ": " + rough(lead-need) + " are left",
				Why: "a renewal that fails once leaves no time to install the next", Fix: fix,
			})
		}
		found = append(found, b.checkOverlap(n, t, life, lead)...)
	})
	return found
}

// checkOverlap counts the keys that an owner has while those of before are kept for grace.
func (b *block) checkOverlap(n name, t taken, life, lead time.Duration) []Finding {
	grace, interval := n.Policy.Grace, max(life-lead, 24*time.Hour)
	if n.Policy.UntilExpiry {
		grace = max(grace, lead)
	}
	keys := 2 + int((grace+interval-1)/interval)
	if keys <= mostKeys {
		return nil
	}
	place := b.Position.String()
	if at, written := b.Written["grace"]; written {
		place = at.String()
	}
	return []Finding{{
		Code: "too-many-keys", Severity: Error, Place: place,
		What: fmt.Sprintf("%s is renewed every %s, so with grace %s %s has %d keys at a time",
			t.Name, rough(interval), rough(grace), n.Name, keys),
		Why: fmt.Sprintf("past %d keys a staged one is refused, and renewals stop", mostKeys),
		Fix: "grace " + exact((interval * (mostKeys - 2)).Truncate(time.Minute)),
	}}
}

// hold is how long an owner really waits: with transfers also for what the zone's SOA allows secondaries to lag.
func (b *block) hold(n name) time.Duration {
	hold := n.Policy.Hold
	_, propagation := b.Written["propagation"]
	_, written := b.Written["hold"]
	if z, _ := b.fileOf(n.Name); z != nil && b.server.has("transfer") && !propagation && !written {
		hold += z.lag()
	}
	return hold
}

func (b *block) holdPlace() string {
	for _, option := range []string{"hold", "propagation", "ttl"} {
		if at, written := b.Written[option]; written {
			return at.String()
		}
	}
	return b.Position.String()
}

// keyOnly tells whether a renewal with the same key changes no record.
func keyOnly(combinations []dane.Combination) bool {
	return !slices.ContainsFunc(combinations, func(c dane.Combination) bool {
		return c.Selector == dane.Cert || c.Usage.OfIssuer()
	})
}

// clientOf is the client of a lineage, or of the same certificate in the directories that were named beside the Corefile.
func (f *facts) clientOf(l *lineage) *client {
	if l.client != nil {
		return l.client
	}
	for _, c := range l.certificates {
		if other := f.clients[c.SHA256]; other != nil {
			return other
		}
	}
	return &unknown
}

// checkCopies finds certificates in a client's directory that are newer than the copies which the server watches.
func (f *facts) checkCopies() (found []Finding) {
	if f.extra == nil {
		return nil
	}
	byName := map[string][]*lineage{}
	for _, l := range f.extra.lineages {
		byName[l.Name] = append(byName[l.Name], l)
	}
	f.each(func(_ *block, n name, t taken, watched *dane.Certificate) {
		host := strings.TrimSuffix(n.Host, ".")
		for _, l := range byName[t.Name] {
			for _, c := range l.certificates {
				newer := c.NotBefore.After(watched.NotBefore) && !f.watched[c.SHA256] &&
					slices.ContainsFunc(c.DNSNames, func(san string) bool { return dane.Covers(san, host) })
				if newer {
					found = append(found, Finding{
						Code: "stale-copy", Severity: Error, Place: t.leaf.Files[0],
						What: fmt.Sprintf("%s has a newer certificate for %s, of %s, that no watched directory has", l.Dir, host, stamp(c.NotBefore)),
						Why:  "the service may present a key that is not published", Fix: "run the deploy hook that copies it, or watch " + l.Dir,
					})
				}
			}
		}
	})
	return found
}

func stamp(t time.Time) string { return t.UTC().Format(time.RFC3339) }

// rough writes a duration with its two largest units, days among them.
func rough(d time.Duration) string { return spell(d, 2) }

// exact writes a duration as the Corefile takes it, to the second.
func exact(d time.Duration) string { return spell(d, 4) }

func spell(d time.Duration, units int) string {
	text := ""
	if d < 0 {
		text, d = "-", -d
	}
	for _, unit := range []struct {
		size time.Duration
		name string
	}{{day, "d"}, {time.Hour, "h"}, {time.Minute, "m"}, {time.Second, "s"}} {
		if n := d / unit.size; n > 0 && units > 0 {
			text += fmt.Sprintf("%d%s", n, unit.name)
			d -= n * unit.size
			units--
		}
	}
	if strings.Trim(text, "-") == "" {
		return "0s"
	}
	return text
}

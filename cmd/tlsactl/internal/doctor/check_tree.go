package doctor

import (
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/coredns-tlsa/coredns-tlsa/plugin/tlsa/certdir"
	"github.com/coredns-tlsa/coredns-tlsa/plugin/tlsa/dane"
	"github.com/coredns-tlsa/coredns-tlsa/plugin/tlsa/rollover"
)

// remedies say why a problem of a watched directory matters, where its own text does not.
var remedies = map[rollover.Reason]string{
	certdir.Unreadable:        "what it holds is not published",
	certdir.Malformed:         "what it holds is not published",
	certdir.Truncated:         "what it holds is not published",
	certdir.Empty:             "what it should hold is not published",
	certdir.MissingRoot:       "nothing is published from it, and after a restart its names are answered with SERVFAIL",
	certdir.WritableDirectory: "who can write there can publish a key for your hosts",
	certdir.WritableFile:      "who can write there can publish a key for your hosts",
	certdir.GroupWritable:     "who is in that group can publish a key for your hosts",
	certdir.TooDeep:           "certificates there are not published",
	certdir.TooManyEntries:    "certificates there are not published",
	certdir.DetachedMount:     "renewals will not be seen",
}

// checkTrees passes on what the server's own reader finds wrong.
func (f *facts) checkTrees() (found []Finding) {
	pass := func(place string, p rollover.Problem, root bool) {
		severity := Warning
		if root && p.Reason != certdir.GroupWritable && p.Reason != certdir.TooDeep {
			severity = Error
		}
		what, fix := cut(p.Text)
		found = append(found, Finding{Code: string(p.Reason), Severity: severity, Place: place, What: what, Why: remedies[p.Reason], Fix: fix})
	}
	for _, t := range f.trees() {
		if t == nil {
			continue
		}
		for _, r := range t.found.Roots {
			for _, p := range r.Problems {
				if t == f.extra && p.Reason != certdir.Unreadable {
					continue // who may write there matters where the server reads
				}
				pass(r.Path, p, true)
			}
		}
		for _, l := range t.lineages {
			for _, file := range l.Files {
				if file.Doubt != nil {
					pass(file.Path, *file.Doubt, false)
				}
			}
		}
	}
	for _, b := range f.blocks {
		found = append(found, b.checkMixed()...)
	}
	return found
}

// checkMixed finds directories whose files belong to several users, where an owner goes by SANs.
func (b *block) checkMixed() (found []Finding) {
	if b.tree == nil {
		return nil
	}
	for _, r := range b.tree.found.Roots {
		if !r.MixedOwners {
			continue
		}
		for _, n := range b.names {
			if len(n.From) == 0 && (n.Pattern == "" || n.pattern()) {
				found = append(found, Finding{
					Code: "mixed-owners", Severity: Error, Place: n.place,
					What: fmt.Sprintf("the files of %s belong to several users, so %s takes nothing from it", r.Path, n.Name),
					Why:  "the names in a certificate prove nothing where several may write",
					Fix:  fmt.Sprintf("name %s from LINEAGE, or chown -R root %s", n.Name, r.Path),
				})
			}
		}
	}
	return found
}

// checkOwners finds owners without certificates.
func (f *facts) checkOwners() (found []Finding) {
	for _, b := range f.blocks {
		for _, n := range b.names {
			for _, stray := range n.Strays {
				found = append(found, Finding{
					Code: "no-lineage", Severity: Error, Place: n.place,
					What: fmt.Sprintf("from %s of %s names no lineage of the watched directories", stray, n.Name),
					Why:  "the owner gets nothing from there",
					Fix:  "write one of: " + b.lineageNames(),
				})
			}
			if len(n.taken) > 0 || len(n.Policy.Pins) > 0 || n.pattern() || len(n.Strays) > 0 {
				continue
			}
			found = append(found, Finding{
				Code: "no-certificate", Severity: Error, Place: n.place,
				What: fmt.Sprintf("no watched certificate covers %s, so %s stays empty%s", n.Host, n.Name, b.nearMiss(n)),
				Why:  "clients find no TLSA record and do without DANE",
				Fix:  "get a certificate with that name, correct the owner, or write `name " + n.Name + " from LINEAGE`",
			})
		}
	}
	return found
}

// lineageNames lists what `from` could name.
func (b *block) lineageNames() string {
	seen := map[string]bool{}
	if b.tree != nil {
		for _, l := range b.tree.lineages {
			seen[l.Name] = true
		}
	}
	names := slices.Sorted(maps.Keys(seen))
	switch {
	case len(names) == 0:
		return "(there is none)"
	case len(names) > 10:
		return strings.Join(names[:10], ", ") + ", and so on"
	}
	return strings.Join(names, ", ")
}

// nearMiss tells of a wildcard that looks as if it covered a host.
func (b *block) nearMiss(n name) string {
	if b.tree == nil {
		return ""
	}
	host := strings.TrimSuffix(n.Host, ".")
	for _, l := range b.tree.lineages {
		for _, leaf := range l.Leaves {
			for _, san := range leaf.DNSNames {
				if parent, wild := strings.CutPrefix(san, "*."); wild && (host == parent || strings.HasSuffix(host, "."+parent)) {
					return fmt.Sprintf(" (%s in %s stands for exactly one label)", san, l.where())
				}
			}
		}
	}
	return ""
}

// checkIssuers finds chains without the issuer that usages 0 and 2 need, and names that clients of these usages refuse.
func (f *facts) checkIssuers() (found []Finding) {
	for _, b := range f.blocks {
		for _, n := range b.names {
			for _, c := range n.Policy.Combinations {
				for _, t := range n.taken {
					found = append(found, n.checkIssuer(c, t)...)
				}
			}
		}
	}
	return found
}

func (n name) checkIssuer(c dane.Combination, t taken) (found []Finding) {
	file := t.where()
	if len(t.leaf.Files) > 0 {
		file = t.leaf.Files[0]
	}
	if !c.Usage.OfIssuer() || t.certificate(t.leaf) == nil {
		return nil
	}
	if t.leaf.Material.Issuer == (dane.Fingerprint{}) {
		found = append(found, Finding{
			Code: "issuer-missing", Severity: Error, Place: file,
			What: fmt.Sprintf("no file of %s holds the issuer of its certificate, which %s at %s needs", t.where(), c, n.Name),
			Why:  "the record cannot be computed, and clients could not use it: the server must send that certificate (RFC 7671 5.2.2)",
			Fix:  "watch the chain file that the server sends, such as fullchain.pem",
		})
	}
	host := strings.TrimSuffix(n.Host, ".")
	if !strings.Contains("."+host, "._") && !slices.ContainsFunc(t.leaf.DNSNames, func(san string) bool { return dane.Covers(san, host) }) {
		found = append(found, Finding{
			Code: "name-mismatch", Severity: Error, Place: file,
			What: fmt.Sprintf("the certificate does not name %s, and %s at %s needs that", host, c, n.Name),
			Why:  "with usages 0 to 2 clients check the name (RFC 7671 10.2)", Fix: "get a certificate with that name, or write `as 3 1 1`",
		})
	}
	return found
}

// checkUnused finds certificates that no owner takes.
func (f *facts) checkUnused() (found []Finding) {
	for _, t := range f.trees() {
		if t == nil || t == f.extra {
			continue
		}
		used := map[*lineage]bool{}
		watched := false
		for _, b := range f.blocks {
			watched = watched || b.tree == t
			for _, n := range b.names {
				for _, l := range n.taken {
					used[l.lineage] = true
				}
			}
		}
		for _, l := range t.lineages {
			if used[l] || len(l.Leaves) == 0 || !watched {
				continue
			}
			if l.Staged && len(l.certificates) == 0 && len(l.Leaves[0].DNSNames) == 0 {
				found = append(found, Finding{
					Code: "unmapped-key", Severity: Error, Place: l.where(),
					What: "no owner takes the staged key of " + l.Name,
					Why:  "a bare key has no names, so nothing tells where it is to be published",
					Fix:  "call the file after an installed lineage or after the host, or write `from " + l.Name + "`",
				})
				continue
			}
			found = append(found, Finding{
				Code: "unused-certificate", Severity: Hint, Place: l.where(),
				What: fmt.Sprintf("no owner takes %s (%s)", l.Name, strings.Join(l.Leaves[0].DNSNames, ", ")),
				Fix:  "add a name line if a service with it is to have TLSA records",
			})
		}
	}
	return found
}

// checkWildcards finds wildcards where hosts come from certificates.
func (f *facts) checkWildcards() (found []Finding) {
	for _, b := range f.blocks {
		for _, n := range b.names {
			if n.Pattern != "" && strings.HasPrefix(n.Host, "*.") && len(n.taken) > 0 {
				found = append(found, Finding{
					Code: "wildcard-certificate", Severity: Hint, Place: n.place,
					What: fmt.Sprintf("%s names %s: that stands for the hosts which the zone or the Corefile has, and for no other",
						n.taken[0].where(), n.Host),
					Fix: "write a name line for each host that exists through a wildcard of the zone only",
				})
			}
		}
	}
	return found
}

// checkKeys finds private keys that the server's user can read.
func (f *facts) checkKeys() (found []Finding) {
	for _, t := range f.trees() {
		if t == nil || t == f.extra {
			continue
		}
		for _, l := range t.lineages {
			if l.PrivateKey == "" {
				continue
			}
			who := "everybody"
			info, err := os.Stat(l.PrivateKey)
			open := err == nil && info.Mode().Perm()&0o004 != 0
			if f.User != nil {
				who, open = f.User.Name, f.User.stops(l.PrivateKey, toRead) == nil
			} else if os.Geteuid() != 0 {
				who, open = "this user", true
			}
			if open {
				found = append(found, Finding{
					Code: "private-key-readable", Severity: Warning, Place: l.PrivateKey,
					What: who + " can read the private key",
					Why:  "the DNS server needs certificates only, and whoever breaks into it would have the key",
					Fix:  "chmod 0600 " + l.PrivateKey + ", or copy only " + filepath.Join(l.Dir, "fullchain.pem") + " to the watched directory",
				})
			}
		}
	}
	return found
}

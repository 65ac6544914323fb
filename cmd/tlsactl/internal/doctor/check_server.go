package doctor

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/miekg/dns"
)

// checkAnswering finds plugins before tlsa that may answer for its names, or change what it answers.
func (f *facts) checkAnswering() (found []Finding) {
	for _, s := range f.servers {
		for _, d := range s.directives("template") {
			if len(d.args) > 1 && (strings.EqualFold(d.args[1], "TLSA") || strings.EqualFold(d.args[1], "ANY")) && s.publishes() {
				found = append(found, Finding{
					Code: "answered-before", Severity: Warning, Place: d.place,
					What: "template " + strings.Join(d.args, " ") + " stands before tlsa and can answer TLSA queries in its place",
					Why:  "clients get its records and not those of the certificates",
					Fix:  "write the types it is for instead of " + d.args[1] + ", or a `match` that leaves out names starting with _",
				})
			}
		}
		for _, d := range s.directives("rewrite") {
			rules := append([]line{{d.place, d.args}}, d.lines...)
			for _, l := range rules {
				if at := slices.Index(l.words, "ttl"); at >= 0 && at < 2 && s.publishes() {
					found = append(found, Finding{
						Code: "rewrite-ttl", Severity: Warning, Place: l.place,
						What: "rewrite " + strings.Join(l.words, " ") + " may change the TTL of TLSA records",
						Why:  "tlsa counts hold and grace by its own ttl, and caches would keep the records for another time",
						Fix:  "restrict the rule to names that do not start with _, or remove it",
					})
				}
			}
		}
	}
	return found
}

// publishes tells whether a tlsa block of the server has names.
func (s *server) publishes() bool {
	return slices.ContainsFunc(s.blocks, func(b *block) bool { return !b.GuardOnly() })
}

// checkCache finds options of *cache* that make copies live longer than their TTL. The names of tlsa are not kept; aliases are.
func (f *facts) checkCache() (found []Finding) {
	for _, s := range f.servers {
		if !s.publishes() {
			continue
		}
		for _, d := range s.directives("cache") {
			for _, l := range d.lines {
				if l.words[0] == "keepttl" {
					found = append(found, Finding{
						Code: "cache-keepttl", Severity: Warning, Place: l.place,
						What: "cache hands out full TTLs from old copies (keepttl)",
						Why: "it leaves the names of tlsa alone, but not the aliases that lead to them, which clients then keep " +
							"longer than hold and grace allow for",
						Fix: "remove keepttl, or let no CNAME of the zone lead to a name of tlsa",
					})
				}
			}
		}
	}
	return found
}

// checkGuards finds signed zones whose denials can be abused, because tlsa is not there to repair them.
func (f *facts) checkGuards() (found []Finding) {
	for _, s := range f.servers {
		if s.has("dnssec") && !s.has("tlsa") && len(behind(s.plugins)) > 0 {
			found = append(found, Finding{
				Code: "unguarded-denials", Severity: Warning, Place: s.directives("dnssec")[0].place,
				What: strings.Join(s.zones, ", ") + " is signed by dnssec, and its server block has no tlsa",
				Why:  "validators read the DS denials of dnssec as unsigned delegations, so who can strip signatures can switch DANE off there",
				Fix:  "add the line `tlsa` to the server block: without names it only repairs denials",
			})
		}
	}
	return found
}

// checkListening looks at addresses and ports.
func (f *facts) checkListening() (found []Finding) {
	taken := map[string]string{}
	for _, s := range f.servers {
		var hosts []string
		place := s.where()
		for _, d := range s.directives("bind") {
			hosts, place = append(hosts, d.args...), d.place
		}
		if len(hosts) == 0 {
			hosts = []string{""}
		}
		for _, port := range s.ports() {
			for _, host := range hosts {
				for _, zone := range s.zones {
					key := fmt.Sprintf("%s on %s port %d", zone, orAll(host), port)
					if other, twice := taken[key]; twice && s.view == "" {
						found = append(found, Finding{
							Code: "zone-twice", Severity: Error, Place: place,
							What: fmt.Sprintf("%s is served at %s already", key, other), Why: "the server does not start",
							Fix: "join the two server blocks, or give one another port or `bind`",
						})
					}
					taken[key] = place
				}
			}
			if f.User != nil && f.User.UID != 0 && port < 1024 {
				found = append(found, Finding{
					Code: "port-privileged", Severity: Hint, Place: place,
					What: fmt.Sprintf("%s may listen on port %d only with the capability to do so", f.User.Name, port),
					Fix:  "AmbientCapabilities=CAP_NET_BIND_SERVICE in the systemd unit, or setcap cap_net_bind_service=+ep on the binary",
				})
			}
		}
		if slices.Contains(s.ports(), 53) && s.publishes() && !slices.ContainsFunc(hosts, func(h string) bool { return !loopback(h) }) {
			found = append(found, Finding{
				Code: "bind-loopback", Severity: Hint, Place: place,
				What: "only this host can ask for " + strings.Join(s.zones, ", "),
				Why:  "DANE clients ask from the whole internet",
				Fix:  "bind a public address, unless a secondary on this host serves the zone",
			})
		}
	}
	return found
}

func orAll(host string) string {
	if host == "" {
		return "every address"
	}
	return host
}

func loopback(host string) bool {
	addr, err := netip.ParseAddr(host)
	return host == "lo" || err == nil && addr.IsLoopback()
}

// checkSigning looks at the keys and zones of *dnssec*.
func (f *facts) checkSigning() (found []Finding) {
	for _, s := range f.servers {
		for _, d := range s.directives("dnssec") {
			zones := s.zones
			if len(d.args) > 0 {
				zones = lower(d.args)
			}
			keys := 0
			for _, l := range d.lines {
				if l.words[0] != "key" {
					continue
				}
				keys += len(l.words) - 2
				if l.word(1) == "file" {
					for _, path := range l.words[2:] {
						found = append(found, f.checkZoneKey(s, l.place, path, zones)...)
					}
				}
			}
			if keys == 0 {
				found = append(found, Finding{
					Code: "dnssec-no-key", Severity: Error, Place: d.place,
					What: "dnssec has no key and signs nothing",
					Why:  "clients ignore TLSA records that are not signed (RFC 7672 2.2)",
					Fix:  "key file PATH, of a key pair that dnssec-keygen or ldns-keygen made",
				})
			}
			for _, b := range s.blocks {
				for _, zone := range b.Zones {
					if !within(zone, zones) && !b.GuardOnly() {
						found = append(found, Finding{
							Code: "unsigned-zone", Severity: Error, Place: d.place,
							What: "dnssec does not sign " + zone + ", for which tlsa publishes",
							Why:  "clients ignore TLSA records that are not signed (RFC 7672 2.2)",
							Fix:  "dnssec " + strings.Join(append(slices.Clone(zones), zone), " ") + " {",
						})
					}
				}
			}
		}
	}
	return found
}

// checkZoneKey looks at one key pair. The private half is not read.
func (f *facts) checkZoneKey(s *server, place, path string, zones []string) (found []Finding) {
	base := below(s.root, strings.TrimSuffix(strings.TrimSuffix(path, ".key"), ".private"))
	bad := func(code, format string, args ...any) {
		found = append(found, Finding{
			Code: code, Severity: Error, Place: place, What: fmt.Sprintf(format, args...), Why: "the server does not start",
			Fix: "write the path of a key pair K" + strings.Join(zones[:min(1, len(zones))], "") + "+ALGORITHM+TAG that the server may read",
		})
	}
	text, err := readFile(base+".key", mostSettings)
	if err == nil {
		rr, parseErr := dns.NewRR(string(text))
		key, ok := rr.(*dns.DNSKEY)
		switch {
		case parseErr != nil || !ok:
			bad("dnssec-key", "%s.key holds no DNSKEY record", base)
		case !slices.ContainsFunc(zones, func(z string) bool { return dns.IsSubDomain(dns.CanonicalName(key.Hdr.Name), z) }):
			bad("dnssec-key-zone", "the key %s of %s can sign none of %s", base, key.Hdr.Name, strings.Join(zones, ", "))
		}
	} else {
		bad("dnssec-key", "%s.key cannot be read: %s", base, cause(err))
	}
	private, err := open(base + ".private")
	if err != nil {
		bad("dnssec-key", "%s.private cannot be read: %s", base, cause(err))
		return found
	}
	private.Close()
	if f.User != nil {
		if b := f.User.stops(base+".private", toRead); b != nil {
			bad("dnssec-key", "%s cannot read %s.private: %s", f.User.Name, base, b)
		}
	}
	return found
}

// checkTransfer looks at what secondaries make of the zone.
func (f *facts) checkTransfer() (found []Finding) {
	for _, s := range f.servers {
		if !s.has("transfer") {
			continue
		}
		place := s.directives("transfer")[0].place
		for _, b := range s.blocks {
			if b.GuardOnly() {
				continue
			}
			if at, written := b.Written["propagation"]; written && b.propagation() == 0 {
				found = append(found, Finding{
					Code: "propagation-zero", Severity: Warning, Place: at.String(),
					What: "propagation is 0s, but secondaries get the zone by transfer",
					Why:  "a key is said to be Ready while they still answer without it",
					Fix:  "remove the line: then the SOA's REFRESH + RETRY count, or write the longest time that a secondary lags",
				})
			}
			found = append(found, b.checkLag()...)
			found = append(found, f.checkSerial(s, b, place)...)
		}
	}
	return found
}

// checkLag compares a written propagation with what the SOA allows a secondary that misses a NOTIFY.
func (b *block) checkLag() (found []Finding) {
	at, written := b.Written["propagation"]
	for _, origin := range b.Zones {
		z := b.server.zoned[origin]
		if !written || z == nil || z.soa == nil || b.propagation() == 0 || b.propagation() >= z.lag() {
			continue
		}
		found = append(found, Finding{
			Code: "propagation-short", Severity: Hint, Place: at.String(),
			What: fmt.Sprintf("propagation is %s, and a secondary of %s that misses a NOTIFY may lag by REFRESH + RETRY, %s",
				rough(b.propagation()), origin, rough(z.lag())),
			Fix: "shorten REFRESH and RETRY in " + z.path + ", or make sure that NOTIFY arrives",
		})
	}
	return found
}

// checkSerial says which serial the zone file needs before tlsa leaves.
func (f *facts) checkSerial(s *server, b *block, place string) (found []Finding) {
	epoch := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	for _, origin := range b.Zones {
		z := s.zoned[origin]
		if z == nil || z.soa == nil || b.Authority != nil {
			continue
		}
		part := max(int64(f.At.Sub(epoch)/time.Second), 0) + 1
		found = append(found, Finding{
			Code: "serial-before-removal", Severity: Hint, Place: place,
			What: fmt.Sprintf("secondaries see a serial of %s that is about %d, above the %d of %s",
				origin, z.soa.Serial+uint32(part), z.soa.Serial, z.path),
			Why: "without tlsa they take the file for older than what they have, and keep the TLSA records for ever",
			Fix: "before tlsa, transfer or the last name is removed, set the serial in the file above the one that `dig SOA " + origin + "` shows then",
		})
	}
	return found
}

// propagation is that of the block's owners, as written.
func (b *block) propagation() time.Duration {
	for _, n := range b.names {
		return n.Policy.Propagation
	}
	return 0
}

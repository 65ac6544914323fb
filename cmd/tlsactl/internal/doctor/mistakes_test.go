package doctor

import (
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"
)

// A mistake is something that goes wrong, and all that doctor says about it above hints.
type mistake struct {
	plant func(w *world)
	codes string // in order
	says  string // a part of one finding
}

// plain makes a mistake of one part of the Corefile.
func plain(old, new string) func(*world) { return func(w *world) { w.swap(old, new) } }

func addLine(text string) func(*world) { return func(w *world) { w.add(text) } }
func option(text string) func(*world)  { return func(w *world) { w.option(text) } }
func inZone(text string) func(*world)  { return func(w *world) { w.zone(text) } }

var corefileMistakes = map[string]mistake{
	"an option that there is not":             {option("certz /x"), "refused", `did you mean "certs"`},
	"a Corefile that ends too early":          {func(w *world) { w.corefile = strings.TrimSuffix(w.corefile, "}\n") }, "refused", "the server does not start"},
	"an import of nothing":                    {func(w *world) { w.add("import nothing") }, "refused", "File to import not found: nothing [the server does not start] {}"},
	"no tlsa at all":                          {func(w *world) { w.corefile = "example.org {\n whoami\n}\n" }, "no-tlsa", "no server block has tlsa"},
	"a key of a server block that is no name": {func(w *world) { w.corefile += "a..b {\n whoami\n}\n" }, "refused", "is not a domain name"},
	"no plugin that serves the zone":          {plain("    file db.example.org\n", ""), "refused", "no plugin after it serves example.org."},
	"a TTL that cannot be signed":             {option("ttl 2h"), "refused", "write at most 1h"},
	"a hold that is too short":                {option("hold 1h"), "refused", "write at least 2h0m0s"},
	"usage 1 for mail":                        {option("as 1 1 1"), "refused", "RFC 7672 3.1.3"},
	"a name outside of the zone":              {option("name _25._tcp.mail.example.net."), "refused", "it is outside of example.org."},
	"a plugin that there is not":              {addLine("filed x"), "plugin-unknown", "no plugin filed"},
	"a plugin of the full build only":         {addLine("forward . 192.0.2.1"), "plugin-not-built", "-tags full"},
	"a template that answers TLSA":            {addLine("template IN TLSA {\n answer \"x\"\n }"), "answered-before", "template IN TLSA"},
	"a rewrite of every TTL":                  {addLine("rewrite ttl regex .* 30"), "rewrite-ttl", "rewrite ttl regex .* 30"},
	"a cache that answers with stale copies":  {addLine("cache {\n serve_stale 1h\n }"), "cache-stale", "serve_stale"},
	"a cache that keeps TTLs":                 {addLine("cache {\n keepttl\n }"), "cache-keepttl", "keepttl"},
	"any":                                     {addLine("any"), "any-unsigned", "remove any"},
	"a signed zone without tlsa": {func(w *world) {
		w.zoneKey("example.net.", "Kexample.net.+013+00002")
		w.corefile += "example.net {\n root DIR\n dnssec {\n key file Kexample.net.+013+00002\n }\n file db.example.net\n}\n"
	}, "unguarded-denials", "add the line `tlsa`"},
	"one zone in two server blocks": {func(w *world) { w.corefile += "example.org {\n bind 192.0.2.53\n whoami\n}\n" }, "zone-twice", "port 53"},
	"no dnssec":                     {plain("    dnssec {\n        key file Kexample.org.+013+00001\n    }\n", ""), "no-dnssec", "clients ignore"},
	"dnssec without a key":          {plain("        key file Kexample.org.+013+00001\n", ""), "dnssec-no-key", "signs nothing"},
	"dnssec for another zone": {func(w *world) {
		w.zoneKey("example.net.", "Kexample.org.+013+00001")
		w.swap("dnssec {", "dnssec example.net {")
	}, "unsigned-zone", "dnssec example.net. example.org. {"},
	"a key that is not there":        {plain("+00001", "+00009"), "dnssec-key", "no such file"},
	"a key without its private half": {func(w *world) { w.must(os.Remove(w.path("Kexample.org.+013+00001.private"))) }, "dnssec-key", ".private cannot be read"},
	"a key file that is none":        {func(w *world) { w.write("Kexample.org.+013+00001.key", "mail A 192.0.2.1") }, "dnssec-key", "no DNSKEY"},
	"a key of another zone":          {func(w *world) { w.zoneKey("example.net.", "Kexample.org.+013+00001") }, "dnssec-key-zone", "can sign none of example.org."},
	"no ledger":                      {plain("ledger run/tlsa.ledger", "rescan 1m"), "no-ledger", "ledger FILE"},
	"a ledger where nothing is":      {plain("run/tlsa", "away/tlsa"), "ledger-directory", "away"},
	"a ledger that is a directory":   {plain("run/tlsa.ledger", "run"), "ledger-directory", "no regular file"},
	"a ledger in memory":             {func(w *world) { w.options.Volatile = func(string) bool { return true } }, "ledger-volatile", "/var/lib"},
	"two blocks of unlike options": {func(w *world) {
		w.corefile += strings.Replace(strings.Replace(w.corefile, "example.org {", "example.org:5353 {", 1), "        next   next\n", "", 1)
	}, "refused", "make them equal"},
	"a control socket anyone can place":   {func(w *world) { w.option("control run/s"); w.chmod("run", 0o777) }, "control-directory", "chmod o-w"},
	"a control socket without a place":    {option("control away/s"), "control-directory", "there is no directory"},
	"a status for everybody":              {option("status 192.0.2.53:80"), "status-exposed", "prefer :80"},
	"propagation 0 with secondaries":      {func(w *world) { w.add("transfer {\n to 192.0.2.54\n }"); w.option("propagation 0") }, "propagation-zero", "secondaries"},
	"a digest of the whole certificate":   {option("as 3 0 1"), "certificate-digest", "prefer 3 1 1"},
	"whole keys":                          {option("as 3 1 0"), "matching-type-full", "prefer 3 1 1"},
	"a bare trust anchor":                 {option("as 2 1 0"), "bare-trust-anchor matching-type-full", "prefer 2 1 1"},
	"more than fits":                      {option("as 3 0 0"), "certificate-digest large-answer matching-type-full", "over 1232"},
	"a missing dot":                       {option("name _25._tcp.mail.example.org"), "host-missing missing-dot no-certificate", "no dot at its end"},
	"an alias target without its lineage": {option("name mx1._dane"), "name-without-from no-certificate", "add from"},
	"authority with servers of its own":   {func(w *world) { w.option("authority ns"); w.swap("    file db.example.org\n", "") }, "glue", "as glue"},
}

var zoneMistakes = map[string]mistake{
	"no zone file":                  {func(w *world) { w.must(os.Remove(w.path("db.example.org"))) }, "zone-file", "no such file"},
	"a zone file with an error":     {inZone("mail A 192.0.2.300"), "zone-file", "192.0.2.300"},
	"a zone file of another zone":   {func(w *world) { w.write("db.example.org", "example.net. 60 IN SOA a. b. 1 2 3 4 5\n") }, "zone-file", "no SOA"},
	"a zone that is signed already": {inZone("@ RRSIG SOA 13 2 3600 20300101000000 20260101000000 1 example.org. AAAA"), "zone-signed", "let dnssec sign"},
	"denials that are kept for a day": {func(w *world) {
		w.write("db.example.org", strings.Replace(soundZone, "1209600 3600", "1209600 86400", 1))
	}, "negative-ttl", "1d"},
	"a name in a delegated zone": {func(w *world) {
		w.zone("sub NS ns.example.net.\nsub DS 1 13 2 AA")
		w.option("name _443._tcp.a.sub from mail.example.org")
	}, "below-cut", "sub.example.org."},
	"TLSA records by hand":       {inZone("_25._tcp.mail TLSA 3 1 1 " + strings.Repeat("ab", 32)), "zone-record", "nobody renews them"},
	"a record at a name of tlsa": {inZone("_tcp.mail TXT hidden"), "zone-hidden", "TXT record at _tcp.mail.example.org."},
	"a host that is an alias": {func(w *world) {
		w.zone("imap CNAME mail.example.net.")
		w.option("name _993._tcp.imap from mail.example.org")
	}, "host-alias", "name _993._tcp.mail.example.net."},
	"a host that the zone's wildcard does not reach": {func(w *world) {
		w.zone("* A 192.0.2.9\nnote TXT x")
		w.option("name _443._tcp.note _443._tcp.any from mail.example.org")
	}, "host-missing", "no address for note.example.org."},
	"the mail domain instead of its MX": {option("name _25._tcp from mail.example.org"), "mail-domain", "name _25._tcp.mail.example.org."},
	"a host that is not in the zone":    {option("name _443._tcp.wwww from mail.example.org"), "host-missing", "wwww.example.org."},
}

var treeMistakes = map[string]mistake{
	"a directory that is not there":      {plain("certs  certs", "certs  certificates"), "missing-root no-certificate", "does not exist"},
	"a directory that anyone can write":  {func(w *world) { w.chmod("certs/mail.example.org", 0o777) }, "no-certificate writable-directory", "chmod o-w"},
	"a directory that a group can write": {func(w *world) { w.chmod("certs", 0o775) }, "group-writable", "chmod g-w"},
	"a file that anyone can write":       {func(w *world) { w.chmod("certs/mail.example.org/fullchain.pem", 0o666) }, "no-certificate writable-file", "chmod o-w"},
	"a file that is no certificate":      {func(w *world) { w.write("certs/mail.example.org/fullchain.pem", "hello") }, "malformed no-certificate", "not published"},
	"an empty file":                      {func(w *world) { w.write("certs/mail.example.org/fullchain.pem", "") }, "empty no-certificate", "is empty"},
	"from that names nothing":            {plain("_25._tcp.mail", "_25._tcp.mail from mial.example.org"), "no-lineage", "write one of: mail.example.org"},
	"a name that no certificate has":     {option("name _443._tcp.www"), "no-certificate", "no watched certificate covers www.example.org."},
	"a wildcard that is one label short": {func(w *world) {
		w.chain("certs/wild/fullchain.pem", issued{names: []string{"*.example.org"}})
		w.zone("a.b A 192.0.2.9")
		w.option("name _443._tcp.a.b")
	}, "no-certificate", "exactly one label"},
	"a chain without its issuer": {func(w *world) {
		w.chain("certs/mail.example.org/fullchain.pem", issued{alone: true})
		w.option("as 2 1 1")
	}, "issuer-missing", "fullchain.pem"},
	"usage 2 for a name that is not in the certificate": {option("name _443._tcp.www from mail.example.org as 2 1 1"), "name-mismatch", "RFC 7671 10.2"},
	"a staged key that nothing takes":                   {func(w *world) { w.publicKey("next/spare.pub") }, "unmapped-key", "from spare"},
	"a private key that everybody can read": {func(w *world) {
		w.privateKey("certs/mail.example.org/privkey.pem", 0o644)
		w.options.User = nil
	}, "private-key-readable", "chmod 0600"},
	"a certificate that has expired": {func(w *world) {
		w.chain("certs/mail.example.org/fullchain.pem", issued{since: now.Add(-91 * day)})
	}, "expired", "RFC 7671 5.1"},
	"an expired certificate under usage 2": {func(w *world) {
		w.chain("certs/mail.example.org/fullchain.pem", issued{since: now.Add(-91 * day)})
		w.option("as 2 1 1")
	}, "expired", "error: expired"},
	"a renewal that did not happen": {func(w *world) {
		w.chain("certs/mail.example.org/fullchain.pem", issued{since: now.Add(-80 * day)})
	}, "renewal-late", "in 10d"},
}

var renewalMistakes = map[string]mistake{
	"certbot with new keys": {func(w *world) {
		w.certbot("le", "mail.example.org", issued{}, w.key(), w.key())
		w.swap("certs  certs\n        next   next", "certs  le/live")
	}, "unstaged-renewal", "reuse_key = True"},
	"lego with new keys": {func(w *world) {
		w.chain("certs/certificates/mail.example.org.crt", issued{})
		w.write("certs/certificates/mail.example.org.json", "{}")
		w.chain("certs/certificates/mail.example.org.issuer.crt", issued{})
		w.must(os.RemoveAll(w.path("certs/mail.example.org")))
		w.swap("        next   next\n", "")
	}, "unstaged-renewal", "--reuse-key"},
	"dehydrated with new keys": {func(w *world) {
		w.chain("dehydrated/certs/mail.example.org/cert-1700000001.pem", issued{})
		w.link("cert-1700000001.pem", "dehydrated/certs/mail.example.org/cert.pem")
		w.swap("certs  certs\n        next   next", "certs  dehydrated/certs")
	}, "unstaged-renewal", `PRIVATE_KEY_ROLLOVER="yes"`},
	// The plugin decodes no private key, so a next one beside the installed one announces nothing by itself.
	"dehydrated with a next key and nothing that publishes it": {func(w *world) {
		w.chain("dehydrated/certs/mail.example.org/cert-1700000001.pem", issued{})
		w.link("cert-1700000001.pem", "dehydrated/certs/mail.example.org/cert.pem")
		w.privateKey("dehydrated/certs/mail.example.org/privkey.roll.pem", 0o600)
		w.swap("certs  certs\n        next   next", "certs  dehydrated/certs")
	}, "unstaged-renewal", "tlsactl hook dehydrated"},
	"acme.sh with a next key and nothing that publishes it": {func(w *world) {
		w.chain("acme/mail.example.org_ecc/fullchain.cer", issued{})
		w.write("acme/mail.example.org_ecc/mail.example.org.conf", "Le_Domain='mail.example.org'\nLe_ForceNewDomainKey='1'\n")
		w.privateKey("acme/mail.example.org_ecc/mail.example.org.key.next", 0o600)
		w.swap("certs  certs\n        next   next", "certs  acme")
	}, "unstaged-renewal", "-d mail.example.org --ecc --reloadcmd"},
	"acme.sh with new keys": {func(w *world) {
		w.chain("acme/mail.example.org_ecc/fullchain.cer", issued{})
		w.write("acme/mail.example.org_ecc/mail.example.org.conf", "Le_Domain='mail.example.org'\nLe_ForceNewDomainKey='1'\n")
		w.swap("certs  certs\n        next   next", "certs  acme")
	}, "unstaged-renewal", "--always-force-new-domain-key"},
	"cert-manager since 1.18": {func(w *world) {
		w.must(os.RemoveAll(w.path("certs/mail.example.org")))
		w.chain("certs/mail/..2026/tls.crt", issued{})
		w.link("..2026", "certs/mail/..data")
		w.link("..data/tls.crt", "certs/mail/tls.crt")
		w.swap("        next   next\n", "")
	}, "unstaged-renewal", "rotationPolicy: Never"},
	"Caddy with new keys": {func(w *world) {
		w.chain("caddy/certificates/acme/mail.example.org/mail.example.org.crt", issued{})
		w.write("caddy/certificates/acme/mail.example.org/mail.example.org.json", "{}")
		w.swap("certs  certs\n        next   next", "certs  caddy/certificates")
	}, "unstaged-renewal", "reuse_private_keys"},
	"a hold of four days for certificates of six": {func(w *world) {
		w.chain("certs/mail.example.org/fullchain.pem", issued{life: 160 * time.Hour})
		w.option("hold 4d")
		w.option("grace 5d")
	}, "time-budget", "lives 6d16h and is renewed 3d8h before it expires"},
	"secondaries that lag for days": {func(w *world) {
		w.chain("certs/mail.example.org/fullchain.pem", issued{life: 160 * time.Hour})
		w.write("db.example.org", strings.Replace(soundZone, "7200 3600", "259200 86400", 1))
		w.add("transfer {\n to 192.0.2.54\n }")
	}, "time-budget", "hold 4d2h"},
	"a hold to which only reading and installing must be added": {func(w *world) {
		w.chain("certs/mail.example.org/fullchain.pem", issued{life: 47 * day})
		w.option("hold 15d15h")
		w.option("grace 16d")
	}, "time-budget", "need 15d16h: 1m more than there is"},
	"a staged certificate that came without its issuer": {func(w *world) {
		w.chain("next/mail.example.org/fullchain.pem", issued{alone: true})
		w.option("as 2 1 1")
	}, "issuer-missing", "next/mail.example.org"},
	"a hold of twelve days for certificates of 47": {func(w *world) {
		w.chain("certs/mail.example.org/fullchain.pem", issued{life: 47 * day})
		w.option("hold 12d")
		w.option("grace 12d")
	}, "time-tight", "lives 47d and is renewed 15d16h before it expires"},
	"a grace of a year for certificates of six days": {func(w *world) {
		w.chain("certs/mail.example.org/fullchain.pem", issued{life: 160 * time.Hour})
		w.option("grace 365d")
	}, "too-many-keys", "grace 33d8h"},
	"a copy that nobody has renewed": {func(w *world) {
		w.certbot("le", "mail.example.org", issued{since: now.Add(-time.Hour)}, w.key())
		w.options.Dirs = []string{w.path("le")}
	}, "stale-copy", "no watched directory has"},
	"copies of what certbot renews with new keys": {func(w *world) {
		w.certbot("le", "mail.example.org", issued{}, w.key(), w.key())
		text, err := os.ReadFile(w.path("le/archive/mail.example.org/fullchain2.pem"))
		w.must(err)
		w.write("certs/mail.example.org/fullchain.pem", string(text))
		w.swap("        next   next\n", "")
		w.options.Dirs = []string{w.path("le")}
	}, "unstaged-renewal", "certbot makes a new key"},
}

var userMistakes = map[string]mistake{
	"certificates that the server cannot read":  {func(w *world) { w.chmod("certs/mail.example.org", 0o700) }, "user-unreadable", "setfacl -m u:coredns:rx"},
	"a certificate that the server cannot read": {func(w *world) { w.chmod("certs/mail.example.org/fullchain.pem", 0o600) }, "user-unreadable", "mode 0600"},
	"a signing key that the server cannot read": {func(w *world) { w.chmod("Kexample.org.+013+00001.private", 0o600) }, "dnssec-key", "coredns cannot read"},
	"a zone that the server cannot read":        {func(w *world) { w.chmod("db.example.org", 0o600) }, "user-unreadable", "the zone file"},
	"a ledger that the server cannot write":     {func(w *world) { w.chmod("run", 0o755) }, "ledger-unwritable", "chown coredns"},
	"a ledger that is another user's":           {func(w *world) { w.write("run/tlsa.ledger", "x") }, "ledger-unwritable", "tlsa.ledger has mode 0644"},
	"a socket that the server cannot make":      {func(w *world) { w.option("control sock/s"); w.must(os.Mkdir(w.path("sock"), 0o755)) }, "control-directory", "chown coredns"},
	"a private key that the server can read":    {func(w *world) { w.privateKey("certs/mail.example.org/privkey.pem", 0o644) }, "private-key-readable", "coredns can read"},
}

func TestEachPlantedMistakeIsFoundAndNothingElse(t *testing.T) {
	for _, group := range []map[string]mistake{corefileMistakes, zoneMistakes, treeMistakes, renewalMistakes, userMistakes} {
		for sentence, row := range group {
			t.Run(sentence, func(t *testing.T) {
				w := newWorld(t)
				if _, user := userMistakes[sentence]; user {
					w.chmod("run", 0o777) // of which only the ledger's row thinks otherwise
					w.options.User = stranger
				}
				row.plant(w)
				r := w.examine()
				if wrong, _ := codes(r); strings.Join(wrong, " ") != row.codes {
					t.Errorf("found %q, want %q", wrong, row.codes)
				}
				if !strings.Contains(tell(r), row.says) {
					t.Errorf("no finding says %q", row.says)
				}
				if t.Failed() {
					t.Log("\n" + tell(r))
				}
			})
		}
	}
}

// A code that no test plants is a promise that nobody has tried.
func TestEveryCodeIsPlanted(t *testing.T) {
	planted := map[string]bool{}
	for _, group := range []map[string]mistake{corefileMistakes, zoneMistakes, treeMistakes, renewalMistakes, userMistakes} {
		for _, row := range group {
			for code := range strings.FieldsSeq(row.codes) {
				planted[code] = true
			}
		}
	}
	for _, row := range soundSetUps {
		for code := range strings.FieldsSeq(row.hints) {
			planted[code] = true
		}
	}
	sources, err := filepath.Glob("*.go")
	if err != nil {
		t.Fatal(err)
	}
	for _, path := range sources {
		if strings.HasSuffix(path, "_test.go") {
			continue
		}
		text, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range regexp.MustCompile(`(?m)(?:Code: |bad\(|^\t\{"[^"]+", )"([a-z-]+)"[,}]`).FindAllStringSubmatch(string(text), -1) {
			if code := m[1]; !planted[code] && !slices.Contains([]string{"mixed-owners", "advice"}, code) {
				t.Errorf("%s: no test plants %q", path, code)
			}
		}
	}
}

package doctor

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/coredns-tlsa/coredns-tlsa/plugin/tlsa/certdir"
	"github.com/coredns-tlsa/coredns-tlsa/plugin/tlsa/corefile"
	"github.com/coredns-tlsa/coredns-tlsa/plugin/tlsa/publish"
)

// soundSetUps are worlds in which nothing is wrong, with the hints that they get.
var soundSetUps = map[string]struct {
	make  func(w *world)
	hints string
}{
	"a lineage and a place for the next": {func(*world) {}, ""},
	"certbot that keeps its keys": {func(w *world) {
		key := w.key()
		w.certbot("le", "mail.example.org", issued{}, key, key)
		w.write("le/renewal/mail.example.org.conf", "[renewalparams]\nreuse_key = True\nrenew_before_expiry = 30 days\n")
		w.swap("certs  certs\n        next   next", "certs  le/live")
	}, ""},
	"certbot whose archive shows kept keys": {func(w *world) {
		key := w.key()
		w.certbot("le", "mail.example.org", issued{}, w.key(), key, key)
		w.swap("certs  certs\n        next   next", "certs  le/live")
	}, ""},
	"acme.sh as it comes": {func(w *world) {
		w.chain("acme/mail.example.org_ecc/fullchain.cer", issued{})
		w.write("acme/mail.example.org_ecc/mail.example.org.conf", "Le_Domain='mail.example.org'\nLe_NextRenewTime='1787270400'\n")
		w.swap("certs  certs\n        next   next", "certs  acme")
	}, ""},
	"dehydrated with a next key": {func(w *world) {
		w.chain("dehydrated/certs/mail.example.org/cert-1700000001.pem", issued{})
		w.link("cert-1700000001.pem", "dehydrated/certs/mail.example.org/cert.pem")
		w.privateKey("dehydrated/certs/mail.example.org/privkey.roll.pem", 0o600)
		w.privateKey("dehydrated/certs/mail.example.org/privkey-1700000001.pem", 0o600)
		w.link("privkey-1700000001.pem", "dehydrated/certs/mail.example.org/privkey.pem")
		w.swap("certs  certs", "certs  dehydrated/certs")
		w.options.User = stranger
		w.chmod("run", 0o777)
	}, "port-privileged"},
	"uacme": {func(w *world) {
		w.must(os.Rename(w.path("certs/mail.example.org"), w.path("certs/other")))
		w.chain("uacme/mail.example.org/cert.pem", issued{})
		w.must(os.MkdirAll(w.path("uacme/private/mail.example.org"), 0o755))
		w.swap("certs  certs\n        next   next", "certs  uacme")
	}, ""},
	"six-day certificates and a TTL of five minutes": {func(w *world) {
		w.chain("certs/mail.example.org/fullchain.pem", issued{life: 160 * time.Hour})
		w.option("ttl 5m")
	}, ""},
	"47-day certificates, usage 2 beside 3": {func(w *world) {
		w.chain("certs/mail.example.org/fullchain.pem", issued{life: 47 * day})
		w.option("as 2 1 1")
		w.option("as 3 1 1")
		w.option("grace notafter")
	}, ""},
	"plain files and no next":    {func(w *world) { w.swap("        next   next\n", "") }, "renewal-unknown"},
	"a primary with secondaries": {func(w *world) { w.add("transfer {\n to 192.0.2.54\n }") }, "serial-before-removal"},
	"a primary that says how long its secondaries lag": {func(w *world) {
		w.add("transfer {\n to 192.0.2.54\n }")
		w.option("propagation 5m")
	}, "propagation-short serial-before-removal"},
	"a zone of aliases' targets": {func(w *world) {
		w.swap("    file db.example.org\n", "")
		w.swap("        name   _25._tcp.mail", "        name customer._dane from mail.example.org\n        authority ns1.example.net.")
	}, ""},
	"hosts from certificates, one of them a wildcard": {func(w *world) {
		w.chain("certs/wild/fullchain.pem", issued{names: []string{"*.example.org", "www.example.org"}})
		w.option("name _443._tcp.*")
	}, "wildcard-certificate"},
	"a certificate that nobody asked for, on this host only": {func(w *world) {
		w.chain("certs/www.example.org/fullchain.pem", issued{names: []string{"www.example.org"}})
		w.swap("192.0.2.53", "127.0.0.1")
	}, "bind-loopback unused-certificate"},
	"a cache, a rewrite of other names and a spare key": {func(w *world) {
		w.add("cache 300")
		w.add("rewrite name old.example.org www.example.org")
		w.option("pin _25._tcp.mail 3 1 1 " + strings.Repeat("ab", 32))
		w.publicKey("next/mail.example.org.pub")
	}, ""},
}

func TestSoundSetUpsGetHintsAtMost(t *testing.T) {
	for sentence, row := range soundSetUps {
		t.Run(sentence, func(t *testing.T) {
			w := newWorld(t)
			row.make(w)
			r := w.examine()
			wrong, hints := codes(r)
			if len(wrong) > 0 || strings.Join(hints, " ") != row.hints {
				t.Errorf("found %q and the hints %q, want %q\n%s", wrong, hints, row.hints, tell(r))
			}
			if r.Wrong() != (len(wrong) > 0) || r.Names == 0 || r.Certificates == 0 {
				t.Errorf("wrong %v, %d names, %d certificates", r.Wrong(), r.Names, r.Certificates)
			}
		})
	}
}

func TestDemonstrationIsSound(t *testing.T) {
	t.Chdir("../../../..")
	r, err := Examine(Options{Corefile: "Corefile.example", At: now, Volatile: func(string) bool { return false }})
	if err != nil {
		t.Fatal(err)
	}
	if len(r.Findings) > 0 || r.Names != 1 || r.Certificates == 0 {
		t.Errorf("%d names, %d certificates\n%s", r.Names, r.Certificates, tell(r))
	}
}

func TestExamplesOfTheDocumentationAreSound(t *testing.T) {
	fence := regexp.MustCompile("(?ms)^(?:```|~~~) *(?:corefile)?$\n([a-z_.:0-9]+ \\{$\n.*?)^(?:```|~~~)$")
	n := 0
	for _, page := range []string{"../../../../README.md", "../../../../plugin/tlsa/README.md"} {
		text, err := os.ReadFile(page)
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range fence.FindAllStringSubmatch(string(text), -1) {
			n++
			t.Run(fmt.Sprint(n), func(t *testing.T) {
				w := newWorld(t)
				w.corefile = regexp.MustCompile(`(\s)/(etc|var)/`).ReplaceAllString(m[1], "${1}DIR/$2/")
				w.swap(" {\n", " {\n root DIR\n")
				for _, key := range regexp.MustCompile(`key file (\S+)`).FindAllStringSubmatch(w.corefile, -1) {
					base := strings.TrimPrefix(key[1], "DIR/")
					zone, _, _ := strings.Cut(filepath.Base(base)[1:], "+")
					w.zoneKey(zone, base)
				}
				for _, dir := range []string{"certs", "var/lib/dane-certs"} {
					w.chain(dir+"/mail.example.org/fullchain.pem", issued{names: []string{"mail.example.org", "xmpp.example.org"}})
					w.chain(dir+"/www.example.org/fullchain.pem", issued{names: []string{"www.example.org"}})
				}
				w.write("etc/coredns/db.example.org", soundZone)
				w.must(os.MkdirAll(w.path("var/lib/coredns"), 0o755))
				r := w.examine()
				if wrong, _ := codes(r); len(wrong) > 0 {
					t.Errorf("found %q\n%s%s", wrong, tell(r), m[1])
				}
			})
		}
	}
	if n < 10 {
		t.Errorf("%d examples", n)
	}
}

func TestDirectoryOfSeveralUsersNeedsFrom(t *testing.T) {
	tree := &tree{found: certdir.Changes{Roots: []*certdir.Root{{Path: "/certs", MixedOwners: true}}}}
	by := publish.Owner{Name: "_25._tcp.mail.example.org.", Host: "mail.example.org."}
	from := publish.Owner{Name: "_26._tcp.mail.example.org.", Host: "mail.example.org.", From: []string{"mail"}}
	b := &block{Block: &corefile.Block{}, tree: tree, names: []name{{Share: publish.Share{Owner: by}}, {Share: publish.Share{Owner: from}}}}
	found := b.checkMixed()
	if len(found) != 1 || found[0].Code != "mixed-owners" || !strings.Contains(found[0].Fix, "name _25._tcp.mail.example.org. from LINEAGE") {
		t.Errorf("found %+v", found)
	}
}

package tlsa

import (
	"crypto/ecdsa"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/coredns/caddy"

	"github.com/coredns-tlsa/coredns-tlsa/plugin/tlsa/ledger"
	"github.com/coredns-tlsa/coredns-tlsa/plugin/tlsa/rollover"

	"github.com/miekg/dns"
)

// The times of a site, as short as they can be: `ttl` 1s makes 2s the least.
const (
	hold   = 2 * time.Second
	grace  = 3 * time.Second
	rescan = time.Second
	notice = 2 * time.Second // from a change on disk to the answer: the figure aimed at
)

// siteZone is the zone behind tlsa; other records may follow.
const siteZone = `$ORIGIN %s
$TTL 1h
@        IN SOA ns hostmaster 2026010101 7200 3600 1209600 300
         IN NS  ns
ns       IN A   192.0.2.1
mail     IN A   192.0.2.25
`

// A site is a zone with its files and the server in front of them.
type site struct {
	*testing.T
	zone, host, owner string
	begun             int // where the log of this site begins
	dir               string
	issuer            *issuer
	signer            *dns.DNSKEY

	// What the Corefile says, to be changed before start or reload.
	port, before, options, after string
	more                         string // other server blocks
	text                         string // instead of all that

	instance *caddy.Instance
	udp, tcp string
}

// newSite prepares a zone of its own: timelines and metrics of one process must not meet.
func newSite(t *testing.T, zone string) *site {
	t.Helper()
	s := &site{T: t, zone: zone, host: "mail." + zone, owner: "_25._tcp.mail." + zone, dir: t.TempDir(), issuer: newIssuer(t), port: "0", begun: captured.end()}
	s.mkdir("certs")
	s.mkdir("next")
	s.write("db", fmt.Sprintf(siteZone, zone))
	s.write("other", fmt.Sprintf(siteZone, "other."+zone))
	s.signer = s.newSigner("K")
	s.options = "certs certs\nnext next\nname _25._tcp.mail\nttl 1s\nhold 2s\ngrace 3s\nrescan 1s\nledger tlsa.ledger\n"
	s.before, s.after = "dnssec {\nkey file K\n}\n", "file db\n"
	t.Cleanup(func() {
		if t.Failed() {
			lines := s.log()
			t.Logf("the end of the log:\n%s", strings.Join(lines[max(0, len(lines)-30):], "\n"))
		}
		s.stop()
	})
	return s
}

func (s *site) newSigner(name string) *dns.DNSKEY {
	s.Helper()
	key := &dns.DNSKEY{
		Hdr:   dns.RR_Header{Name: s.zone, Rrtype: dns.TypeDNSKEY, Class: dns.ClassINET, Ttl: 3600},
		Flags: 257, Protocol: 3, Algorithm: dns.ECDSAP256SHA256,
	}
	private, err := key.Generate(256)
	if err != nil {
		s.Fatal(err)
	}
	s.write(name+".key", key.String()+"\n")
	s.write(name+".private", key.PrivateKeyString(private))
	return key
}

// corefile is the server's configuration as it stands.
func (s *site) corefile() string {
	if s.text != "" {
		return s.text
	}
	return fmt.Sprintf("%s:%s {\nbind 127.0.0.1\nroot %s\nerrors\n%s\ntlsa {\n%s}\n%s}\n%s",
		s.zone, s.port, s.dir, s.before, s.options, s.after, s.more)
}

// starts lets one server start, reload or stop at a time: caddy expects no other use.
var starts sync.Mutex

// taken are the addresses of the servers that run. CoreDNS shares its ports (SO_REUSEPORT), so the system may give a port for 0
// that another server has already. starts guards it.
var taken = map[string]*site{}

// take notes the addresses of s, and tells whether they are its own.
func (s *site) take() bool {
	for _, address := range []string{"udp " + s.udp, "tcp " + s.tcp} {
		if other := taken[address]; other != nil && other != s {
			return false
		}
	}
	s.release()
	taken["udp "+s.udp], taken["tcp "+s.tcp] = s, s
	return true
}

func (s *site) release() {
	maps.DeleteFunc(taken, func(_ string, o *site) bool { return o == s })
}

func (s *site) input() caddy.Input {
	return caddy.CaddyfileInput{Filepath: "Corefile", Contents: []byte(s.corefile()), ServerTypeName: "dns"}
}

func (s *site) tryStart() error {
	starts.Lock()
	defer starts.Unlock()
	for {
		in, err := caddy.Start(s.input())
		if err != nil {
			return err
		}
		s.use(in)
		if s.take() {
			return nil
		}
		s.halt()
	}
}

func (s *site) start() {
	s.Helper()
	if err := s.tryStart(); err != nil {
		s.Fatalf("%v in:\n%s", err, s.corefile())
	}
}

func (s *site) use(in *caddy.Instance) {
	s.instance = in
	for _, server := range in.Servers() {
		s.udp, s.tcp = server.LocalAddr().String(), server.Addr().String()
	}
}

func (s *site) tryReload() error {
	starts.Lock()
	defer starts.Unlock()
	in, err := s.instance.Restart(s.input())
	if err == nil {
		s.use(in)
	}
	return err
}

func (s *site) reload() {
	s.Helper()
	if err := s.tryReload(); err != nil {
		s.Fatalf("%v in:\n%s", err, s.corefile())
	}
}

// stop does what a SIGTERM does.
func (s *site) stop() {
	s.Helper()
	starts.Lock()
	defer starts.Unlock()
	if s.instance == nil {
		return
	}
	s.release()
	s.halt()
}

func (s *site) halt() {
	for _, err := range append(s.instance.ShutdownCallbacks(), s.instance.Stop()) {
		if err != nil {
			s.Errorf("stopping: %v", err)
		}
	}
	s.instance = nil
}

func (s *site) path(name string) string { return filepath.Join(s.dir, filepath.FromSlash(name)) }

func (s *site) must(err error) {
	s.Helper()
	if err != nil {
		s.Fatal(err)
	}
}

func (s *site) mkdir(name string) {
	s.Helper()
	s.must(os.MkdirAll(s.path(name), 0o755))
}

func (s *site) write(name, contents string) {
	s.Helper()
	s.mkdir(filepath.Dir(name))
	s.must(os.WriteFile(s.path(name), []byte(contents), 0o644))
}

// install puts a file in its place by renaming, as every careful client does.
func (s *site) install(name, contents string) {
	s.Helper()
	hidden := filepath.Join(filepath.Dir(name), ".hidden")
	s.write(hidden, contents)
	s.must(os.Rename(s.path(hidden), s.path(name)))
}

// exchange asks the server once.
func (s *site) exchange(network, name string, qtype uint16, do bool) (*dns.Msg, error) {
	m := new(dns.Msg)
	m.SetQuestion(name, qtype)
	if do {
		m.SetEdns0(4096, true)
	}
	address := s.udp
	if network == "tcp" {
		address = s.tcp
	}
	client := dns.Client{Net: network, Timeout: 20 * time.Second}
	r, _, err := client.Exchange(m, address)
	if err != nil {
		return nil, fmt.Errorf("asking for %s %s over %s: %w", name, dns.TypeToString[qtype], network, err)
	}
	return r, nil
}

func (s *site) ask(name string, qtype uint16, do bool) *dns.Msg {
	s.Helper()
	r, err := s.exchange("udp", name, qtype, do)
	s.must(err)
	return r
}

// published gives the owner's records as "3 1 1 hex"; anything but an authoritative answer fails.
func (s *site) published(owner string) []string {
	s.Helper()
	r := s.ask(owner, dns.TypeTLSA, false)
	set, err := rrset(r, owner)
	if err != nil {
		s.Fatal(err)
	}
	return set
}

func rrset(r *dns.Msg, owner string) ([]string, error) {
	if r.Rcode != dns.RcodeSuccess || !r.Authoritative || len(r.Answer) == 0 {
		return nil, fmt.Errorf("no authoritative answer with records, but:\n%s", r)
	}
	var set []string
	for _, rr := range r.Answer {
		switch rr := rr.(type) {
		case *dns.TLSA:
			if rr.Hdr.Name != owner {
				return nil, fmt.Errorf("a record of another name:\n%s", r)
			}
			set = append(set, fmt.Sprintf("%d %d %d %s", rr.Usage, rr.Selector, rr.MatchingType, rr.Certificate))
		case *dns.RRSIG:
		default:
			return nil, fmt.Errorf("a record of another type:\n%s", r)
		}
	}
	return set, nil
}

// serves tells whether exactly these records are published, in any order.
func (s *site) serves(owner string, want ...string) bool {
	s.Helper()
	return slices.Equal(slices.Sorted(slices.Values(s.published(owner))), slices.Sorted(slices.Values(want)))
}

func (s *site) expect(want ...string) {
	s.Helper()
	if !s.serves(s.owner, want...) {
		s.Fatalf("published is %q, not %q", s.published(s.owner), want)
	}
}

// becomes waits until exactly these records are published.
func (s *site) becomes(figure time.Duration, want ...string) {
	s.Helper()
	until(s, figure, fmt.Sprintf("%q", want), func() bool { return s.serves(s.owner, want...) })
}

// log gives what the log says of the site, of that the lines that hold all of the words.
func (s *site) log(words ...string) []string {
	return slices.DeleteFunc(captured.about(s.begun, words...), func(line string) bool {
		return !strings.Contains(line, "."+s.zone) && !strings.Contains(line, s.dir)
	})
}

func (s *site) state(state rollover.State) int {
	return int(gauges(s, "coredns_tlsa_associations", s.zone, "state")[state.String()])
}

func (s *site) ungated() int { return int(gauges(s, "coredns_tlsa_ungated", s.zone, "view")[""]) }

// problem counts the open problems of any of the reasons.
func (s *site) problem(reasons ...rollover.Reason) int {
	n := 0.0
	for reason, v := range gauges(s, "coredns_tlsa_problems", s.zone, "reason") {
		if slices.Contains(reasons, rollover.Reason(reason)) {
			n += v
		}
	}
	return int(n)
}

// timeline reads an owner's timeline from the ledger, which the server in this process has open; nil if it has none.
func (s *site) timeline(owner, view string) *rollover.Timeline {
	s.Helper()
	store, err := ledger.Open(s.path("tlsa.ledger"))
	s.must(err)
	defer func() { s.must(store.Close()) }()
	all, err := store.Load(s.zone + "|" + view)
	s.must(err)
	return all[owner]
}

// recorded is the timeline of the site's owner, which must be there.
func (s *site) recorded() *rollover.Timeline {
	s.Helper()
	t := s.timeline(s.owner, "")
	if t == nil {
		s.Fatalf("the ledger has nothing of %s", s.owner)
	}
	return t
}

// place is where the certificate of a key lies when nothing else is said.
const place = "certs/mail/fullchain.pem"

func (s *site) chain(key *ecdsa.PrivateKey) string {
	s.Helper()
	return s.issuer.chain(s, key, strings.TrimSuffix(s.host, "."))
}

package publish

import (
	"crypto/sha256"
	"encoding/hex"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"
	"time"
	"unicode"

	"github.com/coredns-tlsa/coredns-tlsa/plugin/tlsa/certdir"
	"github.com/coredns-tlsa/coredns-tlsa/plugin/tlsa/certdir/hostiletest"

	"github.com/miekg/dns"
)

const (
	badHost  = "bad.example.org"
	badOwner = "_25._tcp.bad.example.org."
)

// A siege is a publisher with the real watcher over real directories: good lineages in every layout, and one hostile case.
type siege struct {
	*testing.T
	*fortress
	dir string
	log *journal
	p   *Publisher
	// want is what must be served, by owner; read by name.
	want map[string]map[string]bool
}

// A fortress is what all sieges of a test share: the authority and the good certificates, one for each layout.
type fortress struct {
	world *hostiletest.World
	goods []*hostiletest.Subject
}

func newFortress() *fortress {
	f := &fortress{world: hostiletest.NewWorld()}
	for i := range hostiletest.Layouts() {
		f.goods = append(f.goods, f.world.Issue("good"+strconv.Itoa(i)+".example.org"))
	}
	return f
}

// besiege runs f under fake time. Real events need real time; here sweeps find what changed, by the same marks.
func besiege(t *testing.T, fort *fortress, owners []Owner, f func(*siege)) {
	t.Helper()
	dir, err := filepath.EvalSymlinks(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	synctest.Test(t, func(t *testing.T) {
		s := &siege{T: t, fortress: fort, dir: dir, log: &journal{}, want: map[string]map[string]bool{}}
		for _, name := range []string{"certs/case", "next/case"} {
			s.must(os.MkdirAll(filepath.Join(dir, name), 0o755))
		}
		s.defend(owners)
		f(s)
		s.p.Stop()
	})
}

func (s *siege) must(err error) {
	s.Helper()
	if err != nil {
		s.Fatal(err)
	}
}

// defend puts the good lineages in place and starts.
func (s *siege) defend(owners []Owner) {
	s.Helper()
	for i, layout := range hostiletest.Layouts() {
		host := "good" + strconv.Itoa(i) + ".example.org"
		dir := filepath.Join(s.dir, "certs", "good"+strconv.Itoa(i))
		c := &hostiletest.Case{World: s.world, Host: host, Zone: "example.org", Certs: dir}
		good := s.goods[i]
		s.must(layout.PutGood(c, good))
		owners = append(owners, siegeOwner("_25._tcp."+host+"."))
		s.expect("_25._tcp."+host+".", good.SPKI)
		s.expect("_443._tcp."+host+".", good.SPKI)
	}
	slices.SortFunc(owners, func(a, b Owner) int { return strings.Compare(a.Name, b.Name) })
	cfg := config(owners...)
	cfg.Ledger, cfg.View = "", s.Name() // sieges run beside each other: a view of its own keeps each from taking over
	cfg.Certs, cfg.Next = []string{s.dir + "/certs"}, []string{s.dir + "/next"}
	cfg.Patterns = []Owner{{Name: "_443._tcp.*.example.org.", Host: "*.example.org.", Policy: policy()}}
	s.p = New(cfg, &zoneData{view: ZoneView{Known: true}, serial: 1}, s.log, s.log)
	s.p.watch = func(c certdir.Config) watcher {
		c.NoEvents = true
		return certdir.New(c)
	}
	s.must(s.p.Prepare())
	s.p.Start()
	s.p.Inherit()
}

func siegeOwner(name string) Owner {
	_, host, _ := strings.Cut(name, "_tcp.")
	return Owner{Name: name, Host: host, Policy: policy()}
}

func (s *siege) expect(owner string, spki []byte) {
	if s.want[owner] == nil {
		s.want[owner] = map[string]bool{}
	}
	sum := sha256.Sum256(spki)
	s.want[owner][hex.EncodeToString(sum[:])] = true
}

// sweeps lets a sweep come, and what it finds be read: even a file that lacks the issuers it had.
func (s *siege) sweeps() {
	<-time.After(66*time.Second + quiet + maxQuiet + time.Second)
	synctest.Wait()
}

// served gives the digests at every owner that there is.
func (s *siege) served() map[string]map[string]bool {
	s.p.mu.Lock()
	defer s.p.mu.Unlock()
	served := map[string]map[string]bool{}
	for _, o := range s.p.owners {
		e, ok := s.p.Table().Lookup(o.name())
		if !ok || e.Set == nil || e.Set.Len() == 0 {
			continue
		}
		served[o.name()] = map[string]bool{}
		for _, rr := range e.Set.RRs(o.name()) {
			served[o.name()][rr.(*dns.TLSA).Certificate] = true
		}
	}
	return served
}

// verify compares everything that is served with what must be.
func (s *siege) verify(when string) {
	s.Helper()
	got := s.served()
	for _, owner := range slices.Sorted(maps.Keys(s.want)) {
		if !maps.Equal(got[owner], s.want[owner]) {
			s.Errorf("%s: %s has %d records %.8v, want %.8v", when, owner, len(got[owner]),
				slices.Sorted(maps.Keys(got[owner])), slices.Sorted(maps.Keys(s.want[owner])))
		}
		delete(got, owner)
	}
	if len(got) > 0 {
		s.Errorf("%s: served is also %.300q", when, slices.Sorted(maps.Keys(got)))
	}
}

// open gives the problems of files and directories that are open.
func (s *siege) open() []OpenProblem {
	s.p.mu.Lock()
	defer s.p.mu.Unlock()
	var all []OpenProblem
	for source, ps := range s.p.problems.bySource {
		if strings.Contains(source, "/") {
			all = append(all, ps...)
		}
	}
	return all
}

// complaint checks that exactly this reason is open, and that it says which file, why and what to do.
func (s *siege) complaint(when, reason string) {
	s.Helper()
	open := s.open()
	if reason == hostiletest.Anything {
		return
	}
	found := false
	for _, p := range open {
		found = found || string(p.Reason) == reason
		if string(p.Reason) != reason {
			s.Errorf("%s: there is a problem of %s: %q", when, p.Reason, p.Text)
		}
		names := strings.Contains(p.Text, s.dir) || strings.Contains(p.Text, "/proc/") || strings.Contains(p.Text, "/dev/")
		advises := strings.ContainsFunc(p.Text, func(r rune) bool { return r == ':' }) &&
			slices.ContainsFunc([]string{"write", "move", "mend", "put", "chmod", "let ", "configure", "remove", "tried again"},
				func(verb string) bool { return strings.Contains(p.Text, verb) })
		if !names || !advises {
			s.Errorf("%s: it does not say which file and what to do: %q", when, p.Text)
		}
	}
	if !found && reason != "" {
		s.Errorf("%s: no problem of %s is open", when, reason)
	}
}

// quiet checks that the log is one of lines that can be shown, each of them once.
func (s *siege) quiet() {
	s.Helper()
	said := map[string]int{}
	for _, line := range s.log.take() {
		if strings.ContainsFunc(line, func(r rune) bool { return !unicode.IsPrint(r) }) {
			s.Errorf("the log has characters that cannot be shown: %q", line)
		}
		if said[line]++; said[line] == 2 && strings.HasPrefix(line, "WARN") && !strings.Contains(line, "UNGATED") {
			s.Errorf("told twice: %s", line)
		}
	}
}

// assault is one kind: fresh, then the good file, the bad one over it, and the renewal.
func (s *siege) assault(k *hostiletest.Kind) {
	s.Helper()
	c := hostiletest.NewCase(s.world, badHost, "example.org", s.dir+"/certs/case", s.dir+"/next/case")
	gives := func() {
		if k.Gives == hostiletest.ItsKey {
			s.expect(badOwner, c.Key)
		}
		switch {
		case k.Hosts != nil:
			for _, host := range k.Hosts(c) {
				s.expect("_443._tcp."+host+".", c.Key)
			}
		case k.Gives == hostiletest.ItsKey && k.Named():
			s.expect("_443._tcp."+badHost+".", c.Key)
		}
	}
	put := func(subject *hostiletest.Subject) {
		s.must(k.Put(c, subject))
		s.expect(badOwner, subject.SPKI)
		if k.Named() {
			s.expect("_443._tcp."+badHost+".", subject.SPKI)
		}
		s.sweeps()
	}
	s.must(k.Drop(c))
	s.sweeps()
	gives()
	s.verify("fresh")
	s.complaint("fresh", k.Fresh)
	put(c.Good)
	s.verify("mended")
	s.complaint("mended", "")
	if k.Carrier != nil {
		s.must(k.Drop(c))
		s.sweeps()
		gives()
		s.verify("over a good file")
		s.complaint("over a good file", k.Over)
		put(s.world.Issue(badHost))
		s.verify("renewed")
		s.complaint("renewed", "")
	}
	s.quiet()
}

func TestHostileKindsPublishNothingWrongAndLoseNothingRight(t *testing.T) {
	kinds, names := hostiletest.Kinds(), map[string]bool{}
	fort := newFortress()
	for i := range kinds {
		k := &kinds[i]
		if names[k.Name] {
			t.Fatalf("two kinds are called %q", k.Name)
		}
		names[k.Name] = true
		t.Run(k.Name, func(t *testing.T) {
			t.Parallel()
			besiege(t, fort, []Owner{siegeOwner(badOwner)}, func(s *siege) {
				s.verify("before")
				s.assault(k)
			})
		})
	}
	if len(kinds) < 300 {
		t.Errorf("only %d kinds", len(kinds))
	}
	t.Logf("%d kinds", len(kinds))
}

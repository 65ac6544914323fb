//go:build referee && linux && amd64

package publish

import (
	"crypto/sha256"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/coredns-tlsa/coredns-tlsa/plugin/tlsa/ledger"
	"github.com/coredns-tlsa/coredns-tlsa/plugin/tlsa/rollover"
)

// A promise is what a ledger owes after the power was cut: built from what the child told until then.
type promise struct {
	// records gives for each block and owner what may be there: first what was acknowledged last, then what was tried since.
	records map[ownerOf][]string
	rrsets  map[string][]string // by record
	shown   map[int]map[string][]string
	trying  *note
	service time.Duration
	serial  uint32
	told    bool              // something was acknowledged
	partly  bool              // of the last ledger that was compared
	doubted bool              // the ledger was damaged or lost at first
	vouched map[string]string // by block of such a ledger, what was told of it
	origins []ledger.Origin
	canon   func(*rollover.Timeline) string
}

type ownerOf struct{ block, owner string }

// missing is the record of an owner that the ledger does not have.
const missing = ""

func newPromise() *promise {
	return &promise{
		records: map[ownerOf][]string{}, rrsets: map[string][]string{}, shown: map[int]map[string][]string{},
		origins: []ledger.Origin{ledger.Fresh, ledger.Intact}, canon: canon(), vouched: map[string]string{},
	}
}

func (p *promise) take(n *note) {
	switch n.Kind {
	case "commit":
		p.trying = n
		for _, r := range n.Records {
			id := ownerOf{n.Block, r.Owner}
			if p.records[id] == nil {
				p.records[id] = []string{missing}
			}
			p.records[id] = append(p.records[id], p.enter(r))
		}
	case "done":
		if !n.Failed {
			p.acknowledge()
		}
		p.trying = nil
	case "vouch", "vouched":
		p.vouched[n.Block] = n.Kind
	case "shown":
		p.shown[n.N] = n.Shown
	case "stopped":
		delete(p.shown, n.N)
	}
}

func (p *promise) enter(r recordNote) string {
	if r.Gone {
		return missing
	}
	k := p.canon(p.undated(&r.Timeline))
	p.rrsets[k] = rrset(&r.Timeline)
	return k
}

func rrset(t *rollover.Timeline) []string {
	var all []string
	for _, a := range t.RRset() {
		all = append(all, fmt.Sprintf("%x", a.Data))
	}
	return all
}

func (p *promise) acknowledge() {
	for _, r := range p.trying.Records {
		id := ownerOf{p.trying.Block, r.Owner}
		may := p.records[id]
		p.excuse(r, p.rrsets[may[0]])
		p.records[id] = may[len(may)-1:]
	}
	p.service, p.serial = max(p.service, p.trying.Service), max(p.serial, p.trying.Part)
	p.told = true
	p.origins = []ledger.Origin{ledger.Intact}
}

// excuse forgets that something was shown which a commit takes away: it goes from the answers a moment later.
func (p *promise) excuse(r recordNote, before []string) {
	if r.Gone {
		return
	}
	stays := rrset(&r.Timeline)
	for _, shown := range p.shown {
		shown[r.Owner] = slices.DeleteFunc(slices.Clone(shown[r.Owner]), func(data string) bool {
			return slices.Contains(before, data) && !slices.Contains(stays, data)
		})
	}
}

// A verdict is how the recovery of one state ended.
type verdict struct {
	origin ledger.Origin
	faults []string
	partly bool // it has some transactions of the last commit, and not all
}

// recoverFrom puts a state down in a directory of its own, and opens it as a start of the server does.
func (p *promise) recoverFrom(dir string, files map[string][]byte, again bool) (v verdict, err error) {
	if dir, err = os.MkdirTemp(dir, ""); err != nil {
		return v, err
	}
	defer func() { _ = os.RemoveAll(dir) }()
	for name, data := range files {
		if err := os.WriteFile(filepath.Join(dir, name), data, 0o600); err != nil {
			return v, err
		}
	}
	path := filepath.Join(dir, "tlsa.ledger")
	s, err := ledger.Open(path)
	if err != nil {
		v.faults = append(v.faults, err.Error())
		return v, nil
	}
	v.origin = s.Origin()
	if !slices.Contains(p.origins, v.origin) {
		v.faults = append(v.faults, fmt.Sprintf("it is %s, want one of %s: %s", v.origin, p.origins, s.Notice()))
	}
	v.faults = append(v.faults, p.compare(s)...)
	v.partly = p.partly
	if again {
		v.faults = append(v.faults, goesOn(s, path)...)
	} else if err := s.Close(); err != nil {
		v.faults = append(v.faults, err.Error())
	}
	return v, nil
}

// compare gives what a ledger lacks of the promise.
func (p *promise) compare(s *ledger.Store) (faults []string) {
	bad := func(format string, args ...any) { faults = append(faults, fmt.Sprintf(format, args...)) }
	if part, err := s.Serial(); err != nil || part < p.serial {
		bad("serial part %d after %d was told: %v", part, p.serial, err)
	}
	if now := s.Now().Service; now < p.service {
		bad("time of service %s after %s was told", now, p.service)
	}
	blocks, err := s.Blocks()
	if err != nil {
		return append(faults, err.Error())
	}
	found := map[ownerOf]string{}
	for _, block := range blocks {
		all, err := s.Load(block)
		if err != nil {
			return append(faults, err.Error())
		}
		for owner, t := range all {
			found[ownerOf{block, owner}] = p.canon(p.undated(t))
		}
		if vouches, told := s.Vouches(block), p.vouched[block]; p.doubted && (vouches && told == "" || !vouches && told == "vouched") {
			bad("of %s it vouches: %t, told: %q", block, vouches, told)
		}
	}
	for id := range found {
		if p.records[id] == nil {
			bad("%v was never recorded", id)
		}
	}
	return append(append(faults, p.torn(found)...), p.lost(found)...)
}

// undated gives a timeline that is doubted since some moment as one that is since the beginning of time.
func (p *promise) undated(t *rollover.Timeline) *rollover.Timeline {
	if !p.doubted || slices.ContainsFunc(t.Associations, func(a rollover.Times) bool { return !a.PublishedAt.IsZero() }) {
		return t
	}
	d := t.Doubted(rollover.Stamp{})
	return &d
}

// inTransaction is how many owners a ledger records at once (ledger.Store.Commit).
const inTransaction = 2048

// torn wants each owner to be as it was told or tried, and of the commit that was being tried all owners of a transaction or
// none, and none of a later one than that.
func (p *promise) torn(found map[ownerOf]string) (faults []string) {
	for id, may := range p.records {
		if !slices.Contains(may, found[id]) {
			faults = append(faults, fmt.Sprintf("%v is neither what was told durable nor what was tried since", id))
		}
	}
	if p.partly = false; p.trying == nil {
		return faults
	}
	recorded, missed := 0, 0
	for part := range slices.Chunk(p.trying.Records, inTransaction) {
		before, after := 0, 0
		for _, r := range part {
			id := ownerOf{p.trying.Block, r.Owner}
			may := p.records[id]
			switch now := found[id]; {
			case len(may) > 2 || may[0] == may[1]:
			case now == may[0]:
				before++
			default:
				after++
			}
		}
		if after > 0 && before+missed > 0 {
			faults = append(faults, fmt.Sprintf("of one transaction %d owners are recorded and %d are not, and %d of those before", after, before, missed))
		}
		recorded, missed = recorded+after, missed+before
	}
	p.partly = recorded > 0 && missed > 0
	return faults
}

// lost wants all that queries could see to be recorded, but for what a commit takes away that was told or tried.
func (p *promise) lost(found map[ownerOf]string) (faults []string) {
	recorded, tried := map[string][]string{}, map[string]bool{}
	for id, k := range found {
		recorded[id.owner] = append(recorded[id.owner], p.rrsets[k]...)
	}
	for id, may := range p.records {
		if len(may) > 1 && found[id] != may[0] {
			tried[id.owner] = true
		}
	}
	for _, shown := range p.shown {
		for owner, all := range shown {
			for _, data := range all {
				if !slices.Contains(recorded[owner], data) && !tried[owner] {
					faults = append(faults, fmt.Sprintf("%s showed %.12s, and the ledger does not have it", owner, data))
				}
			}
		}
	}
	return faults
}

// goesOn wants a recovered ledger to take a commit and to have it after another start.
func goesOn(s *ledger.Store, path string) (faults []string) {
	bad := func(err error) {
		if err != nil {
			faults = append(faults, "going on: "+err.Error())
		}
	}
	bad(s.Commit("new|", map[string]*rollover.Timeline{mail: {TTL: 77}}))
	bad(s.Close())
	s, err := ledger.Open(path)
	if bad(err); err != nil {
		return faults
	}
	got, err := s.Load("new|")
	if bad(err); err == nil && (s.Origin() != ledger.Intact || len(got) != 1 || got[mail].TTL != 77) {
		faults = append(faults, fmt.Sprintf("going on: %s with %d new owners", s.Origin(), len(got)))
	}
	bad(s.Close())
	return faults
}

// digest is the same for states and promises that are the same.
func (p *promise) digest(files map[string][]byte, point int) [32]byte {
	h := sha256.New()
	for _, name := range slices.Sorted(maps.Keys(files)) {
		fmt.Fprintf(h, "%q %d:", name, len(files[name]))
		h.Write(files[name])
	}
	fmt.Fprint(h, point)
	return [32]byte(h.Sum(nil))
}

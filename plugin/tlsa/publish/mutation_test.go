package publish

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/coredns-tlsa/coredns-tlsa/plugin/tlsa/certdir/hostiletest"
)

const (
	slots    = 240 // hosts in one siege
	drops    = 4   // mutations of each
	mostKeys = 12  // of an owner (design 4, 7)
)

// setting is a number from the environment, or the preset.
func setting(t *testing.T, variable string, preset uint64) uint64 {
	t.Helper()
	text := os.Getenv(variable)
	if text == "" {
		return preset
	}
	n, err := strconv.ParseUint(text, 10, 64)
	if err != nil {
		t.Fatalf("%s: %v", variable, err)
	}
	return n
}

// A slot is one host whose file is mutated again and again.
type slot struct {
	*hostiletest.Case
	form  *hostiletest.Carrier
	owner string
	good  []byte
	over  bool // the good file stands there at first
}

// newSlots makes the hosts. Their names are far from each other, so that no mutation makes one of another.
func newSlots(w *hostiletest.World) []*slot {
	var all []*slot
	for i := range slots {
		name := sha256.Sum256([]byte(strconv.Itoa(i)))
		host := hex.EncodeToString(name[:8]) + ".example.org"
		s := &slot{Case: hostiletest.NewCase(w, host, "example.org", "", ""), owner: "_25._tcp." + host + "."}
		s.form, s.over = hostiletest.Forms()[i%len(hostiletest.Forms())], i/len(hostiletest.Forms())%2 == 0
		s.good = s.form.Good(s.Case, s.Good)
		all = append(all, s)
	}
	return all
}

// TestMutationsPublishWhatAnotherReaderReadsOrNothing drops random mutations of good files into a live directory.
// MUTATIONS is how many, MUTATIONS_FROM the first; MUTATIONS_SEED draws others.
func TestMutationsPublishWhatAnotherReaderReadsOrNothing(t *testing.T) {
	seed, from, count := setting(t, "MUTATIONS_SEED", 7671), setting(t, "MUTATIONS_FROM", 0), setting(t, "MUTATIONS", 20_000)
	const each = slots * drops
	if testing.Short() {
		count = each
	}
	fort := newFortress()
	all := newSlots(fort.world)
	stranger := hostiletest.NewCase(fort.world, "other.example.net", "example.net", "", "")
	for round := from / each; round*each < from+count && !t.Failed(); round++ {
		t.Run(fmt.Sprintf("seed %d round %d", seed, round), func(t *testing.T) {
			var owners []Owner
			for _, s := range all {
				owners = append(owners, siegeOwner(s.owner))
			}
			besiege(t, fort, owners, func(s *siege) { s.mutate(all, stranger, rand.New(rand.NewPCG(seed, round))) })
		})
	}
	t.Logf("seed %d: %d mutations from %d on", seed, count, from)
}

func (s *siege) mutate(all []*slot, stranger *hostiletest.Case, r *rand.Rand) {
	s.Helper()
	for i, sl := range all {
		dir := "case/" + strconv.Itoa(i)
		sl.Certs, sl.Next = filepath.Join(s.dir, "certs", dir), filepath.Join(s.dir, "next", dir)
		if sl.over {
			s.must(sl.form.Write(sl.Case, sl.good))
		}
	}
	s.sweeps()
	for i, sl := range all {
		if sum := sha256.Sum256(sl.Good.SPKI); sl.over && !s.served()[sl.owner][hex.EncodeToString(sum[:])] {
			s.Fatalf("the good file of %d is not served", i)
		}
	}
	for range drops {
		before := s.served()
		readings := make([]hostiletest.Reading, len(all))
		files := make([][]byte, len(all))
		for i, sl := range all {
			files[i] = hostiletest.Mutate(r, sl.good, sl.form.Good(stranger, stranger.Good), sl.form.Text)
			readings[i] = hostiletest.Read(files[i], s.world.CA)
			s.must(sl.form.Write(sl.Case, files[i]))
		}
		s.sweeps()
		s.judge(all, files, readings, before)
		s.quiet()
	}
}

// judge compares what is served after a drop with what was served before, and with what another reader makes of the files.
func (s *siege) judge(all []*slot, files [][]byte, readings []hostiletest.Reading, before map[string]map[string]bool) {
	s.Helper()
	after, open := s.served(), s.open()
	readable := map[string]bool{} // every key that any file may hold
	for i, sl := range all {
		may := digestsOf(readings[i].Certificates)
		if sl.form.Staged {
			maps.Copy(may, digestsOf(readings[i].Keys))
		}
		maps.Copy(readable, may)
		fault := func(format string, args ...any) {
			s.Errorf("%s: %s: %s:\n%q", sl.form.Name, sl.Host, fmt.Sprintf(format, args...), files[i])
		}
		for digest := range before[sl.owner] {
			if !after[sl.owner][digest] {
				fault("%.16s is lost", digest)
			}
		}
		for digest := range after[sl.owner] {
			if !before[sl.owner][digest] && !may[digest] {
				fault("%.16s is published, which is not in the file", digest)
			}
		}
		told := slices.ContainsFunc(open, func(p OpenProblem) bool { return strings.Contains(p.Text, sl.Host) })
		for spki, names := range readings[i].Names {
			sum := sha256.Sum256([]byte(spki))
			digest := hex.EncodeToString(sum[:])
			certificate := readings[i].Certificates[spki]
			relevant := may[digest] && (slices.Contains(names, sl.Host) || names == nil && sl.form.Staged && !certificate)
			switch {
			case !relevant || after[sl.owner][digest] || len(after[sl.owner]) >= mostKeys:
			case readings[i].Sound:
				fault("it is sound, but %.16s is not published (%v)", digest, told)
			case !told:
				fault("%.16s is not published, and nobody is told why", digest)
			}
		}
	}
	for owner, set := range after {
		for digest := range set {
			if !before[owner][digest] && !readable[digest] {
				s.Errorf("%s has %.16s, which is in no file", owner, digest)
			}
		}
	}
}

func digestsOf(spkis map[string]bool) map[string]bool {
	all := map[string]bool{}
	for spki := range spkis {
		sum := sha256.Sum256([]byte(spki))
		all[hex.EncodeToString(sum[:])] = true
	}
	return all
}

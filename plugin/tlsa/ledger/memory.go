package ledger

import (
	"maps"
	"slices"
	"sync"

	"github.com/coredns-tlsa/coredns-tlsa/plugin/tlsa/rollover"
)

// memory keeps the timelines for as long as the process lives.
type memory struct {
	mu      sync.Mutex // guards the rest
	part    uint32     // of a serial
	byBlock map[string]map[string]*rollover.Timeline
	vouched map[string]bool // by block
}

func newMemory() *memory {
	return &memory{byBlock: make(map[string]map[string]*rollover.Timeline), vouched: make(map[string]bool)}
}

func (m *memory) blocks() ([]string, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return slices.Sorted(maps.Keys(m.byBlock)), nil
}

func (m *memory) load(block string) (map[string]*rollover.Timeline, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	out := make(map[string]*rollover.Timeline, len(m.byBlock[block]))
	for owner, t := range m.byBlock[block] {
		c := t.Clone()
		out[owner] = &c
	}
	return out, nil
}

// commit refuses what a file would refuse, so that a ledger can be added to a running configuration.
func (m *memory) commit(block string, changes map[string]*rollover.Timeline, serial uint32, _ rollover.Stamp) error {
	if _, err := encodeAll(block, changes); err != nil {
		return err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.part = max(m.part, serial)
	owners := m.byBlock[block]
	if owners == nil {
		owners = make(map[string]*rollover.Timeline)
		m.byBlock[block] = owners
	}
	for owner, t := range changes {
		if t == nil {
			delete(owners, owner)
			continue
		}
		c := t.Clone()
		owners[owner] = &c
	}
	if len(owners) == 0 {
		delete(m.byBlock, block)
	}
	return nil
}

func (*memory) backup() error { return nil }
func (*memory) close() error  { return nil }

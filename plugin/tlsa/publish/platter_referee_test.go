//go:build referee && linux && amd64

package publish

import (
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
)

// A platter is the directory of a ledger as a disk without power sees it: what is durable, and what may be. A change is durable
// when its file was synced after it; an entry of the directory when the directory was. After a failed sync the kernel calls the
// changes clean and may have written them or not: no later sync brings them back. Entries are not forgotten so, but are not durable
// before a sync of the directory that succeeds.
type platter struct {
	files   []*plate
	entries []*change      // of the directory
	names   map[string]int // as the running process sees them
	opens   map[int]int    // open file to file
}

type plate struct {
	base    []byte // durable
	changes []*change
}

const sector = 512

// A change is one write, truncation or change of an entry.
type change struct {
	off  int64
	data []byte // nil: a truncation to off

	name string // of an entry: it leads to file, or to none for -1
	file int
	old  string // the name that a rename takes away

	doubtful, firm bool
}

func newPlatter(files map[string][]byte) *platter {
	p := &platter{names: map[string]int{}, opens: map[int]int{}}
	for _, name := range slices.Sorted(maps.Keys(files)) {
		p.entries = append(p.entries, &change{name: name, file: len(p.files), firm: true})
		p.names[name] = len(p.files)
		p.files = append(p.files, &plate{base: files[name]})
	}
	return p
}

// take does what a call did.
func (p *platter) take(c *fileCall) error {
	if c.effect == none && (c.name != "fsync" && c.name != "fdatasync") {
		return nil
	}
	switch c.name {
	case "openat":
		return p.takeOpen(c)
	case "renameat":
		file, ok := p.names[c.file]
		if !ok || c.to == "" {
			return fmt.Errorf("renaming %q to %q", c.file, c.to)
		}
		delete(p.names, c.file)
		p.names[c.to] = file
		p.entries = append(p.entries, &change{name: c.to, file: file, old: c.file})
	case "unlinkat":
		delete(p.names, c.file)
		p.entries = append(p.entries, &change{name: c.file, file: -1})
	case "write", "pwrite64":
		f := p.files[p.opens[c.open]]
		f.changes = append(f.changes, &change{off: c.off, data: c.data})
	case "ftruncate":
		f := p.files[p.opens[c.open]]
		f.changes = append(f.changes, &change{off: c.off})
	case "fsync", "fdatasync":
		if c.file == "." {
			if c.failed == 0 {
				settle(p.entries, false)
			}
			return nil
		}
		f := p.files[p.opens[c.open]]
		settle(f.changes, c.failed != 0)
		f.compact()
	default:
		return errors.New("an unknown call " + c.name)
	}
	return nil
}

func (p *platter) takeOpen(c *fileCall) error {
	file, ok := p.names[c.file]
	switch {
	case c.file == ".":
		return nil
	case !ok && !c.create:
		return fmt.Errorf("%s was opened, and is not there", c.file)
	case !ok:
		file = len(p.files)
		p.files = append(p.files, &plate{})
		p.names[c.file] = file
		p.entries = append(p.entries, &change{name: c.file, file: file})
	}
	p.opens[c.open] = file
	return nil
}

// settle makes changes durable, or doubtful for ever where the sync failed.
func settle(changes []*change, failed bool) {
	for _, c := range changes {
		if !c.firm && !c.doubtful {
			c.firm, c.doubtful = !failed, failed
		}
	}
}

// compact puts the changes into the base that are durable and do not stand on doubtful ones.
func (f *plate) compact() {
	n := 0
	for n < len(f.changes) && f.changes[n].firm {
		n++
	}
	if n > 0 {
		f.base = apply(slices.Clone(f.base), f.changes[:n], everything)
		f.changes = slices.Clone(f.changes[n:])
	}
}

// A luck says of a change, or of one sector of a write from the start of its data, whether it has reached the disk.
type luck func(c *change, at int) bool

func everything(*change, int) bool { return true }

// apply gives the content after the changes that have reached the disk. The size of a file may have, where its data has not.
func apply(b []byte, changes []*change, l luck) []byte {
	for _, c := range changes {
		if c.data == nil {
			if c.firm || l(c, 0) {
				b = resize(b, c.off)
			}
			continue
		}
		for at := 0; at < len(c.data); at += sector {
			if !c.firm && !l(c, at) {
				continue
			}
			part := c.data[at:min(at+sector, len(c.data))]
			if end := c.off + int64(at+len(part)); end > int64(len(b)) {
				b = resize(b, end)
			}
			copy(b[c.off+int64(at):], part)
		}
	}
	return b
}

func resize(b []byte, size int64) []byte {
	if size <= int64(len(b)) {
		return b[:size]
	}
	return append(b, make([]byte, size-int64(len(b)))...)
}

// state is what the directory holds after the power was cut with some luck.
func (p *platter) state(l luck) map[string][]byte {
	names := map[string]int{}
	for _, e := range p.entries {
		if !e.firm && !l(e, 0) {
			continue
		}
		if e.old != "" {
			delete(names, e.old)
		}
		if names[e.name] = e.file; e.file < 0 {
			delete(names, e.name)
		}
	}
	files := map[string][]byte{}
	for name, file := range names {
		f := p.files[file]
		files[name] = apply(slices.Clone(f.base), f.changes, l)
	}
	return files
}

// open are the changes that may have reached the disk or not.
func (p *platter) open() []*change {
	var all []*change
	for _, e := range p.entries {
		if !e.firm {
			all = append(all, e)
		}
	}
	for _, f := range p.files {
		for _, c := range f.changes {
			if !c.firm {
				all = append(all, c)
			}
		}
	}
	return all
}

// lucks gives ways in which the power may be cut now: nothing, all, each change alone, each missing, torn ones, and drawn ones.
func (p *platter) lucks(r *rand.Rand, drawn int) []luck {
	open := p.open()
	all := []luck{everything}
	if len(open) == 0 {
		return all
	}
	all = append(all, func(*change, int) bool { return false })
	for _, one := range open {
		if len(open) > 1 {
			all = append(all, func(c *change, _ int) bool { return c == one }, func(c *change, _ int) bool { return c != one })
		}
		if len(one.data) > sector {
			cut := sector * (1 + r.IntN(len(one.data)/sector))
			all = append(all,
				func(c *change, at int) bool { return c != one || at < cut },
				func(c *change, at int) bool { return c != one || at >= cut },
				func(c *change, at int) bool { return c == one && at < cut })
		}
	}
	return append(all, p.drawn(r, drawn)...)
}

// drawn gives n ways in which some changes, or some sectors of them, have reached the disk.
func (p *platter) drawn(r *rand.Rand, n int) []luck {
	var all []luck
	numbers := map[*change]uint64{}
	for i, c := range p.open() {
		numbers[c] = uint64(i) << 20
	}
	for range n {
		a, b := r.Uint64(), r.Uint64()
		torn := r.IntN(2) == 0
		all = append(all, func(c *change, at int) bool {
			n := numbers[c]
			if torn {
				n += uint64(at/sector) + 1
			}
			return rand.New(rand.NewPCG(a, b^n)).Uint32()&1 == 0
		})
	}
	return all
}

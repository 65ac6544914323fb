package certdir

import (
	"bytes"
	"errors"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"
)

const maxHops = 16

// A target is where a path leads.
type target struct {
	info
	// real is the path without links; empty if it leads nowhere, which err explains.
	real string
	err  error
	// hops are the links on the way, and behind them the end, there or not: what happens to them happens to the path.
	hops []hop
	// open is a directory, of a link or of the end behind one, that anyone may write to; empty if there is none.
	open string
}

// A hop is a name on the way, in a directory without links.
type hop struct{ dir, name string }

func (h hop) path() string { return join(h.dir, h.name) }

// A trail is a path on its way to its target: rest is still to go from at, a directory without links.
type trail struct {
	target
	s        *scan
	at, rest string
	first    string // the path of the first step, if there is a string of it
	links    int
	link     bool // the first step is known to be a link: no need to ask
	way      way  // that is gone, if it can be gone again
}

// follow resolves an absolute path. It watches the directory of each link, of the end behind one, and of whatever is missing
// before it looks there, so that later changes are heard.
func (s *scan) follow(path string) target { return s.end(trail{s: s, at: "/", rest: path[1:]}) }

// followName is follow for one name in d, whose path is known. link tells that the directory lists it as a link.
func (s *scan) followName(d *dir, name, path string, link bool) target {
	t := trail{s: s, at: d.real, rest: name, link: link}
	if d.real == d.path {
		t.first = path
	}
	return s.end(t)
}

func (s *scan) end(t trail) target {
	for !t.step() {
	}
	return t.target
}

// next is the path of the next step.
func (t *trail) next(name string) string {
	if next := t.first; next != "" {
		t.first = ""
		return next
	}
	return join(t.at, name)
}

// step goes one step further and tells whether it was the last one.
func (t *trail) step() (done bool) {
	var name string
	name, t.rest, _ = strings.Cut(t.rest, "/")
	t.rest = strings.TrimLeft(t.rest, "/")
	switch name {
	case "..":
		t.at = filepath.Dir(t.at)
		fallthrough
	case "", ".":
		if t.rest == "" {
			t.real = t.at
			t.info, t.err = t.s.w.disk.lstat(t.at)
		}
		return t.rest == ""
	}
	return t.look(name)
}

func (t *trail) look(name string) (done bool) {
	if t.link {
		t.link = false
		return t.hop(name)
	}
	next := t.next(name)
	if p, ok := t.s.places[next]; ok && t.rest != "" {
		t.at = p.real
		return false
	}
	if t.links > 0 && t.rest == "" {
		t.pass()
	}
	st, err := t.s.w.disk.lstat(next)
	if errors.Is(err, unix.ENOENT) {
		t.pass()
		st, err = t.s.w.disk.lstat(next)
	}
	switch {
	case err != nil:
		t.pave(name)
		t.err = err
		return true
	case st.isLink():
		return t.hop(name)
	case t.rest == "":
		if t.links > 0 {
			t.pave(name)
		}
		if t.way.text != "" {
			t.way.to = t.at
			t.s.way = t.way
		}
		t.info, t.real = st, next
		return true
	case !st.isDir():
		t.pave(name)
		t.err = unix.ENOTDIR
		return true
	}
	t.s.remember(next, st)
	t.at = next
	return false
}

// pave adds a hop. Where links lead, many names are alike.
func (t *trail) pave(name string) {
	if t.hops == nil {
		t.hops = t.s.room()
	}
	t.hops = append(t.hops, hop{t.at, t.s.w.names.intern(name)})
}

// room is for the hops of one link, and is not to be kept: it is cut from a piece that serves many.
func (s *scan) room() []hop {
	const usual = 2
	if len(s.spare) < usual {
		s.spare = make([]hop, 64*usual)
	}
	room := s.spare[:0:usual]
	s.spare = s.spare[usual:]
	return room
}

func (t *trail) hop(name string) (done bool) {
	t.pave(name)
	if t.links++; t.links > maxHops {
		t.err = unix.ELOOP
		return true
	}
	t.pass()
	n, err := readlink(t.next(name), t.s.w.linkBuf)
	if errors.Is(err, unix.EINVAL) || errors.Is(err, unix.ENOENT) && t.links == 1 { // no link any more
		t.hops, t.links = t.hops[:len(t.hops)-1], t.links-1
		return t.look(name)
	}
	if err != nil {
		t.err = err
		return true
	}
	t.turn(t.s.w.linkBuf[:n])
	return false
}

// A way is where a link in a directory leads up to its last step, if it meets no other link. The links of a lineage share it.
type way struct{ at, text, to string }

// turn goes where a link leads.
func (t *trail) turn(link []byte) {
	slash := bytes.LastIndexByte(link, '/') + 1
	t.way = way{}
	lone := t.links == 1 && t.rest == "" && slash < len(link)
	if last := t.s.way; lone && last.at == t.at && last.text == string(link[:slash]) {
		t.way = way{at: last.at, text: last.text}
		t.at, t.rest = last.to, t.s.w.names.intern(string(link[slash:]))
		return
	}
	to := string(link)
	if lone {
		t.way = way{at: t.at, text: to[:slash]}
	}
	if strings.HasPrefix(to, "/") {
		t.at = "/"
	}
	t.rest = strings.TrimSuffix(to, "/") + "/" + t.rest
	t.rest = strings.TrimSuffix(t.rest, "/")
}

// pass watches the directory that the trail is in and takes note of who may write there.
func (t *trail) pass() {
	p, ok := t.s.place(t.at)
	if !ok {
		return
	}
	t.s.receipt.pass(p, t.s.w.watches.want(p.real, p.inode, t.s.epoch))
	if p.open && t.open == "" {
		t.open = p.real
	}
}

// A place is a directory without links on the way, as one scan sees it.
type place struct {
	info
	real string
	open bool // anyone may write to it
}

// place looks at a directory once a scan.
func (s *scan) place(real string) (*place, bool) {
	if p, ok := s.places[real]; ok {
		return p, true
	}
	st, err := s.w.disk.lstat(real)
	if err != nil || !st.isDir() {
		return nil, false
	}
	return s.remember(real, st), true
}

func (s *scan) remember(real string, st info) *place {
	// A tree of certbot has one such directory for each lineage; none is asked for again much later.
	if len(s.places) >= maxPlaces {
		clear(s.places)
	}
	p := &place{info: st, real: real, open: s.w.disk.openToAll(real, st)}
	s.places[real] = p
	return p
}

const maxPlaces = 4096

func join(dir, name string) string {
	if dir == "/" {
		return dir + name
	}
	return dir + "/" + name
}

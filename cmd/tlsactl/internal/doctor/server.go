package doctor

import (
	"bytes"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/coredns/caddy/caddyfile"

	"github.com/coredns-tlsa/coredns-tlsa/plugin/tlsa/corefile"
)

// A server is one server block.
type server struct {
	name    string // of the Corefile
	keys    []string
	zones   []string
	tokens  map[string][]caddyfile.Token
	plugins []string // in the server's order
	root    string   // of the plugin root
	view    string
	blocks  []*block
	zoned   map[string]*zone // by name
}

// A directive is one directive of a server block in words.
type directive struct {
	place string
	args  []string
	lines []line // of its block, without braces
}

type line struct {
	place string
	words []string
}

// word gives the nth word, empty if there is none.
func (l line) word(n int) string {
	if n < len(l.words) {
		return l.words[n]
	}
	return ""
}

func (s *server) place(t caddyfile.Token) string {
	file := t.File
	if file == "" {
		file = s.name
	}
	return fmt.Sprintf("%s:%d", file, t.Line)
}

// directives gives every directive of that name.
func (s *server) directives(name string) []directive {
	var found []directive
	depth, last := 0, ""
	for _, t := range s.tokens[name] {
		at := s.place(t)
		switch d := len(found) - 1; {
		case depth == 0 && t.Text == name && at != last:
			found = append(found, directive{place: at})
		case d < 0:
		case t.Text == "{":
			depth++
		case t.Text == "}":
			depth--
		case depth == 0:
			found[d].args = append(found[d].args, t.Text)
		case len(found[d].lines) == 0 || found[d].lines[len(found[d].lines)-1].place != at:
			found[d].lines = append(found[d].lines, line{at, []string{t.Text}})
		default:
			l := &found[d].lines[len(found[d].lines)-1]
			l.words = append(l.words, t.Text)
		}
		last = at
	}
	return found
}

func (s *server) has(name string) bool { return len(s.tokens[name]) > 0 }

// where is the first line of the server block that has a directive.
func (s *server) where() string {
	first := caddyfile.Token{Line: 1 << 30}
	for _, tokens := range s.tokens {
		if len(tokens) > 0 && tokens[0].Line < first.Line {
			first = tokens[0]
		}
	}
	if first.Line == 1<<30 {
		return s.name
	}
	return s.place(first)
}

// readCorefile takes the Corefile apart. An error of one server block is a finding and leaves the others.
func (f *facts) readCorefile(text []byte) {
	blocks, err := caddyfile.Parse(f.Corefile, bytes.NewReader(text), nil)
	if err != nil { // of CoreDNS's own parser, whose sentences are not ours
		place, text := f.Corefile, err.Error()
		if at, rest, found := strings.Cut(text, " - Error during parsing: "); found {
			place, text = at, rest
		}
		f.found = append(f.found, Finding{Code: "refused", Severity: Error, Place: place, What: text, Why: "the server does not start"})
	}
	for _, b := range blocks {
		s := &server{name: f.Corefile, keys: b.Keys, tokens: b.Tokens, zoned: map[string]*zone{}}
		s.plugins = inOrder(slices.Collect(maps.Keys(b.Tokens)))
		zones, keyErr := corefile.ServerZones(b.Keys)
		if keyErr != nil {
			f.refuse(s.where(), keyErr)
			continue
		}
		s.zones = zones
		for _, d := range s.directives("root") {
			if len(d.args) > 0 {
				s.root = d.args[0]
			}
		}
		for _, d := range s.directives("view") {
			if len(d.args) > 0 {
				s.view = d.args[0]
			}
		}
		f.servers = append(f.servers, s)
		f.readBlocks(s)
	}
	if err == nil && !slices.ContainsFunc(f.servers, func(s *server) bool { return s.has("tlsa") }) {
		f.found = append(f.found, Finding{
			Code: "no-tlsa", Severity: Warning, Place: f.Corefile,
			What: "no server block has tlsa",
			Why:  "no TLSA record is published",
			Fix:  "add tlsa to the server block of the zone, or name the Corefile that has it",
		})
	}
}

// readBlocks reads the tlsa directives of a server block and judges them as the server would at its start.
func (f *facts) readBlocks(s *server) {
	words := caddyfile.NewDispenserTokens(s.name, s.tokens["tlsa"])
	parsed, err := corefile.Parse(&words, s.keys, s.root)
	if err != nil {
		f.refuse(s.where(), err)
		return
	}
	for _, b := range parsed {
		b.View = s.view
		warnings, err := b.Check(s.peers(b, parsed))
		if err != nil {
			f.refuse(b.Position.String(), err)
		}
		for _, text := range append(b.Warnings, warnings...) {
			f.advise(b.Position.String(), text)
		}
		for _, other := range f.blocks {
			if other.Ledger == b.Ledger && slices.Equal(other.Zones, b.Zones) && other.View == b.View {
				if err := b.Equal(other.Block); err != nil {
					f.refuse(b.Position.String(), err)
				}
			}
		}
		found := &block{Block: b, server: s}
		s.blocks = append(s.blocks, found)
		f.blocks = append(f.blocks, found)
	}
}

// peers is what the server would find beside a block.
func (s *server) peers(b *corefile.Block, all []*corefile.Block) corefile.Peers {
	p := corefile.Peers{
		DNSSEC: s.has("dnssec"), Transfer: s.has("transfer"), Any: s.has("any"),
		Next: len(behind(s.plugins)) > 0,
	}
	for _, other := range all {
		covers := other != b && other.Authority != nil && b.Authority == nil && !slices.ContainsFunc(b.Zones, func(z string) bool {
			return !within(z, other.Zones)
		})
		p.Next = p.Next || covers
	}
	for _, d := range s.directives("cache") {
		for _, l := range d.lines {
			p.Stale = p.Stale || l.words[0] == "serve_stale" && l.word(1) != "0" && l.word(1) != "0s"
		}
	}
	return p
}

// refuse takes an error with which the server would not start.
func (f *facts) refuse(place string, err error) {
	text := err.Error()
	if at, rest, found := strings.Cut(text, " - Error during parsing: "); found {
		place, text = at, rest
	}
	what, fix := cut(strings.TrimPrefix(text, "tlsa: "))
	f.found = append(f.found, Finding{Code: "refused", Severity: Error, Place: place, What: what, Why: "the server does not start", Fix: fix})
}

// adviceCodes tell the server's own warnings apart, by words of theirs.
var adviceCodes = [][2]string{
	{"in memory only", "no-ledger"},
	{"puts whole keys", "matching-type-full"},
	{"changes at each renewal", "certificate-digest"},
	{"bare trust anchor", "bare-trust-anchor"},
	{"while two keys overlap", "large-answer"},
	{"no dot at its end", "missing-dot"},
	{"no certificate names", "name-without-from"},
	{"not a loopback address", "status-exposed"},
	{"must have it as glue", "glue"},
	{"no dnssec in the server block", "no-dnssec"},
	{"any answers queries", "any-unsigned"},
	{"serve_stale", "cache-stale"},
}

// advise takes a warning that the server would log: FILE:LINE - option: what: how to mend it.
func (f *facts) advise(place, text string) {
	if at, rest, found := strings.Cut(text, " - "); found {
		place, text = at, rest
	}
	code := "advice"
	for _, c := range adviceCodes {
		if strings.Contains(text, c[0]) {
			code = c[1]
			break
		}
	}
	what, fix := cut(strings.TrimPrefix(text, "tlsa: "))
	f.found = append(f.found, Finding{Code: code, Severity: Warning, Place: place, What: what, Fix: fix})
}

// cut splits a sentence of the server into what is wrong and how to mend it.
func cut(text string) (what, fix string) {
	if i := strings.LastIndex(text, ": "); i >= 0 {
		return text[:i], text[i+2:]
	}
	return text, ""
}

// ports are those that a server block listens on.
func (s *server) ports() []int {
	standard := map[string]int{"tls": 853, "quic": 853, "https": 443, "https3": 443, "grpc": 443}
	var found []int
	for _, key := range s.keys {
		transport, rest, with := strings.Cut(key, "://")
		if !with {
			transport, rest = "dns", key
		}
		port, known := standard[transport]
		if !known {
			port = 53
		}
		if i := strings.LastIndexByte(rest, ':'); i >= 0 {
			if n, err := strconv.Atoi(rest[i+1:]); err == nil {
				port = n
			}
		}
		found = append(found, port)
	}
	slices.Sort(found)
	return slices.Compact(found)
}

// Package denial makes the denials of CoreDNS's *dnssec* safe without changing that plugin.
//
// As it stands, *dnssec* denies DS at every name below the apex with the NS bit set, which a validator reads as an
// unsigned delegation: whoever strips signatures on the way switches DANE off. Its NSEC records also lack types that may
// exist, so that a resolver that uses them aggressively (RFC 8198) denies records that are there.
//
// [Guard] puts a handler before and one behind *dnssec*. The one behind turns a denial into an answer, an NSEC of its own
// with the SOA in the authority section, and *dnssec* signs both like any other RRsets. The one before puts the NSEC where
// it belongs. The NSEC is that of a compact denial (RFC 9824): it covers the queried name and nothing else.
package denial

import (
	"context"
	"reflect"
	"slices"

	"github.com/coredns/coredns/plugin"

	"github.com/miekg/dns"
)

// Name is that of the handler before *dnssec*, under which CoreDNS registers it in the place of *dnssec*.
const Name = "tlsa-denial"

// Guard gives the constructor of a plugin that takes the place of build in a server block: where build makes *dnssec*, its
// denials are repaired, and signs is called; every other handler stays as it is.
func Guard(build plugin.Plugin, signs func()) plugin.Plugin {
	return func(next plugin.Handler) plugin.Handler {
		h := build(next)
		if h == nil || h.Name() != "dnssec" {
			return h
		}
		signs()
		return &front{next: build(&back{next: next, whole: whole(next)})}
	}
}

// wholeNames are the plugins whose NXDOMAIN holds for all types of a name. Others answer some types only and pass on the
// rest: what the next one then says of the name is not the whole truth.
var wholeNames = []string{"tlsa", "minimal", "transfer", "file", "auto", "secondary", "view"}

// whole tells whether NXDOMAIN of h and the plugins behind it holds for all types. By custom each has its next one in an
// exported field; one that has not is the last.
func whole(h plugin.Handler) bool {
	for h != nil {
		if !slices.Contains(wholeNames, h.Name()) {
			return false
		}
		v := reflect.Indirect(reflect.ValueOf(h))
		if v.Kind() != reflect.Struct || !v.FieldByName("Next").IsValid() {
			return true
		}
		h, _ = reflect.TypeAssert[plugin.Handler](v.FieldByName("Next"))
	}
	return true
}

// front is the handler before *dnssec*.
type front struct{ next plugin.Handler }

var _ plugin.Handler = (*front)(nil)

// Name implements plugin.Handler.
func (f *front) Name() string { return Name }

// ServeDNS implements plugin.Handler.
func (f *front) ServeDNS(ctx context.Context, w dns.ResponseWriter, r *dns.Msg) (int, error) {
	if !concerns(r) {
		return f.next.ServeDNS(ctx, w, r)
	}
	if r.Question[0].Qtype == dns.TypeNXNAME {
		return dns.RcodeFormatError, nil // RFC 9824 3.5: a type that only marks denials
	}
	growStack(-1)
	x := &exchange{Context: ctx, ResponseWriter: w}
	if opt := r.IsEdns0(); opt != nil {
		x.do = opt.Do()
	}
	return f.next.ServeDNS((*scope)(x), (*upper)(x), r)
}

// growStack makes room for the frames of all plugins to come. Each query has a goroutine of its own, whose stack of 4 KiB is
// too small to sign with: it grows anyway, and to move it costs the less the fewer frames there are. The room is never used.
//
//go:noinline
func growStack(at int) byte {
	if at < 0 {
		return 0
	}
	var room [7 << 9]byte
	return room[at]
}

// back is the handler behind *dnssec*.
type back struct {
	next  plugin.Handler
	whole bool // NXDOMAIN holds for all types
}

var _ plugin.Handler = (*back)(nil)

// Name implements plugin.Handler.
func (b *back) Name() string { return Name }

// ServeDNS implements plugin.Handler.
func (b *back) ServeDNS(ctx context.Context, w dns.ResponseWriter, r *dns.Msg) (int, error) {
	x, _ := ctx.Value(exchangeKey{}).(*exchange)
	if x == nil {
		return plugin.NextOrFailure(Name, b.next, ctx, w, r)
	}
	x.back, x.signer = b, w
	return plugin.NextOrFailure(Name, b.next, ctx, (*lower)(x), r)
}

// concerns tells a query whose denial would be signed.
func concerns(r *dns.Msg) bool {
	if r.Opcode != dns.OpcodeQuery || len(r.Question) != 1 || r.Question[0].Qclass != dns.ClassINET {
		return false
	}
	qtype := r.Question[0].Qtype
	return qtype != dns.TypeAXFR && qtype != dns.TypeIXFR
}

// exchange is one query on its way through both handlers. It serves as the context, by which the second finds it, and as the
// writer of either, so that an answer that needs no repair costs little.
type exchange struct {
	context.Context    // the query's
	dns.ResponseWriter // the client's

	do     bool               // the client's EDNS flag DO
	signer dns.ResponseWriter // that of *dnssec*
	back   *back
	// denied is what the next plugin said, in place of which *dnssec* got an NSEC to sign.
	denied *dns.Msg
}

// The views of an exchange: scope is its context, upper writes what *dnssec* has signed, lower what is to be signed.
type (
	scope exchange
	upper exchange
	lower exchange
)

type exchangeKey struct{}

// Value implements context.Context.
func (s *scope) Value(key any) any {
	if key == (exchangeKey{}) {
		return (*exchange)(s)
	}
	return s.Context.Value(key)
}

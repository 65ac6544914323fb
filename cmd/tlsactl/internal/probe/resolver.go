package probe

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strings"
	"time"

	"github.com/miekg/dns"
)

// A Status is what is known of an answer (RFC 4033 5, RFC 7672 2.1.1).
type Status int

// The statuses. The resolver's own word is all there is, so "indeterminate" of RFC 4033 is Failed here.
const (
	NoReply  Status = iota // the resolver does not answer
	Failed                 // it answers that it cannot: SERVFAIL and the like, or nonsense
	Bogus                  // it cannot because the signatures are wrong: without validation it can
	Insecure               // no AD bit: some zone on the way is not signed
	Secure                 // validated, be it records or their absence
)

// An Answer is what the resolver says of one name and type.
type Answer struct {
	Status
	// Name is where the records are, after aliases; Aliased says that it is another name than was asked for.
	Name    string
	Aliased bool
	// Records are those of the type; none with Exists false means that there is no such name.
	Records []dns.RR
	Exists  bool
	// Expires is when the first signature of the answer ends; zero if it shows none.
	Expires time.Time
	// Reason says why there is no answer.
	Reason string
}

// A Resolver asks for one name, fully qualified and in lower case. It gives an answer within bounded time, whatever happens.
type Resolver interface {
	Lookup(ctx context.Context, name string, qtype uint16) Answer
}

// DNS asks recursive resolvers that validate, one after the other until one replies. Every lookup sets DO and AD (RFC 6840 5.7)
// and believes the AD bit of the reply, so the way to the resolver must be safe.
type DNS struct {
	Addrs   []string      // ADDR:PORT
	Timeout time.Duration // for one try
	// Exchange sends a query over "udp" or "tcp"; nil: over the network.
	Exchange func(ctx context.Context, q *dns.Msg, transport, addr string) (*dns.Msg, error)
}

// SystemResolvers gives the resolvers of the system, from a file like /etc/resolv.conf.
func SystemResolvers(path string) ([]string, error) {
	conf, err := dns.ClientConfigFromFile(path)
	switch {
	case err != nil:
		return nil, fmt.Errorf("read the system's resolvers: %w; name one with --resolver", err)
	case len(conf.Servers) == 0:
		return nil, fmt.Errorf("%s names no resolver; name one with --resolver", path)
	}
	var addrs []string
	for _, s := range conf.Servers {
		addrs = append(addrs, net.JoinHostPort(s, conf.Port))
	}
	return addrs, nil
}

// Lookup asks; a SERVFAIL is asked again with checking disabled, which tells wrong signatures from other trouble.
func (d *DNS) Lookup(ctx context.Context, name string, qtype uint16) Answer {
	q := new(dns.Msg)
	q.SetQuestion(name, qtype)
	q.SetEdns0(1232, true)
	q.AuthenticatedData = true
	r, err := d.exchange(ctx, q)
	if err != nil {
		return Answer{Status: NoReply, Name: name, Reason: err.Error()}
	}
	a := interpret(q, r)
	if r.Rcode != dns.RcodeServerFailure {
		return a
	}
	q.Id = dns.Id()
	q.CheckingDisabled = true
	if r, err := d.exchange(ctx, q); err == nil && r.Rcode != dns.RcodeServerFailure && interpret(q, r).Status > Failed {
		a.Status = Bogus
	}
	return a
}

// exchange gets one reply, over TCP if it is too long for UDP.
func (d *DNS) exchange(ctx context.Context, q *dns.Msg) (*dns.Msg, error) {
	const tries = 2
	err := errors.New("no resolver")
	for range tries {
		for _, addr := range d.Addrs {
			var r *dns.Msg
			r, err = d.send(ctx, q, "udp", addr)
			if err == nil && r.Truncated {
				r, err = d.send(ctx, q, "tcp", addr)
			}
			if err == nil {
				return r, nil
			}
		}
	}
	return nil, err
}

func (d *DNS) send(ctx context.Context, q *dns.Msg, transport, addr string) (*dns.Msg, error) {
	if d.Exchange != nil {
		ctx, cancel := context.WithTimeout(ctx, d.Timeout)
		defer cancel()
		return d.Exchange(ctx, q, transport, addr)
	}
	client := dns.Client{Net: transport, Timeout: d.Timeout}
	r, _, err := client.ExchangeContext(ctx, q, addr)
	return r, err
}

// interpret reads a reply, which may be anything.
func interpret(q, r *dns.Msg) Answer {
	asked := q.Question[0]
	a := Answer{Status: Failed, Name: dns.CanonicalName(asked.Name)}
	switch {
	case !r.Response || r.Opcode != dns.OpcodeQuery || len(r.Question) != 1 || r.Question[0].Qtype != asked.Qtype ||
		r.Question[0].Qclass != asked.Qclass || dns.CanonicalName(r.Question[0].Name) != a.Name:
		a.Reason = "the reply is to another question"
		return a
	case r.Rcode != dns.RcodeSuccess && r.Rcode != dns.RcodeNameError:
		a.Reason = "the resolver says " + rcode(r) + extended(r)
		return a
	case !a.follow(r.Answer):
		a.Reason = "the reply is a loop of aliases"
		return a
	}
	a.Exists = r.Rcode == dns.RcodeSuccess
	for _, rr := range r.Answer {
		h := rr.Header()
		switch {
		case h.Class != asked.Qclass:
		case h.Rrtype == asked.Qtype && dns.CanonicalName(h.Name) == a.Name:
			a.Records = append(a.Records, rr)
		case h.Rrtype == dns.TypeRRSIG:
			a.signed(rr)
		}
	}
	a.Status = Insecure
	if r.AuthenticatedData {
		a.Status = Secure
	}
	return a
}

// follow goes along the aliases; false for a loop.
func (a *Answer) follow(rrs []dns.RR) bool {
	next := make(map[string]string)
	for _, rr := range rrs {
		if c, ok := rr.(*dns.CNAME); ok {
			next[dns.CanonicalName(c.Hdr.Name)] = dns.CanonicalName(c.Target)
		}
	}
	for range len(next) + 1 {
		to, ok := next[a.Name]
		if !ok {
			return true
		}
		a.Name, a.Aliased = to, true
	}
	return false
}

// signed notes when a signature ends. Its 32 bits are serial arithmetic (RFC 4034 3.1.5); the next 136 years will do.
func (a *Answer) signed(rr dns.RR) {
	sig, ok := rr.(*dns.RRSIG)
	if !ok {
		return
	}
	if t := time.Unix(int64(sig.Expiration), 0).UTC(); a.Expires.IsZero() || t.Before(a.Expires) {
		a.Expires = t
	}
}

func rcode(r *dns.Msg) string {
	if s, ok := dns.RcodeToString[r.Rcode]; ok {
		return s
	}
	return fmt.Sprintf("RCODE %d", r.Rcode)
}

// extended gives the resolver's own reasons (RFC 8914).
func extended(r *dns.Msg) string {
	opt := r.IsEdns0()
	if opt == nil {
		return ""
	}
	var b strings.Builder
	for _, o := range opt.Option {
		if e, ok := o.(*dns.EDNS0_EDE); ok && b.Len() < 200 {
			fmt.Fprintf(&b, " (%s", dns.ExtendedErrorCodeToString[e.InfoCode])
			if e.ExtraText != "" {
				fmt.Fprintf(&b, ": %.80q", e.ExtraText)
			}
			b.WriteString(")")
		}
	}
	return b.String()
}

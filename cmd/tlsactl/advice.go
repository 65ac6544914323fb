package main

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/coredns-tlsa/coredns-tlsa/plugin/tlsa/control"
	"github.com/coredns-tlsa/coredns-tlsa/plugin/tlsa/dane"
)

// advice is what a DNS server knows of its own timeline, from its control socket. With it, wait need not count from its
// own first sighting; every server must show the records all the same.
type advice interface {
	// ready tells from when every cache has the associations of an owner, or holds nothing.
	ready(ctx context.Context, owner string, wanted []dane.Association) (counsel, error)
	// safe judges a key or certificate at all owners that the server maps it to.
	safe(ctx context.Context, s subject) (counsel, error)
}

// A counsel is one answer.
type counsel struct {
	// known is false where the server does not answer for the owner, or maps the certificate to none.
	known bool
	// from is since or from when it is safe; zero: time alone does not bring that, and why says what is missing.
	from time.Time
	why  string
	// at is the owner that why is about.
	at string
}

// socketAdvice is the advice of a control socket.
type socketAdvice struct{ client *control.Client }

func dialAdvice(path string) (advice, error) {
	c, err := dialControl(path)
	return socketAdvice{c}, err
}

// ready joins what every block says that has the owner: views may differ, and a client may be in any.
func (a socketAdvice) ready(ctx context.Context, owner string, wanted []dane.Association) (counsel, error) {
	s, err := a.client.Status(ctx, owner)
	if e, ok := errors.AsType[*control.Error](err); ok && e.Code == control.CodeNothing {
		return counsel{}, nil
	}
	if err != nil {
		return counsel{}, err
	}
	c := counsel{at: owner}
	for _, b := range s.Blocks {
		for _, o := range b.Owners {
			if o.Name != owner || o.Answer == control.AnswerElsewhere {
				continue
			}
			c.known = true
			for _, w := range wanted {
				from, why := readiness(o, w, s.Now)
				if why != "" {
					return counsel{known: true, why: why, at: owner}, nil
				}
				if from.After(c.from) {
					c.from = from
				}
			}
		}
	}
	return c, nil
}

// readiness judges one association of an owner.
func readiness(o control.OwnerStatus, wanted dane.Association, now time.Time) (from time.Time, why string) {
	data := hex.EncodeToString([]byte(wanted.Data))
	i := slices.IndexFunc(o.Associations, func(a control.Association) bool {
		return a.Usage == uint8(wanted.Usage) && a.Selector == uint8(wanted.Selector) &&
			a.MatchingType == uint8(wanted.MatchingType) && a.Data == data
	})
	if i < 0 || o.Answer != control.AnswerRecords {
		return from, fmt.Sprintf("it does not publish %s", wanted)
	}
	switch a := o.Associations[i]; {
	case a.Unrecorded:
		return from, fmt.Sprintf("its ledger could not take %s", wanted)
	case a.State == "ready" && a.Since != nil:
		return *a.Since, ""
	case a.Gated, a.State == "active" && !a.Ungated:
		return now, ""
	case a.UngatedUntil != nil:
		return *a.UngatedUntil, ""
	case a.NextState == "ready" && a.NextAt != nil:
		return *a.NextAt, ""
	}
	return from, fmt.Sprintf("it cannot tell yet when every cache has %s", wanted)
}

func (a socketAdvice) safe(ctx context.Context, s subject) (counsel, error) {
	spki, err := spkiDigest(s)
	if err != nil {
		return counsel{}, err
	}
	v, err := a.client.Safe(ctx, control.Certificate{SPKI: spki, SHA256: s.Leaf.SHA256, Names: s.names})
	if err != nil {
		return counsel{}, err
	}
	c := counsel{known: len(v.Owners) > 0, at: v.HeldBy}
	switch {
	case v.Safe:
		c.from = time.Unix(1, 0) // long ago: since when, it does not say
	case v.SafeAt != nil:
		c.from = *v.SafeAt
	default:
		c.why = harmless(v.Why)
	}
	return c, nil
}

// The sources of a verdict's time.
const (
	byServer   = "control socket"
	byCounting = "counted"
)

// consult opens the control socket, if one is named. The operator's --hold is for counting: with it the environment's socket
// is not asked. A socket in the environment that does not answer is no reason to fail, because counting is as safe.
func (f *waitFlags) consult(a *app, w *waiter) error {
	path := a.getenv(controlEnv)
	switch {
	case f.control != "":
		path = f.control
	case path == "" || f.hold.set:
		return nil
	}
	var err error
	if w.advice, err = a.dialAdvice(path); err != nil && f.control == "" {
		w.advice = nil
		a.talk("warning: %s: %v; counting from what the servers show", controlEnv, err)
		return nil
	}
	return err
}

// ready tells when an owner is safe, counted from the slowest server, or as its DNS server says; never before what the
// servers themselves have shown allows. held says why the DNS server sees no such time.
func (w *waiter) ready(ctx context.Context, wish wish) (at time.Time, ok bool, held string) {
	own, ok := w.tracker.ready(wish.owner, w.hold)
	w.sources[wish.owner] = byCounting
	if !ok || w.advice == nil {
		return own, ok, ""
	}
	c, err := w.advice.ready(ctx, wish.owner, wish.associations)
	if err != nil {
		w.complain(err)
	}
	if err != nil || !c.known {
		return own, ok, ""
	}
	w.sources[wish.owner] = byServer
	if c.why != "" {
		return own, ok, fmt.Sprintf("the DNS server says of %s: %s", wish.owner, c.why)
	}
	if seen := w.tracker.lackedUntil(wish.owner, w.hold); seen.After(c.from) {
		return seen, true, ""
	}
	return c.from, true, ""
}

// elsewhere asks about the certificates at the owners that nobody has named here: they come with the same files.
func (w *waiter) elsewhere(ctx context.Context) (at time.Time, held string) {
	if w.advice == nil {
		return at, ""
	}
	for _, s := range w.tracker.subjects() {
		c, err := w.advice.safe(ctx, s)
		if err != nil {
			w.complain(err)
			continue
		}
		// What the server cannot compute of a file that it does not see was judged by its records.
		isOurs := slices.ContainsFunc(w.tracker.wishes, func(o wish) bool { return o.owner == c.at })
		switch {
		case !c.known || c.why != "" && isOurs:
		case c.why != "":
			return at, fmt.Sprintf("the DNS server says of %s, which the certificate is for too: %s", c.at, c.why)
		case c.from.After(at):
			at = c.from
		}
	}
	return at, ""
}

// complain warns once of each error of the control socket in a row.
func (w *waiter) complain(err error) {
	if text := err.Error(); text != w.complaint {
		w.talk("warning: control socket: %s; counting from what the servers show", harmless(text))
		w.complaint = text
	}
}

// source says in a verdict whose word its time is.
func (w *waiter) source() string {
	if w.advice == nil {
		return ""
	}
	for _, wish := range w.tracker.wishes {
		if w.sources[wish.owner] != byServer {
			return " (counted here, because the control socket does not tell of " + wish.owner + ")"
		}
	}
	return " (says the control socket)"
}

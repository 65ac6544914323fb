package main

import (
	"cmp"
	"context"
	"encoding/hex"
	"slices"
	"time"

	"github.com/coredns-tlsa/coredns-tlsa/cmd/tlsactl/internal/probe"
	"github.com/coredns-tlsa/coredns-tlsa/plugin/tlsa/control"
	"github.com/coredns-tlsa/coredns-tlsa/plugin/tlsa/dane"
)

// Removals are what the DNS server of a control socket means to do, as long as nothing changes.
type removals struct{ status *control.Status }

// Withdrawn tells that a block, which may be that of any view, will have removed a record by then.
func (p removals) Withdrawn(owner string, a dane.Association, at time.Time) bool {
	data := hex.EncodeToString([]byte(a.Data))
	goes := func(x control.Association) bool {
		return x.Usage == uint8(a.Usage) && x.Selector == uint8(a.Selector) && x.MatchingType == uint8(a.MatchingType) &&
			x.Data == data && x.NextState == "removed" && x.NextAt != nil && !at.Before(*x.NextAt)
	}
	for _, b := range p.status.Blocks {
		for _, o := range b.Owners {
			if o.Name == owner && slices.ContainsFunc(o.Associations, goes) {
				return true
			}
		}
	}
	return false
}

// forecast asks the control socket that is named, that of the environment only where --at looks ahead. A socket of the environment that does not answer is a
// warning, because the certificates can be judged without.
func (f *checkFlags) forecast(ctx context.Context) (probe.Forecast, error) {
	path := f.control
	if f.at != "" {
		path = cmp.Or(path, f.app.getenv(controlEnv))
	}
	if path == "" {
		return nil, nil
	}
	status, err := func() (*control.Status, error) {
		c, err := dialControl(path)
		if err != nil {
			return nil, err
		}
		return c.Status(ctx, "")
	}()
	switch {
	case err == nil:
		return removals{status}, nil
	case f.control == "":
		f.app.talk("warning: %s: %v; judging without what the DNS server plans to remove", controlEnv, err)
		return nil, nil
	}
	return nil, fail(exitUnreachable, "%w", err)
}

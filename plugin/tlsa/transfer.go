package tlsa

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"

	"github.com/coredns/coredns/core/dnsserver"
	"github.com/coredns/coredns/plugin"
	"github.com/coredns/coredns/plugin/transfer"

	"github.com/coredns-tlsa/coredns-tlsa/plugin/tlsa/publish"

	"github.com/miekg/dns"
)

// transfers is what a Handler has because *transfer* is in its server block.
type transfers struct {
	to   *transfer.Transfer
	from []transfer.Transferer // the plugins after us, in their order
	// numberings has a numbering for each zone that was ever asked about, so that a query hardly ever has to find it out.
	numberings sync.Map
}

// transfersOf gives nil where the server block has no *transfer*. The server must have been put together.
func transfersOf(cfg *dnsserver.Config) *transfers {
	to, ok := cfg.Handler("transfer").(*transfer.Transfer)
	if !ok {
		return nil
	}
	t := &transfers{to: to}
	all := cfg.Handlers()
	here := slices.IndexFunc(all, func(p plugin.Handler) bool { return p.Name() == pluginName })
	for _, p := range all[here+1:] {
		if from, ok := p.(transfer.Transferer); ok {
			t.from = append(t.from, from)
		}
	}
	return t
}

var _ transfer.Transferer = (*Handler)(nil)

// attempts bounds how often a transfer starts over because of a change of ours meanwhile.
const attempts = 20

var errBusy = errors.New("tlsa: its records changed during every attempt of a transfer")

// Transfer implements transfer.Transferer: the zone of the next plugin with our RRsets merged in, or a zone of `authority`.
// All of it is of one moment, and no other contents ever have its serial. Errors: transfer.ErrNotAuthoritative for a zone
// that has no owner of ours or signatures of its own, so that the next plugin transfers it; those of the next plugin; and
// where nothing can be known of an owner, because a secondary must not deny what it has; and publish.ErrReplaced.
func (h *Handler) Transfer(zone string, serial uint32) (<-chan []dns.RR, error) {
	zone = strings.ToLower(zone)
	parts := h.parts(zone)
	z := h.apexes.of(zone)
	if z != nil && z.zone == zone {
		parts = z.parts
	} else if z = nil; len(parts) == 0 || h.transfers == nil {
		return nil, transfer.ErrNotAuthoritative
	}
	for range attempts {
		part := largest(parts)
		owners, err := h.servedIn(zone)
		if err != nil {
			return nil, err
		}
		soa, records, err := h.data(z, zone)
		if err != nil {
			return nil, err
		}
		if largest(parts) != part {
			continue
		}
		if z != nil {
			soa.Serial = 0
		}
		soa = withSerial(soa, soa.Serial+part)
		rrs := []dns.RR{soa}
		if serial == 0 || newer(soa.Serial, serial) {
			rrs = append(append(rrs, merge(zone, records, owners)...), soa)
		}
		ch := make(chan []dns.RR, 1)
		ch <- rrs
		close(ch)
		return ch, nil
	}
	return nil, errBusy
}

// servedIn gives our owners in a zone.
func (h *Handler) servedIn(zone string) ([]publish.Served, error) {
	var all []publish.Served
	for _, b := range h.blocks {
		if b.publisher == nil {
			continue
		}
		if b.wild.Incomplete() && b.publisher.Config().Concerns(zone) {
			return nil, fmt.Errorf("tlsa: not every directory has been read, so the hosts of %s are not known and it is not transferred", zone)
		}
		served, err := b.publisher.Served(zone)
		if err != nil {
			return nil, err
		}
		for _, o := range served {
			if z := h.apexes.of(o.Name); z != nil && len(z.zone) > len(zone) {
				continue // of a zone below
			}
			if o.Set.Unknown {
				return nil, fmt.Errorf("tlsa: nothing is known of %s yet, so %s is not transferred", o.Name, zone)
			}
			all = append(all, o)
		}
	}
	return all, nil
}

// data gives the SOA and the other records of a zone without ours; z is its apex, nil if that is the next plugin's.
func (h *Handler) data(z *apex, zone string) (*dns.SOA, []dns.RR, error) {
	if z != nil {
		return z.soa(), z.ns(), nil
	}
	for _, from := range h.transfers.from {
		ch, err := from.Transfer(zone, 0)
		if errors.Is(err, transfer.ErrNotAuthoritative) {
			continue
		}
		if err != nil {
			return nil, nil, err
		}
		var soa *dns.SOA
		var records []dns.RR
		for rrs := range ch {
			for _, rr := range rrs {
				if s, ok := rr.(*dns.SOA); !ok {
					records = append(records, rr)
				} else if soa == nil {
					soa = s
				}
			}
		}
		if soa == nil || signed(records, zone) {
			return nil, nil, transfer.ErrNotAuthoritative
		}
		return soa, records, nil
	}
	return nil, nil, transfer.ErrNotAuthoritative
}

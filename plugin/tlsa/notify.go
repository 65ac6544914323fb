package tlsa

import (
	"context"
	"strings"
	"sync"
	"time"

	"github.com/coredns-tlsa/coredns-tlsa/plugin/tlsa/denial"
)

// A herald tells the secondaries of one instance that a zone of theirs has changed. Publishers only wake it, and any number
// of changes that come while it is busy are one.
type herald struct {
	wake chan struct{}
	quit chan struct{}
	once sync.Once                      // for stop
	told map[*Handler]map[string]uint32 // the part of which secondaries know, by zone
	said map[string]time.Time           // when a failure was last logged, by zone
}

// silence is how long a failure to notify is not logged again for the same zone.
const silence = 10 * time.Minute

func newHerald() *herald {
	return &herald{
		wake: make(chan struct{}, 1), quit: make(chan struct{}),
		told: map[*Handler]map[string]uint32{}, said: map[string]time.Time{},
	}
}

// changed returns at once.
func (h *herald) changed() {
	select {
	case h.wake <- struct{}{}:
	default:
	}
}

// run sends what there is to tell until stop. A NOTIFY that is under way then may take its tries to the end.
func (h *herald) run(handlers []*Handler) {
	for {
		select {
		case <-h.quit:
			return
		case <-h.wake:
		}
		for _, handler := range handlers {
			h.notify(handler)
		}
	}
}

func (h *herald) stop() { h.once.Do(func() { close(h.quit) }) }

// notify tells of the handler's zones whose part has changed. *file* tells of its own changes by itself.
func (h *herald) notify(handler *Handler) {
	told := h.told[handler]
	if told == nil {
		told = map[string]uint32{}
		h.told[handler] = told
	}
	for zone, part := range handler.transferable() {
		select {
		case <-h.quit:
			return
		default:
		}
		if told[zone] == part {
			continue
		}
		told[zone] = part
		if err := handler.transfers.to.Notify(zone); err != nil && time.Since(h.said[zone]) >= silence {
			h.said[zone] = time.Now()
			log.Warningf("%s: not every secondary took the notice of a change, they will see it at their next refresh: %v", zone, err)
		}
	}
}

// transferable gives the zones that secondaries may have from the handler, with our parts in their serials.
func (h *Handler) transferable() map[string]uint32 {
	found := map[string]uint32{}
	zones := map[string]struct{}{}
	h.transfers.numberings.Range(func(zone, _ any) bool {
		zones[zone.(string)] = struct{}{}
		return true
	})
	for _, b := range h.blocks {
		for _, zone := range b.publisher.Config().Zones {
			zones[zone] = struct{}{}
		}
	}
	for zone := range zones {
		if z := h.apexes.of(zone); z != nil {
			found[z.zone] = largest(z.parts)
			continue
		}
		if soa := denial.SOA(context.Background(), h.Next, local{}, zone); soa != nil {
			zone := strings.ToLower(soa.Hdr.Name) // which may be one above
			if part := h.partOf(zone, soa.Serial); part > 0 {
				found[zone] = part
			}
		}
	}
	return found
}

package tlsa

import (
	"context"
	"strings"

	"github.com/coredns-tlsa/coredns-tlsa/plugin/tlsa/denial"
	"github.com/coredns-tlsa/coredns-tlsa/plugin/tlsa/publish"

	"github.com/miekg/dns"
)

// With *transfer* in the server block, a zone has one serial wherever it shows: the next plugin's plus our part. So the SOA
// in every answer and denial that passes is changed on its way out. Without *transfer* nothing is wrapped.

// A numbering is what our part in a zone's serial comes from.
type numbering struct {
	serial uint32 // the next plugin's, for which it holds
	parts  []*publish.Part
}

// parts gives what our part in a zone of the next plugin is the largest of; nothing where no block may have an owner there.
func (h *Handler) parts(zone string) []*publish.Part {
	var parts []*publish.Part
	for _, b := range h.blocks {
		if b.publisher != nil && b.publisher.Config().Concerns(zone) {
			parts = append(parts, b.publisher.Parts(zone)...)
		}
	}
	return parts
}

func largest(parts []*publish.Part) uint32 {
	n := uint32(0)
	for _, p := range parts {
		n = max(n, p.Value())
	}
	return n
}

// partOf gives our part in the serial of a zone of the next plugin, where its own is serial. A zone with signatures of its
// own has none: its SOA is signed as it stands.
func (h *Handler) partOf(zone string, serial uint32) uint32 {
	if known, ok := h.transfers.numberings.Load(zone); ok && known.(numbering).serial == serial {
		return largest(known.(numbering).parts)
	}
	found := numbering{serial: serial, parts: h.parts(zone)}
	if len(found.parts) == 0 {
		return 0 // of no concern, and clients may ask for any number of such
	}
	m := denial.Ask(context.Background(), h.Next, local{}, zone, dns.TypeSOA, true)
	if m != nil && signed(m.Answer, zone) {
		found.parts = nil
	}
	if m != nil {
		h.transfers.numberings.Store(zone, found)
	}
	return largest(found.parts)
}

// signed tells whether the SOA of the zone comes with a signature.
func signed(rrs []dns.RR, zone string) bool {
	for _, rr := range rrs {
		if sig, ok := rr.(*dns.RRSIG); ok && sig.TypeCovered == dns.TypeSOA && strings.EqualFold(sig.Hdr.Name, zone) {
			return true
		}
	}
	return false
}

// numbered makes the SOAs of all responses to w have the serial of transfers.
func (h *Handler) numbered(w dns.ResponseWriter) dns.ResponseWriter {
	if h.transfers == nil {
		return w
	}
	return &numberer{ResponseWriter: w, h: h}
}

type numberer struct {
	dns.ResponseWriter
	h *Handler
}

// WriteMsg implements dns.ResponseWriter. What it changes it changes in a copy: the next plugin may keep its message.
func (n *numberer) WriteMsg(m *dns.Msg) error {
	c := *m
	c.Answer, c.Ns = n.h.renumber(m.Answer), n.h.renumber(m.Ns)
	return n.ResponseWriter.WriteMsg(&c)
}

// renumber gives a section in which the SOAs have our part; the one it was given if there are none.
func (h *Handler) renumber(section []dns.RR) []dns.RR {
	for i, rr := range section {
		soa, ok := rr.(*dns.SOA)
		if !ok {
			continue
		}
		zone := strings.ToLower(soa.Hdr.Name)
		if z := h.apexes.of(zone); z != nil && z.zone == zone {
			continue // its serial is the part
		}
		if part := h.partOf(zone, soa.Serial); part > 0 {
			section = append([]dns.RR(nil), section...)
			section[i] = withSerial(soa, soa.Serial+part)
		}
	}
	return section
}

func withSerial(soa *dns.SOA, serial uint32) *dns.SOA {
	c := *soa
	c.Serial = serial
	return &c
}

// newer tells whether serial a comes after b (RFC 1982 3.2).
func newer(a, b uint32) bool { return int32(a-b) > 0 }

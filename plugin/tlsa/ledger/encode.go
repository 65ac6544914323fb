package ledger

import (
	"github.com/coredns-tlsa/coredns-tlsa/plugin/tlsa/dane"
	"github.com/coredns-tlsa/coredns-tlsa/plugin/tlsa/rollover"
)

func (w *writer) timeline(t *rollover.Timeline) {
	w.stamp(t.ObservedAt)
	if !t.ObservedAt.IsZero() {
		w.base = t.ObservedAt
	}
	w.stamp(t.NoneSince)
	w.number(uint64(t.TTL))
	w.count(len(t.OldTTLs))
	for _, u := range t.OldTTLs {
		w.number(uint64(u.TTL))
		w.stamp(u.Until)
	}
	w.count(len(t.Combinations))
	for _, c := range t.Combinations {
		w.combination(c)
	}
	w.keys(t.Keys)
	w.fixed(t.Fixed, t.Keys)
	w.count(len(t.Associations))
	for _, a := range t.Associations {
		w.association(a.Association, t.Keys)
		w.byte(bits(a.First))
		w.stamp(a.PublishedAt)
		w.stamp(a.ReadyAt)
		w.number(uint64(a.PublishedTTL))
	}
	if !t.WithdrawnAt.IsZero() || len(t.Revoked) > 0 {
		w.byte(operatorPart)
		w.operator(t)
	}
}

func (w *writer) keys(keys []rollover.Key) {
	w.count(len(keys))
	for i := range keys {
		w.key(&keys[i])
	}
}

func (w *writer) fixed(fixed []rollover.Fixed, keys []rollover.Key) {
	w.count(len(fixed))
	for _, f := range fixed {
		w.association(f.Association, keys)
		w.byte(bits(f.Zone))
		w.stamp(f.RetiredAt)
		w.number(uint64(f.RetiredTTL))
	}
}

// operator writes what the operator has said of the owner.
func (w *writer) operator(t *rollover.Timeline) {
	w.stamp(t.WithdrawnAt)
	w.count(len(t.Revoked))
	for _, r := range t.Revoked {
		w.byte(bits(r.Key))
		w.text(r.Data)
		w.stamp(r.At)
		w.number(uint64(r.TTL))
		w.keys(r.Keys)
		w.fixed(r.Fixed, r.Keys)
	}
}

func (w *writer) key(k *rollover.Key) {
	w.byte(bits(k.Initial, k.Ungated, k.Frozen))
	w.fingerprint(k.Material.Leaf)
	w.issuer(k.Material.Issuer)
	w.wall(k.Material.NotAfter, w.base.Wall)
	w.text(k.Lineage)
	w.count(len(k.Places))
	var last rollover.Place
	for _, p := range k.Places {
		w.byte(bits(p.Staged, p.Withdrawn))
		w.path(last.Root, p.Root)
		w.path(p.Root, p.Lineage)
		w.path(p.Lineage, p.File)
		last = p
	}
	w.stamp(k.SeenAt)
	w.stamp(k.ActiveAt)
	w.stamp(k.RetiredAt)
	w.number(uint64(k.RetiredTTL))
}

// The forms of a fingerprint's digests; der is added where the certificate itself follows.
const (
	noDigests  = 0
	digests    = 1 // 32 and 64 octets
	anyDigests = 2 // with their lengths
	der        = 4
)

func (w *writer) fingerprint(f dane.Fingerprint) {
	form := byte(anyDigests)
	switch {
	case f.SHA256 == "" && f.SHA512 == "":
		form = noDigests
	case len(f.SHA256) == 32 && len(f.SHA512) == 64:
		form = digests
	}
	if f.DER != "" {
		w.byte(form | der)
	} else {
		w.byte(form)
	}
	w.text(f.SPKI)
	switch form {
	case digests:
		w.b = append(append(w.b, f.SHA256...), f.SHA512...)
	case anyDigests:
		w.text(f.SHA256)
		w.text(f.SHA512)
	}
	if f.DER != "" {
		w.text(f.DER)
	}
}

// issuer writes a reference, and hands the fingerprint to the caller to store.
func (w *writer) issuer(f dane.Fingerprint) {
	if f == (dane.Fingerprint{}) {
		w.byte(0)
		return
	}
	id, _, err := encodeIssuer(f)
	if err != nil {
		w.fail(err)
		return
	}
	w.byte(1)
	w.b = append(w.b, id[:]...)
	w.issuers = append(w.issuers, f)
}

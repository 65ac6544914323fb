package dane

import (
	"slices"
)

// Leaves tells which certificates of a lineage are end-entity certificates, and who issued each.
//
// certs come from files that may hold leaves, chain from files that by their role hold issuers only; duplicates do no
// harm. A certificate of certs that issued another one of the lineage is not a leaf. Nor is one made for a TLS-ALPN-01
// challenge, nor a CA certificate without DNS names beside a leaf that is no CA: an old intermediate, left while the files
// of a renewal are being swapped. All others are, several of them too (RSA beside ECDSA), and a lone self-signed
// certificate although most carry cA.
//
// An issuer has the leaf's issuer name and a key that verifies its signature. Where Go cannot verify, the key identifiers
// decide, or the name alone where they are absent; a signature that fails rejects. A leaf without an issuer here has a nil
// IssuedBy: it is never guessed (RFC 7671 5.2.2 wants the issuer in the chain that is served).
//
// Leaves come in the order of first appearance; of several issuers a verified one, then the first.
func Leaves(certs, chain []*Certificate) []Leaf { return leaves(certs, chain, false) }

// LikelyLeaves is Leaves for those who want no associations with issuers (usage 0 or 2): a CA whose key identifier the leaf
// names is its issuer without a check of the signature, which takes longer than everything else.
func LikelyLeaves(certs, chain []*Certificate) []Leaf { return leaves(certs, chain, true) }

func leaves(certs, chain []*Certificate, trusting bool) []Leaf {
	own := distinct(certs)
	all := distinct(slices.Concat(certs, chain))
	k := &kin{known: make(map[[2]*Certificate]verdict), left: maxChecks, trusting: trusting}
	var found []*Certificate
	entity := false
	for _, c := range own {
		if !c.Challenge && !k.issuedAny(c, all) {
			found = append(found, c)
			entity = entity || !c.CA
		}
	}
	var leaves []Leaf
	for _, c := range found {
		if !(entity && c.CA && len(c.DNSNames) == 0) {
			leaves = append(leaves, Leaf{Certificate: c, IssuedBy: k.issuer(c, all)})
		}
	}
	return leaves
}

// Material is what associations with the leaf are computed from.
func (l Leaf) Material() Material {
	m := Material{Leaf: l.Fingerprint, NotAfter: l.NotAfter}
	if l.IssuedBy != nil {
		m.Issuer = l.IssuedBy.Fingerprint
	}
	return m
}

// Material is what associations with the bare key are computed from: only those with the SPKI of the leaf.
func (k *PublicKey) Material() Material { return Material{Leaf: Fingerprint{SPKI: k.SPKI}} }

// distinct drops nil and all but the first copy of each certificate.
func distinct(certs []*Certificate) []*Certificate {
	out := make([]*Certificate, 0, len(certs))
	for _, c := range certs {
		isSame := func(o *Certificate) bool { return o == c || o.SHA256 == c.SHA256 }
		if c != nil && !slices.ContainsFunc(out, isSame) { // with a few a map costs more, and kin compares each pair anyhow
			out = append(out, c)
		}
	}
	return out
}

// maxChecks bounds the signature checks of one call, and those of the requests of one file: two for each certificate of two
// full files, with keys of usual sizes.
const maxChecks = 1024

// kin answers who issued whom, checking each signature once.
type kin struct {
	known    map[[2]*Certificate]verdict
	left     int
	trusting bool // key identifiers that agree do
}

func (k *kin) issuedAny(parent *Certificate, all []*Certificate) bool {
	return slices.ContainsFunc(all, func(child *Certificate) bool { return k.issued(parent, child) != refuted })
}

// issuer finds the certificate of all that issued child, nil if there is none.
func (k *kin) issuer(child *Certificate, all []*Certificate) *Certificate {
	var likely *Certificate
	for _, parent := range all {
		switch k.issued(parent, child) {
		case verified:
			return parent
		case undecided:
			if likely == nil {
				likely = parent
			}
		}
	}
	return likely
}

// issued tells whether parent issued child: verified, refuted, or undecided where only names and identifiers say so.
func (k *kin) issued(parent, child *Certificate) verdict {
	// Certificates of one key are siblings: a self-signed one, reissued, would be its own predecessor's issuer.
	if parent.Subject != child.Issuer || parent.SPKI == child.SPKI {
		return refuted
	}
	v, ok := k.known[[2]*Certificate{parent, child}]
	if !ok {
		v = k.judge(parent, child)
		k.known[[2]*Certificate{parent, child}] = v
	}
	return v
}

// cost is what a check with a key costs: RSA grows with the square of its size, and a file may be full of 16,384 bits.
func cost(spki string) int {
	n := len(spki) / 512
	return max(1, n*n)
}

func (k *kin) judge(parent, child *Certificate) verdict {
	if k.trusting && parent.CA && child.AuthorityKeyID != "" && child.AuthorityKeyID == parent.SubjectKeyID {
		return undecided
	}
	if frame, _, ok := readSigned(child.raw); ok && k.left > 0 {
		k.left -= cost(parent.SPKI)
		if v := frame.check(parent.SPKI); v != undecided {
			return v
		}
	}
	likely := child.Subject != child.Issuer // else it most likely signed itself
	if child.AuthorityKeyID != "" && parent.SubjectKeyID != "" {
		likely = child.AuthorityKeyID == parent.SubjectKeyID
	}
	if !likely {
		return refuted
	}
	return undecided
}

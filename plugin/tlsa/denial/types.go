package denial

import (
	"slices"
	"strconv"
	"strings"

	"github.com/miekg/dns"
)

// data are the types that may stand at a name which is neither an apex nor a cut nor an alias: all that zones hold. An
// aggressive cache (RFC 8198) denies what an NSEC does not list, so a denial lists all of them but the one that it denies.
var data = []uint16{
	dns.TypeA, dns.TypeMB, dns.TypeMG, dns.TypeMR, dns.TypePTR, dns.TypeHINFO, dns.TypeMINFO, dns.TypeMX, dns.TypeTXT,
	dns.TypeRP, dns.TypeAFSDB, dns.TypeX25, dns.TypeISDN, dns.TypeRT, dns.TypeNSAPPTR, dns.TypePX, dns.TypeGPOS, dns.TypeAAAA,
	dns.TypeLOC, dns.TypeEID, dns.TypeNIMLOC, dns.TypeSRV, dns.TypeNAPTR, dns.TypeKX, dns.TypeCERT, dns.TypeAPL, dns.TypeSSHFP,
	dns.TypeIPSECKEY, dns.TypeRRSIG, dns.TypeNSEC, dns.TypeDHCID, dns.TypeTLSA, dns.TypeSMIMEA, dns.TypeHIP, dns.TypeNINFO,
	dns.TypeRKEY, dns.TypeTALINK, dns.TypeCDS, dns.TypeCDNSKEY, dns.TypeOPENPGPKEY, dns.TypeCSYNC, dns.TypeZONEMD, dns.TypeSVCB,
	dns.TypeHTTPS, dns.TypeSPF, dns.TypeUINFO, dns.TypeUID, dns.TypeGID, dns.TypeNID, dns.TypeL32, dns.TypeL64, dns.TypeLP,
	dns.TypeEUI48, dns.TypeEUI64, dns.TypeURI, dns.TypeCAA, dns.TypeAVC, typeDOA, dns.TypeAMTRELAY, dns.TypeRESINFO, typeWALLET,
	typeCLA, typeIPN, typeWKS, typeNSAP, dns.TypeKEY, typeATMA, typeA6, typeSINK, typeDSYNC, typeHHIT, typeBRID,
}

// Types that the DNS library has no name for. A zone file has them as TYPE66 (RFC 3597).
const (
	typeWKS    uint16 = 11
	typeNSAP   uint16 = 22
	typeATMA   uint16 = 34
	typeA6     uint16 = 38
	typeSINK   uint16 = 40
	typeDSYNC  uint16 = 66
	typeHHIT   uint16 = 67
	typeBRID   uint16 = 68
	typeDOA    uint16 = 259
	typeWALLET uint16 = 262
	typeCLA    uint16 = 263
	typeIPN    uint16 = 264
)

// types are what an NSEC claims to be at its name. They are made once and never changed.
type types struct {
	bitmap []uint16          // ascending
	text   string            // tells them from all others
	minus  map[uint16]*types // without one of them
}

var (
	apexTypes  = newFamily("apex", dns.TypeNS, dns.TypeSOA, dns.TypeDNSKEY)
	innerTypes = newFamily("inner")
	dnameTypes = newFamily("dname", dns.TypeDNAME)
	cutTypes   = &types{bitmap: []uint16{dns.TypeNS, dns.TypeRRSIG, dns.TypeNSEC}, text: "cut"}
	noName     = &types{bitmap: []uint16{dns.TypeRRSIG, dns.TypeNSEC, dns.TypeNXNAME}, text: "none"} // RFC 9824 3.1
)

// newFamily gives data with more, and what is left of them without each one.
func newFamily(text string, more ...uint16) *types {
	bitmap := slices.Concat(data, more)
	slices.Sort(bitmap)
	all := &types{bitmap: bitmap, text: text, minus: make(map[uint16]*types, len(bitmap))}
	for i, t := range bitmap {
		if t != dns.TypeNSEC { // who asks for the NSEC gets it
			all.minus[t] = &types{bitmap: slices.Delete(slices.Clone(bitmap), i, i+1), text: text + " but " + dns.Type(t).String()}
		}
	}
	return all
}

// except gives the types without t.
func (ts *types) except(t uint16) *types {
	if less, ok := ts.minus[t]; ok {
		return less
	}
	return ts
}

// nsec is an NSEC whose text is short. *dnssec* finds a signature that it has made before by the text of what it signed,
// and that of sixty types takes longer to write than the rest of the denial.
type nsec struct {
	*dns.NSEC
	types *types
}

// newNSEC gives the NSEC that covers name, in lower case, and no other.
func newNSEC(name string, ttl uint32, ts *types) *nsec {
	return &nsec{
		types: ts,
		NSEC: &dns.NSEC{
			Hdr:        dns.RR_Header{Name: name, Rrtype: dns.TypeNSEC, Class: dns.ClassINET, Ttl: ttl},
			NextDomain: successor(name),
			TypeBitMap: ts.bitmap,
		},
	}
}

// String gives what the signature depends on, in other words than those of any other record.
func (n *nsec) String() string {
	var b strings.Builder
	b.Grow(len(n.Hdr.Name) + len(n.types.text) + 24)
	b.WriteString(n.Hdr.Name)
	b.WriteString("\tNSEC to its successor\t")
	b.WriteString(strconv.FormatUint(uint64(n.Hdr.Ttl), 10))
	b.WriteByte('\t')
	b.WriteString(n.types.text)
	return b.String()
}

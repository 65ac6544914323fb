package denial

import (
	"slices"

	"github.com/miekg/dns"
)

// WriteMsg implements dns.ResponseWriter. It puts the NSEC and its signatures where a denial has them.
func (u *upper) WriteMsg(m *dns.Msg) error {
	if u.denied == nil {
		if u.do {
			m.Answer = signedOnce(m.Answer)
		}
		return u.ResponseWriter.WriteMsg(m)
	}
	denied := u.denied
	u.denied = nil
	lie := m.Answer[0].(*nsec)
	proof := append([]dns.RR{lie.NSEC}, m.Answer[1:]...) // with its signatures
	m.Answer, m.Extra = nil, denied.Extra
	switch {
	case len(proof) == 1: // not signed: the zone is none of *dnssec*'s
		m.Ns, m.Rcode = shortened(denied).Ns, denied.Rcode
	case len(m.Ns) == 0: // a referral
		m.Ns = slices.Concat(denied.Ns, proof)
	case m.Question[0].Qtype == dns.TypeNSEC: // who asks for the NSEC gets it as an answer
		m.Answer, m.Ns = proof, nil
	default:
		m.Ns = append(m.Ns, proof...)
	}
	return u.ResponseWriter.WriteMsg(m)
}

// signedOnce takes signatures out that stand there twice: *file* asks the whole server for the target of an alias, so that
// *dnssec* has signed what it is given to sign.
func signedOnce(answer []dns.RR) []dns.RR {
	if len(answer) == 0 || answer[0].Header().Rrtype != dns.TypeCNAME && answer[0].Header().Rrtype != dns.TypeDNAME {
		return answer
	}
	var once []dns.RR
	for _, rr := range answer {
		if rr.Header().Rrtype != dns.TypeRRSIG || !slices.ContainsFunc(once, func(o dns.RR) bool { return dns.IsDuplicate(o, rr) }) {
			once = append(once, rr)
		}
	}
	return once
}

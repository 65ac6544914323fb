package dane

// KeyAlgorithm names the algorithm of a SubjectPublicKeyInfo in DER: "RSA", "RSA-PSS", "ECDSA" whatever the curve,
// "Ed25519", "Ed448", "DSA", "ML-DSA-44", "ML-DSA-65", "ML-DSA-87", else the dotted object identifier. It is empty for
// anything else than one SubjectPublicKeyInfo. Two keys of one service replace each other only if theirs is the same.
func KeyAlgorithm(spki string) string {
	oid, _, ok := cutKey(spki)
	if !ok {
		return ""
	}
	switch string(oid) { // those that nearly all keys have
	case "\x2a\x86\x48\xce\x3d\x02\x01":
		return "ECDSA"
	case "\x2a\x86\x48\x86\xf7\x0d\x01\x01\x01":
		return "RSA"
	}
	switch id := dotted(oid); id {
	case "1.2.840.113549.1.1.10":
		return "RSA-PSS"
	case "1.2.840.10040.4.1":
		return "DSA"
	case "1.3.101.112":
		return "Ed25519"
	case "1.3.101.113":
		return "Ed448"
	case "2.16.840.1.101.3.4.3.17":
		return "ML-DSA-44"
	case "2.16.840.1.101.3.4.3.18":
		return "ML-DSA-65"
	case "2.16.840.1.101.3.4.3.19":
		return "ML-DSA-87"
	default:
		return id
	}
}

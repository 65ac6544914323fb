// Package dane turns certificates and bare public keys into TLSA records (RFC 6698, RFC 7671).
//
// [Parse] reads what a file holds, [Leaves] tells which of its certificates a server presents and who issued them,
// [Material.Association] computes the certificate association data, and [Association.TLSA] makes the record.
//
// Association data is cut from the DER as it stands, never encoded again, so keys that crypto/x509 cannot parse
// (brainpool, secp256k1, explicit curve parameters, Ed448, algorithms yet to come) give the right records.
//
// The package is pure: it opens no file, asks no clock, starts no goroutine and logs nothing. It never validates a
// certificate path, never looks at dates, and never decodes a private key. It never gives association data for what is
// missing or cut short: whatever is in doubt is an error, and the caller keeps what it had.
package dane

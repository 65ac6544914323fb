// Package tlsa is a CoreDNS plugin that answers TLSA queries from certificate directories.
//
// It watches the directories where certificates are installed, and those where keys and certificates wait to be
// installed, and publishes the TLSA records (RFC 6698, RFC 7671) of all of them: early enough before a key is used, and
// long enough after, that no client meets a key that its DNS data does not list. What was published when is recorded in a
// ledger before it is answered, so a restart or a crash shortens no overlap.
//
// The plugin never signs: *dnssec*, in front of it, does that. It never decodes, stores or logs a private key, never
// verifies a certificate, never installs one, and never drops a record because something could not be read. A query takes
// no lock, reads no file and starts no goroutine: it is answered from an immutable snapshot.
//
// This package is the glue to CoreDNS: the Corefile, the handler, readiness and metrics. What a certificate becomes is
// decided in dane, when a record may come and go in rollover; publish joins them to the directories and the ledger.
package tlsa

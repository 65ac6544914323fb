// Package control is what the plugin and tlsactl tell each other: the status document, the operator's actions, the server on
// a Unix socket or a TCP address, and the client.
//
// It knows nothing of how records are published: a [Block] answers for one directive. It never reads a certificate, never
// decides anything, and nothing here is on the path of a query. The document holds no file contents and nothing secret.
package control

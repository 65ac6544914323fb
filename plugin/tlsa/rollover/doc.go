// Package rollover decides, for one TLSA owner at a time, which associations are published, when a new key is safe to
// install, and when an old one may go.
//
// It is one pure function, [Decide]: what was observed, the owner's timeline, the policy and the present instant go in; the
// next timeline, the RRset, the problems and the time of the next change come out. Calling it early or late does no harm.
// The package never reads a clock, a file or the network, starts nothing, and remembers nothing.
//
// The states are those of RFC 7583 read for TLSA records (RFC 7671 8). They are never stored: a [Timeline] holds events, and
// a state follows from them.
package rollover

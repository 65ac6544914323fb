// Package certdir reads and watches certificate directories: it tells which lineages are in them, which leaf certificates
// and bare public keys each holds, and which of its files are in doubt (design 1, 3 and 4, rules 3 and 4).
//
// A [Watcher] reports facts and nothing else: what to publish is decided elsewhere. What a file held last stands as long as
// the file is there and cannot be read, parsed or trusted; it goes only with the file, and no file goes with its root.
// Events are hints that only make the sweep's findings come sooner: events, sweeps and retries set the same marks, and a
// lineage is read after it was quiet for a while.
//
// What no event tells of is polled: on network and overlay file systems every 15 to 30 s, everything at each sweep (Rescan).
// A file system that does not answer, such as a hard NFS mount whose server is away, cannot be helped: the system call does
// not return, and until it does the one goroutine that reads learns nothing of other directories either. What was known
// stands meanwhile, Figures.At grows old, and Run ends only when the call does. Mount such volumes soft, or give them a
// block of their own.
//
// The package never reads a file that its name calls a private key, never keeps one that it meets in another file, never
// reads where anyone may write, never opens what is not a regular file, and never follows a name that a producer keeps for
// its own business. It logs nothing and writes nothing.
package certdir

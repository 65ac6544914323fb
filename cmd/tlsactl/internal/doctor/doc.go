// Package doctor reads a Corefile and the directories, zone files and keys that it names, and says what will go wrong before
// it does (design 8). What it means by an option is what the server means: it reads with package corefile, looks with package
// certdir and asks package publish which owner takes which certificate.
//
// First it gathers facts, then it judges them: a check is a function of the facts alone. It starts nothing, writes nothing,
// does not open a ledger, decodes no private key, and reads a bounded part of every file.
package doctor

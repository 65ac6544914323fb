// Package corefile reads what the Corefile says of tlsa (design 2): every option of the directive, its defaults, and what
// can be told to be wrong of it without looking at a file, a zone or a clock. The server and tlsactl both read by it.
package corefile

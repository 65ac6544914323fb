// Package publish is the one writer of a block: it observes the certificate directories and the zone, lets rollover decide,
// records the decision in the ledger, and only then shows it to queries.
//
// It never answers a query itself and never holds anything that a query waits for: queries read a zone.Table.
package publish

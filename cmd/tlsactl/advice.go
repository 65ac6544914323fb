package main

import (
	"context"
	"time"

	"github.com/coredns-tlsa/coredns-tlsa/plugin/tlsa/dane"
)

// advice is what a DNS server knows of its own timeline, from its control socket. With it, wait need not count from its
// own first sighting; every server must show the records all the same.
type advice interface {
	// ready tells from when every cache has the associations of an owner, or holds nothing. known is false where the server
	// does not serve the owner, or has not published all of them.
	ready(ctx context.Context, owner string, wanted []dane.Association) (from time.Time, known bool, err error)
}

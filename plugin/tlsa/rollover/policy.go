package rollover

import (
	"time"

	"github.com/coredns-tlsa/coredns-tlsa/plugin/tlsa/dane"
)

// A Policy is what the Corefile wants for one owner. Owners share the slices; nobody changes them.
type Policy struct {
	// Combinations are those of the owner, at least one unless it has only Pins, without duplicates, in order.
	Combinations []dane.Combination
	// Pins are always published.
	Pins []dane.Association
	// TTL is that of the RRset, in seconds.
	TTL uint32
	// Propagation is how long the slowest authoritative server may lag behind this one.
	Propagation time.Duration
	// Hold is the wait from Published to Ready, Grace that from Retired to Removed.
	Hold, Grace time.Duration
	// UntilExpiry makes Grace last at least until the retired certificate has expired.
	UntilExpiry bool
}

// holdFor is Hold, lengthened where caches may still count by a ttl larger than today's: what Hold has beyond TTL is for
// those who keep records after a cache's copy has expired, and is due to them after the larger ttl too.
func (p Policy) holdFor(ttl uint32) time.Duration {
	longer := max(time.Duration(ttl)-time.Duration(p.TTL), 0) * time.Second
	return max(p.Hold+longer, p.twice(ttl))
}

// graceFor is Grace for an RRset that caches may hold for ttl seconds.
func (p Policy) graceFor(ttl uint32) time.Duration { return max(p.Grace, p.twice(ttl)) }

func (p Policy) twice(ttl uint32) time.Duration {
	return p.Propagation + 2*time.Duration(ttl)*time.Second
}

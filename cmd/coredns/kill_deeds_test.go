//go:build referee

package main

import (
	"syscall"
	"time"
)

// deeds are what leads up to a kill, with their shares. Commits happen in starts, half a second after a file changed, and in
// reloads.
var deeds = []struct {
	name  string
	share int
	do    func(k *killing)
}{
	{"a start with something to record", 5, func(k *killing) {
		k.down()
		k.renew(k.either())
		k.log = &journal{}
		k.started(time.Now())
		k.start()
		k.pause(120 * time.Millisecond)
	}},
	{"the commit of a renewal", 3, func(k *killing) {
		k.renew(k.either())
		<-time.After(quiet - 20*time.Millisecond)
		k.pause(60 * time.Millisecond)
	}},
	{"the first answer of a new key", 3, func(k *killing) {
		lineage := k.either()
		k.await(lineage, k.renew(lineage))
		k.down()
		k.renew(lineage) // so that only the ledger knows it
	}},
	{"a renewal, for longer than grace", 1, func(k *killing) {
		lineage := k.either()
		k.await(lineage, k.renew(lineage))
		k.down()
		<-time.After(killGrace + 200*time.Millisecond)
	}},
	{"a reload", 2, func(k *killing) {
		k.renew(k.either())
		k.signal(syscall.SIGUSR1)
		k.pause(120 * time.Millisecond)
	}},
	{"nothing", 2, func(k *killing) {
		k.install()
		k.pause(300 * time.Millisecond)
	}},
	{"seconds", 1, func(k *killing) {
		for end := time.Now().Add(2500*time.Millisecond + time.Duration(k.r.Int64N(int64(time.Second)))); time.Now().Before(end); {
			k.pause(500 * time.Millisecond)
			k.install()
		}
	}},
}

// cycle does something to a running server, kills it, perhaps goes on while it is down, and wants it back as it has to be.
func (k *killing) cycle() {
	k.t.Helper()
	draw, total := 0, 0
	for _, d := range deeds {
		total += d.share
	}
	n := k.r.IntN(total)
	for ; n >= deeds[draw].share; draw++ {
		n -= deeds[draw].share
	}
	d := deeds[draw]
	k.deed.Store("a kill after " + d.name)
	d.do(k)
	k.down()
	k.toll.add("after "+d.name, 1)
	if k.r.IntN(2) == 0 {
		k.renew(k.either())
	}
	k.up()
	k.toll.add("kills", 1)
}

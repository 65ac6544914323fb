package tlsa

import (
	"fmt"

	"github.com/coredns-tlsa/coredns-tlsa/plugin/tlsa/control"
	"github.com/coredns-tlsa/coredns-tlsa/plugin/tlsa/corefile"
)

// A listener is a control socket or a status address with what the instance has of it. Blocks that name the same share it.
type listener struct {
	at string
	*control.Use
}

// listen claims what the block names for its unit. The instance's lock is held.
func (i *instance) listen(b *corefile.Block, u *unit) error {
	for _, option := range []struct {
		name, at string
		claim    func(string, func(string)) (*control.Use, error)
	}{
		{"control", b.Control, control.ClaimSocket},
		{"status", b.Status, control.ClaimAddress},
	} {
		if option.at == "" {
			continue
		}
		l, err := i.listener(option.at, option.claim)
		if err != nil {
			return fmt.Errorf("%s - %w", b.Written[option.name], err)
		}
		l.Add(u.publisher)
	}
	return nil
}

// listener gives the one for a place, claimed when it is new.
func (i *instance) listener(at string, claim func(string, func(string)) (*control.Use, error)) (*listener, error) {
	for _, l := range i.listeners {
		if l.at == at {
			return l, nil
		}
	}
	use, err := claim(at, func(text string) { log.Warning(text) })
	if err != nil {
		return nil, err
	}
	l := &listener{at, use}
	i.listeners = append(i.listeners, l)
	return l, nil
}

// open lets requests in. DNS is served already, so what fails now is logged. The instance's lock is held.
func (i *instance) open() {
	for _, l := range i.listeners {
		if err := l.Serve(); err != nil {
			log.Errorf("%v; nothing listens there before the next reload", err)
			continue
		}
		log.Infof("%s: status of tlsa", l.Address())
	}
}

// shut ends the listeners that no other instance has claimed. The instance's lock is held.
func (i *instance) shut() {
	for _, l := range i.listeners {
		l.Close()
	}
	i.listeners = nil
}

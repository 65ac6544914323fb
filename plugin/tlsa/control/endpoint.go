package control

import (
	"context"
	"fmt"
	"log"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/net/netutil"
)

// endpoints are those of this process: on a reload the new instance takes the listener of the old one over.
var endpoints registry

type registry struct {
	mu   sync.Mutex // guards open and what it holds
	open []*endpoint
}

// A place is where an endpoint listens.
type place interface {
	comparable
	fmt.Stringer
	// check tells whether listen would work; it leaves nothing behind.
	check() error
	listen() (l net.Listener, release func(), err error)
}

// An endpoint is a listener with the uses that instances have of it.
type endpoint struct {
	place   any // a socket or a tcp
	check   func() error
	listen  func() (net.Listener, func(), error)
	name    string
	uses    []*Use
	blocks  atomic.Pointer[[]Block] // what requests are answered from
	server  *http.Server            // nil: it does not listen
	l       net.Listener
	release func()
	done    chan struct{} // closed when server has returned
}

// A Use is what one instance has of an endpoint. It is claimed while the instance starts, serves, and is closed.
type Use struct {
	endpoint *endpoint
	actions  bool
	warn     func(string)
	blocks   []Block
	serving  bool
	timer    *time.Timer // gives a claim up that nobody closes
}

// giveUp is how long a claim may wait for Serve: of a start that fails nobody is told.
const giveUp = time.Minute

// ClaimSocket claims the Unix socket of an absolute path, for status and actions. Nothing listens there before Serve, but
// what does is kept for a minute, even if the instance that has it stops. warn takes what goes wrong in the server.
func ClaimSocket(path string, warn func(string)) (*Use, error) {
	s, err := socketAt(path)
	if err != nil {
		return nil, err
	}
	return claim(s, true, warn)
}

// ClaimAddress is ClaimSocket for a TCP address, where there is no more than the status to be read.
func ClaimAddress(address string, warn func(string)) (*Use, error) {
	return claim(tcp{address}, false, warn)
}

func claim[P place](p P, actions bool, warn func(string)) (*Use, error) {
	endpoints.mu.Lock()
	defer endpoints.mu.Unlock()
	u := &Use{actions: actions, warn: warn}
	i := slices.IndexFunc(endpoints.open, func(e *endpoint) bool { return e.place == p })
	if i >= 0 {
		u.endpoint = endpoints.open[i]
	} else {
		u.endpoint = &endpoint{place: p, check: p.check, listen: p.listen, name: p.String()}
	}
	if u.endpoint.server == nil {
		if err := u.endpoint.check(); err != nil {
			return nil, err
		}
	}
	u.endpoint.join(u)
	u.timer = time.AfterFunc(giveUp, u.abandon)
	return u, nil
}

// join enters u. The registry's lock is held.
func (e *endpoint) join(u *Use) {
	if !slices.Contains(endpoints.open, e) {
		if i := slices.IndexFunc(endpoints.open, func(o *endpoint) bool { return o.place == e.place }); i >= 0 {
			e = endpoints.open[i]
			u.endpoint = e
		} else {
			endpoints.open = append(endpoints.open, e)
		}
	}
	if !slices.Contains(e.uses, u) {
		e.uses = append(e.uses, u)
	}
	e.refresh()
}

// refresh makes requests be answered from who serves, else from who starts. The registry's lock is held.
func (e *endpoint) refresh() {
	var serving, starting []Block
	for _, u := range e.uses {
		if u.serving {
			serving = append(serving, u.blocks...)
		} else {
			starting = append(starting, u.blocks...)
		}
	}
	if len(serving) == 0 {
		serving = starting
	}
	e.blocks.Store(&serving)
}

// Add makes the endpoint list b; one that it lists already is listed once.
func (u *Use) Add(b Block) {
	endpoints.mu.Lock()
	defer endpoints.mu.Unlock()
	if !slices.Contains(u.blocks, b) {
		u.blocks = append(u.blocks, b)
	}
	u.endpoint.refresh()
}

// Serve makes the endpoint listen, if it does not, and answer for the blocks of u.
func (u *Use) Serve() error {
	u.timer.Stop()
	endpoints.mu.Lock()
	defer endpoints.mu.Unlock()
	u.serving = true
	u.endpoint.join(u)
	if u.endpoint.server == nil {
		return u.endpoint.start(u)
	}
	return nil
}

// Address is where it listens; with port 0 that is the one that the system has chosen. It is empty before Serve.
func (u *Use) Address() string {
	endpoints.mu.Lock()
	defer endpoints.mu.Unlock()
	if u.endpoint.l == nil {
		return ""
	}
	if u.actions {
		return u.endpoint.name
	}
	return u.endpoint.l.Addr().String()
}

func (u *Use) abandon() {
	endpoints.mu.Lock()
	serving := u.serving
	endpoints.mu.Unlock()
	if !serving {
		u.Close()
	}
}

// AbortStarts gives up every claim that does not serve: a reload has failed.
func AbortStarts() {
	endpoints.mu.Lock()
	var claims []*Use
	for _, e := range endpoints.open {
		for _, u := range e.uses {
			if !u.serving {
				claims = append(claims, u)
			}
		}
	}
	endpoints.mu.Unlock()
	for _, u := range claims {
		u.Close()
	}
}

// Close ends the use. The last one ends the listener, after requests that are being answered, and takes the socket away.
func (u *Use) Close() {
	u.timer.Stop()
	endpoints.mu.Lock()
	e := u.endpoint
	e.uses = slices.DeleteFunc(e.uses, func(o *Use) bool { return o == u })
	u.serving = false
	e.refresh()
	server, done := e.server, e.done
	if len(e.uses) > 0 {
		server = nil
	} else {
		endpoints.open = slices.DeleteFunc(endpoints.open, func(o *endpoint) bool { return o == e })
	}
	if server != nil {
		e.l.Close()
		e.release()
		e.server, e.l = nil, nil
	}
	endpoints.mu.Unlock()
	if server != nil {
		stop(server)
		<-done
	}
}

// The bounds of a server. A client that stalls costs one connection for as long as these.
const (
	maxConnections = 16
	maxHeader      = 16 << 10
	maxBody        = 2*octets + 1<<10
	headerTimeout  = 3 * time.Second
	readTimeout    = 5 * time.Second
	writeTimeout   = 10 * time.Second
	idleTimeout    = 3 * time.Second
	stopTimeout    = time.Second
)

// start listens. The registry's lock is held.
func (e *endpoint) start(u *Use) error {
	l, release, err := e.listen()
	if err != nil {
		return err
	}
	e.l, e.release, e.done = l, release, make(chan struct{})
	e.server = &http.Server{
		Handler:           &handler{blocks: e.blocks.Load, actions: u.actions, local: isLocal(l.Addr())},
		ReadHeaderTimeout: headerTimeout, ReadTimeout: readTimeout, WriteTimeout: writeTimeout, IdleTimeout: idleTimeout,
		MaxHeaderBytes: maxHeader,
		ErrorLog:       log.New(complaints{e.name, u.warn}, "", 0),
	}
	go func(s *http.Server, done chan struct{}) {
		defer close(done)
		_ = s.Serve(netutil.LimitListener(l, maxConnections)) // it ends when l is closed
	}(e.server, e.done)
	return nil
}

// isLocal tells of an address that only this host reaches, and so the browsers on it.
func isLocal(a net.Addr) bool {
	t, ok := a.(*net.TCPAddr)
	return ok && t.IP.IsLoopback()
}

// stop lets requests end that are being answered, for a moment.
func stop(s *http.Server) {
	ctx, cancel := context.WithTimeout(context.Background(), stopTimeout)
	defer cancel()
	if s.Shutdown(ctx) != nil {
		s.Close()
	}
}

// complaints are what net/http has to say.
type complaints struct {
	name string
	warn func(string)
}

// Write takes one of them.
func (c complaints) Write(p []byte) (int, error) {
	c.warn(c.name + ": " + strings.TrimSpace(string(p)))
	return len(p), nil
}

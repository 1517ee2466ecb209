// Package dhcp is a DHCPv4 client for an interface of a stack: it gets a lease, keeps it
// while the program runs, and gives it back. In go a stack and the index of an interface; out
// come addresses, routes and an MTU on that interface, and the lease for those who want its
// DNS servers. It must never believe a server more than what a host can do with: what it
// cannot use is an error that says so, not an address.
//
// The messages are those of github.com/insomniacslk/dhcp. That library is kept to this
// package, which only those link who want DHCP.
//
// Read first: RFC 2131 §3.1, §4.3, §4.4 (the states of a client), RFC 5227 §2.1 (an address is
// probed for before it is used), RFC 3442 (routes).
package dhcp

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"net/netip"
	"sync"
	"time"
)

// Config is what a client is made of.
type Config struct {
	Link     Link
	Hostname string      // told to the server; "": none
	Notify   func(Event) // hears of every change, one at a time; nil: nobody

	random func(time.Duration) time.Duration // up to that much; nil: at random
}

// A Link is what the client needs of its interface. See [OnStack].
type Link interface {
	// Name is the interface's, for people.
	Name() string
	// HardwareAddr is that of the interface.
	HardwareAddr() net.HardwareAddr
	// Broadcast opens a socket at port 68 that needs no address: what is written goes to everyone on the
	// link, from 0.0.0.0, and what comes to port 68 is read, for whichever address it was. Addresses
	// are *net.UDPAddr.
	Broadcast() (net.PacketConn, error)
	// Leased opens a socket at port 68 of an address that Take has taken: what is written goes from there to one
	// station or to everyone, and what comes to port 68 is read, for whichever address it was: a refusal
	// is for everyone (RFC 2131 §4.1).
	Leased(netip.Addr) (net.PacketConn, error)
	// Settle waits until what was written has left, or ctx ends.
	Settle(context.Context)
	// Take probes for the lease's address and gives the interface what the lease says. It
	// returns an error that is [ErrConflict] if another station has the address.
	Take(context.Context, *Lease) error
	// Update changes what the lease says, the address apart.
	Update(*Lease) error
	// Drop takes back what Take has given.
	Drop(*Lease) error
	// Lost is closed when another station has taken the address that Take has given last.
	Lost() <-chan struct{}
	// Ups is how often the interface has come up again, perhaps on another network. The channel is
	// closed when that may be another number.
	Ups() (n int, changed <-chan struct{})
}

// ErrConflict is the error of a leased address that another station uses.
var ErrConflict = errors.New("another station uses the address")

// ErrNoServer is the error of Open if no server answers.
var ErrNoServer = errors.New("no DHCP server answered")

// An Event is something that has happened to the lease.
type Event struct {
	What  What
	Lease Lease // which it is about
	Err   error // why, where something went wrong
}

// What is what has happened to a lease.
type What string

const (
	Bound    What = "bound"    // it is ours
	Renewed  What = "renewed"  // it lasts longer
	Retrying What = "retrying" // it could not be had or renewed, and the next attempt will come
	Lost     What = "lost"     // it is over: it ran out, the server refused it, or another station took the address
	Released What = "released" // it was given back
)

// Times of RFC 2131 and RFC 5227.
const (
	answerWait    = 4 * time.Second  // RFC 2131 §4.1: doubled each time,
	answerTries   = 4                // so that the last one ends after a minute;
	answerSpread  = 2 * time.Second  // of each, around it, lest all clients of a link ask at once
	renewTries    = 2                // of one attempt to renew: the next one is a minute away at least
	restartWait   = 10 * time.Second // RFC 2131 §3.1 (5): before the next attempt after a decline
	refusedWait   = time.Second      // before the next attempt after a refusal: a server that always refuses is not asked in a loop
	renewSpread   = 16               // T1 comes up to a sixteenth earlier
	renewLeast    = time.Minute      // RFC 2131 §4.4.5: between attempts to renew
	declinedMax   = 3                // declined offers until Open gives up
	leaseLeast    = 2 * time.Second  // a shorter lease could not be renewed in time
	releaseAtMost = time.Second      // how long Close waits for the release to leave, which may need an answer to ARP first
)

// A Client holds a lease.
type Client struct {
	cfg    Config
	cancel context.CancelFunc
	done   chan struct{}

	mu    sync.Mutex
	lease Lease // the one that is held, or was last
}

// Open gets a lease and keeps it until Close, or until ctx ends, whichever comes first. It returns when
// the address can be used, a few seconds after the server's answer. The client goes on if the lease
// is lost later: it gets another one.
func Open(ctx context.Context, cfg Config) (*Client, error) {
	ctx, cancel := context.WithCancel(ctx)
	if cfg.random == nil {
		cfg.random = func(d time.Duration) time.Duration { return rand.N(d + 1) }
	}
	c := &Client{cfg: cfg, cancel: cancel, done: make(chan struct{})}
	b, err := c.first(ctx)
	if err != nil {
		cancel()
		return nil, fmt.Errorf("dhcp: %s: %w", cfg.Link.Name(), err)
	}
	go func() {
		defer close(c.done)
		c.run(ctx, b)
	}()
	return c, nil
}

// Lease returns the lease that is held, or was last.
func (c *Client) Lease() Lease {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.lease
}

// Close gives the lease back and takes the address from the interface. The stack is still to be
// open, for the server to hear of it.
func (c *Client) Close() error {
	c.cancel()
	<-c.done
	return nil
}

func (c *Client) notify(what What, l *Lease, err error) {
	if c.cfg.Notify != nil {
		c.cfg.Notify(Event{what, *l, err})
	}
}
